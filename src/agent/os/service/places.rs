//! Where the service's files are, in a machine or in the image of one, and who else may write there.

use crate::agent::installed;
use crate::error::{ExitClass, ProgramError};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// `/`, or the directory of an image.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// The root in this directory.
    pub fn new(path: &Path) -> io::Result<Root> {
        Ok(Root { path: path.canonicalize()? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_image(&self) -> bool {
        self.path != Path::new("/")
    }

    /// A path of the machine, as a path of this one. One that leads out of the image, by a link for example, is refused: there
    /// it would be another file.
    pub fn inside(&self, path: &Path) -> Result<PathBuf, ProgramError> {
        let here = self.path.join(path.strip_prefix("/").unwrap_or(path));
        let there = here.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
        let goes_up = path.components().any(|component| component == Component::ParentDir);
        if self.is_image() && (goes_up || !there.is_some_and(|there| there.starts_with(&self.path))) {
            let text = format!(
                "--root {}: {} leads out of it, by a link or '..'; name another path, or make the link relative",
                self.path.display(),
                path.display()
            );
            return Err(ProgramError::new(ExitClass::NoInput, text));
        }
        Ok(here)
    }

    /// Refuses a directory for root's program where others may put another one into its place.
    pub(super) fn check_is_private(&self, directory: &Path, is_shared: bool) -> Result<(), ProgramError> {
        let real = directory.ancestors().find_map(|above| above.canonicalize().ok()).unwrap_or_default();
        let above = directory.ancestors().chain(real.ancestors());
        for path in above.filter(|path| path.starts_with(&self.path)) {
            // What is missing is made.
            let Ok(look) = path.metadata() else { continue };
            let is_itself = installed::is_same_file(path, directory);
            let others = match (is_itself, look.mode() & 0o1000 != 0) {
                (true, _) => {
                    if is_shared {
                        0o002
                    } else {
                        0o022
                    }
                }
                (false, true) => 0,
                (false, false) => 0o002,
            };
            if !is_own(look.uid()) || look.mode() & others != 0 {
                let text = format!(
                    "agent.installdir: others than root may write to {}, which would be to change root's program; \
                    choose another directory, or run chown root and chmod go-w on it",
                    path.display()
                );
                return Err(ProgramError::new(ExitClass::Config, text));
            }
        }
        Ok(())
    }
}

/// Whether this user is root, or the one that makes the image.
pub(super) fn is_own(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Makes a directory that is missing, and those above it, for all to read, whatever the umask.
pub(super) fn make_directories(path: &Path) -> Result<(), ProgramError> {
    let above: Vec<&Path> = path.ancestors().collect();
    above.into_iter().rev().try_for_each(|directory| make_directory(directory, 0o755))
}

/// Makes a directory that is missing, with this mode.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), ProgramError> {
    let made = match DirBuilder::new().mode(mode).create(path) {
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode)),
    };
    made.map_err(|error| failed("make", path, &error))
}

/// Puts a file into its place, whole and durable, whatever is there.
pub(super) fn write_over(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), ProgramError> {
    make_directories(path.parent().unwrap_or(Path::new("/")))?;
    let write = || {
        let mut draft = installed::draft(path)?;
        fill(draft.as_file_mut())?;
        installed::put(&installed::finish(draft, mode)?, path)
    };
    write().map_err(|e| failed("write", path, &e))
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> ProgramError {
    let class = match error.kind() {
        ErrorKind::PermissionDenied => ExitClass::NoPermission,
        _ => ExitClass::Io,
    };
    ProgramError::new(class, format!("{what} {}: {error}", path.display()))
}
