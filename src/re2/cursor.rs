//! A position in the text of an expression, and the escapes of single characters.

use super::SyntaxError;

/// A position in a text, always between two characters.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Cursor<'t> {
        Cursor { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns the remaining text.
    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Returns the text from `start`, an earlier position, to the current one.
    pub(super) fn since(&self, start: usize) -> &'t str {
        &self.text[start..self.at]
    }

    /// Returns the text from `start`, an earlier position, to the end.
    pub(super) fn text_from(&self, start: usize) -> &'t str {
        &self.text[start..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Consumes `expected` if it comes next.
    pub(super) fn eat(&mut self, expected: &str) -> bool {
        let next = self.rest().starts_with(expected);
        if next {
            self.at += expected.len();
        }
        next
    }

    /// Consumes the text up to and including `end`, and returns what is before it.
    pub(super) fn eat_through(&mut self, end: &str) -> Option<&'t str> {
        let (before, _) = self.rest().split_once(end)?;
        self.at += before.len() + end.len();
        Some(before)
    }

    pub(super) fn eat_rest(&mut self) -> &'t str {
        let rest = self.rest();
        self.at = self.text.len();
        rest
    }

    /// Parses a repetition in braces: the minimum and the maximum. Consumes nothing if it is malformed.
    pub(super) fn braces(&mut self) -> Option<(u32, Option<u32>)> {
        let mut ahead = self.clone();
        if !ahead.eat("{") {
            return None;
        }
        let min = ahead.number()?;
        let max = match (ahead.eat(","), ahead.peek()) {
            (true, Some('}')) => None,
            (true, _) => Some(ahead.number()?),
            (false, _) => Some(min),
        };
        if !ahead.eat("}") {
            return None;
        }
        *self = ahead;
        Some((min, max))
    }

    /// Parses a decimal number without leading zeros; saturates at `u32::MAX`.
    fn number(&mut self) -> Option<u32> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.bump();
        }
        match self.since(start) {
            "" => None,
            digits if digits.len() > 1 && digits.starts_with('0') => None,
            digits => Some(digits.parse().unwrap_or(u32::MAX)),
        }
    }

    /// Parses an escape of a single character, from its backslash on. Returns a code point, which may be a surrogate.
    pub(super) fn escape(&mut self) -> Result<u32, SyntaxError> {
        let start = self.at;
        self.bump();
        let Some(letter) = self.bump() else {
            return Err(SyntaxError::new("trailing backslash at end of expression", self.text_from(0)));
        };
        let code = match letter {
            '0' => Some(self.octal(0)),
            // A single digit would be a back-reference.
            '1'..='7' if self.peek().is_some_and(|c| c.is_digit(8)) => {
                letter.to_digit(8).map(|digit| self.octal(digit))
            }
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            't' => Some(0x09),
            'n' => Some(0x0A),
            'v' => Some(0x0B),
            'f' => Some(0x0C),
            'r' => Some(0x0D),
            _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => Some(u32::from(letter)),
            _ => None,
        };
        code.ok_or_else(|| SyntaxError::new("invalid escape sequence", self.since(start)))
    }

    /// Parses up to two more octal digits after `first`.
    fn octal(&mut self, first: u32) -> u32 {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.bump();
        }
        code
    }

    /// Parses two hexadecimal digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        if !self.eat("{") {
            let high = self.bump()?.to_digit(16)?;
            let low = self.bump()?.to_digit(16)?;
            return Some(high * 16 + low);
        }
        let mut code = self.bump()?.to_digit(16)?;
        loop {
            match self.bump()? {
                '}' => return Some(code),
                digit => code = code * 16 + digit.to_digit(16)?,
            }
            if code > u32::from(char::MAX) {
                return None;
            }
        }
    }
}
