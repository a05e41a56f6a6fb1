//! Modules by hand and in the limited process: `mig-agent -m MODULE …` and `mig-agent -i action.json`.

use super::execute::Executor;
use super::spare::Spare;
use crate::action::Action;
use crate::cli::print;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::modules::{self, Module, ModuleResult, Settings};
use rustix::process::{Resource, Rlimit, Signal};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Runs a module in this process.
///
/// One word that is a JSON object, or `-` for standard input, gives one result object as JSON. Other words are the
/// module's command-line form, and the result is printed for people.
pub fn run_module(name: &str, words: &[String], limited: bool) -> Result<(), ProgramError> {
    if limited {
        limit_this_process()?;
    }
    let usage = |text: String| ProgramError::new(ExitClass::Usage, text);
    let known = || modules::all().iter().map(|module| module.name()).collect::<Vec<_>>().join(", ");
    let module =
        modules::by_name(name).ok_or_else(|| usage(format!("-m: no module '{name}'; known are {}", known())))?;
    let json = match words {
        [] => return Err(usage(format!("-m {name}: parameters are missing; try mig-agent -m {name} help"))),
        [word] if word == "help" => {
            print(module.help());
            return Ok(());
        }
        [word] if word == "-" => read_parameters()?,
        [word] if word.trim_start().starts_with('{') => word.clone(),
        words => return run_for_people(module, words),
    };
    let result = match crate::json::value(&json) {
        Ok(parameters) => module.run(&parameters, settings()),
        Err(error) => ModuleResult::failed(format!("parameters: {error}")),
    };
    print(&format!("{}\n", serde_json::to_string(&result).unwrap_or_default()));
    Ok(())
}

fn run_for_people(module: &dyn Module, words: &[String]) -> Result<(), ProgramError> {
    let parameters = module.parse_arguments(words);
    let usage =
        |e| ProgramError::new(ExitClass::Usage, format!("-m {}: {e}; try mig-agent -m {0} help", module.name()));
    let result = module.run(&parameters.map_err(usage)?, settings());
    let mut text = module.print(&result).join("\n");
    text.push('\n');
    print(&text);
    match result.errors {
        Some(errors) if !result.success => Err(ProgramError::new(ExitClass::Data, errors.join("; "))),
        _ => Ok(()),
    }
}

fn read_parameters() -> Result<String, ProgramError> {
    let mut text = String::new();
    let read = std::io::stdin().take(limits::ACTION_SIZE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|e| ProgramError::new(ExitClass::NoInput, format!("read parameters from standard input: {e}")))?;
    Ok(text)
}

/// Half of the cores at most, so that an investigation is not an outage.
fn settings() -> Settings {
    // Without the limits of control groups: looking for those takes a dozen system calls, for each operation.
    let cores = rustix::thread::sched_getaffinity(None).map_or(1, |cores| cores.count() as usize);
    Settings { threads: (cores / 2).max(1) }
}

/// Ends with the agent, lowest priority, bounded address space, no core dump.
fn limit_this_process() -> Result<(), ProgramError> {
    let failed =
        |what: &str, e: rustix::io::Errno| ProgramError::new(ExitClass::Io, format!("limit this process: {what}: {e}"));
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| failed("parent death signal", e))?;
    rustix::process::nice(19).map_err(|e| failed("priority", e))?;
    let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
    rustix::process::setrlimit(Resource::As, limit(limits::MODULE_ADDRESS_SPACE_BYTES))
        .map_err(|e| failed("address space", e))?;
    rustix::process::setrlimit(Resource::Core, limit(0)).map_err(|e| failed("core dump", e))
}

/// Runs an action's operations on this machine, without relay or signatures: for trying one out.
pub fn run_action(path: &Path) -> Result<(), ProgramError> {
    let bytes = crate::reload::read_bounded(path, limits::ACTION_SIZE_BYTES_MAX);
    let bytes = bytes.map_err(|e| ProgramError::new(ExitClass::NoInput, format!("read {}: {e}", path.display())))?;
    let mut action = Action::parse_draft(&bytes)
        .map_err(|e| ProgramError::new(ExitClass::Data, format!("{}: {e}", path.display())))?;
    // A draft has no dates yet, and an old action is tried out as well as a new one.
    action.expire_after = crate::time::never();
    let executor = Executor::new(Duration::from_secs(3600));
    let (status, results) = executor.run(&action, false, &mut Spare::default(), crate::time::now());
    print(&format!("{}\n", serde_json::to_string(&results).unwrap_or_default()));
    match status {
        crate::command::CommandStatus::Success => Ok(()),
        other => Err(ProgramError::new(ExitClass::Negative, format!("{}: {other}", path.display()))),
    }
}
