//! Command lines as they are returned: bounded, and without values that are given to variables of the environment, which may
//! be private. And as they are compared: whole.

/// Characters of a command that are returned.
const COMMAND_CHARS_MAX: usize = 1_000;
/// Bytes in which the name of a variable ends, if it is in quotes or has an index: far more than people write.
const NAME_BYTES_MAX: usize = 128;

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
/// Options of any program whose value is a variable, behind a `=`.
const OF_VARIABLES: [&str; 4] = ["env", "environment", "set-env", "setenv"];
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

/// What is around a text: what reads it.
#[derive(Clone, Copy)]
struct Around {
    syntax: Syntax,
    /// The quotes in which the text is, as a command for a shell may be.
    quote: Option<char>,
    is_in_backticks: bool,
}

impl Around {
    /// Whether a shell reads the text.
    fn is_shell(self) -> bool {
        self.syntax == Syntax::Shell || self.quote.is_some()
    }

    /// The letter that what is in the quotes has at the beginning of a text, if it is written in another way, and how long it is.
    fn nested(self, text: &str) -> Option<(char, usize)> {
        let quote = self.quote?;
        if quote == '\'' && self.syntax == Syntax::Shell {
            return text.starts_with(r"'\''").then_some((quote, 4));
        }
        let letter = text.strip_prefix('\\')?.chars().next()?;
        let is_of_shell = self.syntax == Syntax::Shell && ['$', '`'].contains(&letter);
        (letter == quote || letter == '\\' || is_of_shell).then_some((letter, 2))
    }

    /// How long the letter behind a `\` is: none if the quotes end there.
    fn escaped_bytes(self, text: &str) -> usize {
        text.chars().next().filter(|letter| Some(*letter) != self.quote).map_or(0, char::len_utf8)
    }

    /// Whether systemd makes another letter of a `\` in front of a text, before a shell reads that.
    fn is_code(self, text: &str) -> bool {
        self.syntax == Syntax::Systemd && self.quote.is_some() && text.starts_with(|l: char| l.is_ascii_alphanumeric())
    }
}

/// `NAME=`, whose value is not read yet.
struct Assignment<'t> {
    /// With what is in front of it: `--env=NAME`, `"NAME`.
    name: &'t str,
    /// The name has no small letters.
    is_upper: bool,
    /// The quotes in which all of it is: `"NAME=value"`.
    quote: Option<char>,
    /// The value may be a program, or have one in it, in another way than for a shell.
    is_program: bool,
    /// The value, and what is behind it.
    behind: &'t str,
}

impl<'t> Assignment<'t> {
    /// Its value.
    fn value(&self, around: Around) -> Value<'t> {
        let inside = value(self.behind, self.quote, around);
        if self.quote.is_none() {
            return inside;
        }
        let rest = value(&self.behind[inside.bytes..], None, around);
        Value { bytes: inside.bytes + rest.bytes, run: [inside.run, rest.run].concat() }
    }
}

/// An assignment at the beginning of a text.
fn assignment(text: &str, around: Around, place: Place) -> Option<Assignment<'_>> {
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
fn option(text: &str, around: Around) -> Option<Assignment<'_>> {
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
struct Value<'t> {
    bytes: usize,
    /// Commands whose output is a part of it; all of it where shells do not agree how far it goes, or none says so.
    run: Vec<&'t str>,
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
            ("PGPASSWORD=$(echo my secret) pg_dump", "PGPASSWORD=… pg_dump"),
            ("PW=${PW:-my secret} A=`a secret` B=\"$(a \"b secret\")\" x", "PW=… A=… B=… x"),
            (r"echo it\'s; TOK='x secret' y", r"echo it\'s; TOK=… y"),
            (
                "tok+=secret; arr[0]=secret; arr[i]+=secret; list=(a 'b secret') x",
                "tok+=…; arr[0]=…; arr[i]+=…; list=… x",
            ),
            ("declare -A m=([a]=secret [b]=secret); x", "declare -A m=…; x"),
            (r#"env "A=x\" secret" 'b=\' c"#, r#"env "A=…" 'b=…' c"#),
            (r#"sh -c "A=\"x secret\" go \$B" x"#, r#"sh -c "A=… go \$B" x"#),
            (r#"sh -c "A=\$(a secret) go" x"#, r#"sh -c "A=… go" x"#),
            (r"sh -c 'A='\''x secret'\'' go' x", r"sh -c 'A=… go' x"),
            ("echo `A=secret x`; y", "echo `A=… x`; y"),
            ("A=secret>/tmp/x y", "A=…>/tmp/x y"),
            ("arr[0] x[y z", "arr[0] x[y z"),
            ("docker run --env=PW=secret1 -eTOKEN=secret2 --rm=x i", "docker run --env=PW=… -eTOKEN=… --rm=x i"),
            ("x --env=token=secret --any=t=v --any=T=secret", "x --env=token=… --any=t=v --any=T=…"),
            ("x --env=\"T=a secret\" -e'T=a secret' \"--env=T=a secret\"", "x --env=\"T=…\" -e'T=…' \"--env=T=…\""),
            (
                "systemd-run --setenv=API_KEY=secret5 -DPASS=secret -C=/x a",
                "systemd-run --setenv=API_KEY=… -DPASS=… -C=/x a",
            ),
            ("sudo --user joe token=secret6 x a=b", "sudo --user joe token=… x a=b"),
            ("sudo -E token=secret x; sudo -h a -p b t=secret x", "sudo -E token=… x; sudo -h a -p b t=… x"),
            ("declare -g token=secret; declare -r t=secret", "declare -g token=…; declare -r t=…"),
            ("case x in x) token=secret7 y", "case x in x) token=… y"),
            ("case x in (x) token=secret y", "case x in (x) token=… y"),
            ("dd $(x) if=/a $((1)) of=/b <(y) a=b", "dd $(x) if=/a $((1)) of=/b <(y) a=b"),
            ("A=${ echo my secret; } x", "A=… x"),
            ("sed -e s/a=b/c/ -Ea=b -n=5 --x.Y=5", "sed -e s/a=b/c/ -Ea=b -n=5 --x.Y=5"),
        ] {
            assert_eq!(Command::of(text, Syntax::Shell).shown(), expected, "{text}");
        }
        assert_eq!(Command::of(&"é".repeat(5000), Syntax::Shell).shown().chars().count(), COMMAND_CHARS_MAX + 1);
    }

    #[test]
    fn a_long_line_takes_no_longer_than_its_beginning() {
        let started = std::time::Instant::now();
        for word in [
            "a ",
            "A ",
            "'",
            "\"' ",
            "\"a b\"",
            "=",
            "A= ",
            "é ",
            "A=$(",
            "\"$(",
            "A=`",
            "A=${",
            "a[ ",
            "\\",
            "A='",
            "env \"=$(",
            "`A=",
            "(",
            "$'",
            "-eA=",
            "--env=",
            "--env=A=",
            "-",
            "A=${ ",
            "x a=${ ",
            "x --any=a=${ ",
            "$(",
            ")",
        ] {
            let command = Command::of(&word.repeat(500_000), Syntax::Shell);
            assert!(command.shown().len() <= 4 * COMMAND_CHARS_MAX + 8, "{word}");
            assert!(command.as_ref().len() <= 3 * word.len() * 500_000, "{word}");
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn what_runs_is_compared_wherever_it_stands() {
        for line in [
            r"A='\' EVIL | sh",
            "A=$(EVIL|sh) x",
            "A=\"$(EVIL)\"",
            "A=`EVIL`; x",
            "A=${B:-$(EVIL)} x",
            "A=\"${x:-'}\"; EVIL; echo '",
            "A='x EVIL",
            r"A=$'\'' EVIL; echo '",
            r"A=$'\' EVIL; echo '",
            "sh -c \"A='x\"; EVIL; echo '",
            "sh -c \"A='x; EVIL\"",
            "echo `A=x`; EVIL `A=y`",
            "env \"A=$(EVIL)\" x",
            "A=(x $(EVIL))",
            "A=${ EVIL; } x",
            "A=${|EVIL; } x",
            "A=\"${\tEVIL; }\" x",
            "A=${ { x; }; EVIL; } x",
            "ruby -e'A=1; system(\"EVIL\")'",
            "ruby -eA=1;EVIL",
            "ruby -eA=system('EVIL')",
            "docker run --env=A=$(EVIL) x",
            "env --split-string=\"A=x EVIL\"",
            "env \"-SA=x EVIL\"",
            "env -S'A=x EVIL'",
            "case x in x) a=$(EVIL)",
            &format!(": {}; EVIL", "a".repeat(10_000)),
            &format!("A={} EVIL", "a".repeat(10_000)),
        ] {
            assert!(Command::of(line, Syntax::Shell).as_ref().contains("EVIL"), "{line}");
        }
        assert_eq!(Command::of("A='secret' B=\"secret\" x", Syntax::Shell).as_ref(), "A=… B=… x");
    }

    #[test]
    fn lines_of_systemd_have_its_quotes() {
        for (text, expected) in [
            (r"/usr/bin/env A='\' secret' x", "/usr/bin/env A=… x"),
            ("/usr/bin/env A=$(x b=secret ;", "/usr/bin/env A=… b=… ;"),
            (r"/bin/sh -c 'A=\'x secret\' go; b=secret' y", r"/bin/sh -c 'A=… go; b=…' y"),
            ("/bin/sh -c \"A=$(a secret) go\" y", "/bin/sh -c \"A=… go\" y"),
        ] {
            assert_eq!(Command::of(text, Syntax::Systemd).shown(), expected, "{text}");
        }
        for line in [
            "/bin/sh -c 'A=$(EVIL) x'",
            r#"sh -c "A=\x24\x28EVIL\x29 true""#,
            r#"sh -c "A=\044\050EVIL\051 true""#,
            r#"sh -c "A=x\nEVIL""#,
            r#"sh -c "A='\x27\x3bEVIL""#,
            r"sh -c 'A=x\u003bEVIL'",
        ] {
            let command = Command::of(line, Syntax::Systemd);
            assert!(command.as_ref().contains("EVIL") && !command.shown().contains("EVIL"), "{line}");
        }
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
