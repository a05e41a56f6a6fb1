//! What a program's options are, read from the usage text that gumdrop makes of their definitions: completion, manual
//! pages and `mig` itself use the same definitions as `--help`.

use super::Program;
use std::borrow::Cow;

/// A program, or a verb of one.
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// The text above the options in `--help`.
    pub about: Cow<'a, str>,
    /// The text below them.
    pub details: &'a str,
    /// The usage text of its options.
    pub usage: &'a str,
    /// Options that are not in that text: a module's.
    pub more: Vec<Flag>,
    /// Its verbs.
    pub verbs: Vec<Described<'a>>,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flag {
    /// The letter after one dash.
    pub short: Option<char>,
    /// The name after two dashes.
    pub long: Option<String>,
    /// What its values are called; empty if it has none.
    pub values: Vec<String>,
    /// What it does, with its default.
    pub help: String,
}

impl Flag {
    /// Whether a word of a command line is this option.
    pub fn is_named(&self, word: &str) -> bool {
        let is_long = |name: &str| self.long.as_deref() == Some(name);
        match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(name), _) => is_long(name),
            (None, Some(letter)) if letter.chars().count() == 1 => self.short == letter.chars().next(),
            (None, Some(name)) => is_long(name),
            (None, None) => false,
        }
    }

    /// As it is typed: `-c`, `--only`.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let short = self.short.map(|letter| format!("-{letter}"));
        short.into_iter().chain(self.long.iter().map(|name| format!("--{name}")))
    }
}

impl<'a> Described<'a> {
    /// A program, or a verb, without verbs.
    pub fn of(program: &'a Program, usage: &'a str) -> Described<'a> {
        let Program { name, about, details, .. } = *program;
        Described { name, about: about.into(), details, usage, more: Vec::new(), verbs: Vec::new() }
    }

    /// Its options.
    pub fn flags(&self) -> Vec<Flag> {
        flags(self.usage).into_iter().chain(self.more.iter().cloned()).collect()
    }

    /// The last word of its name: a verb's own.
    pub fn word(&self) -> &'a str {
        self.name.rsplit(' ').next().unwrap_or_default()
    }

    /// What it is for, without its name: the first line of `--help`.
    pub fn summary(&self) -> &str {
        let line = self.about.lines().next().unwrap_or_default();
        line.split_once(" - ").or_else(|| line.split_once(": ")).map_or(line, |(_, summary)| summary)
    }
}

/// Reads the options from a usage text.
pub fn flags(usage: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    for line in usage.lines() {
        if let Some(definition) = line.strip_prefix("  -") {
            flags.push(flag(definition));
        } else if let (Some(last), true) = (flags.last_mut(), line.starts_with("     ")) {
            // A long definition: its help is in the next line.
            if last.help.is_empty() {
                last.help = line.trim().to_owned();
            }
        }
    }
    flags
}

/// Reads `s, --long META   help`, `-long META`, `s META  help`.
fn flag(definition: &str) -> Flag {
    let (names, help) = definition.split_once("  ").unwrap_or((definition, ""));
    let mut flag = Flag { help: help.trim().to_owned(), ..Flag::default() };
    for (index, word) in names.split([' ', ',']).filter(|word| !word.is_empty()).enumerate() {
        if let Some(long) = word.strip_prefix("--").or_else(|| word.strip_prefix('-').filter(|_| index == 0)) {
            flag.long = Some(long.to_owned());
        } else if index == 0 {
            flag.short = word.chars().next();
        } else {
            flag.values.push(word.to_owned());
        }
    }
    flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use gumdrop::Options;

    #[derive(Options)]
    #[allow(dead_code, reason = "only its usage text is used")]
    struct Example {
        /// this text
        #[options(short = "h")]
        help: bool,
        /// a file
        #[options(short = "c", meta = "FILE", no_long)]
        configuration: Option<String>,
        /// answers that exist
        #[options(no_short, meta = "A-LONG-NAME-OF-A-VALUE WORD", default = "x")]
        only_of_these: String,
    }

    #[test]
    fn flags_are_read_from_the_usage_text() {
        let flags = flags(Example::usage());
        let read: Vec<_> = flags.iter().map(|flag| (flag.short, flag.long.as_deref(), flag.values.len())).collect();
        assert_eq!(read, [(Some('h'), Some("help"), 0), (Some('c'), None, 1), (None, Some("only-of-these"), 2)]);
        assert_eq!(flags[2].help, "answers that exist (default: x)");
        assert!(flags[2].is_named("-only-of-these") && flags[1].is_named("-c") && !flags[1].is_named("--c"));
    }
}
