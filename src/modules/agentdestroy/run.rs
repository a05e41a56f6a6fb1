//! Ending a process and removing its program.

use super::parameters;
use super::process::Process;
use crate::agent::installed::{self, OWN_PROGRAM};
use crate::limits;
use crate::modules::ModuleResult;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Runs the operation.
pub(super) fn run(parameters: &Value) -> ModuleResult {
    match destroy(parameters) {
        Ok((elements, errors)) => ModuleResult {
            foundanything: true,
            success: true,
            elements,
            statistics: json!({}),
            errors: Some(errors).filter(|errors| !errors.is_empty()),
        },
        Err(reason) => ModuleResult::failed(reason),
    }
}

/// Returns what was done, and what was not.
fn destroy(parameters: &Value) -> Result<(Value, Vec<String>), String> {
    let target = parameters::parse(parameters).map_err(|error| error.to_string())?;
    if let Some(doubt) = target.doubts.first() {
        return Err(format!("no process is ended: {doubt}"));
    }
    let process = Process::open(target.pid)?;
    let link = process.check(&target.version)?;
    // While it runs: afterwards nothing says which file it was.
    let files = files_of(&process, link);
    process.signal(Signal::TERM)?;
    if !process.has_ended_within(limits::AGENT_END_TIME_MAX)? {
        process.signal(Signal::KILL)?;
        if !process.has_ended_within(limits::MODULE_END_TIME_MAX)? {
            return Err(format!("process {} does not end, not even by SIGKILL: it waits for a disk", target.pid));
        }
    }
    let (mut removed, mut errors) = (Vec::new(), Vec::new());
    for path in files {
        match remove(&path) {
            Ok(()) => removed.push(path.display().to_string()),
            Err(reason) => errors.push(format!("{} stays: {reason}", path.display())),
        }
    }
    Ok((json!({"pid": target.pid, "version": target.version, "removed": removed}), errors))
}

/// The names of the program that it runs: where it was started, and where an upgrade has put it since.
fn files_of(process: &Process, link: PathBuf) -> Vec<PathBuf> {
    let started = installed::without_mark(link);
    let previous = installed::previous(&started);
    [started, previous].into_iter().filter(|path| process.runs(path)).collect()
}

fn remove(path: &Path) -> Result<(), String> {
    if installed::is_same_file(path, Path::new(OWN_PROGRAM)) {
        return Err("the agent that received this runs it too".into());
    }
    if let Some(unit) = service_of(path) {
        return Err(format!("{unit} names it"));
    }
    std::fs::remove_file(path).map_err(|error| error.to_string())
}

/// The unit of systemd that starts this program.
fn service_of(program: &Path) -> Option<String> {
    let directories = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
    let units = directories.map(|directory| format!("{directory}/mig-agent.service"));
    units.into_iter().find(|unit| {
        let text = crate::config::read_bounded(Path::new(unit), limits::UNIT_SIZE_BYTES_MAX).unwrap_or_default();
        names_program(&String::from_utf8_lossy(&text), program)
    })
}

/// Whether the text of a unit starts this program.
fn names_program(unit: &str, program: &Path) -> bool {
    let commands = unit.lines().filter_map(|line| line.trim().strip_prefix("ExecStart="));
    let programs =
        commands.filter_map(|command| command.trim_start_matches(['-', '@', ':', '+', '!']).split_whitespace().next());
    programs.into_iter().any(|one| Path::new(one.trim_matches('"')) == program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_program_is_found() {
        let unit = include_str!("../../../systemd/mig-agent.service");
        assert!(names_program(unit, Path::new("/usr/local/bin/mig-agent")));
        assert!(!names_program(unit, Path::new("/usr/local/bin/mig-agent.previous")));
        assert!(names_program("ExecStart=-\"/a/b\" -f\n", Path::new("/a/b")));
    }
}
