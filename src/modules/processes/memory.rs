//! Reads the memory of a process while it runs, in pieces of a constant size.
//!
//! Only pages that the process has in memory or in swap are read: `/proc/PID/pagemap` names them. Reading others would make the
//! kernel supply them, which for a large mapping that is hardly used is all memory of the machine. Shared memory may be there
//! although the process does not have it at the moment; that is read as the file that it is.

use super::Process;
use super::regions::{Devices, Region};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
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
/// Stretches of memory of one process that are listed: 32 MiB.
const STRETCHES_MAX: usize = 1 << 20;
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
    piece: Vec<u8>,
    devices: Devices,
}

/// Which pages of a process there are, and what is in them.
#[derive(Debug)]
struct Pages<'p> {
    process: &'p Process,
    page_bytes: u64,
    memory: File,
    pagemap: io::Result<File>,
    /// Entries of `pagemap`, how many, and of which page the first one is.
    entries: Vec<u8>,
    count: u64,
    first: u64,
    /// The file of a region, if it is shared memory, by the start of the region.
    shared: Option<(u64, Option<io::Result<File>>)>,
}

/// What is at an address and behind it.
enum Next {
    /// Memory, up to there.
    Held { end: u64, is_shared: bool },
    /// Nothing, up to there.
    Nothing(u64),
    /// It is not known, up to there.
    Unknown(u64, io::Error),
    /// Nothing any more: the process has ended, or replaced its program.
    Gone,
}

/// All memory of a process that there is, to be read in any order.
#[derive(Debug)]
pub(in crate::modules) struct Parts<'p> {
    /// Where there is memory, ascending; each within one region.
    pub(in crate::modules) list: Vec<(u64, u64)>,
    /// Bytes of which it is not known whether there is memory.
    pub(in crate::modules) unknown_bytes: u64,
    /// The memory was gone before the end.
    pub(in crate::modules) is_gone: bool,
    /// There are no more.
    pub(in crate::modules) is_whole: bool,
    regions: Vec<Region>,
    stretches: Vec<Stretch>,
    pages: Pages<'p>,
}

/// Memory that is read from one place.
#[derive(Debug)]
struct Stretch {
    start: u64,
    end: u64,
    /// The number of its region.
    region: usize,
    is_shared: bool,
}

/// How a step of a walk ended.
enum Step {
    GoesOn,
    Enough,
}

/// One walk through the memory of one process.
struct Walking<'m, 'p, R> {
    pages: Pages<'p>,
    buffer: &'m mut [u8],
    /// Bytes in the buffer, and the address of the first.
    held: usize,
    address: u64,
    is_start: bool,
    left: u64,
    /// The reader wants more.
    is_wanted: bool,
    reader: &'m mut R,
    walk: Walk,
}

impl Memory {
    /// One for this machine.
    pub(in crate::modules) fn new() -> Memory {
        Memory { piece: vec![0; PIECE_BYTES], devices: Devices::default() }
    }

    /// Shows memory of a process to `reader`.
    pub(in crate::modules) fn walk(
        &mut self,
        process: &Process,
        regions: &[Region],
        range: Range,
        reader: &mut impl Reader,
    ) -> io::Result<Walk> {
        let mut walking = Walking {
            pages: Pages::of(process)?,
            buffer: &mut self.piece,
            held: 0,
            address: 0,
            is_start: true,
            left: range.length,
            is_wanted: true,
            reader,
            walk: Walk::default(),
        };
        for region in regions {
            let start = region.start.max(range.offset);
            if start >= region.end || !region.is_readable() || !self.devices.is_memory(process, region) {
                continue;
            }
            if let Step::Enough = walking.region(region, start)? {
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

impl<'p> Pages<'p> {
    fn of(process: &'p Process) -> io::Result<Pages<'p>> {
        Ok(Pages {
            process,
            page_bytes: page_bytes().unwrap_or(PAGE_BYTES_DEFAULT),
            memory: process.open("mem")?,
            pagemap: process.open("pagemap"),
            entries: vec![0; PAGES * ENTRY_BYTES as usize],
            count: 0,
            first: 0,
            shared: None,
        })
    }

    /// What is at an address of a region, as far as one look says.
    fn next(&mut self, region: &Region, at: u64) -> io::Result<Next> {
        let end = region.end;
        let pagemap = match &self.pagemap {
            Ok(pagemap) => pagemap,
            Err(_) if end - at <= UNKNOWN_REGION_BYTES_MAX => return Ok(Next::Held { end, is_shared: false }),
            Err(error) => return Ok(Next::Unknown(end, io::Error::new(error.kind(), format!("pagemap: {error}")))),
        };
        let page = at / self.page_bytes;
        if page < self.first || page >= self.first + self.count {
            let count = usize::try_from(end.div_ceil(self.page_bytes) - page).unwrap_or(PAGES).min(PAGES);
            let read = pagemap.read_at(&mut self.entries[..count * ENTRY_BYTES as usize], page * ENTRY_BYTES)?;
            (self.first, self.count) = (page, read as u64 / ENTRY_BYTES);
            if self.count == 0 {
                return Ok(Next::Gone);
            }
        }
        let known = &self.entries[((page - self.first) * ENTRY_BYTES) as usize..(self.count * ENTRY_BYTES) as usize];
        let (known, _) = known.as_chunks::<{ ENTRY_BYTES as usize }>();
        let is_held = |entry: &[u8; ENTRY_BYTES as usize]| u64::from_ne_bytes(*entry) & HELD != 0;
        let is_first_held = known.first().is_some_and(is_held);
        let alike = known.iter().take_while(|entry| is_held(entry) == is_first_held).count() as u64;
        let stop = ((page + alike) * self.page_bytes).min(end);
        if is_first_held {
            return Ok(Next::Held { end: stop, is_shared: false });
        }
        let page_bytes = self.page_bytes;
        let file = match self.shared(region) {
            None => return Ok(Next::Nothing(stop)),
            Some(Err(error)) => {
                let reason = format!("shared memory that it does not have at the moment: {error}");
                return Ok(Next::Unknown(stop, io::Error::new(error.kind(), reason)));
            }
            Some(Ok(file)) => file,
        };
        let offset = region.file_offset(at);
        let address = |place: u64| at.saturating_add(place.saturating_sub(offset)).min(stop);
        let data = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) => address(data) / page_bytes * page_bytes,
            Err(Errno::NXIO) => stop,
            Err(error) => return Ok(Next::Unknown(stop, error.into())),
        };
        if data > at {
            return Ok(Next::Nothing(data));
        }
        let hole = rustix::fs::seek(file, SeekFrom::Hole(offset)).map_or(stop, address);
        Ok(Next::Held { end: hole.next_multiple_of(page_bytes).clamp(at + 1, stop), is_shared: true })
    }

    /// The file of a region, if it is shared memory.
    fn shared(&mut self, region: &Region) -> Option<&io::Result<File>> {
        if self.shared.as_ref().is_none_or(|(start, _)| *start != region.start) {
            self.shared = Some((region.start, region.shared_memory(self.process)));
        }
        self.shared.as_ref()?.1.as_ref()
    }

    /// Reads memory of a region.
    fn read(&mut self, region: &Region, is_shared: bool, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if !is_shared {
            return self.memory.read_at(buffer, at);
        }
        match self.shared(region) {
            Some(Ok(file)) => match file.read_at(buffer, region.file_offset(at)) {
                Ok(0) => Err(io::Error::other("the shared memory is shorter now")),
                read => read,
            },
            _ => Err(io::Error::other("the shared memory is not there any more")),
        }
    }

    /// Behind the page of an address.
    fn behind(&self, at: u64) -> u64 {
        (at / self.page_bytes + 1) * self.page_bytes
    }
}

impl<'p> Parts<'p> {
    /// Those of a process, until `is_over`.
    pub(in crate::modules) fn of(
        process: &'p Process,
        devices: &mut Devices,
        is_over: &dyn Fn() -> bool,
    ) -> io::Result<Parts<'p>> {
        let regions = process.regions()?;
        let mut parts = Parts {
            list: Vec::new(),
            unknown_bytes: 0,
            is_gone: false,
            is_whole: regions.is_whole,
            regions: Vec::new(),
            stretches: Vec::new(),
            pages: Pages::of(process)?,
        };
        for (number, region) in regions.list.iter().enumerate() {
            if !region.is_readable() || !devices.is_memory(process, region) {
                continue;
            }
            let (mut at, mut part) = (region.start, None::<(u64, u64)>);
            while at < region.end {
                if is_over() || parts.stretches.len() == STRETCHES_MAX {
                    parts.is_whole = false;
                    break;
                }
                let end = match parts.pages.next(region, at)? {
                    Next::Held { end, is_shared } => {
                        parts.stretches.push(Stretch { start: at, end, region: number, is_shared });
                        part = Some((part.map_or(at, |(start, _)| start), end));
                        at = end;
                        continue;
                    }
                    Next::Nothing(end) => end,
                    Next::Unknown(end, _) => {
                        parts.unknown_bytes += end - at;
                        end
                    }
                    Next::Gone => {
                        parts.is_gone = true;
                        break;
                    }
                };
                parts.list.extend(part.take());
                at = end;
            }
            parts.list.extend(part);
        }
        parts.regions = regions.list;
        Ok(parts)
    }

    /// Reads memory of one part. Returns how many bytes could not be read, which are zeros, or None if all of it is gone.
    pub(in crate::modules) fn read(&mut self, start: u64, buffer: &mut [u8]) -> Option<u64> {
        let (mut filled, mut unread) = (0, 0);
        while filled < buffer.len() {
            let at = start + filled as u64;
            let number = self.stretches.partition_point(|stretch| stretch.end <= at);
            let Some(stretch) = self.stretches.get(number).filter(|stretch| stretch.start <= at) else { break };
            let limit = |end: u64| usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len() - filled);
            let (to, page) = (filled + limit(stretch.end), filled + limit(self.pages.behind(at)));
            let (region, is_shared) = (&self.regions[stretch.region], stretch.is_shared);
            match self.pages.read(region, is_shared, at, &mut buffer[filled..to]) {
                Ok(0) => return None,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if super::has_ended(&error) => return None,
                Err(_) => {
                    buffer[filled..page].fill(0);
                    unread += (page - filled) as u64;
                    filled = page;
                }
            }
        }
        buffer[filled..].fill(0);
        Some(unread)
    }
}

impl<R: Reader> Walking<'_, '_, R> {
    /// Reads what there is of a region.
    fn region(&mut self, region: &Region, start: u64) -> io::Result<Step> {
        let mut at = start;
        while at < region.end {
            if self.is_over() {
                return Ok(Step::Enough);
            }
            at = match self.pages.next(region, at)? {
                Next::Held { end, is_shared } => match self.run(region, is_shared, at, end) {
                    Step::Enough => return Ok(Step::Enough),
                    Step::GoesOn => end,
                },
                Next::Nothing(end) => end,
                Next::Unknown(end, error) => {
                    self.failed(at, end, error);
                    end
                }
                Next::Gone => {
                    self.walk.is_gone = true;
                    return Ok(Step::Enough);
                }
            };
        }
        Ok(Step::GoesOn)
    }

    fn is_over(&mut self) -> bool {
        self.is_wanted &= !self.reader.is_over();
        !self.is_wanted
    }

    /// Reads a part that is there as a whole.
    fn run(&mut self, region: &Region, is_shared: bool, start: u64, end: u64) -> Step {
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
            match self.pages.read(region, is_shared, at, &mut self.buffer[self.held..self.held + count]) {
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
                    let next = self.pages.behind(at).min(end);
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
    fn shared_memory_that_the_process_does_not_have_at_the_moment_is_read() {
        // Like a process that has written it and let it go: in the file, and in no page of the mapping.
        let file = File::from(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()).unwrap());
        file.set_len(1 << 30).unwrap();
        file.write_all_at(b"here", 5_000_000).unwrap();
        let program = "import mmap, sys, time; m = mmap.mmap(0, 1 << 30); print('ready', flush=True); time.sleep(1000)";
        let mut command = std::process::Command::new("python3");
        command.args(["-c", program]).stdin(file).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
        let regions = process.regions().unwrap().list;
        let region = regions.iter().find(|region| region.name.starts_with(b"/memfd:x")).unwrap();
        let range = Range { offset: region.start, length: u64::MAX };
        let (mut keeper, only) = (Keeper::default(), std::slice::from_ref(region));
        let walk = Memory::new().walk(&process, only, range, &mut keeper).unwrap();
        let mut bytes = [0; 4];
        let mut parts = Parts::of(&process, &mut Devices::default(), &|| false).unwrap();
        let unread = parts.read(region.start + 5_000_000, &mut bytes);
        child.kill().and_then(|()| child.wait()).unwrap();
        if rustix::process::geteuid().is_root() {
            assert_eq!((walk.failures.len(), walk.bytes), (0, 4096), "only what there is");
            assert_eq!(keeper.from - region.start, 5_000_000 / 4096 * 4096);
            assert!(keeper.bytes.windows(4).any(|bytes| bytes == b"here"));
            assert_eq!(unread, Some(0));
            assert_eq!(&bytes, b"here");
        } else {
            assert!(!walk.failures.is_empty(), "it is said");
        }
    }

    #[test]
    fn a_page_that_cannot_be_read_costs_no_other_one() {
        let process = own();
        let memory = vec![7_u8; 5 * 4096];
        let start = (memory.as_ptr() as u64).next_multiple_of(4096);
        let mut parts = Parts::of(&process, &mut Devices::default(), &|| false).unwrap();
        let number = parts.stretches.iter().position(|stretch| stretch.start <= start && start < stretch.end).unwrap();
        let Stretch { region, .. } = parts.stretches[number];
        let of = |start, end, is_shared| Stretch { start, end, region, is_shared };
        // It is read as shared memory, which it is not.
        let middle = start + 4096;
        parts.stretches =
            vec![of(start, middle, false), of(middle, middle + 4096, true), of(middle + 4096, middle + 8192, false)];
        let mut bytes = vec![1; 3 * 4096];
        assert_eq!(parts.read(start, &mut bytes), Some(4096));
        let expected = [[7; 4096], [0; 4096], [7; 4096]].concat();
        assert!(bytes == expected);
        drop(memory);
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
