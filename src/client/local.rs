//! `mig MODULE -t local`: runs a module in this process, without API and key.

use super::answer::Answer;
use super::follow::report_errors;
use super::launch::PROGRAM;
use super::output::{Format, Output};
use super::printable;
use super::rows::{COLUMNS, Show};
use crate::command::CommandStatus;
use crate::error::{ExitClass, ProgramError};
use crate::modules::{Context, Module};
use crate::time;
use serde_json::Value;

/// Runs a module with these parameters.
pub fn run(
    module: &'static dyn Module,
    parameters: &Value,
    show: Show,
    format: Format,
    exit_status: bool,
) -> Result<(), ProgramError> {
    let result = module.run(parameters, Context::by_hand());
    if !result.success {
        return Err(ProgramError::new(ExitClass::Data, printable(&result.errors.unwrap_or_default().join("; "))));
    }
    let found = result.foundanything;
    let answer = Answer {
        id: 0,
        agent: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        queueloc: String::new(),
        agent_status: String::new(),
        status: CommandStatus::Success,
        results: vec![result],
        finish_time: time::now(),
    };
    report_errors(PROGRAM.name, &answer, 1);
    let mut output = Output::new(format);
    output.answer(0, &answer, &[module.name().to_owned()], show)?;
    output.finish(&COLUMNS)?;
    if found || !exit_status { Ok(()) } else { Err(ProgramError::new(ExitClass::Negative, "")) }
}
