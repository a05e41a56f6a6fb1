//! Hash files of Berkeley DB (versions 8 to 10 of the format), which rpm had until 4.16: the number of a package, and its header.
//!
//! A bucket is a chain of pages of keys and values; a value that does not fit into a page has a chain of its own. As every page
//! belongs to one chain, no more pages are read than the file has. How many keys there are is said at the beginning of the file,
//! and compared with those that were found.

use super::header::HEADER_BYTES_MAX;
use super::rpm::Headers;
use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes that are used of the first page.
const METADATA_BYTES: usize = 512;
/// What is at the beginning of a hash file.
const MAGIC: u32 = 0x0006_1561;
/// Bytes ahead of the index of a page.
const PAGE_HEADER_BYTES: usize = 26;
/// Bytes of an entry whose value is on other pages.
const ELSEWHERE_BYTES: usize = 12;

/// Types of pages; the first is as the second, of older versions.
const PAGE_HASH_OLDER: u8 = 2;
const PAGE_HASH: u8 = 13;
const PAGE_OVERFLOW: u8 = 7;
const PAGE_METADATA: u8 = 8;
/// A page that was never written, or is free.
const PAGE_UNUSED: u8 = 0;

/// Types of entries.
const ENTRY_HERE: u8 = 1;
const ENTRY_ELSEWHERE: u8 = 3;

/// The order of the bytes of a number: that of the machine that made the file.
#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(word),
            Order::Big => u32::from_be_bytes(word),
        })
    }

    fn short(self, bytes: &[u8], at: usize) -> Option<usize> {
        let short = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        let short = match self {
            Order::Little => u16::from_le_bytes(short),
            Order::Big => u16::from_be_bytes(short),
        };
        Some(short.into())
    }
}

/// See the module docs.
struct Database {
    file: File,
    order: Order,
    page_bytes: usize,
    /// Pages of the file.
    pages: u64,
    /// Pages that may still be read.
    pages_left: u64,
    bucket_max: u32,
    /// What is added to the numbers of the buckets of each power of two, for the numbers of their first pages.
    spares: Vec<u32>,
    /// Keys that it says it has.
    keys: u32,
    /// Keys that were found.
    found: u64,
}

/// Reads the headers of a file.
pub(super) fn read(path: &Path, headers: &mut Headers) -> Result<(), String> {
    let mut database = Database::open(path)?;
    for bucket in 0..=database.bucket_max {
        if let Err(reason) = database.bucket(bucket, headers) {
            headers.fault(format!("bucket {bucket}: {reason}"));
        }
        if headers.is_over() {
            return Ok(());
        }
    }
    let Database { keys, found, .. } = database;
    if found < keys.into() {
        return Err(format!("it says that it has {keys} keys, and {found} were found; packages may be missing"));
    }
    Ok(())
}

impl Database {
    fn open(path: &Path) -> Result<Database, String> {
        let file = super::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let mut metadata = [0; METADATA_BYTES];
        let none = || "it is no hash file of Berkeley DB".to_owned();
        file.read_exact_at(&mut metadata, 0).map_err(|_| none())?;
        let is_of = |order: &Order| order.word(&metadata, 12) == Some(MAGIC);
        let order = [Order::Little, Order::Big].into_iter().find(is_of).ok_or_else(none)?;
        let word = |at| order.word(&metadata, at).unwrap_or(0);
        let (version, page_bytes, bucket_max, keys) = (word(16), word(20) as usize, word(72), word(88));
        if metadata[25] != PAGE_METADATA || !(8..=10).contains(&version) {
            return Err(format!("version {version} of Berkeley DB's hash files is not read"));
        }
        if !page_bytes.is_power_of_two() || !(METADATA_BYTES..=1 << 16).contains(&page_bytes) {
            return Err(format!("it is broken: its pages have {page_bytes} bytes"));
        }
        // Encryption, sums, and parts in other files: rpm uses none of them, and they move what a page has.
        if metadata[24] != 0 || metadata[26] != 0 {
            return Err("it is encrypted, has sums or is divided, which is not read".into());
        }
        let pages = length / page_bytes as u64;
        // Each has a page.
        if u64::from(bucket_max) >= pages {
            return Err(format!("it is broken: it has {bucket_max} buckets on {pages} pages"));
        }
        let spares = (0..32).map(|index| word(96 + 4 * index)).collect();
        Ok(Database { file, order, page_bytes, pages, pages_left: pages, bucket_max, spares, keys, found: 0 })
    }

    fn page(&mut self, number: u32) -> Result<Vec<u8>, String> {
        if number == 0 || u64::from(number) >= self.pages {
            return Err(format!("it has no page {number}"));
        }
        self.pages_left = self.pages_left.checked_sub(1).ok_or("a page belongs to two chains")?;
        let mut page = vec![0; self.page_bytes];
        let offset = u64::from(number) * self.page_bytes as u64;
        self.file.read_exact_at(&mut page, offset).map_err(|error| format!("page {number}: {error}"))?;
        Ok(page)
    }

    /// Reads the pairs of a bucket.
    fn bucket(&mut self, bucket: u32, headers: &mut Headers) -> Result<(), String> {
        let power = (u32::BITS - bucket.leading_zeros()) as usize;
        let first = self.spares.get(power).and_then(|spare| spare.checked_add(bucket)).unwrap_or(0);
        let mut number = first;
        loop {
            let page = self.page(number)?;
            match (page[25], self.order.word(&page, 8)) {
                (PAGE_HASH | PAGE_HASH_OLDER, Some(own)) if own == number => {}
                // A bucket that was never used.
                (PAGE_UNUSED, Some(0)) if number == first => return Ok(()),
                (kind, own) => return Err(format!("page {number} is of type {kind}, and says it is page {own:?}")),
            }
            let entries = self.order.short(&page, 20).unwrap_or(0);
            for index in (0..entries).step_by(2) {
                if headers.is_over() {
                    return Ok(());
                }
                self.found += 1;
                match self.pair(&page, index) {
                    Ok(header) => header.into_iter().for_each(|header| headers.add(&header)),
                    Err(reason) => headers.fault(format!("page {number}: {reason}")),
                }
            }
            match self.order.word(&page, 16) {
                Some(next) if next > 0 => number = next,
                _ => return Ok(()),
            }
        }
    }

    /// The header of a pair; none for the pair that has the number of the next package.
    fn pair<'p>(&mut self, page: &'p [u8], index: usize) -> Result<Option<Cow<'p, [u8]>>, String> {
        let (key, value) = (self.entry(page, index)?, self.entry(page, index + 1)?);
        let is_counter = *key == [0; 4] && value.len() == 4;
        Ok((!is_counter).then_some(value))
    }

    /// What an entry has; entries lie behind each other from the end of the page.
    fn entry<'p>(&mut self, page: &'p [u8], index: usize) -> Result<Cow<'p, [u8]>, String> {
        let place = |index| self.order.short(page, PAGE_HEADER_BYTES + 2 * index);
        let end = index.checked_sub(1).map_or(Some(page.len()), place);
        let entry = place(index).zip(end).and_then(|(begin, end)| page.get(begin..end)).unwrap_or_default();
        match entry.first() {
            Some(&ENTRY_HERE) => Ok(Cow::Borrowed(&entry[1..])),
            Some(&ENTRY_ELSEWHERE) if entry.len() == ELSEWHERE_BYTES => {
                let (first, length) = (self.order.word(entry, 4), self.order.word(entry, 8));
                self.chain(first.unwrap_or(0), length.unwrap_or(0) as usize).map(Cow::Owned)
            }
            kind => Err(format!("entry {index}, of type {kind:?} and {} bytes, is not read", entry.len())),
        }
    }

    /// A value that has pages of its own.
    fn chain(&mut self, first: u32, length: usize) -> Result<Vec<u8>, String> {
        if length > HEADER_BYTES_MAX {
            return Err(format!("a value has {length} bytes, more than {HEADER_BYTES_MAX}"));
        }
        let (mut value, mut number) = (Vec::new(), first);
        while value.len() < length {
            let page = self.page(number)?;
            let room = 1..=length - value.len();
            let bytes = self.order.short(&page, 22).filter(|bytes| page[25] == PAGE_OVERFLOW && room.contains(bytes));
            let part = bytes.and_then(|bytes| page.get(PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + bytes));
            value.extend(part.ok_or_else(|| format!("page {number} has no part of a value"))?);
            number = self.order.word(&page, 16).unwrap_or(0);
        }
        Ok(value)
    }
}
