//! The module `file`: looks for files by name, size, mode, time of change, contents and hash sums.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"paths": [..], "names": [..], …, "options": {..}}}}`, see `spec/modules.md` and, for what
//! each field means, the help of the command line. With `matchall` a file must pass every check of a search (of a
//! list of hash sums: one, as a file has one sum), else every check reports its own files. A search without
//! checks reports every file.
//!
//! # What is looked at
//!
//! - Files, and what else is not a directory: fifos, sockets and devices are compared by name, size, mode and time, but
//!   never opened, so they never pass a check of contents (negated ones neither) or hash sums.
//! - Symbolic links to files, under the link's path, with the target's size, mode and time. Links to directories are not
//!   followed, except when a path of a search is one (`/bin`); links that lead nowhere are left out.
//! - `maxdepth` 1 is the files directly in a path, and the path itself if it is a file.
//! - No network mounts, unless the search has `remotefs`; without it, nothing on them is touched, so one that hangs
//!   hangs nothing here.
//!
//! # Promises
//!
//! - It only reads, waits for nothing but the disk, and opens nothing but regular files.
//! - A directory is read once for all searches, and so is a file for contents and for hash sums, whatever the number of
//!   patterns. Memory is bounded for every file, see `limits.rs`.
//! - What could not be looked at is said in `errors` (at most `maxerrors`), counted in `openfailed` when it could
//!   not be opened or read, and ends nothing else. A check of which it is unknown whether it holds doesn't hold.
//! - There is no state: a run that is killed leaves nothing behind.

mod arguments;
mod candidate;
mod content;
mod entry;
mod evaluate;
mod filter;
mod format;
mod hashes;
mod json;
mod limits;
mod mounts;
mod open;
mod options;
mod parameters;
mod patterns;
mod print;
mod queue;
mod readings;
mod results;
mod roots;
#[cfg(test)]
mod tests;
mod walk;

use super::{Module, ModuleResult, ParameterError, Settings};
use evaluate::Run;
use mounts::Mounts;
use parameters::Plan;
use readings::Readings;
use results::Collector;
use roots::Roots;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use walk::Walk;

/// The module `file`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct File;

impl Module for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn validate(&self, parameters: &Value) -> Result<(), ParameterError> {
        parameters::parse(parameters).map(drop)
    }

    fn run(&self, parameters: &Value, settings: Settings) -> ModuleResult {
        let plan = match parameters::parse(parameters) {
            Ok(plan) => plan,
            Err(error) => return ModuleResult::failed(error.to_string()),
        };
        search(&plan, Mounts::read(), settings)
    }

    fn parse_arguments(&self, arguments: &[String]) -> Result<Value, ParameterError> {
        arguments::parse(arguments)
    }

    fn help(&self) -> &'static str {
        arguments::HELP
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        print::lines(result)
    }
}

/// Runs a plan on a machine with these mounts.
fn search(plan: &Plan, mounts: io::Result<Mounts>, settings: Settings) -> ModuleResult {
    let started = Instant::now();
    let collector = Collector::new(plan);
    let mounts = mounts.unwrap_or_else(|error| {
        // Without /proc there is no way to know; to search nothing at all would help less.
        collector.error("read", Path::new("/proc/self/mountinfo"), &error);
        Mounts::default()
    });
    let readings = Readings::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos().cast_signed());
    let run = Run { plan, collector: &collector, mounts: &mounts, readings: &readings, now };
    Walk { roots: Roots::new(plan), run }.search(settings.threads);
    collector.finish(started.elapsed())
}
