//! A walk over directories that users can change while it goes on: no link on the way to a file is followed, so that no user
//! leads root to a file that the user may not read.
//!
//! A directory is opened from the path where the walk began, name by name, and its files from there. A link in place of a file
//! is followed if the link, its directory and what it leads to have the same owner: that one could have copied the file. One to a
//! directory never is.

use crate::modules::file::mounts::{Mounts, Place};
use crate::modules::files::{self, Links};
use crate::modules::report::Report;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories that are known and not yet walked: memory of some 100 MB at most.
const PENDING_MAX: usize = 500_000;
/// Names in one directory: memory of some 100 MB at most.
const NAMES_MAX: usize = 1 << 20;

/// Where a walk begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// This path, in which links are followed.
    pub(super) path: PathBuf,
    /// And below it here, where they are not.
    pub(super) below: PathBuf,
    /// How deep it goes: 1 is the files in the directory.
    pub(super) levels: usize,
    /// That there is more further down hides nothing that was asked for.
    pub(super) are_levels_asked_for: bool,
    /// That it is missing is worth a note.
    pub(super) is_asked_for: bool,
}

/// What is done with each file.
pub(super) type Visit<'v> = dyn FnMut(&File, &Metadata, &Path, &mut Report) + 'v;

/// Walks over the files below a path.
pub(super) fn walk(root: &Root, mounts: &Mounts, report: &mut Report, visit: &mut Visit) {
    let path = root.path.as_path();
    let real = match mounts.locate(path) {
        Ok(Place::Local(real)) => real,
        Ok(Place::Network(point)) => {
            return report.unseen(format_args!("walk {}: the network mount {}", path.display(), point.display()));
        }
        Err(error) => return cannot_begin(root, &error, report),
    };
    let directory = match open_directory(CWD, path) {
        Err(Errno::NOTDIR) => return visit_root(path, &real, mounts, report, visit),
        Err(error) => return cannot_begin(root, &error.into(), report),
        Ok(directory) => directory,
    };
    let pending = vec![(root.below.clone(), root.levels)];
    let mut tree = Tree { path, real, directory, mounts, pending, is_cut: false };
    while let Some((below, levels)) = tree.pending.pop() {
        if report.is_over() {
            return;
        }
        tree.walk_directory(&below, levels, report, visit);
    }
    if tree.is_cut && !root.are_levels_asked_for {
        let (path, levels) = (path.components().chain(root.below.components()).collect::<PathBuf>(), root.levels);
        let text = format_args!("walk {}: what is more than {levels} levels down was not looked at", path.display());
        report.unseen_for(super::run::LABEL, text);
    }
}

fn cannot_begin(root: &Root, error: &io::Error, report: &mut Report) {
    if !files::is_missing(error) {
        report.unseen(format_args!("walk {}: {error}", root.path.display()));
    } else if root.is_asked_for {
        report.note(format_args!("walk {}: {error}", root.path.display()));
    }
}

/// A path that is a file.
fn visit_root(path: &Path, real: &Path, mounts: &Mounts, report: &mut Report, visit: &mut Visit) {
    let (Some(parent), Some(name), Some(real)) = (path.parent(), path.file_name(), real.parent()) else { return };
    match open_directory(CWD, parent) {
        Ok(directory) => {
            let file = Visited { directory: &directory, name, path, real, is_top: true };
            visit_file(&file, mounts, report, visit);
        }
        Err(error) => report.unseen(format_args!("open {}: {}", parent.display(), io::Error::from(error))),
    }
}

struct Tree<'t> {
    path: &'t Path,
    /// The path without links.
    real: PathBuf,
    directory: OwnedFd,
    mounts: &'t Mounts,
    /// Below the path, and how many levels further down.
    pending: Vec<(PathBuf, usize)>,
    /// There are directories further down.
    is_cut: bool,
}

impl Tree<'_> {
    fn walk_directory(&mut self, below: &Path, levels: usize, report: &mut Report, visit: &mut Visit) {
        let (path, real) = (self.path.join(below), self.real.join(below));
        if self.mounts.contains(&real) {
            return report.unseen(format_args!("walk {}: a network mount", path.display()));
        }
        let opened = self.open(below).and_then(|directory| Ok((names(&directory)?, directory)));
        let (Names { subdirectories, others, is_whole }, directory) = match opened {
            Ok(opened) => opened,
            // It is gone, or was never there.
            Err(Errno::NOENT) => return,
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return report.unseen(format_args!("walk {}: it is a link, which is not followed", path.display()));
            }
            Err(error) => return report.unseen(format_args!("walk {}: {}", path.display(), io::Error::from(error))),
        };
        if !is_whole {
            report.unseen(format_args!("walk {}: only {NAMES_MAX} of its names", path.display()));
        }
        for name in others {
            if report.is_over() {
                return;
            }
            let (path, is_top) = (path.join(&name), below.as_os_str().is_empty());
            let file = Visited { directory: &directory, name: &name, path: &path, real: &real, is_top };
            visit_file(&file, self.mounts, report, visit);
        }
        if levels <= 1 {
            self.is_cut |= !subdirectories.is_empty();
            return;
        }
        if self.pending.len() + subdirectories.len() > PENDING_MAX {
            return report
                .unseen(format_args!("walk below {}: more than {PENDING_MAX} directories wait", path.display()));
        }
        self.pending.extend(subdirectories.into_iter().map(|name| (below.join(name), levels - 1)));
    }

    /// Opens a directory below the path, name by name.
    fn open(&self, below: &Path) -> Result<OwnedFd, Errno> {
        files::descend(open_directory(&self.directory, Path::new("."))?, below, OFlags::NONBLOCK)
    }
}

fn open_directory(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NONBLOCK;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// What is in a directory.
struct Names {
    /// The last is walked first.
    subdirectories: Vec<OsString>,
    /// Files and links.
    others: Vec<OsString>,
    is_whole: bool,
}

fn names(directory: &OwnedFd) -> Result<Names, Errno> {
    let (mut subdirectories, mut others, mut is_whole) = (Vec::new(), Vec::new(), true);
    for (count, entry) in Dir::read_from(directory)?.enumerate() {
        if count == NAMES_MAX {
            is_whole = false;
            break;
        }
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        match kind {
            FileType::Directory if name != "." && name != ".." => subdirectories.push(name.to_owned()),
            FileType::RegularFile | FileType::Symlink => others.push(name.to_owned()),
            _ => {}
        }
    }
    subdirectories.sort_unstable_by(|a, b| b.cmp(a));
    others.sort_unstable();
    Ok(Names { subdirectories, others, is_whole })
}

/// A file, or a link.
struct Visited<'v> {
    directory: &'v OwnedFd,
    name: &'v OsStr,
    /// The path.
    path: &'v Path,
    /// The path of the directory, without links.
    real: &'v Path,
    /// It is where a walk begins, or directly below.
    is_top: bool,
}

/// What a link leads to.
enum Target {
    /// A file of its owner.
    File(File, Metadata),
    /// A file of another one.
    OfAnother,
    /// A directory, or a network mount.
    Directory,
    /// Something else.
    Other,
}

fn visit_file(file: &Visited, mounts: &Mounts, report: &mut Report, visit: &mut Visit) {
    let Visited { directory, name, path, real, is_top } = *file;
    let is_link = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    let opened = if is_link {
        open_link(directory, name, real, mounts)
    } else {
        files::open(directory, Path::new(name), Links::Refuse).map(|(file, metadata)| Target::File(file, metadata))
    };
    // Everywhere else there are many links, and what they lead to has no keys, or is found where it is.
    let is_of_ssh = super::run::is_of_ssh(path);
    match opened {
        Ok(Target::File(file, metadata)) => visit(&file, &metadata, path, report),
        Ok(Target::OfAnother) if is_of_ssh || is_top => {
            report.unseen(format_args!("open {}: a link to what is not its owner's is not followed", path.display()));
        }
        Ok(Target::Directory) if is_of_ssh || is_top || name == super::run::OF_SSH => {
            report.unseen(format_args!("walk {}: a link to a directory is not followed", path.display()));
        }
        Ok(_) => {}
        Err(error) if files::is_missing(&error) => {}
        Err(error) => report.unseen(format_args!("open {}: {error}", path.display())),
    }
}

/// Opens what a link leads to, if it may be followed.
fn open_link(directory: &OwnedFd, name: &OsStr, real: &Path, mounts: &Mounts) -> io::Result<Target> {
    if let Place::Network(_) = mounts.locate_link(directory.as_fd(), real, name)? {
        return Ok(Target::Directory);
    }
    let link = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let target = rustix::fs::openat(directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (stat, above) = (rustix::fs::fstat(&target)?, rustix::fs::fstat(directory)?);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Ok(Target::Directory),
        FileType::RegularFile => {}
        _ => return Ok(Target::Other),
    }
    if stat.st_uid != link.st_uid || above.st_uid != link.st_uid {
        return Ok(Target::OfAnother);
    }
    // The same file, whatever its name leads to by now.
    files::open(CWD, &files::by_descriptor(&target), Links::Follow).map(|(file, metadata)| Target::File(file, metadata))
}
