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
        let (mut end_offset, [mut count, mut size, mut offset]) = self.end()?;
        // Older tools count beyond what the field can have.
        let mut count_mask = 0xffff;
        if let Some(large) = self.large_end(end_offset, [count, size, offset]) {
            end_offset -= LARGE_END_BYTES + LOCATOR_BYTES;
            [count, size, offset] = large;
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

    /// Where the end is that Java takes, and the number of files, the size and the offset of the directory that it says. A comment
    /// behind it may have what looks like another one: it is the last whose own comment reaches to the end of the archive, or,
    /// as something may be behind the archive, that has a directory and a file where it says.
    fn end(&self) -> io::Result<(u64, [u64; 3])> {
        let from = self.length.saturating_sub(END_BYTES_MAX);
        let bytes = self.bytes(from, self.length - from)?;
        let mut is_any = false;
        for at in memchr::memmem::rfind_iter(&bytes, b"PK\x05\x06") {
            let Some((end, behind)) = bytes[at..].split_at_checked(END_BYTES) else { continue };
            is_any = true;
            let (end_offset, said) = (from + at as u64, [number(end, 10, 2), number(end, 12, 4), number(end, 16, 4)]);
            let begins =
                |at: Option<u64>, mark: &[u8]| at.is_some_and(|at| self.bytes(at, 4).is_ok_and(|is| is == mark));
            let is_in_place = || {
                let directory = end_offset.checked_sub(said[1]);
                let file = directory.and_then(|directory| directory.checked_sub(said[2]));
                begins(directory, b"PK\x01\x02") && begins(file, b"PK\x03\x04")
            };
            if behind.len() as u64 == number(end, 20, 2) || is_in_place() {
                return Ok((end_offset, said));
            }
        }
        Err(broken(if is_any { "it has no end that fits its length" } else { "it is no zip archive" }))
    }

    /// What the end of an archive with more than 65,535 files, or of more than 4 GiB, says instead of the small one: where both say
    /// something, that is the same.
    fn large_end(&self, end_offset: u64, small: [u64; 3]) -> Option<[u64; 3]> {
        let locator = self.bytes(end_offset.checked_sub(LOCATOR_BYTES)?, 4).ok()?;
        let end = self.bytes(end_offset.checked_sub(LOCATOR_BYTES + LARGE_END_BYTES)?, LARGE_END_BYTES).ok()?;
        let large = [32, 40, 48].map(|at| number(&end, at, 8));
        let none = [0xffff, 0xffff_ffff, 0xffff_ffff];
        let agree = (0..3).all(|index| small[index] == none[index] || small[index] == large[index]);
        (agree && locator == b"PK\x06\x07" && end.starts_with(b"PK\x06\x06")).then_some(large)
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
