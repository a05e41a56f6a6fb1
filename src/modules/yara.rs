//! The module `yara`: scans files and the memory of processes with YARA rules.
//!
//! # Parameters
//!
//! `{"yara": "rule a { … }", "filesearch": "-path /bin -name ssh", "processes": [regex]}`; the first two as in the original, where
//! `filesearch` is a command line of module `file` that selects the files. At least one of `filesearch` and `processes`. Instead of
//! `yara` there may be `compiled`, see `compiled.rs`.
//!
//! # The engine
//!
//! boreal 1.4: an implementation of YARA 4.5 in Rust that interprets rules. With `hash`, `object` and `authenticode` it has the
//! modules that public rules import most (`pe`, `elf`, `hash`, `math`, `dotnet`, `macho`, `dex`, `time`, `string`, `console`), and the
//! program of the agent grew by less than 3 MiB (19.9 MB from 16.8 MB, with what else was new). yara-x 1.22 has more of them (`lnk`,
//! `zip`, `crx`, `vt`), but compiles conditions to machine code: wasmtime needs memory that is written and then executed, which the
//! unit of the agent and the filter of its operations refuse; and it brings a compiler, some 10 MiB as its users report. Rules that
//! import what this build lacks (`magic` and `cuckoo` too) are refused. Signatures in `pe.signatures` are listed and not verified.
//!
//! # Guarantees
//!
//! - Rules are compiled before they are signed and again on the agent, with the same verdict: what bounds the memory of compiled
//!   rules is computed from their text (`cost.rs`). Includes are refused. Of compiled ones an agent knows only that they arrived
//!   whole and that nothing was lost in loading them; its limits hold them.
//! - Of a match, offsets and lengths are returned, never contents.
//! - Nothing is stopped or traced: memory is read through `/proc/PID/mem`, a chunk at a time.
//! - A file or a process whose scan takes too long, or that is too large, is named, and the others are scanned. A scan that does
//!   not end is left alone: the run ends without it (`run.rs`).

mod compiled;
mod cost;
mod form;
mod memory;
mod parameters;
mod rules;
mod run;
mod scan;
#[cfg(test)]
mod tests;

use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, file, notation};
use parameters::Source;
use rules::Rules;
use serde_json::Value;

/// The module `yara`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Yara;

impl Module for Yara {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, reads_processes: true, ..Needs::default() }
    }

    fn needs_for(&self, parameters: &Value) -> Needs {
        // Parameters that cannot be used look nowhere.
        let reads_processes = parameters::parse(parameters).is_ok_and(|search| {
            let enters_proc = |files| file::File.needs_for(files).reads_processes;
            !search.processes.is_empty() || search.files.as_ref().is_some_and(enters_proc)
        });
        Needs { reads_processes, ..self.needs() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        let search = parameters::parse(parameters)?;
        match &search.rules {
            Source::Text(text) => rules::compile(text).map(|_| Vec::new()),
            // Not loaded: what that takes can only be bounded where the kernel bounds it.
            Source::Compiled(compiled) => compiled::open(compiled).map(|opened| opened.doubt().into_iter().collect()),
        }
        .map(|doubts| [doubts, search.doubts].concat())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        let ready = parameters::parse(parameters).and_then(|search| Ok((Rules::of(&search.rules)?, search)));
        ModuleResult::of(ready, |(rules, search)| run::run(rules, search, context))
    }

    /// As the original has them: `/bin/ssh [rule1,rule2]`.
    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |found: &Value| {
            let rules: Vec<String> = list(&found["MatchedRules"]).iter().map(text).collect();
            format!("{} [{}]", text(&found["Object"]), rules.join(","))
        };
        let mut lines: Vec<String> = list(&result.elements[run::MATCHES]).iter().map(line).collect();
        lines.extend(result.errors.iter().flatten().map(|error| format!("error: {error}")));
        if result.statistics.is_object() {
            let count = |name: &str| result.statistics[name].as_u64().unwrap_or(0);
            lines.push(format!(
                "Statistics: {} files and {} processes scanned, {} matched, ran in {}.",
                count("files"),
                count("processes"),
                count("totalhits"),
                text(&result.statistics["exectime"]),
            ));
        }
        lines.iter().map(|line| notation::printable(line)).collect()
    }
}
