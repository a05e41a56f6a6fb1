//! `mig search`: actions, commands, agents, investigators and compliance items.

use super::view::{self, View};
use super::{common_options, connect, exit_codes, usage};
use crate::cli::Program;
use crate::client::launch::shown;
use crate::client::output::Output;
use crate::client::results::pages;
use crate::error::ProgramError;
use gumdrop::Options;

/// What `mig search --help` says.
pub const PROGRAM: Program = Program {
    name: "mig search",
    about: "mig search - searches actions, commands, agents and investigators\n\n\
        Usage: mig search action|command|agent|investigator|compliance [KEY=VALUE ...] [options]",
    details: concat!(
        "Keys: actionid actionname after agentid agentname before commandid foundanything investigatorid investigatorname status\n\
        target (agents) threatfamily. Names and status are patterns with %. Without after=TIME: the last 7 days.\n\n",
        exit_codes!()
    ),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct SearchOptions {
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
    /// most rows to print
    #[options(no_short, meta = "N", default = "100")]
    limit: u64,
    /// form of the rows
    #[options(no_short, meta = "text|json|jsonl|csv", default = "text")]
    format: String,
    /// the type, and filters
    #[options(free)]
    words: Vec<String>,
}
common_options!(SearchOptions);

/// Filters of a search.
const KEYS: [&str; 13] = [
    "actionid",
    "actionname",
    "after",
    "agentid",
    "agentname",
    "before",
    "commandid",
    "foundanything",
    "investigatorid",
    "investigatorname",
    "status",
    "target",
    "threatfamily",
];

/// `mig search`.
pub fn main(options: SearchOptions) -> Result<(), ProgramError> {
    let (_, format) = shown("all", &options.format)?;
    let Some((kind, filters)) = options.words.split_first() else { return Err(usage(&PROGRAM, "the type is missing")) };
    let (view, mut parameters): (View, Vec<(&str, &str)>) = match kind.as_str() {
        "action" => (view::ACTION, vec![("type", kind)]),
        "command" => (view::COMMAND, vec![("type", kind)]),
        "agent" => (view::AGENT, vec![("type", kind)]),
        "investigator" => (view::INVESTIGATOR, vec![("type", kind)]),
        "compliance" => (view::COMPLIANCE, vec![("type", "command"), ("report", "complianceitems")]),
        _ => {
            let text = format!("'{kind}' is none of action, command, agent, investigator and compliance");
            return Err(usage(&PROGRAM, text));
        }
    };
    for filter in filters {
        let parsed = filter.split_once('=').filter(|(key, _)| KEYS.contains(key));
        let unknown = || usage(&PROGRAM, format!("'{filter}' is not KEY=VALUE; keys are {}", KEYS.join(", ")));
        parameters.push(parsed.ok_or_else(unknown)?);
    }
    let api = connect(options.migrc.as_deref(), options.key.as_deref())?;
    let mut output = Output::new(format);
    let is_more = pages(&api, &parameters, options.limit, |raw| view.write(raw, &mut output))?;
    output.finish(view.columns())?;
    if is_more {
        eprintln!("mig search: there are more than {}; --limit prints them", options.limit);
    }
    Ok(())
}
