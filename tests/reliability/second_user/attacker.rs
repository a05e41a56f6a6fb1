//! The attacker: a user in the drop group who does to the files in action/new whatever the system lets that user do.

use crate::common::Random;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names that the attacker plays with; the good ones of others come on top.
const NAMES: u64 = 24;
/// Ids that the attacker gives: each is an action at most once.
const IDS: u64 = 300;
/// Directories in action/invalid and in the way cost a page each: so many are enough.
const SPECIAL_FILES_MAX: usize = 2_000;

struct Attacker {
    random: Random,
    new: PathBuf,
    outside: PathBuf,
    /// A signed action that was captured.
    captured: String,
    /// Kept open, and written to long after the file was taken.
    open: Vec<File>,
    special_files: usize,
}

/// The same bytes in number, with other orders.
fn forged(signed: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(signed).unwrap();
    text.replace("{\"who\":\"copied\"}", "{\"who\":\"forged\"}").into_bytes()
}

/// A pipe makes nobody wait.
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    options
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    without_waiting().write(true).create(true).truncate(true).open(path)?.write_all(content)
}

/// Strikes until it is killed, and tells how often it has.
pub fn attack(root: &Path, seed: u64) {
    let mut attacker = Attacker {
        random: Random::new(seed),
        new: root.join("spool/action/new"),
        outside: root.join("outside"),
        captured: std::fs::read_to_string(root.join("attacker/copied.json")).unwrap(),
        open: Vec::new(),
        special_files: 0,
    };
    let parent = rustix::process::getppid();
    for blows in 1.. {
        // Most of it is refused by the system; that is the point.
        let _ = attacker.strike();
        if blows % 100 == 0 {
            println!("blows {blows}");
            std::thread::sleep(Duration::from_micros(attacker.random.below(3_000)));
            if rustix::process::getppid() != parent {
                return;
            }
        }
    }
}

impl Attacker {
    fn own(&mut self) -> PathBuf {
        self.new.join(format!("x{}.json", self.random.below(NAMES)))
    }

    /// Some name in the directory: an own one, one of somebody else's, one that the scheduler has just adopted.
    fn any(&mut self) -> PathBuf {
        let names: Vec<PathBuf> =
            std::fs::read_dir(&self.new).unwrap().filter_map(|entry| Some(entry.ok()?.path())).collect();
        if names.is_empty() { self.own() } else { names[self.random.below(names.len() as u64) as usize].clone() }
    }

    /// The captured action with an id that anybody may write into it; all of the same length.
    fn signed(&mut self) -> Vec<u8> {
        let id = format!("{{\"id\":{},", 7000 + self.random.below(IDS));
        self.captured.replacen('{', &id, 1).into_bytes()
    }

    fn content(&mut self) -> Vec<u8> {
        let signed = self.signed();
        match self.random.below(6) {
            0 | 1 => signed,
            2 | 3 => forged(&signed),
            4 => signed[..self.random.below(signed.len() as u64) as usize].to_vec(),
            _ => b"{]".to_vec(),
        }
    }

    fn strike(&mut self) -> std::io::Result<()> {
        let content = self.content();
        let (own, any) = (self.own(), self.any());
        match self.random.below(20) {
            0..3 => write(&own, &content),
            3 => write(&any, &content),
            4 => self.replace(&own, &content),
            5 => self.replace(&any, &content),
            6 => std::fs::rename(&any, own),
            7 => Ok(rustix::fs::renameat_with(CWD, &own, CWD, &any, RenameFlags::EXCHANGE)?),
            8 => without_waiting().write(true).open(any)?.set_len(self.random.below(3) * 600_000),
            9 => std::fs::remove_file(any).or_else(|_| std::fs::remove_file(own)),
            10 | 11 => self.look_alike(&own),
            12 => self.flip(&own),
            13 => self.swap_for_directory(&own),
            14 => std::fs::hard_link(any, own),
            15 => std::fs::hard_link(self.outside.join("shadow"), own),
            16 => self.special(&own),
            17 => self.keep_open(&own),
            18 => self.write_to_open(&content),
            _ => std::fs::set_permissions(own, Permissions::from_mode(self.random.below(0o1000) as u32)),
        }
    }

    fn replace(&mut self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        let hidden = self.new.join(".mine");
        std::fs::write(&hidden, content)?;
        std::fs::set_permissions(&hidden, Permissions::from_mode(0o664))?;
        std::fs::rename(hidden, path)
    }

    /// A signed action that is rewritten in place after it was seen: same inode, same size, same time.
    fn look_alike(&mut self, path: &Path) -> std::io::Result<()> {
        let signed = self.signed();
        self.replace(path, &signed)?;
        let file = without_waiting().write(true).open(path)?;
        let modified = file.metadata()?.modified()?;
        std::thread::sleep(Duration::from_micros(self.random.below(4_000)));
        file.write_all_at(&forged(&signed), 0)?;
        file.set_modified(modified)
    }

    /// A signed and a forged action change places as fast as they can.
    fn flip(&mut self, path: &Path) -> std::io::Result<()> {
        let (signed, other) = (self.signed(), self.new.join(".other"));
        std::fs::write(&other, forged(&signed))?;
        self.replace(path, &signed)?;
        for _ in 0..self.random.below(300) {
            rustix::fs::renameat_with(CWD, path, CWD, &other, RenameFlags::EXCHANGE)?;
        }
        std::fs::remove_file(other)
    }

    /// A signed action that becomes a directory, which the scheduler may not move, once it was seen.
    fn swap_for_directory(&mut self, path: &Path) -> std::io::Result<()> {
        self.special_files += 1;
        if self.special_files > SPECIAL_FILES_MAX {
            return Ok(());
        }
        let (signed, directory) = (self.signed(), self.new.join(".directory"));
        self.replace(path, &signed)?;
        std::fs::create_dir(&directory)?;
        std::fs::write(directory.join("inner"), "x")?;
        let held = File::open(&directory)?;
        held.set_permissions(Permissions::from_mode(0o777))?;
        std::thread::sleep(Duration::from_micros(self.random.below(4_000)));
        rustix::fs::renameat_with(CWD, path, CWD, &directory, RenameFlags::EXCHANGE)?;
        // Open and closed, so that one move may succeed and the next one fail; wherever it is now.
        for _ in 0..self.random.below(300) {
            held.set_permissions(Permissions::from_mode(0o555))?;
            held.set_permissions(Permissions::from_mode(0o777))?;
        }
        self.take_away(path);
        self.take_away(&directory);
        Ok(())
    }

    fn take_away(&self, path: &Path) {
        let _ = std::fs::set_permissions(path, Permissions::from_mode(0o777));
        let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
    }

    fn special(&mut self, path: &Path) -> std::io::Result<()> {
        self.special_files += 1;
        if self.special_files > SPECIAL_FILES_MAX {
            return Ok(());
        }
        match self.random.below(6) {
            0 => symlink(self.outside.join("shadow"), path),
            1 => symlink(self.outside.join("directory"), path),
            2 => symlink("/dev/zero", path),
            3 => Ok(rustix::fs::mkfifoat(CWD, path, Mode::RWXU | Mode::RWXG)?),
            4 => UnixListener::bind(path).map(drop),
            _ => File::create(path)?.set_len(1 << 40),
        }
    }

    fn keep_open(&mut self, path: &Path) -> std::io::Result<()> {
        let signed = self.signed();
        self.replace(path, &signed)?;
        self.open.truncate(50);
        self.open.insert(0, without_waiting().read(true).write(true).open(path)?);
        Ok(())
    }

    /// Into whatever has become of files that were opened long ago.
    fn write_to_open(&mut self, content: &[u8]) -> std::io::Result<()> {
        let earlier = Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };
        for file in &self.open {
            file.set_len(0)?;
            file.write_all_at(content, 0)?;
            rustix::fs::futimens(file, &Timestamps { last_access: earlier, last_modification: earlier })?;
        }
        Ok(())
    }
}
