//! Files that are parsed again when they change: whitelist, keyring, access list. SIGHUP makes their next use read them
//! again, also when they look unchanged.
//!
//! | the file | the value in force |
//! |---|---|
//! | can be used | what it holds |
//! | is there and cannot be used: half a file, a typing error | the one before; logged once, and again every hour |
//! | is missing, empty, or cannot be read | the one before, logged like that; for [`Reloaded::require`] none, until it is back |

use crate::config::{Material, Unreadable, read_bounded};
use crate::failure::Failure;
use crate::limits;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How often this process was asked to read its files again.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Has the next use of each file read it again.
pub fn reread_all() {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
}

/// What the file looks like, and the number of requests at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    look: Option<(u64, u64, i64, i64)>,
    requests: u64,
}

impl Stamp {
    fn of(path: &Path) -> Stamp {
        let requests = REQUESTS.load(Ordering::Relaxed);
        let look = std::fs::metadata(path).map(|m| (m.ino(), m.len(), m.ctime(), m.ctime_nsec())).ok();
        Stamp { look, requests }
    }
}

/// The last usable content of a file; or what does not change, as it is inside the configuration.
pub struct Reloaded<T> {
    path: PathBuf,
    /// Whether it is inside the configuration.
    is_fixed: bool,
    /// When it was last read with success.
    read: Option<Stamp>,
    /// When a failure was last logged.
    complained: Option<(Stamp, Instant)>,
    value: Arc<T>,
    parse: Parse<T>,
}

type Parse<T> = Box<dyn Fn(&[u8], &Path) -> Result<T, String> + Send>;

/// Why the file has no new value.
enum Problem {
    /// It says nothing: missing, empty, unreadable.
    Absent(String),
    /// What it says cannot be used.
    Broken(String),
}

impl<T: Default> Reloaded<T> {
    /// Reads the file now. A file that is missing or cannot be used is an empty value until it can.
    pub fn new(path: &Path, parse: impl Fn(&[u8], &Path) -> Result<T, String> + Send + 'static) -> Reloaded<T> {
        let mut reloaded = Reloaded {
            path: path.to_owned(),
            is_fixed: false,
            read: None,
            complained: None,
            value: Arc::default(),
            parse: Box::new(parse),
        };
        reloaded.get();
        reloaded
    }
}

impl<T> Reloaded<T> {
    /// Reads the file now; fails with the reason if it cannot be used.
    pub fn open(
        path: &Path,
        parse: impl Fn(&[u8], &Path) -> Result<T, String> + Send + 'static,
    ) -> Result<Reloaded<T>, Unreadable> {
        Reloaded::of(&Material::File(path.to_owned()), parse)
    }

    /// The same for text that may be inside the configuration.
    pub fn of(
        text: &Material,
        parse: impl Fn(&[u8], &Path) -> Result<T, String> + Send + 'static,
    ) -> Result<Reloaded<T>, Unreadable> {
        let (path, is_fixed) = match text {
            Material::File(path) => (path.clone(), false),
            Material::Inside(_) => (PathBuf::from(text.to_string()), true),
        };
        let stamp = Stamp::of(&path);
        let bytes = text.read(limits::KEYRING_SIZE_BYTES_MAX)?;
        let value = Arc::new(parse(&bytes, &path).map_err(Unreadable::for_good)?);
        Ok(Reloaded { path, is_fixed, read: Some(stamp), complained: None, value, parse: Box::new(parse) })
    }

    /// The value in force, read again if the file was changed: one stat(2) when it was not.
    pub fn get(&mut self) -> &Arc<T> {
        if let Err(Problem::Absent(reason) | Problem::Broken(reason)) = self.refresh() {
            self.complain(&reason);
        }
        &self.value
    }

    /// Like [`Reloaded::get`] for a file whose removal is an order: there is no value while the file is missing, empty or
    /// cannot be read.
    pub fn require(&mut self) -> Result<&Arc<T>, Failure> {
        match self.refresh() {
            Ok(()) => {}
            Err(Problem::Absent(reason)) => {
                let text = format!("read {}: {reason}; until it is back, nothing is decided", self.path.display());
                return Err(Failure::retry(text));
            }
            Err(Problem::Broken(reason)) => self.complain(&reason),
        }
        Ok(&self.value)
    }

    /// Reads the file unless it is unchanged. A failure is tried again every time.
    fn refresh(&mut self) -> Result<(), Problem> {
        if self.is_fixed {
            return Ok(());
        }
        let stamp = Stamp::of(&self.path);
        if self.read == Some(stamp) && stamp.look.is_some() {
            return Ok(());
        }
        let bytes = read_bounded(&self.path, limits::KEYRING_SIZE_BYTES_MAX).map_err(|e| Problem::Absent(e.reason))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Problem::Absent("is empty".into()));
        }
        let value = (self.parse)(&bytes, &self.path).map_err(Problem::Broken)?;
        log::info!("read {}", self.path.display());
        (self.value, self.read, self.complained) = (Arc::new(value), Some(stamp), None);
        Ok(())
    }

    fn complain(&mut self, reason: &str) {
        let stamp = Stamp::of(&self.path);
        let is_news = self
            .complained
            .is_none_or(|(before, logged)| before != stamp || logged.elapsed() > limits::UNUSABLE_FILE_LOGGED_EVERY);
        if is_news {
            log::error!("read {}: {reason}; what was read before stays in force", self.path.display());
            self.complained = Some((stamp, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8], _: &Path) -> Result<u32, String> {
        String::from_utf8_lossy(bytes).trim().parse().map_err(|_| "is not a number".to_owned())
    }

    /// A file with a number, the file's path, and the directory that it is in.
    fn file() -> (tempfile::TempDir, PathBuf, Reloaded<u32>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        std::fs::write(&path, "1\n").unwrap();
        let reloaded = Reloaded::open(&path, number).unwrap();
        (directory, path, reloaded)
    }

    #[test]
    fn a_change_is_in_force_from_the_next_use_on_and_a_broken_version_is_not() {
        let (_directory, path, mut reloaded) = file();
        assert_eq!(**reloaded.require().unwrap(), 1);
        for (text, value) in [("22", 22), ("garbage", 22), ("333", 333)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!((**reloaded.get(), **reloaded.require().unwrap()), (value, value), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_empty_has_no_value_where_one_is_required() {
        let (_directory, path, mut reloaded) = file();
        let hidden = path.with_extension("hidden");
        std::fs::rename(&path, &hidden).unwrap();
        assert!(reloaded.require().unwrap_err().to_string().contains("number: No such file"));
        assert_eq!(**reloaded.get(), 1);
        std::fs::rename(&hidden, &path).unwrap();
        assert_eq!(**reloaded.require().unwrap(), 1);
        for empty in ["", " \n"] {
            std::fs::write(&path, empty).unwrap();
            assert!(reloaded.require().unwrap_err().to_string().contains("number: is empty"));
        }
        std::fs::write(&path, "2").unwrap();
        assert_eq!(**reloaded.require().unwrap(), 2);
    }

    #[test]
    fn a_request_has_a_file_read_again_that_looks_unchanged() {
        let (_directory, path, mut reloaded) = file();
        reloaded.value = Arc::new(0);
        assert_eq!(**reloaded.get(), 0);
        reread_all();
        assert_eq!(**reloaded.get(), 1);
        assert!(path.exists());
    }

    #[test]
    fn what_cannot_be_used_at_the_start_is_an_error() {
        let (_directory, path, _) = file();
        std::fs::write(&path, "x").unwrap();
        assert_eq!(Reloaded::open(&path, number).err().unwrap().reason, "is not a number");
        assert!(Reloaded::open(&path.with_extension("no"), number).err().unwrap().reason.contains("No such file"));
    }
}
