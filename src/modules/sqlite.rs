//! Reads one table of a database of SQLite (its file format 3, and its write-ahead log), and writes nothing beside it.
//!
//! Only tables with row ids, and no indexes; their columns are found by name, in the text that made the table. The log's frames up
//! to the last commit stand for their pages. A database that is written meanwhile is said to have changed: pages are not locked.

mod rows;
#[cfg(test)]
mod tests;

pub(super) use rows::Value;

use super::files::{self, Links, Stamp};
use rows::{column_names, columns, variable};
use rustix::fs::CWD;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of one row: the header of a package with some 100,000 files.
const ROW_BYTES_MAX: usize = 64 << 20;
/// Bytes of the write-ahead log, which SQLite keeps at some 4 MiB unless a reader holds it.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// Levels of a tree: with two children in each page it is not deeper.
const DEPTH_MAX: usize = 32;

/// Bytes of what is said of all tables and indexes: those of rpm have 10,000.
const SCHEMA_BYTES_MAX: usize = 16 << 20;

/// Bytes at the beginning of the first page.
const FILE_HEADER_BYTES: usize = 100;

/// See the module docs.
pub(super) struct Database {
    file: File,
    log: PathBuf,
    journal: PathBuf,
    path: PathBuf,
    page_bytes: usize,
    usable_bytes: usize,
    pages: u64,
    /// Pages of the log, by their number.
    frames: HashMap<u64, Vec<u8>>,
    /// Of the file, its log and its journal.
    stamp: [Stamp; 3],
}

/// Which rows come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Those with the smallest keys: the oldest, as a rule.
    FirstToLast,
    /// Those with the largest.
    LastToFirst,
}

/// A page of a tree, and where its own header begins.
struct Page {
    bytes: Vec<u8>,
    at: usize,
}

impl Database {
    /// Opens one.
    pub(super) fn open(path: &Path) -> Result<Database, String> {
        let (file, _) = files::open(CWD, path, Links::Follow).map_err(|error| error.to_string())?;
        let [log, journal] = ["-wal", "-journal"].map(|end| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        });
        let stamp = [path, &log, &journal].map(files::stamp);
        let mut database = Database {
            file,
            log,
            journal,
            path: path.to_owned(),
            page_bytes: FILE_HEADER_BYTES,
            usable_bytes: 0,
            pages: 1,
            frames: HashMap::new(),
            stamp,
        };
        let mut header = [0; FILE_HEADER_BYTES];
        let read = database.file.read_exact_at(&mut header, 0);
        if read.is_err() || !header.starts_with(b"SQLite format 3\0") {
            return Err("it is no database of SQLite".into());
        }
        database.page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 1 << 16,
            bytes if bytes.is_power_of_two() && bytes >= 512 => bytes.into(),
            bytes => return Err(format!("its pages have {bytes} bytes")),
        };
        database.usable_bytes = database.page_bytes - usize::from(header[20]);
        let length = database.file.metadata().map_err(|error| error.to_string())?.len();
        database.pages = length / database.page_bytes as u64;
        database.read_log().map_err(|reason| format!("its log {}: {reason}", database.log.display()))?;
        Ok(database)
    }

    /// Reads the frames of the log up to the last commit.
    fn read_log(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        match files::open(CWD, &self.log, Links::Follow) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.and_then(|(log, _)| log.take(LOG_BYTES_MAX + 1).read_to_end(&mut bytes)),
        }
        .map_err(|error| error.to_string())?;
        if bytes.len() as u64 > LOG_BYTES_MAX {
            return Err(format!("it has more than {LOG_BYTES_MAX} bytes"));
        }
        let Some((header, mut rest)) = bytes.split_at_checked(32) else { return Ok(()) };
        let is_big = match word(header, 0) {
            Some(0x377f_0683) => true,
            Some(0x377f_0682) => false,
            _ => return Err("it is none of SQLite".into()),
        };
        let mut sum = checksum((0, 0), &header[..24], is_big);
        if Some(sum) != pair(header, 24) || word(header, 8) != u32::try_from(self.page_bytes).ok() {
            // It was never finished: SQLite itself takes none of it.
            return Ok(());
        }
        let (salts, mut pending) = (&header[16..24], Vec::new());
        while let Some((frame, behind)) = rest.split_at_checked(24 + self.page_bytes) {
            sum = checksum(checksum(sum, &frame[..8], is_big), &frame[24..], is_big);
            if &frame[8..16] != salts || Some(sum) != pair(frame, 16) {
                break;
            }
            pending.push((u64::from(word(frame, 0).unwrap_or(0)), frame[24..].to_vec()));
            let pages = word(frame, 4).unwrap_or(0);
            if pages > 0 {
                self.frames.extend(pending.drain(..));
                self.pages = pages.into();
            }
            rest = behind;
        }
        Ok(())
    }

    /// Fails if the database was written since it was opened, or a change of it has begun and not ended: pages may be of both.
    pub(super) fn is_unchanged(&self) -> Result<(), String> {
        if [&self.path, &self.log, &self.journal].map(|path| files::stamp(path)) != self.stamp {
            return Err("it was changed while it was read; something may be missing".into());
        }
        let has_begun = match files::read(&self.journal, Links::Follow, 1) {
            // A journal whose change has ended is removed, empty, or begins with zeros.
            Ok(contents) => contents.bytes.first().is_some_and(|byte| *byte != 0),
            Err(error) => !files::is_missing(&error),
        };
        if has_begun { Err("a change of it has begun and not ended; something may be missing".into()) } else { Ok(()) }
    }

    /// Reads a page that is not yet in `taken`, those of a tree and of its rows: each has one place there. So no more pages are
    /// read than were written: one that never was, as most of a sparse file, leads to no other.
    fn page(&self, number: u64, taken: &mut HashSet<u64>) -> Result<Vec<u8>, String> {
        if !taken.insert(number) {
            return Err(format!("it is broken: page {number} has two places in a tree"));
        }
        if number == 0 || number > self.pages {
            return Err(format!("it is broken: it has no page {number}"));
        }
        if let Some(bytes) = self.frames.get(&number) {
            return Ok(bytes.clone());
        }
        let mut bytes = vec![0; self.page_bytes];
        let offset = (number - 1) * self.page_bytes as u64;
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| format!("page {number}: {error}"))?;
        Ok(bytes)
    }

    /// Calls `each` with these columns of every row of a table, until it returns false. Rows that are older than a column have
    /// nothing in it.
    pub(super) fn rows<const COUNT: usize>(
        &mut self,
        table: &str,
        names: [&str; COUNT],
        order: Order,
        each: &mut dyn FnMut([Value; COUNT]) -> bool,
    ) -> Result<(), String> {
        let (mut found, mut schema_bytes) = (None, 0);
        // The schema: type, name, table, root page, text.
        self.walk(1, Order::FirstToLast, &mut |row| {
            if let [Value::Text(b"table"), Value::Text(name), _, Value::Integer(root), Value::Text(text), ..] =
                columns(row)?[..]
                && name == table.as_bytes()
            {
                found = Some((u64::try_from(root).ok()?, String::from_utf8_lossy(text).into_owned()));
            }
            schema_bytes += row.len();
            Some(found.is_none() && schema_bytes <= SCHEMA_BYTES_MAX)
        })?;
        if found.is_none() && schema_bytes > SCHEMA_BYTES_MAX {
            return Err(format!("its schema has more than {SCHEMA_BYTES_MAX} bytes"));
        }
        let (root, text) = found.ok_or_else(|| format!("it has no table {table}"))?;
        let known = column_names(&text).ok_or_else(|| format!("its table {table} was made by a text with comments"))?;
        let mut places = [0; COUNT];
        for (place, name) in places.iter_mut().zip(names) {
            let is_it = |known: &String| known.eq_ignore_ascii_case(name);
            *place = known.iter().position(is_it).ok_or_else(|| format!("its table {table} has no column {name}"))?;
        }
        self.walk(root, order, &mut |row| {
            let columns = columns(row)?;
            Some(each(places.map(|place| columns.get(place).copied().unwrap_or(Value::Null))))
        })
    }

    /// Calls `each` with every row of a tree, in order, until it returns false; none means that the row is broken. Between two
    /// calls there are few pages, as those without cells are broken, as for SQLite itself: only a table without rows is one, and
    /// the first page may have no room for what its only child has.
    fn walk(&self, root: u64, order: Order, each: &mut dyn FnMut(&[u8]) -> Option<bool>) -> Result<(), String> {
        let (mut stack, mut taken) = (vec![(root, 0)], HashSet::new());
        while let Some((number, depth)) = stack.pop() {
            if depth == DEPTH_MAX {
                return Err(format!("it is broken: a tree has more than {DEPTH_MAX} levels"));
            }
            let at = if number == 1 { FILE_HEADER_BYTES } else { 0 };
            let page = Page { bytes: self.page(number, &mut taken)?, at };
            let broken = || format!("it is broken: page {number}");
            match page.bytes.get(page.at) {
                Some(5) => {
                    let children = page.children().filter(|children| children.len() > 1 || number == 1);
                    let mut children = children.ok_or_else(broken)?;
                    // The last that is put on the stack is the next.
                    if order == Order::FirstToLast {
                        children.reverse();
                    }
                    stack.extend(children.into_iter().map(|child| (child, depth + 1)));
                }
                Some(13) => {
                    let cells = page.cells(8).filter(|cells| !cells.is_empty() || depth == 0);
                    let mut cells = cells.ok_or_else(broken)?;
                    if order == Order::LastToFirst {
                        cells.reverse();
                    }
                    for cell in cells {
                        let cell = page.bytes.get(cell..).ok_or_else(broken)?;
                        let row = self.row(cell, &mut taken)?.ok_or_else(broken)?;
                        if !each(&row).ok_or_else(broken)? {
                            return Ok(());
                        }
                    }
                }
                Some(2 | 10) => return Err("a table has no row ids".into()),
                _ => return Err(broken()),
            }
        }
        Ok(())
    }

    /// The row of a cell, with what lies on other pages.
    fn row(&self, cell: &[u8], taken: &mut HashSet<u64>) -> Result<Option<Vec<u8>>, String> {
        let Some((length, rest)) = variable(cell) else { return Ok(None) };
        let Some((_id, rest)) = variable(rest) else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > ROW_BYTES_MAX {
            return Err(format!("a row has {length} bytes, more than {ROW_BYTES_MAX}"));
        }
        let (local_max, local_min) = (self.usable_bytes - 35, (self.usable_bytes - 12) * 32 / 255 - 23);
        if length <= local_max {
            return Ok(rest.get(..length).map(<[u8]>::to_vec));
        }
        let fitting = local_min + (length - local_min) % (self.usable_bytes - 4);
        let local = if fitting <= local_max { fitting } else { local_min };
        let (Some(begun), Some(next)) = (rest.get(..local), word(rest, local)) else { return Ok(None) };
        let (mut row, mut next) = (begun.to_vec(), u64::from(next));
        while row.len() < length {
            let page = self.page(next, taken)?;
            let (Some(number), Some(bytes)) = (word(&page, 0), page.get(4..self.usable_bytes)) else { return Ok(None) };
            row.extend_from_slice(&bytes[..bytes.len().min(length - row.len())]);
            next = number.into();
        }
        Ok(Some(row))
    }
}

impl Page {
    fn short(&self, at: usize) -> Option<usize> {
        Some(u16::from_be_bytes(self.bytes.get(at..at + 2)?.try_into().ok()?).into())
    }

    /// Where its cells begin, behind a header of so many bytes.
    fn cells(&self, header_bytes: usize) -> Option<Vec<usize>> {
        let count = self.short(self.at + 3)?;
        (0..count).map(|index| self.short(self.at + header_bytes + 2 * index)).collect()
    }

    /// The pages below an inner one.
    fn children(&self) -> Option<Vec<u64>> {
        let cells = self.cells(12)?;
        let last = self.at + 8;
        cells.into_iter().chain([last]).map(|cell| word(&self.bytes, cell).map(u64::from)).collect()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn pair(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    Some((word(bytes, at)?, word(bytes, at + 4)?))
}

/// SQLite's sum over words, which are big-endian or not.
fn checksum((mut one, mut two): (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    for words in bytes.chunks_exact(8) {
        let (first, second) = pair(words, 0).unwrap_or_default();
        let turn = |word: u32| if is_big { word } else { word.swap_bytes() };
        one = one.wrapping_add(turn(first)).wrapping_add(two);
        two = two.wrapping_add(turn(second)).wrapping_add(one);
    }
    (one, two)
}
