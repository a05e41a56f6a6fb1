//! The raw limit of this machine's disk, without any of our code: files written, synced once per batch, renamed, the
//! directory synced.

use rustix::fs::{fsync, syncfs};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Brings files to `directory/to` by way of `directory/tmp`, a batch at a time; returns how long it took.
pub fn write_and_rename(directory: &Path, files: &[Vec<u8>], batch: usize) -> Duration {
    let (tmp, to) = (directory.join("tmp"), directory.join("to"));
    std::fs::create_dir_all(&tmp).unwrap();
    std::fs::create_dir_all(&to).unwrap();
    let (tmp_dir, to_dir) = (File::open(&tmp).unwrap(), File::open(&to).unwrap());
    let started = Instant::now();
    for (number, batch) in files.chunks(batch).enumerate() {
        for (index, bytes) in batch.iter().enumerate() {
            std::fs::write(tmp.join(index.to_string()), bytes).unwrap();
        }
        if batch.len() == 1 {
            fsync(File::open(tmp.join("0")).unwrap()).unwrap();
        } else {
            syncfs(&tmp_dir).unwrap();
        }
        for index in 0..batch.len() {
            std::fs::rename(tmp.join(index.to_string()), to.join(format!("{number}-{index}"))).unwrap();
        }
        fsync(&to_dir).unwrap();
    }
    let elapsed = started.elapsed();
    std::fs::remove_dir_all(directory).unwrap();
    elapsed
}

/// Inserts rows into a table of an SQLite file, a synced transaction per batch; returns how long it took.
pub fn insert(file: &Path, rows: usize, row: &str, batch: usize) -> Duration {
    let mut connection = rusqlite::Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "full").unwrap();
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)", ()).unwrap();
    let started = Instant::now();
    for begin in (0..rows).step_by(batch) {
        let transaction = connection.transaction().unwrap();
        for _ in begin..(begin + batch).min(rows) {
            transaction.prepare_cached("INSERT INTO rows (text) VALUES (?1)").unwrap().execute([row]).unwrap();
        }
        transaction.commit().unwrap();
    }
    let elapsed = started.elapsed();
    drop(connection);
    std::fs::remove_file(file).unwrap();
    elapsed
}
