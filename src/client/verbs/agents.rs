//! `mig agents`: lists agents.

use super::{common_options, connect, exit_codes, view};
use crate::cli::Program;
use crate::client::launch::shown;
use crate::client::migrc::Migrc;
use crate::client::output::Output;
use crate::client::results::pages;
use crate::error::{ExitClass, ProgramError};
use crate::targets::Target;
use gumdrop::Options;

/// What `mig agents --help` says.
pub const PROGRAM: Program = Program {
    name: "mig agents",
    about: "mig agents - lists the agents that a target selects\n\nUsage: mig agents [-t TARGET] [options]",
    details: exit_codes!(),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct AgentsOptions {
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
    /// which agents; without it also those that are offline
    #[options(short = "t", meta = "TARGET", no_long)]
    target: Option<String>,
    /// most agents to list
    #[options(no_short, meta = "N", default = "10000")]
    limit: u64,
    /// form of the list
    #[options(no_short, meta = "text|json|jsonl|csv", default = "text")]
    format: String,
}
common_options!(AgentsOptions);

/// `mig agents`.
pub fn main(options: AgentsOptions) -> Result<(), ProgramError> {
    let (_, format) = shown("all", &options.format)?;
    let migrc = Migrc::read_if_there(options.migrc.as_deref())?;
    let target = options.target.as_deref().map(|text| migrc.target(text)).unwrap_or_default();
    if !target.is_empty() {
        Target::parse(&target).map_err(|e| ProgramError::new(ExitClass::Data, format!("-t: {e}")))?;
    }
    let api = connect(options.migrc.as_deref(), options.key.as_deref())?;
    // A target selects among the agents that are present; without one, those that were never seen again are listed too.
    let which = if target.is_empty() { ("after", "1970-01-01T00:00:00Z") } else { ("target", target.as_str()) };
    let parameters = [("type", "agent"), which];
    let mut output = Output::new(format);
    let is_more = pages(&api, &parameters, options.limit, |raw| view::AGENT.write(raw, &mut output))?;
    output.finish(view::AGENT.columns())?;
    if is_more {
        eprintln!("mig agents: there are more than {}; --limit lists them", options.limit);
    }
    Ok(())
}
