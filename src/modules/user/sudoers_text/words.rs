//! From text to lines, and from a line to words and signs.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a path, a number: anything else.
    Word(String),
    /// What stands between words, or in front of one.
    Sign(char),
}

/// The lines of a file with their numbers: continued ones are one. A comment ends with its own line, and so do the lines before it
/// that it continues.
pub(in super::super) fn statements(bytes: &[u8]) -> Vec<(usize, String)> {
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

/// Splits a line into words and signs. Behind a backslash and in quotes a sign is a part of a word.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, &'static str> {
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
