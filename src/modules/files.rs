//! Reading small files of the machine: bounded, without waiting, and where a link could lead root to another file, without links.

use super::report::Report;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Entries of one directory of the system: some hundred times what distributions have there.
const ENTRIES_MAX: usize = 100_000;

/// Links that follow each other, as in the kernel.
const LINKS_MAX: usize = 40;

/// The machine that is looked at: what is below a directory.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// This machine.
    pub(super) fn this() -> Machine {
        Machine { root: "/".into() }
    }

    /// The machine whose files are below `root`.
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Machine {
        Machine { root: std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()) }
    }

    /// Where a file of it is.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where a path leads, without links: what its last part leads to is not opened, and may be missing.
    pub(super) fn follow(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = self.with_real_directory(path)?;
        for _ in 0..LINKS_MAX {
            let target = match std::fs::read_link(&path) {
                Ok(target) => target,
                // EINVAL: not a link.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput || is_missing(&error) => return Ok(path),
                Err(error) => return Err(error),
            };
            path = match path.parent() {
                Some(parent) if target.is_relative() => parent.join(target),
                _ => self.path(target),
            };
            path = self.with_real_directory(&path)?;
        }
        Err(Errno::LOOP.into())
    }

    /// A path with its directory as the kernel finds it: what `..` is behind a link, the text of the path does not say. It stays
    /// as it is if the directory is missing, or has no other path: that of another mount namespace (`/proc/PID/root`).
    fn with_real_directory(&self, path: &Path) -> io::Result<PathBuf> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path.to_owned()) };
        let id = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        match std::fs::canonicalize(directory) {
            Ok(real) if !real.starts_with(&self.root) => Err(Errno::XDEV.into()),
            Ok(real) if id(&real)? == id(directory)? => Ok(real.join(name)),
            Ok(_) | Err(_) => Ok(path.to_owned()),
        }
    }

    /// The names in a directory of it, sorted; that it cannot be read is named.
    pub(super) fn names(&self, directory: &Path, report: &mut Report) -> Vec<OsString> {
        names(&self.path(directory)).reported(directory.display(), report)
    }

    /// Directories of it without those that are a link to one before them.
    pub(super) fn distinct(&self, directories: &'static [&'static str]) -> Vec<&'static Path> {
        let mut known = BTreeSet::new();
        let real = |directory: &Path| {
            let path = self.path(directory);
            self.follow(&path).unwrap_or(path)
        };
        directories.iter().map(Path::new).filter(|directory| known.insert(real(directory))).collect()
    }

    /// What a file of it is called there: the opposite of [`Machine::path`].
    pub(super) fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        Path::new("/").join(below).to_string_lossy().into_owned()
    }
}

/// Whether a link in place of a file is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// It is: only root could have put it there.
    Follow,
    /// It is not: a user may have put it there, and may not read what it leads to.
    Refuse,
}

/// What a file had when it was read.
#[derive(Debug)]
pub(super) struct Contents {
    /// Its beginning.
    pub(super) bytes: Vec<u8>,
    /// That is all.
    pub(super) is_whole: bool,
    /// Its metadata.
    pub(super) metadata: std::fs::Metadata,
}

/// Opens a file or directory for reading, without waiting, and without updating its access time if possible.
pub(super) fn open_quietly(at: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::openat(&at, path, flags | OFlags::NOATIME, Mode::empty()) {
        // The file belongs to another user.
        Err(Errno::PERM) => rustix::fs::openat(at, path, flags, Mode::empty()),
        opened => opened,
    }
}

/// A directory below one that is held, opened name by name: a link on the way would lead root where a user wants.
pub(super) fn descend(mut held: OwnedFd, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for part in below.components().filter(|part| *part != Component::RootDir) {
        held = rustix::fs::openat(&held, part.as_os_str(), flags, Mode::empty())?;
    }
    Ok(held)
}

/// The path of what a descriptor holds, whatever its name leads to by now.
pub(super) fn by_descriptor(held: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", held.as_fd().as_raw_fd()).into()
}

/// What changes when a file is written or replaced: its inode, its size and the time of its last change; none if it is missing.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// That of a file.
pub(super) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Opens a regular file for reading. Anything else is an error, and is not waited for.
pub(super) fn open(at: impl AsFd, path: &Path, links: Links) -> io::Result<(File, std::fs::Metadata)> {
    let flags = if links == Links::Follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let file = match open_quietly(at, path, flags) {
        Err(Errno::LOOP) if links == Links::Refuse => {
            return Err(io::Error::other("it is a link, which is not followed"));
        }
        opened => File::from(opened?),
    };
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Reads the first `bytes_max` bytes of a regular file.
pub(super) fn read(path: &Path, links: Links, bytes_max: u64) -> io::Result<Contents> {
    let (file, metadata) = open(CWD, path, links)?;
    let (bytes, is_whole) = read_open(&file, bytes_max)?;
    Ok(Contents { bytes, is_whole, metadata })
}

/// Reads all of a file; more than `bytes_max` bytes are an error.
pub(super) fn read_whole(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let contents = read(path, Links::Follow, bytes_max)?;
    if contents.is_whole {
        Ok(contents.bytes)
    } else {
        Err(io::Error::other(format!("it has more than {bytes_max} bytes")))
    }
}

/// Reads the next `bytes_max` bytes of an open file, and says whether they are the last.
pub(super) fn read_open(file: &File, bytes_max: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() as u64 <= bytes_max;
    if !is_whole {
        bytes.pop();
    }
    Ok((bytes, is_whole))
}

/// The names in a directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Sorted.
    pub(super) list: Vec<OsString>,
    /// Why some, or all, are missing.
    pub(super) error: Option<io::Error>,
}

impl Names {
    /// Those that could be read; that others are missing is named.
    pub(super) fn reported(self, directory: impl Display, report: &mut Report) -> Vec<OsString> {
        if let Some(error) = self.error {
            report.unseen(format_args!("read {directory}: {error}"));
        }
        self.list
    }
}

/// The names in a directory. One that is missing has none.
pub(super) fn names(directory: &Path) -> Names {
    match std::fs::read_dir(directory) {
        Ok(entries) => names_of(entries.map(|entry| entry.map(|entry| entry.file_name())), ENTRIES_MAX),
        Err(error) => Names { error: (!is_missing(&error)).then_some(error), ..Names::default() },
    }
}

fn names_of(entries: impl Iterator<Item = io::Result<OsString>>, entries_max: usize) -> Names {
    let mut names = Names::default();
    for entry in entries {
        match entry {
            Ok(_) if names.list.len() == entries_max => {
                let text = format!("it has more than {entries_max} entries, of which others were not looked at");
                names.error = Some(io::Error::other(text));
                break;
            }
            Ok(name) => names.list.push(name),
            Err(error) => names.error = Some(error),
        }
    }
    names.list.sort_unstable();
    names
}

/// `line 7`, `line 7 and 2 more`: lines that something is to be said of; none if there are none.
pub(super) fn line_numbers(numbers: &[usize]) -> Option<String> {
    let (first, rest) = numbers.split_first()?;
    Some(if rest.is_empty() { format!("line {first}") } else { format!("line {first} and {} more", rest.len()) })
}

/// Whether an error says that there is no such file.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The lines of a text with their numbers from 1, each invalid byte replaced.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, std::borrow::Cow<'_, str>)> {
    bytes.split(|byte| *byte == b'\n').enumerate().map(|(index, line)| (index + 1, String::from_utf8_lossy(line)))
}

/// The user that owns a file, by id.
pub(super) fn owner(metadata: &std::fs::Metadata) -> u32 {
    metadata.uid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_read_and_links_only_where_they_may_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "12345").unwrap();
        symlink("file", path("link")).unwrap();
        rustix::fs::mknodat(CWD, path("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let all = |name: &str, links, max| {
            read(&path(name), links, max).map(|contents| (contents.bytes, contents.is_whole)).map_err(|e| e.to_string())
        };
        assert_eq!(all("file", Links::Refuse, 5).unwrap(), (b"12345".to_vec(), true));
        assert_eq!(all("file", Links::Refuse, 4).unwrap(), (b"1234".to_vec(), false));
        assert_eq!(all("link", Links::Follow, 9).unwrap(), (b"12345".to_vec(), true));
        assert_eq!(all("link", Links::Refuse, 9).unwrap_err(), "it is a link, which is not followed");
        assert_eq!(read_whole(&path("link"), 5).unwrap(), b"12345");
        assert_eq!(read_whole(&path("file"), 4).unwrap_err().to_string(), "it has more than 4 bytes");
        assert_eq!(all("fifo", Links::Follow, 9).unwrap_err(), "it is not a regular file");
        assert_eq!(names(directory.path()).list, ["fifo", "file", "link"]);
        for none in ["missing", "file"] {
            let Names { list, error } = names(&path(none));
            assert!(list.is_empty() && error.is_none(), "{none}: {error:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_of_a_directory_hides_no_other_name() {
        let name = |name: &str| Ok(OsString::from(name));
        let Names { list, error } = names_of([name("c"), name("a"), name("b")].into_iter(), 2);
        assert_eq!(list, ["a", "c"]);
        assert!(error.unwrap().to_string().starts_with("it has more than 2 entries"));
        let Names { list, error } = names_of([name("b"), Err(io::Error::other("x")), name("a")].into_iter(), 2);
        assert_eq!((list, error.unwrap().to_string()), (vec!["a".into(), "b".into()], "x".to_owned()));
    }

    #[test]
    fn a_machine_below_a_directory_has_the_names_of_a_whole_one() {
        let machine = Machine::below(Path::new("/tmp/m"));
        assert_eq!(machine.path("/etc/passwd"), Path::new("/tmp/m/etc/passwd"));
        assert_eq!(machine.name(Path::new("/tmp/m/etc/passwd")), "/etc/passwd");
        assert_eq!(Machine::this().name(&Machine::this().path("/etc/passwd")), "/etc/passwd");
    }
    #[test]
    fn links_lead_where_the_kernel_goes() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::below(directory.path());
        let path = |name: &str| machine.path(name);
        for directory in ["/a/b", "/far/deep", "/dev"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        for file in ["/far/file", "/a/file", "/a/b/file"] {
            std::fs::write(path(file), file).unwrap();
        }
        for (link, target) in [
            ("/a/d", "../far/deep"),
            ("/a/behind", "d/../file"),
            ("/a/again", "b/../behind"),
            ("/a/b/up", "../file"),
            ("/a/whole", "/a/d/../file"),
            ("/a/null", "../dev/null"),
            ("/a/gone", "d/../gone"),
            ("/a/nowhere", "gone/../file"),
            ("/a/loop", "loop/../file"),
            ("/a/out", "../../file"),
        ] {
            symlink(target, path(link)).unwrap();
        }
        for (from, to) in [
            ("/a/file", "/a/file"),
            ("/a/behind", "/far/file"),
            ("/a/again", "/far/file"),
            ("/a/d/../file", "/far/file"),
            ("/a/b/up", "/a/file"),
            ("/a/whole", "/far/file"),
            ("/a/d", "/far/deep"),
            ("/a/null", "/dev/null"),
            ("/a/gone", "/far/gone"),
            // For the kernel there is nothing behind what is missing.
            ("/a/nowhere", "/a/gone/../file"),
        ] {
            assert_eq!(machine.follow(&path(from)).unwrap(), path(to), "{from}");
            // A whole path is one below the root, which the kernel does not know.
            if from != "/a/whole" {
                assert_eq!(std::fs::read(path(to)).ok(), std::fs::read(path(from)).ok(), "{from}");
            }
        }
        assert_eq!(machine.follow(&path("/a/loop")).unwrap_err().raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(machine.follow(&path("/a/out")).unwrap_err().raw_os_error(), Some(Errno::XDEV.raw_os_error()));
    }
}
