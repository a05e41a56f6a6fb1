//! The grammar of sudoers(5): from text to statements.

use std::collections::HashMap;

/// A word of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Excluded: there is a `!` in front.
    pub(super) is_negated: bool,
    /// A user, a host, a command, an alias.
    pub(super) word: String,
}

impl Item {
    /// As it was written.
    pub(super) fn text(&self) -> String {
        format!("{}{}", if self.is_negated { "!" } else { "" }, self.word)
    }
}

/// Commands that may be run in the same way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// As whom: `root`, `ALL:ALL`, `:adm`.
    pub(super) run_as: String,
    /// Without a password; none if it does not say so.
    pub(super) nopasswd: Option<bool>,
    /// What.
    pub(super) commands: Vec<Item>,
}

/// Names for lists.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// `User_Alias`.
    pub(super) users: HashMap<String, Vec<Item>>,
    /// `Cmnd_Alias`.
    pub(super) commands: HashMap<String, Vec<Item>>,
}

/// Users, hosts, and what they may do there.
pub(super) type Rule = (Vec<Item>, Vec<Item>, Vec<Grant>);

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// Nothing on who may do what.
    Nothing,
    /// Rules.
    Rules(Vec<Rule>),
    /// These need no password: `Defaults !authenticate`.
    WithoutPassword(Vec<Item>),
    /// Those in this group need none either, whatever a rule says: `Defaults exempt_group=name`.
    ExemptGroup(String),
    /// Another file.
    Include(String),
    /// All files in a directory.
    IncludeDirectory(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(char),
}

/// The lines of a file with their numbers: continued ones are one. A comment ends with its own line, and so do the lines before it
/// that it continues.
pub(super) fn statements(bytes: &[u8]) -> Vec<(usize, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (mut statements, mut begun): (Vec<(usize, String)>, bool) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let goes_on = line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 && !has_comment(line);
        let part = if goes_on { &line[..line.len() - 1] } else { line };
        match statements.last_mut() {
            Some((_, statement)) if begun && !line.starts_with("#include") => statement.push_str(part),
            _ => statements.push((index + 1, part.to_owned())),
        }
        begun = goes_on;
    }
    statements
}

/// Whether a line ends in a comment, or in what begins like one: `#include`.
fn has_comment(line: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.char_indices().any(|(at, letter)| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '#' => return !is_quoted && is_comment(&line[at + 1..]),
            _ => {}
        }
        false
    })
}

/// Whether a `#` with this behind it begins a comment: #1000 and #-1 are users.
fn is_comment(behind: &str) -> bool {
    !behind.strip_prefix('-').unwrap_or(behind).starts_with(|letter: char| letter.is_ascii_digit())
}

/// Reads a line; aliases are added to those that are known.
pub(super) fn parse(line: &str, aliases: &mut Aliases) -> Result<Statement, &'static str> {
    let line = line.trim();
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let path = || rest.trim().trim_matches('"').replace("\\ ", " ");
    match first {
        "@include" | "#include" => return Ok(Statement::Include(path())),
        "@includedir" | "#includedir" => return Ok(Statement::IncludeDirectory(path())),
        _ => {}
    }
    let mut line = Line { tokens: tokens(line)?, at: 0 };
    match first {
        _ if line.tokens.is_empty() => Ok(Statement::Nothing),
        _ if first.starts_with("Defaults") => line.defaults(first),
        "User_Alias" => line.aliases(&mut aliases.users),
        "Cmnd_Alias" | "Cmd_Alias" => line.aliases(&mut aliases.commands),
        "Runas_Alias" | "Host_Alias" => Ok(Statement::Nothing),
        _ => line.rules(),
    }
}

/// Splits a line into words and signs. Behind a backslash and in quotes a sign is a part of a word.
fn tokens(line: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        // A regular expression as a command may have brackets.
        let is_expression = word.as_ref().is_some_and(|word| word.starts_with('^'));
        match letter {
            '\\' => word.get_or_insert_default().extend(letters.next()),
            '"' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => return Err("a quote has no end"),
                        Some('"') => break,
                        Some('\\') => quoted.extend(letters.next()),
                        Some(letter) => quoted.push(letter),
                    }
                }
            }
            '#' if is_comment(letters.as_str()) => break,
            '!' if word.is_none() => tokens.push(Token::Sign('!')),
            '%' if word.is_none() && letters.as_str().starts_with(':') => {
                letters.next();
                word = Some("%:".to_owned());
            }
            '(' | ')' if is_expression => word.get_or_insert_default().push(letter),
            ',' | '=' | ':' | '(' | ')' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Sign(letter));
            }
            letter if letter.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

struct Line {
    tokens: Vec<Token>,
    at: usize,
}

impl Line {
    /// Takes a sign, if it is next.
    fn sign(&mut self, sign: char) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes a word, if it is next.
    fn word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else { return None };
        self.at += 1;
        Some(word.clone())
    }

    /// Takes a word and the sign behind it, if both are next, and the word is one of these.
    fn word_with(&mut self, words: &[&str], sign: char) -> Option<String> {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else { return None };
        if !words.contains(&word.as_str()) || self.tokens.get(self.at + 1) != Some(&Token::Sign(sign)) {
            return None;
        }
        let word = word.clone();
        self.at += 2;
        Some(word)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    fn item(&mut self) -> Result<Item, &'static str> {
        let mut is_negated = false;
        while self.sign('!') {
            is_negated = !is_negated;
        }
        let word = self.word().ok_or("a word is missing")?;
        Ok(Item { is_negated, word })
    }

    /// Words with commas between them.
    fn list(&mut self) -> Result<Vec<Item>, &'static str> {
        let mut list = vec![self.item()?];
        while self.sign(',') {
            list.push(self.item()?);
        }
        Ok(list)
    }

    /// `Defaults…`: of all that it may say only `!authenticate` and `exempt_group` are rights.
    fn defaults(&mut self, first: &str) -> Result<Statement, &'static str> {
        let is_it = |pair: &[Token]| pair == [Token::Sign('!'), Token::Word("authenticate".into())];
        let is_without = self.tokens.windows(2).any(is_it);
        let exempt = self.tokens.iter().rposition(|token| *token == Token::Word("exempt_group".into()));
        match exempt.map(|at| (at, &self.tokens[at + 1..])) {
            None if !is_without => return Ok(Statement::Nothing),
            None => {}
            Some((at, [Token::Sign('='), Token::Word(group), ..]))
                if !is_without && first == "Defaults" && self.tokens[at - 1] != Token::Sign('!') =>
            {
                return Ok(Statement::ExemptGroup(group.clone()));
            }
            Some(_) => return Err("exempt_group beside !authenticate, for some only, or without a group"),
        }
        self.at = 1;
        match first.as_bytes().get("Defaults".len()) {
            None => Ok(Statement::WithoutPassword(vec![Item { is_negated: false, word: "ALL".into() }])),
            Some(b':') if self.sign(':') => Ok(Statement::WithoutPassword(self.list()?)),
            Some(_) => Err("!authenticate for a host, a command or a user to become"),
        }
    }

    /// `User_Alias NAME = list : NAME = list`.
    fn aliases(&mut self, known: &mut HashMap<String, Vec<Item>>) -> Result<Statement, &'static str> {
        self.at = 1;
        loop {
            let name = self.word().ok_or("the name of an alias is missing")?;
            if !self.sign('=') {
                return Err("an alias has no =");
            }
            let mut list = Vec::new();
            loop {
                self.digests()?;
                list.push(self.command()?);
                if !self.sign(',') {
                    break;
                }
            }
            known.insert(name, list);
            if !self.sign(':') {
                break;
            }
        }
        if self.is_at_end() { Ok(Statement::Nothing) } else { Err("something stands behind the last alias") }
    }

    /// `users hosts = commands : hosts = commands`.
    fn rules(&mut self) -> Result<Statement, &'static str> {
        let users = self.list()?;
        let mut rules = Vec::new();
        loop {
            let hosts = self.list()?;
            if !self.sign('=') {
                return Err("a rule has no =");
            }
            rules.push((users.clone(), hosts, self.grants()?));
            if !self.sign(':') {
                break;
            }
        }
        if self.is_at_end() { Ok(Statement::Rules(rules)) } else { Err("something stands behind the last command") }
    }

    /// `(as) TAG: command, command`: what stands in front of one holds for the next ones too.
    fn grants(&mut self) -> Result<Vec<Grant>, &'static str> {
        const TAGS: [&str; 16] = [
            "PASSWD",
            "NOPASSWD",
            "EXEC",
            "NOEXEC",
            "SETENV",
            "NOSETENV",
            "LOG_INPUT",
            "NOLOG_INPUT",
            "LOG_OUTPUT",
            "NOLOG_OUTPUT",
            "MAIL",
            "NOMAIL",
            "FOLLOW",
            "NOFOLLOW",
            "INTERCEPT",
            "NOINTERCEPT",
        ];
        const OPTIONS: [&str; 10] = [
            "ROLE",
            "TYPE",
            "APPARMOR_PROFILE",
            "PRIVS",
            "LIMITPRIVS",
            "NOTBEFORE",
            "NOTAFTER",
            "CWD",
            "CHROOT",
            "TIMEOUT",
        ];
        let (mut run_as, mut nopasswd) = ("root".to_owned(), None);
        let mut grants: Vec<Grant> = Vec::new();
        loop {
            if self.sign('(') {
                run_as = self.run_as()?;
            }
            while self.word_with(&OPTIONS, '=').is_some() {
                self.word().ok_or("an option has no value")?;
            }
            while let Some(tag) = self.word_with(&TAGS, ':') {
                match tag.as_str() {
                    "NOPASSWD" => nopasswd = Some(true),
                    "PASSWD" => nopasswd = Some(false),
                    _ => {}
                }
            }
            self.digests()?;
            let command = self.command()?;
            match grants.last_mut().filter(|grant| grant.run_as == run_as && grant.nopasswd == nopasswd) {
                Some(grant) => grant.commands.push(command),
                None => grants.push(Grant { run_as: run_as.clone(), nopasswd, commands: vec![command] }),
            }
            if !self.sign(',') {
                return Ok(grants);
            }
        }
    }

    /// `users:groups)`, either of which may be missing.
    fn run_as(&mut self) -> Result<String, &'static str> {
        let mut text = String::new();
        loop {
            match self.tokens.get(self.at) {
                None => return Err("a bracket has no end"),
                Some(Token::Sign(')')) => break,
                Some(Token::Sign(sign)) => text.push(*sign),
                Some(Token::Word(word)) => text.push_str(word),
            }
            self.at += 1;
        }
        self.at += 1;
        // Nothing in the brackets: only as oneself.
        Ok(text)
    }

    /// `sha256:digest, sha512:digest` in front of a command.
    fn digests(&mut self) -> Result<(), &'static str> {
        const KINDS: [&str; 4] = ["sha224", "sha256", "sha384", "sha512"];
        while self.word_with(&KINDS, ':').is_some() {
            self.word().ok_or("a digest is missing")?;
            // What base64 has at its end.
            while self.sign('=') {}
            self.sign(',');
        }
        Ok(())
    }

    /// A command, without its arguments.
    fn command(&mut self) -> Result<Item, &'static str> {
        let item = self.item()?;
        while let Some(Token::Word(_) | Token::Sign('=' | '!' | '(' | ')')) = self.tokens.get(self.at) {
            self.at += 1;
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of a line: `users hosts (as) nopasswd commands`.
    fn rules(line: &str) -> Result<Vec<String>, &'static str> {
        let Statement::Rules(rules) = parse(line, &mut Aliases::default())? else { return Ok(vec![]) };
        let join = |list: &[Item]| list.iter().map(Item::text).collect::<Vec<_>>().join(",");
        let of = |(users, hosts, grants): &Rule| {
            let grant = |grant: &Grant| format!("({}) {:?} {}", grant.run_as, grant.nopasswd, join(&grant.commands));
            let grants: Vec<String> = grants.iter().map(grant).collect();
            format!("{} {} {}", join(users), join(hosts), grants.join("; "))
        };
        Ok(rules.iter().map(of).collect())
    }

    #[test]
    fn rules_are_read_as_sudo_reads_them() {
        for (line, expected) in [
            ("root ALL=(ALL:ALL) ALL", &["root ALL (ALL:ALL) None ALL"][..]),
            ("%sudo\tALL = ALL # all", &["%sudo ALL (root) None ALL"]),
            ("#1000, !joe , %#27 ALL=NOPASSWD:/bin/ls -l \\, x=1", &["#1000,!joe,%#27 ALL (root) Some(true) /bin/ls"]),
            (
                "a h1,h2=(x) /1, NOPASSWD: SETENV: /2, (:adm) PASSWD: !/3 : h3 = ()/4",
                &["a h1,h2 (x) None /1; (x) Some(true) /2; (:adm) Some(false) !/3", "a h3 () None /4"],
            ),
            ("\"a b\" ALL=sha256:abc=, sha512:d /bin/x, TIMEOUT=5m CWD=/tmp /y", &["a b ALL (root) None /bin/x,/y"]),
            ("a\\:b ALL=^/bin/(a|b)$ ^x(y)$, sudoedit /etc/x", &["a:b ALL (root) None ^/bin/(a|b)$,sudoedit"]),
            ("%:group,+net ALL=ALL", &["%:group,+net ALL (root) None ALL"]),
            ("# comment", &[]),
            ("", &[]),
            ("Defaults env_reset, mail_badpass", &[]),
            ("Host_Alias A = b", &[]),
        ] {
            assert_eq!(rules(line).unwrap(), expected, "{line}");
        }
        for line in
            ["root", "root ALL", "root ALL=", "root ALL=(", "root ALL=ALL,", "root ALL=\"x", "= = =", "a b=c ) : ,"]
        {
            assert!(rules(line).is_err(), "{line}");
        }
    }

    #[test]
    fn other_statements_are_read() {
        let mut aliases = Aliases::default();
        let mut read = |line| parse(line, &mut aliases).unwrap();
        assert_eq!(read("@includedir /etc/sudoers.d"), Statement::IncludeDirectory("/etc/sudoers.d".into()));
        assert_eq!(read("#include /etc/a\\ b"), Statement::Include("/etc/a b".into()));
        assert_eq!(read("User_Alias A = joe, %x : B=A,!y"), Statement::Nothing);
        assert_eq!(read("Cmnd_Alias C = /bin/a secret, !/bin/b"), Statement::Nothing);
        let item = |word: &str, is_negated| Item { is_negated, word: word.into() };
        assert_eq!(read("Defaults !authenticate"), Statement::WithoutPassword(vec![item("ALL", false)]));
        let two = vec![item("a", false), item("B", false)];
        assert_eq!(read("Defaults:a,B !authenticate"), Statement::WithoutPassword(two));
        assert_eq!(aliases.users["B"], [item("A", false), item("y", true)]);
        assert_eq!(aliases.commands["C"], [item("/bin/a", false), item("/bin/b", true)]);
        assert!(parse("Defaults@host !authenticate", &mut aliases).is_err());
        let joined = statements(b"a \\\n b\\\\\nc\\\n");
        assert_eq!(joined, [(1, "a  b\\\\".into()), (3, "c".into())]);
        let exempt = parse("Defaults x, exempt_group = \"adm\"", &mut aliases);
        assert_eq!(exempt, Ok(Statement::ExemptGroup("adm".into())));
        for line in ["Defaults !exempt_group", "Defaults:a exempt_group=b", "Defaults !authenticate, exempt_group=b"] {
            assert!(parse(line, &mut aliases).is_err(), "{line}");
        }
    }

    #[test]
    fn a_comment_does_not_hide_the_next_line() {
        for (text, lines) in [
            ("# c \\\nx", &["# c \\", "x"][..]),
            ("a b=c # d \\\nx", &["a b=c # d \\", "x"]),
            ("a b=/c#d \\\nx", &["a b=/c#d \\", "x"]),
            ("a \\\n# d \\\nx", &["a # d \\", "x"]),
            ("#include /c \\\nx", &["#include /c \\", "x"]),
            ("a \\\n#include /c\nx", &["a ", "#include /c", "x"]),
            ("#1 b=c, \\\nx", &["#1 b=c, x"]),
            ("#-1 b=c, \\\nx", &["#-1 b=c, x"]),
            ("a b=\"#\" \\\nx", &["a b=\"#\" x"]),
            ("a b=\\# \\\nx", &["a b=\\# x"]),
        ] {
            let found: Vec<String> = statements(text.as_bytes()).into_iter().map(|(_, line)| line).collect();
            assert_eq!(found, lines, "{text}");
        }
        assert_eq!(rules("joe ALL=/bin/a#c").unwrap(), ["joe ALL (root) None /bin/a"]);
    }
}
