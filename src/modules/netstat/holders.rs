//! Which processes hold sockets.

use crate::modules::processes::{Descriptors, Process, Processes, has_ended};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::time::Instant;

/// Processes that are named for one socket: a server may have inherited it to thousands.
const HOLDERS_MAX: usize = 16;
/// Descriptors of threads that are looked at: nearly all threads have those of their process, once more.
const DESCRIPTORS_OF_THREADS_MAX: usize = 1 << 20;

/// The processes by the sockets that they hold, and why some may be missing.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Of each inode.
    pub(super) of: BTreeMap<u64, Vec<Rc<Value>>>,
    /// What was not looked at.
    pub(super) doubts: Vec<String>,
    /// Processes that could not be looked into.
    refused: BTreeSet<i32>,
}

/// Looks for those of `sockets`, until a time is over.
pub(super) fn find(sockets: &BTreeSet<u64>, until: Option<Instant>) -> Holders {
    let mut holders = Holders::default();
    if sockets.is_empty() {
        return holders;
    }
    let processes = Processes::open().and_then(|processes| processes.ids().map(|ids| (processes, ids)));
    let (processes, ids) = match processes {
        Ok(found) => found,
        Err(error) => {
            holders.doubts.push(format!("processes of sockets are unknown: read /proc: {error}"));
            return holders;
        }
    };
    holders.doubts.extend(processes.hidden());
    let mut stopped = None;
    let is_late = || until.is_some_and(|until| Instant::now() >= until).then_some("there was no time to look at all");
    for pid in &ids {
        stopped = is_late();
        if stopped.is_some() {
            break;
        }
        holders.look(&processes, *pid, |process, holders| {
            let held = held(process, sockets)?;
            holders.add(process, process, held.sockets);
            held.error.map_or(Ok(()), Err)
        });
    }
    // Threads may have descriptors of their own, and the first one may have ended.
    let missing = holders.missing(sockets);
    let mut looked_at = 0;
    for pid in ids.iter().filter(|_| !missing.is_empty()) {
        let is_too_much = || (looked_at >= DESCRIPTORS_OF_THREADS_MAX).then_some("threads have too many descriptors");
        stopped = stopped.or_else(is_late).or_else(is_too_much);
        if stopped.is_some() {
            break;
        }
        holders.look(&processes, *pid, |process, holders| {
            let (mut of_process, mut holder, mut error) = (BTreeSet::new(), None, None);
            for id in process.threads()?.into_iter().filter(|id| *id != process.pid) {
                if looked_at >= DESCRIPTORS_OF_THREADS_MAX || is_late().is_some() {
                    break;
                }
                let thread = process.thread(id);
                match thread.and_then(|thread| Ok((held(&thread, &missing)?, thread))) {
                    Ok((held, thread)) => {
                        looked_at += held.count;
                        if !held.sockets.is_empty() {
                            of_process.extend(held.sockets);
                            holder = Some(thread);
                        }
                        error = held.error.or(error);
                    }
                    Err(error) if has_ended(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some(thread) = holder {
                holders.add(process, &thread, of_process);
            }
            error.map_or(Ok(()), Err)
        });
    }
    if let Some(reason) = stopped {
        holders.doubts.push(format!("processes of sockets are incomplete: {reason}"));
    }
    if !holders.refused.is_empty() {
        let refused = holders.refused.len();
        holders.doubts.push(format!("processes of sockets are incomplete: {refused} could not be looked into"));
    }
    let missing = holders.missing(sockets).len();
    if missing > 0 && holders.doubts.is_empty() {
        holders.doubts.push(format!("processes of sockets are incomplete: none was found for {missing} of them"));
    }
    holders
}

impl Holders {
    /// Looks into a process; one that has ended holds nothing.
    fn look(&mut self, processes: &Processes, pid: i32, look: impl FnOnce(&Process, &mut Holders) -> io::Result<()>) {
        let looked = processes.process(pid).and_then(|process| look(&process, self));
        if looked.is_err_and(|error| !has_ended(&error)) {
            self.refused.insert(pid);
        }
    }

    /// Names a process for the sockets that a thread of it holds.
    fn add(&mut self, process: &Process, thread: &Process, held: BTreeSet<u64>) {
        if held.is_empty() {
            return;
        }
        let name = process.stat().map(|stat| String::from_utf8_lossy(&stat.name).into_owned()).unwrap_or_default();
        // A thread that has ended has none.
        let exe = process.link("exe").or_else(|_| thread.link("exe"));
        let exe = exe.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let holder = Rc::new(json!({"pid": process.pid, "name": name, "exe": exe}));
        for inode in held {
            let of_this = self.of.entry(inode).or_default();
            if of_this.len() < HOLDERS_MAX {
                of_this.push(Rc::clone(&holder));
            }
        }
    }

    /// Those of the sockets that no process holds.
    fn missing(&self, sockets: &BTreeSet<u64>) -> BTreeSet<u64> {
        sockets.iter().filter(|inode| !self.of.contains_key(inode)).copied().collect()
    }
}

/// What a process or a thread has open.
struct Held {
    /// How many descriptors were looked at.
    count: usize,
    /// Which of the sockets are among them.
    sockets: BTreeSet<u64>,
    /// Why some were not.
    error: Option<io::Error>,
}

fn held(process: &Process, sockets: &BTreeSet<u64>) -> io::Result<Held> {
    let Descriptors { list, error } = process.descriptors()?;
    let inodes = list.iter().filter_map(|(_, target)| inode(target.to_str()?));
    Ok(Held { count: list.len(), sockets: inodes.filter(|inode| sockets.contains(inode)).collect(), error })
}

/// Reads `socket:[12345]`.
fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
