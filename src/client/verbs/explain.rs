//! `mig explain`: what a target selects.

use super::{common_options, connect, exit_codes, usage, view};
use crate::cli::Program;
use crate::client::migrc::Migrc;
use crate::client::output::{Format, Output};
use crate::client::results::{count, pages};
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::targets::Target;
use gumdrop::Options;

/// What `mig explain --help` says.
pub const PROGRAM: Program = Program {
    name: "mig explain",
    about: "mig explain - checks a target, and says how many agents it selects, and some of them\n\nUsage: mig explain TARGET",
    details: exit_codes!(),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct ExplainOptions {
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
    /// the target
    #[options(free)]
    words: Vec<String>,
}
common_options!(ExplainOptions);

/// `mig explain`.
pub fn main(options: ExplainOptions) -> Result<(), ProgramError> {
    let [target] = options.words.as_slice() else { return Err(usage(&PROGRAM, "one word is expected, a target")) };
    let migrc = Migrc::read_if_there(options.migrc.as_deref())?;
    let resolved = migrc.target(target);
    if resolved != *target {
        eprintln!("mig explain: the macro {target} is {resolved}");
    }
    Target::parse(&resolved).map_err(|e| ProgramError::new(ExitClass::Data, format!("the target: {e}")))?;
    let api = connect(options.migrc.as_deref(), options.key.as_deref())?;
    let parameters = [("type", "agent"), ("target", resolved.as_str())];
    let (total, is_minimum) = count(&api, &parameters)?;
    let least = if is_minimum { "at least " } else { "" };
    eprintln!("mig explain: it selects {least}{total} agents");
    let mut output = Output::new(Format::Text);
    pages(&api, &parameters, limits::CLIENT_EXPLAINED_AGENTS, |raw| view::AGENT.write(raw, &mut output))?;
    output.finish(view::AGENT.columns())
}
