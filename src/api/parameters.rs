//! Parameters of requests: a table for each route, from which they are parsed and documented.

use super::error::ApiError;
use crate::limits;
use crate::time::{self, Timestamp};
use std::collections::BTreeMap;

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An id: digits.
    Id,
    /// A whole number up to this one.
    Number(u64),
    /// Text of at most so many bytes.
    Text(usize),
    /// A pattern of SQL's LIKE: `%` stands for any text, `_` for any character.
    Pattern,
    /// A time such as 2026-11-22T08:00:00Z.
    Time,
    /// true or false.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A parameter of a request.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub form: Form,
    /// Whether it must be there.
    pub is_required: bool,
    /// What it is for.
    pub about: &'static str,
}

impl Parameter {
    /// One that may be missing.
    pub const fn optional(name: &'static str, form: Form, about: &'static str) -> Parameter {
        Parameter { name, form, is_required: false, about }
    }

    /// One that must be there.
    pub const fn required(name: &'static str, form: Form, about: &'static str) -> Parameter {
        Parameter { name, form, is_required: true, about }
    }
}

/// The parameters of one request, checked against its table.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<&'static str, String>);

/// Whether a value leaves a filter out, in the words of clients of the original.
fn is_left_out(form: Form, value: &str) -> bool {
    match form {
        Form::Id => value == "∞",
        Form::Pattern => value.is_empty() || value == "%",
        Form::Text(_) => value.is_empty(),
        _ => false,
    }
}

impl Values {
    /// Checks what was sent.
    pub fn parse(
        table: &'static [Parameter],
        sent: impl Iterator<Item = (String, String)>,
    ) -> Result<Values, ApiError> {
        let mut values = BTreeMap::new();
        for (name, value) in sent {
            let Some(parameter) = table.iter().find(|parameter| parameter.name == name) else {
                let known: Vec<&str> = table.iter().map(|parameter| parameter.name).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let shown: String = name.escape_debug().take(40).collect();
                return Err(ApiError::parameter(&shown, format!("is unknown; known are: {known}")));
            };
            if !parameter.is_required && is_left_out(parameter.form, &value) {
                continue;
            }
            check(parameter, &value)?;
            if values.insert(parameter.name, value).is_some() {
                return Err(ApiError::parameter(parameter.name, "is there twice"));
            }
        }
        match table.iter().find(|parameter| parameter.is_required && !values.contains_key(parameter.name)) {
            Some(missing) => Err(ApiError::parameter(missing.name, format!("is missing: {}", missing.about))),
            None => Ok(Values(values)),
        }
    }

    /// A text, a pattern or a word.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same, owned.
    pub fn string(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// An id or a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// An id that must be there, as `make` makes it.
    pub fn id<T>(&self, name: &str, make: impl Fn(u64) -> Option<T>) -> Result<T, ApiError> {
        self.number(name).and_then(make).ok_or_else(|| ApiError::parameter(name, "is not an id"))
    }

    /// A time.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        parse_time(self.text(name)?)
    }

    /// A flag; false if it is missing.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The names of those that are there.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }
}

/// A plus sign that was not escaped arrives as a space.
fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.replace(' ', "+").parse().ok()?;
    // What every store can hold.
    (time::not_set()..=time::never()).contains(&time).then_some(time)
}

fn check(parameter: &Parameter, value: &str) -> Result<(), ApiError> {
    let shown: String = value.escape_debug().take(80).collect();
    let wrong = |expected: &str| Err(ApiError::parameter(parameter.name, format!("'{shown}' is not {expected}")));
    match parameter.form {
        Form::Id => match value.parse() {
            Ok(1..=limits::ID_ACCEPTED_MAX) if value.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
            _ => wrong("an id: a whole number from 1 to 9223372036854775807"),
        },
        Form::Number(max) => match value.parse::<u64>() {
            Ok(number) if number <= max => Ok(()),
            _ => wrong(&format!("a whole number from 0 to {max}")),
        },
        Form::Text(bytes_max) if value.len() > bytes_max => {
            Err(ApiError::parameter(parameter.name, format!("has {} bytes, the limit is {bytes_max}", value.len())))
        }
        Form::Text(_) | Form::Pattern if value.contains('\0') => wrong("text without U+0000"),
        Form::Text(_) => Ok(()),
        Form::Pattern if value.len() > limits::API_PATTERN_BYTES_MAX => {
            wrong(&format!("a pattern of at most {} bytes", limits::API_PATTERN_BYTES_MAX))
        }
        // Databases refuse an escape without what it escapes.
        Form::Pattern if value.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 => {
            wrong("a pattern: a backslash at its end escapes nothing")
        }
        Form::Pattern => Ok(()),
        Form::Time => match parse_time(value) {
            Some(_) => Ok(()),
            None => wrong("a time such as 2026-11-22T08:00:00Z"),
        },
        Form::Flag if value == "true" || value == "false" => Ok(()),
        Form::Flag => wrong("true or false"),
        Form::Word(words) if words.contains(&value) => Ok(()),
        Form::Word(words) => wrong(&format!("one of {}", words.join(", "))),
    }
}
