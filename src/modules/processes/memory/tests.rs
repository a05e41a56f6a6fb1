//! Memory of real processes.

use super::super::{Processes, has_ended};
use super::*;
use std::fs::File;
use std::os::unix::fs::FileExt;

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
    let regions = process.regions(&mut || false).unwrap().list;
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
        let regions = process.regions(&mut || false).unwrap().list;
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
    let regions = process.regions(&mut || false).unwrap().list;
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
    let regions = process.regions(&mut || false).unwrap().list;
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
