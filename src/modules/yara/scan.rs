//! One scan: a file or the memory of a process through the rules.

use super::memory::{Gaps, Memory};
use super::rules::{Rules, VARIABLES};
use crate::modules::processes::{Devices, Parts, Process};
use boreal::scanner::{CallbackEvents, EvaluatedRule, ScanCallbackResult, ScanError, ScanEvent, ScanParams};
use boreal::{MetadataValue, Scanner};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Time of one scan, three times what the original has for a file.
pub(super) const SCAN_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a file: it is in memory as a whole, as rules ask for any place of it.
pub(super) const FILE_BYTES_MAX: usize = 256 << 20;
/// Places of strings that are returned for one rule and one file or process; all are counted.
const PLACES_MAX: usize = 100;
/// Bytes of tags, meta and places that are returned for one file or process; the names of all its rules are.
const DETAILS_BYTES_MAX: usize = 64 << 10;

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Names of rules that match.
    pub(super) rules: Vec<String>,
    /// Their tags, meta and places, of some of them if there are too many.
    pub(super) details: Vec<Value>,
    /// What is not known of it, and why.
    pub(super) unknown: Vec<String>,
}

impl Found {
    /// Adds what was found in a program that was replaced. Of a rule that matches in both, the later is returned.
    pub(super) fn add_earlier(&mut self, earlier: Found) {
        let details = earlier.details.into_iter().filter(|rule| {
            let name = rule["name"].as_str().unwrap_or_default();
            !self.rules.iter().any(|known| known == name)
        });
        let details: Vec<Value> = details.collect();
        self.details.extend(details);
        let rules: Vec<String> = earlier.rules.into_iter().filter(|rule| !self.rules.contains(rule)).collect();
        self.rules.extend(rules);
    }
}

/// Scans with compiled rules, one thing after another.
pub(super) struct Scans {
    rules: Rules,
    /// The file that is scanned.
    buffer: Vec<u8>,
    /// What is mapped and no memory.
    devices: Devices,
    /// When the run ends.
    deadline: Option<Instant>,
}

impl Scans {
    /// With these rules, until then.
    pub(super) fn new(rules: Rules, deadline: Option<Instant>) -> Scans {
        Scans { rules, buffer: Vec::new(), devices: Devices::default(), deadline }
    }

    /// Scans a file.
    pub(super) fn file(&mut self, path: &Path, file: &File) -> io::Result<Found> {
        let scanner = self.scanner(path, false)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = read(file, &mut buffer);
        let found = read.map(|()| {
            let scan = |sink: &mut Sink| scanner.scan_mem_with_callback(&buffer, |event| sink.take(&scanner, event));
            self.guarded(scan)
        });
        // A large one is not kept.
        buffer.shrink_to(16 << 20);
        self.buffer = buffer;
        found
    }

    /// Scans the memory of a process, and says whether that was gone before the end.
    pub(super) fn process(&mut self, process: &Process, program: &Path) -> io::Result<(Found, bool)> {
        let gaps = Arc::new(Gaps::default());
        let deadline = Instant::now() + self.time_left()?;
        let parts = Parts::of(process, &mut self.devices, &|| Instant::now() >= deadline)?;
        let is_whole = parts.is_whole;
        let scanner = self.scanner(program, true)?;
        let memory = Memory::of(parts, deadline, gaps.clone());
        let scan = |sink: &mut Sink| scanner.scan_fragmented_with_callback(memory, |event| sink.take(&scanner, event));
        let mut found = self.guarded(scan);
        let unread = gaps.unread_bytes.load(Relaxed);
        if gaps.is_gone.load(Relaxed) {
            // What was found until then stands; the rest is no more.
            found.unknown = vec!["it ended meanwhile: rules were compared with a part of its memory".into()];
            return Ok((found, true));
        }
        if unread > 0 {
            found.unknown.push(format!("{unread} bytes of its memory could not be read"));
        }
        if gaps.is_late.load(Relaxed) {
            found.unknown.push(out_of_time());
        } else if !is_whole {
            found
                .unknown
                .push("its memory has too many parts, or was not listed in time; some were not scanned".into());
        }
        found.unknown.dedup();
        Ok((found, false))
    }

    fn time_left(&self) -> io::Result<Duration> {
        let left = self.deadline.map_or(SCAN_TIME_MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(io::Error::other("the time is over")) } else { Ok(left.min(SCAN_TIME_MAX)) }
    }

    /// A scanner for one thing at a path.
    fn scanner(&self, path: &Path, is_process: bool) -> io::Result<Scanner> {
        let mut scanner = self.rules.scanner.clone();
        scanner.set_scan_params(
            ScanParams::default()
                .compute_full_matches(true)
                .match_max_length(0)
                .string_max_nb_matches(self.rules.matches_max())
                .timeout_duration(Some(self.time_left()?))
                .process_memory(is_process)
                .callback_events(CallbackEvents::RULE_MATCH | CallbackEvents::STRING_REACHED_MATCH_LIMIT),
        );
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().map_or(String::new(), |extension| format!(".{}", extension.to_string_lossy()));
        let values = [text(path.file_name()), text(Some(path.as_os_str())), extension];
        for (name, value) in VARIABLES.iter().zip(values) {
            scanner.define_symbol(name, value).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        }
        Ok(scanner)
    }

    /// Runs a scan; a defect of the engine that a hostile file finds is the end of this scan only.
    fn guarded(&self, scan: impl FnOnce(&mut Sink) -> Result<(), ScanError>) -> Found {
        let mut sink = Sink::default();
        let outcome = catch_unwind(AssertUnwindSafe(|| scan(&mut sink)));
        let mut found = sink.found;
        for (rule, string) in sink.overrun {
            if self.rules.counting.contains(&rule) {
                let verb = if found.rules.contains(&rule) { "matches" } else { "does not match" };
                let max = self.rules.matches_max();
                found.unknown.push(format!("rule {rule} {verb} by the first {max} places of {string}; there are more"));
            }
        }
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(ScanError::Timeout)) => found.unknown.push(out_of_time()),
            Ok(Err(error)) => found.unknown.push(format!("its scan ended early: {error}")),
            Err(_) => found.unknown.push("its scan ended early: an internal error of the engine".into()),
        }
        found
    }
}

fn out_of_time() -> String {
    format!("its scan was stopped at its time limit ({}s, or the end of the run)", SCAN_TIME_MAX.as_secs())
}

/// Receives what the engine finds.
#[derive(Default)]
struct Sink {
    found: Found,
    details_bytes: usize,
    /// Rules and strings with more matches than are counted.
    overrun: Vec<(String, String)>,
}

impl Sink {
    fn take(&mut self, scanner: &Scanner, event: ScanEvent) -> ScanCallbackResult {
        match event {
            ScanEvent::RuleMatch(rule) => self.matched(scanner, &rule),
            ScanEvent::StringReachedMatchLimit(string) => {
                self.overrun.push((string.rule_name.to_owned(), format!("${}", string.string_name)));
            }
            _ => {}
        }
        ScanCallbackResult::Continue
    }

    fn matched(&mut self, scanner: &Scanner, rule: &EvaluatedRule) {
        self.found.rules.push(rule.name.to_owned());
        let details = details(scanner, rule);
        let bytes = details.to_string().len();
        if self.details_bytes + bytes <= DETAILS_BYTES_MAX {
            self.details_bytes += bytes;
            self.found.details.push(details);
        }
    }
}

/// Tags, meta and places of a rule that matches.
fn details(scanner: &Scanner, rule: &EvaluatedRule) -> Value {
    let tags: Vec<&str> = rule.tags.iter().map(|tag| scanner.get_string_symbol(*tag)).collect();
    let mut meta = Map::new();
    for entry in rule.metadatas {
        let value = match entry.value {
            MetadataValue::Bytes(bytes) => json!(String::from_utf8_lossy(scanner.get_bytes_symbol(bytes))),
            MetadataValue::Integer(number) => json!(number),
            MetadataValue::Boolean(is_so) => json!(is_so),
        };
        meta.insert(scanner.get_string_symbol(entry.name).to_owned(), value);
    }
    let mut left = PLACES_MAX;
    let strings: Vec<Value> = rule
        .matches
        .iter()
        .map(|string| {
            let places = string.matches.iter().take(left);
            let places: Vec<Value> = places
                .map(|found| json!({"offset": found.base.saturating_add(found.offset), "length": found.length}))
                .collect();
            left -= places.len();
            json!({"name": format!("${}", string.name), "count": string.matches.len(), "places": places})
        })
        .collect();
    json!({"name": rule.name, "tags": tags, "meta": meta, "strings": strings})
}

/// Reads a whole file into `buffer`.
fn read(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    const STEP_BYTES: usize = 256 << 10;
    buffer.clear();
    let size_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let too_large =
        || Err(io::Error::other(format!("it has more than {} MiB, and was not scanned", FILE_BYTES_MAX >> 20)));
    if size_bytes > FILE_BYTES_MAX {
        return too_large();
    }
    // Some files below /proc have no size, and others grow.
    let mut step_bytes = size_bytes + 1;
    loop {
        let filled = buffer.len();
        if filled > FILE_BYTES_MAX {
            return too_large();
        }
        buffer.resize(filled + step_bytes, 0);
        let read = file.read_at(&mut buffer[filled..], filled as u64);
        let count = match read {
            Err(ref error) if error.kind() == io::ErrorKind::Interrupted => {
                buffer.truncate(filled);
                continue;
            }
            read => read.inspect_err(|_| buffer.clear())?,
        };
        buffer.truncate(filled + count);
        if count == 0 {
            return Ok(());
        }
        step_bytes = size_bytes.saturating_sub(buffer.len()).max(STEP_BYTES);
    }
}
