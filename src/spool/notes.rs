//! Notes: small files beside the stages, such as `scheduler-id`.

use super::{Batch, Dir, FileName, Over, all_done};
use crate::failure::Failure;
use std::sync::Arc;

/// See the module docs.
#[derive(Clone)]
pub struct Notes {
    root: Arc<Dir>,
    tmp: Arc<Dir>,
    owner: String,
}

impl Notes {
    pub(super) fn new(root: Arc<Dir>, tmp: Arc<Dir>, owner: &str) -> Notes {
        Notes { root, tmp, owner: owner.to_owned() }
    }

    /// Reads a note; None if there is none.
    pub fn read(&self, name: &str, size_bytes_max: u64) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.root.read(&file_name(name)?, size_bytes_max)?.map(|content| content.bytes))
    }

    /// Writes a note, over an older one; it is durable when this returns.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let mut batch = Batch::new(Arc::clone(&self.tmp), &self.owner);
        batch.put(&self.root, &file_name(name)?, bytes, Over::Anything)?;
        all_done(batch.commit()?.changes)
    }
}

fn file_name(name: &str) -> Result<FileName, Failure> {
    FileName::new(name).ok_or_else(|| Failure::retry(format!("'{name}' is no file name")))
}
