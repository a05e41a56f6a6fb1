//! Ending a process and removing its program.

use super::directory::{Directory, FileId};
use super::parameters;
use super::process::{Process, Program};
use crate::agent::installed;
use crate::limits;
use crate::modules::ModuleResult;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;

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
    let program = process.check(&target.version)?;
    // While it runs: another file may have its number afterwards.
    let own = installed::path().map_err(|e| format!("find the program that runs: {e}"))?;
    let removal = Removal::prepare(&program, &own);
    process.signal(Signal::TERM)?;
    if !process.has_ended_within(limits::AGENT_END_TIME_MAX)? {
        process.signal(Signal::KILL)?;
        if !process.has_ended_within(limits::MODULE_END_TIME_MAX)? {
            return Err(format!("process {} does not end, not even by SIGKILL: it waits for a disk", target.pid));
        }
    }
    let (mut removed, mut errors) = (Vec::new(), Vec::new());
    match removal.and_then(|removal| removal.map(Removal::run).transpose()) {
        Ok(done) => removed.extend(done),
        Err(reason) => errors.push(format!("{} stays: {reason}", program.path.display())),
    }
    Ok((json!({"pid": target.pid, "version": target.version, "removed": removed}), errors))
}

/// A program's file that is about to be removed, from a directory that is held open.
struct Removal<'a> {
    program: &'a Program,
    directory: Directory,
}

impl Removal<'_> {
    /// Looks at what the process runs, when `own` is the agent's program. None if its file is gone already. Only in the
    /// directory of `own` anything is removed: in another one, another user may decide what is there.
    fn prepare<'a>(program: &'a Program, own: &Path) -> Result<Option<Removal<'a>>, String> {
        let Program { path, .. } = program;
        if FileId::at(path) != Some(program.id) {
            return Ok(None);
        }
        let directory = own.parent().ok_or("the agent's own program is in no directory")?;
        if path.parent() != Some(directory) {
            return Err(format!("it is not in {}, the directory of the agent's own program", directory.display()));
        }
        if installed::is_same_file(path, Path::new(installed::OWN_PROGRAM)) {
            return Err("the agent that received this runs it too".into());
        }
        if let Some(unit) = service_of(path) {
            return Err(format!("{unit} names it"));
        }
        Ok(Some(Removal { program, directory: Directory::open(directory)? }))
    }

    /// Returns the path of what was removed.
    fn run(self) -> Result<String, String> {
        let Program { path, id } = self.program;
        self.directory.remove(path.file_name().unwrap_or_default(), *id)?;
        Ok(path.display().to_string())
    }
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
