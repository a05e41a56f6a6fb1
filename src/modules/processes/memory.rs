//! Reads the memory of a process while it runs, in pieces of a constant size.
//!
//! Only pages that the process has in memory or in swap are read: `/proc/PID/pagemap` names them. Reading others would make the
//! kernel supply them, which for a large mapping that is hardly used is all memory of the machine. Shared memory may be there
//! although the process does not have it at the moment; that is read as the file that it is.

mod pages;
#[cfg(test)]
mod tests;

use super::Process;
use super::regions::{Devices, Region};
use pages::{Next, Pages};
use std::io;

/// What has at most so many bytes is whole in one piece, with the byte before and the byte behind it.
const WHOLE_BYTES: usize = 64 << 10;
/// Bytes that two pieces of the same memory have in common.
const OVERLAP_BYTES: usize = WHOLE_BYTES + 2;
/// Bytes of a piece: larger ones are not quicker to read.
pub(in crate::modules) const PIECE_BYTES: usize = 1 << 20;
/// Failures of one process that are remembered.
const FAILURES_MAX: usize = 1_000;
/// Stretches of memory of one process that are listed: 32 MiB.
const STRETCHES_MAX: usize = 1 << 20;

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
            walk.forget_what_is_unmapped(process, reader)?;
        }
        Ok(walk)
    }
}

impl<'p> Parts<'p> {
    /// Those of a process, until `is_over`.
    pub(in crate::modules) fn of(
        process: &'p Process,
        devices: &mut Devices,
        is_over: &dyn Fn() -> bool,
    ) -> io::Result<Parts<'p>> {
        let regions = process.regions(&mut || is_over())?;
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
    fn forget_what_is_unmapped(&mut self, process: &Process, reader: &mut impl Reader) -> io::Result<()> {
        let now = process.regions(&mut || reader.is_over())?;
        self.failures.retain(|failure| {
            if !now.is_whole {
                return true;
            }
            let is_in = |region: &Region| region.start < failure.end && failure.start < region.end;
            now.list.iter().any(|region| is_in(region) && region.is_readable())
        });
        Ok(())
    }
}
