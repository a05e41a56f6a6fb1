//! A sandbox that can be put back to what it was, and whose machine can be switched off.

use super::common::mounts::run;
use super::common::{Sandbox, names};
use super::image::Image;
use std::path::{Path, PathBuf};
use std::process::Command;

/// See the module docs.
pub struct Place {
    /// What the programs work in.
    pub sandbox: Sandbox,
    kept: PathBuf,
    image: Option<Image>,
}

fn sh(script: &str, arguments: &[&Path]) -> Result<(), String> {
    let options = ["-ec", script, "sh"].map(Path::new);
    run("sh", options.iter().chain(arguments)).map(drop)
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
        Place { sandbox, kept, image: None }
    }

    /// A path beside the sandbox.
    pub fn beside(&self, extension: &str) -> PathBuf {
        self.kept.with_extension(extension)
    }

    /// Puts the sandbox on a file system of its own, in an image. An error says why that cannot be done here.
    pub fn move_to_image(&mut self, megabytes: usize) -> Result<(), String> {
        let base = self.beside("base");
        let size = PathBuf::from(format!("{megabytes}M"));
        sh("truncate -s \"$3\" \"$1\"; mkfs.ext4 -q -F -d \"$2\" \"$1\"", &[&base, &self.kept, &size])?;
        self.mount_fresh()
    }

    fn mount(&mut self) -> Result<(), String> {
        self.image = Some(Image::mount(&self.beside("image"), &self.sandbox.path(""))?);
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        self.image.take().map_or(Ok(()), Image::unmount)
    }

    fn mount_fresh(&mut self) -> Result<(), String> {
        self.unmount()?;
        let (base, image) = (self.beside("base"), self.beside("image"));
        sh("rm -f \"$2\"; cp --sparse=always \"$1\" \"$2\"", &[&base, &image])?;
        self.mount()?;
        sh("rmdir \"$1\"/lost+found", &[&self.sandbox.path("")])
    }

    /// The machine is switched off and on again.
    ///
    /// # Panics
    /// When the sandbox is not in its own image: no other file system may be shut down.
    pub fn cut_power(&mut self) {
        let Some(image) = &self.image else {
            panic!("cut the power of {}: it is in no image", self.sandbox.path("").display())
        };
        image.cut_power();
        self.unmount().and_then(|()| self.mount()).unwrap();
    }

    /// Everything is as it was kept.
    pub fn restore(&mut self) {
        if self.image.is_some() {
            return self.mount_fresh().unwrap();
        }
        empty(&self.sandbox.path(""));
        copy(&self.kept, &self.sandbox.path(""));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.image.take());
        for extension in ["base", "image", "log"] {
            let _ = std::fs::remove_file(self.beside(extension));
        }
        let _ = std::fs::remove_dir_all(&self.kept);
    }
}
