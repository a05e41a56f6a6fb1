//! From the JSON of an operation to searches.

use super::expressions::{Builder, Expressions};
use crate::json::Fields;
use crate::modules::expressions::{Pattern, Patterns, split_negation};
use crate::modules::fields::{self, Options};
use crate::modules::processes::Range;
use crate::modules::{ParameterError, limits};
use serde_json::Value;

/// All searches of an operation.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of their labels.
    pub(super) searches: Vec<Search>,
    /// What is looked for in memory, of all searches.
    pub(super) expressions: Expressions,
    /// The parts of memory that searches look at, each once.
    pub(super) ranges: Vec<Range>,
    /// Each part of memory that could not be read is named: the option `logfailures` of a search.
    pub(super) names_failures: bool,
}

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    /// Its key in `searches`.
    pub(super) label: String,
    /// On the name.
    pub(super) names: Vec<Pattern>,
    /// On the mapped files.
    pub(super) libraries: Vec<Pattern>,
    /// On the memory.
    pub(super) memory: Vec<InMemory>,
    /// The number of its part of memory in [`Plan::ranges`].
    pub(super) range: usize,
    /// How.
    pub(super) options: Options,
}

/// A filter on the memory.
#[derive(Debug)]
pub(super) struct InMemory {
    /// `contents` or `bytes`.
    pub(super) field: &'static str,
    /// As it was written.
    pub(super) value: String,
    /// The number of its expression in [`Plan::expressions`].
    pub(super) expression: usize,
    /// It must be nowhere.
    pub(super) is_negated: bool,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Plan, ParameterError> {
    let (mut patterns, mut builder) = (Patterns::default(), Builder::default());
    let (mut ranges, mut names_failures) = (Vec::new(), false);
    let searches = fields::searches(parameters, |label, given| {
        fields::only(given, &["description", "names", "libraries", "bytes", "contents", "options"])?;
        let [names, libraries] = ["names", "libraries"].map(|name| patterns.list(given, name));
        let mut memory = in_memory(given, "contents", &mut builder)?;
        memory.extend(in_memory(given, "bytes", &mut builder)?);
        let options = Options::parse(given, &["offset", "maxlength", "logfailures"])?;
        let more = given.inner("options")?;
        let range = range(more.as_ref())?;
        names_failures |= more.map_or(Ok(false), |more| more.boolean("logfailures"))?;
        let known = ranges.iter().position(|known| *known == range);
        let range = known.unwrap_or_else(|| {
            ranges.push(range);
            ranges.len() - 1
        });
        let search = Search { label: label.to_owned(), names: names?, libraries: libraries?, memory, range, options };
        if search.names.is_empty() && search.libraries.is_empty() && search.memory.is_empty() {
            let reason = "has no filter; \"names\": [\".\"] is every process";
            return Err(ParameterError::new(format!("searches.{label}"), reason));
        }
        Ok(search)
    })?;
    let expressions = builder.build()?;
    Ok(Plan { searches, expressions, ranges, names_failures })
}

/// Reads `contents` or `bytes`.
fn in_memory(given: &Fields, field: &'static str, builder: &mut Builder) -> Result<Vec<InMemory>, ParameterError> {
    let one = |(index, value): (usize, String)| {
        let (is_negated, text) = split_negation(&value);
        let path = given.path(&format!("{field}[{index}]"));
        let number = if field == "bytes" { builder.bytes(&value, path) } else { builder.contents(text, path) }?;
        Ok(InMemory { field, expression: number, is_negated, value })
    };
    given.strings(field, limits::LIST_VALUES_MAX)?.into_iter().enumerate().map(one).collect()
}

fn range(options: Option<&Fields>) -> Result<Range, ParameterError> {
    let number = |name| options.map_or(Ok(None), |options| options.integer::<u64>(name));
    let (offset, length) = (number("offset")?, number("maxlength")?);
    Ok(Range { offset: offset.unwrap_or(0), length: length.filter(|length| *length > 0).unwrap_or(u64::MAX) })
}
