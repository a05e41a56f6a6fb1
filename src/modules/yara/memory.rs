//! The memory of a process, as the engine reads it: what is mapped and readable, a chunk at a time, through `/proc/PID/mem`. The
//! process is not stopped, and may change meanwhile.

use crate::modules::processes::{Process, has_ended};
use boreal::memory::{FragmentedMemory, MemoryParams, Region, RegionDescription};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Bytes of `/proc/PID/maps`: more than a hundred thousand regions.
const MAPS_BYTES_MAX: u64 = 16 << 20;
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
    /// The process ended.
    pub(super) has_ended: AtomicBool,
}

/// Mapped memory. See the module docs.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    regions: Vec<RegionDescription>,
    deadline: Instant,
    gaps: Arc<Gaps>,
    /// The number of the region that is read, and how far.
    at: (usize, usize),
    current: Option<RegionDescription>,
    /// What was read last, and from where.
    buffer: Vec<u8>,
    buffered: Option<RegionDescription>,
}

impl Memory {
    /// The memory of a process. None: it has none, like a thread of the kernel, or one that ended.
    pub(super) fn of(process: &Process, deadline: Instant, gaps: Arc<Gaps>) -> io::Result<Option<Memory>> {
        let maps = process.read("maps", MAPS_BYTES_MAX)?;
        let regions = regions(&String::from_utf8_lossy(&maps));
        if maps.len() as u64 == MAPS_BYTES_MAX {
            return Err(io::Error::other("it has too many regions of memory"));
        }
        if regions.is_empty() {
            return Ok(None);
        }
        let file = process.open("mem")?;
        let (at, current, buffer, buffered) = ((0, 0), None, Vec::new(), None);
        Ok(Some(Memory { file, regions, deadline, gaps, at, current, buffer, buffered }))
    }

    /// Reads a chunk, up to the first page that cannot be read: the engine wants as much as was promised, and has zeros for the rest.
    fn read(&mut self, chunk: RegionDescription) {
        self.buffer.resize(chunk.length, 0);
        self.buffered = Some(chunk);
        let mut filled = 0;
        while filled < chunk.length {
            match self.file.read_at(&mut self.buffer[filled..], (chunk.start + filled) as u64) {
                Ok(0) => {
                    self.gaps.has_ended.store(true, Relaxed);
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if has_ended(&error) => {
                    self.gaps.has_ended.store(true, Relaxed);
                    break;
                }
                Err(_) => {
                    self.gaps.unread_bytes.fetch_add((chunk.length - filled) as u64, Relaxed);
                    break;
                }
            }
        }
        self.buffer[filled..].fill(0);
    }
}

impl FragmentedMemory for Memory {
    fn next(&mut self, _: &MemoryParams) -> Option<RegionDescription> {
        let (mut number, mut offset) = self.at;
        let mut region = self.regions.get(number)?;
        if offset >= region.length {
            (number, offset) = (number + 1, 0);
            region = self.regions.get(number)?;
        }
        let length = (region.length - offset).min(CHUNK_BYTES + OVERLAP_BYTES);
        let chunk = RegionDescription { start: region.start + offset, length };
        self.at = (number, if length == region.length - offset { region.length } else { offset + CHUNK_BYTES });
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
            self.read(chunk);
        }
        let has_ended = self.gaps.has_ended.load(Relaxed);
        (!has_ended).then_some(Region { start: chunk.start, mem: &self.buffer })
    }

    fn reset(&mut self) {
        self.at = (0, 0);
        self.current = None;
    }
}

/// The regions of `/proc/PID/maps` that are read: readable, and not those of devices, where reading may do something.
fn regions(maps: &str) -> Vec<RegionDescription> {
    let region = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, permissions) = (fields.next()?, fields.next()?);
        let name = fields.nth(3).unwrap_or_default();
        let is_of_kernel = name.starts_with("[v");
        let is_of_device = ["/dev/", "/sys/", "/proc/"].iter().any(|place| name.starts_with(place))
            && !["/dev/shm/", "/dev/zero", "/dev/hugepages/"].iter().any(|place| name.starts_with(place));
        if !permissions.starts_with('r') || is_of_kernel || is_of_device {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some(RegionDescription { start, length: end.checked_sub(start).filter(|length| *length > 0)? })
    };
    maps.lines().filter_map(region).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::processes::Processes;
    use boreal::scanner::ScanParams;

    #[test]
    fn readable_regions_are_read_and_devices_are_not() {
        let maps = "\
55d0-55e0 r-xp 00000000 08:01 12 /usr/bin/a b
55e0-55e0 r--p 00000000 08:01 12 /usr/bin/a
6000-7000 ---p 00000000 00:00 0
7000-9000 rw-p 00000000 00:00 0 [heap]
a000-b000 rw-s 00000000 00:06 7 /dev/dri/card0
b000-c000 rw-s 00000000 00:06 7 /dev/shm/x
c000-d000 r--p 00000000 00:00 0 [vvar]
ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall]
nonsense
-f r
";
        let found: Vec<_> = regions(maps).iter().map(|region| (region.start, region.length)).collect();
        assert_eq!(found, [(0x55d0, 0x10), (0x7000, 0x2000), (0xb000, 0x1000)]);
    }

    #[test]
    fn chunks_overlap_and_cover_a_region() {
        let own = Processes::open().unwrap().process(std::process::id().cast_signed()).unwrap();
        let gaps = Arc::new(Gaps::default());
        let mut memory = Memory::of(&own, Instant::now(), gaps.clone()).unwrap().unwrap();
        memory.regions = [(4096, 2 * CHUNK_BYTES + 5), (1 << 40, 7)]
            .map(|(start, length)| RegionDescription { start, length })
            .into();
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
