//! The service's program: a copy of the one that runs.

use super::places::{failed, is_own, write_over};
use super::{Wish, say};
use crate::agent::installed::{self, OWN_PROGRAM};
use crate::agent::stamp::Stamp;
use crate::error::{ExitClass, ProgramError};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// What is done at its path, in words.
pub(super) enum Plan {
    Keep(&'static str),
    Copy(&'static str),
}

impl Plan {
    pub(super) fn is_copy(&self) -> bool {
        matches!(self, Plan::Copy(_))
    }
}

/// The mode of the copy: what is inside may be secret.
fn mode() -> u32 {
    if matches!(Stamp::own(), Ok(None)) { 0o755 } else { 0o700 }
}

/// Looks what is to be done.
pub(super) fn plan(path: &Path, wish: Wish) -> Result<Plan, ProgramError> {
    let look = match path.symlink_metadata() {
        Ok(look) => look,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Plan::Copy("copied")),
        Err(error) => return Err(failed("look at", path, &error)),
    };
    // A link would be followed to a file of any user.
    let is_roots = |mode: u32| look.is_file() && is_own(look.uid()) && look.mode() & 0o7777 & !mode == 0;
    let is_same = look.is_file() && is_own_copy(path)?;
    match (is_same, wish) {
        (true, _) if is_roots(mode()) => Ok(Plan::Keep("unchanged")),
        (true, _) => Ok(Plan::Copy("replaced: it had another owner, or a mode that was too wide")),
        (false, Wish::Request) => Ok(Plan::Copy("replaced: another program was there")),
        (false, Wish::FirstStart) if is_roots(0o755) => {
            Ok(Plan::Keep("stays, though it is another program than this one; mig-agent --install replaces it"))
        }
        (false, Wish::FirstStart) => {
            let text = format!(
                "{}: is another program than this one, which others than root may change; mig-agent --install replaces it",
                path.display()
            );
            Err(ProgramError::new(ExitClass::Unavailable, text))
        }
    }
}

/// Does it.
pub(super) fn carry_out(plan: &Plan, path: &Path, wish: Wish) -> Result<(), ProgramError> {
    let said = match plan {
        Plan::Keep(said) => said,
        Plan::Copy(said) => {
            let mut own = File::open(OWN_PROGRAM).map_err(|e| failed("open", Path::new(OWN_PROGRAM), &e))?;
            write_over(path, mode(), |file| io::copy(&mut own, file).map(drop))?;
            said
        }
    };
    if plan.is_copy() || wish == Wish::Request {
        // An upgrade that was on probation there is not to be undone any more.
        installed::settle(path).map_err(|e| failed("end the probation of", path, &e))?;
    }
    say(path, said);
    Ok(())
}

/// Whether the file has the bytes of this program.
fn is_own_copy(path: &Path) -> Result<bool, ProgramError> {
    let compare = || {
        let (one, other) = (File::open(OWN_PROGRAM)?, File::open(path)?);
        let size_bytes = one.metadata()?.len();
        if other.metadata()?.len() != size_bytes {
            return Ok(false);
        }
        let mut blocks = [vec![0; 1 << 16], vec![0; 1 << 16]];
        let [of_one, of_other] = &mut blocks;
        let mut at = 0;
        while at < size_bytes {
            let size = (of_one.len() as u64).min(size_bytes - at) as usize;
            one.read_exact_at(&mut of_one[..size], at)?;
            other.read_exact_at(&mut of_other[..size], at)?;
            if of_one[..size] != of_other[..size] {
                return Ok(false);
            }
            at += size as u64;
        }
        Ok(true)
    };
    compare().map_err(|e| failed("compare this program with", path, &e))
}
