//! `mig results`: the answers to an action.

use super::{action_id, common_options, connect, exit_codes};
use crate::cli::Program;
use crate::client::follow::report_errors;
use crate::client::launch::{MISSING_COLUMNS, list_missing, shown};
use crate::client::output::Output;
use crate::client::results::{self, Wanted};
use crate::client::rows::{COLUMNS, Show};
use crate::error::{ExitClass, ProgramError};
use gumdrop::Options;

/// What `mig results --help` says.
pub const PROGRAM: Program = Program {
    name: "mig results",
    about: "mig results - prints the answers to an action\n\nUsage: mig results ID [--show WHICH] [--format FORM] [options]",
    details: exit_codes!(),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct ResultsOptions {
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
    /// which results; missing: the agents that have not answered
    #[options(no_short, meta = "found|notfound|all|missing", default = "found")]
    show: String,
    /// form of the results
    #[options(no_short, meta = "text|json|jsonl|csv", default = "text")]
    format: String,
    /// the id
    #[options(free)]
    words: Vec<String>,
}
common_options!(ResultsOptions);

/// `mig results`.
pub fn main(options: ResultsOptions) -> Result<(), ProgramError> {
    let id = action_id(&PROGRAM, &options.words)?;
    let (show, format) = shown(&options.show, &options.format)?;
    let api = connect(options.migrc.as_deref(), options.key.as_deref())?;
    let mut output = Output::new(format);
    if show == Show::Missing {
        // An id that does not exist is an error, not an action without agents.
        results::action(&api, id)?;
        list_missing(&api, id, &mut output)?;
        return output.finish(&MISSING_COLUMNS);
    }
    let (action, _) = results::action(&api, id)?;
    let sent = action.counters.get("sent").copied().unwrap_or_default();
    let modules: Vec<String> = action.operations.into_iter().map(|operation| operation.module).collect();
    let (mut answered, mut failed) = (0, 0);
    results::each(&api, id, Wanted::Ended, |answer| {
        answered += 1;
        failed += u64::from(!answer.is_complete(modules.len()));
        report_errors(PROGRAM.name, &answer, modules.len());
        output.answer(id.get(), &answer, &modules, show)
    })?;
    output.finish(&COLUMNS)?;
    let missing = sent.saturating_sub(answered);
    if missing == 0 && failed == 0 {
        return Ok(());
    }
    let text = format!(
        "of {} agents {missing} have not answered (--show missing names them), {failed} could not run it to its end",
        sent.max(answered)
    );
    Err(ProgramError::new(ExitClass::TemporaryFailure, text))
}
