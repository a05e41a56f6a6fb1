//! From rules to what scans: from their text, checked, bounded and compiled; or loaded as they were compiled before.

use super::compiled;
use super::cost;
use super::parameters::Source;
use crate::modules::ParameterError;
use boreal::Scanner;
use boreal::compiler::{Compiler, CompilerBuilder, CompilerParams};
use boreal::module::Console;
use boreal_parser::file::{Import, YaraFileComponent};
use boreal_parser::rule::Rule;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;

/// Bytes of rules: an action has no more.
pub(super) const RULES_BYTES_MAX: usize = 1 << 20;
/// Strings of all rules: public rules have some 50 bytes of text for each.
const STRINGS_MAX: usize = 20_000;
/// Cost of all strings, in the units of `cost.rs`: what comes near it was measured with 100 MiB of compiled rules.
const COST_MAX: u64 = 8_000_000;
/// Matches of all strings in one file or process that are held in memory: 192 MiB.
const MATCHES_MAX: usize = 4 << 20;
/// Matches of one string that are counted, if there are few strings.
const MATCHES_OF_STRING_MAX: usize = 10_000;
/// Stack of the thread that compiles: a condition may be a chain of a million operators, which is freed link by link.
const STACK_BYTES: usize = 512 << 20;
/// Bytes of a reason in an error: the engine repeats what it read.
const REASON_BYTES_MAX: usize = 400;

/// Variables from outside that rules may use.
pub(super) const VARIABLES: [&str; 3] = ["filename", "filepath", "extension"];

/// Compiled rules.
pub(super) struct Rules {
    /// What scans.
    pub(super) scanner: Scanner,
    /// How many strings they have.
    pub(super) strings: usize,
    /// Names of rules that may depend on matches beyond those.
    pub(super) counting: BTreeSet<String>,
}

/// What [`check`] has seen.
#[derive(Default)]
struct Seen {
    rules: usize,
    strings: usize,
    cost: u64,
    counting: BTreeSet<String>,
}

impl Rules {
    /// What scans, wherever it comes from.
    pub(super) fn of(source: &Source) -> Result<Rules, ParameterError> {
        match source {
            Source::Text(text) => compile(text),
            Source::Compiled(compiled) => compiled::open(compiled)?.load(),
        }
    }

    /// How many matches of one string are counted.
    pub(super) fn matches_max(&self) -> u32 {
        let matches_max = (MATCHES_MAX / self.strings.max(1)).min(MATCHES_OF_STRING_MAX);
        u32::try_from(matches_max).unwrap_or(u32::MAX)
    }
}

/// Checks and compiles rules. Errors name the line.
pub(super) fn compile(text: &str) -> Result<Rules, ParameterError> {
    apart(|reason| ParameterError::new("yara", format!("compile: {reason}")), || compile_here(text))
}

/// Does something with the engine in a thread of its own, with a large stack: a defect of the engine is an error.
pub(super) fn apart<T: Send>(
    failed: impl Fn(String) -> ParameterError,
    work: impl FnOnce() -> Result<T, ParameterError> + Send,
) -> Result<T, ParameterError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let done = thread.map_err(|error| failed(format!("start a thread: {error}")))?.join();
        done.unwrap_or_else(|_| Err(failed("an internal error of the engine".into())))
    })
}

fn compile_here(text: &str) -> Result<Rules, ParameterError> {
    let seen = check(text)?;
    let mut compiler = compiler();
    compiler.add_rules_str(text).map_err(|error| from_engine(&error))?;
    Ok(Rules { scanner: compiler.finalize(), strings: seen.strings, counting: seen.counting })
}

/// Refuses what would be too large, or what this build cannot do.
fn check(text: &str) -> Result<Seen, ParameterError> {
    let file = boreal_parser::parse(text).map_err(|error| {
        let description = boreal::compiler::generate_description(&error.to_diagnostic(), "mem", text);
        from_engine(&description)
    })?;
    let at = |(span, reason): (Range<usize>, String)| {
        let line = text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1;
        ParameterError::new("yara", format!("line {line}: {reason}"))
    };
    let mut seen = Seen::default();
    for component in file.components {
        match component {
            YaraFileComponent::Include(include) => {
                return Err(at((include.span, "include is refused: the rules must be complete in themselves".into())));
            }
            YaraFileComponent::Import(import) => check_import(import).map_err(at)?,
            YaraFileComponent::Rule(rule) => seen.add(&rule, text).map_err(at)?,
        }
    }
    if seen.rules == 0 {
        return Err(ParameterError::new("yara", "there is no rule"));
    }
    Ok(seen)
}

/// Refuses a module of YARA that this build does not have.
fn check_import(import: Import) -> Result<(), (Range<usize>, String)> {
    let compiler = compiler();
    let mut known: Vec<&str> = compiler.available_modules().collect();
    if known.contains(&import.name.as_str()) {
        return Ok(());
    }
    known.sort_unstable();
    let reason = format!("the module {:?} of YARA is not in this build, which has {}", import.name, known.join(", "));
    Err((import.span, reason))
}

impl Seen {
    fn add(&mut self, rule: &Rule, text: &str) -> Result<(), (Range<usize>, String)> {
        self.rules += 1;
        self.strings += rule.variables.len();
        if self.strings > STRINGS_MAX {
            let reason = format!("more than {STRINGS_MAX} strings; use several operations");
            return Err((rule.name_span.clone(), reason));
        }
        let condition = text.get(rule.condition.span.clone()).unwrap_or_default();
        if counts(condition) {
            self.counting.insert(rule.name.clone());
        }
        let of_sets = (&rule.condition.span, "sets", cost::of_sets(condition, rule.variables.len(), self.rules));
        let of_strings = rule.variables.iter().map(|string| (&string.span, string.name.as_str(), cost::of(string)));
        for (span, name, cost) in of_strings.chain([of_sets]) {
            self.cost = self.cost.saturating_add(cost);
            if self.cost > COST_MAX {
                let reason = format!(
                    "rule {}: with {name:?} of it the compiled rules are too large; use several operations, or shorter \
                     repetitions and jumps",
                    rule.name
                );
                return Err((span.clone(), reason));
            }
        }
        Ok(())
    }
}

/// Whether a condition may ask how many matches a string has, or where they are; the beginning of a file is the first.
fn counts(condition: &str) -> bool {
    let words = words(condition);
    let asks_where = |(number, word): (usize, &&str)| {
        let behind = |distance: usize| words.get(number + distance).copied();
        let is_end = matches!(behind(2), None | Some(")" | "and" | "or"));
        *word == "in" || (*word == "at" && !(behind(1) == Some("0") && is_end))
    };
    words.iter().any(|word| matches!(*word, "#" | "@" | "!")) || words.iter().enumerate().any(asks_where)
}

/// Words and other characters of a condition, without comments, texts and expressions.
fn words(condition: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    let (mut words, mut rest) = (Vec::new(), condition);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            // A division is written in another way.
            '"' | '/' => literal_bytes(rest, first),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(length);
        if !matches!(first, '"' | '/') && !first.is_whitespace() {
            words.push(word);
        }
        rest = behind;
    }
    words
}

/// Bytes of a literal, up to the next of its first character that has no backslash before it.
fn literal_bytes(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == quote && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// What rules write there, which may be contents, goes nowhere.
pub(super) fn console() -> Console {
    Console::with_callback(|_| {})
}

/// An empty compiler with all modules and variables.
fn compiler() -> Compiler {
    let mut compiler = CompilerBuilder::new().add_module(console()).build();
    compiler.set_params(CompilerParams::default().disable_includes(true).disable_unknown_escape_warning(true));
    for name in VARIABLES {
        compiler.define_symbol(name, "");
    }
    compiler
}

/// An error of the engine: `mem:7:3: error: unknown identifier "x"`.
fn from_engine(error: &dyn Display) -> ParameterError {
    let text = error.to_string();
    let place = text.strip_prefix("mem:").and_then(|rest| rest.split_once(':'));
    let (line, rest) = place.unwrap_or(("?", &text));
    let reason = rest.split_once("error: ").map_or(rest, |(_, reason)| reason);
    ParameterError::new("yara", format!("line {line}: {}", shortened(reason)))
}

/// A reason of the engine.
pub(super) fn shortened(reason: &str) -> &str {
    let reason = reason.lines().next().unwrap_or_default();
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn a_condition_that_asks_for_places_is_known_however_it_is_written() {
        for condition in [
            "#a > 3",
            "@a[2] == 5",
            "!a[1] > 4",
            "$a in (0..9)",
            "$a in(0..9)",
            "$a\nin\t(0..9)",
            "$a at 5",
            "$a at(5)",
            "$a at/* x */5",
            "($b)and $a at 0 + 5",
            "$a at 0x10",
            "$a at (0)",
            "any of them in(1..2)",
            "$a in// x\n(0..9)",
            "filename matches /\\/\"/ and $a in(0..9)",
            "filename == \"\\\"\" and $a at 5",
        ] {
            assert!(counts(condition), "{condition}");
        }
        for condition in [
            "$a",
            "$a at 0",
            "($a at 0)and $b",
            "$a at 0 or $b",
            "$in and $at",
            "pe.at and inside",
            "$a // in here\n",
            "$a /* at 5 # */ and $b",
            "filename == \"x in # y\"",
            "filename matches /x in # y/ and $a",
        ] {
            assert!(!counts(condition), "{condition}");
        }
    }
}
