//! From the bytes of a row to its values, and from the text that made a table to the names of their columns.

/// Columns of a table; SQLite has 2,000.
const COLUMNS_MAX: usize = 2_000;

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Value<'r> {
    /// None; also the key of a row, which SQLite keeps beside it.
    Null,
    /// A whole number.
    Integer(i64),
    /// A text, in whatever encoding the database has; nearly always UTF-8.
    Text(&'r [u8]),
    /// Bytes.
    Blob(&'r [u8]),
    /// A number with a fraction.
    Real,
}

/// The columns of a row.
pub(super) fn columns(row: &[u8]) -> Option<Vec<Value<'_>>> {
    let (header_bytes, mut types) = variable(row)?;
    let header_bytes = usize::try_from(header_bytes).ok()?;
    let mut data = row.get(header_bytes..)?;
    types = types.get(..header_bytes.checked_sub(row.len() - types.len())?)?;
    let mut columns = Vec::new();
    while !types.is_empty() && columns.len() < COLUMNS_MAX {
        let (kind, rest) = variable(types)?;
        types = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            kind => (kind - 12) / 2,
        };
        let (column, behind) = data.split_at_checked(usize::try_from(length).ok()?)?;
        columns.push(match kind {
            0 => Value::Null,
            7 => Value::Real,
            8 | 9 => Value::Integer(i64::from(kind == 9)),
            1..=6 => Value::Integer(integer(column)),
            kind if kind % 2 == 0 => Value::Blob(column),
            _ => Value::Text(column),
        });
        data = behind;
    }
    Some(columns)
}

/// A number of at most eight bytes, big-endian and with a sign.
fn integer(bytes: &[u8]) -> i64 {
    let begun = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(begun, |sum, byte| sum << 8 | i64::from(*byte))
}

/// The names of the columns of a table, from the text that made it: `CREATE TABLE name (name type, …)`. None: it has comments,
/// in which anything may stand.
pub(super) fn column_names(text: &str) -> Option<Vec<String>> {
    let (_, inside) = text.split_once('(')?;
    if text.contains("--") || text.contains("/*") {
        return None;
    }
    let (mut names, mut depth, mut begin) = (Vec::new(), 0_u32, 0);
    let mut quote = None;
    for (at, letter) in inside.char_indices() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(letter),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') if depth > 0 => depth -= 1,
            (None, ',' | ')') if depth == 0 => {
                names.push(first_name(&inside[begin..at]));
                begin = at + 1;
                if letter == ')' || names.len() == COLUMNS_MAX {
                    break;
                }
            }
            (None, _) => {}
        }
    }
    // Conditions of the whole table stand behind all columns: what is taken for the name of one has no place in a row.
    Some(names)
}

/// The first word, without its quotes.
fn first_name(text: &str) -> String {
    let text = text.trim_start();
    let mut letters = text.chars();
    match letters.next() {
        Some(quote @ ('\'' | '"' | '`')) => letters.as_str().split(quote).next(),
        Some('[') => letters.as_str().split(']').next(),
        _ => text.split(|letter: char| letter.is_whitespace() || letter == '(').next(),
    }
    .unwrap_or_default()
    .to_owned()
}

/// A number of variable length, and what is behind it.
pub(super) fn variable(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        if index == 8 {
            return Some((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}
