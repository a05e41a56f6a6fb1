//! Command lines as they are returned: bounded, and without values that are given to variables of the environment, which may
//! be private. And as they are compared: whole.

mod assignment;
#[cfg(test)]
mod tests;

use assignment::{Around, Value, assignment, option};

/// Characters of a command that are returned.
const COMMAND_CHARS_MAX: usize = 1_000;

/// Words behind which assignments may stand, and options before those.
const BEFORE_ASSIGNMENTS: [&str; 8] = ["env", "export", "set", "declare", "typeset", "local", "readonly", "sudo"];
/// Options of those that have a value in the next word.
const WITH_VALUE: [&str; 25] = [
    "-a",
    "-c",
    "-C",
    "-D",
    "-g",
    "-h",
    "-p",
    "-r",
    "-R",
    "-t",
    "-T",
    "-u",
    "-U",
    "--argv0",
    "--chdir",
    "--chroot",
    "--close-from",
    "--command-timeout",
    "--group",
    "--host",
    "--other-user",
    "--prompt",
    "--role",
    "--unset",
    "--user",
];
/// Words of a shell behind which a command begins.
const BEFORE_COMMANDS: [&str; 11] = ["then", "do", "else", "{", "!", "if", "elif", "while", "until", "time", "exec"];

/// How a line is split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// By sh(1).
    Shell,
    /// By systemd (systemd.service(5), "Command lines"): `\` escapes in any quotes, nothing is substituted.
    Systemd,
}

/// What a machine runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Command {
    /// `PGPASSWORD=… pg_dump`, and no more than [`COMMAND_CHARS_MAX`].
    shown: String,
    /// All of it, and what runs to make a value: `A=…curl example.net|sh x`.
    compared: String,
}

/// What a word may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first one of a command, or an assignment before it.
    Command,
    /// An option of `env` or another of [`BEFORE_ASSIGNMENTS`], or an assignment.
    Variables,
    /// The value of such an option; or an assignment, if the option is one without a value.
    OptionValue,
    /// An argument.
    Argument,
}

impl Command {
    /// A file that is run.
    pub(super) fn file(path: &str) -> Command {
        Command { shown: path.to_owned(), compared: path.to_owned() }
    }

    /// Reads a line.
    ///
    /// A value is hidden behind `NAME=` at the beginning of a command, behind `env`, `export` and the like, and everywhere if the
    /// name has no small letters: people could not distinguish such an argument from a variable either. A name in quotes may have
    /// blanks. So it is in options: `--env=name=value`, `-eNAME=value`, `--any=NAME=value`, `-DNAME=value`.
    pub(super) fn of(line: &str, syntax: Syntax) -> Command {
        let (mut command, mut rest) = (Command::default(), line.trim());
        let mut around = Around { syntax, quote: None, is_in_backticks: false };
        let (mut is_word_begin, mut place) = (true, Place::Command);
        // What is behind each parenthesis when it is closed: a command, unless it is a part of a word.
        let mut parentheses: Vec<Place> = Vec::new();
        let mut is_behind_dollar = false;
        while let Some(letter) = rest.chars().next() {
            let found = if is_word_begin { assignment(rest, around, place) } else { None };
            let found = found.filter(|found| place != Place::Argument || found.is_upper);
            let found = found.or_else(|| if is_word_begin { option(rest, around) } else { None });
            if let Some(found) = found {
                command.push(found.name);
                command.push("=…");
                let Value { bytes, run } = found.value(around);
                if found.is_program {
                    command.compared.push_str(&found.behind[..bytes]);
                } else {
                    run.iter().for_each(|text| command.compared.push_str(text));
                }
                command.push(found.quote.map_or("", |quote| if quote == '"' { "\"" } else { "'" }));
                (rest, is_word_begin) = (&found.behind[bytes..], false);
                if place == Place::OptionValue {
                    place = Place::Variables;
                }
                continue;
            }
            let nested = around.nested(rest);
            let mut bytes = nested.map_or(letter.len_utf8(), |(_, bytes)| bytes);
            match nested.map_or(letter, |(letter, _)| letter) {
                '(' => {
                    parentheses.push(if is_behind_dollar { place } else { Place::Command });
                    (is_word_begin, place) = (true, Place::Command);
                }
                // A pattern of `case` ends with one that was not opened.
                ')' if around.is_shell() => {
                    place = parentheses.pop().unwrap_or(Place::Command);
                    is_word_begin = place == Place::Command;
                }
                ';' | '&' | '|' => (is_word_begin, place) = (true, Place::Command),
                '`' => {
                    around.is_in_backticks = !around.is_in_backticks;
                    (is_word_begin, place) = (true, Place::Command);
                }
                quote @ ('\'' | '"') => {
                    if nested.is_none() {
                        around.quote = if around.quote == Some(quote) { None } else { around.quote.or(Some(quote)) };
                    }
                    // What stands in quotes may be a command for a shell.
                    if is_word_begin && place == Place::Argument {
                        place = Place::Command;
                    }
                    is_word_begin = true;
                }
                letter if letter.is_whitespace() => is_word_begin = true,
                letter => {
                    if is_word_begin {
                        is_word_begin = false;
                        let is_end = |letter: char| letter.is_whitespace() || "\"';&|()`".contains(letter);
                        place = place.behind(rest.split(is_end).next().unwrap_or(rest));
                    }
                    if letter == '\\' && nested.is_none() {
                        bytes += around.escaped_bytes(&rest[bytes..]);
                    }
                }
            }
            is_behind_dollar = ['$', '<', '>'].contains(&letter);
            command.push(&rest[..bytes]);
            rest = &rest[bytes..];
        }
        if let Some((end, _)) = command.shown.char_indices().nth(COMMAND_CHARS_MAX) {
            command.shown.truncate(end);
            command.shown.push('…');
        }
        command
    }

    /// As it is returned.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    fn push(&mut self, text: &str) {
        self.compared.push_str(text);
        // So many bytes are more characters than are returned.
        if self.shown.len() <= 4 * COMMAND_CHARS_MAX {
            self.shown.push_str(text);
        }
    }
}

/// As it is compared.
impl AsRef<str> for Command {
    fn as_ref(&self) -> &str {
        &self.compared
    }
}

impl Place {
    /// What the next word may be.
    fn behind(self, word: &str) -> Place {
        // systemd has signs in front of a program.
        let name = word.rsplit('/').next().unwrap_or(word).trim_start_matches(['@', '-', ':', '+', '|']);
        match self {
            Place::OptionValue => Place::Variables,
            Place::Variables if WITH_VALUE.contains(&word) => Place::OptionValue,
            Place::Variables if word.starts_with('-') => Place::Variables,
            _ if BEFORE_ASSIGNMENTS.contains(&name) => Place::Variables,
            _ if BEFORE_COMMANDS.contains(&word) => Place::Command,
            _ => Place::Argument,
        }
    }
}

/// The program of a line of systemd, without what may stand in front of it; none if it is not known before it runs.
pub(super) fn program(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    let word = line.split_whitespace().next()?.trim_matches(['"', '\'']);
    (word.starts_with('/') && !word.contains(['%', '$', '\\'])).then_some(word)
}
