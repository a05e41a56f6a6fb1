//! Command lines: gumdrop behind one thin wrapper.
//!
//! `-name` and `--name` are the same, as users of the original type them. `--help` and `-V` are handled here.

use crate::error::{ExitClass, ProgramError};
use gumdrop::Options;
use std::process::ExitCode;

/// What a program says of itself.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What stands above the options in `--help`.
    pub about: &'static str,
    /// What stands below them: files, examples, exit codes.
    pub details: &'static str,
    /// The option whose value is followed by words for somebody else (`-m MODULE …`).
    pub rest_after: Option<&'static str>,
}

/// The version line of every program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Gives `-name` a second dash. Values such as `-60s` and single letters stay.
fn normalize(argument: String) -> String {
    let rest = argument.strip_prefix('-').unwrap_or_default();
    let is_name = rest.len() > 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_name { format!("-{argument}") } else { argument }
}

/// Options that every program has.
pub trait Common {
    /// `--help` was given.
    fn help(&self) -> bool;
    /// `-V` was given.
    fn version(&self) -> bool;
}

/// Parses the arguments of this process, runs `work`, and turns its outcome into an exit code.
pub fn main<T: Options + Common>(program: &Program, work: impl FnOnce(T) -> Result<(), ProgramError>) -> ExitCode {
    let outcome = arguments(program.rest_after).and_then(|arguments| {
        let usage =
            |e: gumdrop::Error| ProgramError::new(ExitClass::Usage, format!("{e}; try {} --help", program.name));
        let options = T::parse_args_default(&arguments).map_err(usage)?;
        if options.help() {
            print(&format!("{}\n\n{}\n\n{}\n", program.about, T::usage(), program.details));
            return Ok(());
        }
        if options.version() {
            print(&format!("{VERSION}\n"));
            return Ok(());
        }
        work(options)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.text.is_empty() {
                eprintln!("{}: {error}", program.name);
            }
            ExitCode::from(error.class as u8)
        }
    }
}

/// The arguments of this process, with two dashes before names. What follows `rest_after` and its value is not ours to
/// change or to read: it goes behind `--`.
fn arguments(rest_after: Option<&str>) -> Result<Vec<String>, ProgramError> {
    let text = |argument: std::ffi::OsString| {
        argument.into_string().map_err(|a| ProgramError::new(ExitClass::Usage, format!("{a:?} is not UTF-8")))
    };
    let given = std::env::args_os().skip(1).map(text).collect::<Result<Vec<String>, _>>()?;
    let own = given.iter().position(|argument| Some(argument.as_str()) == rest_after).map_or(given.len(), |at| at + 2);
    let mut arguments: Vec<String> = given.iter().take(own).cloned().map(normalize).collect();
    if own < given.len() {
        arguments.push("--".to_owned());
        arguments.extend_from_slice(&given[own..]);
    }
    Ok(arguments)
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
pub fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_as_good_as_two() {
        for (given, parsed) in [
            ("-only", "--only"),
            ("--only", "--only"),
            ("-c", "-c"),
            ("-60s", "-60s"),
            ("-", "-"),
            ("x", "x"),
            ("-nolaunch", "--nolaunch"),
        ] {
            assert_eq!(normalize(given.into()), parsed);
        }
    }
}
