//! `mig console`: see [`crate::client::console`].

use super::{common_options, usage};
use crate::cli::Program;
use crate::client::console;
use crate::client::program::described;
use crate::error::ProgramError;
use gumdrop::Options;

/// What `mig console --help` says.
pub const PROGRAM: Program = Program {
    name: "mig console",
    about: "mig console - reads lines and runs each as mig does, with completion\n\nUsage: mig console",
    details: "A module without parameters is asked for: each option in turn, with what it means.\n\
        Exit codes: 0 done; 64 command line; 74 the terminal cannot be read.",
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct ConsoleOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// none
    #[options(free)]
    words: Vec<String>,
}
common_options!(ConsoleOptions);

/// `mig console`.
pub fn main(options: ConsoleOptions) -> Result<(), ProgramError> {
    match options.words.first() {
        Some(word) => Err(usage(&PROGRAM, format!("'{word}' is not expected"))),
        None => console::run(described()),
    }
}
