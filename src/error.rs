//! How programs end: one exit code per class of error, those of sysexits.h, listed in every `--help`.

use std::fmt;

/// A class of errors, and its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// 1: the program worked; what it was asked about is not so (a signature that does not verify).
    Negative = 1,
    /// 64: the command line is wrong.
    Usage = 64,
    /// 65: an input file is wrong.
    Data = 65,
    /// 66: an input file cannot be read.
    NoInput = 66,
    /// 69: something that is needed is taken or away for good: a lock, a relay.
    Unavailable = 69,
    /// 74: reading or writing failed.
    Io = 74,
    /// 75: something is away now; trying again later may help.
    TemporaryFailure = 75,
    /// 78: the configuration is wrong.
    Config = 78,
}

/// Why a program ends without having done what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError {
    /// Which exit code.
    pub class: ExitClass,
    /// What was tried, on what, and why it failed; empty when the program has said it already.
    pub text: String,
}

impl ProgramError {
    /// An error of that class.
    pub fn new(class: ExitClass, text: impl fmt::Display) -> ProgramError {
        ProgramError { class, text: text.to_string() }
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<crate::config::ConfigError> for ProgramError {
    fn from(error: crate::config::ConfigError) -> Self {
        ProgramError::new(ExitClass::Config, error)
    }
}
