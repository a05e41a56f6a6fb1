//! Command lines as they are returned: bounded, and without values that are given to variables of the environment, which may
//! be private.

/// Characters of a command that are returned.
const COMMAND_CHARS_MAX: usize = 1_000;

/// Words behind which assignments may stand, and options before those.
const BEFORE_ASSIGNMENTS: [&str; 8] = ["env", "export", "set", "declare", "typeset", "local", "readonly", "sudo"];
/// Options of those that have a value in the next word.
const WITH_VALUE: [&str; 6] = ["-u", "-C", "-g", "-D", "--unset", "--chdir"];
/// Words of a shell behind which a command begins.
const BEFORE_COMMANDS: [&str; 11] = ["then", "do", "else", "{", "!", "if", "elif", "while", "until", "time", "exec"];

/// What a word may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first one of a command, or an assignment before it.
    Command,
    /// An option of `env` or another of [`BEFORE_ASSIGNMENTS`], or an assignment.
    Variables,
    /// The value of such an option.
    OptionValue,
    /// An argument.
    Argument,
}

/// A command as it is returned: `PGPASSWORD=… pg_dump`.
///
/// A value is hidden behind `NAME=` at the beginning of a command, behind `env`, `export` and the like, and everywhere if the name
/// has no small letters: people could not distinguish such an argument from a variable either. A name in quotes may have blanks.
pub(super) fn shown(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text.trim());
    let (mut outer, mut is_word_begin, mut place) = (None, true, Place::Command);
    // So many bytes are more characters than are returned.
    while let Some(letter) = rest.chars().next().filter(|_| shown.len() <= 4 * COMMAND_CHARS_MAX) {
        if is_word_begin && let Some(Assignment { name, behind, end }) = assignment(rest, outer, place) {
            let has_small = name.bytes().any(|byte| byte.is_ascii_lowercase());
            if matches!(place, Place::Command | Place::Variables) || !has_small {
                shown.extend([name, "=…", end]);
                rest = &behind[value_bytes(behind, outer)..];
                is_word_begin = false;
                continue;
            }
        }
        match letter {
            ';' | '&' | '|' | '(' | '`' => (is_word_begin, place) = (true, Place::Command),
            '\'' | '"' => {
                outer = if outer == Some(letter) { None } else { outer.or(Some(letter)) };
                // What stands in quotes may be a command for a shell.
                if is_word_begin && place == Place::Argument {
                    place = Place::Command;
                }
                is_word_begin = true;
            }
            letter if letter.is_whitespace() => is_word_begin = true,
            _ if is_word_begin => {
                is_word_begin = false;
                place = place.behind(
                    rest.split(|letter: char| letter.is_whitespace() || "\"';".contains(letter)).next().unwrap_or(rest),
                );
            }
            _ => {}
        }
        shown.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    if let Some((end, _)) = shown.char_indices().nth(COMMAND_CHARS_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
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

/// `NAME=`, and what is behind it; `"NAME` if the name is in quotes, which end with `end` then.
struct Assignment<'t> {
    name: &'t str,
    behind: &'t str,
    end: &'static str,
}

/// Splits an assignment at the beginning of a text.
fn assignment(text: &str, outer: Option<char>, place: Place) -> Option<Assignment<'_>> {
    let quote = text.chars().next().filter(|letter| ['"', '\''].contains(letter) && outer != Some(*letter));
    if let Some(quote) = quote {
        let close = text[1..].find(quote)? + 1;
        return match text[..close].find('=') {
            // "MY NAME"=value
            None => Some(Assignment { name: &text[..=close], behind: text[close + 1..].strip_prefix('=')?, end: "" }),
            // "MY NAME=value", which is a command for a shell elsewhere.
            Some(at) if place == Place::Variables => Some(Assignment {
                name: &text[..at],
                behind: &text[close + 1..],
                end: if quote == '"' { "\"" } else { "'" },
            }),
            Some(_) => None,
        };
    }
    let length = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (name, behind) = (&text[..length], text[length..].strip_prefix('=')?);
    let is_name = !name.is_empty() && !name.starts_with(|letter: char| letter.is_ascii_digit());
    is_name.then_some(Assignment { name, behind, end: "" })
}

/// The length of a value, in quotes or not, inside of quotes or not.
fn value_bytes(text: &str, outer: Option<char>) -> usize {
    let (mut inner, mut is_escaped) = (None, false);
    for (at, letter) in text.char_indices() {
        match inner {
            _ if is_escaped => is_escaped = false,
            _ if letter == '\\' => is_escaped = true,
            Some(quote) if letter == quote => inner = None,
            Some(_) => {}
            None if Some(letter) == outer || letter.is_whitespace() || ";&|)".contains(letter) => return at,
            None if letter == '"' || letter == '\'' => inner = Some(letter),
            None => {}
        }
    }
    text.len()
}

/// The program of a line of systemd, without what may stand in front of it; none if it is not known before it runs.
pub(super) fn program(line: &str) -> Option<&str> {
    let line = line.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    let word = line.split_whitespace().next()?.trim_matches(['"', '\'']);
    (word.starts_with('/') && !word.contains(['%', '$', '\\'])).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_are_hidden() {
        for (text, expected) in [
            ("/bin/a -x --key=v if=/dev/zero", "/bin/a -x --key=v if=/dev/zero"),
            ("PGPASSWORD=secret pg_dump a", "PGPASSWORD=… pg_dump a"),
            ("a=\"sec ret\" b='s e' prog c=d", "a=… b=… prog c=d"),
            ("/usr/bin/env x=secret Y=secret prog", "/usr/bin/env x=… Y=… prog"),
            ("/bin/sh -c 'token=secret; curl -d KEY=secret x'", "/bin/sh -c 'token=…; curl -d KEY=… x'"),
            ("bash -c \"export T='sec ret' && go\"", "bash -c \"export T=… && go\""),
            ("docker run -e TOKEN=se\\ cret x; p=secret q", "docker run -e TOKEN=… x; p=… q"),
            ("  [ -x /a ] && ( b=secret c )", "[ -x /a ] && ( b=… c )"),
            ("A=", "A=…"),
            ("env -i token=secret /bin/x a=b", "env -i token=… /bin/x a=b"),
            ("-/usr/bin/env -u HOME -i token=secret x", "-/usr/bin/env -u HOME -i token=… x"),
            (
                "sh -c 'if true; then tok=secret x; else { a=secret; }; fi'",
                "sh -c 'if true; then tok=… x; else { a=…; }; fi'",
            ),
            ("while :; do a=secret ! b=secret x c=d; done", "while :; do a=… ! b=… x c=d; done"),
            ("\"MY VAR\"=secret3 /bin/x", "\"MY VAR\"=… /bin/x"),
            ("env \"my var=secret 3\" 'b c'=secret x \"d=e\"", "env \"my var=…\" 'b c'=… x \"d=…\""),
            ("prog \"A B\"=secret \"a b\"=c", "prog \"A B\"=… \"a b\"=c"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(shown(&"é".repeat(5000)).chars().count(), COMMAND_CHARS_MAX + 1);
    }

    #[test]
    fn a_long_line_takes_no_longer_than_its_beginning() {
        let started = std::time::Instant::now();
        for word in ["a ", "A ", "'", "\"' ", "\"a b\"", "=", "A= ", "é "] {
            assert!(shown(&word.repeat(500_000)).len() <= 4 * COMMAND_CHARS_MAX + 8, "{word}");
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[test]
    fn a_program_is_the_first_word_if_it_is_known() {
        assert_eq!(program("-!/bin/a b"), Some("/bin/a"));
        assert_eq!(program("\"/bin/a\" b"), Some("/bin/a"));
        assert_eq!(program("sh -c x"), None);
        assert_eq!(program("/bin/%i"), None);
        assert_eq!(program(""), None);
    }
}
