//! What is checked before an action is signed: that agents would run it, and that it can mean what was intended.

use crate::action::Action;
use crate::error::{ExitClass, ProgramError};
use crate::modules;
use crate::targets::Target;

/// Refuses parameters that every agent would refuse, and doubtful ones, which an agent would not run. `origin` is what
/// errors name: the file of the action, or the module.
pub fn check_operations(action: &Action, origin: &str, force: bool) -> Result<(), ProgramError> {
    let refuse = |reason: String| ProgramError::new(ExitClass::Data, format!("{origin}: {reason}"));
    let mut doubts = Vec::new();
    for (index, operation) in action.operations.iter().enumerate() {
        let at = |error| format!("operations[{index}]: {error}");
        let Some(module) = modules::by_name(&operation.module) else {
            doubts.extend(unknown_module(&operation.module).map(at));
            continue;
        };
        let found = module.validate(&operation.parameters);
        let found = found.map_err(|error| refuse(at(error.to_string())))?;
        doubts.extend(found.iter().map(ToString::to_string).map(at));
    }
    if doubts.is_empty() || force {
        return Ok(());
    }
    Err(refuse(format!("{} (--force signs it anyway)", doubts.join("; "))))
}

/// Refuses a signed action that the scheduler would refuse for its fields or its target; returns it as it will be read.
pub fn check_signed(action: &Action, origin: &str) -> Result<Action, ProgramError> {
    let data = |reason: &dyn std::fmt::Display| ProgramError::new(ExitClass::Data, format!("{origin}: {reason}"));
    let action = Action::parse(&action.to_json()).map_err(|e| data(&e))?;
    action.check_notes().map_err(|e| data(&e))?;
    Target::parse(&action.target).map_err(|e| data(&format_args!("field 'target': {e}")))?;
    Ok(action)
}

/// Returns an error for a module that neither this build nor the original has.
fn unknown_module(name: &str) -> Option<String> {
    /// Modules that only agents of the original have.
    const OF_OTHERS: [&str; 1] = ["example"];
    if OF_OTHERS.contains(&name) {
        return None;
    }
    let known = modules::all().iter().map(|module| module.name()).chain(OF_OTHERS);
    Some(format!("unknown module '{name}'; known modules are {}", known.collect::<Vec<_>>().join(", ")))
}
