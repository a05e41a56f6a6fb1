//! Zip archives: in a file, in memory, and those that are stored in another one, in place.

use super::broken;
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes of the list of what is in an archive: some 500,000 files.
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of an entry of that list, without texts, and of the header ahead of a file's data.
const ENTRY_BYTES: usize = 46;
const FILE_HEADER_BYTES: u64 = 30;
/// Bytes of the end of an archive without, and with the longest comment.
const END_BYTES: usize = 22;
const END_BYTES_MAX: u64 = 22 + 0xffff;
/// Bytes of what is ahead of that in an archive of the large kind: its own end, and where that is.
const LARGE_END_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;

/// A file in an archive.
pub(super) struct Entry {
    /// Its path there.
    pub(super) name: String,
    is_encrypted: bool,
    method: u64,
    stored_bytes: u64,
    bytes: u64,
    offset: u64,
}

/// An archive: a part of a file or of memory.
#[derive(Clone, Copy)]
pub(super) struct Archive<'s> {
    source: Source<'s>,
    begin: u64,
    length: u64,
}

#[derive(Clone, Copy)]
enum Source<'s> {
    File(&'s File),
    Memory(&'s [u8]),
}

/// Reads the rest of an archive.
impl Read for Archive<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.length).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..room];
        let count = match self.source {
            Source::File(file) => file.read_at(buffer, self.begin)?,
            Source::Memory(bytes) => bytes.get(self.begin as usize..).unwrap_or_default().read(buffer)?,
        };
        self.begin += count as u64;
        self.length -= count as u64;
        Ok(count)
    }
}

impl<'s> Archive<'s> {
    /// The archive that is a file.
    pub(super) fn of_file(file: &'s File) -> io::Result<Archive<'s>> {
        Ok(Archive { source: Source::File(file), begin: 0, length: file.metadata()?.len() })
    }

    /// The archive that is in memory.
    pub(super) fn of_memory(bytes: &'s [u8]) -> Archive<'s> {
        Archive { source: Source::Memory(bytes), begin: 0, length: bytes.len() as u64 }
    }

    /// A part of it.
    fn part(&self, at: u64, length: u64) -> io::Result<Archive<'s>> {
        let is_inside = at.checked_add(length).is_some_and(|end| end <= self.length);
        let part = is_inside.then(|| Archive { begin: self.begin + at, length, ..*self });
        part.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn bytes(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.part(at, length)?.length).unwrap_or(0)];
        self.part(at, length)?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The files that are wanted. It may have something ahead of it: a script that starts it.
    pub(super) fn entries(&self, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
        let is_broken = || broken("its directory is broken");
        let from = self.length.saturating_sub(END_BYTES_MAX);
        let end = self.bytes(from, self.length - from)?;
        let at = memchr::memmem::rfind(&end, b"PK\x05\x06").filter(|at| end.len() - at >= END_BYTES);
        let at = at.ok_or_else(|| broken("it is no zip archive"))?;
        let mut end_offset = from + at as u64;
        let end = &end[at..];
        let (mut count, mut size, mut offset) = (number(end, 10, 2), number(end, 12, 4), number(end, 16, 4));
        // Older tools count beyond what the field can have.
        let mut count_mask = 0xffff;
        if let Some(large) = self.large_end(end_offset) {
            end_offset -= LARGE_END_BYTES + LOCATOR_BYTES;
            (count, size, offset) = (number(&large, 32, 8), number(&large, 40, 8), number(&large, 48, 8));
            count_mask = u64::MAX;
        }
        if size > DIRECTORY_BYTES_MAX {
            return Err(broken(&format!("its directory has {size} bytes")));
        }
        // The directory ends where the end begins; offsets count from where the archive does.
        let base = end_offset.checked_sub(size).and_then(|begin| begin.checked_sub(offset)).ok_or_else(is_broken)?;
        let directory = self.bytes(base + offset, size)?;
        let (mut rest, mut entries, mut counted) = (&directory[..], Vec::new(), 0);
        while !rest.is_empty() {
            let (header, behind) = rest
                .split_at_checked(ENTRY_BYTES)
                .filter(|(header, _)| header.starts_with(b"PK\x01\x02"))
                .ok_or_else(is_broken)?;
            let [name, extra, comment] = [28, 30, 32].map(|at| number(header, at, 2) as usize);
            let name_bytes = behind.get(..name).ok_or_else(is_broken)?;
            let name_text = String::from_utf8_lossy(name_bytes);
            if is_wanted(&name_text) {
                entries.push(Entry {
                    name: name_text.into_owned(),
                    is_encrypted: number(header, 8, 2) & 1 == 1,
                    method: number(header, 10, 2),
                    stored_bytes: number(header, 20, 4),
                    bytes: number(header, 24, 4),
                    offset: base + number(header, 42, 4),
                });
            }
            counted += 1;
            rest = behind.get(name + extra + comment..).ok_or_else(is_broken)?;
        }
        if counted & count_mask != count {
            return Err(is_broken());
        }
        Ok(entries)
    }

    /// The end of an archive with more than 65,535 files, or of more than 4 GiB.
    fn large_end(&self, end_offset: u64) -> Option<Vec<u8>> {
        let locator = self.bytes(end_offset.checked_sub(LOCATOR_BYTES)?, 4).ok()?;
        let end = self.bytes(end_offset.checked_sub(LOCATOR_BYTES + LARGE_END_BYTES)?, LARGE_END_BYTES).ok()?;
        (locator == b"PK\x06\x07" && end.starts_with(b"PK\x06\x06")).then_some(end)
    }

    /// The data of a file as it is stored.
    fn data(&self, entry: &Entry) -> io::Result<Archive<'s>> {
        if entry.is_encrypted {
            return Err(broken("it is encrypted"));
        }
        let header = self.bytes(entry.offset, FILE_HEADER_BYTES)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(broken("it is broken"));
        }
        let begin = entry.offset + FILE_HEADER_BYTES + number(&header, 26, 2) + number(&header, 28, 2);
        self.part(begin, entry.stored_bytes)
    }

    /// A file that is an archive itself, if it is stored as it is.
    pub(super) fn inner(&self, entry: &Entry) -> io::Result<Option<Archive<'s>>> {
        Ok(if entry.method == 0 { Some(self.data(entry)?) } else { None })
    }

    /// The contents of a file.
    pub(super) fn contents(&self, entry: &Entry, bytes_max: u64) -> io::Result<Vec<u8>> {
        if entry.bytes > bytes_max {
            return Err(broken(&format!("it has {} bytes, of which {bytes_max} would be read", entry.bytes)));
        }
        let data = self.data(entry)?;
        let mut contents = Vec::with_capacity(usize::try_from(entry.bytes).unwrap_or(0));
        // One more than there should be, so that a false size is noticed.
        match entry.method {
            0 => data.take(entry.bytes + 1).read_to_end(&mut contents)?,
            8 => DeflateDecoder::new(data).take(entry.bytes + 1).read_to_end(&mut contents)?,
            method => return Err(broken(&format!("it is compressed by method {method}, which is not read"))),
        };
        if contents.len() as u64 != entry.bytes {
            return Err(broken("it does not have the size that the directory says"));
        }
        Ok(contents)
    }
}

/// A little-endian number; 0 behind the end.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes.get(at..at + length).unwrap_or_default().iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
