//! The verbs of `mig`: each a file with its options, its help and what it does.

mod action;
mod agents;
mod console;
mod explain;
mod help;
mod investigator;
mod launch;
mod results;
mod search;
mod sign;
mod status;
mod view;

use super::http::Api;
use super::launch::key;
use super::migrc::Migrc;
use crate::cli::describe::Described;
use crate::cli::{self, Program};
use crate::error::{ExitClass, ProgramError};
use crate::id::ActionId;
use gumdrop::Options;
use std::process::ExitCode;

/// One verb.
pub struct Verb {
    program: &'static Program,
    usage: fn() -> &'static str,
    /// Runs it with the words behind it.
    pub run: fn(&[String]) -> ExitCode,
}

impl Verb {
    /// The word.
    pub fn name(&self) -> &'static str {
        self.described().word()
    }

    /// Its name, texts and options.
    pub fn described(&self) -> Described<'static> {
        Described::of(self.program, (self.usage)())
    }

    /// What `mig VERB --help` says.
    pub fn help(&self) -> String {
        cli::help(self.program, (self.usage)())
    }
}

macro_rules! verb {
    ($module:ident, $options:ident) => {
        Verb {
            program: &$module::PROGRAM,
            usage: <$module::$options as Options>::usage,
            run: |words| cli::run(&$module::PROGRAM, words, $module::main),
        }
    };
}

/// Every verb.
pub static VERBS: [Verb; 11] = [
    verb!(status, StatusOptions),
    verb!(agents, AgentsOptions),
    verb!(action, ActionOptions),
    verb!(results, ResultsOptions),
    verb!(search, SearchOptions),
    verb!(investigator, InvestigatorOptions),
    verb!(sign, SignOptions),
    verb!(launch, LaunchOptions),
    verb!(explain, ExplainOptions),
    verb!(console, ConsoleOptions),
    verb!(help, HelpOptions),
];

/// Implements [`cli::Common`] for options with these two fields.
macro_rules! common_options {
    ($options:ident) => {
        impl $crate::cli::Common for $options {
            fn help(&self) -> bool {
                self.help
            }
            fn version(&self) -> bool {
                self.version
            }
        }
    };
}
use common_options;

/// The exit codes that the verbs share, for their help.
macro_rules! exit_codes {
    () => {
        "Exit codes: 0 done; 64 command line; 65 refused, or not found; 69 the API fails; 75 the API is not reachable; 77 the API\n\
        does not accept the key; 78 invalid migrc."
    };
}
use exit_codes;

/// The API of a migrc, with the key of `-k` or of the migrc, if there is one.
fn connect(migrc: Option<&str>, key_option: Option<&str>) -> Result<Api, ProgramError> {
    let migrc = Migrc::read_if_there(migrc)?;
    let key = key(key_option, &migrc)?;
    Api::open(&migrc, key)
}

/// The error on a verb's words.
fn usage(program: &Program, text: impl std::fmt::Display) -> ProgramError {
    ProgramError::new(ExitClass::Usage, format!("{text}; try {} --help", program.name))
}

/// The only word, an action's id.
fn action_id(program: &Program, words: &[String]) -> Result<ActionId, ProgramError> {
    match words {
        [id] => ActionId::from_digits(id).map_err(|e| usage(program, e)),
        _ => Err(usage(program, "one word is expected, the id of an action")),
    }
}
