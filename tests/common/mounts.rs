//! Mounts of a test. Each is made in a mount namespace that the test's thread has alone, with the programs that it starts: no
//! other process sees it, and the kernel removes it with the last of these processes, however they end.

use super::{PATIENCE, text};
use rustix::thread::UnshareFlags;
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

thread_local! {
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a program to its end; returns what it printed on the standard output, or an error with everything that it printed.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String, String> {
    let output = Command::new(program).env("LC_ALL", "C").args(arguments).output();
    let output = output.map_err(|error| format!("start {program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(format!("{program}: {}", text(&output)))
    }
}

/// Moves this thread to a mount namespace of its own; threads and processes that it starts afterwards are in it too.
fn be_alone() -> Result<(), String> {
    if IS_ALONE.get() {
        return Ok(());
    }
    #[expect(deprecated, reason = "its successor is unsafe, for the sake of flags that are not used here")]
    let alone = rustix::thread::unshare(UnshareFlags::NEWNS);
    alone.map_err(|error| format!("make a mount namespace: {error}"))?;
    // Where systemd runs, / is shared: what is mounted in a copy of it is mounted in the original as well.
    run("mount", ["--make-rprivate", "/"])?;
    IS_ALONE.set(true);
    Ok(())
}

/// mount(8) with these options, over a directory. An error says why nothing can be mounted here: it takes root.
pub fn mount(options: &[&str], source: &Path, directory: &Path) -> Result<(), String> {
    be_alone()?;
    let places = [source, directory].map(Path::as_os_str);
    run("mount", options.iter().map(OsStr::new).chain(places)).map(drop)
}

/// A file system on a directory whose server never answers: what accesses it waits, until the returned file is closed. `kind` is
/// `fuse`, or `fuse.` and a type.
pub fn mount_hanging(kind: &str, directory: &Path) -> Result<File, String> {
    be_alone()?;
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let device = device.map_err(|error| format!("open /dev/fuse: {error}"))?;
    let mut mount = Command::new("mount");
    mount.args(["-i", "-t", kind, "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "nothing"]).arg(directory);
    let input = device.try_clone().map_err(|error| format!("copy a descriptor: {error}"))?;
    let output = mount.stdin(input).output().map_err(|error| format!("start mount: {error}"))?;
    if output.status.success() { Ok(device) } else { Err(text(&output)) }
}

/// Unmounts a directory. A program that another test is just starting has all our open files until it runs, so that what is
/// busy is tried again for a while.
pub fn unmount(directory: &Path) -> Result<(), String> {
    let started = Instant::now();
    loop {
        match run("umount", [directory]) {
            Err(why) if why.contains("busy") && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome.map(drop),
        }
    }
}

/// Takes a mount away from the directory at once; the file system goes when its last file is closed.
pub fn detach(directory: &Path) {
    let _ = run("umount", [OsStr::new("-l"), directory.as_os_str()]);
}
