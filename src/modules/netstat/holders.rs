//! Which processes hold sockets.

use crate::modules::processes::{Processes, has_ended};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;

/// Processes that are named for one socket: a server may have inherited it to thousands.
const HOLDERS_MAX: usize = 16;

/// The processes by the sockets that they hold, and why some may be missing.
#[derive(Default)]
pub(super) struct Holders {
    /// Of each inode.
    pub(super) of: BTreeMap<u64, Vec<Rc<Value>>>,
    /// What was not looked at.
    pub(super) doubts: Vec<String>,
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
    let mut refused = 0_u64;
    for pid in ids {
        if until.is_some_and(|until| Instant::now() >= until) {
            holders.doubts.push("processes of sockets are incomplete: there was no time to look at all".to_owned());
            break;
        }
        let held = processes.process(pid).and_then(|process| Ok((process.descriptors()?, process)));
        let (descriptors, process) = match held {
            Ok(held) => held,
            Err(error) if has_ended(&error) => continue,
            Err(_) => {
                refused += 1;
                continue;
            }
        };
        refused += u64::from(descriptors.error.is_some());
        let inodes: BTreeSet<u64> = descriptors
            .list
            .iter()
            .filter_map(|(_, target)| inode(target.to_str()?))
            .filter(|i| sockets.contains(i))
            .collect();
        if inodes.is_empty() {
            continue;
        }
        let name = process.stat().map(|stat| String::from_utf8_lossy(&stat.name).into_owned()).unwrap_or_default();
        let exe = process.link("exe").map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let holder = Rc::new(json!({"pid": process.pid, "name": name, "exe": exe}));
        for inode in inodes {
            let of_this = holders.of.entry(inode).or_default();
            if of_this.len() < HOLDERS_MAX {
                of_this.push(Rc::clone(&holder));
            }
        }
    }
    if refused > 0 {
        holders
            .doubts
            .push(format!("processes of sockets are incomplete: {refused} could not be looked into as a whole"));
    }
    holders
}

/// Reads `socket:[12345]`.
fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
