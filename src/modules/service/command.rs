//! Command lines as they are returned: bounded, and without values that are given to variables of the environment, which may
//! be private.

/// Characters of a command that are returned.
const COMMAND_CHARS_MAX: usize = 1_000;

/// A command as it is returned: `PGPASSWORD=… pg_dump`.
///
/// A value is hidden behind `NAME=` at the beginning of a command, behind `env` and `export`, and everywhere if the name has no
/// small letters: people could not distinguish such an argument from a variable either.
pub(super) fn shown(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text.trim());
    let (mut outer, mut is_word_begin, mut is_command_begin) = (None, true, true);
    while let Some(letter) = rest.chars().next() {
        if is_word_begin && let Some((name, behind)) = assignment(rest) {
            let has_small = name.bytes().any(|byte| byte.is_ascii_lowercase());
            if is_command_begin || !has_small {
                shown.push_str(name);
                shown.push_str("=…");
                rest = &behind[value_bytes(behind, outer)..];
                is_word_begin = false;
                continue;
            }
        }
        match letter {
            ';' | '&' | '|' | '(' | '`' => (is_word_begin, is_command_begin) = (true, true),
            '\'' | '"' => {
                outer = if outer == Some(letter) { None } else { outer.or(Some(letter)) };
                // What stands in quotes may be a command for a shell.
                is_command_begin |= is_word_begin;
                is_word_begin = true;
            }
            letter if letter.is_whitespace() => is_word_begin = true,
            _ if is_word_begin => {
                let word =
                    rest.split(|letter: char| letter.is_whitespace() || "\"';".contains(letter)).next().unwrap_or(rest);
                let is_before_assignments = ["env", "export", "set"].contains(&word.rsplit('/').next().unwrap_or(word));
                (is_word_begin, is_command_begin) = (false, is_before_assignments);
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

/// Splits `NAME=` from what is behind it.
fn assignment(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.split_once('=')?;
    let is_name = !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, behind))
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
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(shown(&"é".repeat(5000)).chars().count(), COMMAND_CHARS_MAX + 1);
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
