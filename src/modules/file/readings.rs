//! Cache of truths and digests, for files that have several names.
//!
//! Half of the bytes below `/usr/lib` can be links to the other half, and links are followed: without this cache a file
//! would be read once per name. A file is identified by device, inode, size and modification time.

use super::content::Truth;
use super::hashes::Algorithm;
use super::limits;
use super::open::Metadata;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A version of a file, as it is or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    metadata: Metadata,
    unpack: bool,
}

impl Key {
    /// Returns the key; `None` if the file is too small to be worth caching.
    pub(super) fn new(metadata: &Metadata, unpack: bool) -> Option<Self> {
        (metadata.size_bytes >= limits::CACHED_FILE_BYTES_MIN).then_some(Key { metadata: *metadata, unpack })
    }
}

#[derive(Debug, Default)]
struct Known {
    truths: Vec<(usize, Truth)>,
    digests: Vec<(Algorithm, Vec<u8>)>,
    /// It has no sums, because it could not be read to its end.
    has_no_digests: bool,
}

/// Shared by the threads of a run.
#[derive(Debug, Default)]
pub(super) struct Readings(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    files: HashMap<Key, Known>,
    /// Approximate size.
    bytes: usize,
}

impl Readings {
    /// Sets the truths of the patterns `wanted`; returns false and changes nothing if not all are known.
    pub(super) fn truths(&self, key: Option<Key>, wanted: &[usize], truths: &mut [Truth]) -> bool {
        self.look(key, |known| {
            let find = |number: &usize| known.truths.iter().find(|(of, _)| of == number).copied();
            let found: Option<Vec<_>> = wanted.iter().map(find).collect();
            found.map(|found| found.into_iter().for_each(|(number, truth)| truths[number] = truth))
        })
        .is_some()
    }

    /// Caches the truths of the patterns `wanted`.
    pub(super) fn add_verdicts(&self, key: Option<Key>, wanted: &[usize], truths: &[Truth]) {
        let all: Vec<_> = wanted.iter().map(|&number| (number, truths[number])).collect();
        self.change(key, size_of_val(all.as_slice()), |known| known.truths = all);
    }

    /// Returns the digests of all `algorithms`, in their order, or an empty list if the file is unreadable; `None` if
    /// they are not cached.
    pub(super) fn digests(&self, key: Option<Key>, algorithms: &[Algorithm]) -> Option<Vec<(Algorithm, Vec<u8>)>> {
        self.look(key, |known| {
            if known.has_no_digests {
                return Some(Vec::new());
            }
            algorithms.iter().map(|wanted| known.digests.iter().find(|(of, _)| of == wanted).cloned()).collect()
        })
    }

    /// Caches digests.
    pub(super) fn add_digests(&self, key: Option<Key>, digests: &[(Algorithm, Vec<u8>)]) {
        let bytes = digests.iter().map(|one| size_of_val(one) + one.1.len()).sum();
        self.change(key, bytes, |known| known.digests.extend_from_slice(digests));
    }

    /// Records that a file could not be read to its end.
    pub(super) fn add_no_digests(&self, key: Option<Key>) {
        self.change(key, 0, |known| known.has_no_digests = true);
    }

    fn look<T>(&self, key: Option<Key>, look: impl FnOnce(&Known) -> Option<T>) -> Option<T> {
        let key = key?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(known.files.get(&key)?)
    }

    fn change(&self, key: Option<Key>, bytes: usize, change: impl FnOnce(&mut Known)) {
        let Some(key) = key else {
            return;
        };
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = memory.bytes + bytes + size_of::<(Key, Known)>();
        if bytes <= limits::CACHE_BYTES_MAX {
            memory.bytes = bytes;
            change(memory.files.entry(key).or_default());
        }
    }
}
