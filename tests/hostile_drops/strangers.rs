//! Drops of another user, into a spool that scripts/install-spool.sh made for a scheduler without rights.

use crate::bench::Outcome::{Accepted, LeftAlone};
use crate::bench::{Bench, GROUP, Row, SCHEDULER, STRANGER, made, refused};
use rustix::fs::{CWD, Mode};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A signed action of this user and mode, in the group that the directory gives it.
fn signed(owner: u32, mode: u32) -> impl Fn(&Bench, &Path) -> Result<(), String> {
    move |bench, path| {
        std::fs::write(path, bench.signed().to_string()).map_err(|e| e.to_string())?;
        give(path, owner, mode)
    }
}

fn give(path: &Path, owner: u32, mode: u32) -> Result<(), String> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| e.to_string())?;
    chown(path, Some(owner), Some(GROUP)).map_err(|e| e.to_string())
}

/// A directory of the stranger's.
fn directory(mode: u32) -> impl Fn(&Bench, &Path) -> Result<(), String> {
    move |_, path| {
        std::fs::create_dir(path).map_err(|e| e.to_string())?;
        std::fs::write(path.join("inner"), "inner").map_err(|e| e.to_string())?;
        give(path, STRANGER, mode)
    }
}

/// All of them.
pub fn rows(_bench: &Bench) -> Vec<Row> {
    let unreadable = || {
        refused(format!(
            "cannot be read by the scheduler (user id {SCHEDULER}); make it readable, for example with chmod g+r"
        ))
    };
    let link = |_: &Bench, path: &Path| {
        symlink("/etc/passwd", path).and_then(|()| lchown(path, Some(STRANGER), Some(GROUP))).map_err(|e| e.to_string())
    };
    let pipe = |_: &Bench, path: &Path| {
        rustix::fs::mkfifoat(CWD, path, Mode::RWXU).map_err(|e| e.to_string())?;
        give(path, STRANGER, 0o660)
    };
    let socket = |_: &Bench, path: &Path| {
        let socket = UnixListener::bind(path).map_err(|e| e.to_string())?;
        give(path, STRANGER, 0o660).map(|()| socket)
    };
    let hard_link =
        |bench: &Bench, path: &Path| std::fs::hard_link(bench.outside("shadow"), path).map_err(|e| e.to_string());
    vec![
        made("readable for the group", signed(STRANGER, 0o640), Accepted),
        made("readable for everybody", signed(STRANGER, 0o444), Accepted),
        made("readable for its owner only", signed(STRANGER, 0o600), unreadable()),
        made("readable for nobody", signed(STRANGER, 0), unreadable()),
        made("the scheduler's own, readable for nobody", signed(SCHEDULER, 0), unreadable()),
        made("to be written only", signed(STRANGER, 0o222), unreadable()),
        made("a second name of what the scheduler may not read", hard_link, unreadable()),
        made("link", link, refused("is a symbolic link; drop the file itself")),
        made("pipe", pipe, refused("is a pipe; drop a regular file")),
        made("socket", socket, refused("is a socket, or a device that is missing; drop a regular file")),
        made("directory that is open to the group", directory(0o775), refused("is a directory; drop a regular file")),
        // A directory that the scheduler may not write into cannot be moved by it (rename(2)): its ".." would change.
        made("directory", directory(0o755), LeftAlone),
        made("directory that is closed", directory(0o700), LeftAlone),
    ]
}
