//! Every parser of bytes from outside, with the seeds of the fuzz targets, with what was found by them before, and with
//! variations of both: nothing panics, no promise is broken, nothing takes long. `scripts/fuzz.sh` looks for more.
//!
//! `MIG_PARSERS_SEED` says with which seed the variations are made; each run prints its own.

use crate::common::score::Score;
use crate::common::{self, PATIENCE, Random};
use crate::fuzz;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Small variations per parser.
const VARIATIONS: usize = 3_000;
/// Variations per parser in which a piece is repeated until the input is large: what takes more than linear time shows.
const LARGE_VARIATIONS: usize = 20;
const LARGE_BYTES: usize = 256 << 10;

/// A case: where it comes from, and its bytes.
type Case = (String, Vec<u8>);

fn directory(kind: &str, parser: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind).join(parser)
}

fn files(directory: &Path) -> Vec<Case> {
    let read = |name: String| {
        let path = directory.join(name);
        let bytes = std::fs::read(&path).unwrap();
        (path.display().to_string(), bytes)
    };
    common::names(directory).into_iter().map(read).collect()
}

/// A place in bytes, also their end.
fn place(bytes: &[u8], random: &mut Random) -> usize {
    random.below(bytes.len() as u64 + 1) as usize
}

/// A piece of bytes, perhaps empty.
fn piece<'a>(bytes: &'a [u8], random: &mut Random) -> &'a [u8] {
    let start = place(bytes, random);
    let length = place(&bytes[start..], random).min(1 + random.below(64) as usize);
    &bytes[start..(start + length).min(bytes.len())]
}

/// One small change, as an attacker or an accident makes it.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = place(bytes, random);
    let end = (at + 1 + random.below(16) as usize).min(bytes.len());
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let own = piece(bytes, random).to_vec();
            drop(bytes.splice(at..at, own));
        }
        5 => {
            const NUMBERS: [&str; 8] =
                ["0", "-1", "1e308", "9007199254740993", "9223372036854775808", "1e-400", "0.1", "\\u0000"];
            let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
            drop(bytes.splice(at..end, number.bytes()));
        }
        _ => drop(bytes.splice(at..at, piece(other, random).to_vec())),
    }
}

/// A piece of a case again and again, in its place.
fn enlarged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let start = place(bytes, random);
    let again = bytes[start..].iter().copied().take(1 + random.below(40) as usize);
    let again: Vec<u8> = again.collect();
    let count = LARGE_BYTES / again.len().max(1);
    [&bytes[..start], &again.repeat(count), &bytes[start..]].concat()
}

fn variations(files: &[Case], random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for number in 0..VARIATIONS + LARGE_VARIATIONS {
        let mut pick = || files[random.below(files.len() as u64) as usize].1.clone();
        let (mut bytes, other) = (pick(), pick());
        if number < VARIATIONS {
            (0..=random.below(4)).for_each(|_| change(&mut bytes, &other, random));
        } else {
            bytes = enlarged(&bytes, random);
        }
        cases.push((format!("variation {number}"), bytes));
    }
    cases
}

/// The words of a panic.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// Keeps the bytes of a case that failed, and says where.
fn kept(parser: &str, (name, bytes): &Case) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{parser}-{}", name.replace(['/', ' '], "-")));
    std::fs::write(&path, bytes).unwrap();
    format!("{name}, kept as {}", path.display())
}

/// What became of the cases of a parser.
#[derive(Default)]
struct Outcome {
    runs: usize,
    violations: Vec<String>,
    slowest: Duration,
}

/// Runs the cases on a thread of their own, so that one that never ends is seen and told.
fn run(parser: &'static str, cases: Vec<Case>) -> Outcome {
    let (sender, answers) = mpsc::channel();
    let inputs: Vec<Vec<u8>> = cases.iter().map(|(_, bytes)| bytes.clone()).collect();
    std::thread::spawn(move || {
        for bytes in inputs {
            let started = Instant::now();
            let answer = catch_unwind(AssertUnwindSafe(|| fuzz::check(parser, &bytes)));
            if sender.send((started.elapsed(), answer.map_err(|panic| words(&*panic).to_owned()))).is_err() {
                return;
            }
        }
    });
    let mut outcome = Outcome::default();
    for case in &cases {
        outcome.runs += 1;
        let Ok((elapsed, answer)) = answers.recv_timeout(PATIENCE) else {
            outcome.violations.push(format!("{}: still not answered after {PATIENCE:?}", kept(parser, case)));
            break;
        };
        outcome.slowest = outcome.slowest.max(elapsed);
        if let Err(words) = answer {
            outcome.violations.push(format!("{}: {words}", kept(parser, case)));
        }
    }
    outcome
}

fn parser(name: &'static str) {
    let seed = common::seed("MIG_PARSERS_SEED");
    let mut score = Score::begin(format!("parser: {name}")).with_seed(seed);
    let mut cases = files(&directory("seeds", name));
    assert!(!cases.is_empty(), "{name} has seeds");
    cases.extend(files(&directory("regressions", name)));
    let committed = cases.len();
    let variations = variations(&cases, &mut Random::new(seed));
    cases.extend(variations);
    let outcome = run(name, cases);
    score.add_runs(outcome.runs);
    score
        .end(&outcome.violations, &format!("{committed} committed inputs, slowest {} ms", outcome.slowest.as_millis()));
}

macro_rules! parsers {
    ($($test:ident $name:literal),*) => {
        $(
            #[test]
            fn $test() {
                parser($name);
            }
        )*

        #[test]
        fn every_parser_is_tested_here_and_has_a_fuzz_target() {
            let names: Vec<&str> = fuzz::PARSERS.iter().map(|parser| parser.name).collect();
            assert_eq!(names, [$($name),*]);
            let binaries = directory("src", "bin");
            let mut files: Vec<String> = names.iter().map(|name| format!("{name}.rs")).collect();
            files.sort();
            assert_eq!(common::names(&binaries), files);
            for name in names {
                let target = std::fs::read_to_string(binaries.join(format!("{name}.rs"))).unwrap();
                assert!(target.contains(&format!("check(\"{name}\", data)")), "{target}");
            }
        }
    };
}

parsers!(
    actions_keep_their_promises "action",
    commands_keep_their_promises "command",
    results_keep_their_promises "result",
    heartbeats_keep_their_promises "heartbeat",
    events_keep_their_promises "events",
    parameters_keep_their_promises "parameters",
    json_keeps_its_promises "json",
    access_lists_keep_their_promises "acl",
    whitelists_keep_their_promises "whitelist",
    configurations_keep_their_promises "configuration",
    targets_keep_their_promises "target",
    keyrings_keep_their_promises "keyring",
    signatures_keep_their_promises "signature",
    file_names_keep_their_promises "file-name",
    expressions_keep_their_promises "expression"
);
