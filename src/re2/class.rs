//! Sets of characters: bracketed classes and the escapes that stand for a set.

use std::collections::{HashMap, HashSet};

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::SyntaxError;
use super::cursor::Cursor;
use super::unicode;

type Bounds = &'static [(char, char)];

const DIGIT: Bounds = &[('0', '9')];
const WORD: Bounds = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// The names in `[:name:]`.
const POSIX: [(&str, Bounds); 14] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7F')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1F'), ('\x7F', '\x7F')]),
    ("digit", DIGIT),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// State shared by the classes of one expression.
pub(super) struct Classes<'t> {
    /// Cache by name, and by whether case is ignored.
    unicode: HashMap<(&'t str, bool), ClassUnicode>,
    /// Position of the last `:]`: after it no `[:` is closed.
    posix_end: usize,
}

impl<'t> Classes<'t> {
    pub(super) fn new(text: &'t str) -> Classes<'t> {
        Classes { unicode: HashMap::new(), posix_end: text.rfind(":]").unwrap_or_default() }
    }

    /// Returns the set of a category or script.
    fn unicode(&mut self, name: &'t str, ignore_case: bool) -> Result<Option<ClassUnicode>, SyntaxError> {
        if let Some(class) = self.unicode.get(&(name, ignore_case)) {
            return Ok(Some(class.clone()));
        }
        let Some(mut class) = unicode::class(name) else { return Ok(None) };
        if ignore_case {
            fold(&mut class)?;
        }
        self.unicode.insert((name, ignore_case), class.clone());
        Ok(Some(class))
    }
}

/// Returns the set that `.` matches.
pub(super) fn any(with_newline: bool) -> ClassUnicode {
    let mut class = ClassUnicode::empty();
    if !with_newline {
        class.push(ClassUnicodeRange::new('\n', '\n'));
    }
    class.negate();
    class
}

/// Returns the set that a literal matches; empty for a surrogate.
pub(super) fn of(code: u32, ignore_case: bool) -> Result<ClassUnicode, SyntaxError> {
    let mut class = ClassUnicode::new(range(code, code));
    if ignore_case {
        fold(&mut class)?;
    }
    Ok(class)
}

/// Parses `\d`, `\pL` and the like, if one comes next.
pub(super) fn escaped<'t>(
    cursor: &mut Cursor<'t>,
    classes: &mut Classes<'t>,
    ignore_case: bool,
) -> Result<Option<ClassUnicode>, SyntaxError> {
    let mut ahead = cursor.clone();
    if !ahead.eat("\\") {
        return Ok(None);
    }
    let Some(letter) = ahead.bump() else { return Ok(None) };
    let bounds = match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')],
        'w' => WORD,
        'p' => return unicode_group(cursor, classes, ignore_case).map(Some),
        _ => return Ok(None),
    };
    *cursor = ahead;
    group(bounds, letter.is_ascii_uppercase(), ignore_case).map(Some)
}

/// Parses `\pL`, `\p{Greek}` or `\P{^Greek}`, from the backslash on.
fn unicode_group<'t>(
    cursor: &mut Cursor<'t>,
    classes: &mut Classes<'t>,
    ignore_case: bool,
) -> Result<ClassUnicode, SyntaxError> {
    let start = cursor.at();
    let mut negated = cursor.rest().starts_with(r"\P");
    cursor.bump();
    cursor.bump();
    let mut name = if cursor.eat("{") {
        cursor.eat_through("}").unwrap_or_default()
    } else {
        let start = cursor.at();
        cursor.bump();
        cursor.since(start)
    };
    if let Some(rest) = name.strip_prefix('^') {
        negated = !negated;
        name = rest;
    }
    let Some(mut class) = classes.unicode(name, ignore_case)? else {
        return Err(SyntaxError::new("invalid character class range", cursor.since(start)));
    };
    if negated {
        class.negate();
    }
    Ok(class)
}

/// Parses a class in brackets, from the bracket on.
pub(super) fn bracketed<'t>(
    cursor: &mut Cursor<'t>,
    classes: &mut Classes<'t>,
    ignore_case: bool,
) -> Result<ClassUnicode, SyntaxError> {
    let start = cursor.at();
    cursor.bump();
    let negated = cursor.eat("^");
    let mut ranges = Vec::new();
    // The groups so far, by their text: each has hundreds of ranges, and may be repeated.
    let mut groups = HashSet::new();
    // A closing bracket that comes first is a member.
    let first = cursor.at();
    while cursor.at() == first || !cursor.eat("]") {
        let member = cursor.at();
        let group = match posix(cursor, classes, ignore_case)? {
            Some(class) => Some(class),
            None => escaped(cursor, classes, ignore_case)?,
        };
        match group {
            Some(class) if groups.insert(cursor.since(member)) => ranges.extend(class.iter().copied()),
            Some(_) => {}
            None => ranges.extend(member_range(cursor, start)?),
        }
    }
    let mut class = ClassUnicode::new(ranges);
    if ignore_case {
        fold(&mut class)?;
    }
    if negated {
        class.negate();
    }
    Ok(class)
}

/// Parses `[:alpha:]` or `[:^alpha:]`, if one comes next.
fn posix(
    cursor: &mut Cursor<'_>,
    classes: &Classes<'_>,
    ignore_case: bool,
) -> Result<Option<ClassUnicode>, SyntaxError> {
    let start = cursor.at();
    if start + 2 > classes.posix_end || !cursor.eat("[:") {
        return Ok(None);
    }
    let name = cursor.eat_through(":]").unwrap_or_default();
    let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    match POSIX.iter().find(|(known, _)| *known == name) {
        Some((_, bounds)) => group(bounds, negated, ignore_case).map(Some),
        None => Err(SyntaxError::new("invalid character class range", cursor.since(start))),
    }
}

/// Parses a character or a range, in the class that begins at `class_start`.
fn member_range(cursor: &mut Cursor<'_>, class_start: usize) -> Result<Option<ClassUnicodeRange>, SyntaxError> {
    let start = cursor.at();
    let low = member(cursor, class_start)?;
    let mut ahead = cursor.clone();
    if !ahead.eat("-") || matches!(ahead.peek(), None | Some(']')) {
        return Ok(range(low, low));
    }
    *cursor = ahead;
    let high = member(cursor, class_start)?;
    if high < low {
        return Err(SyntaxError::new("invalid character class range", cursor.since(start)));
    }
    Ok(range(low, high))
}

fn member(cursor: &mut Cursor<'_>, class_start: usize) -> Result<u32, SyntaxError> {
    if cursor.peek() == Some('\\') {
        return cursor.escape();
    }
    match cursor.bump() {
        Some(letter) => Ok(u32::from(letter)),
        None => Err(SyntaxError::new("missing closing ]", cursor.text_from(class_start))),
    }
}

/// Returns the range from one code point to another, without surrogates; `None` if it contains nothing else.
fn range(low: u32, high: u32) -> Option<ClassUnicodeRange> {
    let low = char::from_u32(low).unwrap_or('\u{E000}');
    let high = char::from_u32(high).unwrap_or('\u{D7FF}');
    (low <= high).then(|| ClassUnicodeRange::new(low, high))
}

/// Returns a set, folded before it is negated.
fn group(bounds: Bounds, negated: bool, ignore_case: bool) -> Result<ClassUnicode, SyntaxError> {
    let mut class = ClassUnicode::new(bounds.iter().map(|(low, high)| ClassUnicodeRange::new(*low, *high)));
    if ignore_case {
        fold(&mut class)?;
    }
    if negated {
        class.negate();
    }
    Ok(class)
}

/// Adds the characters that differ only in case. Only cased members are folded, as the set may be large.
fn fold(class: &mut ClassUnicode) -> Result<(), SyntaxError> {
    let mut cased = class.clone();
    cased.intersect(unicode::cased());
    cased.try_case_fold_simple().map_err(|error| SyntaxError(error.to_string()))?;
    class.union(&cased);
    Ok(())
}
