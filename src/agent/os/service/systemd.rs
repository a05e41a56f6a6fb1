//! The service manager.

use super::places::Root;
use super::say;
use crate::agent::installed;
use crate::error::{ExitClass, ProgramError};
use std::fmt::Display;
use std::path::Path;
use std::process::Command;

/// The name of the service.
pub(super) const UNIT: &str = "mig-agent.service";

/// Whether the service manager, or another program, started this one and looks after it.
pub fn is_supervised() -> bool {
    supervised(|name| std::env::var(name).ok(), std::process::id(), std::os::unix::process::parent_id())
}

/// Systemd says so in the environment, which everything inherits that a service starts: so it is this process that must be meant.
fn supervised(variable: impl Fn(&str) -> Option<String>, own: u32, parent: u32) -> bool {
    match variable("SYSTEMD_EXEC_PID") {
        Some(started) => started.parse() == Ok(own),
        // Systemd before version 248, and what else there is.
        None => variable("NOTIFY_SOCKET").is_some() || (variable("INVOCATION_ID").is_some() && parent == 1),
    }
}

/// Refuses what cannot have the service.
pub(super) fn check(root: &Root) -> Result<(), ProgramError> {
    let is_there = |path: &str| root.inside(Path::new(path)).is_ok_and(|path| path.exists());
    // What systemd itself makes when it starts; in an image, its program.
    let has_systemd = match root.is_image() {
        true => is_there("/usr/lib/systemd/systemd") || is_there("/lib/systemd/systemd"),
        false => is_there("/run/systemd/system"),
    };
    if !has_systemd {
        let init = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
        let what = match root.is_image() {
            true => format!("{} has no systemd", root.path().display()),
            false => format!("this machine is not run by systemd but by '{}'", init.trim()),
        };
        let text = format!(
            "{what}: there is no other way to install the agent as a service. sysvinit, upstart and OpenRC start it with \
            a script of yours: mig-agent -f"
        );
        return Err(ProgramError::new(ExitClass::Unavailable, text));
    }
    if !root.is_image() && !rustix::process::geteuid().is_root() {
        return Err(ProgramError::new(ExitClass::NoPermission, "only root can install or remove a service"));
    }
    Ok(())
}

/// Enables the service, and has it run the program there and the unit as they are now.
pub(super) fn start(root: &Root, program: &Path) -> Result<(), ProgramError> {
    if root.is_image() {
        systemctl(&[&option(root), "enable", UNIT])?;
        say(UNIT, "enabled");
        return Ok(());
    }
    // Before systemd reads the unit again. An install that was cut may have left another program running, or with another unit.
    let is_current = is_current(program)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", UNIT])?;
    if !is_current {
        systemctl(&["restart", UNIT])?;
    }
    say(UNIT, if is_current { "enabled, and runs already" } else { "enabled and started" });
    Ok(())
}

/// Whether the service runs this program, with the unit that is there.
fn is_current(program: &Path) -> Result<bool, ProgramError> {
    let shown = systemctl(&["show", "-p", "MainPID", "-p", "NeedDaemonReload", UNIT])?;
    let value = |key: &str| shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let runs = |pid: &str| installed::is_same_file(Path::new(&format!("/proc/{pid}/exe")), program);
    Ok(value("NeedDaemonReload") == Some("no") && value("MainPID").is_some_and(runs))
}

/// Disables the service, and ends it.
pub(super) fn stop(root: &Root) -> Result<(), ProgramError> {
    match root.is_image() {
        true => systemctl(&[&option(root), "disable", UNIT])?,
        false => systemctl(&["disable", "--now", UNIT])?,
    };
    Ok(())
}

fn option(root: &Root) -> String {
    format!("--root={}", root.path().display())
}

/// Runs it; returns what it prints.
pub(super) fn systemctl(arguments: &[&str]) -> Result<String, ProgramError> {
    let what = format!("systemctl {}", arguments.join(" "));
    let error = |reason: &dyn Display| ProgramError::new(ExitClass::Unavailable, format!("{what}: {reason}"));
    let output = Command::new("systemctl").args(arguments).output().map_err(|e| error(&e))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(error(&format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_a_service_manager_started_is_supervised() {
        for (environment, parent, expected) in [
            (&[][..], 1, false),
            (&["SYSTEMD_EXEC_PID=7", "INVOCATION_ID=0123"], 99, true),
            // Inherited: by a configuration tool's child, or a shell below a user's service manager.
            (&["SYSTEMD_EXEC_PID=5", "INVOCATION_ID=0123", "NOTIFY_SOCKET=/run/n"], 5, false),
            (&["SYSTEMD_EXEC_PID=5"], 1, false),
            (&["INVOCATION_ID=0123"], 1, true),
            (&["INVOCATION_ID=0123"], 99, false),
            (&["NOTIFY_SOCKET=@n"], 99, true),
        ] {
            let variable = |name: &str| {
                environment.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
            };
            assert_eq!(supervised(variable, 7, parent), expected, "{environment:?} {parent}");
        }
    }
}
