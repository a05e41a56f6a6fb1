//! The parser.

use std::mem;

use regex_syntax::hir::ClassUnicode;

use super::class::{self, Classes};
use super::cursor::Cursor;
use super::limits::{Kind, Measure, Series};
use super::{Assertion, Expression, Piece, SyntaxError};

/// Maximum count in a counted repetition.
const REPEAT_MAX: u32 = 1000;
/// Maximum number of character ranges in all classes together. Compiling takes hundreds of bytes for each.
const RANGES_MAX: usize = 200_000;

pub(super) fn parse(text: &str) -> Result<Expression, SyntaxError> {
    let mut parser = Parser::new(text);
    parser.read_all()?;
    let Parser { pieces, capturing, repeats_assertion, .. } = parser;
    Ok(Expression { pieces, capturing, repeats_assertion })
}

/// The flags of `(?imsU)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_all: bool,
    lazy: bool,
}

/// An open group, or the whole expression.
#[derive(Debug)]
struct Group {
    /// Position of its parenthesis.
    start: usize,
    captures: bool,
    /// The flags before the group.
    flags: Flags,
    alternatives: Series,
    sequence: Series,
    /// The item that a repetition would apply to. Not yet in `sequence`.
    last: Option<Measure>,
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    flags: Flags,
    pieces: Vec<Piece>,
    capturing: Vec<usize>,
    group: Group,
    outer: Vec<Group>,
    classes: Classes<'t>,
    ranges: usize,
    repeats_assertion: bool,
}

impl Group {
    fn new(start: usize, captures: bool, flags: Flags) -> Group {
        let alternatives = Series::new(Kind::Alternatives);
        Group { start, captures, flags, alternatives, sequence: Series::new(Kind::Sequence), last: None }
    }

    fn add(&mut self, item: Measure) {
        if let Some(last) = self.last.replace(item) {
            self.sequence.add(last);
        }
    }

    fn end_alternative(&mut self) {
        if let Some(last) = self.last.take() {
            self.sequence.add(last);
        }
        let sequence = mem::replace(&mut self.sequence, Series::new(Kind::Sequence));
        self.alternatives.add(sequence.finish());
    }

    fn finish(mut self) -> Measure {
        self.end_alternative();
        let whole = self.alternatives.finish();
        if self.captures { whole.captured() } else { whole }
    }
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Parser<'t> {
        let flags = Flags::default();
        Parser {
            cursor: Cursor::new(text),
            flags,
            pieces: Vec::new(),
            capturing: Vec::new(),
            group: Group::new(0, false, flags),
            outer: Vec::new(),
            classes: Classes::new(text),
            ranges: 0,
            repeats_assertion: false,
        }
    }

    fn read_all(&mut self) -> Result<(), SyntaxError> {
        // Start of the repetition that was just parsed.
        let mut repetition = None;
        while let Some(next) = self.cursor.peek() {
            let start = self.cursor.at();
            let Some((min, max)) = self.repetition(next)? else {
                repetition = None;
                self.item(next)?;
                continue;
            };
            let lazy = self.cursor.eat("?") != self.flags.lazy;
            if let Some(first) = repetition.replace(start) {
                return Err(SyntaxError::new("invalid nested repetition operator", self.cursor.since(first)));
            }
            self.repeat(start, min, max)?;
            self.pieces.push(Piece::Repeat { min, max, lazy });
        }
        if !self.outer.is_empty() {
            return Err(SyntaxError::new("missing closing )", self.cursor.text_from(self.group.start)));
        }
        let whole = Group::new(0, false, self.flags);
        let whole = mem::replace(&mut self.group, whole).finish();
        self.check(&whole)
    }

    /// Parses a repetition, if one comes next, without the `?` after it.
    fn repetition(&mut self, next: char) -> Result<Option<(u32, Option<u32>)>, SyntaxError> {
        let start = self.cursor.at();
        let (min, max) = match next {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            _ => {
                let Some((min, max)) = self.cursor.braces() else { return Ok(None) };
                if min > max.unwrap_or(REPEAT_MAX) || max.is_some_and(|max| max > REPEAT_MAX) {
                    return Err(SyntaxError::new("invalid repeat count", self.cursor.since(start)));
                }
                return Ok(Some((min, max)));
            }
        };
        self.cursor.bump();
        Ok(Some((min, max)))
    }

    fn repeat(&mut self, start: usize, min: u32, max: Option<u32>) -> Result<(), SyntaxError> {
        let Some(last) = self.group.last else {
            return Err(SyntaxError::new("missing argument to repetition operator", self.cursor.since(start)));
        };
        let repeated = last.repeated(min, max);
        if repeated.is_repeated_too_often() {
            return Err(SyntaxError::new("invalid repeat count", self.cursor.since(start)));
        }
        self.check(&repeated)?;
        self.repeats_assertion |= min > 1 && last.asserts;
        self.group.last = Some(repeated);
        Ok(())
    }

    fn item(&mut self, next: char) -> Result<(), SyntaxError> {
        match next {
            '\\' => self.backslash(),
            '[' => {
                let class = class::bracketed(&mut self.cursor, &mut self.classes, self.flags.ignore_case)?;
                self.add_class(class)
            }
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.cursor.bump();
                self.group.end_alternative();
                self.pieces.push(Piece::Or);
                Ok(())
            }
            '^' => {
                self.bump_and_assert(if self.flags.multi_line { Assertion::LineStart } else { Assertion::TextStart })
            }
            '$' => self.bump_and_assert(if self.flags.multi_line { Assertion::LineEnd } else { Assertion::TextEnd }),
            '.' => {
                self.cursor.bump();
                self.add_class(class::any(self.flags.dot_all))
            }
            literal => {
                self.cursor.bump();
                self.add_literal(u32::from(literal))
            }
        }
    }

    /// Parses an item that begins with a backslash.
    fn backslash(&mut self) -> Result<(), SyntaxError> {
        let mut ahead = self.cursor.clone();
        ahead.bump();
        let assertion = match ahead.bump() {
            Some('A') => Assertion::TextStart,
            Some('z') => Assertion::TextEnd,
            Some('b') => Assertion::WordBoundary,
            Some('B') => Assertion::NoWordBoundary,
            Some('Q') => {
                self.cursor = ahead;
                return self.quotation();
            }
            _ => {
                let group = class::escaped(&mut self.cursor, &mut self.classes, self.flags.ignore_case)?;
                return match group {
                    Some(class) => self.add_class(class),
                    None => {
                        let code = self.cursor.escape()?;
                        self.add_literal(code)
                    }
                };
            }
        };
        self.cursor.bump();
        self.bump_and_assert(assertion)
    }

    /// Parses the literals of `\Q...\E`, after the `\Q`.
    fn quotation(&mut self) -> Result<(), SyntaxError> {
        let quoted = match self.cursor.eat_through(r"\E") {
            Some(quoted) => quoted,
            None => self.cursor.eat_rest(),
        };
        quoted.chars().try_for_each(|literal| self.add_literal(u32::from(literal)))
    }

    fn bump_and_assert(&mut self, assertion: Assertion) -> Result<(), SyntaxError> {
        self.cursor.bump();
        self.group.add(Measure::leaf(true));
        self.pieces.push(Piece::Assertion(assertion));
        Ok(())
    }

    fn add_literal(&mut self, code: u32) -> Result<(), SyntaxError> {
        let class = class::of(code, self.flags.ignore_case)?;
        self.add_class(class)
    }

    fn add_class(&mut self, class: ClassUnicode) -> Result<(), SyntaxError> {
        self.group.add(Measure::leaf(false));
        if let [only] = class.ranges()
            && only.start() == only.end()
        {
            self.pieces.push(Piece::Literal(only.start()));
            return Ok(());
        }
        self.ranges += class.ranges().len();
        if self.ranges > RANGES_MAX {
            return Err(SyntaxError::new("expression too large", self.cursor.text_from(0)));
        }
        self.pieces.push(Piece::Class(class));
        Ok(())
    }

    /// Opens a group, or parses flags for the rest of the current one.
    fn open(&mut self) -> Result<(), SyntaxError> {
        let start = self.cursor.at();
        self.cursor.bump();
        let (captures, inside) = if !self.cursor.rest().starts_with('?') {
            (true, self.flags)
        } else if self.cursor.eat("?P<") || self.cursor.eat("?<") {
            // Without an end, the error cites all of the rest.
            let name = self.cursor.eat_through(">").unwrap_or_else(|| self.cursor.eat_rest());
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_word) {
                return Err(SyntaxError::new("invalid named capture", self.cursor.since(start)));
            }
            (true, self.flags)
        } else {
            self.cursor.bump();
            match self.flag_list() {
                Some((flags, ':')) => (false, flags),
                Some((flags, _)) => {
                    self.flags = flags;
                    return Ok(());
                }
                None => return Err(SyntaxError::new("invalid or unsupported Perl syntax", self.cursor.since(start))),
            }
        };
        let group = Group::new(start, captures, self.flags);
        self.outer.push(mem::replace(&mut self.group, group));
        self.flags = inside;
        if captures {
            self.capturing.push(self.pieces.len());
        }
        self.pieces.push(Piece::Open);
        Ok(())
    }

    /// Parses flags up to `:` or `)`, and returns which of them it was. `None` if malformed.
    fn flag_list(&mut self) -> Option<(Flags, char)> {
        let mut flags = self.flags;
        let mut value = true;
        // Whether a flag must still follow.
        let mut needs_flag = false;
        loop {
            let flag = match self.cursor.bump()? {
                'i' => &mut flags.ignore_case,
                'm' => &mut flags.multi_line,
                's' => &mut flags.dot_all,
                'U' => &mut flags.lazy,
                '-' if value => {
                    (value, needs_flag) = (false, true);
                    continue;
                }
                end @ (':' | ')') if !needs_flag => return Some((flags, end)),
                _ => return None,
            };
            *flag = value;
            needs_flag = false;
        }
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        self.cursor.bump();
        let Some(outer) = self.outer.pop() else {
            return Err(SyntaxError::new("unexpected )", self.cursor.since(0)));
        };
        let group = mem::replace(&mut self.group, outer);
        self.flags = group.flags;
        let whole = group.finish();
        self.check(&whole)?;
        self.group.add(whole);
        self.pieces.push(Piece::Close);
        Ok(())
    }

    fn check(&self, measure: &Measure) -> Result<(), SyntaxError> {
        if measure.is_too_deep() {
            return Err(SyntaxError::new("expression nests too deeply", self.cursor.text_from(0)));
        }
        if measure.is_too_large() {
            return Err(SyntaxError::new("expression too large", self.cursor.text_from(0)));
        }
        Ok(())
    }
}
