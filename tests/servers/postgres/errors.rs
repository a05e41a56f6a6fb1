//! Errors say what to do, never hold the password, and do not take what may work later for refused.

use super::{agents, select, servers};
use crate::common::servers::Own;
use mig::config::Material;
use mig::config::Secret;
use mig::config::database::{PostgresConfig, SslMode};
use mig::failure::Failure;
use mig::store::Store;
use mig::store::postgres::PostgresStore;
use mig::time;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn opening(config: &PostgresConfig) -> String {
    let Err(error) = PostgresStore::open(config) else { panic!("it opened") };
    assert!(matches!(error, Failure::Retry { server: Some(_), .. }), "{error}");
    let text = error.to_string();
    assert!(!text.contains(config.password.expose()), "{text}");
    text
}

fn refused(config: &PostgresConfig) -> String {
    match PostgresStore::open(config) {
        Err(Failure::Refuse(text)) => text,
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_named() {
    let right = servers::database(&servers::shared("postgres"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (wrong, expected) in [
        (
            PostgresConfig { password: Secret::new("wrong-password".into()), ..right.clone() },
            "the password of migscheduler is wrong (postgres.user, postgres.password)",
        ),
        (PostgresConfig { user: "nobody".into(), ..right.clone() }, "the password of nobody is wrong"),
        (
            PostgresConfig { database: "missing".into(), ..right.clone() },
            "there is no database missing (postgres.dbname); create it with scripts/createlocaldb.sh",
        ),
        (PostgresConfig { port: free, ..right.clone() }, "nothing listens on port"),
        (PostgresConfig { host: "host.invalid".into(), ..right.clone() }, "the host is not known (postgres.host)"),
        (
            PostgresConfig { ssl_mode: SslMode::Require, ..right.clone() },
            "if the server has none, set postgres.sslmode",
        ),
    ] {
        let text = opening(&wrong);
        assert!(text.starts_with(&format!("connect to database {} on ", wrong.database)), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_database_without_the_tables_is_refused_with_the_script_that_makes_them() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let set = |version: u32| {
        let sql = format!("DELETE FROM schema_version; INSERT INTO schema_version (version) VALUES ({version})");
        servers::psql(&server, &config.database, &sql);
    };
    set(1000);
    assert!(refused(&config).contains("have version 1000, this program knows"));
    set(0);
    assert!(refused(&config).contains("upgrade them with scripts/createlocaldb.sh"));
    let empty = PostgresConfig { database: servers::unique("empty"), ..config };
    servers::psql(&server, "postgres", &format!("CREATE DATABASE {}", empty.database));
    assert!(refused(&empty).contains("there are no tables"));
}

#[test]
fn a_database_that_cannot_hold_every_text_is_refused() {
    let server = servers::shared("postgres");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = servers::unique("encoding");
        let create = format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        servers::psql(&server, "postgres", &create);
        let config = PostgresConfig { database: name, ..servers::database(&server) };
        let text = refused(&config);
        assert!(text.contains(&format!("the encoding in database {} ", config.database)), "{text}");
        assert!(text.contains(&format!("is {encoding}, and results need UTF8; create another database")), "{text}");
    }
}

/// Passes one connection on to a server, with another name for the options of the session: a pooler that ignores them.
fn without_options(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own_port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut first = [0; 4096];
        let size = client.read(&mut first).unwrap();
        let at = first.windows(8).position(|window| window == b"options\0").unwrap();
        // A name of the same length that any value is good for.
        first[at..at + 8].copy_from_slice(b"mig.opt\0");
        server.write_all(&first[..size]).unwrap();
        let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
        let _ = std::io::copy(&mut client, &mut server);
    });
    own_port
}

/// Answers one connection as a pooler does that knows no options.
fn refuses_options() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 4096]);
        let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
        client.write_all(b"E").unwrap();
        client.write_all(&(fields.len() as u32 + 4).to_be_bytes()).unwrap();
        client.write_all(fields).unwrap();
    });
    port
}

#[test]
fn a_pooler_that_drops_the_options_of_sessions_is_refused_by_name() {
    let right = servers::database(&servers::shared("postgres"));
    for port in [without_options(right.port), refuses_options()] {
        let text = refused(&PostgresConfig { port, ..right.clone() });
        assert!(text.contains("a pooler (pgbouncer) is in front of the server"), "{text}");
    }
}

#[test]
fn a_server_that_accepts_and_says_nothing_holds_nobody_up_for_long() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = PostgresConfig {
        port: silent.local_addr().unwrap().port(),
        timeout: Duration::from_millis(300),
        ..servers::database(&servers::shared("postgres"))
    };
    for _ in 0..2 {
        let start = Instant::now();
        assert!(opening(&config).contains("no answer within"));
        assert!(start.elapsed() < servers::PATIENCE);
    }
}

#[test]
fn a_read_only_server_is_away_until_it_is_not() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut store = PostgresStore::open(&config).unwrap();
    let set = |value: &str| {
        let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = {value}", config.database);
        servers::psql(&server, "postgres", &sql);
        // Sessions that are there keep what they had.
        let end =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", config.database);
        servers::psql(&server, "postgres", &end);
    };
    set("on");
    let error = store.register(&agents("ro", 1), time::now()).unwrap_err();
    assert!(
        matches!(&error, Failure::Retry { server: Some(_), reason } if reason.contains("the server is read-only")),
        "{error}"
    );
    assert_eq!(select(&mut store, "all").unwrap().len(), 0, "reading goes on");
    set("off");
    store.register(&agents("ro", 1), time::now()).unwrap();
}

#[test]
fn no_more_connections_are_made_than_allowed() {
    let server = servers::shared("postgres");
    let config = PostgresConfig { connections_max: 3, ..servers::database(&server) };
    let counted = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", config.database);
    let stores: Vec<PostgresStore> = (0..12).map(|_| PostgresStore::open(&config).unwrap()).collect();
    let names: Vec<String> = (0..stores.len()).map(|n| format!("busy{n}-")).collect();
    std::thread::scope(|scope| {
        for (mut store, name) in stores.into_iter().zip(&names) {
            scope.spawn(move || (0..20).for_each(|_| drop(store.register(&agents(name, 20), time::now()).unwrap())));
        }
        let count: u32 = servers::psql(&server, "postgres", &counted).parse().unwrap();
        assert!((1..=3).contains(&count), "{count} connections");
    });
    let limit = |number: i32| {
        servers::psql(&server, "postgres", &format!("ALTER DATABASE {} CONNECTION LIMIT {number}", config.database));
    };
    limit(0);
    assert!(opening(&PostgresConfig { connections_max: 4, ..config.clone() }).contains("has too many connections"));
    limit(-1);
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut store = PostgresStore::open(&config).unwrap();
    servers::psql(&server, &config.database, "REVOKE INSERT ON agents FROM migscheduler");
    let error = store.register(&agents("denied", 1), time::now()).unwrap_err();
    let expected = "a permission is missing; grant it with scripts/createlocaldb.sh";
    assert!(matches!(&error, Failure::Retry { server: None, reason } if reason.contains(expected)), "{error}");
    servers::create_database(&server, &config.database);
    store.register(&agents("denied", 1), time::now()).unwrap();
}

#[test]
fn only_a_certificate_of_a_known_authority_for_that_host_is_accepted() {
    let keys = tempfile::tempdir().unwrap();
    for name in ["server", "other"] {
        servers::openssl(
            keys.path(),
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 \
                -keyout {name}.key -out {name}.crt"
            ),
        );
    }
    let server = Own::postgres("");
    let settings = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n";
    for file in ["server.crt", "server.key"] {
        let path = server.path().join("data").join(file);
        std::fs::copy(keys.path().join(file), &path).unwrap();
        std::process::Command::new("chown")
            .arg("--reference")
            .arg(server.path().join("data"))
            .arg(&path)
            .status()
            .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    std::fs::write(server.path().join("extra.conf"), settings).unwrap();
    server.control("stop");
    server.control("start");
    let plain = servers::database(server.path());
    let verified = |ca: &str| PostgresConfig {
        ssl_mode: SslMode::VerifyFull,
        ca: Some(Material::File(keys.path().join(ca))),
        ..plain.clone()
    };
    let encrypted = |config: &PostgresConfig| {
        let _store = PostgresStore::open(config).unwrap();
        let sql =
            "SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'migscheduler' AND ssl";
        servers::psql(server.path(), "postgres", sql)
    };
    assert!(encrypted(&verified("server.crt")).starts_with("TLSv1."));
    assert!(encrypted(&PostgresConfig { ssl_mode: SslMode::Require, ..plain.clone() }).starts_with("TLSv1."));
    let expected = "the server's certificate is not accepted; postgres.cacert must name the authority";
    assert!(opening(&verified("other.crt")).contains(expected));
    let named = PostgresConfig { host: "localhost".into(), ..verified("server.crt") };
    assert!(opening(&named).contains(expected), "the certificate is for another host");
    let Err(Failure::Refuse(text)) = PostgresStore::open(&verified("server.key")) else { panic!() };
    assert!(text.starts_with("postgres.cacert: ") && text.contains("no certificate"), "{text}");
}
