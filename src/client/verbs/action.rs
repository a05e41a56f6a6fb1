//! `mig action`: one action, and following it.

use super::{action_id, common_options, connect, exit_codes};
use crate::cli::{Program, print};
use crate::client::follow::Following;
use crate::client::launch::shown;
use crate::client::output::Output;
use crate::client::results;
use crate::client::rows::COLUMNS;
use crate::error::ProgramError;
use gumdrop::Options;
use serde_json::Value;

/// What `mig action --help` says.
pub const PROGRAM: Program = Program {
    name: "mig action",
    about: "mig action - prints an action with its counters, or follows it\n\nUsage: mig action ID [--follow] [options]",
    details: exit_codes!(),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct ActionOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// client configuration (default ~/.migrc)
    #[options(short = "c", meta = "MIGRC", no_long)]
    migrc: Option<String>,
    /// key file, or key id or user id for gpg
    #[options(short = "k", meta = "KEY", no_long)]
    key: Option<String>,
    /// follow it, and print answers as they come
    #[options(no_short)]
    follow: bool,
    /// which results
    #[options(no_short, meta = "found|notfound|all", default = "found")]
    show: String,
    /// form of the results
    #[options(no_short, meta = "text|json|jsonl|csv", default = "text")]
    format: String,
    /// with --follow: exit with 1 when nothing was found
    #[options(no_short)]
    exit_status: bool,
    /// the id
    #[options(free)]
    words: Vec<String>,
}
common_options!(ActionOptions);

/// `mig action`.
pub fn main(options: ActionOptions) -> Result<(), ProgramError> {
    let id = action_id(&PROGRAM, &options.words)?;
    let (show, format) = shown(&options.show, &options.format)?;
    let api = connect(options.migrc.as_deref(), options.key.as_deref())?;
    let (action, raw) = results::action(&api, id)?;
    if !options.follow {
        // Strings keep their escapes, so that no terminal interprets what is in them.
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let lines = serde_json::to_string_pretty(&value).unwrap_or_default();
        print(&(lines.lines().map(crate::client::printable).collect::<Vec<_>>().join("\n") + "\n"));
        return Ok(());
    }
    let mut output = Output::new(format);
    let outcome = Following::of_action(&api, PROGRAM.name, id, &action, show).run(&mut output)?;
    output.finish(&COLUMNS)?;
    outcome.report(id, PROGRAM.name, options.exit_status)
}
