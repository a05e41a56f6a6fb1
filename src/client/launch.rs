//! `mig MODULE` and `mig launch`: checks an action, asks, signs and launches it, and follows it to its end.

use super::checks::{check_operations, check_signed};
use super::follow::Following;
use super::http::{Api, Content};
use super::migrc::Migrc;
use super::output::{self, Format, Output};
use super::prompt::confirm;
use super::rows::{COLUMNS, Show};
use super::session::key_is_missing;
use super::signing::{SigningKey, check_weight};
use super::{collection::Collection, parse_time, read_file, results};
use crate::action::Action;
use crate::cli::{self, Common, Program, print};
use crate::error::{ExitClass, ProgramError};
use crate::id::ActionId;
use crate::json::{Fields, JsonError};
use crate::limits;
use crate::modules::Module;
use crate::time::{self, Timestamp};
use gumdrop::Options;
use serde_json::json;

/// What `mig MODULE --help` says, beside the module's own help.
pub const PROGRAM: Program = Program {
    name: "mig",
    about: "mig MODULE - runs a module on many machines, and prints what it finds\n\n\
        Usage: mig MODULE [options] MODULE-PARAMETERS       (mig MODULE help lists the parameters)\n       \
        mig -i ACTION [options]",
    details: "TARGET is a condition over agents, such as \"queueloc LIKE 'linux.%'\", a macro of the migrc, or local: then the module runs on\n\
        this machine, without API and key (an action in a file: mig-agent -i ACTION). The default is status='online'; with --of the\n\
        agents of that action.\n\
        KEY is a file with a secret key without passphrase, or a key id for gpg; the default is [gpg] keyid of the migrc.\n\
        On a terminal it says how many agents are selected and asks; elsewhere it goes on.\n\
        Results go to standard output, messages and progress to standard error. Ctrl-C ends following, not the action.\n\n\
        Exit codes: 0 all agents answered (with --exit-status 1 if nothing was found); 1 not launched; 64 command line; 65 unusable\n\
        action, target or key; 66 unreadable file; 68 the target selects no agent; 69 the API fails; 75 agents have not answered or\n\
        could not run it, or the API is not reachable; 77 the API does not accept the key; 78 invalid migrc.",
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct LaunchOptions {
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
    /// which agents
    #[options(short = "t", meta = "TARGET", no_long)]
    target: Option<String>,
    /// only agents of this action that found something, looked and found nothing, or did neither (missing)
    #[options(no_short, meta = "ID KIND")]
    of: Option<(String, String)>,
    /// how long the action is valid
    #[options(short = "e", meta = "DURATION", no_long, default = "300s")]
    expiration: String,
    /// launch the action in this file
    #[options(short = "i", meta = "ACTION", no_long)]
    input: Option<String>,
    /// name of the action (default: the module and its parameters)
    #[options(short = "n", meta = "NAME", no_long)]
    name: Option<String>,
    /// which results
    #[options(no_short, meta = "found|notfound|all|missing", default = "found")]
    show: String,
    /// form of the results
    #[options(no_short, meta = "text|json|jsonl|csv", default = "text")]
    format: String,
    /// exit with 1 when nothing was found
    #[options(no_short)]
    exit_status: bool,
    /// do not ask
    #[options(no_short)]
    yes: bool,
    /// print the action, do not sign or launch it
    #[options(short = "p", no_long)]
    print: bool,
    /// sign and print the action, do not launch it: another investigator adds a signature
    #[options(short = "s", no_long)]
    sign: bool,
    /// refuse what the agents' access list in this file would not run
    #[options(no_short, meta = "FILE")]
    acl: Option<String>,
    /// launch searches that cannot mean what was intended
    #[options(no_short)]
    force: bool,
    /// also say where and what is launched
    #[options(short = "v", no_long)]
    verbose: bool,
    /// an action file, of mig launch
    #[options(free)]
    pub words: Vec<String>,
}

impl Common for LaunchOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

impl LaunchOptions {
    fn target(&self) -> Result<String, ProgramError> {
        let migrc = Migrc::read_if_there(self.migrc.as_deref())?;
        super::target::target(self.target.as_deref(), self.of.as_ref(), &migrc)
    }
}

/// The validity without `-e`.
const EXPIRATION: &str = "300s";
fn usage(text: impl std::fmt::Display) -> ProgramError {
    ProgramError::new(ExitClass::Usage, format!("{text}; try mig help"))
}

/// How many words at the beginning are options of `mig`, and their values. What the module calls so too is the module's.
pub fn own_words(module: &dyn Module, words: &[String]) -> usize {
    let flags = cli::describe::flags(LaunchOptions::usage());
    let mut own = 0;
    while let Some(word) = words.get(own) {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let Some(flag) = flags.iter().find(|flag| !is_of(module, name) && flag.is_named(name)) else { break };
        own += 1 + flag.values.len().saturating_sub(usize::from(value.is_some()));
    }
    own.min(words.len())
}

/// `mig MODULE`: options come before the module's own parameters, whose first word is no option of ours.
pub fn main(module: &'static dyn Module, words: &[String]) -> std::process::ExitCode {
    let (own, rest) = words.split_at(own_words(module, words));
    if rest.first().is_some_and(|word| word == "help") {
        print(&format!("{}\n{}", module.form().help(), cli::help(&PROGRAM, LaunchOptions::usage())));
        return std::process::ExitCode::SUCCESS;
    }
    cli::run(&PROGRAM, own, |options: LaunchOptions| run_module(module, &options, rest))
}

/// `mig -i ACTION`.
pub fn main_of_file(options: &LaunchOptions) -> Result<(), ProgramError> {
    if let Some(word) = options.words.first() {
        return Err(usage(format!("'{word}' is not expected: with -i the modules are in the action")));
    }
    launch_file(options.input.as_deref().ok_or_else(|| usage("a module, or -i ACTION, is missing"))?, options)
}

/// Launches the action in a file.
pub fn launch_file(input: &str, options: &LaunchOptions) -> Result<(), ProgramError> {
    if options.target.as_deref() == Some("local") {
        return Err(usage("-t local is for one module; mig-agent -i ACTION runs an action on this machine"));
    }
    let bytes = read_file(input, limits::ACTION_SIZE_BYTES_MAX)?;
    let mut action =
        Action::parse_draft(&bytes).map_err(|e| ProgramError::new(ExitClass::Data, format!("{input}: {e}")))?;
    if action.signatures.is_empty() {
        if options.target.is_some() || options.of.is_some() {
            action.target = options.target()?;
        }
    } else if options.target.is_some() || options.of.is_some() {
        return Err(usage("the action is signed, with its target: it excludes -t and --of"));
    }
    launch(action, input, options)
}

fn run_module(module: &'static dyn Module, options: &LaunchOptions, rest: &[String]) -> Result<(), ProgramError> {
    if options.input.is_some() {
        return Err(usage("-i names an action with its modules: it comes without a module"));
    }
    if rest.is_empty() && module.parse_arguments(rest).is_err() {
        let text = format!(
            "parameters of {0} are missing; try mig {0} help, or mig console, which asks for them",
            module.name()
        );
        return Err(ProgramError::new(ExitClass::Usage, text));
    }
    let parameters = module.parse_arguments(rest);
    let parameters = parameters.map_err(|e| {
        let misplaced =
            misplaced(module, rest).map_or(String::new(), |word| format!("; {word} is mig's: it stands before them"));
        ProgramError::new(ExitClass::Usage, format!("{e}; try mig {} help{misplaced}", module.name()))
    })?;
    if options.target.as_deref() == Some("local") {
        check_local(options)?;
        let (show, format) = shown(&options.show, &options.format)?;
        return super::local::run(module, &parameters, show, format, options.exit_status);
    }
    let default_name: String =
        std::iter::once(module.name()).chain(rest.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    // A field of the signed text ends at a semicolon.
    let default_name = default_name.replace(';', ",").chars().take(limits::CLIENT_NAME_CHARACTERS_MAX).collect();
    let draft = json!({
        "name": options.name.clone().unwrap_or(default_name),
        "target": options.target()?,
        "operations": [{"module": module.name(), "parameters": parameters}],
        "syntaxversion": 2
    });
    let action = Action::parse_draft(draft.to_string().as_bytes())
        .map_err(|e| ProgramError::new(ExitClass::Usage, e.to_string()))?;
    launch(action, module.name(), options)
}

/// An option of ours among the parameters of a module. What the module calls so too is the module's.
fn misplaced<'w>(module: &dyn Module, rest: &'w [String]) -> Option<&'w String> {
    let flags = cli::describe::flags(LaunchOptions::usage());
    rest.iter().find(|word| {
        let name = word.split('=').next().unwrap_or_default();
        name.starts_with('-') && !is_of(module, name) && flags.iter().any(|flag| flag.is_named(name))
    })
}

/// Whether a module has an option of this name.
fn is_of(module: &dyn Module, name: &str) -> bool {
    module.form().flags().any(|flag| name.trim_start_matches('-') == flag.name)
}

/// Refuses what would mean nothing on this machine alone.
fn check_local(options: &LaunchOptions) -> Result<(), ProgramError> {
    let others = [
        (options.of.is_some(), "--of"),
        (options.acl.is_some(), "--acl"),
        (options.print, "-p"),
        (options.sign, "-s"),
        (options.name.is_some(), "-n"),
        (options.expiration != EXPIRATION, "-e"),
    ];
    match others.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, other)) => Err(usage(format!("-t local launches no action: it excludes {other}"))),
        None => Ok(()),
    }
}

fn launch(mut action: Action, origin: &str, options: &LaunchOptions) -> Result<(), ProgramError> {
    let now = time::now();
    let is_signed = !action.signatures.is_empty();
    if !is_signed {
        action.valid_from = parse_time("-validfrom", "-60s", now)?;
        action.expire_after = parse_time("-e", &options.expiration, now)?;
    }
    check_operations(&action, origin, options.force)?;
    if options.print {
        return output::write(&(serde_json::to_string_pretty(&action).unwrap_or_default() + "\n"));
    }
    let (show, format) = shown(&options.show, &options.format)?;
    let migrc = Migrc::read_if_there(options.migrc.as_deref())?;
    let key = key(options.key.as_deref(), &migrc)?;
    if !is_signed {
        let key = key.as_ref().ok_or_else(|| key_is_missing(&migrc.file))?;
        let fingerprint = key.check(now)?;
        check_access(options, &action, &fingerprint)?;
    }
    if options.sign {
        let signed = if is_signed { action } else { sign(action, origin, key.as_ref(), now)? };
        return output::write(&(String::from_utf8_lossy(&signed.to_json()).into_owned() + "\n"));
    }
    let api = Api::open(&migrc, key.clone())?;
    if options.verbose {
        eprintln!("mig: API {}\nmig: target {}", api.address(), super::printable(&action.target));
    }
    if let Some((id, _)) = &options.of {
        // An action that is missing is told as that.
        api.get("action", &[("actionid", id)])?;
    }
    ask(&api, &action, options.yes)?;
    // It is valid from now on, however long the answer took.
    let action = if is_signed {
        check_signed(&action, origin)?
    } else {
        sign(dated(action, options)?, origin, key.as_ref(), time::now())?
    };
    let id = post(&api, &action)?;
    eprintln!("mig: action {id} launched");
    let mut output = Output::new(format);
    let outcome = Following::of_action(&api, PROGRAM.name, id, &action, show).run(&mut output)?;
    if show == Show::Missing {
        list_missing(&api, id, &mut output)?;
    }
    output.finish(if show == Show::Missing { &MISSING_COLUMNS } else { &COLUMNS })?;
    outcome.report(id, PROGRAM.name, options.exit_status)
}

fn dated(mut action: Action, options: &LaunchOptions) -> Result<Action, ProgramError> {
    let now = time::now();
    action.valid_from = parse_time("-validfrom", "-60s", now)?;
    action.expire_after = parse_time("-e", &options.expiration, now)?;
    Ok(action)
}

/// Reads `--show` and `--format`.
pub fn shown(show: &str, format: &str) -> Result<(Show, Format), ProgramError> {
    let show = Show::parse(show).map_err(|e| usage(format!("--show: {e}")))?;
    Ok((show, Format::parse(format).map_err(|e| usage(format!("--format: {e}")))?))
}

/// The key of `-k`, or of the migrc; none if neither names one.
pub fn key(option: Option<&str>, migrc: &Migrc) -> Result<Option<SigningKey>, ProgramError> {
    if option.is_none() && !migrc.has_key() {
        return Ok(None);
    }
    SigningKey::choose(option, || Ok(migrc.clone())).map(Some)
}

fn check_access(
    options: &LaunchOptions,
    action: &Action,
    key: &crate::investigator::Fingerprint,
) -> Result<(), ProgramError> {
    let Some(acl) = options.acl.as_deref().filter(|_| !options.force) else { return Ok(()) };
    if let Some(warning) = check_weight(acl, action, key)? {
        eprintln!("mig: {warning}");
    }
    Ok(())
}

/// Says how many agents the target selects, and asks.
fn ask(api: &Api, action: &Action, is_decided: bool) -> Result<(), ProgramError> {
    let (count, is_minimum) = results::count(api, &[("type", "agent"), ("target", &action.target)])?;
    if count == 0 {
        let target = super::printable(&action.target);
        let text = format!(
            "no agent is targeted: none that is online or idle matches {target}; mig explain TARGET lists them"
        );
        return Err(ProgramError::new(ExitClass::NoTarget, text));
    }
    let least = if is_minimum { "at least " } else { "" };
    let agents = if count == 1 { "agent" } else { "agents" };
    eprintln!("mig: the target selects {least}{count} {agents}");
    confirm("Launch?", is_decided)
}

fn sign(mut action: Action, origin: &str, key: Option<&SigningKey>, now: Timestamp) -> Result<Action, ProgramError> {
    let key = key.ok_or_else(|| usage("a key is missing: -k"))?;
    action.signatures.push(key.sign(&action.signed_text(), now)?);
    check_signed(&action, origin)
}

/// Posts a signed action; returns its id.
pub fn post(api: &Api, action: &Action) -> Result<ActionId, ProgramError> {
    const PATH: &str = "action/create/";
    let text = String::from_utf8_lossy(&action.to_json()).into_owned();
    let answer = api.post(PATH, Content::Form(&[("action", &text)]))?;
    let id = || -> Result<ActionId, JsonError> {
        let collection = Collection::parse(&answer.body)?;
        // The original rounds the id in the action, and not the one in the link.
        let href = collection.items.first().map_or("", |item| &item.href);
        let linked = href.rsplit_once("actionid=").and_then(|(_, id)| ActionId::from_digits(id).ok());
        let action = Fields::at("action", collection.first()?.get())?;
        let id = action.id("id", ActionId::from_json_number)?;
        linked.or(id).ok_or_else(|| action.missing("id"))
    };
    Ok(id().map_err(|e| api.unreadable(PATH, e))?)
}

/// The columns of [`list_missing`].
pub const MISSING_COLUMNS: [&str; 6] = ["agent", "action", "command", "status", "queueloc", "agentstatus"];

/// Prints the agents that have not answered.
pub fn list_missing(api: &Api, id: ActionId, output: &mut Output) -> Result<(), ProgramError> {
    results::each(api, id, results::Wanted::Waiting, |answer| {
        let (id, command) = (id.to_string(), answer.id.to_string());
        let object = json!({"agent": answer.agent, "action": id, "command": command, "status": answer.status,
            "queueloc": answer.queueloc, "agentstatus": answer.agent_status});
        let status = answer.status.as_str().to_owned();
        let cells = [answer.agent, id, command, status, answer.queueloc, answer.agent_status];
        output.record(&MISSING_COLUMNS, &cells, &object)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_misplaced_only_if_the_module_has_none_of_its_name() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let misplaced_in = |module: &str, line: &str| {
            let module = crate::modules::by_name(module).unwrap();
            misplaced(module, &words(line)).cloned()
        };
        assert_eq!(misplaced_in("pkg", "-name x -version <1 --version=2 -wrong"), None);
        assert_eq!(misplaced_in("pkg", "-version <1 --format csv"), Some("--format".into()));
        assert_eq!(misplaced_in("file", "-name x -version"), Some("-version".into()));
    }
}
