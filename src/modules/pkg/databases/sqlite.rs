//! Reads one table of a database of SQLite (its file format 3, and its write-ahead log), and writes nothing beside it.
//!
//! Only tables with row ids, and no indexes. The log's frames up to the last commit stand for their pages. Pages are not locked.

use super::header::HEADER_BYTES_MAX;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the write-ahead log, which SQLite keeps at some 4 MiB unless a reader holds it.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// Levels of a tree: with two children in each page it is not deeper.
const DEPTH_MAX: usize = 32;

/// Bytes at the beginning of the first page.
const FILE_HEADER_BYTES: usize = 100;

/// See the module docs.
pub(super) struct Database {
    file: File,
    page_bytes: usize,
    usable_bytes: usize,
    pages: u64,
    /// Pages of the log, by their number.
    frames: HashMap<u64, Vec<u8>>,
}

/// A page of a tree, and where its own header begins.
struct Page {
    bytes: Vec<u8>,
    at: usize,
}

impl Database {
    /// Opens one, and reads its write-ahead log.
    pub(super) fn open(path: &Path, log: &Path) -> Result<Database, String> {
        let file = super::open(path).map_err(|error| error.to_string())?;
        let mut database =
            Database { file, page_bytes: FILE_HEADER_BYTES, usable_bytes: 0, pages: 1, frames: HashMap::new() };
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
        database.read_log(log).map_err(|reason| format!("its log {}: {reason}", log.display()))?;
        Ok(database)
    }

    /// Reads the frames of the log up to the last commit.
    fn read_log(&mut self, log: &Path) -> Result<(), String> {
        let mut bytes = Vec::new();
        match super::open(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.and_then(|log| log.take(LOG_BYTES_MAX + 1).read_to_end(&mut bytes)),
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

    fn page(&self, number: u64) -> Result<Vec<u8>, String> {
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

    /// Calls `each` with one column, a blob, of every row of a table, until it returns false.
    pub(super) fn rows(
        &mut self,
        table: &str,
        column: usize,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), String> {
        let mut root = None;
        // The schema: type, name, table, root page, text.
        self.walk(1, &mut |row| {
            let columns = columns(row)?;
            let is_table = columns.first() == Some(&&b"table"[..]) && columns.get(1) == Some(&table.as_bytes());
            if is_table {
                root = columns.get(3).map(|number| number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
            }
            Some(root.is_none())
        })?;
        let root = root.ok_or_else(|| format!("it has no table {table}"))?;
        self.walk(root, &mut |row| Some(each(columns(row)?.get(column)?)))
    }

    /// Calls `each` with every row of a tree, in order, until it returns false; none means that the row is broken.
    fn walk(&self, root: u64, each: &mut dyn FnMut(&[u8]) -> Option<bool>) -> Result<(), String> {
        let mut stack = vec![(root, 0)];
        let mut visited = 0;
        while let Some((number, depth)) = stack.pop() {
            visited += 1;
            if depth == DEPTH_MAX || visited > self.pages {
                return Err("it is broken: a tree has a cycle".into());
            }
            let page = Page { bytes: self.page(number)?, at: if number == 1 { FILE_HEADER_BYTES } else { 0 } };
            let broken = || format!("it is broken: page {number}");
            match page.bytes.get(page.at) {
                Some(5) => {
                    let mut children = page.children().ok_or_else(broken)?;
                    children.reverse();
                    stack.extend(children.into_iter().map(|child| (child, depth + 1)));
                }
                Some(13) => {
                    for cell in page.cells(8).ok_or_else(broken)? {
                        let row = self.row(page.bytes.get(cell..).ok_or_else(broken)?)?.ok_or_else(broken)?;
                        if !each(&row).ok_or_else(broken)? {
                            return Ok(());
                        }
                    }
                }
                _ => return Err(broken()),
            }
        }
        Ok(())
    }

    /// The row of a cell, with what lies on other pages.
    fn row(&self, cell: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some((length, rest)) = variable(cell) else { return Ok(None) };
        let Some((_id, rest)) = variable(rest) else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > HEADER_BYTES_MAX {
            return Err(format!("a row has {length} bytes, more than {HEADER_BYTES_MAX}"));
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
            let page = self.page(next)?;
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

/// The columns of a row as they are stored; a number is big-endian.
fn columns(row: &[u8]) -> Option<Vec<&[u8]>> {
    let (header_bytes, mut types) = variable(row)?;
    let header_bytes = usize::try_from(header_bytes).ok()?;
    let mut data = row.get(header_bytes..)?;
    types = types.get(..header_bytes.checked_sub(row.len() - types.len())?)?;
    let mut columns = Vec::new();
    while !types.is_empty() {
        let (kind, rest) = variable(types)?;
        types = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            kind => (kind - 12) / 2,
        };
        let (column, behind) = data.split_at_checked(usize::try_from(length).ok()?)?;
        columns.push(column);
        data = behind;
    }
    Some(columns)
}

/// A number of variable length, and what is behind it.
fn variable(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
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
