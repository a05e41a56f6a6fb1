//! `mig-agent --install`: the agent as a service of systemd, and `--uninstall`. sysvinit, upstart and OpenRC are refused.
//!
//! | file | who owns it |
//! |---|---|
//! | `<installdir>/mig-agent` | a copy of this program; another program there is replaced on request only, and it is said |
//! | `/usr/local/sbin/mig-agent` | a link to it, unless something else is there, or installdir is a directory of programs |
//! | `/etc/systemd/system/mig-agent.service` | written from `systemd/mig-agent.service`; one with another beginning is the operator's, and is not touched |
//!
//! Each step is done when it is not done yet, so a cut is repaired by the next call: the unit is written last, and removed last.

mod unit;

use crate::agent::installed;
use crate::agent::stamp::Stamp;
use crate::config::LoggingMode;
use crate::config::agent::{AgentConfig, StatSocket};
use crate::config::broker::RelayConfig;
use crate::error::{ExitClass, ProgramError};
use crate::limits::CONFIGURATION_SIZE_BYTES_MAX;
use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its name.
const UNIT: &str = "mig-agent.service";
/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
/// The program's name.
const PROGRAM: &str = "mig-agent";
/// Directories with programs of others.
const SHARED: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The service of one machine, or of an image of one.
pub struct Service<'a> {
    /// `/`, or the directory of the image.
    pub root: &'a Path,
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

/// Whether the service manager, or another program, started this one and looks after it: systemd says so in the environment.
pub fn is_supervised() -> bool {
    ["INVOCATION_ID", "NOTIFY_SOCKET"].iter().any(|name| std::env::var_os(name).is_some())
}

impl Service<'_> {
    /// Installs, enables and starts it. What is as it should be stays.
    pub fn install(&self, wish: Wish) -> Result<(), ProgramError> {
        self.check_place()?;
        let old = self.read_unit()?;
        let is_new_program = self.copy_program(wish)?;
        self.link_program()?;
        self.make_run_directory()?;
        let text = self.unit_text()?;
        let is_new_unit = old.as_deref() != Some(&text);
        let path = self.unit_path();
        if is_new_unit {
            write_over(&path, 0o644, |file| file.write_all(text.as_bytes()))?;
        }
        say(&path, if is_new_unit { "written" } else { "unchanged" });
        if self.is_image() {
            systemctl(&[&self.root_option(), "enable", UNIT])?;
            say(UNIT, "enabled");
            return Ok(());
        }
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", UNIT])?;
        systemctl(&[if is_new_program || is_new_unit { "restart" } else { "start" }, UNIT])?;
        say(UNIT, "enabled and started");
        Ok(())
    }

    /// Stops and removes it. The run directory and the configuration stay.
    pub fn uninstall(&self) -> Result<(), ProgramError> {
        self.check_place()?;
        if self.read_unit()?.is_none() {
            say(UNIT, "is not installed");
            return Ok(());
        }
        match self.is_image() {
            true => systemctl(&[&self.root_option(), "disable", UNIT])?,
            false => systemctl(&["disable", "--now", UNIT])?,
        }
        let link = self.link_path().filter(|link| self.is_own_link(link));
        for path in
            link.into_iter().chain([self.program_path(), installed::previous(&self.program_path()), self.unit_path()])
        {
            match std::fs::remove_file(&path) {
                Ok(()) => say(&path, "removed"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("remove", &path, &error)),
            }
        }
        if !self.is_image() {
            systemctl(&["daemon-reload"])?;
        }
        say(self.in_root(&self.config.run_directory), "stays: the agent's id, commands and answers; remove it by hand");
        Ok(())
    }

    fn is_image(&self) -> bool {
        self.root != Path::new("/")
    }

    fn root_option(&self) -> String {
        format!("--root={}", self.root.display())
    }

    fn in_root(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn unit_path(&self) -> PathBuf {
        self.in_root(Path::new(UNITS)).join(UNIT)
    }

    fn program_path(&self) -> PathBuf {
        self.in_root(&self.config.install_directory).join(PROGRAM)
    }

    /// Where a shell finds the program, if that is not its own place.
    fn link_path(&self) -> Option<PathBuf> {
        let is_shared = SHARED.iter().any(|shared| self.config.install_directory == Path::new(shared));
        (!is_shared).then(|| self.in_root(Path::new(SHARED[0])).join(PROGRAM))
    }

    fn is_own_link(&self, link: &Path) -> bool {
        std::fs::read_link(link).is_ok_and(|target| target == self.config.install_directory.join(PROGRAM))
    }

    fn link_program(&self) -> Result<(), ProgramError> {
        let Some(link) = self.link_path() else { return Ok(()) };
        let directory = link.parent().unwrap_or(self.root);
        std::fs::create_dir_all(directory).map_err(|e| failed("make", directory, &e))?;
        match std::os::unix::fs::symlink(self.config.install_directory.join(PROGRAM), &link) {
            Ok(()) => say(&link, "links to it"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.is_own_link(&link) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => say(&link, "stays, though it is no link to it"),
            Err(error) => return Err(failed("make", &link, &error)),
        }
        Ok(())
    }

    /// Refuses what cannot have the service.
    pub fn check_place(&self) -> Result<(), ProgramError> {
        let is_there = |path: &str| self.in_root(Path::new(path)).exists();
        // What systemd itself makes when it starts; in an image, its program.
        let has_systemd = match self.is_image() {
            true => is_there("/usr/lib/systemd/systemd") || is_there("/lib/systemd/systemd"),
            false => is_there("/run/systemd/system"),
        };
        if !has_systemd {
            let init = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
            let what = match self.is_image() {
                true => format!("{} has no systemd", self.root.display()),
                false => format!("this machine is not run by systemd but by '{}'", init.trim()),
            };
            let text = format!(
                "{what}: there is no other way to install the agent as a service. sysvinit, upstart and OpenRC start it with \
                a script of yours: mig-agent -f"
            );
            return Err(ProgramError::new(ExitClass::Unavailable, text));
        }
        if !self.is_image() && !rustix::process::geteuid().is_root() {
            return Err(ProgramError::new(ExitClass::NoPermission, "only root can install or remove a service"));
        }
        Ok(())
    }

    /// The unit that is there. One that this program did not write is an error.
    fn read_unit(&self) -> Result<Option<String>, ProgramError> {
        let path = self.unit_path();
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(CONFIGURATION_SIZE_BYTES_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
            Ok(_) if text.starts_with(unit::MARK) => Ok(Some(text)),
            Ok(_) => {
                let text = format!(
                    "{} was not written by mig-agent --install, and is not touched; use it, or move it away",
                    path.display()
                );
                Err(ProgramError::new(ExitClass::Unavailable, text))
            }
        }
    }

    fn unit_text(&self) -> Result<String, ProgramError> {
        let groups = std::fs::read_to_string(self.in_root(Path::new("/etc/group"))).unwrap_or_default();
        let program = self.config.install_directory.join(PROGRAM);
        let has_group = |name: &str| groups.lines().any(|line| line.split(':').next() == Some(name));
        unit::text(&program, self.file, &self.written_directories(), has_group)
            .map_err(|reason| ProgramError::new(ExitClass::Config, reason))
    }

    /// What the agent writes to, besides the unit's own directories.
    fn written_directories(&self) -> Vec<PathBuf> {
        let config = self.config;
        let mut directories = vec![config.run_directory.clone()];
        if let RelayConfig::Directory(path) = &config.relay {
            directories.push(path.clone());
        }
        let files = [
            match &config.socket {
                StatSocket::Unix(path) => Some(path),
                StatSocket::Off | StatSocket::Tcp(_) => None,
            },
            match &config.logging.mode {
                LoggingMode::File(path) => Some(path),
                LoggingMode::Stdout | LoggingMode::Syslog(_) => None,
            },
        ];
        // For the module `upgrade`, where it can replace nothing but the agent.
        if !SHARED.iter().any(|shared| config.install_directory == Path::new(shared)) {
            directories.push(config.install_directory.clone());
        }
        directories.extend(files.into_iter().flatten().filter_map(|file| file.parent()).map(Path::to_owned));
        directories
    }

    /// The service can write to it only if it is there when it starts.
    fn make_run_directory(&self) -> Result<(), ProgramError> {
        let path = self.in_root(&self.config.run_directory);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| failed("make", parent, &e))?;
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed("make", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Copies this program to its place. Returns whether there is a new one.
    fn copy_program(&self, wish: Wish) -> Result<bool, ProgramError> {
        let path = self.program_path();
        let own = File::open("/proc/self/exe").map_err(|e| failed("open", Path::new("/proc/self/exe"), &e))?;
        let there = match File::open(&path) {
            Ok(file) => Some(is_same(&own, &file).map_err(|e| failed("compare this program with", &path, &e))?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed("open", &path, &error)),
        };
        let said = match there {
            Some(true) => {
                say(&path, "unchanged");
                return Ok(false);
            }
            Some(false) if wish == Wish::FirstStart => {
                say(&path, "stays, though it is another program than this one; mig-agent --install replaces it");
                return Ok(false);
            }
            Some(false) => "replaced: another program was there",
            None => "copied",
        };
        let directory = self.in_root(&self.config.install_directory);
        std::fs::create_dir_all(&directory).map_err(|e| failed("make", &directory, &e))?;
        // What is inside may be secret.
        let mode = if matches!(Stamp::own(), Ok(None)) { 0o755 } else { 0o700 };
        write_over(&path, mode, |mut file| io::copy(&mut &own, &mut file).map(drop))?;
        // An upgrade that was on probation there is not to be undone any more.
        installed::settle(&path).map_err(|e| failed("end the probation of", &path, &e))?;
        say(&path, said);
        Ok(true)
    }
}

/// Puts a file into its place, whole and durable, whatever is there.
fn write_over(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), ProgramError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let write = || {
        std::fs::create_dir_all(directory)?;
        let mut draft = installed::draft(path)?;
        fill(draft.as_file_mut())?;
        installed::put(&installed::finish(draft, mode)?, path)
    };
    write().map_err(|e| failed("write", path, &e))
}

/// Whether two files are one, or have the same bytes.
fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (a, b) = (one.metadata()?, other.metadata()?);
    if (a.dev(), a.ino()) == (b.dev(), b.ino()) || a.len() != b.len() {
        return Ok(a.len() == b.len());
    }
    let mut blocks = [vec![0; 1 << 16], vec![0; 1 << 16]];
    let [of_one, of_other] = &mut blocks;
    let mut at = 0;
    while at < a.len() {
        use std::os::unix::fs::FileExt;
        let size = (of_one.len() as u64).min(a.len() - at) as usize;
        one.read_exact_at(&mut of_one[..size], at)?;
        other.read_exact_at(&mut of_other[..size], at)?;
        if of_one[..size] != of_other[..size] {
            return Ok(false);
        }
        at += size as u64;
    }
    Ok(true)
}

fn systemctl(arguments: &[&str]) -> Result<(), ProgramError> {
    let what = format!("systemctl {}", arguments.join(" "));
    let error = |reason: &dyn Display| ProgramError::new(ExitClass::Unavailable, format!("{what}: {reason}"));
    let output = Command::new("systemctl").args(arguments).output().map_err(|e| error(&e))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(error(&format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> ProgramError {
    let class = match error.kind() {
        ErrorKind::PermissionDenied => ExitClass::NoPermission,
        _ => ExitClass::Io,
    };
    ProgramError::new(class, format!("{what} {}: {error}", path.display()))
}

/// A line of the report.
fn say(object: impl AsRef<Path>, what: &str) {
    crate::cli::print(&format!("{}: {what}\n", object.as_ref().display()));
}
