//! NDB, rpm's own format, which SUSE has: pages of slots at the beginning, which say where the header of each package is.

use super::header::HEADER_BYTES_MAX;
use super::rpm::Headers;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes at the beginning of the file, in place of the first slots.
const FILE_HEADER_BYTES: usize = 32;
/// Bytes of a page of slots, of a slot, and of a block: places are counted in blocks.
const PAGE_BYTES: usize = 4096;
const SLOT_BYTES: usize = 16;
const BLOCK_BYTES: u64 = 16;
/// Bytes ahead of a header: mark, number, time and length; and behind it, at the end of the last block: sum, length and mark.
const HEAD_BYTES: usize = 16;
const TAIL_BYTES: usize = 12;

/// Reads the headers of a file.
pub(super) fn read(path: &Path, headers: &mut Headers) -> Result<(), String> {
    let file = super::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let header = bytes(&file, 0, FILE_HEADER_BYTES).unwrap_or_default();
    if !header.starts_with(b"RpmP") {
        return Err("it is no database of rpm's NDB".into());
    }
    let (version, pages) = (word(&header, 4), word(&header, 12));
    if version != 0 {
        return Err(format!("version {version} of NDB is not read"));
    }
    if pages == 0 || u64::from(pages) * PAGE_BYTES as u64 > length {
        return Err(format!("it is broken: it has {pages} pages of slots in {length} bytes"));
    }
    // Headers do not lie in each other: together they are no larger than the file.
    let mut bytes_left = length;
    for page in 0..pages {
        let at = u64::from(page) * PAGE_BYTES as u64;
        let slots = bytes(&file, at, PAGE_BYTES).map_err(|error| format!("page {page} of slots: {error}"))?;
        let begin = if page == 0 { FILE_HEADER_BYTES } else { 0 };
        for slot in slots[begin..].chunks_exact(SLOT_BYTES) {
            if headers.is_over() {
                return Ok(());
            }
            match blob(&file, slot, &mut bytes_left) {
                Ok(blob) => blob.iter().for_each(|blob| headers.add(&blob[HEAD_BYTES..])),
                Err(reason) => headers.fault(reason),
            }
        }
    }
    Ok(())
}

/// The head and the header that a slot leads to; nothing if it is free.
fn blob(file: &File, slot: &[u8], bytes_left: &mut u64) -> Result<Option<Vec<u8>>, String> {
    let [index, block, blocks] = [4, 8, 12].map(|at| word(slot, at));
    if !slot.starts_with(b"Slot") {
        return Err("a slot has no mark".into());
    }
    let failed = |reason: &str| format!("package {index}: {reason}");
    match [index, block, blocks] {
        [0, 0, 0] => return Ok(None),
        [_, 0, _] => return Err(failed("its slot leads nowhere")),
        _ => {}
    }
    let count = u64::from(blocks) * BLOCK_BYTES;
    let size = usize::try_from(count).unwrap_or(usize::MAX);
    if size > HEADER_BYTES_MAX {
        return Err(failed(&format!("it has {size} bytes, more than {HEADER_BYTES_MAX}")));
    }
    *bytes_left = bytes_left.checked_sub(count).ok_or_else(|| failed("it lies in other ones"))?;
    let mut blob = bytes(file, u64::from(block) * BLOCK_BYTES, size).map_err(|error| failed(&error.to_string()))?;
    let length = word(&blob, 12);
    let whole = HEAD_BYTES as u64 + u64::from(length) + TAIL_BYTES as u64;
    if !blob.starts_with(b"BlbS") || word(&blob, 4) != index || whole.next_multiple_of(BLOCK_BYTES) != count {
        return Err(failed("what its slot leads to is broken"));
    }
    let tail = blob.split_off(size - TAIL_BYTES);
    if (word(&tail, 0), word(&tail, 4), &tail[8..]) != (sum(&blob), length, b"BlbE") {
        return Err(failed("its sum is wrong"));
    }
    blob.truncate(HEAD_BYTES + length as usize);
    Ok(Some(blob))
}

/// Adler-32 (RFC 1950).
pub(super) fn sum(bytes: &[u8]) -> u32 {
    /// Bytes whose sums fit into 32 bits.
    const STEP_BYTES: usize = 5552;
    const BASE: u32 = 65_521;
    let (mut one, mut two) = (1, 0);
    for part in bytes.chunks(STEP_BYTES) {
        for byte in part {
            one += u32::from(*byte);
            two += one;
        }
        (one, two) = (one % BASE, two % BASE);
    }
    two << 16 | one
}

fn bytes(file: &File, at: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// A little-endian number; 0 behind the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}
