//! Runs the tests of a document.

use super::document::{Evaluator, Order, Test};
use super::objects::{Candidate, Collected, Collector};
use crate::modules::file::mounts::Mounts;
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// The only label of elements that is a list.
const LABEL: &str = "results";
/// Results of one test that are returned, and bytes of what they are of.
const RESULTS_MAX: usize = 1_000;
const RESULTS_BYTES_MAX: usize = 256 << 10;

/// How a test ended.
#[derive(Debug, Clone, Default)]
struct Outcome {
    error: Option<String>,
    /// One of its values is true.
    has_true: bool,
    /// That, and all tests that it depends on are.
    is_true: bool,
    /// Per value: the result, and what it is of.
    results: Vec<(bool, String)>,
    /// Results that are not among those.
    left_out: usize,
}

/// Runs a document on the machine whose root directory is `root`; paths of files are absolute.
pub(super) fn run(order: &Order, root: &Path, context: Context) -> ModuleResult {
    let mut report = Report::new(context, [LABEL]);
    let document = &order.document;
    let mut collector = Collector::new(document, root, context, Mounts::read());
    let mut collected: Vec<Option<Collected>> = document.objects.iter().map(|_| None).collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; document.tests.len()];
    for index in &document.order {
        if report.is_over() {
            break;
        }
        let test = &document.tests[*index];
        let object = &document.objects[test.object];
        let collected = collected[test.object].get_or_insert_with(|| {
            let collected = collector.collect(test.object, &mut || report.is_over());
            for text in &collected.unseen {
                report.unseen(format_args!("object {:?}: {text}", object.name));
            }
            collected
        });
        let outcome = evaluate(test, collected, &object.name, &outcomes);
        add(test, &outcome, order.onlytrue, &mut report);
        outcomes[*index] = Some(outcome);
    }
    let is_run = outcomes.iter().map(Option::is_some);
    let examined = is_run.clone().filter(|is_run| *is_run).count();
    for (test, _) in document.tests.iter().zip(is_run).filter(|(_, is_run)| !is_run) {
        report.unseen(format_args!("test {:?} was not run", test.id));
    }
    let mut result = report.finish(&json!({"examined": examined}));
    // They were run in another order than the document has them.
    let places: HashMap<&str, usize> =
        document.tests.iter().enumerate().map(|(place, test)| (test.id.as_str(), place)).collect();
    if let Some(results) = result.elements.get_mut(LABEL).and_then(Value::as_array_mut) {
        results.sort_by_key(|element| element["testid"].as_str().and_then(|id| places.get(id)));
    }
    // As the original calls them.
    result.statistics["execruntime"] = result.statistics["exectime"].clone();
    result.elements["humanoutput"] = json!(order.humanoutput);
    result.elements["jsonoutput"] = json!(order.jsonoutput);
    result
}

fn evaluate(test: &Test, object: &Collected, object_name: &str, outcomes: &[Option<Outcome>]) -> Outcome {
    let failed = |error: String| Outcome { error: Some(error), ..Outcome::default() };
    // Those are ahead of it in the order.
    let dependencies: Vec<&Outcome> = test.depends_on.iter().filter_map(|index| outcomes[*index].as_ref()).collect();
    if dependencies.len() < test.depends_on.len() || dependencies.iter().any(|outcome| outcome.error.is_some()) {
        return failed("a test that it depends on failed".into());
    }
    let (mut results, mut no_version) = (Vec::with_capacity(object.candidates.len()), None);
    for candidate in &object.candidates {
        match compare(&test.evaluator, candidate) {
            Some(result) => results.push((result, &*candidate.identifier)),
            None => no_version = no_version.or(Some(&candidate.identifier)),
        }
    }
    let has_true = results.iter().any(|(result, _)| *result);
    if let Some(identifier) = no_version.filter(|_| !has_true) {
        // Not the value: it may be of a file.
        return failed(format!("what {identifier:?} has is no version"));
    }
    let is_joined = object.candidates.iter().any(|candidate| candidate.identifier.starts_with("concat:"));
    if !object.unseen.is_empty() && (!has_true || is_joined) {
        let [first, ..] = &object.unseen[..] else { return Outcome::default() };
        return failed(format!("object {object_name:?} was not looked at completely: {first}"));
    }
    let is_true = has_true && dependencies.iter().all(|outcome| outcome.is_true);
    let (results, left_out) = some_of(results);
    Outcome { error: None, has_true, is_true, results, left_out }
}

/// As many results as are returned, the true ones first if that is not all; and how many are left out.
fn some_of(mut results: Vec<(bool, &str)>) -> (Vec<(bool, String)>, usize) {
    let bytes: usize = results.iter().map(|(_, identifier)| identifier.len()).sum();
    if results.len() > RESULTS_MAX || bytes > RESULTS_BYTES_MAX {
        results.sort_by_key(|(result, _)| !result);
    }
    let mut bytes_left = RESULTS_BYTES_MAX;
    let has_room = |(_, identifier): &&(bool, &str)| {
        let left = bytes_left.checked_sub(identifier.len());
        bytes_left = left.unwrap_or(bytes_left);
        left.is_some()
    };
    let some: Vec<(bool, String)> = results
        .iter()
        .take(RESULTS_MAX)
        .take_while(has_room)
        .map(|(result, identifier)| (*result, (*identifier).to_owned()))
        .collect();
    let left_out = results.len() - some.len();
    (some, left_out)
}

/// Adds what a test found to the report.
fn add(test: &Test, outcome: &Outcome, only_true: bool, report: &mut Report) {
    if let Some(error) = &outcome.error {
        report.unseen(format_args!("Error: {error} in {:?}", test.id));
    }
    if outcome.is_true || !only_true {
        if outcome.left_out > 0 {
            report.note(format_args!("test {:?}: {} of its results are left out", test.id, outcome.left_out));
        }
        report.add(LABEL, element(test, outcome));
    }
}

/// None: it cannot be compared.
fn compare(evaluator: &Evaluator, candidate: &Candidate) -> Option<bool> {
    match evaluator {
        Evaluator::Exists => Some(true),
        Evaluator::Version(condition) => condition.is_met_by(&candidate.value, candidate.scheme),
        Evaluator::Regex(regex) => Some(regex.is_match(&candidate.value)),
        Evaluator::Exact(text) => Some(candidate.value == *text),
    }
}

fn element(test: &Test, outcome: &Outcome) -> Value {
    let results = outcome.results.iter();
    let results: Vec<Value> =
        results.map(|(result, identifier)| json!({"result": result, "identifier": identifier})).collect();
    let mut element = json!({
        "testid": test.id, "name": test.name, "description": test.description,
        "iserror": outcome.error.is_some(), "error": outcome.error.as_deref().unwrap_or_default(),
        "masterresult": outcome.is_true, "hastrueresults": outcome.has_true, "results": results,
    });
    if let Some(tags) = &test.tags {
        element["tags"] = tags.clone();
    }
    element
}
