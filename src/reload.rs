//! A file that is parsed again when it changes: whitelist, keyring. A version that cannot be used leaves the one before
//! it in force, and is logged once.

use crate::config::read_bounded;
use crate::limits;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Stamp = (u64, u64, i64, i64);

/// The last usable content of a file.
pub struct Reloaded<T> {
    path: PathBuf,
    /// What the file looked like when it was last read with success.
    read: Option<Stamp>,
    /// What it looked like when a failure was last logged.
    complained: Option<Option<Stamp>>,
    value: Arc<T>,
    parse: Parse<T>,
}

type Parse<T> = Box<dyn Fn(&[u8], &Path) -> Result<T, String> + Send>;

impl<T: Default> Reloaded<T> {
    /// Reads the file now. A file that is missing or cannot be used is an empty value until it can.
    pub fn new(path: &Path, parse: impl Fn(&[u8], &Path) -> Result<T, String> + Send + 'static) -> Reloaded<T> {
        let parse: Parse<T> = Box::new(parse);
        let mut reloaded =
            Reloaded { path: path.to_owned(), read: None, complained: None, value: Arc::default(), parse };
        reloaded.get();
        reloaded
    }

    /// The value, read again if the file was changed: one stat(2) when it was not. A failure is tried again every time.
    pub fn get(&mut self) -> &Arc<T> {
        let stamp = std::fs::metadata(&self.path).map(|m| (m.ino(), m.len(), m.ctime(), m.ctime_nsec())).ok();
        if self.read.is_some() && stamp == self.read {
            return &self.value;
        }
        let bytes = read_bounded(&self.path, limits::KEYRING_SIZE_BYTES_MAX);
        match bytes.and_then(|bytes| (self.parse)(&bytes, &self.path)) {
            Ok(value) => {
                log::info!("read {}", self.path.display());
                (self.value, self.read, self.complained) = (Arc::new(value), stamp, None);
            }
            Err(reason) if self.complained != Some(stamp) => {
                log::error!("read {}: {reason}; what was read before stays in force", self.path.display());
                self.complained = Some(stamp);
            }
            Err(_) => {}
        }
        &self.value
    }

    /// Whether the file was ever read with success.
    pub fn is_loaded(&self) -> bool {
        self.read.is_some()
    }
}
