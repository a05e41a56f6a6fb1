//! The module yara beside Debian's yara: 1,000 rules over 1 GB of programs and texts, by one thread each.

use crate::RUNS;
use crate::report::{Goal, Row};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Bytes that are scanned.
const BYTES: u64 = 1 << 30;
/// Files that are not larger than public rules ask for.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn word(&mut self) -> String {
        let length = 6 + self.below(12);
        (0..length).map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap())).collect()
    }
}

/// Rules of the kinds that public ones have, in their proportions: most have several texts, some a regular expression, some bytes
/// with jumps, and all a condition on the size of the file.
fn rules() -> String {
    let mut random = Random(1);
    let mut text = "import \"elf\"\nimport \"pe\"\n".to_owned();
    for n in 0..1000 {
        let _ = writeln!(text, "rule generated_{n} {{ meta: author = \"bench\" strings:");
        for string in 0..4 + random.below(6) {
            let modifiers = ["", " ascii wide", " nocase", " fullword"][usize::try_from(random.below(4)).unwrap()];
            let _ = writeln!(text, " $s{string} = \"{}{}\"{modifiers}", random.word(), random.below(1000));
        }
        if n % 5 == 0 {
            let _ = writeln!(text, " $r = /{}[0-9]{{1,4}}(\\.|-)[a-z]{{2,8}}\\/{}/", random.word(), random.word());
        }
        if n % 3 == 0 {
            let byte = |random: &mut Random| format!("{:02x}", random.below(256));
            let bytes: Vec<String> = (0..8).map(|_| byte(&mut random)).collect();
            let _ = writeln!(text, " $h = {{ {} ?? [2-8] {} }}", bytes[..5].join(" "), bytes[5..].join(" "));
        }
        let kind =
            ["uint16(0) == 0x5a4d and", "uint32(0) == 0x464c457f and", "", "pe.number_of_sections > 2 or"][n % 4];
        let _ = writeln!(text, " condition: {kind} filesize < 20MB and 2 of them }}");
    }
    // What matches, so that the answers can be compared.
    text.push_str("rule libc { strings: $a = \"GLIBC_2.\" condition: elf.type == elf.ET_DYN and #a > 2 }\n");
    text
}

/// Links to programs, libraries and texts of this machine, until there are enough bytes.
fn plant(directory: &Path) {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new("/usr").sort_by_file_name().into_iter().flatten() {
        let size_bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        if !entry.file_type().is_file() || size_bytes == 0 || size_bytes > FILE_BYTES_MAX {
            continue;
        }
        bytes += size_bytes;
        std::fs::copy(entry.path(), directory.join(format!("{bytes}"))).unwrap();
        if bytes >= BYTES {
            return;
        }
    }
    panic!("/usr has only {bytes} bytes");
}

fn by_us(rules: &str, directory: &Path) -> (BTreeSet<String>, f64) {
    let parameters = json!({"yara": rules, "filesearch": format!("-path {} -name .", directory.display())}).to_string();
    let started = Instant::now();
    let output = run(Command::new(env!("CARGO_BIN_EXE_mig-agent")).args(["-m", "yara", "-"]), &parameters);
    let seconds = started.elapsed().as_secs_f64();
    let result: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(result["success"], true);
    // Of a string with very many places not all are counted; the file is scanned all the same.
    let errors = result["errors"].as_array().into_iter().flatten();
    errors.for_each(|error| assert!(error.as_str().is_some_and(|text| text.ends_with("; there are more")), "{error}"));
    let mut found = BTreeSet::new();
    for one in result["elements"]["Matches"].as_array().unwrap() {
        let rules = one["MatchedRules"].as_array().unwrap().iter();
        found.extend(rules.map(|rule| format!("{} {}", rule.as_str().unwrap(), one["Object"].as_str().unwrap())));
    }
    (found, seconds)
}

fn run(command: &mut Command, input: &str) -> Vec<u8> {
    use std::io::Write;
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn by_yara(rules: &Path, directory: &Path) -> (BTreeSet<String>, f64) {
    let started = Instant::now();
    let output =
        Command::new("yara").args(["-r", "-w", "-s", "-L", "-p", "1"]).args([rules, directory]).output().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    (text.lines().filter(|line| !line.starts_with("0x")).map(str::to_owned).collect(), seconds)
}

/// The ratio.
pub fn measure() -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let (files, path) = (directory.path().join("files"), directory.path().join("rules.yar"));
    std::fs::create_dir(&files).unwrap();
    plant(&files);
    let rules = rules();
    std::fs::write(&path, &rules).unwrap();
    // Once without the clock, for the page cache.
    let ((ours, _), (theirs, _)) = (by_us(&rules, &files), by_yara(&path, &files));
    assert!(!theirs.is_empty() && ours == theirs, "not the same matches: {} and {}", ours.len(), theirs.len());
    let (mut values, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        values.push(by_us(&rules, &files).1);
        raw.push(by_yara(&path, &files).1);
    }
    let id = "yara, 1 GB with 1,000 rules".into();
    vec![Row { id, values, unit: "s", raw, raw_is: "Debian's yara, one thread", goal: Goal::RatioAtMost(1.0) }]
}
