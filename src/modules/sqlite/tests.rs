//! Databases that SQLite itself has written.

use super::*;
use rusqlite::Connection;

const ORDERS: [Order; 2] = [Order::FirstToLast, Order::LastToFirst];

/// The rows of a table as text.
fn rows<const COUNT: usize>(
    path: &Path,
    table: &str,
    names: [&str; COUNT],
    order: Order,
) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut database = Database::open(path)?;
    database.rows(table, names, order, &mut |values| {
        let text = |value: &Value| match value {
            Value::Null => "null".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Value::Blob(bytes) => format!("{bytes:?}"),
            Value::Real => "real".to_owned(),
        };
        found.push(values.iter().map(text).collect::<Vec<_>>().join(" "));
        true
    })?;
    database.is_unchanged().map(|()| found)
}

#[test]
fn values_of_every_kind_are_read_by_the_names_of_their_columns() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t(ID INTEGER PRIMARY KEY, 'a, b' VARCHAR(3, 4) DEFAULT (1 + 2), [n] INT, \"t\" TEXT, r REAL, \
             UNIQUE (n, r)); ALTER TABLE t ADD COLUMN late",
        )
        .unwrap();
    let numbers = [0, 1, -1, 127, -128, 40_000, -8_000_000, 2_000_000_000, 1_788_249_700_123_456, i64::MIN, i64::MAX];
    for number in numbers {
        connection.execute("INSERT INTO t (n, t, r) VALUES (?, 'ü', 0.5)", [number]).unwrap();
    }
    connection.execute("INSERT INTO t (n, t, 'a, b', late) VALUES (NULL, x'ff00', 'y', 7)", []).unwrap();
    let mut expected: Vec<String> = numbers.iter().map(|number| format!("{number} ü real null null 3")).collect();
    expected.push("null [255, 0] null 7 null y".into());
    let names = ["N", "t", "r", "late", "id", "a, b"];
    assert_eq!(rows(&path, "t", names, Order::FirstToLast).unwrap(), expected);
    assert_eq!(rows(&path, "t", ["x"], Order::FirstToLast).unwrap_err(), "its table t has no column x");
    assert_eq!(rows(&path, "T", ["n"], Order::FirstToLast).unwrap_err(), "it has no table T");
}

#[test]
fn rows_of_many_pages_come_in_either_order_and_end_when_they_shall() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let mut connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA page_size = 512; CREATE TABLE t(n INTEGER, text TEXT)").unwrap();
    let transaction = connection.transaction().unwrap();
    for number in 0..20_000 {
        transaction.execute("INSERT INTO t VALUES (?, 'abcdefghijklmnopqrstuvwxyz')", [number]).unwrap();
    }
    transaction.commit().unwrap();
    for order in ORDERS {
        let mut expected: Vec<String> = (0..20_000).map(|number: u32| number.to_string()).collect();
        if order == Order::LastToFirst {
            expected.reverse();
        }
        assert!(rows(&path, "t", ["n"], order).unwrap() == expected, "{order:?}");
        let mut count = 0;
        let end = &mut |[_]: [Value; 1]| {
            count += 1;
            count < 30
        };
        Database::open(&path).unwrap().rows("t", ["n"], order, end).unwrap();
        assert_eq!(count, 30);
    }
}

#[test]
fn what_cannot_be_read_rightly_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    let make = "CREATE TABLE keys(k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE TABLE noted(a, -- b,\n c); \
                CREATE TABLE t(n); INSERT INTO t VALUES (1)";
    connection.execute_batch(make).unwrap();
    assert_eq!(rows(&path, "keys", ["k"], Order::FirstToLast).unwrap_err(), "a table has no row ids");
    let reason = "its table noted was made by a text with comments";
    assert_eq!(rows(&path, "noted", ["a"], Order::FirstToLast).unwrap_err(), reason);
    // What is changed in memory is not in the file; pages of a large change are before it is committed, and its journal says so.
    connection.execute_batch("PRAGMA cache_size = 1; BEGIN; INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(rows(&path, "t", ["n"], Order::FirstToLast).unwrap(), ["1"]);
    let many =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) INSERT INTO t SELECT i FROM n";
    connection.execute_batch(many).unwrap();
    let reason = "a change of it has begun and not ended; something may be missing";
    assert_eq!(rows(&path, "t", ["n"], Order::FirstToLast).unwrap_err(), reason);
    connection.execute_batch("DELETE FROM t WHERE rowid > 2; COMMIT").unwrap();
    assert_eq!(rows(&path, "t", ["n"], Order::FirstToLast).unwrap(), ["1", "2"]);
    connection.execute_batch("PRAGMA journal_mode = PERSIST; INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(rows(&path, "t", ["n"], Order::LastToFirst).unwrap(), ["3", "2", "1"]);
    let mut database = Database::open(&path).unwrap();
    connection.execute_batch("INSERT INTO t VALUES (4)").unwrap();
    database.rows("t", ["n"], Order::FirstToLast, &mut |[_]| true).unwrap();
    assert!(database.is_unchanged().unwrap_err().contains("changed while it was read"));
}

/// What reading the table `t` says if a file has these bytes.
fn error_of(path: &Path, bytes: &[u8], table: &str) -> String {
    std::fs::write(path, bytes).unwrap();
    rows(path, table, ["n"], Order::FirstToLast).unwrap_err()
}

#[test]
fn a_tree_that_leads_to_a_page_again_or_to_none_with_rows_ends_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 512; CREATE TABLE t(n TEXT); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM c WHERE i < 40) INSERT INTO t SELECT hex(zeroblob(i * 15)) FROM c",
        )
        .unwrap();
    let root: u32 = connection.query_row("SELECT rootpage FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    drop(connection);
    let file = std::fs::read(&path).unwrap();
    assert_eq!(rows(&path, "t", ["n"], Order::FirstToLast).unwrap().len(), 40);
    let root = (root as usize - 1) * 512;
    let short = |at: usize| usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
    let page = |at: usize| {
        let number = word(&file, at).unwrap();
        (number, (number as usize - 1) * 512)
    };
    let cell = root + short(root + 12);
    let ((last, last_at), (first, first_at)) = (page(root + 8), page(cell));
    assert_eq!((file[root], file[last_at], file[first_at]), (5, 13, 13));
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        error_of(&path, &changed, "t")
    };
    assert_eq!(changed(root + 3, &[0, 0]), format!("it is broken: page {}", root / 512 + 1));
    assert_eq!(changed(last_at + 3, &[0, 0]), format!("it is broken: page {last}"));
    let twice = format!("it is broken: page {first} has two places in a tree");
    assert_eq!(changed(root + 8, &first.to_be_bytes()), twice);
    // Every cell is the same one.
    let pointer = &file[root + 12..root + 14];
    assert_eq!(changed(root + 12, &[pointer, pointer].concat()), twice);
    // A row goes on on a page that leads to itself.
    let goes_on = |at: &usize| file[at + 4..at + 512].iter().all(|byte| *byte == b'0') && word(&file, *at) != Some(0);
    let at = (0..file.len()).step_by(512).find(goes_on).unwrap();
    let own = at / 512 + 1;
    let twice = format!("it is broken: page {own} has two places in a tree");
    assert_eq!(changed(at, &(own as u32).to_be_bytes()), twice);
}

#[test]
fn a_schema_that_has_a_table_again_and_again_ends_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    let columns: String = (0..300).map(|number| format!(", column_{number}")).collect();
    connection.execute_batch(&format!("PRAGMA page_size = 65536; CREATE TABLE t(n{columns})")).unwrap();
    drop(connection);
    let mut file = std::fs::read(&path).unwrap();
    let cell = [file[108], file[109]];
    file[103..105].copy_from_slice(&30_000_u16.to_be_bytes());
    for pointer in file[108..108 + 60_000].chunks_exact_mut(2) {
        pointer.copy_from_slice(&cell);
    }
    assert_eq!(error_of(&path, &file, "u"), format!("its schema has more than {SCHEMA_BYTES_MAX} bytes"));
}
