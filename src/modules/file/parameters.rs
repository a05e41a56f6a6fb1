//! From the JSON of an operation to a [`Plan`]: the one place where parameters are read, and refused.
//!
//! Field names are matched in any case, `null` is the same as missing. What can't be read is a [`ParameterError`] that
//! names the field. What can be read but cannot mean what was meant (see `doubts.rs`) is a doubt about its search: one with
//! doubts is not run, because neither "nothing" nor "every file" would be an answer to it.

use super::accounts::Account;
use super::content::{Contents, ContentsBuilder, Lines};
use super::doubts::{self, Doubt};
use super::echo::Echo;
use super::filter::{self, Check, FIELDS, Field, Test};
use super::hashes::Algorithm;
use super::limits;
use super::options::Options;
use super::patterns::{self, Names, NamesBuilder, Room};
use super::wildcard::{Exclude, Wildcard};
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::comparisons::{Age, Size};
use crate::modules::expressions::{expression, split_negation};
use crate::modules::fields::{labelled, unknown_names};
use crate::modules::limits::PATH_BYTES_MAX;
use serde_json::{Map, Value};
use std::ops::Range;
use std::path::PathBuf;

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
    /// Those of its paths that are to be expanded, with the option `glob`.
    pub(super) wildcards: Vec<Wildcard>,
    /// What is not walked.
    pub(super) exclude: Exclude,
    /// What a file is compared with, in the order of [`FIELDS`].
    pub(super) checks: Vec<Check>,
    /// How.
    pub(super) options: Options,
    /// A file must pass all checks, rather than each check have its own files.
    pub(super) all: bool,
    /// Per [`Cost`], where its checks are.
    stages: [Range<usize>; 5],
    /// A name that no pattern matches can't pass.
    pub(super) needs_name_match: bool,
    /// The hash functions of the checks.
    pub(super) algorithms: Vec<Algorithm>,
    /// How its entries repeat it.
    pub(super) echo: Echo,
    /// Why it may not be run.
    pub(super) doubts: Vec<Doubt>,
}

/// The order of comparisons, the cheap ones first. The checks of a search are in this order too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// The base name.
    Name,
    /// Size, mode, time and owner: one system call.
    Metadata,
    /// Time of birth, extended attributes, capabilities, where a link leads: system calls for each.
    Attributes,
    /// Lines.
    Contents,
    /// Hash sums.
    Hashes,
}

impl Cost {
    fn of(check: &Check) -> Self {
        match check.field {
            Field::Names => Cost::Name,
            Field::Sizes | Field::Modes | Field::Mtimes | Field::Ctimes | Field::Owners | Field::Groups => {
                Cost::Metadata
            }
            Field::Birthtimes | Field::Xattrs | Field::Capabilities | Field::Targets => Cost::Attributes,
            Field::Contents => Cost::Contents,
            Field::Hash(..) => Cost::Hashes,
        }
    }
}

impl Search {
    /// The checks of a stage with their numbers.
    pub(super) fn checks_of(&self, stage: Cost) -> impl Iterator<Item = (usize, &Check)> {
        self.stages[stage as usize].clone().zip(self.stage(stage))
    }

    /// The checks of a stage.
    pub(super) fn stage(&self, stage: Cost) -> &[Check] {
        &self.checks[self.stages[stage as usize].clone()]
    }

    /// Whether there are checks of a stage.
    pub(super) fn has(&self, stage: Cost) -> bool {
        !self.stages[stage as usize].is_empty()
    }

    /// Whether files must be opened that pass the comparisons before.
    pub(super) fn reads(&self) -> bool {
        self.has(Cost::Contents) || self.has(Cost::Hashes) || self.options.returnsha256
    }
}

/// Per stage, where its checks are.
fn stages(checks: &[Check]) -> [Range<usize>; 5] {
    [Cost::Name, Cost::Metadata, Cost::Attributes, Cost::Contents, Cost::Hashes].map(|stage| {
        let start = checks.partition_point(|check| (Cost::of(check) as usize) < stage as usize);
        start..checks.partition_point(|check| Cost::of(check) as usize <= stage as usize)
    })
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Plan, ParameterError> {
    let text = parameters.to_string();
    let top = Fields::at("parameters", &text)?;
    let mut builder = Builder::new(parameters);
    let mut parsed = labelled(&top, |label, search| builder.search(label, search))?;
    // What stands beside the searches was meant for all of them.
    for error in unknown_names(&top, &["searches"]) {
        parsed.iter_mut().for_each(|search: &mut Search| search.doubts.push(Doubt::new(error.clone())));
    }
    let names = builder.names.build().map_err(|reason| ParameterError::new("searches", reason))?;
    Ok(Plan { searches: parsed, names, contents: builder.contents.build() })
}

/// What the searches have in common while they are read.
struct Builder {
    names: NamesBuilder,
    contents: ContentsBuilder,
    patterns: usize,
    room: Room,
}

impl Builder {
    fn new(parameters: &Value) -> Self {
        let is_of_patterns = |name: &str| {
            let is_named = |(_, known, _): &(Field, &str, &str)| name.eq_ignore_ascii_case(known);
            FIELDS.iter().find(|field| is_named(field)).is_some_and(|(field, ..)| field.is_of_patterns())
        };
        let searches = super::fields(parameters, "searches").filter_map(Value::as_object).flat_map(Map::values);
        let lists = searches.filter_map(Value::as_object).flatten();
        let lists = lists.filter(|(name, _)| is_of_patterns(name)).filter_map(|(_, list)| list.as_array());
        let values: usize = lists.map(Vec::len).sum();
        let room = Room::share(values);
        let (names, contents) = (NamesBuilder::new(room), ContentsBuilder::new(room));
        Builder { names, contents, patterns: 0, room }
    }

    fn search(&mut self, label: &str, given: &Fields) -> Result<Search, ParameterError> {
        let at = format!("searches.{label}");
        let (options, of_options) = Options::parse(given)?;
        let mut doubts = doubts::about_names(given);
        doubts.extend(of_options.into_iter().map(Doubt::new));
        let paths = given.strings("paths", limits::PATHS_PER_SEARCH_MAX)?;
        let exclude = given.strings("exclude", limits::PATHS_PER_SEARCH_MAX)?;
        let mut echo =
            Echo::new(given.text("description", usize::MAX)?, [("paths", &paths), ("exclude", &exclude)], &options);
        let mut checks = Vec::new();
        for (field, name, _) in FIELDS {
            let values = given.strings(name, limits::VALUES_PER_FIELD_MAX)?;
            echo.add(field, &values);
            for (index, value) in values.into_iter().enumerate() {
                let at = format!("{at}.{name}[{index}]");
                let refuse = |reason| ParameterError::new(&at, reason);
                let (check, doubt) = self.check(field, value, &options).map_err(refuse)?;
                checks.push(check);
                doubts.extend(doubt.map(refuse).map(Doubt::new));
            }
        }
        doubts.extend(doubts::about_filters(&checks, &options, &at));
        if paths.is_empty() {
            return Err(ParameterError::new(format!("{at}.paths"), "at least one path is needed"));
        }
        let paths = parse_paths(paths, &format!("{at}.paths"))?;
        let excluded = parse_paths(exclude, &format!("{at}.exclude"))?;
        doubts.extend(doubts::about_paths(&paths, options.glob, &format!("{at}.paths")));
        doubts.extend(doubts::about_paths(&excluded, options.glob, &format!("{at}.exclude")));
        let exclude = Exclude::new(&excluded, options.glob)
            .map_err(|reason| ParameterError::new(format!("{at}.exclude"), reason))?;
        let (paths, wildcards) = self.split_wildcards(paths, options.glob, &at)?;
        doubts.extend(doubts::about_exclude(&exclude, &paths, &wildcards, &at));
        let all = options.matchall;
        let needs_name_match = all && checks.iter().any(|check| check.field == Field::Names && !check.inverted);
        let mut algorithms: Vec<Algorithm> = checks.iter().filter_map(|check| check.test.algorithm()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let (label, stages) = (label.to_owned(), stages(&checks));
        Ok(Search {
            label,
            paths,
            wildcards,
            exclude,
            checks,
            options,
            all,
            stages,
            needs_name_match,
            algorithms,
            echo,
            doubts,
        })
    }

    /// Takes the paths with wildcards out, if they are to be expanded.
    fn split_wildcards(
        &mut self,
        paths: Vec<PathBuf>,
        glob: bool,
        at: &str,
    ) -> Result<(Vec<PathBuf>, Vec<Wildcard>), ParameterError> {
        if !glob {
            return Ok((paths, Vec::new()));
        }
        let (mut literal, mut wildcards) = (Vec::new(), Vec::new());
        for (index, path) in paths.into_iter().enumerate() {
            let refuse = |reason| ParameterError::new(format!("{at}.paths[{index}]"), reason);
            match Wildcard::parse(&path).map_err(refuse)? {
                None => literal.push(path),
                Some(wildcard) => {
                    self.count_patterns(wildcard.parts.len()).map_err(refuse)?;
                    wildcards.push(wildcard);
                }
            }
        }
        Ok((literal, wildcards))
    }

    fn count_patterns(&mut self, count: usize) -> Result<(), String> {
        self.patterns += count;
        if self.patterns > limits::PATTERNS_MAX {
            return Err(format!("more than {} regular expressions in one operation", limits::PATTERNS_MAX));
        }
        Ok(())
    }

    /// Reads one value. Beside the check, why it can't mean what was meant.
    fn check(&mut self, field: Field, value: String, options: &Options) -> Result<(Check, Option<String>), String> {
        let (mut negated, mut doubt) = (false, None);
        let test = match field {
            Field::Names => {
                let pattern;
                (negated, pattern) = split_negation(&value);
                let expression = expression(pattern)?;
                doubt = doubts::about_name(&expression);
                Test::Name(self.names.add(&expression)?)
            }
            Field::Contents => {
                let pattern;
                (negated, pattern) = split_negation(&value);
                let expression = expression(pattern)?;
                doubt = doubts::about_content(&expression);
                // "Every line doesn't match" is "not: some line matches", so only the positive form asks for all.
                let lines = if options.macroal && !negated { Lines::Every } else { Lines::Some };
                Test::Content(self.contents.add(pattern, &expression, lines)?)
            }
            Field::Modes => {
                let pattern = patterns::compile(&expression(&value)?, self.room)?;
                doubt = doubts::about_mode(&value, &pattern, options);
                Test::Mode(pattern)
            }
            Field::Sizes => Test::Size(Size::parse(&value)?),
            Field::Mtimes => Test::Mtime(Age::parse(&value)?),
            Field::Ctimes => Test::Ctime(Age::parse(&value)?),
            Field::Birthtimes => Test::Birthtime(Age::parse(&value)?),
            Field::Owners => Test::Owner(Account::parse(&value)?),
            Field::Groups => Test::Group(Account::parse(&value)?),
            Field::Xattrs | Field::Capabilities | Field::Targets => {
                let pattern;
                (negated, pattern) = split_negation(&value);
                let pattern = patterns::compile(&expression(pattern)?, self.room)?;
                match field {
                    Field::Xattrs => Test::Xattr(pattern),
                    Field::Targets => Test::Target(pattern),
                    _ => Test::Capability(pattern),
                }
            }
            Field::Hash(family, algorithm) => filter::parse_digest(family, algorithm, &value)?,
        };
        if field.is_of_patterns() {
            self.count_patterns(1)?;
        }
        let mismatched = options.mismatch.iter().any(|word| field.is_named_by(word));
        Ok((Check { field, value, test, inverted: negated != mismatched }, doubt))
    }
}

fn parse_paths(paths: Vec<String>, at: &str) -> Result<Vec<PathBuf>, ParameterError> {
    let mut parsed: Vec<PathBuf> = Vec::with_capacity(paths.len());
    for (index, path) in paths.into_iter().enumerate() {
        let refuse = |reason: &str| Err(ParameterError::new(format!("{at}[{index}]"), reason));
        if path.is_empty() {
            return refuse("the path is empty");
        }
        if path.len() >= PATH_BYTES_MAX {
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
