//! From words and signs to statements.

use super::words::Token;
use super::{Defaults, Grant, Item, RunAs, Statement};
use std::collections::HashMap;
use std::rc::Rc;

/// A line that is being read.
pub(super) struct Line {
    tokens: Vec<Token>,
    at: usize,
}

impl Line {
    /// One of which nothing is read yet.
    pub(super) fn new(tokens: Vec<Token>) -> Line {
        Line { tokens, at: 0 }
    }

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

    /// `Defaults…`: of all that it may say only `!authenticate`, `exempt_group` and `runas_default` are rights.
    pub(super) fn defaults(&mut self, first: &str) -> Result<Statement, &'static str> {
        let is_it = |pair: &[Token]| pair == [Token::Sign('!'), Token::Word("authenticate".into())];
        let is_without = self.tokens.windows(2).any(is_it);
        let (exempt_group, runas_default) = (self.value_of("exempt_group")?, self.value_of("runas_default")?);
        let has_values = exempt_group.is_some() || runas_default.is_some();
        if !is_without && !has_values {
            return Ok(Statement::Nothing);
        }
        if has_values && first != "Defaults" {
            return Err("exempt_group or runas_default for some only");
        }
        self.at = 1;
        let users = match first.as_bytes().get("Defaults".len()) {
            None => vec![Item { is_negated: false, word: "ALL".into() }],
            Some(b':') if self.sign(':') => self.list()?,
            Some(_) => return Err("!authenticate for a host, a command or a user to become"),
        };
        let without_password = is_without.then_some(users);
        Ok(Statement::Defaults(Defaults { without_password, exempt_group, runas_default }))
    }

    /// The last value of a setting in a line of defaults.
    fn value_of(&self, name: &str) -> Result<Option<String>, &'static str> {
        let is_it = |token: &Token| matches!(token, Token::Word(word) if word == name);
        let Some(at) = self.tokens.iter().rposition(is_it) else { return Ok(None) };
        match (&self.tokens[..at], &self.tokens[at + 1..]) {
            ([.., Token::Sign('!')], _) => Err("exempt_group or runas_default is negated"),
            (_, [Token::Sign('='), Token::Word(value), ..]) => Ok(Some(value.clone())),
            _ => Err("exempt_group or runas_default has no value"),
        }
    }

    /// `User_Alias NAME = list : NAME = list`.
    pub(super) fn aliases(&mut self, known: &mut HashMap<String, Vec<Item>>) -> Result<Statement, &'static str> {
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
    pub(super) fn rules(&mut self) -> Result<Statement, &'static str> {
        let users = Rc::new(self.list()?);
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
        let (mut run_as, mut nopasswd) = (None, None);
        let mut grants: Vec<Grant> = Vec::new();
        loop {
            if self.sign('(') {
                run_as = Some(Rc::new(self.run_as()?));
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
    fn run_as(&mut self) -> Result<RunAs, &'static str> {
        let mut lists = [Vec::new(), Vec::new()];
        let is_next = |line: &Line| !matches!(line.tokens.get(line.at), Some(Token::Sign(':' | ')')));
        for (index, list) in lists.iter_mut().enumerate() {
            if (index == 0 || self.sign(':')) && is_next(self) {
                *list = self.list()?;
            }
        }
        let [users, groups] = lists;
        if self.sign(')') { Ok(RunAs { users, groups }) } else { Err("a bracket has no end") }
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
