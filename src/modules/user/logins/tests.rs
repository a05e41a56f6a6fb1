//! Machines whose logins are in databases, and files of logins that were rotated.

use super::{lastlog_record, record};
use crate::modules::files::Machine;
use crate::modules::user::tests::{machine, names, search};
use crate::modules::{ModuleResult, notation};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// A machine with accounts, without any login.
fn without_logins(directory: &std::path::Path) -> Machine {
    let machine = machine(directory);
    for path in ["/var/log/wtmp", "/run/utmp", "/run/systemd/sessions/4"] {
        fs::remove_file(machine.path(path)).unwrap();
    }
    machine
}

/// A database of SQLite itself, in which a connection stays open.
fn database(machine: &Machine, path: &str, text: &str) -> rusqlite::Connection {
    let path = machine.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(text).unwrap();
    connection
}

/// Rows of wtmpdb, as `(type, user, login days ago)`.
fn wtmpdb(machine: &Machine, path: &str, rows: &[(i64, &str, i64)]) -> rusqlite::Connection {
    let table = "CREATE TABLE IF NOT EXISTS wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, \
                 Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT;";
    let connection = database(machine, path, table);
    for (kind, user, days) in rows {
        let microseconds = (now() - days * DAY_SECONDS) * 1_000_000 + 5;
        let row = "INSERT INTO wtmp (Type, User, Login, TTY, RemoteHost, Service) VALUES (?, ?, ?, 'pts/5', '10.0.0.9', 'sshd')";
        connection.execute(row, (kind, user, microseconds)).unwrap();
    }
    connection
}

/// Rows of lastlog2, as `(name, login days ago)`.
fn lastlog2(machine: &Machine, rows: &[(&str, i64)]) -> rusqlite::Connection {
    let table = "CREATE TABLE Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT);";
    let connection = database(machine, "/var/lib/lastlog/lastlog2.db", table);
    for (name, days) in rows {
        let row = "REPLACE INTO Lastlog2 VALUES (?, ?, 'tty2', NULL, 'login')";
        connection.execute(row, (name, now() - days * DAY_SECONDS)).unwrap();
    }
    connection
}

/// Records of wtmp, as `(type, user, days ago)`.
fn wtmp(rows: &[(u16, &str, i64)]) -> Vec<u8> {
    let of = |(kind, user, days): &(u16, &str, i64)| {
        record(*kind, 1, user, ("pts/7", "h"), u32::try_from(now() - days * DAY_SECONDS).unwrap())
    };
    rows.iter().map(of).collect::<Vec<_>>().concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// How many days ago the logins begin that are known; a test takes less than a minute.
fn since_days(result: &ModuleResult) -> Option<i64> {
    let since = result.statistics.get("loginssince")?;
    let is_it = |days: i64, late: i64| *since == notation::time(now() - days * DAY_SECONDS - late, 0);
    (0..1000).find(|days| (0..60).any(|late| is_it(*days, late)))
}

#[test]
fn where_nothing_has_logins_nobody_is_said_to_have_none() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    for _ in 0..2 {
        for line in ["-lastlogin >90d", "-lastlogin <90d", "-lastlogin >90d -lastlogin >1d -name joe"] {
            let result = search(&machine, line);
            assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)), "{line}");
            let count = if line.ends_with("joe") { 1 } else { 5 };
            let expected = [
                "no records in /var/log/wtmp, lastlog or the databases of wtmpdb and lastlog2: last logins are unknown"
                    .into(),
                format!("partial: search s1: last logins of {count} accounts cannot be compared: they are not known"),
            ];
            assert_eq!(result.errors.unwrap(), expected, "{line}");
        }
        let other = search(&machine, "-name ^joe -lastlogin >90d -matchany");
        assert_eq!(other.elements["s1"][0]["search"], json!({"names": ["^joe"]}));
        // A file that is there, and empty.
        fs::write(machine.path("/var/log/wtmp"), "").unwrap();
        fs::write(machine.path("/var/log/lastlog"), "").unwrap();
    }
    let result = search(&machine, "-name joe");
    assert_eq!((names(&result), result.statistics.get("partial")), (vec!["joe"], None), "it does not ask");
}

#[test]
fn logins_in_databases_are_known_with_their_log_and_their_older_files() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    let rows = [(1, "reboot", 60), (3, "joe", 50), (3, "root", 30), (2, "eve", 10), (3, "joe", 40), (1, "reboot", 5)];
    let connection = wtmpdb(&machine, "/var/lib/wtmpdb/wtmp.db", &rows);
    let result = search(&machine, "-lastlogin >35d");
    assert_eq!((names(&result), &result.errors), (vec!["joe", "eve", "bin", "toor"], &None));
    assert_eq!(since_days(&result), Some(60));
    let last = &result.elements["s1"][0]["lastlogin"];
    assert_eq!((&last["line"], &last["from"]), (&json!("pts/5"), &json!("10.0.0.9")));
    let beyond = search(&machine, "-lastlogin >90d");
    assert_eq!(beyond.elements, json!({}));
    let errors = beyond.errors.unwrap();
    assert!(errors[0].contains("last logins of 3 accounts cannot be compared: those before 20"), "{errors:?}");

    wtmpdb(&machine, "/var/lib/wtmpdb/wtmp_20260101.db", &[(3, "toor", 100)]);
    wtmpdb(&machine, "/var/log/wtmp.db", &[(3, "bin", 99)]);
    let result = search(&machine, "-lastlogin >90d");
    assert_eq!((names(&result), &result.errors), (vec!["eve", "bin", "toor"], &None));
    assert_eq!(since_days(&result), Some(100));

    let _: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    let row = "INSERT INTO wtmp (Type, User, Login) VALUES (3, 'eve', ?)";
    connection.execute(row, [(now() - 3600) * 1_000_000]).unwrap();
    assert_eq!(names(&search(&machine, "-lastlogin <1d")), ["eve"]);

    fs::write(machine.path("/var/lib/wtmpdb/wtmp_20260101.db"), "SQLite format 3").unwrap();
    let result = search(&machine, "-name eve -lastlogin <1d");
    assert_eq!((names(&result), since_days(&result)), (vec!["eve"], Some(60)), "behind the gap");
    let error = "read /var/lib/wtmpdb/wtmp_20260101.db: it is no database of SQLite: last logins in it are unknown";
    assert_eq!(result.errors.unwrap(), [error]);
}

#[test]
fn the_last_login_of_each_account_is_known_from_lastlog2_as_far_as_it_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    let connection = lastlog2(&machine, &[("root", 3), ("joe", 200), ("nobody", 300)]);
    let result = search(&machine, "-lastlogin >90d");
    assert_eq!((names(&result), &result.errors), (vec!["joe", "eve", "bin", "toor"], &None));
    assert_eq!(result.elements["s1"][0]["lastlogin"]["line"], "tty2");
    assert_eq!(since_days(&result), Some(300));
    // As it is made on a new machine: of before nothing is known.
    connection.execute_batch("DELETE FROM Lastlog2 WHERE Name != 'root'").unwrap();
    let result = search(&machine, "-lastlogin >90d");
    assert_eq!((&result.elements, since_days(&result)), (&json!({}), Some(3)));
    // With the older file, which ends where this one begins, all are known.
    fs::write(
        machine.path("/var/log/lastlog"),
        lastlog_record(u32::try_from(now() - 3 * DAY_SECONDS).unwrap(), "tty1", ""),
    )
    .unwrap();
    let result = search(&machine, "-lastlogin >90d");
    assert_eq!((names(&result), since_days(&result)), (vec!["joe", "eve", "bin"], None));
    // Broken: later logins than lastlog has may be in it.
    drop(connection);
    fs::write(machine.path("/var/lib/lastlog/lastlog2.db"), "SQLite format 3").unwrap();
    let result = search(&machine, "-lastlogin >90d");
    assert_eq!(result.elements, json!({}));
    assert!(result.errors.unwrap()[0].contains("lastlog2.db: it is no database of SQLite"));
}

#[test]
fn files_that_were_rotated_are_read_packed_or_not_and_a_gap_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    let path = |name: &str| machine.path("/var/log").join(name);
    fs::write(path("wtmp"), wtmp(&[(2, "reboot", 10), (7, "root", 9)])).unwrap();
    fs::write(path("wtmp.1"), wtmp(&[(7, "joe", 40), (7, "root", 39)])).unwrap();
    let mut two = gzip(&wtmp(&[(7, "eve", 70), (7, "joe", 60)]));
    two.extend(gzip(&wtmp(&[(8, "", 50)])[..100]));
    fs::write(path("wtmp.2.gz"), &two).unwrap();
    fs::write(path("wtmp.3.gz"), gzip(&wtmp(&[(7, "bin", 100)]))).unwrap();
    let result = search(&machine, "-lastlogin >65d");
    assert_eq!((names(&result), &result.errors), (vec!["eve", "bin", "toor"], &None));
    assert_eq!((since_days(&result), &result.elements["s1"][1]["lastlogin"]["line"]), (Some(100), &json!("pts/7")));

    for broken in [&two[..two.len() / 3], b"rubbish"] {
        fs::write(path("wtmp.2.gz"), broken).unwrap();
        let result = search(&machine, "-lastlogin >35d");
        assert_eq!((names(&result), since_days(&result)), (vec!["joe", "eve", "bin", "toor"], Some(40)));
        assert!(result.errors.unwrap()[0].starts_with("read /var/log/wtmp.2.gz: "));
        let beyond = search(&machine, "-lastlogin >65d -name bin");
        assert_eq!(beyond.elements, json!({}), "a login may have been since");
    }
    fs::remove_file(path("wtmp.2.gz")).unwrap();
    fs::write(path("wtmp.2.xz"), "").unwrap();
    let errors = search(&machine, "-lastlogin >35d").errors.unwrap();
    assert_eq!(
        errors,
        ["read /var/log/wtmp.2.xz: it is packed in a way that is not read: last logins in it are unknown"]
    );
}

#[test]
fn a_packed_file_of_any_size_is_read_within_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    fs::write(machine.path("/var/log/wtmp"), wtmp(&[(7, "root", 5)])).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&wtmp(&[(7, "joe", 90)])).unwrap();
    for _ in 0..80 {
        packed.write_all(&vec![0; 1 << 20]).unwrap();
    }
    fs::write(machine.path("/var/log/wtmp.1.gz"), packed.finish().unwrap()).unwrap();
    fs::write(machine.path("/var/log/wtmp.2"), wtmp(&[(7, "eve", 99)])).unwrap();
    let result = search(&machine, "-name .");
    assert_eq!(since_days(&result), Some(5));
    let has_login: Vec<bool> =
        result.elements["s1"].as_array().unwrap().iter().map(|one| one.get("lastlogin").is_some()).collect();
    assert_eq!(has_login, [true, true, false, false, false]);
    let errors = result.errors.unwrap();
    assert!(errors[0].starts_with("read /var/log/wtmp.1.gz: only its beginning, 67108864 bytes in all"), "{errors:?}");
}

#[test]
fn files_that_are_not_written_any_more_know_nothing_of_later_logins() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    // A machine that was upgraded 100 days ago to a system without wtmp and lastlog.
    fs::write(machine.path("/var/log/wtmp"), wtmp(&[(2, "reboot", 300), (7, "joe", 120)])).unwrap();
    fs::write(
        machine.path("/var/log/lastlog"),
        lastlog_record(u32::try_from(now() - 110 * DAY_SECONDS).unwrap(), "", ""),
    )
    .unwrap();
    let stat =
        |days: i64| fs::write(machine.path("/proc/stat"), format!("cpu 1\nbtime {}\n", now() - days * DAY_SECONDS));
    stat(150).unwrap();
    assert_eq!(names(&search(&machine, "-lastlogin >90d")).len(), 5);
    stat(20).unwrap();
    let result = search(&machine, "-lastlogin >90d");
    assert_eq!(result.elements, json!({}));
    assert!(result.errors.unwrap()[0].starts_with("no file has records of logins since this machine started, 20"));
    // With wtmpdb since 60 days, which has a login: what was between is not known.
    wtmpdb(&machine, "/var/lib/wtmpdb/wtmp.db", &[(1, "reboot", 60), (3, "eve", 30), (1, "reboot", 20)]);
    let result = search(&machine, "-lastlogin >50d");
    assert_eq!((names(&result), since_days(&result)), (vec!["root", "joe", "bin", "toor"], Some(60)));
    let result = search(&machine, "-lastlogin >70d");
    assert_eq!(result.elements, json!({}));
    let result = search(&machine, "-lastlogin >70d -name root");
    assert!(result.errors.unwrap()[0].contains("last logins of 1 accounts cannot be compared: those before "));
}

#[test]
fn a_login_that_goes_on_is_the_last_one() {
    let directory = tempfile::tempdir().unwrap();
    let machine = without_logins(directory.path());
    fs::write(machine.path("/var/log/lastlog"), lastlog_record(1_600_000_000, "tty1", "")).unwrap();
    let session = format!("USER=joe\nCLASS=user\nTTY=pts/4\nREALTIME={}\nSTATE=active\n", (now() - 60) * 1_000_000);
    fs::write(machine.path("/run/systemd/sessions/9"), session).unwrap();
    assert_eq!(names(&search(&machine, "-lastlogin <1d")), ["joe"]);
    assert_eq!(names(&search(&machine, "-lastlogin >90d")), ["root", "eve", "bin", "toor"]);
}
