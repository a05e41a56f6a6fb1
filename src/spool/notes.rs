//! Notes: small files beside the stages, such as `scheduler-id`.

use super::stages::{PREPARED, ROOT};
use super::{Batch, FileName, Over, Spool, all_done};
use crate::failure::Failure;
use std::sync::Arc;

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
        let mut batch = Batch::new(self.spool.dir(PREPARED), &self.owner);
        batch.put(&self.spool.dir(ROOT), &file_name(name)?, bytes, Over::Anything)?;
        all_done(batch.commit()?.changes)
    }
}

fn file_name(name: &str) -> Result<FileName, Failure> {
    FileName::new(name).ok_or_else(|| Failure::retry(format!("'{name}' is no file name")))
}
