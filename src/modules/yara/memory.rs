//! The memory of a process, as the engine reads it: what there is of it, a chunk at a time. The process is not stopped, and may
//! change meanwhile.

use crate::modules::processes::Parts;
use boreal::memory::{FragmentedMemory, MemoryParams, Region, RegionDescription};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Bytes that are scanned at once.
const CHUNK_BYTES: usize = 16 << 20;
/// Bytes of a chunk that the next one begins with, so that what lies on the border is found: the engine follows an expression
/// for 4 KiB in each direction.
const OVERLAP_BYTES: usize = 8 << 10;

/// What could not be read, and why the reading ended.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Bytes that could not be read.
    pub(super) unread_bytes: AtomicU64,
    /// The time was over.
    pub(super) is_late: AtomicBool,
    /// The memory was gone before the end: the process has ended, or replaced its program.
    pub(super) is_gone: AtomicBool,
}

/// Memory in chunks. See the module docs.
#[derive(Debug)]
pub(super) struct Memory<'p> {
    parts: Parts<'p>,
    deadline: Instant,
    gaps: Arc<Gaps>,
    /// The number of the part that is read, and how far.
    at: (usize, usize),
    current: Option<RegionDescription>,
    /// What was read last, and from where.
    buffer: Vec<u8>,
    buffered: Option<RegionDescription>,
}

impl<'p> Memory<'p> {
    /// That of a process.
    pub(super) fn of(parts: Parts<'p>, deadline: Instant, gaps: Arc<Gaps>) -> Memory<'p> {
        gaps.unread_bytes.fetch_add(parts.unknown_bytes, Relaxed);
        gaps.is_gone.fetch_or(parts.is_gone, Relaxed);
        Memory { parts, deadline, gaps, at: (0, 0), current: None, buffer: Vec::new(), buffered: None }
    }

    /// Where a part is.
    fn part(&self, number: usize) -> Option<RegionDescription> {
        let (start, end) = *self.parts.list.get(number)?;
        Some(RegionDescription { start: usize::try_from(start).ok()?, length: usize::try_from(end - start).ok()? })
    }
}

impl FragmentedMemory for Memory<'_> {
    fn next(&mut self, _: &MemoryParams) -> Option<RegionDescription> {
        let (mut number, mut offset) = self.at;
        let mut part = self.part(number)?;
        if offset >= part.length {
            (number, offset) = (number + 1, 0);
            part = self.part(number)?;
        }
        let length = (part.length - offset).min(CHUNK_BYTES + OVERLAP_BYTES);
        let chunk = RegionDescription { start: part.start + offset, length };
        self.at = (number, if length == part.length - offset { part.length } else { offset + CHUNK_BYTES });
        self.current = Some(chunk);
        self.current
    }

    fn fetch(&mut self, _: &MemoryParams) -> Option<Region<'_>> {
        let chunk = self.current?;
        if self.buffered != Some(chunk) {
            if Instant::now() >= self.deadline {
                self.gaps.is_late.store(true, Relaxed);
                return None;
            }
            self.buffered = Some(chunk);
            self.buffer.resize(chunk.length, 0);
            match self.parts.read(chunk.start as u64, &mut self.buffer) {
                Some(unread) => {
                    self.gaps.unread_bytes.fetch_add(unread, Relaxed);
                }
                None => self.gaps.is_gone.store(true, Relaxed),
            }
        }
        let is_gone = self.gaps.is_gone.load(Relaxed);
        (!is_gone).then_some(Region { start: chunk.start, mem: &self.buffer })
    }

    fn reset(&mut self) {
        self.at = (0, 0);
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::processes::{Devices, Processes};
    use boreal::scanner::ScanParams;

    #[test]
    fn chunks_overlap_and_cover_a_part() {
        let own = Processes::open().unwrap().process(std::process::id().cast_signed()).unwrap();
        let gaps = Arc::new(Gaps::default());
        let mut parts = Parts::of(&own, &mut Devices::default(), &|| false).unwrap();
        parts.list = vec![(4096, 4096 + 2 * CHUNK_BYTES as u64 + 5), (1 << 40, (1 << 40) + 7)];
        let mut memory = Memory::of(parts, Instant::now(), gaps.clone());
        let scanner = boreal::Compiler::new().finalize();
        let parameters: &ScanParams = scanner.scan_params();
        let parameters = MemoryParams {
            max_fetched_region_size: parameters.get_max_fetched_region_size(),
            memory_chunk_size: None,
            can_refetch_regions: true,
        };
        let chunks: Vec<_> =
            std::iter::from_fn(|| memory.next(&parameters)).map(|chunk| (chunk.start, chunk.length)).collect();
        let expected = [(4096, CHUNK_BYTES + OVERLAP_BYTES), (4096 + CHUNK_BYTES, CHUNK_BYTES + 5), (1 << 40, 7)];
        assert_eq!(chunks, expected);
        // Its time is over: nothing is read.
        assert!(memory.fetch(&parameters).is_none() && gaps.is_late.load(Relaxed));
    }
}
