//! Runs the tests of a document.

use super::document::{Evaluator, Order, Test};
use super::objects::{Candidate, Collected, Collector};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::{Value, json};
use std::path::Path;

/// The only label of elements that is a list.
const LABEL: &str = "results";

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
}

/// Runs a document on the machine whose root directory is `root`; paths of files are absolute.
pub(super) fn run(order: &Order, root: &Path, context: Context) -> ModuleResult {
    let mut report = Report::new(context, [LABEL]);
    let document = &order.document;
    let mut collector = Collector::new(document, root, context);
    let mut collected: Vec<Option<Collected>> = document.objects.iter().map(|_| None).collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; document.tests.len()];
    for index in &document.order {
        if report.is_over() {
            break;
        }
        let test = &document.tests[*index];
        let object =
            collected[test.object].get_or_insert_with(|| collector.collect(test.object, &mut || report.is_over()));
        let outcome = evaluate(test, object, &document.objects[test.object].name, &outcomes);
        outcomes[*index] = Some(outcome);
    }
    for (object, collected) in document.objects.iter().zip(&collected) {
        for text in collected.iter().flat_map(|collected| &collected.unseen) {
            report.unseen(format_args!("object {:?}: {text}", object.name));
        }
    }
    let mut examined = 0;
    for (test, outcome) in document.tests.iter().zip(outcomes) {
        let Some(outcome) = outcome else {
            report.unseen(format_args!("test {:?} was not run", test.id));
            continue;
        };
        examined += 1;
        if let Some(error) = &outcome.error {
            report.unseen(format_args!("Error: {error} in {:?}", test.id));
        }
        if outcome.is_true || !order.onlytrue {
            report.add(LABEL, element(test, &outcome));
        }
    }
    let mut result = report.finish(&json!({"examined": examined}));
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
    let mut results = Vec::with_capacity(object.candidates.len());
    for candidate in &object.candidates {
        match compare(&test.evaluator, candidate) {
            Some(result) => results.push((result, candidate.identifier.clone())),
            // Not the value: it may be of a file.
            None => return failed(format!("what {:?} has is no version", candidate.identifier)),
        }
    }
    let has_true = results.iter().any(|(result, _)| *result);
    let is_joined = object.candidates.iter().any(|candidate| candidate.identifier.starts_with("concat:"));
    if !object.unseen.is_empty() && (!has_true || is_joined) {
        let [first, ..] = &object.unseen[..] else { return Outcome::default() };
        return failed(format!("object {object_name:?} was not looked at completely: {first}"));
    }
    let is_true = has_true && dependencies.iter().all(|outcome| outcome.is_true);
    Outcome { error: None, has_true, is_true, results }
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
