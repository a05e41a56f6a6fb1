//! Reads the memory of a process while it runs, in pieces of a constant size.
//!
//! Only pages that the process has in memory or in swap are read: `/proc/PID/pagemap` names them. Reading others would make the
//! kernel supply them, which for a large mapping that is hardly used is all memory of the machine.

use super::Process;
use super::regions::{Devices, Region};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What has at most so many bytes is whole in one piece, with the byte before and the byte behind it.
const WHOLE_BYTES: usize = 64 << 10;
/// Bytes that two pieces of the same memory have in common.
const OVERLAP_BYTES: usize = WHOLE_BYTES + 2;
/// Bytes of a piece: larger ones are not quicker to read.
pub(in crate::modules) const PIECE_BYTES: usize = 1 << 20;
/// Pages that are asked for at once: half a MiB of `pagemap`.
const PAGES: usize = 1 << 16;
/// Bytes of `pagemap` for each page.
const ENTRY_BYTES: u64 = 8;
/// Bits of an entry: the page is in memory, or in swap.
const HELD: u64 = 3 << 62;
/// Bytes of a region that is read where the kernel does not say which pages there are.
const UNKNOWN_REGION_BYTES_MAX: u64 = 256 << 20;
/// Failures of one process that are remembered.
const FAILURES_MAX: usize = 1_000;
/// Pages are this large, if the kernel does not say how large.
const PAGE_BYTES_DEFAULT: u64 = 4 << 10;

/// What looks at the memory.
pub(in crate::modules) trait Reader {
    /// Whether to stop. It is asked often, also where there is no memory.
    fn is_over(&mut self) -> bool;
    /// Looks at a piece. False: enough was read.
    fn look(&mut self, piece: &Piece) -> bool;
}

/// Memory that follows on each other.
#[derive(Debug, Clone, Copy)]
pub(in crate::modules) struct Piece<'b> {
    /// Of the first byte.
    pub(in crate::modules) address: u64,
    /// What is there.
    pub(in crate::modules) bytes: &'b [u8],
    /// There is nothing before it; otherwise its first byte only says what stands before the second.
    pub(in crate::modules) is_start: bool,
    /// There is nothing behind it; otherwise its last byte only says what stands behind the one before it.
    pub(in crate::modules) is_end: bool,
}

/// A part that could not be read.
#[derive(Debug)]
pub(in crate::modules) struct Failure {
    /// Its first address.
    pub(in crate::modules) start: u64,
    /// Behind its last one.
    pub(in crate::modules) end: u64,
    /// Why.
    pub(in crate::modules) error: io::Error,
}

/// What was read.
#[derive(Debug, Default)]
pub(in crate::modules) struct Walk {
    /// Bytes, without those that were read again.
    pub(in crate::modules) bytes: u64,
    /// What could not be read although it is there.
    pub(in crate::modules) failures: Vec<Failure>,
    /// The memory was gone before the end: the process has ended, or replaced its program.
    pub(in crate::modules) is_gone: bool,
}

/// Which memory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::modules) struct Range {
    /// From this address.
    pub(in crate::modules) offset: u64,
    /// At most so many bytes.
    pub(in crate::modules) length: u64,
}

/// Reads the memory of one process after the other; it has the buffers for that.
pub(in crate::modules) struct Memory {
    page_bytes: u64,
    piece: Vec<u8>,
    entries: Vec<u8>,
    devices: Devices,
}

/// How a step of a walk ended.
enum Step {
    GoesOn,
    Enough,
}

/// One walk through the memory of one process.
struct Walking<'m, R> {
    memory: File,
    buffer: &'m mut [u8],
    /// Bytes in the buffer, and the address of the first.
    held: usize,
    address: u64,
    is_start: bool,
    left: u64,
    /// The reader wants more.
    is_wanted: bool,
    page_bytes: u64,
    reader: &'m mut R,
    walk: Walk,
}

impl Memory {
    /// One for this machine.
    pub(in crate::modules) fn new() -> Memory {
        let page_bytes = page_bytes().unwrap_or(PAGE_BYTES_DEFAULT);
        let entries = vec![0; PAGES * ENTRY_BYTES as usize];
        Memory { page_bytes, piece: vec![0; PIECE_BYTES], entries, devices: Devices::default() }
    }

    /// Shows memory of a process to `reader`.
    pub(in crate::modules) fn walk(
        &mut self,
        process: &Process,
        regions: &[Region],
        range: Range,
        reader: &mut impl Reader,
    ) -> io::Result<Walk> {
        let pagemap = process.open("pagemap");
        let mut walking = Walking {
            memory: process.open("mem")?,
            buffer: &mut self.piece,
            held: 0,
            address: 0,
            is_start: true,
            left: range.length,
            is_wanted: true,
            page_bytes: self.page_bytes,
            reader,
            walk: Walk::default(),
        };
        for region in regions {
            let start = region.start.max(range.offset);
            if start >= region.end || !region.is_readable() || !self.devices.is_memory(process, region) {
                continue;
            }
            let step = match &pagemap {
                Ok(pagemap) => walking.held_pages(pagemap, &mut self.entries, start, region.end)?,
                Err(_) if region.end - start <= UNKNOWN_REGION_BYTES_MAX => walking.run(start, region.end),
                Err(error) => {
                    walking.failed(start, region.end, io::Error::new(error.kind(), format!("pagemap: {error}")));
                    Step::GoesOn
                }
            };
            if let Step::Enough = step {
                break;
            }
        }
        if walking.is_wanted {
            walking.flush();
        }
        let mut walk = walking.walk;
        if !walk.failures.is_empty() {
            walk.forget_what_is_unmapped(process)?;
        }
        Ok(walk)
    }
}

impl<R: Reader> Walking<'_, R> {
    /// Reads the pages of a region that there are.
    fn held_pages(&mut self, pagemap: &File, entries: &mut [u8], start: u64, end: u64) -> io::Result<Step> {
        let mut page = start / self.page_bytes;
        let last = end.div_ceil(self.page_bytes);
        let mut run: Option<u64> = None;
        while page < last {
            if self.is_over() {
                return Ok(Step::Enough);
            }
            let count = usize::try_from(last - page).unwrap_or(PAGES).min(PAGES);
            let read = pagemap.read_at(&mut entries[..count * ENTRY_BYTES as usize], page * ENTRY_BYTES)?;
            let (found, _) = entries[..read].as_chunks::<{ ENTRY_BYTES as usize }>();
            if found.is_empty() {
                self.walk.is_gone = true;
                return Ok(Step::Enough);
            }
            for entry in found {
                let is_held = u64::from_ne_bytes(*entry) & HELD != 0;
                match (is_held, run) {
                    (true, None) => run = Some(page),
                    (false, Some(first)) => {
                        run = None;
                        if let Step::Enough = self.pages(first, page, start, end) {
                            return Ok(Step::Enough);
                        }
                    }
                    _ => {}
                }
                page += 1;
            }
        }
        Ok(run.map_or(Step::GoesOn, |first| self.pages(first, last, start, end)))
    }

    fn pages(&mut self, first: u64, last: u64, start: u64, end: u64) -> Step {
        self.run((first * self.page_bytes).max(start), (last * self.page_bytes).min(end))
    }

    fn is_over(&mut self) -> bool {
        self.is_wanted &= !self.reader.is_over();
        !self.is_wanted
    }

    /// Reads a part that is there as a whole.
    fn run(&mut self, start: u64, end: u64) -> Step {
        if self.address + self.held as u64 != start {
            if let Step::Enough = self.flush() {
                return Step::Enough;
            }
            self.address = start;
        }
        let mut at = start;
        while at < end {
            if self.left == 0 || self.is_over() {
                return Step::Enough;
            }
            let room = (self.buffer.len() - self.held) as u64;
            // Both fit: the buffer is small.
            let count = room.min(end - at).min(self.left) as usize;
            match self.memory.read_at(&mut self.buffer[self.held..self.held + count], at) {
                Ok(0) => {
                    self.walk.is_gone = true;
                    return Step::Enough;
                }
                Ok(read) => {
                    self.held += read;
                    at += read as u64;
                    self.left -= read as u64;
                    self.walk.bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let next = ((at / self.page_bytes + 1) * self.page_bytes).min(end);
                    self.failed(at, next, error);
                    if let Step::Enough = self.flush() {
                        return Step::Enough;
                    }
                    (self.address, at) = (next, next);
                }
            }
            let is_full = self.held == self.buffer.len() || self.left == 0;
            if is_full && let Step::Enough = self.show(self.left == 0) {
                return Step::Enough;
            }
        }
        Step::GoesOn
    }

    /// Shows what is in the buffer, and keeps what the next piece begins with.
    fn show(&mut self, is_end: bool) -> Step {
        let bytes = &self.buffer[..self.held];
        let piece = Piece { address: self.address, bytes, is_start: self.is_start, is_end };
        if !self.reader.look(&piece) {
            self.is_wanted = false;
            return Step::Enough;
        }
        let kept = if is_end { 0 } else { self.held.min(OVERLAP_BYTES) };
        self.buffer.copy_within(self.held - kept..self.held, 0);
        self.address += (self.held - kept) as u64;
        self.held = kept;
        self.is_start = is_end;
        Step::GoesOn
    }

    /// Nothing follows on what is in the buffer.
    fn flush(&mut self) -> Step {
        if self.held > 0 { self.show(true) } else { Step::GoesOn }
    }

    fn failed(&mut self, start: u64, end: u64, error: io::Error) {
        let failures = &mut self.walk.failures;
        let is_same = |last: &&mut Failure| last.end == start && last.error.kind() == error.kind();
        if let Some(last) = failures.last_mut().filter(is_same) {
            last.end = end;
        } else if failures.len() < FAILURES_MAX {
            failures.push(Failure { start, end, error });
        }
    }
}

impl Walk {
    /// What is not mapped any more is no failure: there is nothing.
    fn forget_what_is_unmapped(&mut self, process: &Process) -> io::Result<()> {
        let now = process.regions()?;
        self.failures.retain(|failure| {
            let is_in = |region: &Region| region.start < failure.end && failure.start < region.end;
            now.list.iter().any(|region| is_in(region) && region.is_readable())
        });
        Ok(())
    }
}

/// How large this machine's pages are: the kernel says that to each process when it starts.
fn page_bytes() -> Option<u64> {
    const PAGE_SIZE: usize = 6;
    let text = std::fs::read("/proc/self/auxv").ok()?;
    let (words, _) = text.as_chunks::<{ size_of::<usize>() }>();
    let words: Vec<usize> = words.iter().map(|word| usize::from_ne_bytes(*word)).collect();
    let (pairs, _) = words.as_chunks::<2>();
    pairs
        .iter()
        .find(|[kind, _]| *kind == PAGE_SIZE)
        .and_then(|[_, bytes]| u64::try_from(*bytes).ok())
        .filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::super::{Processes, has_ended};
    use super::*;

    /// Keeps what it was shown.
    #[derive(Default)]
    struct Keeper {
        /// Address, length, is_start, is_end.
        pieces: Vec<(u64, u64, bool, bool)>,
        bytes: Vec<u8>,
        from: u64,
    }

    impl Reader for Keeper {
        fn is_over(&mut self) -> bool {
            false
        }

        fn look(&mut self, piece: &Piece) -> bool {
            if self.pieces.is_empty() {
                self.from = piece.address;
            }
            let at = usize::try_from(piece.address - self.from).unwrap();
            self.bytes.resize(at, 0);
            self.bytes.extend_from_slice(piece.bytes);
            self.pieces.push((piece.address, piece.bytes.len() as u64, piece.is_start, piece.is_end));
            true
        }
    }

    /// Counts the bytes before an address.
    struct Counter {
        end: u64,
        bytes: u64,
    }

    impl Reader for Counter {
        fn is_over(&mut self) -> bool {
            false
        }

        fn look(&mut self, piece: &Piece) -> bool {
            let is_before = piece.address < self.end;
            if is_before {
                self.bytes += piece.bytes.len() as u64;
            }
            is_before
        }
    }

    fn own() -> Process {
        Processes::open().unwrap().process(std::process::id().cast_signed()).unwrap()
    }

    fn walk(process: &Process, offset: u64, length: u64) -> (Keeper, Walk) {
        let mut keeper = Keeper::default();
        let regions = process.regions().unwrap().list;
        let walk = Memory::new().walk(process, &regions, Range { offset, length }, &mut keeper).unwrap();
        (keeper, walk)
    }

    #[test]
    fn memory_is_shown_whole_in_pieces_that_overlap() {
        let memory: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_ne_bytes).collect();
        let (keeper, walk) = walk(&own(), memory.as_ptr() as u64, memory.len() as u64);
        assert!(keeper.bytes == memory, "{:?}", keeper.pieces);
        assert_eq!((walk.bytes, walk.failures.len(), walk.is_gone), (memory.len() as u64, 0, false));
        let overlaps = keeper.pieces.windows(2).map(|two| two[0].0 + two[0].1 - two[1].0);
        assert!(overlaps.clone().count() > 10 && overlaps.into_iter().all(|bytes| bytes == OVERLAP_BYTES as u64));
        let count = keeper.pieces.len();
        for (index, (_, length, is_start, is_end)) in keeper.pieces.iter().enumerate() {
            assert!(*length <= PIECE_BYTES as u64);
            assert_eq!((*is_start, *is_end), (index == 0, index + 1 == count));
        }
    }

    #[test]
    fn pages_that_were_never_touched_are_not_read() {
        const BYTES: usize = 1 << 30;
        let mut memory = vec![0_u8; BYTES];
        memory[BYTES / 2..BYTES / 2 + 4].copy_from_slice(b"here");
        let end = memory.as_ptr() as u64 + BYTES as u64;
        for reason in ["they are not there", "reading would have made the kernel supply them"] {
            let (process, mut counter) = (own(), Counter { end, bytes: 0 });
            let range = Range { offset: memory.as_ptr() as u64, length: u64::MAX };
            let regions = process.regions().unwrap().list;
            Memory::new().walk(&process, &regions, range, &mut counter).unwrap();
            assert!((4..64 << 20).contains(&counter.bytes), "{}: {reason}", counter.bytes);
        }
        assert_eq!(&memory[BYTES / 2..BYTES / 2 + 4], b"here");
    }

    #[test]
    fn a_process_that_ends_while_it_is_read_is_no_error() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
        let regions = process.regions().unwrap().list;
        child.kill().unwrap();
        let read = |process: &Process| {
            let range = Range { offset: 0, length: u64::MAX };
            Memory::new().walk(process, &regions, range, &mut Keeper::default())
        };
        let is_gone = |walk: io::Result<Walk>| walk.map_or_else(|error| has_ended(&error), |walk| walk.is_gone);
        // It becomes a zombie at a time of its own.
        while process.stat().unwrap().state != 'Z' {
            std::thread::yield_now();
        }
        assert!(is_gone(read(&process)));
        assert_eq!(process.executable().unwrap(), None);
        child.wait().unwrap();
        assert!(is_gone(read(&process)));
        assert!(has_ended(&process.executable().unwrap_err()));
    }
}
