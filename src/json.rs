//! JSON from outside: bounded, without duplicate keys, field names in any case; and the byte form that signatures cover.
//!
//! [`Fields`] splits one object into its raw fields, so that what we only pass on (an agent's results) is kept byte for
//! byte, and what we use is parsed once, with an error that names the field. [`canonical`] writes a value as Go's
//! encoder does after a decode, which is what an investigator signs.

mod write;

pub use write::{canonical, canonical_string, to_line};

use crate::id::IdError;
use crate::limits;
use crate::time::Timestamp;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Characters of a key that an error message repeats.
const KEY_SHOWN_CHARACTERS_MAX: usize = 40;

/// Why JSON text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends too early: perhaps somebody is still writing it.
    #[error("the JSON text ends in the middle (empty or half-written)")]
    Incomplete,
    /// Not JSON, nested too deeply, or an object with the same key twice.
    #[error("{0}")]
    Syntax(String),
    /// A field that is missing or has a value that it cannot have.
    #[error("field '{field}': {reason}")]
    Field {
        /// The field's name, with the object's in front where it is not the outermost: `operations[0].module`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl JsonError {
    /// Whether more bytes could make it good: the file may still be being written.
    pub fn is_incomplete(&self) -> bool {
        *self == JsonError::Incomplete
    }

    /// An error on `field`.
    pub fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        JsonError::Field { field: field.into(), reason: reason.into() }
    }

    fn from_serde(error: &serde_json::Error, text: &[u8]) -> Self {
        // A number that is cut after its point, or a character cut between its bytes, is no end of file to serde_json.
        let mut lines = text.split(|byte| *byte == b'\n');
        let at_end =
            lines.clone().count() == error.line() && lines.next_back().is_some_and(|line| line.len() <= error.column());
        let cut = text.last().is_some_and(|byte| b".eE+-".contains(byte) || !byte.is_ascii());
        if error.is_eof() || (at_end && cut) {
            return JsonError::Incomplete;
        }
        match std::str::from_utf8(text) {
            Ok(_) => JsonError::not_acceptable(error),
            Err(broken) => {
                JsonError::not_acceptable(format!("byte {} is no UTF-8; save it as UTF-8", broken.valid_up_to() + 1))
            }
        }
    }

    fn not_acceptable(reason: impl fmt::Display) -> Self {
        JsonError::Syntax(format!("not acceptable JSON: {reason}"))
    }
}

/// One object, split into its raw fields. Unknown fields are there and never looked at, unless by [`Fields::names`].
pub struct Fields<'a> {
    /// The object's path with a point behind it; empty for the outermost.
    prefix: String,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Splits the object in `text`. The same name twice, in any case, is refused.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let explain = |e: serde_json::Error| match no_object(&e, text) {
            Some(reason) => JsonError::not_acceptable(format!("it {reason}")),
            None => JsonError::from_serde(&e, text),
        };
        let fields: RawFields<'a> = serde_json::from_slice(text).map_err(explain)?;
        Ok(Fields { prefix: String::new(), fields: fields.0 })
    }

    /// Splits the object at `path`, whose text is a part of one that was read, or was made of a value.
    pub fn at(path: &str, text: &'a str) -> Result<Self, JsonError> {
        let explain = |e: serde_json::Error| {
            let reason = no_object(&e, text.as_bytes()).unwrap_or_else(|| without_position(&e));
            JsonError::field(path, reason)
        };
        let fields: RawFields<'a> = serde_json::from_str(text).map_err(explain)?;
        Ok(Fields { prefix: format!("{path}."), fields: fields.0 })
    }

    /// The names of the fields in lower case, sorted, without those that are null.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str).filter(|name| self.raw(name).is_some())
    }

    /// The path of a field, as errors name it.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// An error on a field.
    pub fn error(&self, name: &str, reason: impl Into<String>) -> JsonError {
        JsonError::field(self.path(name), reason)
    }

    /// The field's text; none when it is missing or null.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied().filter(|raw| raw.get() != "null")
    }

    fn parsed<T: Deserialize<'a>>(&self, name: &str, what: &str) -> Result<Option<T>, JsonError> {
        self.raw(name).map(|raw| parsed(raw, what).map_err(|reason| self.error(name, reason))).transpose()
    }

    /// A string of at most `bytes_max` bytes; empty when missing.
    pub fn text(&self, name: &str, bytes_max: usize) -> Result<String, JsonError> {
        let text: String = self.parsed(name, "a string")?.unwrap_or_default();
        if text.len() > bytes_max {
            return Err(self.error(name, format!("has {} bytes, the limit is {bytes_max}", text.len())));
        }
        Ok(text)
    }

    /// A string that must be there and not be empty.
    pub fn text_required(&self, name: &str, bytes_max: usize) -> Result<String, JsonError> {
        if self.raw(name).is_none() {
            return Err(self.missing(name));
        }
        let text = self.text(name, bytes_max)?;
        if text.is_empty() { Err(self.error(name, "is empty")) } else { Ok(text) }
    }

    /// The error on a field that must be there.
    pub fn missing(&self, name: &str) -> JsonError {
        self.error(name, "is missing")
    }

    /// An id, read by the parser of its kind; none when missing or 0.
    pub fn id<T>(&self, name: &str, parse: fn(&str) -> Result<Option<T>, IdError>) -> Result<Option<T>, JsonError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        parse(raw.get()).map_err(|e| self.error(name, e.to_string()))
    }

    /// A whole number, as programs that keep numbers in floats may write it: `2`, `2.0`, `1e3`.
    pub fn integer<T: TryFrom<i128>>(&self, name: &str) -> Result<Option<T>, JsonError> {
        let Some(number) = self.parsed::<Number>(name, "a number")? else { return Ok(None) };
        // Floats of this size hold whole numbers exactly.
        let is_whole = |float: &f64| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
        let whole = number.as_i128().or_else(|| number.as_f64().filter(is_whole).map(|float| float as i128));
        let whole = whole.ok_or_else(|| self.error(name, "is not a whole number"))?;
        let fitting = T::try_from(whole).map_err(|_| self.error(name, format!("is {whole}, which is out of range")));
        fitting.map(Some)
    }

    /// A truth value; false when missing.
    pub fn boolean(&self, name: &str) -> Result<bool, JsonError> {
        Ok(self.parsed(name, "true or false")?.unwrap_or(false))
    }

    /// An RFC 3339 time; [`crate::time::not_set`] when missing.
    pub fn time(&self, name: &str) -> Result<Timestamp, JsonError> {
        const WHAT: &str = "a time such as 2026-11-22T08:18:18Z";
        let Some(text) = self.parsed::<String>(name, WHAT)? else { return Ok(crate::time::not_set()) };
        text.parse().map_err(|_| self.error(name, format!("is not {WHAT}")))
    }

    /// Any JSON value of at most `parts_max` parts, without duplicate keys; none when missing or null.
    pub fn value(&self, name: &str, parts_max: usize) -> Result<Option<Value>, JsonError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        if parts(raw.get()) > parts_max {
            let reason = format!("has more than {parts_max} parts (objects, arrays and what stands in them)");
            return Err(self.error(name, reason));
        }
        value(raw.get()).map(Some).map_err(|e| self.error(name, e.to_string()))
    }

    /// An object, without duplicate keys; empty when missing.
    pub fn object(&self, name: &str) -> Result<Map<String, Value>, JsonError> {
        self.object_of(name, limits::JSON_OBJECT_PARTS_MAX)
    }

    /// An object of at most `parts_max` parts, without duplicate keys; empty when missing.
    pub fn object_of(&self, name: &str, parts_max: usize) -> Result<Map<String, Value>, JsonError> {
        match self.value(name, parts_max)? {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(self.error(name, "is not an object")),
        }
    }

    /// The fields of an object below this one; none when missing.
    pub fn inner(&self, name: &str) -> Result<Option<Fields<'a>>, JsonError> {
        self.raw(name).map(|raw| Fields::at(&self.path(name), raw.get())).transpose()
    }

    /// The raw elements of an array of at most `length_max`; none when missing.
    pub fn array(&self, name: &str, length_max: usize) -> Result<Vec<&'a RawValue>, JsonError> {
        let elements: Vec<&RawValue> = self.parsed(name, "an array")?.unwrap_or_default();
        if elements.len() > length_max {
            return Err(self.error(name, format!("has {} elements, the limit is {length_max}", elements.len())));
        }
        Ok(elements)
    }

    /// An array of at most `length_max` strings; empty when missing.
    pub fn strings(&self, name: &str, length_max: usize) -> Result<Vec<String>, JsonError> {
        let string = |(index, raw): (usize, &'a RawValue)| {
            parsed(raw, "a string").map_err(|reason| self.error(&format!("{name}[{index}]"), reason))
        };
        self.array(name, length_max)?.into_iter().enumerate().map(string).collect()
    }
}

/// A value of a type, or why it is none.
fn parsed<'a, T: Deserialize<'a>>(raw: &'a RawValue, what: &str) -> Result<T, String> {
    serde_json::from_str(raw.get())
        .map_err(|e| if e.is_data() { format!("is not {what}") } else { format!("not acceptable JSON: {e}") })
}

/// An error in a text that is not the one that was read: its lines and columns would mislead.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// How many values a text may hold at most. A value takes up to a hundred times the room of its text, so this is looked
/// at before any is made. What stands in strings does not count: it may be escaped, and is then written plain, so that
/// what was accepted once would be refused when it is read again.
fn parts(text: &str) -> usize {
    let (mut parts, mut in_string) = (0, false);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'{' | b'[' | b',' if !in_string => parts += 1,
            _ => {}
        }
    }
    parts
}

/// What a text is that is no object in JSON: said in the words of people who made it in another program.
fn no_object(error: &serde_json::Error, text: &[u8]) -> Option<String> {
    if text.starts_with("\u{feff}".as_bytes()) {
        return Some("begins with a byte order mark; save it as UTF-8 without one".into());
    }
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        return Some("is UTF-16; save it as UTF-8".into());
    }
    let kind = match text.trim_ascii_start().first().filter(|_| error.is_data())? {
        b'[' => "an array",
        b'"' => "a string",
        b'n' => "null",
        b't' | b'f' => "true or false",
        b'0'..=b'9' | b'-' => "a number",
        _ => return None,
    };
    Some(format!("is {kind}, not an object"))
}

/// The error of a key that stands in one object twice; a key is as long as whoever wrote it wants.
fn twice<E: de::Error>(key: &str) -> E {
    let mut shown: String = key.chars().take(KEY_SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    E::custom(format_args!("the key '{}' stands twice in one object", shown.escape_debug()))
}

/// How deep objects and arrays nest in a JSON text.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct RawFields<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = RawFields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, raw)) = access.next_entry::<String, &RawValue>()? {
                    let name = name.to_lowercase();
                    if fields.contains_key(&name) {
                        return Err(twice(&name));
                    }
                    fields.insert(name, raw);
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Any JSON value; nested over 127 levels or with a key twice in one object it is refused.
pub fn value(text: &str) -> Result<Value, JsonError> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|e| JsonError::from_serde(&e, text.as_bytes()))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(Value::Bool(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(Value::from(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(Value::String(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut elements = Vec::new();
        while let Some(Strict(element)) = access.next_element()? {
            elements.push(element);
        }
        Ok(Strict(Value::Array(elements)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(twice(&key));
            }
            object.insert(key, value);
        }
        Ok(Strict(Value::Object(object)))
    }
}

#[cfg(test)]
mod tests;
