//! From the JSON of an operation to a [`Plan`]: the one place where parameters are read, and refused.
//!
//! Field names are matched in any case, unknown fields are ignored, `null` is the same as missing. Everything else
//! that can't be what was meant is a [`ParameterError`] that names the field.

use super::content::{Contents, ContentsBuilder, Lines};
use super::filter::{self, Age, Check, FIELDS, Field, Size, Test};
use super::hashes::Algorithm;
use super::json::{fields, strings};
use super::limits;
use super::options::Options;
use super::patterns::{self, Names, NamesBuilder};
use crate::modules::ParameterError;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::path::PathBuf;

/// About how long the fields of an entry are as JSON, beside its search and its path.
const FILE_INFO_BYTES: usize = 200;

/// All searches of an operation, ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order of their labels.
    pub(super) searches: Vec<Search>,
    /// The name patterns of all searches.
    pub(super) names: Names,
    /// The content patterns of all searches.
    pub(super) contents: Contents,
}

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    /// Its key in `searches`.
    pub(super) label: String,
    /// Where it looks; without `.` in the middle, double or trailing slashes.
    pub(super) paths: Vec<PathBuf>,
    /// What a file is compared with, in the order of [`FIELDS`].
    pub(super) checks: Vec<Check>,
    /// How.
    pub(super) options: Options,
    /// A file must pass all checks, rather than each check have its own files. Holds without checks too: then every
    /// file of the paths is reported.
    pub(super) all: bool,
    /// Per [`Stage`], where its checks are.
    stages: [Range<usize>; 4],
    /// A name that no pattern matches can't pass.
    pub(super) needs_name_match: bool,
    /// The hash functions of the checks.
    pub(super) algorithms: Vec<Algorithm>,
    /// The search as JSON, for the entries of `matchall`.
    pub(super) echo: Value,
    /// The options as JSON, for the entries of single checks.
    pub(super) options_echo: Value,
    /// About how long an entry is as JSON, without its path.
    pub(super) entry_bytes: usize,
}

/// The order of comparisons, the cheap ones first. The checks of a search are in this order too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The base name.
    Name,
    /// Size, mode and time.
    Metadata,
    /// Lines.
    Contents,
    /// Hash sums.
    Hashes,
}

impl Stage {
    fn of(check: &Check) -> Self {
        match check.field {
            Field::Names => Stage::Name,
            Field::Sizes | Field::Modes | Field::Mtimes => Stage::Metadata,
            Field::Contents => Stage::Contents,
            Field::Hash(..) => Stage::Hashes,
        }
    }
}

impl Search {
    /// The checks of a stage with their numbers.
    pub(super) fn checks_of(&self, stage: Stage) -> impl Iterator<Item = (usize, &Check)> {
        let range = self.stages[stage as usize].clone();
        range.clone().zip(&self.checks[range])
    }

    /// Whether there are checks of a stage.
    pub(super) fn has(&self, stage: Stage) -> bool {
        !self.stages[stage as usize].is_empty()
    }

    /// Whether files must be opened that pass the comparisons before.
    pub(super) fn reads(&self) -> bool {
        self.has(Stage::Contents) || self.has(Stage::Hashes) || self.options.returnsha256
    }
}

/// Per stage, where its checks are.
fn stages(checks: &[Check]) -> [Range<usize>; 4] {
    [Stage::Name, Stage::Metadata, Stage::Contents, Stage::Hashes].map(|stage| {
        let start = checks.partition_point(|check| (Stage::of(check) as usize) < stage as usize);
        start..checks.partition_point(|check| Stage::of(check) as usize <= stage as usize)
    })
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Plan, ParameterError> {
    let top = fields(parameters, "parameters", "")?;
    let Some(searches) = top.get("searches") else {
        return Err(ParameterError::new("searches", "is missing"));
    };
    let Value::Object(searches) = searches else {
        return Err(ParameterError::new("searches", "must be an object of searches by label"));
    };
    if searches.is_empty() {
        return Err(ParameterError::new("searches", "holds no search"));
    }
    if searches.len() > limits::SEARCHES_MAX {
        let reason = format!("holds more than {} searches", limits::SEARCHES_MAX);
        return Err(ParameterError::new("searches", reason));
    }
    let mut builder = Builder::default();
    let mut parsed = Vec::with_capacity(searches.len());
    for (label, search) in searches {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if label.is_empty() || label.len() > limits::LABEL_BYTES_MAX || !label.bytes().all(valid) {
            let reason = format!("a label is 1 to {} of letters, digits, _ and -", limits::LABEL_BYTES_MAX);
            return Err(ParameterError::new(format!("searches.{label}"), reason));
        }
        parsed.push(builder.search(label, search)?);
    }
    let names = builder.names.build().map_err(|reason| ParameterError::new("searches", reason))?;
    Ok(Plan { searches: parsed, names, contents: builder.contents.build() })
}

/// What the searches have in common while they are read.
#[derive(Default)]
struct Builder {
    names: NamesBuilder,
    contents: ContentsBuilder,
    patterns: usize,
}

impl Builder {
    fn search(&mut self, label: &str, value: &Value) -> Result<Search, ParameterError> {
        let at = format!("searches.{label}");
        let given = fields(value, &at, &format!("{at}."))?;
        let mut echo = Map::new();
        if let Some(description) = given.get("description") {
            let text = description.as_str();
            let text = text.ok_or_else(|| ParameterError::new(format!("{at}.description"), "must be a string"))?;
            if !text.is_empty() {
                echo.insert("description".to_owned(), json!(text));
            }
        }
        let paths = strings(&given, &at, "paths", limits::PATHS_PER_SEARCH_MAX)?;
        let options = Options::parse(given.get("options").copied(), &format!("{at}.options"))?;
        let mut checks = Vec::new();
        for (field, name, _) in FIELDS {
            let values = strings(&given, &at, name, limits::VALUES_PER_FIELD_MAX)?;
            if !values.is_empty() {
                echo.insert(name.to_owned(), json!(values));
            }
            for (index, value) in values.into_iter().enumerate() {
                let check = self.check(field, &value, &options);
                checks.push(check.map_err(|reason| ParameterError::new(format!("{at}.{name}[{index}]"), reason))?);
            }
        }
        let options_echo = options.echo();
        echo.insert("paths".to_owned(), json!(paths));
        echo.insert("options".to_owned(), options_echo.clone());
        let all = options.matchall || checks.is_empty();
        let paths = parse_paths(paths, &format!("{at}.paths"))?;
        let needs_name_match = all && checks.iter().any(|check| check.field == Field::Names && !check.inverted);
        let mut algorithms: Vec<Algorithm> = checks.iter().filter_map(|check| check.test.algorithm()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let (label, echo) = (label.to_owned(), Value::Object(echo));
        let own_bytes = if all { echo.to_string().len() } else { options_echo.to_string().len() };
        let entry_bytes = own_bytes + FILE_INFO_BYTES;
        let stages = stages(&checks);
        Ok(Search {
            label,
            paths,
            checks,
            options,
            all,
            stages,
            needs_name_match,
            algorithms,
            echo,
            options_echo,
            entry_bytes,
        })
    }

    fn check(&mut self, field: Field, value: &str, options: &Options) -> Result<Check, String> {
        let mut negated = false;
        let test = match field {
            Field::Names => {
                let pattern;
                (negated, pattern) = patterns::split_negation(value)?;
                Test::Name(self.names.add(pattern)?)
            }
            Field::Contents => {
                let pattern;
                (negated, pattern) = patterns::split_negation(value)?;
                // "Every line doesn't match" is "not: some line matches", so only the positive form asks for all.
                let lines = if options.macroal && !negated { Lines::Every } else { Lines::Some };
                Test::Content(self.contents.add(pattern, lines)?)
            }
            Field::Modes => filter::parse_mode(value)?,
            Field::Sizes => Test::Size(Size::parse(value)?),
            Field::Mtimes => Test::Mtime(Age::parse(value)?),
            Field::Hash(family, algorithm) => filter::parse_digest(family, algorithm, value)?,
        };
        if matches!(field, Field::Names | Field::Contents | Field::Modes) {
            if value.is_empty() {
                return Err("the regular expression is empty".to_owned());
            }
            self.patterns += 1;
            if self.patterns > limits::PATTERNS_MAX {
                return Err(format!("more than {} regular expressions in one operation", limits::PATTERNS_MAX));
            }
        }
        let mismatched = options.mismatch.iter().any(|word| field.is_named_by(word));
        Ok(Check { field, value: value.to_owned(), test, inverted: negated != mismatched })
    }
}

fn parse_paths(paths: Vec<String>, at: &str) -> Result<Vec<PathBuf>, ParameterError> {
    if paths.is_empty() {
        return Err(ParameterError::new(at, "at least one path is needed"));
    }
    let mut parsed: Vec<PathBuf> = Vec::with_capacity(paths.len());
    for (index, path) in paths.into_iter().enumerate() {
        let refuse = |reason: &str| Err(ParameterError::new(format!("{at}[{index}]"), reason));
        if path.is_empty() {
            return refuse("the path is empty");
        }
        if path.len() >= limits::PATH_BYTES_MAX {
            return refuse("the path is longer than the system allows");
        }
        if path.contains('\0') {
            return refuse("a path can't hold a NUL");
        }
        // Going through the components drops what doesn't change the meaning; `..` stays, as a link may be before it.
        let path: PathBuf = PathBuf::from(path).components().collect();
        if !parsed.contains(&path) {
            parsed.push(path);
        }
    }
    Ok(parsed)
}
