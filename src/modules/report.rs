//! What a run of a module finds: elements by label, and what it could not see, within limits.
//!
//! Whatever limit is met, what was found until then is returned, with an error that begins with "partial" and names the limit.
//! A label is missing rather than empty when something was not looked at: an empty list means that there is nothing.

use super::{Context, ModuleResult, limits, notation};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// See the module docs.
pub(super) struct Report<'c> {
    context: Context<'c>,
    started: Instant,
    elements: BTreeMap<String, Vec<Value>>,
    count: usize,
    /// Bytes of the elements.
    bytes: usize,
    /// Those that they may have.
    room: usize,
    /// Labels of which not everything was looked at.
    incomplete: BTreeSet<String>,
    errors: Vec<String>,
    /// Their bytes in a result.
    errors_bytes: usize,
    errors_dropped: u64,
    /// Why the run ended before its end.
    stopped: Option<String>,
    /// There was no room for an element beside all labels: the run ends, and its result has no labels without elements.
    is_short: bool,
    /// Nor beside those that have some.
    is_full: bool,
    pause: Duration,
    next_progress: Instant,
}

impl<'c> Report<'c> {
    /// An empty one, for these labels.
    pub(super) fn new(context: Context<'c>, labels: impl IntoIterator<Item = impl Into<String>>) -> Report<'c> {
        let started = Instant::now();
        let elements: BTreeMap<String, Vec<Value>> =
            labels.into_iter().map(|label| (label.into(), Vec::new())).collect();
        let room = room(&context, elements.keys());
        Report {
            context,
            started,
            elements,
            count: 0,
            bytes: 0,
            room,
            incomplete: BTreeSet::new(),
            errors: Vec::new(),
            errors_bytes: 0,
            errors_dropped: 0,
            stopped: None,
            is_short: false,
            is_full: false,
            pause: limits::PROGRESS_PAUSE_FIRST,
            next_progress: started + limits::PROGRESS_PAUSE_FIRST,
        }
    }

    /// Adds what was found for a label, also when the time is over: it was found before. False: there is no room.
    pub(super) fn add(&mut self, label: &str, element: Value) -> bool {
        if self.is_full {
            return false;
        }
        let bytes = element.to_string().len() + 1;
        if self.bytes + bytes > self.room && !self.is_short {
            self.is_short = true;
            let with_elements = self.elements.iter().filter(|(_, found)| !found.is_empty());
            self.room = room(&self.context, with_elements.map(|(label, _)| label));
        }
        let of_label = if self.is_short && self.count(label) == 0 { label_bytes(label) } else { 0 };
        if self.bytes + bytes + of_label > self.room || self.count == limits::ELEMENTS_MAX {
            (self.is_short, self.is_full) = (true, true);
            return false;
        }
        self.bytes += bytes + of_label;
        self.count += 1;
        self.elements.entry(label.to_owned()).or_default().push(element);
        true
    }

    /// Adds what a search found, unless it has as many as it wants.
    pub(super) fn add_within(&mut self, label: &str, matchlimit: usize, element: Value) {
        if self.count(label) == matchlimit {
            self.unseen_for(label, format_args!("stopped at its matchlimit of {matchlimit}"));
        } else {
            self.add(label, element);
        }
    }

    /// How many elements a label has.
    pub(super) fn count(&self, label: &str) -> usize {
        self.elements.get(label).map_or(0, Vec::len)
    }

    /// Something was not looked at, for all labels.
    pub(super) fn unseen(&mut self, text: impl Display) {
        self.incomplete.extend(self.elements.keys().cloned());
        self.note(text);
    }

    /// Something was not looked at, for some labels.
    pub(super) fn unseen_of(&mut self, labels: impl IntoIterator<Item = String>, text: impl Display) {
        self.incomplete.extend(labels);
        self.note(text);
    }

    /// Something was not looked at, for one label: a limit of its search was met.
    pub(super) fn unseen_for(&mut self, label: &str, text: impl Display) {
        self.incomplete.insert(label.to_owned());
        self.note(format_args!("partial: search {label}: {text}"));
    }

    /// Something to know that hides nothing.
    pub(super) fn note(&mut self, text: impl Display) {
        let text = notation::shortened(text.to_string(), limits::ERROR_BYTES_MAX);
        if self.errors.contains(&text) {
            return;
        }
        if self.errors.len() == limits::ERRORS_MAX {
            self.errors_dropped += 1;
            return;
        }
        let bytes = self.errors_bytes + json!(text).to_string().len() + 1;
        if bytes > self.context.result_bytes_max / 16 {
            self.errors_dropped += 1;
        } else {
            self.errors_bytes = bytes;
            self.errors.push(text);
        }
    }

    /// The run ends before its end: "stopped {reason}".
    pub(super) fn stop(&mut self, reason: impl Display) {
        self.stopped.get_or_insert_with(|| reason.to_string());
    }

    /// When the run ends at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.context.deadline
    }

    /// Whether the run ends: it was stopped, or its time is over. To be asked often; what was found is reported now and then.
    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if !self.has_ended() && self.context.deadline.is_some_and(|deadline| now >= deadline) {
            self.stop(format_args!("at the time limit, after {:.1?}", self.started.elapsed()));
        }
        if !self.has_ended() && now >= self.next_progress {
            if let Some(progress) = self.context.progress {
                progress(&self.result(self.elements.clone(), &Value::Null, true));
            }
            let time_max = self
                .context
                .deadline
                .map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(self.started));
            let pause_max = limits::PROGRESS_PAUSE_FIRST.max(time_max / limits::PROGRESS_PARTS);
            self.pause = (self.pause * 2).min(pause_max);
            self.next_progress = now + self.pause;
        }
        self.has_ended()
    }

    fn has_ended(&self) -> bool {
        self.stopped.is_some() || self.is_short
    }

    /// The result of a run that is over. `statistics` gets `totalhits`, `exectime`, and `partial` if it is.
    pub(super) fn finish(mut self, statistics: &Value) -> ModuleResult {
        let elements = std::mem::take(&mut self.elements);
        self.result(elements, statistics, false)
    }

    fn result(&self, elements: BTreeMap<String, Vec<Value>>, statistics: &Value, goes_on: bool) -> ModuleResult {
        let is_cut = goes_on || self.has_ended();
        let is_partial = is_cut || !self.incomplete.is_empty();
        let is_there =
            |(label, found): &(String, Vec<Value>)| !found.is_empty() || !(is_cut || self.incomplete.contains(label));
        let elements: Map<String, Value> =
            elements.into_iter().filter(is_there).map(|(label, found)| (label, Value::Array(found))).collect();
        let no_room = self.is_short.then(|| format!("after {} matches: the result has no room for more", self.count));
        let stopped = self.stopped.clone().or(no_room).map(|reason| format!("partial: stopped {reason}"));
        let elapsed = self.started.elapsed();
        let so_far = goes_on.then(|| format!("partial: matches after {:.0}s", elapsed.as_secs_f64()));
        let dropped = (self.errors_dropped > 0).then(|| format!("{} more errors", self.errors_dropped));
        let errors: Vec<String> =
            stopped.into_iter().chain(so_far).chain(self.errors.iter().cloned()).chain(dropped).collect();
        let mut statistics = statistics.as_object().cloned().unwrap_or_default();
        statistics.insert("totalhits".into(), json!(self.count));
        statistics.insert("exectime".into(), json!(notation::duration(elapsed)));
        if is_partial {
            statistics.insert("partial".into(), json!(true));
        }
        ModuleResult {
            foundanything: self.count > 0 || self.is_full,
            success: true,
            elements: Value::Object(elements),
            statistics: Value::Object(statistics),
            errors: (!errors.is_empty()).then_some(errors),
        }
    }
}

/// Bytes of a result for elements, beside these labels, errors and the rest.
fn room<'l>(context: &Context, labels: impl Iterator<Item = &'l String>) -> usize {
    let labels: usize = labels.map(|label| label_bytes(label)).sum();
    context.result_bytes_max.saturating_sub(context.result_bytes_max / 8 + limits::FRAME_BYTES + labels)
}

/// Bytes of a label with an empty list.
fn label_bytes(label: &str) -> usize {
    json!(label).to_string().len() + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_label_without_a_match_is_there_only_if_everything_was_looked_at() {
        let report = || Report::new(Context::by_hand(), ["a", "b"]);
        let mut whole = report();
        assert!(whole.add("a", json!(1)));
        let result = whole.finish(&json!({"examined": 7}));
        assert!(result.success && result.foundanything && result.errors.is_none());
        assert_eq!(result.elements, json!({"a": [1], "b": []}));
        assert_eq!((&result.statistics["examined"], &result.statistics["totalhits"]), (&json!(7), &json!(1)));
        assert_eq!(result.statistics.get("partial"), None);

        let mut unseen = report();
        unseen.add("a", json!(1));
        unseen.unseen("read /proc/1/maps: no permission");
        let result = unseen.finish(&Value::Null);
        assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({"a": [1]}), &json!(true)));
        assert_eq!(result.errors.unwrap(), ["read /proc/1/maps: no permission"]);

        let mut of_one = report();
        of_one.unseen_for("b", "stopped at its matchlimit of 1");
        let result = of_one.finish(&Value::Null);
        assert_eq!(result.elements, json!({"a": []}));
        assert_eq!(result.errors.unwrap(), ["partial: search b: stopped at its matchlimit of 1"]);
        assert!(!result.foundanything);
    }

    #[test]
    fn what_was_found_before_a_limit_is_returned() {
        let small = Context { result_bytes_max: 8 << 10, ..Context::by_hand() };
        let mut report = Report::new(small, ["a"]);
        let found = (0..1000).take_while(|n| report.add("a", json!(format!("{n:100}")))).count();
        assert!((20..80).contains(&found), "{found}");
        assert!(report.is_over());
        for n in 0..1000 {
            report.unseen(format!("{n:2000}"));
        }
        let result = report.finish(&Value::Null);
        assert_eq!(result.elements["a"].as_array().unwrap().len(), found);
        let errors = result.errors.as_ref().unwrap();
        assert!(errors[0].starts_with("partial: stopped after"), "{}", errors[0]);
        assert!(errors.last().unwrap().ends_with("more errors"));
        assert!(serde_json::to_string(&result).unwrap().len() <= 8 << 10);

        let late = Context { deadline: Some(Instant::now()), ..Context::by_hand() };
        let mut report = Report::new(late, ["a"]);
        assert!(report.is_over());
        assert!(report.add("a", json!(1)), "it was found before");
        let result = report.finish(&Value::Null);
        assert!(result.errors.unwrap()[0].starts_with("partial: stopped at the time limit"));
        assert_eq!(result.elements, json!({"a": [1]}));
    }

    #[test]
    fn an_error_that_is_there_already_is_none_more() {
        let mut report = Report::new(Context::by_hand(), ["a"]);
        for n in 0..limits::ERRORS_MAX + 2 {
            report.note(format!("\"{n}\""));
        }
        report.note("\"0\"");
        let bytes: usize = report.errors.iter().map(|text| json!(text).to_string().len() + 1).sum();
        assert_eq!((report.errors.len(), report.errors_bytes), (limits::ERRORS_MAX, bytes));
        assert_eq!(report.finish(&Value::Null).errors.unwrap().last().unwrap(), "2 more errors");
    }

    #[test]
    fn labels_without_elements_take_no_room_from_what_was_found() {
        let small = Context { result_bytes_max: 16 << 10, ..Context::by_hand() };
        let labels: Vec<String> = (0..900).map(|n| format!("connectedip 10.0.0.{n}")).collect();
        let mut report = Report::new(small, &labels);
        let found = labels.iter().take_while(|label| report.add(label, json!(format!("{label:100}")))).count();
        assert!(found > 40 && report.is_over(), "{found}");
        let result = report.finish(&Value::Null);
        assert_eq!(result.elements.as_object().unwrap().len(), found, "what was not looked for to the end is missing");
        assert!(serde_json::to_string(&result).unwrap().len() <= 16 << 10);
        assert!(result.foundanything && result.success);
        let error = format!("partial: stopped after {found} matches: the result has no room for more");
        assert_eq!(result.errors.unwrap(), [error]);

        let mut report = Report::new(small, ["a"]);
        assert!(!report.add("a", json!("x".repeat(16 << 10))));
        let result = report.finish(&Value::Null);
        assert_eq!((result.foundanything, &result.elements), (true, &json!({})), "it was found, without room for it");
    }

    #[test]
    fn what_was_found_so_far_is_reported() {
        let said = Mutex::new(Vec::new());
        let progress = |result: &ModuleResult| said.lock().unwrap().push(result.clone());
        let mut report = Report::new(Context { progress: Some(&progress), ..Context::by_hand() }, ["a", "b"]);
        report.add("a", json!(1));
        assert!(!report.is_over());
        assert!(said.lock().unwrap().is_empty());
        report.next_progress = Instant::now();
        assert!(!report.is_over() && !report.is_over());
        let said = said.lock().unwrap();
        let [result] = &said[..] else { panic!("{said:?}") };
        assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({"a": [1]}), &json!(true)));
    }
}
