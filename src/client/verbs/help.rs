//! `mig help`: reads nothing, so that it is quick.

use super::{VERBS, common_options, usage};
use crate::cli::{self, Program, print};
use crate::client::launch::{self, LaunchOptions};
use crate::client::program::overview;
use crate::error::ProgramError;
use crate::modules;
use gumdrop::Options;

/// What `mig help --help` says.
pub const PROGRAM: Program = Program {
    name: "mig help",
    about: "mig help - prints the help of a verb or a module\n\nUsage: mig help [VERB | MODULE]",
    details: "Exit codes: 0 done; 64 no such verb or module.",
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct HelpOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// a verb or a module
    #[options(free)]
    words: Vec<String>,
}
common_options!(HelpOptions);

/// `mig help`.
pub fn main(options: HelpOptions) -> Result<(), ProgramError> {
    let Some(word) = options.words.first() else {
        print(&overview());
        return Ok(());
    };
    if let Some(verb) = VERBS.iter().find(|verb| verb.name() == word) {
        print(&verb.help());
        return Ok(());
    }
    let unknown = || usage(&PROGRAM, format!("'{word}' is neither a verb nor a module"));
    let module = modules::by_name(word).ok_or_else(unknown)?;
    print(&format!("{}\n{}", module.form().help(), cli::help(&launch::PROGRAM, LaunchOptions::usage())));
    Ok(())
}
