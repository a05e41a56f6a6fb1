//! Changes that are committed together: put, move, reject, clear.
//!
//! The order of [`Batch::commit`], whatever is in the batch:
//!
//! 1. The content of new files and of reasons is synced. They were written in `tmp/`.
//! 2. New files, reasons and moved files get their names; the directories with new names are synced.
//! 3. Refused files follow their reasons; their directory is synced.
//! 4. Cleared files are unlinked, each only if the put or move before it was done. Nothing is synced for it: a file that
//!    is there again after a power cut is a legal state.
//!
//! A crash between two steps leaves a state of STATES.md. Many files are synced with one syncfs(2), few with an fsync(2)
//! each. A batch that is dropped before its commit removes what it wrote in `tmp/`, if its path still leads there.

use super::disk::{self, Taken};
use super::failures::{io_failure, sync_failure};
use super::{Dir, FileName, Look};
use crate::failure::Failure;
use crate::limits;
use crate::time::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempPath;

/// What became of a file that was put or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is there now.
    New,
    /// It was there already, with the same content.
    Same,
    /// The name is taken by other content; a moved file is where it was.
    Taken,
    /// The moved file, or the one to be replaced, is gone: another process moved it.
    Gone,
}

/// What a new file may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing: what has the name stays.
    Nothing,
    /// Any file of that name.
    Anything,
    /// The very file that was read. Another one that has its name by now is put back under a name of its own.
    Read(Look),
}

/// Up to this many files or directories are synced one by one, which is quicker than syncing the file system.
const SINGLE_SYNCS_MAX: usize = 8;

/// The mode of every file: others than the owner's group have no access.
const MODE: Mode = Mode::from_raw_mode(0o640);

struct Put {
    staged: TempPath,
    to: Arc<Dir>,
    name: FileName,
    over: Over,
}

struct Move {
    from: Arc<Dir>,
    name: FileName,
    to: Arc<Dir>,
    to_name: FileName,
}

struct Reject {
    reason: TempPath,
    file: Move,
}

enum Change {
    Put(Put),
    Move(Move),
    Clear(Arc<Dir>, FileName),
}

/// See the module docs.
pub struct Batch {
    tmp: Arc<Dir>,
    /// What names in `tmp` begin with.
    prefix: String,
    /// The first files that were written, still open.
    unsynced: Vec<File>,
    written: usize,
    changes: Vec<Change>,
    rejects: Vec<Reject>,
    rejected_names: HashSet<FileName>,
}

/// What became of each file, in the order in which it was added. An error is a [`Failure::Skip`]: the others are done.
#[derive(Debug, Default)]
pub struct Committed {
    /// Of puts, moves and clears; a file that was cleared is [`Placed::Gone`].
    pub changes: Vec<Result<Placed, Failure>>,
    /// Of rejected files.
    pub rejects: Vec<Result<Placed, Failure>>,
}

impl Batch {
    /// An empty batch that writes into `tmp`, under names that begin with `owner`.
    pub fn new(tmp: Arc<Dir>, owner: &str) -> Batch {
        Batch {
            tmp,
            prefix: format!("{owner}."),
            unsynced: Vec::new(),
            written: 0,
            changes: Vec::new(),
            rejects: Vec::new(),
            rejected_names: HashSet::new(),
        }
    }

    /// Puts a new file into `to`. Its content is written now.
    pub fn put(&mut self, to: &Arc<Dir>, name: &FileName, bytes: &[u8], over: Over) -> Result<(), Failure> {
        let staged = self.write(bytes)?;
        self.changes.push(Change::Put(Put { staged, to: Arc::clone(to), name: name.clone(), over }));
        Ok(())
    }

    /// Moves a file. A name that is taken by the same content counts as done, and the source is removed.
    pub fn rename(&mut self, from: &Arc<Dir>, name: &FileName, to: &Arc<Dir>, to_name: &FileName) {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        self.changes.push(Change::Move(Move { from, name: name.clone(), to, to_name: to_name.clone() }));
    }

    /// Moves a file into `invalid` under its own name (made unique), with a `.reason` file beside it: the time and the
    /// reason, a line each. The reason comes first: a crash leaves one without its file, which the next try overwrites.
    pub fn reject(
        &mut self,
        from: &Arc<Dir>,
        name: &FileName,
        reason: &str,
        invalid: &Arc<Dir>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let one_line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let to_name = free_name(invalid, name, &self.rejected_names, now)?;
        self.rejected_names.insert(to_name.clone());
        let reason = self.write(format!("{now}\n{one_line}\n").as_bytes())?;
        let file = Move { from: Arc::clone(from), name: name.clone(), to: Arc::clone(invalid), to_name };
        self.rejects.push(Reject { reason, file });
        Ok(())
    }

    /// Removes a file, or an empty directory, after everything else is durable, unless the put or move that was added before
    /// it failed: that one takes its place. One that is gone counts as done.
    pub fn clear(&mut self, dir: &Arc<Dir>, name: &FileName) {
        self.changes.push(Change::Clear(Arc::clone(dir), name.clone()));
    }

    /// Writes a file in `tmp`. It is created through the open directory, wherever its path leads meanwhile.
    fn write(&mut self, bytes: &[u8]) -> Result<TempPath, Failure> {
        let tmp = Arc::clone(&self.tmp);
        let mut errno = Errno::IO;
        let create = |path: &Path| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let name = path.file_name().unwrap_or_default();
            let created = rustix::fs::openat(&*tmp, name, flags, MODE);
            Ok(File::from(created.inspect_err(|e| errno = *e)?))
        };
        let created = tempfile::Builder::new().prefix(&self.prefix).make_in(tmp.path(), create);
        let file = created.map_err(|_| io_failure("create a file in", tmp.path(), errno))?;
        let (mut file, path) = file.into_parts();
        // Whatever the umask of a user who drops. Where a file system has no modes, it says who may read.
        let _ = rustix::fs::fchmod(&file, MODE);
        file.write_all(bytes).map_err(|e| io_failure("write", &path, e))?;
        self.written += 1;
        if self.written <= SINGLE_SYNCS_MAX {
            self.unsynced.push(file);
        }
        Ok(path)
    }

    /// See the module docs.
    pub fn commit(mut self) -> Result<Committed, Failure> {
        self.check_places()?;
        self.sync_files()?;
        let (mut done, mut named, mut clears) = (Committed::default(), Named::default(), Vec::new());
        for (index, change) in self.changes.into_iter().enumerate() {
            done.changes.push(match change {
                Change::Put(put) => per_file(place(&self.tmp, put, &mut named))?,
                Change::Move(step) => per_file(rename(&step, &mut named))?,
                Change::Clear(dir, name) => {
                    clears.push((index, dir, name));
                    // As what it depends on; overwritten below.
                    done.changes.last().cloned().unwrap_or(Ok(Placed::Gone))
                }
            });
        }
        let mut rejects = Vec::with_capacity(self.rejects.len());
        for Reject { reason, file } in self.rejects {
            let (to, name) = (Arc::clone(&file.to), file.to_name.with_suffix(".reason"));
            place(&self.tmp, Put { staged: reason, to, name, over: Over::Anything }, &mut named)?;
            rejects.push(file);
        }
        named.sync(&self.tmp)?;
        for step in &rejects {
            let mut renamed = per_file(rename(step, &mut named))?;
            if !matches!(renamed, Ok(Placed::New | Placed::Same)) {
                step.to.unlink(&step.to_name.with_suffix(".reason"))?;
            }
            if renamed == Ok(Placed::Taken) {
                // The name was taken since it was found free; the next try finds another.
                renamed = Err(step.to.failure("rename to", step.to_name.as_os_str(), Errno::EXIST));
            }
            done.rejects.push(renamed);
        }
        named.sync(&self.tmp)?;
        for (index, dir, name) in clears {
            if done.changes[index].is_ok() {
                done.changes[index] = per_file(dir.remove(&name).map(|()| Placed::Gone))?;
            }
        }
        Ok(done)
    }

    /// Nothing is put into a directory that its path does not lead to, and nothing counts as gone because its directory is.
    fn check_places(&self) -> Result<(), Failure> {
        let of_changes = self.changes.iter().flat_map(|change| match change {
            Change::Put(put) => [&put.to, &self.tmp],
            Change::Move(step) => [&step.from, &step.to],
            Change::Clear(dir, _) => [dir, &self.tmp],
        });
        let of_rejects = self.rejects.iter().flat_map(|reject| [&reject.file.from, &reject.file.to]);
        let mut checked = HashSet::new();
        let mut dirs = of_changes.chain(of_rejects).filter(|dir| checked.insert(Arc::as_ptr(dir)));
        dirs.try_for_each(|dir| dir.check_place())
    }

    /// Makes the content of every file written so far durable.
    fn sync_files(&mut self) -> Result<(), Failure> {
        if self.written > SINGLE_SYNCS_MAX {
            return disk::sync_all_files(&self.tmp).map_err(|errno| sync_failure(self.tmp.path(), errno));
        }
        let sync = |file| disk::sync_file(file).map_err(|errno| sync_failure(self.tmp.path(), errno));
        self.unsynced.iter().try_for_each(sync)
    }
}

/// The directories that have new names.
#[derive(Default)]
struct Named(Vec<Arc<Dir>>);

impl Named {
    fn add(&mut self, dir: &Arc<Dir>) {
        // One more than are synced singly is enough to know that the whole file system must be.
        if self.0.len() <= SINGLE_SYNCS_MAX && !self.0.iter().any(|known| Arc::ptr_eq(known, dir)) {
            self.0.push(Arc::clone(dir));
        }
    }

    fn sync(&mut self, tmp: &Dir) -> Result<(), Failure> {
        let dirs = std::mem::take(&mut self.0);
        if dirs.len() > SINGLE_SYNCS_MAX {
            return disk::sync_all_names(tmp).map_err(|errno| sync_failure(tmp.path(), errno));
        }
        let sync = |dir: &Arc<Dir>| disk::sync_names(dir).map_err(|errno| sync_failure(dir.path(), errno));
        dirs.iter().try_for_each(sync)
    }
}

/// The first failure of a batch, where all of it is needed.
pub fn all_done(outcomes: Vec<Result<Placed, Failure>>) -> Result<(), Failure> {
    outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
}

/// An error that concerns one file does not stop the others.
fn per_file<T>(result: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
    match result {
        Err(failure @ Failure::Skip(_)) => Ok(Err(failure)),
        other => other.map(Ok),
    }
}

fn name_of(path: &Path) -> Result<FileName, Failure> {
    let name = path.file_name().and_then(FileName::new);
    name.ok_or_else(|| Failure::retry(format!("{}: not a file in tmp", path.display())))
}

/// Renames a file of `tmp` to its name.
fn place(tmp: &Arc<Dir>, put: Put, named: &mut Named) -> Result<Placed, Failure> {
    let Put { staged, to, name, over } = put;
    let step = Move { from: Arc::clone(tmp), name: name_of(&staged)?, to, to_name: name };
    let placed = match over {
        Over::Nothing => rename(&step, named)?,
        Over::Anything => replace(&step, named)?,
        Over::Read(look) => exchange(&step, &look, named)?,
    };
    if placed == Placed::New {
        // It has another name now.
        let _ = staged.keep();
    }
    match (placed, over) {
        // The file in tmp is ours alone: a user removed it.
        (Placed::Gone, Over::Nothing) => Err(step.to.failure("rename to", step.to_name.as_os_str(), Errno::NOENT)),
        (placed, _) => Ok(placed),
    }
}

fn rename(step: &Move, named: &mut Named) -> Result<Placed, Failure> {
    let Move { from, name, to, to_name } = step;
    match disk::rename(from, name, to, to_name, Taken::Fails) {
        Ok(()) => {
            named.add(to);
            Ok(Placed::New)
        }
        Err(Errno::NOENT) => gone(step),
        Err(Errno::EXIST) if same_content(step)? => {
            // The process that put it there may have died before the fsync.
            named.add(to);
            from.unlink(name)?;
            Ok(Placed::Same)
        }
        Err(Errno::EXIST) => {
            // As above: what depends on it counts on the file that is there.
            named.add(to);
            Ok(Placed::Taken)
        }
        Err(errno) => {
            let (from, to) = (from.path().join(name.as_os_str()), to.path().join(to_name.as_os_str()));
            Err(io_failure(&format!("rename {} to", from.display()), &to, errno))
        }
    }
}

/// The outcome of ENOENT: the file is gone, or a directory.
fn gone(step: &Move) -> Result<Placed, Failure> {
    step.from.check_place()?;
    step.to.absent(Placed::Gone)
}

fn replace(step: &Move, named: &mut Named) -> Result<Placed, Failure> {
    let Move { from, name, to, to_name } = step;
    let renamed = disk::rename(from, name, to, to_name, Taken::IsReplaced);
    renamed.map_err(|errno| to.failure("rename to", to_name.as_os_str(), errno))?;
    named.add(to);
    Ok(Placed::New)
}

/// Replaces the file that was read by one of `tmp`, where the old one is then deleted.
fn exchange(step: &Move, read: &Look, named: &mut Named) -> Result<Placed, Failure> {
    let Move { from: tmp, name: staged, to, to_name } = step;
    match disk::rename(tmp, staged, to, to_name, Taken::IsExchanged) {
        Ok(()) => named.add(to),
        Err(Errno::NOENT) => return gone(step),
        // Not every file system can exchange; then the one moment in which a drop could be replaced is accepted.
        Err(Errno::INVAL | Errno::NOSYS) => return replace(step, named),
        Err(errno) => return Err(to.failure("exchange", to_name.as_os_str(), errno)),
    }
    if tmp.look(staged)?.is_some_and(|look| look.is_file_of(read)) {
        tmp.unlink(staged)?;
        return Ok(Placed::New);
    }
    // Another file had the name since it was read: that one goes back, ours stays under its name.
    for attempt in 1.. {
        let back = Move {
            from: Arc::clone(tmp),
            name: staged.clone(),
            to: Arc::clone(to),
            to_name: to_name.variation(attempt),
        };
        match rename(&back, named) {
            Ok(Placed::Taken) => {}
            // It cannot be read, and so not be compared with what has the name.
            Err(Failure::Skip(_)) if to.has(&back.to_name)? => {}
            // A directory whose owner has closed it meanwhile cannot be moved any more by another user.
            Err(Failure::Skip(reason)) => {
                log::error!("{reason}; move it away by hand");
                break;
            }
            other => {
                other?;
                break;
            }
        }
    }
    Ok(Placed::New)
}

fn same_content(step: &Move) -> Result<bool, Failure> {
    let content = |dir: &Dir, name: &FileName| match dir.read(name, limits::RESULT_SIZE_BYTES_MAX) {
        Err(Failure::Refuse(_)) => Ok(None),
        content => Ok(content?.map(|content| content.bytes)),
    };
    let source = content(&step.from, &step.name)?;
    Ok(source.is_some() && source == content(&step.to, &step.to_name)?)
}

/// The first variation of a name that is free in `invalid`. After a few tries the time makes it unique, so that many
/// files of one name are not looked for one after the other.
fn free_name(invalid: &Dir, name: &FileName, chosen: &HashSet<FileName>, now: Timestamp) -> Result<FileName, Failure> {
    for attempt in 0.. {
        let free = match attempt {
            // `.reason` must fit behind it.
            0 if name.as_os_str().len() < 240 => name.clone(),
            0..=8 => name.variation(attempt),
            _ => name.variation(now.as_microsecond().unsigned_abs().wrapping_add(attempt)),
        };
        if !chosen.contains(&free) && !invalid.has(&free)? {
            return Ok(free);
        }
    }
    Err(invalid.failure("find a free name for", name.as_os_str(), Errno::EXIST))
}
