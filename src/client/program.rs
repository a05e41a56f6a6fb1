//! `mig`: the investigator's command line. The first word is a module, or a verb of [`super::verbs`].

use super::launch::{self, LaunchOptions};
use super::verbs::VERBS;
use crate::cli::describe::{Described, Flag};
use crate::cli::{self, generate, print};
use crate::error::{ExitClass, ProgramError};
use crate::modules;
use gumdrop::Options;
use std::process::ExitCode;

/// `mig`.
pub fn main() -> ExitCode {
    match cli::arguments_of_process() {
        Ok(words) => run(&words),
        Err(error) => cli::exit(launch::PROGRAM.name, Err(error)),
    }
}

fn run(words: &[String]) -> ExitCode {
    let name = launch::PROGRAM.name;
    let Some((first, rest)) = words.split_first() else {
        print(&overview());
        return ExitCode::from(ExitClass::Usage as u8);
    };
    if let Some(verb) = VERBS.iter().find(|verb| verb.name() == first) {
        return (verb.run)(rest);
    }
    if let Some(module) = modules::by_name(first) {
        return launch::main(module, rest);
    }
    match first.as_str() {
        "-h" | "--help" | "-help" => {
            print(&overview());
            ExitCode::SUCCESS
        }
        generate::OPTION => cli::exit(name, generate::run(&described(), rest.first())),
        option if option.starts_with('-') => {
            cli::run(&launch::PROGRAM, words, |options: LaunchOptions| launch::main_of_file(&options))
        }
        other => {
            let known = modules::all().iter().map(|module| module.name()).chain(VERBS.iter().map(|verb| verb.name()));
            let known = known.collect::<Vec<_>>().join(", ");
            let text = format!("'{}' is neither a module nor a verb; known are {known}", super::printable(other));
            cli::exit(name, Err(ProgramError::new(ExitClass::Usage, text)))
        }
    }
}

/// What `mig help` says.
pub fn overview() -> String {
    let mut text = "mig - asks many machines, and prints the answers\n\nUsage: mig MODULE [options] MODULE-PARAMETERS\n       mig VERB ...\n\nModules:\n".to_owned();
    for module in modules::all() {
        text.push_str(&format!("  {:<13} {}\n", module.name(), module.form().about));
    }
    text.push_str("\nVerbs:\n");
    for verb in &VERBS {
        text.push_str(&format!("  {:<13} {}\n", verb.name(), verb.described().summary()));
    }
    text.push_str(
        "\nExample: mig file -t \"queueloc LIKE 'linux.%'\" -path /etc -name '^passwd$'\n\
        mig help MODULE and mig help VERB have the details. ~/.migrc has the API's address and the key.\n",
    );
    text
}

/// An option of a module, as completion knows it.
fn described_flag(flag: &modules::form::Flag) -> Flag {
    let values = (!flag.value.is_empty()).then(|| flag.value.to_owned());
    let help = flag.help.lines().next().unwrap_or_default().to_owned();
    Flag { short: None, long: Some(flag.name.to_owned()), values: values.into_iter().collect(), help }
}

/// Everything that completion and the manual page know.
pub fn described() -> Described<'static> {
    let module = |module: &&'static dyn modules::Module| Described {
        name: module.name(),
        about: module.form().help().into(),
        more: module.form().flags().map(described_flag).collect(),
        ..Described::of(&launch::PROGRAM, LaunchOptions::usage())
    };
    let verbs = modules::all().iter().map(module).chain(VERBS.iter().map(|verb| verb.described()));
    Described { verbs: verbs.collect(), ..Described::of(&launch::PROGRAM, LaunchOptions::usage()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::describe::flags;

    #[test]
    fn no_option_of_a_module_hides_one_of_the_program_but_the_version() {
        let mut own = flags(LaunchOptions::usage());
        own.retain(|own| !own.is_named("--version"));
        for module in modules::all() {
            for flag in module.form().flags() {
                for word in [format!("-{}", flag.name), format!("--{}", flag.name)] {
                    assert!(!own.iter().any(|own| own.is_named(&word)), "{} {word}", module.name());
                }
            }
        }
    }
}
