//! A file that is parsed again when it changes: whitelist, keyring. A version that cannot be used leaves the one before
//! it in force, and is logged once.

use crate::limits;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

type Stamp = (u64, u64, i64, i64);

/// The last usable content of a file.
pub struct Reloaded<T> {
    path: PathBuf,
    stamp: Option<Stamp>,
    value: T,
    parse: fn(&[u8], &Path) -> Result<T, String>,
}

impl<T: Default> Reloaded<T> {
    /// Reads the file now. A missing file is an empty value until it appears.
    pub fn new(path: &Path, parse: fn(&[u8], &Path) -> Result<T, String>) -> Reloaded<T> {
        let mut reloaded = Reloaded { path: path.to_owned(), stamp: Some((0, 0, 0, 0)), value: T::default(), parse };
        reloaded.get();
        reloaded
    }

    /// The value, read again if the file was changed: one stat(2) when it was not.
    pub fn get(&mut self) -> &T {
        let stamp = std::fs::metadata(&self.path).map(|m| (m.ino(), m.len(), m.ctime(), m.ctime_nsec())).ok();
        if stamp != self.stamp {
            self.stamp = stamp;
            match read_bounded(&self.path, limits::KEYRING_SIZE_BYTES_MAX)
                .and_then(|bytes| (self.parse)(&bytes, &self.path))
            {
                Ok(value) => {
                    log::info!("read {}", self.path.display());
                    self.value = value;
                }
                Err(reason) => {
                    log::error!("read {}: {reason}; what was read before stays in force", self.path.display())
                }
            }
        }
        &self.value
    }
}

/// Reads a file of ours (configuration, keys) of a bounded size.
pub fn read_bounded(path: &Path, size_bytes_max: u64) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(size_bytes_max + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > size_bytes_max {
        return Err(format!("has more than {size_bytes_max} bytes"));
    }
    Ok(bytes)
}
