//! Reads detached signatures from files of other users.

use crate::failure::Failure;
use crate::limits;
use crate::signature::strip_armor;
use crate::spool::stages::ACTION_NEW;
use crate::spool::{FileName, Spool, is_settling};
use crate::time::{self, Timestamp};

/// A detached signature that was read.
pub(super) enum Detached {
    /// Stripped.
    Whole(String),
    /// Being written until then, as it seems.
    Settling(Timestamp),
    /// Why it is none.
    Refused(String),
    Gone,
}

/// Reads a detached signature without trust in what has its name.
pub(super) fn read_detached(spool: &Spool, name: &FileName, now: Timestamp) -> Result<Detached, Failure> {
    let entry = match spool.read(ACTION_NEW, name, limits::DETACHED_SIGNATURE_SIZE_BYTES_MAX) {
        Ok(Some(entry)) => entry,
        Ok(None) => return Ok(Detached::Gone),
        Err(Failure::Refuse(reason)) => return Ok(Detached::Refused(format!("it {reason}"))),
        Err(Failure::Skip(reason)) => {
            if spool.may_read(ACTION_NEW, name) {
                log::error!("action-new: {ACTION_NEW}/{name}: {reason}; it stays, and is tried again");
                return Ok(Detached::Settling(time::after(now, limits::PENDING_PAUSE)));
            }
            // As a drop: a copy that keeps the mode is closed until it is complete.
            let look = spool.look(ACTION_NEW, name)?.filter(|look| is_settling(look.changed, now));
            return Ok(look.map_or(Detached::Refused(format!("it {reason}")), |look| {
                Detached::Settling(time::after(look.changed, limits::HALF_WRITTEN_GRACE))
            }));
        }
        Err(failure) => return Err(failure),
    };
    let text = String::from_utf8_lossy(&entry.bytes);
    let is_whole = text.contains("-----END PGP SIGNATURE-----");
    if !is_whole && is_settling(entry.look.modified, now) {
        return Ok(Detached::Settling(time::after(entry.look.modified, limits::HALF_WRITTEN_GRACE)));
    }
    if !is_whole {
        let text = "it is not a whole armored signature; make it with gpg --armor --detach-sign, and drop it again";
        return Ok(Detached::Refused(text.into()));
    }
    Ok(match strip_armor(&text) {
        Ok(stripped) if stripped.len() <= limits::SIGNATURE_BYTES_MAX => Detached::Whole(stripped),
        Ok(stripped) => {
            let (size, max) = (stripped.len(), limits::SIGNATURE_BYTES_MAX);
            Detached::Refused(format!("it has {size} bytes without its armor, the limit is {max}"))
        }
        Err(error) => Detached::Refused(format!("it {error}")),
    })
}
