//! Command-line parsing: a thin wrapper of gumdrop.
//!
//! `-name` and `--name` are the same, for compatibility with the original. `--help` and `-V` are handled here.

pub mod describe;
pub mod generate;

use crate::error::{ExitClass, ProgramError};
use gumdrop::Options;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Name and help text of a program.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The text above the options in `--help`.
    pub about: &'static str,
    /// The text below them: files, examples, exit codes.
    pub details: &'static str,
    /// The options whose value is followed by arguments that are passed on (`-m MODULE …`).
    pub rest_after: &'static [&'static str],
}

/// The version of this program: the package's, unless an agent was built with another one.
pub fn version() -> &'static str {
    VERSION.get().map_or(env!("CARGO_PKG_VERSION"), String::as_str)
}

static VERSION: OnceLock<String> = OnceLock::new();

/// Sets the version, once.
pub fn set_version(version: String) {
    let _ = VERSION.set(version);
}

/// Adds a second dash to `-name`. Values such as `-60s` and single letters stay unchanged.
pub(crate) fn normalize(argument: String) -> String {
    let rest = argument.strip_prefix('-').unwrap_or_default();
    let is_name = rest.len() > 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_name { format!("-{argument}") } else { argument }
}

/// Options that every program has.
pub trait Common {
    /// Whether `--help` is set.
    fn help(&self) -> bool;
    /// Whether `-V` is set.
    fn version(&self) -> bool;
}

/// Parses the arguments of this process, runs `work`, and converts its outcome into an exit code.
pub fn main<T: Options + Common>(program: &Program, work: impl FnOnce(T) -> Result<(), ProgramError>) -> ExitCode {
    match arguments_of_process() {
        Ok(words) if words.first().is_some_and(|word| word == generate::OPTION) => {
            let described = describe::Described::of(program, T::usage());
            exit(program.name, generate::run(&described, words.get(1)))
        }
        Ok(words) => run(program, &words, work),
        Err(error) => exit(program.name, Err(error)),
    }
}

/// Parses these arguments, runs `work`, and converts its outcome into an exit code.
pub fn run<T: Options + Common>(
    program: &Program,
    words: &[String],
    work: impl FnOnce(T) -> Result<(), ProgramError>,
) -> ExitCode {
    let usage = |e: gumdrop::Error| ProgramError::new(ExitClass::Usage, format!("{e}; try {} --help", program.name));
    let parsed = T::parse_args_default(&with_two_dashes(words, program.rest_after)).map_err(usage);
    exit(
        program.name,
        parsed.and_then(|options| {
            if options.help() {
                print(&help(program, T::usage()));
                return Ok(());
            }
            if options.version() {
                print(&format!("{}\n", version()));
                return Ok(());
            }
            work(options)
        }),
    )
}

/// The text of `--help`.
pub fn help(program: &Program, usage: &str) -> String {
    format!("{}\n\n{usage}\n\n{}\n", program.about, program.details)
}

/// Reports an error, and converts an outcome into an exit code.
pub fn exit(name: &str, outcome: Result<(), ProgramError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if !error.text.is_empty() {
        eprintln!("{name}: {error}");
    }
    ExitCode::from(error.class as u8)
}

/// Makes the umask of the servers' programs that of their files: what they make has the mode that the code names, whatever
/// umask they were started with, and others have no access to it.
pub fn set_umask() {
    rustix::process::umask(rustix::fs::Mode::RWXO);
}

/// Returns the arguments of this process.
pub fn arguments_of_process() -> Result<Vec<String>, ProgramError> {
    let text = |argument: std::ffi::OsString| {
        argument.into_string().map_err(|a| ProgramError::new(ExitClass::Usage, format!("{a:?} is not UTF-8")))
    };
    std::env::args_os().skip(1).map(text).collect()
}

/// Puts two dashes before names. Everything after one of `rest_after` and its value is passed on unchanged, after `--`.
fn with_two_dashes(raw: &[String], rest_after: &[&str]) -> Vec<String> {
    let own = raw.iter().position(|argument| rest_after.contains(&argument.as_str())).map_or(raw.len(), |at| at + 2);
    let mut arguments: Vec<String> = raw.iter().take(own).cloned().map(normalize).collect();
    if own < raw.len() {
        arguments.push("--".to_owned());
        arguments.extend_from_slice(&raw[own..]);
    }
    arguments
}

/// Writes to standard output; ignores a closed pipe (`| head`).
pub fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_the_same_as_two() {
        for (argument, parsed) in [
            ("-only", "--only"),
            ("--only", "--only"),
            ("-c", "-c"),
            ("-60s", "-60s"),
            ("-", "-"),
            ("x", "x"),
            ("-nolaunch", "--nolaunch"),
        ] {
            assert_eq!(normalize(argument.into()), parsed);
        }
    }
}
