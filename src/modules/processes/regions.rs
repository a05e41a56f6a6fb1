//! What is mapped into a process: `/proc/PID/maps`.

use super::{Process, without_mark};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Regions of one process: the kernel's default limit is a quarter of this.
const REGIONS_MAX: usize = 1 << 18;
/// Bytes of one line of `maps`: the longest path, each byte written as four, and the numbers before it.
const LINE_BYTES_MAX: u64 = 20 << 10;
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
}

/// Which mapped files are devices, as many processes map the same ones.
#[derive(Debug, Default)]
pub(in crate::modules) struct Devices(HashMap<(String, u64), bool>);

impl Process {
    /// What is mapped now.
    pub(in crate::modules) fn regions(&self) -> io::Result<Regions> {
        let mut lines = BufReader::with_capacity(64 << 10, self.open("maps")?);
        let mut regions = Regions { list: Vec::new(), is_whole: true };
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(regions);
            }
            let last = regions.list.last();
            let parsed = Region::parse(&line, last.map(|last| &last.name));
            // The list is read in pieces, between which the process may change it.
            let Some(region) = parsed.filter(|region| last.is_none_or(|last| last.end <= region.start)) else {
                regions.is_whole &= line.ends_with(b"\n");
                continue;
            };
            if regions.list.len() == REGIONS_MAX {
                regions.is_whole = false;
                return Ok(regions);
            }
            regions.list.push(region);
        }
    }
}

impl Region {
    /// Reads `7f0c4a000000-7f0c4a021000 rw-p 00000000 00:00 0    /path`.
    fn parse(line: &[u8], before: Option<&Arc<[u8]>>) -> Option<Region> {
        let mut fields = line.strip_suffix(b"\n").unwrap_or(line).splitn(6, |byte| *byte == b' ');
        let mut field = || std::str::from_utf8(fields.next()?).ok();
        let (start, end) = field()?.split_once('-')?;
        let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        let (permissions, offset) = (field()?, u64::from_str_radix(field()?, 16).ok()?);
        let (device, inode) = (field()?, field()?.parse::<u64>().ok()?);
        let name = fields.next().unwrap_or_default().trim_ascii_start();
        let name = before.filter(|before| before.as_ref() == name).cloned().unwrap_or_else(|| name.into());
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
        let link = format!("map_files/{:x}-{:x}", self.start, self.end);
        // Its kind is asked for before it is opened, by what cannot become another file.
        let place = match rustix::fs::openat(process.own(), link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
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
        let path = format!("/proc/self/fd/{}", place.as_raw_fd());
        Some(super::open(rustix::fs::CWD, &path, OFlags::empty()).map(File::from))
    }
}

impl Devices {
    /// Whether a region is memory, which nothing but the memory hears of when it is read: not that of a device, a socket or
    /// the kernel.
    pub(in crate::modules) fn is_memory(&mut self, process: &Process, region: &Region) -> bool {
        let Some(file) = &region.file else { return !KERNELS.contains(&region.name.as_ref()) };
        // Not `anon_inode:…` and `socket:…`. A name in brackets is one that the process has chosen.
        if !region.name.starts_with(b"/") && !region.name.starts_with(b"[") || region.name.starts_with(b"/dmabuf:") {
            return false;
        }
        if let Some(is_memory) = self.0.get(file) {
            return *is_memory;
        }
        let link = format!("map_files/{:x}-{:x}", region.start, region.end);
        let is_memory = match rustix::fs::statat(process.own(), link, AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => true,
                FileType::CharacterDevice => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == ZERO,
                _ => false,
            },
            // Only root may follow these links, or the region is gone: by its name, and another time again.
            Err(_) => {
                let is_shared = SHARED.iter().any(|shared| region.name.starts_with(shared));
                return is_shared || !region.name.starts_with(b"/dev/");
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
        let region = Region::parse(b"7f00-8f00 r--p 00001000 08:01 12      /a b  (c\\012) (deleted)\n", None).unwrap();
        assert_eq!((region.start, region.end, region.permissions.as_str()), (0x7f00, 0x8f00, "r--p"));
        assert_eq!(
            (region.name.as_ref(), &region.file),
            (&b"/a b  (c\\012) (deleted)"[..], &Some(("08:01".into(), 12)))
        );
        assert_eq!(region.path().unwrap(), b"/a b  (c\\012)");
        let heap = Region::parse(b"1-2 rw-p 0 00:00 0 [heap]", None).unwrap();
        assert_eq!((heap.name.as_ref(), &heap.file, heap.path()), (&b"[heap]"[..], &None, None));
        let bare = Region::parse(b"1-2 ---p 0 00:00 0 \n", Some(&heap.name)).unwrap();
        assert!(bare.name.is_empty() && !bare.is_readable() && heap.is_readable());
        for broken in [&b""[..], b"\n", b"1-2", b"2-1 r--p 0 00:00 0", b"1-2 r--p 0 00:00 x", b"x-y r--p 0 0:0 0"] {
            assert_eq!(Region::parse(broken, None), None);
        }
    }

    #[test]
    fn memory_of_devices_and_of_the_kernel_is_none() {
        let processes = Processes::open().unwrap();
        let own = processes.process(std::process::id().cast_signed()).unwrap();
        let regions = own.regions().unwrap();
        assert!(regions.is_whole);
        let mut devices = Devices::default();
        for region in &regions.list {
            let name = String::from_utf8_lossy(&region.name);
            let is_kernels = name.starts_with("[vvar") || name == "[vsyscall]";
            assert_eq!(devices.is_memory(&own, region), !is_kernels, "{name}");
        }
        let region = |line: &str| Region::parse(line.as_bytes(), None).unwrap();
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
}
