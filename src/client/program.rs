//! `mig`: the investigator's command line.

use std::process::ExitCode;

/// `mig`.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
