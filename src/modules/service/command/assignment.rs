//! Assignments in command lines, and how far their values go.

use super::{Place, Syntax};

/// Bytes in which the name of a variable ends, if it is in quotes or has an index: far more than people write.
const NAME_BYTES_MAX: usize = 128;
/// Options of any program whose value is a variable, behind a `=`.
const OF_VARIABLES: [&str; 4] = ["env", "environment", "set-env", "setenv"];

/// What is around a text: what reads it.
#[derive(Clone, Copy)]
pub(super) struct Around {
    pub(super) syntax: Syntax,
    /// The quotes in which the text is, as a command for a shell may be.
    pub(super) quote: Option<char>,
    pub(super) is_in_backticks: bool,
}

impl Around {
    /// Whether a shell reads the text.
    pub(super) fn is_shell(self) -> bool {
        self.syntax == Syntax::Shell || self.quote.is_some()
    }

    /// The letter that what is in the quotes has at the beginning of a text, if it is written in another way, and how long it is.
    pub(super) fn nested(self, text: &str) -> Option<(char, usize)> {
        let quote = self.quote?;
        if quote == '\'' && self.syntax == Syntax::Shell {
            return text.starts_with(r"'\''").then_some((quote, 4));
        }
        let letter = text.strip_prefix('\\')?.chars().next()?;
        let is_of_shell = self.syntax == Syntax::Shell && ['$', '`'].contains(&letter);
        (letter == quote || letter == '\\' || is_of_shell).then_some((letter, 2))
    }

    /// How long the letter behind a `\` is: none if the quotes end there.
    pub(super) fn escaped_bytes(self, text: &str) -> usize {
        text.chars().next().filter(|letter| Some(*letter) != self.quote).map_or(0, char::len_utf8)
    }

    /// Whether systemd makes another letter of a `\` in front of a text, before a shell reads that.
    pub(super) fn is_code(self, text: &str) -> bool {
        self.syntax == Syntax::Systemd && self.quote.is_some() && text.starts_with(|l: char| l.is_ascii_alphanumeric())
    }
}

/// `NAME=`, whose value is not read yet.
pub(super) struct Assignment<'t> {
    /// With what is in front of it: `--env=NAME`, `"NAME`.
    pub(super) name: &'t str,
    /// The name has no small letters.
    pub(super) is_upper: bool,
    /// The quotes in which all of it is: `"NAME=value"`.
    pub(super) quote: Option<char>,
    /// The value may be a program, or have one in it, in another way than for a shell.
    pub(super) is_program: bool,
    /// The value, and what is behind it.
    pub(super) behind: &'t str,
}

impl<'t> Assignment<'t> {
    /// Its value.
    pub(super) fn value(&self, around: Around) -> Value<'t> {
        let inside = value(self.behind, self.quote, around);
        if self.quote.is_none() {
            return inside;
        }
        let rest = value(&self.behind[inside.bytes..], None, around);
        Value { bytes: inside.bytes + rest.bytes, run: [inside.run, rest.run].concat() }
    }
}

/// An assignment at the beginning of a text.
pub(super) fn assignment(text: &str, around: Around, place: Place) -> Option<Assignment<'_>> {
    let of = |name, behind, quote| {
        let is_upper = !str::bytes(name).any(|byte| byte.is_ascii_lowercase());
        Some(Assignment { name, is_upper, quote, is_program: false, behind })
    };
    let quote = text.chars().next().filter(|letter| ['"', '\''].contains(letter) && around.quote != Some(*letter));
    if let Some(quote) = quote {
        // An option, whose value may be a program.
        if text[1..].starts_with('-') {
            return None;
        }
        let beginning = &text[..text.floor_char_boundary(NAME_BYTES_MAX)];
        let at = beginning[1..].find([quote, '='])? + 1;
        // "MY NAME=value", which is a command for a shell elsewhere.
        if let Some(behind) = text[at..].strip_prefix('=') {
            let may_be = matches!(place, Place::Variables | Place::OptionValue);
            return if may_be { of(&text[..at], behind, Some(quote)) } else { None };
        }
        // "MY NAME"=value
        return of(&text[..=at], text[at + 1..].strip_prefix('=')?, None);
    }
    let letters = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    if letters == 0 || text.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    // NAME[index]+=value
    let mut length = letters;
    if text[length..].starts_with('[') {
        let index = &text[length..text.floor_char_boundary(length + NAME_BYTES_MAX)];
        length += index.find("]=").or_else(|| index.find("]+="))? + 1;
    }
    length += usize::from(text[length..].starts_with('+'));
    let found = of(&text[..letters], text[length..].strip_prefix('=')?, None)?;
    Some(Assignment { name: &text[..length], ..found })
}

/// An option with an assignment at the beginning of a text.
pub(super) fn option(text: &str, around: Around) -> Option<Assignment<'_>> {
    // "--env=NAME=value"
    let quote = text.chars().next().filter(|letter| ['"', '\''].contains(letter) && around.quote != Some(*letter));
    if let Some(quote) = quote {
        let rest = text[1..].starts_with('-').then_some(&text[1..])?;
        let found = option(rest, around).filter(|found| found.quote.is_none())?;
        return Some(Assignment { name: &text[..1 + found.name.len()], quote: Some(quote), is_program: true, ..found });
    }
    let dashes = text.bytes().take_while(|byte| *byte == b'-').count();
    if dashes == 0 {
        return None;
    }
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let end = dashes + text[dashes..].bytes().take_while(is_letter).count();
    let (word, value) = (&text[dashes..end], text[end..].strip_prefix('='));
    let behind_letters = |bytes: usize, place| {
        let found = assignment(&text[bytes..], around, place)?;
        Some(Assignment { name: &text[..bytes + found.name.len()], ..found })
    };
    // --env=NAME=value
    let of_variables = value.and_then(|_| behind_letters(end + 1, Place::Variables));
    // -eNAME=value, which may also be a program for ruby or perl.
    let is_short = text.starts_with("-e") || text.starts_with("-E");
    let short = if is_short { behind_letters(2, Place::Variables) } else { None };
    // -DNAME=value
    let is_name = word.len() > 1 && !word.contains(['-', '.']);
    let other = if is_name { behind_letters(dashes, Place::Argument) } else { None };
    let is_of_variables = OF_VARIABLES.contains(&word);
    of_variables
        // env --split-string="NAME=value program"
        .map(|found| Assignment { is_program: found.quote.is_some() && !is_of_variables, ..found })
        .filter(|found| found.is_upper || is_of_variables)
        .or(short.map(|found| Assignment { is_program: true, ..found }).filter(|found| found.is_upper))
        .or(other.filter(|found| found.is_upper))
}

/// A value at the beginning of a text.
pub(super) struct Value<'t> {
    pub(super) bytes: usize,
    /// Commands whose output is a part of it; all of it where shells do not agree how far it goes, or none says so.
    pub(super) run: Vec<&'t str>,
}

/// What is to be closed again.
#[derive(Clone, Copy)]
struct Open {
    by: char,
    /// A single quote is a letter there.
    is_double: bool,
}

/// Reads a value: a word, or what is behind this quote and the quote that closes it.
fn value(text: &str, quote: Option<char>, around: Around) -> Value<'_> {
    let is_shell = around.is_shell();
    let opened = |by: char| Open { by, is_double: by == '"' };
    let mut open: Vec<Open> = quote.map(opened).into_iter().collect();
    let (mut run, mut is_doubtful) = (Vec::new(), false);
    // Where a command begins, and how much is open around it.
    let mut begun: Option<(usize, usize)> = None;
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if quote.is_some() && open.is_empty() {
            break;
        }
        let nested = around.nested(&text[at..]);
        let (letter, bytes) = nested.unwrap_or((first, first.len_utf8()));
        let innermost = open.last().copied();
        let is_in = |by: char| innermost.is_some_and(|open| open.by == by);
        // A command in double quotes has quotes of its own.
        let has_own = around.syntax == Syntax::Shell && around.quote == Some('"') && begun.is_some();
        if nested.is_none() && Some(letter) == around.quote && !has_own {
            break;
        }
        let behind = &text[at + bytes..];
        match letter {
            '\\' if nested.is_none() && around.is_code(behind) => is_doubtful = true,
            '\\' if is_shell && is_in('\'') => {}
            '\\' => at += around.escaped_bytes(behind),
            _ if is_in(letter) => {
                open.pop();
                if let Some((from, _)) = begun.filter(|(_, depth)| *depth == open.len()) {
                    run.push(&text[from..at]);
                    begun = None;
                }
            }
            _ if is_in('\'') => {}
            '$' if is_shell && behind.starts_with('(') => {
                at += 1;
                begun = begun.or(Some((at + bytes, open.len())));
                open.push(opened(')'));
            }
            '$' if is_shell && behind.starts_with('{') => {
                at += 1;
                // A command for ksh, mksh, and bash since version 5.3.
                if behind[1..].starts_with(|letter: char| letter.is_whitespace() || letter == '|') {
                    begun = begun.or(Some((at + bytes, open.len())));
                }
                open.push(Open { by: '}', is_double: innermost.is_some_and(|open| open.is_double) });
            }
            // Another quote for some shells.
            '$' if behind.starts_with('\'') => is_doubtful = true,
            '`' if is_shell && around.is_in_backticks && open.is_empty() => break,
            '`' if is_shell => {
                begun = begun.or(Some((at + bytes, open.len())));
                open.push(opened('`'));
            }
            '\'' if innermost.is_some_and(|open| open.is_double) => {}
            '\'' => open.push(opened('\'')),
            '"' => open.push(opened('"')),
            _ if is_in('"') => {}
            // A list of bash, and what is in parentheses in a command.
            '(' if is_shell && (at == 0 || is_in(')')) => open.push(opened(')')),
            letter if open.is_empty() && (letter.is_whitespace() || (is_shell && ";&|)<>".contains(letter))) => break,
            _ => {}
        }
        at += bytes;
    }
    if is_doubtful || !open.is_empty() {
        run = vec![&text[..at]];
    }
    Value { bytes: at, run }
}
