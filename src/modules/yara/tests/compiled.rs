//! Compiled rules: they find what their text finds, and nothing of them is lost or makes more than an error.

use super::{below, oracle};
use crate::modules::yara::Yara;
use crate::modules::yara::compiled::{ENGINE, of_text, open};
use crate::modules::{Context, Module, ModuleResult};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn packed(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(gzip(bytes))
}

fn unpacked(compiled: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(BASE64_STANDARD.decode(compiled).unwrap().as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// With a right sum, what follows it and was changed.
fn resealed(compiled: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let envelope = unpacked(compiled);
    let end = envelope.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut rest = envelope[end..].to_vec();
    change(&mut rest);
    let sum = crate::hex::encode(&Sha256::digest(&rest));
    packed(&[format!("mig-yara-1 {sum}\n").as_bytes(), &rest].concat())
}

fn with_head(compiled: &str, head: &Value) -> String {
    resealed(compiled, |rest| {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        rest.splice(..end, head.to_string().into_bytes());
    })
}

fn run(parameters: &Value) -> ModuleResult {
    Yara.run(parameters, Context::by_hand())
}

/// Every module of the engine, and every kind of rule and value.
fn rules() -> String {
    let more = r#"
import "console"
import "dex"
import "dotnet"
import "macho"
import "string"
import "time"

global rule not_huge { meta: size = 10 condition: filesize < 100MB or true }
global private rule always { condition: time.now() > 1000 }
rule tagged : one two three { meta: text = "x\x00y" number = -7 yes = true no = false condition: filename == "abc" }
rule outside { condition: extension == ".php" and filepath endswith "webshell.php" and not is_elf }
rule says { condition: console.log("size ", filesize) and string.length(filename) == 5 }
rule marks_1 { strings: $ = "MARK" $ = "mark" nocase condition: all of them and for all of them : ( # > 1 ) }
rule depends { condition: tagged or shell or 2 of (lazy, some, marks*) }
rule others { condition: dex.header.magic == "x" or dotnet.is_dotnet or macho.cputype == 7 or pe.is_dll() }
rule ranges { strings: $a = "alpha" $b = "only" condition: $a at 0 and $b in (0..filesize) and for any n in (1, 2, 3) : ( n == 2 ) }
rule arithmetic { condition: (filesize * 2 - 1) % 5 == 0 and (filesize | 1) != 0 or math.max(1, 2) << 1 == 4 and filename icontains "CODE" }
"#;
    format!("{}{more}", oracle::RULES)
}

#[test]
fn compiled_rules_find_what_their_text_finds() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("files");
    fs::create_dir(&files).unwrap();
    oracle::plant(&files);
    let program = directory.path().join("yara-compiled");
    crate::modules::copy_program("/bin/sleep", &program);
    let mut child = crate::modules::start(std::process::Command::new(&program).arg("60").env("MIG_TEST", "alpha only"));
    let compiled = of_text(&rules()).unwrap();
    let results = [("yara", rules()), ("compiled", compiled.clone())].map(|(name, rules)| {
        let result = run(&json!({name: rules, "filesearch": below(&files), "processes": ["^yara-compiled$"]}));
        assert!(result.success, "{name}: {result:?}");
        // There may be processes that even root cannot look into.
        let elsewhere = |error: &&String| error.starts_with("scan process ") && !error.contains("yara-compiled");
        assert_eq!(result.errors.iter().flatten().find(|error| !elsewhere(error)), None, "{name}");
        let mut found = result.elements["Matches"].as_array().unwrap().clone();
        found.sort_by_key(|one| one["Object"].to_string());
        found
    });
    child.kill().and_then(|()| child.wait()).unwrap();
    let [by_text, by_compiled] = results;
    assert_eq!(by_text, by_compiled);
    let names: Vec<Value> = by_text.iter().flat_map(|one| one["MatchedRules"].as_array().unwrap().clone()).collect();
    for rule in ["not_huge", "tagged", "outside", "says", "depends", "marks_1", "ranges", "arithmetic", "sum", "dense"]
    {
        assert!(names.contains(&json!(rule)), "{rule} matches something: {names:?}");
    }
    assert!(!names.contains(&json!("always")) && by_text.iter().any(|one| one["pid"] == child.id()));
    assert_eq!(of_text(&rules()).unwrap(), compiled, "the same text makes the same");
}

#[test]
fn which_rules_count_and_how_far_is_known_of_compiled_rules_too() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "ab".repeat(20_000)).unwrap();
    let text =
        "rule a { strings: $s = \"ab\" condition: #s > 15000 } rule b { strings: $s = \"ab\" condition: $s and false }";
    let of = |name: &str, rules: String| run(&json!({name: rules, "filesearch": below(directory.path())}));
    let [by_text, by_compiled] = [of("yara", text.into()), of("compiled", of_text(text).unwrap())];
    assert_eq!((&by_text.elements, &by_text.errors), (&by_compiled.elements, &by_compiled.errors));
    let errors = by_compiled.errors.unwrap();
    assert_eq!((errors.len(), by_compiled.statistics["partial"].as_bool()), (1, Some(true)), "{errors:?}");
    assert!(errors[0].ends_with("rule a does not match by the first 10000 places of $s; there are more"), "{errors:?}");
}

#[test]
fn what_did_not_arrive_whole_is_refused_when_it_is_checked_and_when_it_is_run() {
    let good = of_text("rule a { strings: $a = \"abc\" condition: #a > 1 }").unwrap();
    let envelope = unpacked(&good);
    let gz = BASE64_STANDARD.decode(&good).unwrap();
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let changed = |at: usize| {
        let mut changed = envelope.clone();
        changed[at] ^= 1;
        packed(&changed)
    };
    let mut damaged = gz.clone();
    damaged[gz.len() - 8] ^= 1;
    let foreign = "is not what -compile of mig makes";
    for (compiled, error) in [
        ("rule a { condition: true }".into(), "is not base64: "),
        (good[..good.len() - 5].into(), "is not base64: "),
        (text(b"YARA\x12\0"), "it was compiled by yarac, which only the same version of YARA can load; take the text"),
        (text(b"plain"), "decompress: "),
        (text(&gz[..gz.len() - 9]), "decompress: "),
        (text(&damaged), "decompress: "),
        (text(&[&gz[..], b"x"].concat()), "has something behind its end"),
        (text(&[&gz[..], &gz[..]].concat()), "has something behind its end"),
        (text(&gzip(&vec![b'\n'; (16 << 20) + 1])), "has more than 16777216 bytes when it is decompressed"),
        (packed(b""), foreign),
        (packed(&envelope[1..]), foreign),
        (packed(&envelope[..9]), foreign),
        (packed(&envelope[..envelope.len() - 1]), "is damaged: "),
        (changed(12), "is damaged: "),
        (changed(80), "is damaged: "),
        (changed(envelope.len() - 1), "is damaged: "),
        (resealed(&good, Vec::clear), foreign),
        (with_head(&good, &json!([])), "is an array"),
        (with_head(&good, &json!({"strings": 1})), "engine: is missing"),
        (with_head(&good, &json!({"engine": ENGINE})), "strings: is missing"),
        (with_head(&good, &json!({"engine": ENGINE, "strings": -1})), "strings: is -1"),
        (with_head(&good, &json!({"engine": ENGINE, "strings": 1, "counting": [1]})), "counting[0]: is not a string"),
    ] {
        let parameters = json!({"compiled": compiled, "processes": ["."]});
        let found = Yara.validate(&parameters).unwrap_err().to_string();
        let reason = found.strip_prefix("compiled").unwrap_or_else(|| panic!("{found}"));
        assert!(reason.trim_start_matches([':', ' ', '.']).starts_with(error), "{error}: {found}");
        let result = run(&parameters);
        assert_eq!((result.success, result.errors), (false, Some(vec![found])));
    }
    let both = json!({"yara": "rule a { condition: true }", "compiled": good, "processes": ["."]});
    assert!(Yara.validate(&both).unwrap_err().to_string().starts_with("compiled: is there, and so is yara"));
}

#[test]
fn another_engine_is_doubted_when_it_is_checked_and_refused_when_it_is_run() {
    let good = of_text("rule a { condition: true }").unwrap();
    let other = with_head(&good, &json!({"engine": "boreal 1.5.0", "strings": 0, "counting": []}));
    let parameters = json!({"compiled": other, "processes": ["."]});
    let reason = format!(
        "compiled: it was compiled by \"boreal 1.5.0\", and this version has {ENGINE}: send the text of the rules"
    );
    assert_eq!(Yara.validate(&parameters).unwrap()[0].to_string(), reason);
    assert_eq!(run(&parameters).errors, Some(vec![reason]));
    // It is the one that is linked.
    let locked = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let (name, version) = ENGINE.split_once(' ').unwrap();
    assert!(locked.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{ENGINE}");
}

#[test]
fn rules_that_the_engine_would_lose_are_refused_before_they_are_signed() {
    let rules = |count: usize| {
        // The engine takes the length of a name for something else: with this one, it would load the others without an error.
        let mut text: String = (0..count - 1).fold(String::new(), |mut text, n| {
            let _ = write!(text, "rule r{n} {{ condition: true }} ");
            text
        });
        text.push_str("rule x { condition: true }");
        text
    };
    assert!(of_text(&rules(1024)).is_ok());
    let found = of_text(&rules(1025)).unwrap_err().to_string();
    assert!(
        found.starts_with("compiled: load: the engine did not load all of it; compiled rules have at most 1024"),
        "{found}"
    );
    let found = of_text(&rules(1025).replace("rule x", "rule xyz")).unwrap_err().to_string();
    assert!(found.contains("compiled rules have at most 1024 rules"), "{found}");
    let operands = |count: usize| format!("rule a {{ condition: {}false }}", "filesize == 7 or ".repeat(count - 1));
    assert!(of_text(&operands(1024)).is_ok());
    assert!(of_text(&operands(1025)).is_err());
    let strings: String = (0..3000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "$s{n} = \"text {n}\" ");
        text
    });
    assert!(of_text(&format!("rule a {{ strings: {strings} condition: 7 of them }}")).is_ok());
}

#[test]
fn hostile_compiled_rules_are_an_error_or_run() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "alpha gamma MARK! #!/bin/sh 10.0.0.1").unwrap();
    let good = of_text(&rules()).unwrap();
    let envelope = unpacked(&good);
    let lines = envelope.split_inclusive(|byte| *byte == b'\n').take(2).collect::<Vec<_>>();
    let head = lines[1].len();
    let length = envelope.len() - lines[0].len() - head;
    let (mut loaded, mut refused, mut random) = (0, 0, 7_u64);
    let mut pick = |end: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % end
    };
    for round in 0..300 {
        let (at, value) = (head + pick(length), u8::try_from(pick(256)).unwrap());
        let compiled = resealed(&good, |rest| match round % 4 {
            0 => rest.truncate(at),
            1 => rest.insert(at, value),
            _ => rest[at] = value,
        });
        match open(&compiled).unwrap().load() {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().starts_with("compiled: load: ") && error.to_string().len() < 600, "{error}");
            }
            Ok(_) => {
                loaded += 1;
                let result = run(&json!({"compiled": compiled, "filesearch": below(directory.path())}));
                assert!(result.success, "{result:?}");
            }
        }
    }
    assert!(loaded > 20 && refused > 100, "{loaded} {refused}");
}

/// A string by its number.
type StringOf = fn(usize) -> String;

#[test]
fn many_rules_of_every_costly_kind_can_be_compiled_and_loaded() {
    let strings: [(StringOf, usize); 5] = [
        (|n| format!("\"{n:04}\" xor wide ascii"), 200),
        (|n| format!("\"{n:0300}\" wide ascii nocase"), 3000),
        (|n| format!("/{n}x(a{{1,50}}b){{1,10}}/"), 2000),
        (|n| format!("{{ {:02x} 01 02 03 [0-900] 04 05 06 }}", n % 256), 2000),
        (|n| format!("\"text {n}\""), 19_990),
    ];
    for (string, count) in strings {
        let mut text = String::new();
        let rules = count.min(1000);
        for rule in 0..rules {
            let strings = (count * rule / rules..count * (rule + 1) / rules).map(|n| format!("$s{n} = {} ", string(n)));
            let _ =
                writeln!(text, "rule r{rule} {{ strings: {} condition: any of them }}", strings.collect::<String>());
        }
        let found = of_text(&text).and_then(|compiled| open(&compiled)?.load());
        assert_eq!(found.map(|rules| rules.strings).ok(), Some(count), "{}", string(0));
    }
}
