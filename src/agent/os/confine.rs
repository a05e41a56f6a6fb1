//! A module's process drops what its module does not need, before it reads its parameters: what a module is led to do by
//! hostile files or a defect ends at the kernel.
//!
//! | layer | what it takes away | Linux |
//! |---|---|---|
//! | limits | address space, processor time, processes of a user that is not root, priority, core dumps, life after the agent's; it is chosen first when memory runs out | any |
//! | capabilities | those that [`Needs`] does not call for | any |
//! | no new privileges | those of set-user-id programs | 3.5 |
//! | `system_calls` | system calls that no module needs; by arguments, opening for writing, new processes, sockets, signals | 3.17 |
//! | `landlock` | changing files, reading them without need, TCP, signals | 5.13; truncating 6.2, TCP 6.7, signals 6.12 |
//!
//! The layers overlap: the filter of system calls alone keeps a module from all that it declares nothing of. Landlock alone
//! knows paths: what a module that writes may write, which programs it may run, what it may read that needs no files. Where a
//! kernel lacks a layer an operation runs with the others, and the heartbeat's environment says which there are ([`facts`]).
//! What fails although the kernel has it fails the operation.
//!
//! Landlock forbids to look into other processes through `/proc` whatever its rules are (ptrace(2), "access mode checking").
//! So it is not in force while `Needs::reads_processes` is: a module that does so with some parameters only has it from the
//! moment it has read them ([`narrow`]).

use super::{landlock, system_calls};
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::modules::{Context, Needs};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The layers that are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Only capabilities that are needed are left.
    pub capabilities: bool,
    /// The filter of system calls.
    pub seccomp: bool,
    /// The version of Landlock's interface; `None` if it is not in force.
    pub landlock: Option<i32>,
}

/// Limits and confines this process, in which no other thread runs yet.
pub fn enter(needs: Needs) -> Result<(), ProgramError> {
    limit_this_process()?;
    confine_this_thread(needs, program_directory().as_deref())
        .map_err(|reason| ProgramError::new(ExitClass::Io, format!("confine this process: {reason}")))?;
    Ok(())
}

/// Takes away what these parameters do not need, from a process that has entered with `all`.
pub fn narrow(all: Needs, needs: Needs) -> Result<(), ProgramError> {
    if needs == all {
        return Ok(());
    }
    let restricted = landlock::restrict(needs, program_directory().as_deref());
    restricted.map_err(|e| ProgramError::new(ExitClass::Io, format!("confine this process: Landlock: {e}")))?;
    Ok(())
}

/// Confines the calling thread and what it starts from now on; `directory` is that of its program. Returns the layers that
/// the kernel has.
pub fn confine_this_thread(needs: Needs, directory: Option<&Path>) -> Result<Layers, String> {
    let capabilities = drop_capabilities(needs)?;
    rustix::thread::set_no_new_privs(true).map_err(|e| format!("no new privileges: {e}"))?;
    let seccomp = system_calls::restrict(needs).map_err(|e| format!("filter of system calls: {e}"))?;
    let landlock = if needs.reads_processes {
        None
    } else {
        landlock::restrict(needs, directory).map_err(|e| format!("Landlock: {e}"))?
    };
    Ok(Layers { capabilities, seccomp, landlock })
}

/// What this machine's kernel has, as a heartbeat tells it: `{"landlock": 7, "seccomp": true, …}`. Found out once, by a thread
/// that confines itself as a module's process does, and ends.
pub fn facts() -> serde_json::Value {
    static LAYERS: OnceLock<Layers> = OnceLock::new();
    let none = Layers { capabilities: false, seccomp: false, landlock: None };
    let try_it = || {
        let needs = Needs { reads_files: true, ..Needs::default() };
        let tried = std::thread::spawn(move || confine_this_thread(needs, None)).join();
        match tried.unwrap_or_else(|_| Err("an internal error".into())) {
            Ok(layers) => layers,
            Err(reason) => {
                log::warn!("operations cannot be confined, and will fail: {reason}");
                none
            }
        }
    };
    let layers = LAYERS.get_or_init(try_it);
    serde_json::json!({
        "capabilities": layers.capabilities,
        "seccomp": layers.seccomp,
        "landlock": layers.landlock.unwrap_or(0),
        "cgroup": super::groups::state(),
    })
}

/// Where this process's program is, wherever that was moved since.
fn program_directory() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// Ends with the agent, lowest priority, bounded address space, no core dump; the first to be ended when memory runs out.
fn limit_this_process() -> Result<(), ProgramError> {
    let failed =
        |what: &str, e: rustix::io::Errno| ProgramError::new(ExitClass::Io, format!("limit this process: {what}: {e}"));
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| failed("parent death signal", e))?;
    rustix::process::nice(19).map_err(|e| failed("priority", e))?;
    // Where it cannot be said (no /proc), the kernel chooses by size.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    rustix::process::setrlimit(Resource::As, limit(limits::MODULE_ADDRESS_SPACE_BYTES))
        .map_err(|e| failed("address space", e))?;
    // The kernel counts all processes of a user, and does not count root's.
    let most = rustix::process::getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX);
    rustix::process::setrlimit(Resource::Nproc, limit(most.min(limits::MODULE_USER_TASKS_MAX)))
        .map_err(|e| failed("processes", e))?;
    rustix::process::setrlimit(Resource::Core, limit(0)).map_err(|e| failed("core dump", e))
}

/// Limits the processor time of a module's process: what the threads that it may have could use in `time`.
pub fn limit_processor_time(process: Pid, time: Duration) -> rustix::io::Result<()> {
    let seconds = processor_seconds(Context::by_hand().threads, time);
    // A signal that ends it and names the limit; one that it cannot ignore after another second.
    let limit = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
    rustix::process::prlimit(Some(process), Resource::Cpu, limit).map(drop)
}

/// Rounded up: a limit of 0 ends a process when it begins.
fn processor_seconds(threads: usize, time: Duration) -> u64 {
    let nanoseconds = time.as_nanos().max(1).saturating_mul(threads as u128);
    u64::try_from(nanoseconds.div_ceil(1_000_000_000)).unwrap_or(u64::MAX - 1)
}

/// What root's process keeps.
fn needed_capabilities(needs: Needs) -> CapabilitySet {
    // FOWNER: reading a file of another user without a change of its access time (O_NOATIME).
    let files = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER;
    // CHECKPOINT_RESTORE: the links in /proc/PID/map_files.
    let processes = CapabilitySet::SYS_PTRACE | CapabilitySet::CHECKPOINT_RESTORE;
    [
        (needs.reads_files, files),
        (needs.reads_processes, processes),
        // A directory that is not root's.
        (needs.writes_program_directory || needs.removes_programs, CapabilitySet::DAC_OVERRIDE),
        (needs.ends_processes, CapabilitySet::KILL),
        // Where the kernel's sockets for echo requests are for certain groups only.
        (needs.sends_echoes, CapabilitySet::NET_RAW),
    ]
    .into_iter()
    .filter_map(|(is_needed, set)| is_needed.then_some(set))
    .collect()
}

/// False: it is forbidden to drop any, by a filter around the agent.
fn drop_capabilities(needs: Needs) -> Result<bool, String> {
    let failed = |e| format!("capabilities: {e}");
    let kept = rustix::thread::capabilities(None).map_err(failed)?.permitted & needed_capabilities(needs);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    match rustix::thread::set_capabilities(None, sets) {
        Err(rustix::io::Errno::PERM) => Ok(false),
        set => set.map(|()| true).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_all_threads_rounded_up() {
        for (threads, microseconds, seconds) in
            [(1, 0, 1), (1, 999, 1), (1, 2_000_000, 2), (1, 2_000_001, 3), (4, 300_000, 2), (16, 300_000_000, 4800)]
        {
            assert_eq!(processor_seconds(threads, Duration::from_micros(microseconds)), seconds);
        }
        assert_eq!(processor_seconds(usize::MAX, Duration::MAX), u64::MAX - 1);
    }
}
