//! The console: one `mig` after the other, with completion, and questions for the parameters of a module.
//!
//! Each line is run as a process of its own, so that a signal, an error or an answer of one is none of the next.

use super::ask::{self, Lines};
use crate::cli::describe::Described;
use crate::error::{ExitClass, ProgramError};
use crate::modules;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Completer, Context, Editor, Helper, Highlighter, Hinter, Validator};
use signal_hook::consts::{SIGINT, SIGQUIT};
use std::process::Command;
use std::sync::Arc;

const PROMPT: &str = "mig> ";
const HELP: &str =
    "MODULE asks for its parameters, MODULE PARAMETERS runs it; VERB runs it; help lists both; exit or Ctrl-D ends.";

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Empty,
    End,
    /// A module whose parameters are not there yet, and the options of `mig` before them.
    Ask(&'static str, Vec<String>),
    Run(Vec<String>),
    Wrong(String),
}

/// Reads lines and runs them, until the end.
pub fn run(described: Described<'static>) -> Result<(), ProgramError> {
    let failed = |e: ReadlineError| ProgramError::new(ExitClass::Io, format!("read from the terminal: {e}"));
    let mut editor: Editor<Words, MemHistory> =
        Editor::with_history(rustyline::Config::default(), MemHistory::new()).map_err(failed)?;
    editor.set_helper(Some(Words(described)));
    // A signal of the terminal is for what runs in it: a child has its own handling.
    for signal in [SIGINT, SIGQUIT] {
        let ignore = signal_hook::flag::register(signal, Arc::default());
        ignore.map_err(|e| ProgramError::new(ExitClass::Io, format!("handle signals: {e}")))?;
    }
    println!("{HELP}");
    loop {
        match editor.readline(PROMPT) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                match parse(&line) {
                    Line::Empty => {}
                    Line::End => return Ok(()),
                    Line::Wrong(reason) => eprintln!("mig: {reason}"),
                    Line::Run(words) => start(&words)?,
                    Line::Ask(module, own) => {
                        let form = modules::by_name(module).map(|module| module.form());
                        if let Some(words) = form.and_then(|form| ask::ask(form, &mut Questions(&mut editor))) {
                            start(&[vec![module.to_owned()], own, words].concat())?;
                        }
                    }
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}

fn parse(line: &str) -> Line {
    let Some(words) = shlex::split(line) else { return Line::Wrong("a quotation mark is not closed".into()) };
    let Some((first, rest)) = words.split_first() else { return Line::Empty };
    match first.as_str() {
        "exit" | "quit" => return Line::End,
        "console" => return Line::Wrong("this is the console".into()),
        _ => {}
    }
    match modules::by_name(first) {
        Some(module) if super::launch::own_words(module, rest) == rest.len() => Line::Ask(module.name(), rest.to_vec()),
        _ => Line::Run(words),
    }
}

/// Runs this program with these words. What went wrong it has said itself.
fn start(words: &[String]) -> Result<(), ProgramError> {
    let failed = |what: &str, e| ProgramError::new(ExitClass::Io, format!("{what}: {e}"));
    let program = std::env::current_exe().map_err(|e| failed("find this program", e))?;
    Command::new(program).args(words).status().map_err(|e| failed("start this program", e)).map(drop)
}

/// Asks on the terminal.
struct Questions<'e>(&'e mut Editor<Words, MemHistory>);

impl Lines for Questions<'_> {
    fn read(&mut self, prompt: &str) -> Option<String> {
        self.0.readline(prompt).ok()
    }

    fn show(&mut self, line: &str) {
        println!("{line}");
    }
}

/// Completes modules, verbs and their options.
#[derive(Completer, Helper, Highlighter, Hinter, Validator)]
struct Words(#[rustyline(Completer)] Described<'static>);

impl Completer for Described<'static> {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(self, &line[..at]))
    }
}

/// Where the last word of a line begins, and what it may become.
fn complete(described: &Described, line: &str) -> (usize, Vec<String>) {
    let begin = line.rfind(' ').map_or(0, |space| space + 1);
    let word = &line[begin..];
    let fits = |candidate: &String| candidate.starts_with(word);
    let Some((first, _)) = line.trim_start().split_once(' ') else {
        let verbs = described.verbs.iter().map(|verb| verb.word().to_owned());
        return (begin, verbs.chain(["exit".to_owned()]).filter(fits).collect());
    };
    let verb = described.verbs.iter().find(|verb| verb.word() == first);
    let flags = verb.map(Described::flags).unwrap_or_default();
    let mut words: Vec<String> = match first {
        "help" => described.verbs.iter().map(|verb| verb.word().to_owned()).filter(fits).collect(),
        _ if word.starts_with('-') => {
            flags.iter().flat_map(|flag| flag.words().collect::<Vec<_>>()).filter(fits).collect()
        }
        _ => Vec::new(),
    };
    words.sort();
    (begin, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::program::described;
    use crate::client::verbs::VERBS;

    #[test]
    fn a_line_is_a_module_to_ask_for_a_command_or_the_end() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (line, expected) in [
            ("", Line::Empty),
            ("  ", Line::Empty),
            ("exit", Line::End),
            ("console", Line::Wrong("this is the console".into())),
            ("file -name 'x", Line::Wrong("a quotation mark is not closed".into())),
            ("file", Line::Ask("file", vec![])),
            ("file -t local --show all", Line::Ask("file", words(&["-t", "local", "--show", "all"]))),
            ("file -t local -path '/my files'", Line::Run(words(&["file", "-t", "local", "-path", "/my files"]))),
            ("file --show=all -t local", Line::Ask("file", words(&["--show=all", "-t", "local"]))),
            ("file --show=all -path=/etc", Line::Run(words(&["file", "--show=all", "-path=/etc"]))),
            ("agentdestroy -version=1", Line::Run(words(&["agentdestroy", "-version=1"]))),
            ("agentdestroy -version 1 -pid 7", Line::Run(words(&["agentdestroy", "-version", "1", "-pid", "7"]))),
            ("file help", Line::Run(words(&["file", "help"]))),
            ("status", Line::Run(words(&["status"]))),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
        assert!(VERBS.iter().all(|verb| modules::by_name(verb.name()).is_none()), "a word is a verb or a module");
    }

    #[test]
    fn words_are_completed_by_what_they_stand_behind() {
        let described = described();
        let (begin, words) = complete(&described, "st");
        assert_eq!((begin, words), (0, vec!["status".to_owned()]));
        let (begin, words) = complete(&described, "file -t local -match");
        assert_eq!(begin, 14);
        assert!(words.is_empty(), "options have two dashes: {words:?}");
        let (_, words) = complete(&described, "file -t local --matcha");
        assert_eq!(words, ["--matchall", "--matchany"]);
        let (_, words) = complete(&described, "help sta");
        assert_eq!(words, ["status"]);
        assert!(complete(&described, "file ä").1.is_empty());
    }
}
