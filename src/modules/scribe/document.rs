//! From the JSON of an operation to a document.
//!
//! | part | fields |
//! |---|---|
//! | variable | `key`, `value`: `${key}` in paths, names of files and of packages. What is left of that form is an error |
//! | object | `object` (its name) and one of the following |
//! | … `package` | `name`, `collectmatch` (an expression on names in place of it), `onlynewest` |
//! | … `filecontent` | `path`, `file`, `expression`, `concat`, `import-chain` |
//! | … `filename` | `path`, `file` with a group |
//! | … `hasline` | `path`, `file`, `expression` |
//! | … `raw` | `identifiers`: `identifier`, `value` |
//! | test | `test` (its id), `name`, `object`, `description`, `tags`, `if`, and at most one of `evr` (`operation`, `value`), `regexp` and `exactmatch` (`value`); `expectedresult` and `expecterror` are of no meaning here |
//!
//! Programs of the original write parts that are not used as empty objects: those are missing.

use super::variables::{Text, expand, reference};
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::expressions::capturing;
use crate::modules::fields::only;
use crate::modules::file::Wanted;
use crate::modules::limits::{PATTERN_BYTES_MAX, PATTERNS_MAX};
use crate::modules::pkg::versions::Condition;
use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;

/// Objects, tests, variables of one document; the vulnerabilities of a distribution are some thousand tests.
const PARTS_MAX: usize = 20_000;
/// Bytes of a name, a value or a description.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;
/// Levels below a path that are looked at, as in the original.
const DEPTH_MAX: u64 = 10;
/// In the path of an object that another one's `import-chain` looks at: the directory of the file that was found.
pub(super) const CHAIN_ROOT: &str = "${chain_root}";

/// What an operation asks for.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) document: Document,
    pub(super) onlytrue: bool,
    pub(super) humanoutput: bool,
    pub(super) jsonoutput: bool,
}

#[derive(Debug)]
pub(super) struct Document {
    pub(super) objects: Vec<Object>,
    pub(super) tests: Vec<Test>,
    /// The places of the tests, each behind those that it depends on.
    pub(super) order: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) source: Source,
}

/// Where values come from.
#[derive(Debug)]
pub(super) enum Source {
    Package {
        name: String,
        collect: Option<Regex>,
        only_newest: bool,
    },
    /// The groups of the lines that match; joined to one value by a text.
    Content {
        place: Place,
        expression: Regex,
        concat: Option<String>,
        chain: Vec<usize>,
    },
    /// The first group of the name.
    Name {
        place: Place,
        expression: Regex,
    },
    /// "true" or "false".
    HasLine {
        place: Place,
        expression: Regex,
    },
    /// Identifiers and values.
    Raw(Vec<(String, String)>),
}

/// Which files.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) file: String,
}

#[derive(Debug)]
pub(super) struct Test {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) tags: Option<Value>,
    pub(super) object: usize,
    pub(super) evaluator: Evaluator,
    /// The tests that must be true.
    pub(super) depends_on: Vec<usize>,
}

/// What a value is compared with.
#[derive(Debug)]
pub(super) enum Evaluator {
    /// That there is a value is enough.
    Exists,
    Version(Condition),
    Regex(Regex),
    Exact(String),
}

impl Place {
    /// As the module `file` looks for it below a path.
    pub(super) fn wanted<'w>(&'w self, paths: &'w [String]) -> Wanted<'w> {
        Wanted { paths, names: &self.file, modes: None, maxdepth: DEPTH_MAX }
    }

    pub(super) fn is_in_chain(&self) -> bool {
        self.path.contains(CHAIN_ROOT)
    }
}

impl Source {
    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Source::Content { place, .. } | Source::Name { place, .. } | Source::HasLine { place, .. } => Some(place),
            Source::Package { .. } | Source::Raw(_) => None,
        }
    }
}

impl Document {
    /// The paths below which it looks.
    pub(super) fn paths(&self) -> Vec<String> {
        let places = self.objects.iter().filter_map(|object| object.source.place());
        places.filter(|place| !place.is_in_chain()).map(|place| place.path.clone()).collect()
    }
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Order, ParameterError> {
    let text = parameters.to_string();
    let given = Fields::at("parameters", &text)?;
    only(&given, &["scribedoc", "onlytrue", "humanoutput", "jsonoutput"])?;
    let document = given.inner("scribedoc")?.ok_or_else(|| given.missing("scribedoc"))?;
    Ok(Order {
        document: Reader::default().document(&document)?,
        onlytrue: given.boolean("onlytrue")?,
        humanoutput: given.boolean("humanoutput")?,
        jsonoutput: given.boolean("jsonoutput")?,
    })
}

#[derive(Default)]
struct Reader {
    variables: Vec<(String, String)>,
    expressions: usize,
}

/// The elements of an array of objects.
fn parts<T>(
    given: &Fields,
    name: &str,
    mut read: impl FnMut(&Fields) -> Result<T, ParameterError>,
) -> Result<Vec<T>, ParameterError> {
    let parts = given.array(name, PARTS_MAX)?;
    let part = |(index, raw): (usize, &serde_json::value::RawValue)| {
        read(&Fields::at(&given.path(&format!("{name}[{index}]")), raw.get())?)
    };
    parts.into_iter().enumerate().map(part).collect()
}

/// The places of the parts by their names, which differ.
fn places<'n>(
    given: &Fields,
    field: &str,
    names: impl Iterator<Item = &'n str>,
) -> Result<HashMap<&'n str, usize>, ParameterError> {
    let mut places = HashMap::new();
    for (index, name) in names.enumerate() {
        if places.insert(name, index).is_some() {
            return Err(given.error(&format!("{field}[{index}]"), format!("\"{name}\" is there twice")).into());
        }
    }
    Ok(places)
}

/// An object that has something in it; Go writes missing ones as `{}`, or with empty fields.
fn filled<'a>(given: &Fields<'a>, name: &str, key: &str) -> Result<Option<Fields<'a>>, ParameterError> {
    let inner = given.inner(name)?;
    let is_filled = |inner: &Fields| inner.raw(key).is_some_and(|raw| !matches!(raw.get(), "\"\"" | "[]"));
    Ok(inner.filter(|inner| is_filled(inner) || inner.names().any(|name| name != key)))
}

impl Reader {
    fn document(&mut self, given: &Fields) -> Result<Document, ParameterError> {
        only(given, &["variables", "objects", "tests"])?;
        let variables = parts(given, "variables", |variable| {
            only(variable, &["key", "value"])?;
            let key = variable.text_required("key", TEXT_BYTES_MAX)?;
            Ok((key, variable.text("value", TEXT_BYTES_MAX)?))
        })?;
        places(given, "variables", variables.iter().map(|(key, _)| key.as_str()))?;
        self.variables = variables;
        let mut chains = Vec::new();
        let mut objects = parts(given, "objects", |object| {
            let (object, chain) = self.object(object)?;
            chains.push(chain);
            Ok(object)
        })?;
        let names: Vec<String> = objects.iter().map(|object| object.name.clone()).collect();
        let by_name = places(given, "objects", names.iter().map(String::as_str))?;
        for (index, names) in chains.into_iter().enumerate() {
            let links = names.iter().map(|name| {
                let place = by_name.get(name.as_str()).copied();
                place.filter(|place| objects[*place].source.place().is_some_and(Place::is_in_chain)).ok_or_else(|| {
                    let reason = format!("\"{name}\" is no object with {CHAIN_ROOT} in its path");
                    given.error(&format!("objects[{index}].filecontent.import-chain"), reason)
                })
            });
            let links = links.collect::<Result<Vec<_>, _>>()?;
            if let Source::Content { chain, .. } = &mut objects[index].source {
                *chain = links;
            }
        }
        let mut dependencies = Vec::new();
        let mut tests = parts(given, "tests", |test| {
            let (test, depends_on) = self.test(test, &by_name)?;
            if objects[test.object].source.place().is_some_and(Place::is_in_chain) {
                let reason = format!("{CHAIN_ROOT} in the path of test {:?} has a value in a chain only", test.id);
                return Err(given.error("tests", reason).into());
            }
            dependencies.push(depends_on);
            Ok(test)
        })?;
        if tests.is_empty() {
            return Err(given.error("tests", "holds no test").into());
        }
        let ids: Vec<String> = tests.iter().map(|test| test.id.clone()).collect();
        let by_id = places(given, "tests", ids.iter().map(String::as_str))?;
        for (index, ids) in dependencies.into_iter().enumerate() {
            let place = |id: &String| {
                let missing = || given.error(&format!("tests[{index}].if"), format!("there is no test \"{id}\""));
                by_id.get(id.as_str()).copied().ok_or_else(missing)
            };
            tests[index].depends_on = ids.iter().map(place).collect::<Result<_, _>>()?;
        }
        let order = order(&tests).map_err(|index| {
            given.error(&format!("tests[{index}].if"), "the test depends on itself, perhaps through others")
        })?;
        Ok(Document { objects, tests, order })
    }

    fn object(&mut self, given: &Fields) -> Result<(Object, Vec<String>), ParameterError> {
        only(given, &["object", "package", "filecontent", "filename", "hasline", "raw"])?;
        let name = given.text_required("object", TEXT_BYTES_MAX)?;
        let (mut sources, mut chain) = (Vec::new(), Vec::new());
        if let Some(package) = filled(given, "package", "name")? {
            only(&package, &["name", "collectmatch", "onlynewest"])?;
            let collect = match package.text("collectmatch", PATTERN_BYTES_MAX)? {
                text if text.is_empty() => None,
                text => {
                    let text = expand(&self.variables, &text, Text::Expression);
                    let regex = text.and_then(|text| self.compile(&text));
                    Some(regex.map_err(|reason| package.error("collectmatch", reason))?)
                }
            };
            let name = self.expanded(&package, "name", Text::Plain)?;
            sources.push(Source::Package { name, collect, only_newest: package.boolean("onlynewest")? });
        }
        if let Some(content) = filled(given, "filecontent", "path")? {
            only(&content, &["path", "file", "expression", "concat", "import-chain"])?;
            let concat = Some(content.text("concat", TEXT_BYTES_MAX)?).filter(|text| !text.is_empty());
            let expression = self.expression(&content, "expression")?;
            has_group(&expression).map_err(|reason| content.error("expression", reason))?;
            chain = content.strings("import-chain", PARTS_MAX)?;
            sources.push(Source::Content { place: self.place(&content)?, expression, concat, chain: Vec::new() });
        }
        if let Some(file) = filled(given, "filename", "path")? {
            only(&file, &["path", "file"])?;
            let place = self.place(&file)?;
            let expression = self.compile(&place.file).map_err(|reason| file.error("file", reason))?;
            has_group(&expression).map_err(|reason| file.error("file", reason))?;
            sources.push(Source::Name { place, expression });
        }
        if let Some(line) = filled(given, "hasline", "path")? {
            only(&line, &["path", "file", "expression"])?;
            let expression = self.expression(&line, "expression")?;
            sources.push(Source::HasLine { place: self.place(&line)?, expression });
        }
        if let Some(raw) = filled(given, "raw", "identifiers")? {
            only(&raw, &["identifiers"])?;
            sources.push(Source::Raw(parts(&raw, "identifiers", |one| {
                only(one, &["identifier", "value"])?;
                let identifier = one.text_required("identifier", TEXT_BYTES_MAX)?;
                Ok((identifier, one.text_required("value", TEXT_BYTES_MAX)?))
            })?));
        }
        match sources.pop() {
            Some(source) if sources.is_empty() => Ok((Object { name, source }, chain)),
            found => {
                let count = if found.is_none() { "none" } else { "more than one" };
                let reason = format!("has {count} of package, filecontent, filename, hasline and raw");
                Err(given.error("object", reason).into())
            }
        }
    }

    fn place(&mut self, given: &Fields) -> Result<Place, ParameterError> {
        let path = self.expanded(given, "path", Text::Path)?;
        let file = self.expanded(given, "file", Text::Expression)?;
        let place = Place { path, file };
        if !place.path.starts_with('/') && !place.path.starts_with(CHAIN_ROOT) {
            return Err(given.error("path", "does not begin with /").into());
        }
        // A directory that is found in a chain is taken literally, as one path is.
        let paths = [if place.is_in_chain() { "/".to_owned() } else { place.path.clone() }];
        place.wanted(&paths).check().map_err(|error| {
            let field = if error.field.contains(".paths") { "path" } else { "file" };
            given.error(field, error.reason)
        })?;
        Ok(place)
    }

    fn test(&mut self, given: &Fields, objects: &HashMap<&str, usize>) -> Result<(Test, Vec<String>), ParameterError> {
        let unused = ["expectedresult", "expecterror"];
        let known = ["test", "name", "object", "description", "evr", "regexp", "exactmatch", "tags", "if"];
        only(given, &[&known[..], &unused].concat())?;
        let object = given.text_required("object", TEXT_BYTES_MAX)?;
        let missing = || given.error("object", format!("there is no object \"{object}\""));
        let mut evaluators = Vec::new();
        if let Some(version) = filled(given, "evr", "value")? {
            only(&version, &["operation", "value"])?;
            let value = version.text_required("value", TEXT_BYTES_MAX)?;
            let text = format!("{}{value}", version.text_required("operation", TEXT_BYTES_MAX)?);
            let condition = Condition::parse(&text).unwrap_or_else(|| Err("is none of <, <=, =, !=, >= and >".into()));
            evaluators.push(Evaluator::Version(condition.map_err(|reason| version.error("operation", reason))?));
        }
        if let Some(pattern) = filled(given, "regexp", "value")? {
            only(&pattern, &["value"])?;
            evaluators.push(Evaluator::Regex(self.expression(&pattern, "value")?));
        }
        if let Some(exact) = filled(given, "exactmatch", "value")? {
            only(&exact, &["value"])?;
            evaluators.push(Evaluator::Exact(exact.text_required("value", TEXT_BYTES_MAX)?));
        }
        let evaluator = evaluators.pop().unwrap_or(Evaluator::Exists);
        if !evaluators.is_empty() {
            return Err(given.error("test", "has more than one of evr, regexp and exactmatch").into());
        }
        let test = Test {
            id: given.text_required("test", TEXT_BYTES_MAX)?,
            name: given.text("name", TEXT_BYTES_MAX)?,
            description: given.text("description", TEXT_BYTES_MAX)?,
            tags: given.value("tags", PARTS_MAX)?,
            object: *objects.get(object.as_str()).ok_or_else(missing)?,
            evaluator,
            depends_on: Vec::new(),
        };
        Ok((test, given.strings("if", PARTS_MAX)?))
    }

    fn expression(&mut self, given: &Fields, name: &str) -> Result<Regex, ParameterError> {
        let text = given.text_required(name, PATTERN_BYTES_MAX)?;
        if let Some(reference) = reference(&text, Text::Expression) {
            let reason = format!("variables are not replaced here, and {reference} matches nothing");
            return Err(given.error(name, reason).into());
        }
        self.compile(&text).map_err(|reason| given.error(name, reason).into())
    }

    /// The text of a field, with its variables replaced.
    fn expanded(&self, given: &Fields, name: &str, kind: Text) -> Result<String, ParameterError> {
        let text = given.text_required(name, TEXT_BYTES_MAX)?;
        expand(&self.variables, &text, kind).map_err(|reason| given.error(name, reason).into())
    }

    fn compile(&mut self, text: &str) -> Result<Regex, String> {
        self.expressions += 1;
        if self.expressions > PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} regular expressions in one operation"));
        }
        capturing(text)
    }
}

/// Refuses an expression that never has a value.
fn has_group(expression: &Regex) -> Result<(), &'static str> {
    if expression.captures_len() > 1 { Ok(()) } else { Err("has no group: (…) is what a value is made of") }
}

/// Puts tests behind those that they depend on. An error is a test that depends on itself.
fn order(tests: &[Test]) -> Result<Vec<usize>, usize> {
    let mut waits_for: Vec<usize> = tests.iter().map(|test| test.depends_on.len()).collect();
    let mut followers = vec![Vec::new(); tests.len()];
    for (index, test) in tests.iter().enumerate() {
        for dependency in &test.depends_on {
            followers[*dependency].push(index);
        }
    }
    let mut order: Vec<usize> = (0..tests.len()).filter(|index| waits_for[*index] == 0).collect();
    let mut next = 0;
    while let Some(done) = order.get(next) {
        next += 1;
        for follower in std::mem::take(&mut followers[*done]) {
            waits_for[follower] -= 1;
            if waits_for[follower] == 0 {
                order.push(follower);
            }
        }
    }
    waits_for.iter().position(|count| *count > 0).map_or(Ok(order), Err)
}
