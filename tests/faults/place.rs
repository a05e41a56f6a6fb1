//! A sandbox that can be put back to what it was, and whose machine can be switched off.

use super::common::{Sandbox, names, text};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// See the module docs.
pub struct Place {
    /// What the programs work in.
    pub sandbox: Sandbox,
    kept: PathBuf,
    is_image: bool,
}

fn sh(script: &str, arguments: &[&Path]) -> bool {
    let output = Command::new("sh").args(["-ec", script, "sh"]).args(arguments).output().unwrap();
    if !output.status.success() {
        eprintln!("{script}: {}", text(&output));
    }
    output.status.success()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success());
}

fn empty(directory: &Path) {
    for name in names(directory) {
        let path = directory.join(name);
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}

impl Place {
    /// Keeps what the sandbox holds now.
    pub fn new(sandbox: Sandbox) -> Place {
        let kept = sandbox.path("").with_extension("kept");
        copy(&sandbox.path(""), &kept);
        Place { sandbox, kept, is_image: false }
    }

    /// A path beside the sandbox.
    pub fn beside(&self, extension: &str) -> PathBuf {
        self.kept.with_extension(extension)
    }

    /// Puts the sandbox on a file system of its own, in an image. False where this machine cannot mount one.
    pub fn move_to_image(&mut self, megabytes: usize) -> bool {
        let image = self.beside("base");
        let size = PathBuf::from(format!("{megabytes}M"));
        self.is_image = sh("truncate -s \"$3\" \"$1\"; mkfs.ext4 -q -F -d \"$2\" \"$1\"", &[&image, &self.kept, &size])
            && self.mount_fresh();
        self.is_image
    }

    fn mount_fresh(&self) -> bool {
        self.unmount();
        let (base, image) = (self.beside("base"), self.beside("image"));
        sh(
            "cp --sparse=always \"$1\" \"$2\"; mount -o loop \"$2\" \"$3\"; rmdir \"$3\"/lost+found",
            &[&base, &image, &self.sandbox.path("")],
        )
    }

    /// Tries for a while: a program that another test is just starting has all our open files until it runs.
    fn unmount(&self) {
        let started = Instant::now();
        loop {
            let umount = Command::new("umount").env("LC_ALL", "C").arg(self.sandbox.path("")).output();
            let output = umount.unwrap();
            if output.status.success() || text(&output).contains("not mounted") {
                return;
            }
            if started.elapsed() > Duration::from_secs(10) {
                return eprintln!("umount: {}", text(&output));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The machine is switched off and on again. 0x8004587D is EXT4_IOC_SHUTDOWN, 2 means that the log is not flushed.
    pub fn cut_power(&self) {
        let shutdown =
            "open(my $d, '<', $ARGV[0]) or die; my $how = pack('I', 2); ioctl($d, 0x8004587D, $how) or die $!";
        let path = self.sandbox.path("");
        assert!(Command::new("perl").args(["-e", shutdown]).arg(&path).status().unwrap().success());
        self.unmount();
        assert!(sh("mount -o loop \"$2\" \"$1\"", &[&path, &self.beside("image")]));
    }

    /// Everything is as it was kept.
    pub fn restore(&self) {
        if self.is_image {
            assert!(self.mount_fresh());
            return;
        }
        empty(&self.sandbox.path(""));
        copy(&self.kept, &self.sandbox.path(""));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_image {
            self.unmount();
        }
        for extension in ["base", "image", "log"] {
            let _ = std::fs::remove_file(self.beside(extension));
        }
        let _ = std::fs::remove_dir_all(&self.kept);
    }
}
