//! Text that a configuration needs and that may be long: keys, certificates, an access list.

use super::{Secret, Unreadable, read_bounded};
use std::fmt;
use std::path::PathBuf;

/// Where the text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// In the configuration itself.
    Inside(Secret),
    /// In a file of its own, which is read when it is needed.
    File(PathBuf),
}

impl Material {
    /// The text as it is now.
    pub fn read(&self, size_bytes_max: u64) -> Result<Vec<u8>, Unreadable> {
        match self {
            Material::Inside(text) => Ok(text.expose().as_bytes().to_vec()),
            Material::File(path) => read_bounded(path, size_bytes_max),
        }
    }
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Material::Inside(_) => f.write_str("(inside the configuration)"),
            Material::File(path) => path.display().fmt(f),
        }
    }
}
