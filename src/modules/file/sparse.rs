//! Reads sparse files: a hole is returned as NULs without reading it.
//!
//! A log of logins by user id (`/var/log/lastlog`) can have a hole of terabytes, and so can a file made to keep a
//! search busy.

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// See the module docs.
pub(super) struct Sparse<'a> {
    file: &'a File,
    size_bytes: u64,
    position: u64,
    /// End of the current data.
    data_end: u64,
    /// NULs of the current hole that were not returned yet.
    nuls: u64,
    /// Maximum number of NULs returned for a hole.
    hole_bytes_max: u64,
}

impl<'a> Sparse<'a> {
    /// Starts at the beginning. `None` if the file system does not support `SEEK_DATA`.
    pub(super) fn new(file: &'a File, size_bytes: u64, hole_bytes_max: u64) -> Option<Self> {
        match rustix::fs::seek(file, SeekFrom::Data(0)) {
            Ok(_) | Err(Errno::NXIO) => {
                Some(Sparse { file, size_bytes, position: 0, data_end: 0, nuls: 0, hole_bytes_max })
            }
            Err(_) => None,
        }
    }

    /// Skips the hole at the position, if there is one.
    fn go_to_data(&mut self) -> io::Result<()> {
        let data = match rustix::fs::seek(self.file, SeekFrom::Data(self.position)) {
            // No more data, or the file was truncated.
            Err(Errno::NXIO) if self.file.metadata()?.len() < self.size_bytes => return Err(truncated()),
            Err(Errno::NXIO) => self.size_bytes,
            found => found?.min(self.size_bytes),
        };
        self.nuls = (data - self.position).min(self.hole_bytes_max);
        self.position = data;
        self.data_end = data;
        if data < self.size_bytes {
            self.data_end = rustix::fs::seek(self.file, SeekFrom::Hole(data))?.min(self.size_bytes);
        }
        Ok(())
    }
}

impl Read for Sparse<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = |bytes: u64| into.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        loop {
            if self.nuls > 0 {
                let count = room(self.nuls);
                into[..count].fill(0);
                self.nuls -= count as u64;
                return Ok(count);
            }
            if self.position < self.data_end {
                let count = room(self.data_end - self.position);
                let count = self.file.read_at(&mut into[..count], self.position)?;
                self.position += count as u64;
                return if count == 0 { Err(truncated()) } else { Ok(count) };
            }
            if self.position >= self.size_bytes {
                return Ok(0);
            }
            self.go_to_data()?;
        }
    }
}

fn truncated() -> io::Error {
    io::Error::other("it was truncated while it was read")
}
