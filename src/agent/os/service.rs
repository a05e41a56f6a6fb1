//! `mig-agent --install`: the agent as a service of systemd, and `--uninstall`. sysvinit, upstart and OpenRC are refused.
//!
//! | file | who owns it |
//! |---|---|
//! | `/etc/systemd/system/mig-agent.service` | written from `systemd/mig-agent.service`; one with another beginning is the operator's, and is not touched |
//! | `<installdir>/mig-agent` | a copy of this program; another program there is replaced on request only, and it is said |
//! | `/usr/local/sbin/mig-agent` | a link to it, unless something else is there, or installdir is a directory of programs |
//!
//! The unit says what was installed (`unit.rs`), and that is what `--uninstall` removes, whatever the configuration is by
//! then. Each step is done when it is not done yet, so a cut is repaired by the next call: the unit is there before anything else,
//! and is removed last.
//!
//! | module | what |
//! |---|---|
//! | `places` | where files are in a machine or an image, and who else may write there |
//! | `program` | the copy of this program |
//! | `unit` | the text of the unit |
//! | `systemd` | the service manager |
//! | `written` | the directories that the service may write to |

mod places;
mod program;
mod systemd;
mod unit;
mod written;

pub use places::Root;
use places::{failed, make_directories, make_directory};
pub use systemd::is_supervised;
use systemd::{UNIT, systemctl};
use unit::Record;

use crate::agent::installed;
use crate::config::agent::AgentConfig;
use crate::error::{ExitClass, ProgramError};
use crate::limits::CONFIGURATION_SIZE_BYTES_MAX;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
/// The program's name.
const PROGRAM: &str = "mig-agent";
/// Directories with programs of others.
const SHARED: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

fn is_shared(directory: &Path) -> bool {
    SHARED.iter().any(|shared| directory == Path::new(shared))
}

/// The service of one machine, or of an image of one.
pub struct Service<'a> {
    /// Where it is.
    pub root: &'a Root,
    /// Names, as seen in the image.
    pub config: &'a AgentConfig,
    /// The configuration file that the service is started with, absolute; None for the default.
    pub file: Option<&'a Path>,
}

/// Who wants the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `--install`.
    Request,
    /// `installservice` of the configuration, at a start by hand.
    FirstStart,
}

impl Service<'_> {
    /// Installs, enables and starts it. What is as it should be stays.
    pub fn install(&self, wish: Wish) -> Result<(), ProgramError> {
        systemd::check(self.root)?;
        self.check_is_daemon()?;
        let directory = self.root.inside(&self.config.install_directory)?;
        self.root.check_is_private(&directory, is_shared(&self.config.install_directory))?;
        let run_directory = self.root.inside(&self.config.run_directory)?;
        let link = Link::of(self.root)?;
        let old = Unit::read(self.root)?;
        let (program, seen) = (directory.join(PROGRAM), self.config.install_directory.join(PROGRAM));
        let plan = program::plan(&program, wish)?;
        let was_copied = old.record.as_ref().is_some_and(|before| before.program == seen && before.is_copied);
        let is_copied = plan.is_copy() || was_copied;
        let record = Record { program: seen, is_copied, run_directory: self.config.run_directory.clone() };
        let text = self.unit_text(&record)?;
        if old.text.is_none() {
            write_unit(&old.path, &text)?;
        }
        program::carry_out(&plan, &program, wish)?;
        let before = old.record.filter(|before| before.program != record.program);
        if let Some(before) = &before {
            link.remove(&before.program)?;
        }
        if !is_shared(&self.config.install_directory) {
            link.make(&record.program)?;
        }
        // The service can write to it only if it is there when it starts.
        make_directories(run_directory.parent().unwrap_or(self.root.path()))?;
        make_directory(&run_directory, 0o700)?;
        if old.text.as_ref().is_some_and(|old| *old != text) {
            write_unit(&old.path, &text)?;
        }
        say(&old.path, if old.text.as_ref() == Some(&text) { "unchanged" } else { "written" });
        if let Some(before) = before {
            self.root.remove_program(&before)?;
        }
        systemd::start(self.root, &program)
    }

    /// Refuses an agent that ends by itself.
    fn check_is_daemon(&self) -> Result<(), ProgramError> {
        if !self.config.check_in {
            return Ok(());
        }
        let text = "agent.checkin is on: such an agent ends when it has run what waits, so cron starts it, not systemd: \
            '* * * * * root mig-agent --checkin' in /etc/cron.d/mig-agent, with the path of the program; or set checkin = off";
        Err(ProgramError::new(ExitClass::Config, text))
    }

    fn unit_text(&self, record: &Record) -> Result<String, ProgramError> {
        let refused = |reason| ProgramError::new(ExitClass::Config, reason);
        let groups = std::fs::read_to_string(self.root.inside(Path::new("/etc/group"))?).unwrap_or_default();
        let has_group = |name: &str| groups.lines().any(|line| line.split(':').next() == Some(name));
        let directories = written::directories(self.config, self.file).map_err(refused)?;
        unit::text(record, self.file, &directories, has_group).map_err(refused)
    }
}

/// Stops and removes the service that was installed. The run directory and the configuration stay.
pub fn uninstall(root: &Root) -> Result<(), ProgramError> {
    systemd::check(root)?;
    let unit = Unit::read(root)?;
    if unit.text.is_none() {
        say(UNIT, "is not installed");
        return Ok(());
    }
    let Some(record) = unit.record else {
        let text = format!(
            "{} does not say what was installed: another version wrote it; --install writes it again",
            unit.path.display()
        );
        return Err(ProgramError::new(ExitClass::Unavailable, text));
    };
    let (link, run_directory) = (Link::of(root)?, root.inside(&record.run_directory)?);
    systemd::stop(root)?;
    link.remove(&record.program)?;
    root.remove_program(&record)?;
    remove(&unit.path)?;
    if !root.is_image() {
        systemctl(&["daemon-reload"])?;
    }
    say(run_directory, "stays: the agent's id, commands and answers; remove it by hand");
    Ok(())
}

/// The unit that is there.
struct Unit {
    path: PathBuf,
    text: Option<String>,
    record: Option<Record>,
}

impl Unit {
    /// One that this program did not write is an error.
    fn read(root: &Root) -> Result<Unit, ProgramError> {
        let path = root.inside(Path::new(UNITS))?.join(UNIT);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(CONFIGURATION_SIZE_BYTES_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Unit { path, text: None, record: None }),
            Err(error) => Err(failed("read", &path, &error)),
            Ok(_) if text.starts_with(unit::MARK) => {
                let record = Record::parse(&text);
                Ok(Unit { path, text: Some(text), record })
            }
            Ok(_) => {
                let text = format!(
                    "{} was not written by mig-agent --install, and is not touched; use it, or move it away",
                    path.display()
                );
                Err(ProgramError::new(ExitClass::Unavailable, text))
            }
        }
    }
}

fn write_unit(path: &Path, text: &str) -> Result<(), ProgramError> {
    places::write_over(path, 0o644, |file| file.write_all(text.as_bytes()))
}

/// Where a shell finds the program, if that is not its own place.
struct Link {
    path: PathBuf,
}

impl Link {
    fn of(root: &Root) -> Result<Link, ProgramError> {
        Ok(Link { path: root.inside(Path::new(SHARED[0]))?.join(PROGRAM) })
    }

    fn leads_to(&self, program: &Path) -> bool {
        std::fs::read_link(&self.path).is_ok_and(|target| target == program)
    }

    fn make(&self, program: &Path) -> Result<(), ProgramError> {
        make_directories(self.path.parent().unwrap_or(Path::new("/")))?;
        match std::os::unix::fs::symlink(program, &self.path) {
            Ok(()) => say(&self.path, "links to it"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.leads_to(program) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                say(&self.path, "stays, though it is no link to it");
            }
            Err(error) => return Err(failed("make", &self.path, &error)),
        }
        Ok(())
    }

    fn remove(&self, program: &Path) -> Result<(), ProgramError> {
        if self.leads_to(program) { remove(&self.path) } else { Ok(()) }
    }
}

impl Root {
    /// Removes a program that was installed.
    fn remove_program(&self, record: &Record) -> Result<(), ProgramError> {
        let directory = self.inside(record.program.parent().unwrap_or(Path::new("/")))?;
        let program = directory.join(PROGRAM);
        if !record.is_copied {
            say(&program, "stays: --install found it there");
            return Ok(());
        }
        remove(&program)?;
        remove(&installed::previous(&program))
    }
}

fn remove(path: &Path) -> Result<(), ProgramError> {
    match std::fs::remove_file(path) {
        Ok(()) => say(path, "removed"),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", path, &error)),
    }
    Ok(())
}

/// A line of the report.
fn say(object: impl AsRef<Path>, what: &str) {
    crate::cli::print(&format!("{}: {what}\n", object.as_ref().display()));
}
