//! A process of this machine, held by a descriptor: its id cannot become another one's while it is looked at.

use super::directory::FileId;
use crate::agent::os::process::Held;
use crate::agent::{installed, stamp};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, geteuid, getpid, getppid};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// See the module docs.
pub(super) struct Process {
    pid: i32,
    held: Held,
}

/// What [`Process::check`] has found.
pub(super) struct Program {
    /// Where it was started.
    pub(super) path: PathBuf,
    /// Which file it is.
    pub(super) id: FileId,
}

impl Process {
    /// The process with this id. The agent that runs this module is refused.
    pub(super) fn open(pid: i32) -> Result<Process, String> {
        let is = |own: Option<Pid>| own.is_some_and(|own| own.as_raw_nonzero().get() == pid);
        if is(Some(getpid())) || is(getppid()) {
            return Err(format!("process {pid} is the agent that received this; it does not end itself"));
        }
        let held = Held::open(pid).map_err(|errno| match errno {
            Errno::SRCH => format!("there is no process {pid}"),
            errno => format!("{pid} is no process that can be ended: {errno}"),
        })?;
        Ok(Process { pid, held })
    }

    /// Whether it may be ended: it runs an agent of this version, of our user, and none above us that runs our own program.
    /// Returns its program.
    pub(super) fn check(&self, version: &str) -> Result<Program, String> {
        let Process { pid, .. } = *self;
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let owner = std::fs::metadata(&directory).map_err(|e| format!("look at process {pid}: {e}"))?.uid();
        let own = geteuid();
        if !own.is_root() && owner != own.as_raw() {
            return Err(format!("process {pid} is of user {owner}, the agent is of user {}", own.as_raw()));
        }
        let exe = directory.join("exe");
        let link = std::fs::read_link(&exe).map_err(|e| format!("process {pid} runs no program: {e}"))?;
        let program = File::open(&exe).map_err(|e| format!("read the program of process {pid}: {e}"))?;
        let found = stamp::identify(&program).ok().flatten().ok_or_else(|| {
            format!("process {pid} runs no agent of this kind; one of the original's is to be ended by hand")
        })?;
        if found != version {
            return Err(format!("process {pid} runs version {found}, not {version}"));
        }
        if installed::is_same_file(&exe, Path::new(installed::OWN_PROGRAM)) && is_above_us(pid) {
            return Err(format!("process {pid} supervises the agent that received this"));
        }
        // All of that was said of this process, if it is still there.
        if self.has_ended_within(Duration::ZERO)? {
            return Err(format!("process {pid} has ended meanwhile"));
        }
        let id = FileId::of(&program).map_err(|e| format!("look at the program of process {pid}: {e}"))?;
        Ok(Program { path: installed::without_mark(link), id })
    }

    /// Sends a signal. One that has ended is no failure.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        self.held.signal(signal).map_err(|errno| format!("send {signal:?} to process {}: {errno}", self.pid))
    }

    /// Waits for its end.
    pub(super) fn has_ended_within(&self, time_max: Duration) -> Result<bool, String> {
        let ended = self.held.has_ended_within(Some(time_max));
        ended.map_err(|errno| format!("wait for process {}: {errno}", self.pid))
    }
}

/// Whether a process is the parent of our parent, or above it.
fn is_above_us(pid: i32) -> bool {
    let parent_of = |child: i32| -> Option<i32> {
        let text = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        // Behind the name, which may hold anything: the state, then the parent.
        text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let mut ancestors = std::iter::successors(Some(getpid().as_raw_nonzero().get()), |child| parent_of(*child));
    ancestors.by_ref().take_while(|ancestor| *ancestor > 1).any(|ancestor| ancestor == pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn no_process_is_ended_that_is_not_an_agent_or_is_ours() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let error = Process::open(child.id().cast_signed()).unwrap().check("1").err().unwrap();
        assert!(error.contains("runs no agent of this kind"), "{error}");
        child.kill().unwrap();
        let state = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&state).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        let error = Process::open(child.id().cast_signed()).unwrap().check("1").err().unwrap();
        assert!(error.contains("runs no"), "a zombie: {error}");
        child.wait().unwrap();
        for own in [getpid(), getppid().unwrap()] {
            let refused = Process::open(own.as_raw_nonzero().get()).err().unwrap();
            assert!(refused.contains("does not end itself"), "{refused}");
        }
        let thread = rustix::thread::gettid();
        let refused = std::thread::scope(|scope| {
            let other = scope.spawn(rustix::thread::gettid).join().unwrap();
            [thread, other].map(|id| Process::open(id.as_raw_nonzero().get()).map(drop))
        });
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        assert!(is_above_us(getppid().unwrap().as_raw_nonzero().get()) && !is_above_us(1));
    }

    #[test]
    fn processes_of_the_kernel_run_no_program() {
        // kthreadd, where the kernel's are seen at all.
        if std::fs::read_to_string("/proc/2/stat").is_ok_and(|text| text.starts_with("2 (kthreadd)")) {
            let error = Process::open(2).and_then(|process| process.check("1")).err().unwrap();
            assert!(error.contains("runs no program"), "{error}");
        }
    }
}
