//! What is mapped into a process: `/proc/PID/maps`.

use super::{Process, without_mark};
use crate::modules::files::by_descriptor;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

/// Regions of one process: the kernel's default limit is a quarter of this.
const REGIONS_MAX: usize = 1 << 18;
/// Bytes of one line of `maps`: the longest path that can be opened, each byte written as four, and the numbers before it. What is
/// mapped through directories that were opened one in the other may have a longer path.
const LINE_BYTES_MAX: u64 = 20 << 10;
/// Bytes of all names in one process: a hundred times what large programs have.
const NAMES_BYTES_MAX: usize = 16 << 20;
/// Regions that are read between two looks at the clock.
const REGIONS_PER_LOOK: usize = 256;
/// How the kernel calls buffers that devices share; a file may be called like that.
const DEVICE_BUFFER: &[u8] = b"/dmabuf:";
/// Major and minor number of `/dev/zero`: a private mapping of it is plain memory.
const ZERO: (u32, u32) = (1, 5);
/// Pages that the kernel maps, which are no memory of the process.
const KERNELS: [&[u8]; 3] = [b"[vvar]", b"[vvar_vclock]", b"[vsyscall]"];
/// How names of shared memory begin.
const MEMORY_NAMES: [&[u8]; 4] = [b"/memfd:", b"/dev/shm/", b"/SYSV", b"/dev/zero"];
/// Directories below `/dev` whose files are memory that processes share.
const SHARED: [&[u8]; 4] = [b"/dev/shm/", b"/dev/hugepages/", b"/dev/mqueue/", b"/dev/zero"];

/// A part of a process's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::modules) struct Region {
    /// Its first address.
    pub(in crate::modules) start: u64,
    /// Behind its last one.
    pub(in crate::modules) end: u64,
    /// `rw-p`.
    pub(in crate::modules) permissions: String,
    /// Where in the file its first byte is.
    offset: u64,
    /// The file that is mapped, by its device and its inode.
    file: Option<(String, u64)>,
    /// A path, `[heap]`, or nothing.
    pub(in crate::modules) name: Arc<[u8]>,
}

/// All regions of a process.
#[derive(Debug, Default)]
pub(in crate::modules) struct Regions {
    /// Ascending; they do not overlap.
    pub(in crate::modules) list: Vec<Region>,
    /// There are no more.
    pub(in crate::modules) is_whole: bool,
    /// Their names are complete.
    pub(in crate::modules) are_names_whole: bool,
}

/// Names of regions, each once.
#[derive(Debug, Default)]
struct Names {
    known: HashSet<Arc<[u8]>>,
    bytes: usize,
    has_no_room: bool,
}

/// Which mapped files are devices, as many processes map the same ones.
#[derive(Debug, Default)]
pub(in crate::modules) struct Devices(HashMap<(String, u64), bool>);

impl Process {
    /// What is mapped now, as far as it is read until `is_over`. `ESRCH`: it has no memory, or runs another program now.
    pub(in crate::modules) fn regions(&self, is_over: &mut dyn FnMut() -> bool) -> io::Result<Regions> {
        let mut lines = BufReader::with_capacity(64 << 10, self.open("maps")?);
        let mut regions = Regions { list: Vec::new(), is_whole: true, are_names_whole: true };
        let (mut names, mut line) = (Names::default(), Vec::new());
        while lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
            // The end of a long line is no line: it is a name, which may look like one.
            if !line.ends_with(b"\n") && lines.skip_until(b'\n')? > 0 {
                regions.are_names_whole = false;
            }
            let count = regions.list.len();
            if count == REGIONS_MAX || (count % REGIONS_PER_LOOK == REGIONS_PER_LOOK - 1 && is_over()) {
                regions.is_whole = false;
                break;
            }
            match Region::parse(&line, &mut names) {
                None => regions.is_whole = false,
                // The list is read in pieces, between which the process may change it.
                Some(region) if regions.list.last().is_some_and(|last| region.start < last.end) => {}
                Some(region) => regions.list.push(region),
            }
            line.clear();
        }
        regions.are_names_whole &= !names.has_no_room;
        // It had no memory any more, or another program took its place after it was opened.
        if regions.list.is_empty() { Err(Errno::SRCH.into()) } else { Ok(regions) }
    }
}

impl Names {
    fn add(&mut self, name: &[u8]) -> Arc<[u8]> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.bytes + name.len() > NAMES_BYTES_MAX {
            self.has_no_room = true;
            return Arc::default();
        }
        let name = Arc::<[u8]>::from(name);
        self.bytes += name.len();
        self.known.insert(Arc::clone(&name));
        name
    }
}

impl Region {
    /// Reads `7f0c4a000000-7f0c4a021000 rw-p 00000000 00:00 0    /path`.
    fn parse(line: &[u8], names: &mut Names) -> Option<Region> {
        let mut fields = line.strip_suffix(b"\n").unwrap_or(line).splitn(6, |byte| *byte == b' ');
        let mut field = || std::str::from_utf8(fields.next()?).ok();
        let (start, end) = field()?.split_once('-')?;
        let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        let (permissions, offset) = (field()?, u64::from_str_radix(field()?, 16).ok()?);
        let (device, inode) = (field()?, field()?.parse::<u64>().ok()?);
        let name = names.add(fields.next().unwrap_or_default().trim_ascii_start());
        let file = (inode != 0).then(|| (device.to_owned(), inode));
        (start < end).then(|| Region { start, end, permissions: permissions.to_owned(), offset, file, name })
    }

    /// Whether the process may read it.
    pub(in crate::modules) fn is_readable(&self) -> bool {
        self.permissions.starts_with('r')
    }

    /// The path of the mapped file, without the mark of a deleted one.
    pub(in crate::modules) fn path(&self) -> Option<&[u8]> {
        self.name.starts_with(b"/").then(|| without_mark(&self.name))
    }
}

impl Region {
    /// Where in its file an address is.
    pub(super) fn file_offset(&self, address: u64) -> u64 {
        self.offset.saturating_add(address - self.start)
    }

    /// Its file, if that is memory that processes share: it has contents also where the process has no page. Only for what is
    /// memory, by [`Devices::is_memory`].
    pub(super) fn shared_memory(&self, process: &Process) -> Option<io::Result<File>> {
        /// The file system of such files.
        const TMPFS: u64 = 0x0102_1994;
        self.file.as_ref()?;
        // Its kind is asked for before it is opened, by what cannot become another file.
        let place = match self.place(process) {
            Ok(place) => place,
            // Only root may follow these links.
            Err(Errno::PERM | Errno::ACCESS) if MEMORY_NAMES.iter().any(|name| self.name.starts_with(name)) => {
                return Some(Err(Errno::PERM.into()));
            }
            Err(_) => return None,
        };
        let is_regular = rustix::fs::fstat(&place).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        if !is_regular || !rustix::fs::fstatfs(&place).is_ok_and(|kind| kind.f_type as u64 == TMPFS) {
            return None;
        }
        Some(super::open(rustix::fs::CWD, by_descriptor(&place), OFlags::empty()).map(File::from))
    }

    /// The link to the mapped file, which only root may follow.
    fn link(&self) -> String {
        format!("map_files/{:x}-{:x}", self.start, self.end)
    }

    /// The mapped file, not opened.
    fn place(&self, process: &Process) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(process.own(), self.link(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// Whether it is a buffer that devices share.
    fn is_device_buffer(&self, process: &Process) -> bool {
        /// The file system of such buffers.
        const DMA_BUF: u64 = 0x444d_4142;
        let kind = || rustix::fs::fstatfs(self.place(process)?);
        self.name.starts_with(DEVICE_BUFFER) && kind().is_ok_and(|kind| kind.f_type as u64 == DMA_BUF)
    }
}

impl Devices {
    /// Whether a region is memory, which nothing but the memory hears of when it is read: not that of a device, a socket or
    /// the kernel.
    pub(in crate::modules) fn is_memory(&mut self, process: &Process, region: &Region) -> bool {
        let Some(file) = &region.file else { return !KERNELS.contains(&region.name.as_ref()) };
        // Not `anon_inode:…` and `socket:…`. A name in brackets is one that the process has chosen.
        if !region.name.is_empty() && !region.name.starts_with(b"/") && !region.name.starts_with(b"[") {
            return false;
        }
        if let Some(is_memory) = self.0.get(file) {
            return *is_memory;
        }
        let is_memory = match rustix::fs::statat(process.own(), region.link(), AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => !region.is_device_buffer(process),
                FileType::CharacterDevice => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == ZERO,
                _ => false,
            },
            // Only root may follow these links, or the region is gone: by its name, and another time again.
            Err(_) => {
                let is_shared = SHARED.iter().any(|shared| region.name.starts_with(shared));
                return is_shared || ![&b"/dev/"[..], DEVICE_BUFFER].iter().any(|name| region.name.starts_with(name));
            }
        };
        self.0.insert(file.clone(), is_memory);
        is_memory
    }
}

#[cfg(test)]
mod tests {
    use super::super::Processes;
    use super::*;

    #[test]
    fn regions_are_read_whatever_their_names_are() {
        let region =
            Region::parse(b"7f00-8f00 r--p 00001000 08:01 12      /a b  (c\\012) (deleted)\n", &mut Names::default())
                .unwrap();
        assert_eq!((region.start, region.end, region.permissions.as_str()), (0x7f00, 0x8f00, "r--p"));
        assert_eq!(
            (region.name.as_ref(), &region.file),
            (&b"/a b  (c\\012) (deleted)"[..], &Some(("08:01".into(), 12)))
        );
        assert_eq!(region.path().unwrap(), b"/a b  (c\\012)");
        let heap = Region::parse(b"1-2 rw-p 0 00:00 0 [heap]", &mut Names::default()).unwrap();
        assert_eq!((heap.name.as_ref(), &heap.file, heap.path()), (&b"[heap]"[..], &None, None));
        let bare = Region::parse(b"1-2 ---p 0 00:00 0 \n", &mut Names::default()).unwrap();
        assert!(bare.name.is_empty() && !bare.is_readable() && heap.is_readable());
        for broken in [&b""[..], b"\n", b"1-2", b"2-1 r--p 0 00:00 0", b"1-2 r--p 0 00:00 x", b"x-y r--p 0 0:0 0"] {
            assert_eq!(Region::parse(broken, &mut Names::default()), None);
        }
    }

    #[test]
    fn memory_of_devices_and_of_the_kernel_is_none() {
        let processes = Processes::open().unwrap();
        let own = processes.process(std::process::id().cast_signed()).unwrap();
        let regions = own.regions(&mut || false).unwrap();
        assert!(regions.is_whole);
        let mut devices = Devices::default();
        for region in &regions.list {
            let name = String::from_utf8_lossy(&region.name);
            let is_kernels = name.starts_with("[vvar") || name == "[vsyscall]";
            assert_eq!(devices.is_memory(&own, region), !is_kernels, "{name}");
        }
        let region = |line: &str| Region::parse(line.as_bytes(), &mut Names::default()).unwrap();
        for (line, is_memory) in [
            ("1-2 rw-s 0 00:05 7 /dev/dri/card0", false),
            ("1-2 rw-s 0 00:05 7 /dev/mem", false),
            ("1-2 rw-s 0 00:09 7 socket:[12]", false),
            ("1-2 rw-s 0 00:0f 7 anon_inode:[perf_event]", false),
            ("1-2 rw-s 0 00:0f 7 anon_inode:kvm-vcpu:0", false),
            ("1-2 rw-s 0 00:01 7 /dmabuf:", false),
            ("1-2 rw-s 0 00:01 7 /dev/zero (deleted)", true),
            ("1-2 rw-s 0 00:01 7 /dev/shm/x", true),
            ("1-2 rw-s 0 00:01 7 [anon_shmem:x]", true),
            ("1-2 rw-s 0 00:01 7 /memfd:x (deleted)", true),
            ("1-2 rw-s 0 00:01 7 /SYSV00000000 (deleted)", true),
        ] {
            assert_eq!(devices.is_memory(&own, &region(line)), is_memory, "{line}");
        }
    }

    #[test]
    fn a_name_is_no_line_and_hides_no_region_however_long_it_is() {
        // The end of the long name looks like a region of everything behind it.
        let program = r#"
import mmap, os, sys
for _ in range(100):
    name = "11000-7fffffffffff ---p 0 00:00 0 x".rjust(250)
    os.mkdir(name)
    os.chdir(name)
with open("library", "w+b") as file:
    file.truncate(4096)
    mapped = mmap.mmap(file.fileno(), 4096)
print("ready", flush=True)
sys.stdin.read()
"#;
        let directory = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("python3");
        command.args(["-c", program]).current_dir(directory.path());
        let (stdin, stdout) = (std::process::Stdio::piped(), std::process::Stdio::piped());
        let mut child = command.stdin(stdin).stdout(stdout).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
        let regions = process.regions(&mut || false).unwrap();
        assert!(regions.is_whole && !regions.are_names_whole);
        let has =
            |name: &[u8]| regions.list.iter().any(|region| region.name.windows(name.len()).any(|part| part == name));
        assert!(has(b"[stack]") && has(b"/libc.so") && has(b"11000-7fffffffffff"));
        let before_long = process.regions(&mut || true).unwrap();
        assert!(!before_long.is_whole || before_long.list.len() < REGIONS_PER_LOOK);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn names_are_kept_once_and_as_many_as_there_is_room_for() {
        let mut names = Names::default();
        let (one, same) = (names.add(b"/lib/a"), names.add(b"/lib/a"));
        assert!(Arc::ptr_eq(&one, &same) && names.bytes == 6);
        let long = vec![b'x'; NAMES_BYTES_MAX - 6];
        assert!(names.add(&long).len() == long.len() && !names.has_no_room);
        assert!(names.add(b"/lib/b").is_empty() && names.has_no_room);
        assert!(Arc::ptr_eq(&names.add(b"/lib/a"), &one));
    }
}
