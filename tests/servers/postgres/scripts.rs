//! The scripts that make the database: again and again, without losing anything or showing a password.

use super::{agents, now, select, servers};
use crate::common::servers::Own;
use mig::config::Secret;
use mig::config::database::PostgresConfig;
use mig::store::Store;
use mig::store::postgres::PostgresStore;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn run(script: &str, server: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script))
        .args(arguments)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", servers::port(server, "port").to_string())
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The users in the line about new ones, with the passwords from the file: the script prints none.
fn created(text: &str, credentials: &Path) -> Vec<(String, String)> {
    let file = std::fs::read_to_string(credentials).unwrap();
    let known: Vec<(&str, &str)> = file.lines().filter_map(|line| line.split_once('/')).collect();
    assert!(known.iter().all(|(_, password)| !text.contains(password)), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("created users: ")).unwrap_or_default();
    let is_new = |role: &str| line.split(' ').any(|word| word == role);
    known.iter().filter(|(role, _)| is_new(role)).map(|(role, word)| (role.to_string(), word.to_string())).collect()
}

#[test]
fn the_local_script_may_be_run_again() {
    let server = Own::postgres("log_statement = 'all'\n");
    let config = servers::database(server.path());
    let file = server.path().join("credentials");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read_to_string(&file).unwrap();
    PostgresStore::open(&config).unwrap().register(&agents("kept", 3), now()).unwrap();
    let again = servers::create_database(server.path(), &config.database);
    assert!(again.contains("kept users: migadmin migscheduler migapi"), "{again}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(select(&mut PostgresStore::open(&config).unwrap(), "all").unwrap().len(), 3);
    let credentials = file.to_str().unwrap();
    let variables = [("PGDATABASE", config.database.as_str())];
    let rotated =
        run("createlocaldb.sh", server.path(), &["--credentials", credentials, "--new-passwords"], &variables);
    let rotated = created(&printed(&rotated), &file);
    let roles: Vec<&str> = rotated.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["migadmin", "migscheduler", "migapi"]);
    let fresh = PostgresConfig { password: Secret::new(rotated[1].1.clone()), ..config.clone() };
    assert_eq!(select(&mut PostgresStore::open(&fresh).unwrap(), "all").unwrap().len(), 3);
    let log = std::fs::read_to_string(server.path().join("log")).unwrap();
    assert!(log.contains("statement: "), "statements are logged");
    for (role, password) in &rotated {
        assert_eq!(password.len(), 32);
        assert!(!before.contains(password) && !log.contains(password), "the password of {role}");
    }
}

#[test]
fn tables_of_an_older_version_are_upgraded_with_their_rows() {
    let server = Own::postgres("");
    let config = servers::database(server.path());
    PostgresStore::open(&config).unwrap().register(&agents("kept", 3), now()).unwrap();
    let first = "REVOKE DELETE ON agents FROM migscheduler; DROP TABLE tokens; ALTER TABLE actions DROP COLUMN counters; \
        DELETE FROM schema_version WHERE version > 1";
    servers::psql(server.path(), &config.database, first);
    let refused = PostgresStore::open(&config).err().unwrap().to_string();
    assert!(refused.contains("have version 1, this program needs 3; upgrade them with scripts/"), "{refused}");
    servers::create_database(server.path(), &config.database);
    let mut store = PostgresStore::open(&config).unwrap();
    assert_eq!(store.remove_registrations(now()).unwrap(), 0);
    assert_eq!(select(&mut store, "all").unwrap().len(), 3);
}

#[test]
fn the_remote_script_makes_tables_and_says_the_credentials() {
    let server = Own::postgres("");
    let sql = "CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'secret'";
    servers::psql(server.path(), "postgres", sql);
    servers::psql(server.path(), "postgres", "CREATE DATABASE remote OWNER boss");
    let file = server.path().join("remote credentials");
    let arguments = ["--credentials", file.to_str().unwrap()];
    let variables = [("PGDATABASE", "remote"), ("PGUSER", "boss"), ("PGPASS", "secret")];
    let made = created(&printed(&run("createremotedb.sh", server.path(), &arguments, &variables)), &file);
    assert_eq!((made.len(), made[0].0.as_str(), made[1].0.as_str()), (2, "migscheduler", "migapi"));
    let config = servers::reach(server.path(), "remote", &made[0].1);
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("far", 2), now()).unwrap();
    assert_eq!(select(&mut store, "all").unwrap().len(), 2);
    let again = printed(&run("createremotedb.sh", server.path(), &arguments, &variables));
    assert!(again.contains("kept users: migscheduler migapi") && created(&again, &file).is_empty(), "{again}");
    let elsewhere = server.path().join("other credentials");
    let unknown = ["--credentials", elsewhere.to_str().unwrap()];
    let again = printed(&run("createremotedb.sh", server.path(), &unknown, &variables));
    assert!(again.contains("migscheduler migapi; --new-passwords sets new ones"), "{again}");
    let wrong = [("PGDATABASE", "remote"), ("PGUSER", "boss"), ("PGPASS", "wrong")];
    let failed = run("createremotedb.sh", server.path(), &arguments, &wrong);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("password authentication failed"));
}

#[test]
fn wrong_command_lines_are_explained() {
    let server = servers::shared("postgres");
    for script in ["createlocaldb.sh", "createremotedb.sh"] {
        assert!(printed(&run(script, &server, &["--help"], &[])).contains("Exit codes: 0 done"));
        assert_eq!(run(script, &server, &["--unknown"], &[]).status.code(), Some(64));
        let odd = run(script, &server, &[], &[("PGDATABASE", "a'; DROP TABLE x; --")]);
        assert!(String::from_utf8_lossy(&odd.stderr).contains("is not a name of letters"), "{odd:?}");
    }
}

#[test]
fn a_server_that_runs_is_not_ended_by_a_second_start() {
    let server = Own::postgres("");
    let pid = || std::fs::read_to_string(server.path().join("pid")).unwrap();
    let before = pid();
    let directory = server.path().display().to_string();
    printed(&run("servers.sh", server.path(), &["postgres", "start", &directory], &[]));
    // It looks for its own lock file once a minute, or at a signal of a child that ends.
    assert!(server.path().join("data/postmaster.pid").exists());
    assert_eq!(pid(), before);
    servers::psql(server.path(), "postgres", "SELECT 1");
}

#[test]
fn a_dump_is_restored_as_the_book_says_and_no_id_is_assigned_twice() {
    let server = Own::postgres("");
    let config = servers::database(server.path());
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("kept", 3), now()).unwrap();
    let port = servers::port(server.path(), "port").to_string();
    let dump = server.path().join("dump").display().to_string();
    let tool = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port]).args(arguments);
        printed(&command.output().unwrap());
    };
    tool("pg_dump", &["-Fc", "-d", &config.database, "-f", &dump]);
    let assigned_later = store.reserve_action_ids(1000).unwrap();
    servers::create_database(server.path(), "restored");
    tool("pg_restore", &["--clean", "--if-exists", "-d", "restored", &dump]);
    let book = include_str!("../../../conf/README.md");
    let line = book.lines().find(|line| line.contains("setval('ids'")).unwrap();
    servers::psql(server.path(), "restored", line.split('"').nth(1).unwrap());
    let mut restored = PostgresStore::open(&PostgresConfig { database: "restored".into(), ..config }).unwrap();
    assert_eq!(select(&mut restored, "all").unwrap().len(), 3);
    assert!(restored.reserve_action_ids(1).unwrap()[0] > *assigned_later.last().unwrap());
}
