//! Notes: small files beside the stages, such as `scheduler-id`.

use super::failures::io_failure;
use super::stages::{PREPARED, ROOT};
use super::{Batch, FileName, Over, Spool, all_done};
use crate::failure::Failure;
use crate::time::Timestamp;
use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Bytes of a time in a note; a line end included.
const TIME_BYTES_MAX: u64 = 40;

/// See the module docs.
#[derive(Clone)]
pub struct Notes {
    spool: Arc<Spool>,
    owner: String,
}

impl Notes {
    pub(super) fn new(spool: Arc<Spool>, owner: &str) -> Notes {
        Notes { spool, owner: owner.to_owned() }
    }

    /// Reads a note; None if there is none.
    pub fn read(&self, name: &str, size_bytes_max: u64) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.spool.dir(ROOT).read(&file_name(name)?, size_bytes_max)?.map(|content| content.bytes))
    }

    /// Writes a note, over an older one; it is durable when this returns.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.put(name, bytes, Over::Anything)
    }

    /// Writes a note unless there is one; it is durable when this returns.
    pub fn write_first(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.put(name, bytes, Over::Nothing)
    }

    fn put(&self, name: &str, bytes: &[u8], over: Over) -> Result<(), Failure> {
        let mut batch = Batch::new(self.spool.dir(PREPARED), &self.owner);
        batch.put(&self.spool.dir(ROOT), &file_name(name)?, bytes, over)?;
        all_done(batch.commit()?.changes)
    }

    /// Writes a time in place, without a sync: after a power cut it may be an older one, or none.
    pub fn mark(&self, name: &str, time: Timestamp) -> Result<(), Failure> {
        let root = self.spool.dir(ROOT);
        let path = root.path().join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&*root, file_name(name)?.as_os_str(), flags, Mode::from_raw_mode(0o640));
        let mut file = File::from(opened.map_err(|errno| io_failure("open", &path, errno))?);
        let line = format!("{time}\n");
        let written = file.write_all(line.as_bytes()).and_then(|()| file.set_len(line.len() as u64));
        written.map_err(|error| Failure::retry(format!("write {}: {error}", path.display())))
    }

    /// The time that was marked; None if there is none that can be read.
    pub fn marked(&self, name: &str) -> Option<Timestamp> {
        let bytes = self.read(name, TIME_BYTES_MAX).ok()??;
        std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?.parse().ok()
    }
}

fn file_name(name: &str) -> Result<FileName, Failure> {
    FileName::new(name).ok_or_else(|| Failure::retry(format!("'{name}' is no file name")))
}
