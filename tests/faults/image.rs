//! A file system of its own for a sandbox: an image on a loop device, whose power can be cut.
//!
//! One device is attached at a time, under a lock that all runs on the machine share, and the kernel is told at once to
//! release it with its mount. So a device over an image of ours that the kernel does not release is one that a killed run
//! left between the two: the next holder of the lock detaches it.

use super::common::mounts::{self, run};
use super::common::score::Score;
use super::common::{PATIENCE, Sandbox};
use super::place::Place;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How the names of sandboxes begin, and those of their images end.
const OURS: (&str, &str) = ("mig test ", ".image");

/// An image, and the directory that it is mounted on. It is unmounted when it is dropped.
pub struct Image {
    /// In its canonical form.
    file: PathBuf,
    directory: PathBuf,
    /// Such as `loop0`.
    device: String,
}

/// What the kernel tells of a loop device; none when it is not attached.
fn told(device: &str, what: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/sys/block/{device}/loop/{what}")).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}

/// Detaches what killed runs have left. The caller has the lock.
fn detach_left_behind() {
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let device = entry.file_name().to_string_lossy().into_owned();
        let file = told(&device, "backing_file").unwrap_or_default();
        let name = Path::new(file.trim_end_matches(" (deleted)")).file_name().unwrap_or_default().to_string_lossy();
        let is_ours = name.starts_with(OURS.0) && name.ends_with(OURS.1);
        if is_ours && told(&device, "autoclear").as_deref() == Some("0") {
            eprintln!("detach {device}, which a killed run left over {file}");
            let _ = run("losetup", ["-d", &format!("/dev/{device}")]);
        }
    }
}

/// Attaches a free loop device to a file; returns its name.
fn attach(file: &Path) -> Result<String, String> {
    let started = Instant::now();
    loop {
        match run("losetup", [Path::new("--find"), Path::new("--show"), file]) {
            // Another program had the same one in mind.
            Err(why)
                if ["busy", "temporarily unavailable"].iter().any(|word| why.contains(word))
                    && started.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome.map(|path| path.trim_start_matches("/dev/").to_owned()),
        }
    }
}

impl Image {
    /// Mounts an image over a directory. An error says why that cannot be done here.
    pub fn mount(file: &Path, directory: &Path) -> Result<Image, String> {
        let file = file.canonicalize().map_err(|error| format!("find {}: {error}", file.display()))?;
        let control = File::open("/dev/loop-control").map_err(|error| format!("open /dev/loop-control: {error}"))?;
        control.lock().map_err(|error| format!("lock /dev/loop-control: {error}"))?;
        detach_left_behind();
        let device = attach(&file)?;
        let path = PathBuf::from(format!("/dev/{device}"));
        let mounted = mounts::mount(&["-t", "ext4"], &path, directory);
        // Of a device in use this is a request to the kernel, to do it when the mount goes.
        let detached = run("losetup", [Path::new("-d"), &path]);
        mounted?;
        let image = Image { file, directory: directory.to_owned(), device };
        detached.map(|_| image)
    }

    /// Whether the kernel has the device still, and over our image.
    fn is_attached(&self) -> bool {
        told(&self.device, "backing_file").is_some_and(|file| Path::new(&file) == self.file)
    }

    /// Unmounts it; afterwards everything that was written is in the file.
    pub fn unmount(self) -> Result<(), String> {
        mounts::unmount(&self.directory)?;
        let started = Instant::now();
        while self.is_attached() {
            if started.elapsed() > PATIENCE {
                return Err(format!("{} is not detached from {}", self.device, self.file.display()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The directory, opened, when it is the root of our own image and of nothing else.
    fn open_own(&self) -> Result<File, String> {
        let wrong = |what: &dyn std::fmt::Display| format!("cut the power of {}: {what}", self.directory.display());
        let directory = File::open(&self.directory).map_err(|error| wrong(&error))?;
        let here = directory.metadata().map_err(|error| wrong(&error))?.dev();
        let around = self.directory.parent().unwrap().metadata().map_err(|error| wrong(&error))?.dev();
        if here == around {
            return Err(wrong(&"it is not a mount, but part of the file system around it"));
        }
        let device = Path::new("/dev").join(&self.device).metadata().map_err(|error| wrong(&error))?.rdev();
        if here != device {
            return Err(wrong(&format_args!("another file system than that on {} is mounted there", self.device)));
        }
        if !self.is_attached() {
            return Err(wrong(&format_args!("{} is not over {}", self.device, self.file.display())));
        }
        Ok(directory)
    }

    /// Nothing is written to it from now on. 0x8004587D is EXT4_IOC_SHUTDOWN, 2 means that the log is not flushed.
    ///
    /// What is shut down is the directory that was checked, not whatever has its name a moment later. Shut down by mistake,
    /// the file system of the machine takes nothing until the next boot.
    ///
    /// # Panics
    /// When the directory is not the root of our own image.
    pub fn cut_power(&self) {
        let directory = self.open_own().unwrap_or_else(|why| panic!("{why}"));
        let shutdown = "my $how = pack('I', 2); ioctl(STDIN, 0x8004587D, $how) or die $!";
        assert!(Command::new("perl").args(["-e", shutdown]).stdin(directory).status().unwrap().success());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Not after `unmount`: then the directory is what is around it, or the mount of the next one.
        if self.open_own().is_ok() {
            mounts::detach(&self.directory);
        }
    }
}

/// What is wrong when the power of a place is cut that is not in its image: nothing, when that is refused in such words and
/// one can write there still.
fn not_refused(place: &mut Place, words: &str) -> Option<String> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| place.cut_power()));
    std::fs::write(place.sandbox.path("still"), "writable").unwrap();
    let why = outcome.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default());
    (!why.as_ref().is_some_and(|why| why.contains(words))).then(|| format!("not refused as {words}: {why:?}"))
}

#[test]
fn the_power_of_no_other_file_system_is_cut() {
    let mut score = Score::begin("power cut: only of its own image");
    let [mut place, mut other] = [(); 2].map(|()| Place::new(Sandbox::new()));
    let mut found = vec![not_refused(&mut place, "it is in no image")];
    for place in [&mut place, &mut other] {
        if let Err(why) = place.move_to_image(16) {
            return score.skip(&format!("an image cannot be mounted here: {why}"));
        }
    }
    let directory = place.sandbox.path("");
    let ours = directory.display().to_string().replace(' ', "\\040");
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero();
    let elsewhere = std::fs::read_to_string(format!("/proc/{parent}/mountinfo")).unwrap();
    found.push(elsewhere.contains(ours.trim_end_matches('/')).then(|| "another process sees the mount".into()));
    mounts::mount(&["-t", "tmpfs"], Path::new("mig-test"), &directory).unwrap();
    found.push(not_refused(&mut place, "another file system"));
    mounts::unmount(&directory).unwrap();
    mounts::mount(&["--bind"], &other.sandbox.path(""), &directory).unwrap();
    found.push(not_refused(&mut place, "another file system"));
    mounts::unmount(&directory).unwrap();
    mounts::unmount(&directory).unwrap();
    found.push(not_refused(&mut place, "it is not a mount"));
    other.cut_power();
    std::fs::write(other.sandbox.path("still"), "writable").unwrap();
    score.add_runs(found.len() + 1);
    score.end(&found.into_iter().flatten().collect::<Vec<_>>(), "");
}

#[test]
fn what_a_killed_run_left_is_detached_and_nothing_else() {
    let mut score = Score::begin("loop devices that were left");
    let (directory, mut place) = (tempfile::tempdir().unwrap(), Place::new(Sandbox::new()));
    let attach_empty = |name: &str| {
        let file = directory.path().join(name);
        File::create(&file).unwrap().set_len(1 << 20).unwrap();
        attach(&file)
    };
    let Ok(foreign) = attach_empty("foreign.image") else {
        return score.skip("no loop device can be attached here");
    };
    let left = attach_empty(&format!("{}left{}", OURS.0, OURS.1)).unwrap();
    let is_there =
        |device: &str| told(device, "backing_file").is_some_and(|file| Path::new(&file).starts_with(directory.path()));
    let mounted = place.move_to_image(16);
    let found = [
        is_there(&left).then(|| format!("{left} is attached still")),
        (!is_there(&foreign)).then(|| format!("{foreign} is detached")),
        mounted.err(),
    ];
    run("losetup", ["-d", &format!("/dev/{foreign}")]).unwrap();
    score.add_runs(2);
    score.end(&found.into_iter().flatten().collect::<Vec<_>>(), "");
}
