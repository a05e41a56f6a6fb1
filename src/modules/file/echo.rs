//! The echo of a search in the entries of a result.
//!
//! The original repeats all filters of a search in each entry. A list of 10,000 sums in each of 1,000 entries exceeds
//! the size limit of any result, so there is a short form, which programs of the original read as well: long lists are
//! omitted, and of the hash sums only those of the file are listed.

use super::filter::{Check, Field};
use super::limits;
use super::options::Options;
use serde_json::{Map, Value, json};

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Everything.
    Full,
    /// Without long lists.
    Short,
}

/// See the module docs.
#[derive(Debug)]
pub(super) struct Echo {
    full: Map<String, Value>,
    short: Map<String, Value>,
    /// Paths and options, for the entries of single checks.
    frame: Map<String, Value>,
    /// `frame` without a long list of paths.
    short_frame: Map<String, Value>,
}

impl Echo {
    /// The echo of a search without filters; `lists` are its paths and what it excludes.
    pub(super) fn new(description: String, lists: [(&str, &Vec<String>); 2], options: &Options) -> Self {
        let mut short_frame = Map::new();
        short_frame.insert("options".to_owned(), options.echo());
        let mut frame = short_frame.clone();
        // There are always paths.
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let list = json!(list);
            if is_short(&list) {
                short_frame.insert(name.to_owned(), list.clone());
            }
            frame.insert(name.to_owned(), list);
        }
        let (mut full, mut short) = (frame.clone(), short_frame.clone());
        if !description.is_empty() {
            let description = json!(description);
            if is_short(&description) {
                short.insert("description".to_owned(), description.clone());
            }
            full.insert("description".to_owned(), description);
        }
        Echo { full, short, frame, short_frame }
    }

    /// Adds a filter.
    pub(super) fn add(&mut self, field: Field, values: &[String]) {
        if values.is_empty() {
            return;
        }
        let values = json!(values);
        // Hash sums are added per file, by `of_all`.
        if !matches!(field, Field::Hash(..)) && is_short(&values) {
            self.short.insert(field.name().to_owned(), values.clone());
        }
        self.full.insert(field.name().to_owned(), values);
    }

    /// Returns the echo for a file that passed all checks; `sums` are the hash checks that equal its digests.
    pub(super) fn of_all<'c>(&self, form: Form, sums: impl Iterator<Item = &'c Check>) -> Value {
        if form == Form::Full {
            return Value::Object(self.full.clone());
        }
        let mut search = self.short.clone();
        for check in sums {
            let values = search.entry(check.field.name()).or_insert_with(|| json!([]));
            if let Value::Array(values) = values {
                values.push(json!(check.value));
            }
        }
        Value::Object(search)
    }

    /// Returns the echo for a file that passed one check.
    pub(super) fn of_check(&self, form: Form, check: &Check) -> Value {
        let mut search = if form == Form::Full { self.frame.clone() } else { self.short_frame.clone() };
        search.insert(check.field.name().to_owned(), json!([check.value]));
        Value::Object(search)
    }
}

fn is_short(value: &Value) -> bool {
    value.to_string().len() <= limits::ECHO_LIST_BYTES_MAX
}
