//! Exit codes of the programs: one per class of error, from sysexits.h, listed in every `--help`.

use std::fmt;

/// A class of errors, and its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// 1: the program ran, its result is negative (a signature does not verify).
    Negative = 1,
    /// 64: invalid command line.
    Usage = 64,
    /// 65: invalid input file.
    Data = 65,
    /// 66: an input file cannot be read.
    NoInput = 66,
    /// 68: a target selects no agent.
    NoTarget = 68,
    /// 69: a required resource is locked or permanently unavailable: a lock, a relay.
    Unavailable = 69,
    /// 74: reading or writing failed.
    Io = 74,
    /// 75: a resource is temporarily unavailable; retrying later may help.
    TemporaryFailure = 75,
    /// 77: not permitted: the API does not accept the key.
    NoPermission = 77,
    /// 78: invalid configuration.
    Config = 78,
}

/// Why a program failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError {
    /// Determines the exit code.
    pub class: ExitClass,
    /// Operation, object and reason; empty if the program has already reported it.
    pub text: String,
}

impl ProgramError {
    /// Creates an error of this class.
    pub fn new(class: ExitClass, text: impl fmt::Display) -> ProgramError {
        ProgramError { class, text: text.to_string() }
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<crate::config::Unreadable> for ProgramError {
    fn from(error: crate::config::Unreadable) -> Self {
        let class = if error.is_temporary { ExitClass::TemporaryFailure } else { ExitClass::Config };
        ProgramError::new(class, error)
    }
}

impl From<crate::config::ConfigError> for ProgramError {
    fn from(error: crate::config::ConfigError) -> Self {
        let class = if error.is_temporary { ExitClass::TemporaryFailure } else { ExitClass::Config };
        ProgramError::new(class, error)
    }
}
