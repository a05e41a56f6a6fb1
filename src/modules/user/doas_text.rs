//! The grammar of doas.conf(5): from text to rules.

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its first line.
    pub(super) line: usize,
    /// It permits; else it denies.
    pub(super) permits: bool,
    /// No password is asked for.
    pub(super) nopass: bool,
    /// For whom: a user, or a group behind a colon.
    pub(super) identity: String,
    /// As whom; none is anybody.
    pub(super) target: Option<String>,
    /// What; none is anything.
    pub(super) command: Option<String>,
    /// With which arguments; none is any. Never shown.
    pub(super) arguments: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word that may be one of the grammar's.
    Bare(String),
    /// A word with quotes or backslashes, which is none of the grammar's.
    Quoted(String),
    Brace(char),
}

/// What a name may only be in quotes.
const KEYWORDS: [&str; 10] = ["permit", "deny", "nopass", "persist", "nolog", "keepenv", "setenv", "as", "cmd", "args"];

/// Reads a file: rules, and lines that are none with the reason.
pub(super) fn rules(text: &str) -> Vec<Result<Rule, (usize, &'static str)>> {
    let lines = lines(text).into_iter();
    lines.map(|(line, tokens)| tokens.and_then(|tokens| rule(line, tokens)).map_err(|reason| (line, reason))).collect()
}

/// A line's number, and its words or why there are none.
type Line = (usize, Result<Vec<Token>, &'static str>);

/// Splits a text into lines, and each into words. Behind a backslash a line goes on.
fn lines(text: &str) -> Vec<Line> {
    let (mut lines, mut number, mut letters): (Vec<Line>, usize, _) = (Vec::new(), 1, text.chars().peekable());
    let mut tokens = Vec::new();
    let mut begun = number;
    loop {
        match letters.next() {
            end @ (None | Some('\n')) => {
                if !tokens.is_empty() {
                    lines.push((begun, Ok(std::mem::take(&mut tokens))));
                }
                if end.is_none() {
                    return lines;
                }
                number += 1;
                begun = number;
            }
            Some(' ' | '\t') => {}
            // A comment ends with its line, whatever stands at its end.
            Some('#') => while letters.next_if(|letter| *letter != '\n').is_some() {},
            Some(brace @ ('{' | '}')) => tokens.push(Token::Brace(brace)),
            Some('\\') if letters.next_if_eq(&'\n').is_some() => number += 1,
            Some(first) => match word(first, &mut letters, &mut number) {
                Ok(token) => tokens.push(token),
                Err(reason) => {
                    while letters.next_if(|letter| *letter != '\n').is_some() {}
                    tokens.clear();
                    lines.push((begun, Err(reason)));
                }
            },
        }
    }
}

/// The word that begins with a letter.
fn word(
    first: char,
    letters: &mut std::iter::Peekable<std::str::Chars>,
    number: &mut usize,
) -> Result<Token, &'static str> {
    let (mut word, mut is_quoted, mut is_bare) = (String::new(), false, true);
    let mut next = Some(first);
    while let Some(letter) = next {
        match letter {
            '\\' => {
                is_bare = false;
                match letters.next() {
                    Some('\n') => *number += 1,
                    Some(letter) => word.push(letter),
                    None => return Err("nothing stands behind a backslash"),
                }
            }
            '"' => (is_bare, is_quoted) = (false, !is_quoted),
            letter => word.push(letter),
        }
        next = letters.next_if(|letter| match letter {
            '\n' => false,
            ' ' | '\t' | '#' | '{' | '}' => is_quoted,
            _ => true,
        });
    }
    match (is_quoted, is_bare) {
        (true, _) => Err("a quote has no end"),
        (_, true) => Ok(Token::Bare(word)),
        (_, false) => Ok(Token::Quoted(word)),
    }
}

/// The words of a line that are not read yet.
struct Words(std::iter::Peekable<std::vec::IntoIter<Token>>);

impl Words {
    /// Takes a word of the grammar, if one of these is next.
    fn keyword(&mut self, words: &[&str]) -> Option<String> {
        let is_it = |token: &Token| matches!(token, Token::Bare(word) if words.contains(&word.as_str()));
        match self.0.next_if(is_it) {
            Some(Token::Bare(word)) => Some(word),
            _ => None,
        }
    }

    /// Takes a name.
    fn name(&mut self) -> Option<String> {
        match self.0.next() {
            Some(Token::Bare(word)) if !KEYWORDS.contains(&word.as_str()) => Some(word),
            Some(Token::Quoted(word)) => Some(word),
            _ => None,
        }
    }

    /// Takes what is behind a word of the grammar, if that is next.
    fn behind(&mut self, keyword: &str) -> Result<Option<String>, &'static str> {
        match self.keyword(&[keyword]) {
            Some(_) => self.name().map(Some).ok_or("a name is missing"),
            None => Ok(None),
        }
    }
}

/// `permit [options] identity [as target] [cmd command [args …]]`.
fn rule(line: usize, tokens: Vec<Token>) -> Result<Rule, &'static str> {
    let mut words = Words(tokens.into_iter().peekable());
    let action = words.keyword(&["permit", "deny"]).ok_or("it begins with neither permit nor deny")?;
    let permits = action == "permit";
    let options: &[&str] = if permits { &["nopass", "persist", "nolog", "keepenv", "setenv"] } else { &[] };
    let (mut nopass, mut persist) = (false, false);
    while let Some(option) = words.keyword(options) {
        nopass |= option == "nopass";
        persist |= option == "persist";
        // What is in the braces may be private.
        let is_begun = option != "setenv" || words.0.next_if_eq(&Token::Brace('{')).is_some();
        if !is_begun || option == "setenv" && !words.0.any(|token| token == Token::Brace('}')) {
            return Err("setenv has no variables in braces");
        }
    }
    if nopass && persist {
        return Err("nopass and persist exclude each other");
    }
    let identity = words.name().ok_or("it does not say for whom it is")?;
    let target = words.behind("as")?;
    let command = words.behind("cmd")?;
    let arguments = command.as_ref().and_then(|_| words.keyword(&["args"])).map(|_| {
        let mut arguments = Vec::new();
        while let Some(Token::Bare(word) | Token::Quoted(word)) =
            words.0.next_if(|token| !matches!(token, Token::Brace(_)))
        {
            arguments.push(word);
        }
        arguments
    });
    match words.0.next() {
        None => Ok(Rule { line, permits, nopass, identity, target, command, arguments }),
        Some(_) => Err("something stands behind its end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules as short texts: `line+ identity>target command arguments`.
    fn texts(text: &str) -> Vec<String> {
        let text_of = |rule: Result<Rule, (usize, &str)>| match rule {
            Err((line, reason)) => format!("{line}: {reason}"),
            Ok(rule) => {
                let Rule { line, permits, nopass, identity, target, command, arguments } = rule;
                let sign = [["-", "-"], ["+", "++"]][usize::from(permits)][usize::from(nopass)];
                let arguments = arguments.map_or_else(String::new, |list| format!(" {list:?}"));
                format!(
                    "{line}{sign}{identity}>{} {}{arguments}",
                    target.unwrap_or_default(),
                    command.unwrap_or_default()
                )
            }
        };
        rules(text).into_iter().map(text_of).collect()
    }

    #[test]
    fn rules_are_read_as_doas_reads_them() {
        for (text, expected) in [
            ("permit :wheel", &["1+:wheel> "][..]),
            ("# c \\\npermit nopass keepenv joe as root cmd /bin/ls # x", &["2++joe>root /bin/ls"]),
            (
                "permit keepenv setenv { -A B=\"c d\" $E } joe\n\n deny joe as x cmd y args",
                &["1+joe> ", "3-joe>x y []"],
            ),
            (
                "permit nolog joe cmd a args b \\\n \"c d\" e\\ f\npermit k",
                &["1+joe> a [\"b\", \"c d\", \"e f\"]", "3+k> "],
            ),
            ("permit \"nopass\" as \\as\npermit a\"b c\"d", &["1+nopass>as ", "2+ab cd> "]),
            ("permit jo\\\ne#c\npermit x", &["1+joe> ", "3+x> "]),
            ("\t\n\n", &[]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
        for (text, reason) in [
            ("allow joe", "1: it begins with neither permit nor deny"),
            ("\"permit\" joe", "1: it begins with neither permit nor deny"),
            ("permit", "1: it does not say for whom it is"),
            ("permit nopass", "1: it does not say for whom it is"),
            ("permit nopass persist joe", "1: nopass and persist exclude each other"),
            ("permit persist permit", "1: it does not say for whom it is"),
            ("permit joe permit joe", "1: something stands behind its end"),
            ("permit as root", "1: it does not say for whom it is"),
            ("deny nopass joe", "1: it does not say for whom it is"),
            ("permit joe as", "1: a name is missing"),
            ("permit joe cmd", "1: a name is missing"),
            ("permit joe args x", "1: something stands behind its end"),
            ("permit setenv joe", "1: setenv has no variables in braces"),
            ("permit setenv { A", "1: setenv has no variables in braces"),
            ("permit joe cmd a args }", "1: something stands behind its end"),
            ("permit \"joe", "1: a quote has no end"),
        ] {
            assert_eq!(texts(&format!("{text}\npermit k"))[0], reason, "{text}");
        }
        assert_eq!(texts("permit joe\\"), ["1: nothing stands behind a backslash"]);
        assert_eq!(texts("permit \"joe\npermit k"), ["1: a quote has no end", "2+k> "]);
    }
}
