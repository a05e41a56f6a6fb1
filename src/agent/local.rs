//! Modules by hand and in the limited process: `mig-agent -m MODULE …` and `mig-agent -i action.json`.

use super::execute::{Executor, ModuleLimits};
use super::fetch::{Fetcher, Network};
use super::os::confine;
use crate::action::Action;
use crate::cli::print;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::modules::network::Fetch;
use crate::modules::persistent::{self, Event};
use crate::modules::{self, Context, Module, ModuleResult};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs a module in this process.
///
/// One word that is a JSON object, or `-` for standard input, prints one result object as JSON. Other words are the
/// module's command-line form, and the result is printed for people.
pub fn run_module(name: &str, words: &[String], limited: bool) -> Result<(), ProgramError> {
    let usage = |text: String| ProgramError::new(ExitClass::Usage, text);
    let known = || modules::all().iter().map(|module| module.name()).collect::<Vec<_>>().join(", ");
    let module =
        modules::by_name(name).ok_or_else(|| usage(format!("-m: no module '{name}'; known are {}", known())))?;
    if limited {
        confine::enter(module.needs())?;
    }
    let json = match words {
        [] if module.parse_arguments(words).is_err() => {
            return Err(usage(format!("-m {name}: parameters are missing; try mig-agent -m {name} help")));
        }
        [word] if word == "help" => {
            print(&module.form().help());
            return Ok(());
        }
        [word] if word == "-" => read_input()?,
        [word] if word.trim_start().starts_with('{') => word.clone(),
        words => return run_for_people(module, words),
    };
    match json.split_once('\n').and_then(|(line, json)| Some((ModuleLimits::parse(line)?, json))) {
        Some((limits, json)) => run_for_agent(module, limits, json, limited),
        None => {
            let fetcher = Network::default().fetcher();
            print_result(&run_json(module, &json, by_hand(&fetcher), limited)?);
            Ok(())
        }
    }
}

/// By hand, only the environment names a proxy.
fn by_hand(fetcher: &Fetcher) -> Context<'_> {
    Context { network: Some(fetcher), ..Context::by_hand() }
}

fn run_json(module: &dyn Module, json: &str, context: Context, limited: bool) -> Result<ModuleResult, ProgramError> {
    let parameters = match crate::json::value(json) {
        Ok(parameters) => parameters,
        Err(error) => return Ok(ModuleResult::failed(format!("parameters: {error}"))),
    };
    if limited {
        confine::narrow(module.needs(), module.needs_for(&parameters))?;
    }
    Ok(module.run(&parameters, context))
}

fn print_result(result: &ModuleResult) {
    print(&format!("{}\n", serde_json::to_string(result).unwrap_or_default()));
}

/// Runs a module for the agent, whose limits are the first line of the input. To standard output go results, a line each,
/// of which the last counts: the others are what was found so far.
fn run_for_agent(module: &dyn Module, limits: ModuleLimits, json: &str, limited: bool) -> Result<(), ProgramError> {
    let deadline = Instant::now().checked_add(limits.time);
    let fetcher = limits.network.map(Fetcher::parse).transpose();
    let fetcher = fetcher.map_err(|e| ProgramError::new(ExitClass::Data, format!("the network of -m: {e}")))?;
    let context = Context {
        deadline,
        result_bytes_max: limits.result_bytes,
        progress: Some(&print_result),
        network: fetcher.as_ref().map(|fetcher| fetcher as &dyn Fetch),
        agent: rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()),
        ..Context::by_hand()
    };
    print_result(&run_json(module, json, context, limited)?);
    // The agent has the result now, whatever this process still waits for. Its input, which has ended, is all that is at hand
    // in place of the output: it may not open anything for writing.
    let closed = std::io::stdout().flush().and_then(|()| Ok(rustix::stdio::dup2_stdout(rustix::stdio::stdin())?));
    closed.map_err(|e| ProgramError::new(ExitClass::Io, format!("close standard output: {e}")))
}

fn run_for_people(module: &dyn Module, words: &[String]) -> Result<(), ProgramError> {
    let parameters = module.parse_arguments(words);
    let usage =
        |e| ProgramError::new(ExitClass::Usage, format!("-m {}: {e}; try mig-agent -m {0} help", module.name()));
    let fetcher = Network::default().fetcher();
    let result = module.run(&parameters.map_err(usage)?, by_hand(&fetcher));
    let mut text = module.print(&result).join("\n");
    text.push('\n');
    print(&text);
    match result.errors {
        Some(errors) if !result.success => Err(ProgramError::new(ExitClass::Data, errors.join("; "))),
        _ => Ok(()),
    }
}

/// Runs a persistent module in this process until it is killed, or until what it prints is not read any longer. The words are its
/// options, its parameters as JSON, or `-` for those on standard input.
pub fn run_persistent(name: &str, words: &[String], limited: bool) -> Result<(), ProgramError> {
    let usage = |text: String| ProgramError::new(ExitClass::Usage, format!("-P {name}: {text}"));
    let known = || persistent::all().iter().map(|module| module.form().name).collect::<Vec<_>>().join(", ");
    let module =
        persistent::by_name(name).ok_or_else(|| usage(format!("no such persistent module; known are {}", known())))?;
    if words == ["help"] {
        print(&module.form().help_of("mig-agent -P"));
        return Ok(());
    }
    if limited {
        confine::enter(module.needs())?;
    }
    let text =
        if words == ["-"] { Some(read_input()?) } else { words.first().filter(|word| word.starts_with('{')).cloned() };
    let parameters = match text {
        Some(text) => crate::json::value(&text).map_err(|error| usage(error.to_string()))?,
        None => {
            module.parse_arguments(words).map_err(|error| usage(format!("{error}; try mig-agent -P {name} help")))?
        }
    };
    let mut output = std::io::stdout().lock();
    let mut notice = |event: Event| {
        let line = serde_json::Value::Object(event).to_string() + "\n";
        output.write_all(line.as_bytes()).and_then(|()| output.flush()).is_ok()
    };
    module.run(&parameters, &mut notice).map_err(|why| ProgramError::new(ExitClass::Io, format!("{name}: {why}")))
}

fn read_input() -> Result<String, ProgramError> {
    let mut text = String::new();
    let read = std::io::stdin().take(limits::MODULE_INPUT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|e| ProgramError::new(ExitClass::NoInput, format!("read parameters from standard input: {e}")))?;
    Ok(text)
}

/// Runs an action's operations on this machine, without relay or signatures: for trying one out.
pub fn run_action(path: &Path) -> Result<(), ProgramError> {
    let bytes = crate::config::read_bounded(path, limits::ACTION_SIZE_BYTES_MAX);
    let bytes = bytes.map_err(|e| ProgramError::new(ExitClass::NoInput, format!("read {}: {e}", path.display())))?;
    let mut action = Action::parse_draft(&bytes)
        .map_err(|e| ProgramError::new(ExitClass::Data, format!("{}: {e}", path.display())))?;
    // A draft has no dates yet, and an old action is tried out as well as a new one.
    action.expire_after = crate::time::never();
    let executor = Executor::new(Duration::from_secs(3600));
    let (status, results) = executor.run(&action, crate::time::now());
    print(&format!("{}\n", serde_json::to_string(&results).unwrap_or_default()));
    match status {
        crate::command::CommandStatus::Success => Ok(()),
        other => Err(ProgramError::new(ExitClass::Negative, format!("{}: {other}", path.display()))),
    }
}
