//! `mig launch`: launches an action file, as `mig -i` does.

use super::usage;
use crate::cli::Program;
use crate::client::launch;
use crate::error::ProgramError;

pub use launch::LaunchOptions;

/// What `mig launch --help` says.
pub const PROGRAM: Program = Program {
    name: "mig launch",
    about: "mig launch - signs an action file unless it is signed, launches it, and prints what it finds\n\n\
        Usage: mig launch ACTION [options]",
    details: launch::PROGRAM.details,
    rest_after: &[],
};

/// `mig launch`.
pub fn main(options: LaunchOptions) -> Result<(), ProgramError> {
    match options.words.as_slice() {
        [input] => launch::launch_file(input, &options),
        _ => Err(usage(&PROGRAM, "one word is expected, a file")),
    }
}
