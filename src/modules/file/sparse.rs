//! Reading sparse files by their data: a hole is NULs that need not be read.
//!
//! A log of logins by user number has a hole of terabytes, and so has a file that is made to keep a search busy.

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
    /// Where the data at hand ends.
    data_end: u64,
    /// NULs of the hole at hand that were not returned yet.
    nuls: u64,
    /// Of a longer hole only so many NULs are returned.
    hole_bytes_max: u64,
}

impl<'a> Sparse<'a> {
    /// From the beginning. `None`: the file system does not tell where holes are.
    pub(super) fn new(file: &'a File, size_bytes: u64, hole_bytes_max: u64) -> Option<Self> {
        match rustix::fs::seek(file, SeekFrom::Data(0)) {
            Ok(_) | Err(Errno::NXIO) => {
                Some(Sparse { file, size_bytes, position: 0, data_end: 0, nuls: 0, hole_bytes_max })
            }
            Err(_) => None,
        }
    }

    /// Goes over the hole that may be at the position.
    fn go_to_data(&mut self) -> io::Result<()> {
        let data = match rustix::fs::seek(self.file, SeekFrom::Data(self.position)) {
            // No more data, or no more file.
            Err(Errno::NXIO) if self.file.metadata()?.len() < self.size_bytes => return Err(shorter()),
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
                return if count == 0 { Err(shorter()) } else { Ok(count) };
            }
            if self.position >= self.size_bytes {
                return Ok(0);
            }
            self.go_to_data()?;
        }
    }
}

fn shorter() -> io::Error {
    io::Error::other("it became shorter while it was read")
}
