//! Drops of another user, into a spool that scripts/install-spool.sh made for a scheduler without rights.

use super::bench::Outcome::{Accepted, LeftAlone};
use super::bench::{Bench, GROUP, Row, SCHEDULER, STRANGER, bytes, in_words, made, pipe, refused};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A signed action of this user and mode, in the group that the directory gives it.
fn signed(owner: u32, mode: u32) -> impl Fn(&Bench, &Path) -> Result<(), String> {
    move |bench, path| {
        bytes(bench.signed().to_string())(bench, path)?;
        give(path, owner, mode)
    }
}

fn give(path: &Path, owner: u32, mode: u32) -> Result<(), String> {
    in_words(std::fs::set_permissions(path, Permissions::from_mode(mode)))?;
    in_words(chown(path, Some(owner), Some(GROUP)))
}

/// A directory of the stranger's.
fn directory(mode: u32) -> impl Fn(&Bench, &Path) -> Result<(), String> {
    move |_, path| {
        in_words(std::fs::create_dir(path))?;
        in_words(std::fs::write(path.join("inner"), "inner"))?;
        give(path, STRANGER, mode)
    }
}

/// All of them.
pub fn rows(_bench: &Bench) -> Vec<Row> {
    let link = |_: &Bench, path: &Path| {
        in_words(symlink("/etc/passwd", path).and_then(|()| lchown(path, Some(STRANGER), Some(GROUP))))
    };
    let pipe = |_: &Bench, path: &Path| {
        pipe(path)?;
        give(path, STRANGER, 0o660)
    };
    let socket = |_: &Bench, path: &Path| {
        let socket = in_words(UnixListener::bind(path))?;
        give(path, STRANGER, 0o660).map(|()| socket)
    };
    let hard_link = |bench: &Bench, path: &Path| in_words(std::fs::hard_link(bench.outside("shadow"), path));
    vec![
        made("readable for the group", signed(STRANGER, 0o640), Accepted),
        made("readable for everybody", signed(STRANGER, 0o444), Accepted),
        // For a minute: a copy may still be made readable (src/worker/stage/tests.rs).
        made("readable for its owner only", signed(STRANGER, 0o600), LeftAlone),
        made("readable for nobody", signed(STRANGER, 0), LeftAlone),
        made("the scheduler's own, readable for nobody", signed(SCHEDULER, 0), LeftAlone),
        made("to be written only", signed(STRANGER, 0o222), LeftAlone),
        made("a second name of what the scheduler may not read", hard_link, LeftAlone),
        made("link", link, refused("is a symbolic link; drop the file itself")),
        made("pipe", pipe, refused("is a pipe; drop a regular file")),
        made("socket", socket, refused("is a socket, or a device that is missing; drop a regular file")),
        made("directory that is open to the group", directory(0o775), refused("is a directory; drop a regular file")),
        // A directory that the scheduler may not write into cannot be moved by it (rename(2)): its ".." would change.
        made("directory", directory(0o755), LeftAlone),
        made("directory that is closed", directory(0o700), LeftAlone),
    ]
}
