//! `mig-api`: the REST API.

use crate::cli::{Common, Program};
use crate::error::ProgramError;
use gumdrop::Options;

/// What `mig-api --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-api",
    about: "mig-api - the REST API: investigators launch actions and read results over HTTP",
    details: "",
    rest_after: None,
};

/// Options:
#[derive(Debug, Options)]
pub struct ApiOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
}

impl Common for ApiOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

/// `mig-api`.
pub fn main(_options: ApiOptions) -> Result<(), ProgramError> {
    Ok(())
}
