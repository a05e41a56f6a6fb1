//! A control group for each operation (cgroups(7), version 2): how much memory, how many processes and how much of the
//! processors it may use, whatever number of processes and threads it has.
//!
//! ```text
//! mig-agent.service        the agent's own: delegated by systemd, or another group that holds the agent alone
//! ├── mig-agent.self       the agent itself: a group with limits for its children has no processes of its own
//! └── mig-operation-812-3  third operation of the process 812; removed when it ends
//! ```
//!
//! Where the agent is not alone in its group, with no group there but these, may not write there, or where version 2 has no controller for memory, there are
//! no groups, and the limits of a process (`confine`) are all there is. An agent that is killed leaves the group of its
//! operation; the next one removes it.

use crate::limits;
use rustix::process::getppid;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The agent's own group.
const AGENT: &str = "mig-agent.self";
/// The names of operations' groups begin with this.
const OPERATION: &str = "mig-operation-";
/// The controller without which a group is no use.
const REQUIRED: &str = "memory";
/// Others that are used where they can be.
const OPTIONAL: [&str; 3] = ["pids", "cpu", "io"];

/// The groups of this agent, or why there are none. Set once, before the first operation.
static PREPARED: OnceLock<Result<Groups, String>> = OnceLock::new();

/// Finds this process's group and moves the process into one below it, so that operations can have groups. For a program at
/// its start: it concerns the whole process.
pub fn prepare() {
    let prepared = PREPARED.get_or_init(|| Groups::below(&own_group()?, REQUIRED));
    if let Err(reason) = prepared {
        log::info!("no control groups for operations: {reason}");
    }
}

/// `v2`, or `none` and the reason.
pub(super) fn state() -> String {
    match PREPARED.get() {
        Some(Ok(_)) => "v2".into(),
        Some(Err(reason)) => format!("none ({reason})"),
        None => "none".into(),
    }
}

/// Puts the process of a module into a group of its own, if this agent has groups. It waits for its input: nothing that it does
/// happens outside of the group.
pub fn enter(process: u32, module: &str) -> Option<Group> {
    let groups = PREPARED.get()?.as_ref().ok()?;
    let group = groups.begin().map_err(|e| log::warn!("an operation runs without a control group: {e}")).ok()?;
    if let Err(error) = group.add(process) {
        log::warn!("module {module} runs outside of its control group: {error}");
    }
    Some(group)
}

/// Where groups for operations are made.
pub struct Groups {
    base: PathBuf,
    begun: AtomicU64,
}

impl Groups {
    /// Prepares the group at `base`, in which this process is alone; `required` is the controller that must be there.
    pub fn below(base: &Path, required: &str) -> Result<Groups, String> {
        let failed = |what: &str, e: io::Error| format!("{what} {}: {e}", base.display());
        let read =
            |name: &str| std::fs::read_to_string(base.join(name)).map_err(|e| failed(&format!("read {name} of"), e));
        // The root of all groups has no such file.
        read("cgroup.events")?;
        let there = read("cgroup.controllers")?;
        let there: Vec<&str> = there.split_whitespace().collect();
        if !there.contains(&required) {
            return Err(format!("{} has no controller {required}", base.display()));
        }
        let own = std::process::id().to_string();
        let leaf = base.join(AGENT);
        // The parent is an agent before this one, which hands over.
        let parent = getppid().map(|parent| parent.as_raw_nonzero().to_string()).unwrap_or_default();
        let others = std::fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
        if read("cgroup.procs")?.lines().any(|process| process != own)
            || others.lines().any(|process| process != own && process != parent)
        {
            return Err(format!("{} has other processes than the agent", base.display()));
        }
        if let Some(group) = foreign_group(base).map_err(|e| failed("look into", e))? {
            return Err(format!("{} has the group {}, which is not the agent's", base.display(), group.display()));
        }
        make(&leaf).and_then(|()| write(&leaf, "cgroup.procs", &own)).map_err(|e| failed("make groups in", e))?;
        let enable = |controller: &str| write(base, "cgroup.subtree_control", &format!("+{controller}"));
        enable(required).map_err(|e| failed(&format!("enable {required} in"), e))?;
        for controller in OPTIONAL.iter().filter(|one| there.contains(one)) {
            enable(controller).unwrap_or_else(|e| log::info!("operations are not limited by {controller}: {e}"));
        }
        let groups = Groups { base: base.to_owned(), begun: AtomicU64::new(0) };
        groups.remove_leftovers().map_err(|e| failed("look into", e))?;
        Ok(groups)
    }

    /// Ends what an agent that was killed has left.
    fn remove_leftovers(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.base)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(OPERATION.as_bytes()) {
                drop(Group { directory: entry.path() });
            }
        }
        Ok(())
    }

    /// Makes the group of an operation, with its limits.
    pub fn begin(&self) -> io::Result<Group> {
        let number = self.begun.fetch_add(1, Relaxed);
        let directory = self.base.join(format!("{OPERATION}{}-{number}", std::process::id()));
        make(&directory)?;
        let group = Group { directory };
        let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        for (file, limit) in limits_of(processors) {
            // A controller that is not there has no files.
            if group.directory.join(file).exists() {
                write(&group.directory, file, &limit)?;
            }
        }
        Ok(group)
    }
}

/// The limits of an operation on a machine with so many processors.
fn limits_of(processors: u32) -> [(&'static str, String); 7] {
    // As many threads as a module is permitted.
    let microseconds = (processors / 2).max(1) * 100_000;
    [
        ("memory.max", limits::MODULE_MEMORY_BYTES.to_string()),
        ("memory.swap.max", "0".into()),
        // All of its processes end, not one of them.
        ("memory.oom.group", "1".into()),
        ("pids.max", limits::MODULE_TASKS_MAX.to_string()),
        ("cpu.max", format!("{microseconds} 100000")),
        ("cpu.weight", limits::MODULE_WEIGHT.to_string()),
        ("io.weight", format!("default {}", limits::MODULE_WEIGHT)),
    ]
}

/// The group of an operation. When it is dropped, everything in it is killed and it is removed.
pub struct Group {
    directory: PathBuf,
}

/// Why the kernel killed for memory in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KilledFor {
    /// The group's own limit.
    Limit,
    /// Memory of the machine, or of a group around this one.
    Machine,
}

impl Group {
    /// Moves a process in; what it starts afterwards belongs to the group too.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        write(&self.directory, "cgroup.procs", &pid.to_string())
    }

    /// Whether the kernel has killed for memory here, and why.
    pub fn killed_for_memory(&self) -> Option<KilledFor> {
        killed_for_memory(&std::fs::read_to_string(self.directory.join("memory.events")).ok()?)
    }
}

/// `text` is a group's memory.events.
fn killed_for_memory(text: &str) -> Option<KilledFor> {
    let count = |name: &str| {
        let mut words = text.lines().filter_map(|line| line.split_once(' '));
        words.find(|(word, _)| *word == name).and_then(|(_, count)| count.parse::<u64>().ok()).unwrap_or(0)
    };
    match (count("oom_kill"), count("oom")) {
        (0, _) => None,
        (_, 0) => Some(KilledFor::Machine),
        _ => Some(KilledFor::Limit),
    }
}

impl Drop for Group {
    /// A process that waits for a disk that does not answer stays, and its group with it.
    fn drop(&mut self) {
        // Before Linux 5.14 there is no such file; then the agent has killed the operation's process group.
        let _ = write(&self.directory, "cgroup.kill", "1");
        for milliseconds in [0, 1, 2, 4, 8, 16] {
            std::thread::sleep(Duration::from_millis(milliseconds));
            if std::fs::remove_dir(&self.directory).is_ok() {
                break;
            }
        }
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes into a file that is there; a group's files are not made.
fn write(directory: &Path, file: &str, text: &str) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{file}: {e}"));
    let opened = std::fs::OpenOptions::new().write(true).open(directory.join(file));
    opened.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes())).map_err(named)
}

/// The group that this agent may divide: its own, or the one above when it was moved already, by an agent before it.
fn own_group() -> Result<PathBuf, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("read {path}: {e}"));
    let group = find_group(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
        .ok_or("no version 2 of control groups")?;
    Ok(divisible(group))
}

fn divisible(group: PathBuf) -> PathBuf {
    match group.parent() {
        Some(above) if group.ends_with(AGENT) => above.to_owned(),
        _ => group,
    }
}

/// A group below `base` that no agent has made.
fn foreign_group(base: &Path) -> io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(base)? {
        let (entry, name) = entry.map(|entry| (entry.file_type(), entry.file_name()))?;
        if entry?.is_dir() && name != AGENT && !name.as_encoded_bytes().starts_with(OPERATION.as_bytes()) {
            return Ok(Some(name.into()));
        }
    }
    Ok(None)
}

/// The directory of the group that `/proc/self/cgroup` names, in the first file system of that kind.
fn find_group(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_whole = |line: &&str| line.split(' ').nth(3) == Some("/") && line.contains(" - cgroup2 ");
    let mount = mountinfo.lines().find(is_whole)?.split(' ').nth(4)?;
    Some(Path::new(mount).join(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_group_is_found_among_the_mounts() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n\
            31 1 0:27 /mig.slice/mig-agent.service /x rw shared:4 - cgroup2 cgroup2 rw\n\
            30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = |mounts, groups| find_group(mounts, groups);
        assert_eq!(
            found(mounts, "1:cpu:/x\n0::/mig.slice/mig-agent.service\n"),
            Some("/sys/fs/cgroup/mig.slice/mig-agent.service".into())
        );
        assert_eq!(found(mounts, "0::/\n"), Some("/sys/fs/cgroup/".into()));
        assert_eq!(found(mounts, "4:memory:/a\n"), None);
        assert_eq!(found("30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", "0::/a\n"), None);
    }

    #[test]
    fn only_a_group_with_the_agents_own_name_leads_to_the_one_above() {
        for (group, divided) in [("/x/mig-agent.self", "/x"), ("/x/agent", "/x/agent"), ("/x", "/x"), ("/", "/")] {
            assert_eq!(divisible(group.into()), Path::new(divided));
        }
    }

    #[test]
    fn a_kill_for_memory_names_whose_memory() {
        let events = |oom, kill| format!("low 0\nhigh 0\nmax 9\noom {oom}\noom_kill {kill}\noom_group_kill {kill}\n");
        assert_eq!(killed_for_memory(&events(1, 2)), Some(KilledFor::Limit));
        assert_eq!(killed_for_memory(&events(0, 1)), Some(KilledFor::Machine));
        assert_eq!(killed_for_memory(&events(3, 0)), None);
        assert_eq!(killed_for_memory(""), None);
    }

    #[test]
    fn an_operation_may_use_half_of_the_processors_and_never_none() {
        let quota = |processors| limits_of(processors).into_iter().find(|(file, _)| *file == "cpu.max").unwrap().1;
        assert_eq!([1, 2, 3, 64].map(quota), ["100000 100000", "100000 100000", "100000 100000", "3200000 100000"]);
    }
}
