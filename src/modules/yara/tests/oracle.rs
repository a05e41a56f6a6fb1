//! The same rules over the same files by Debian's yara.

use super::{below, matches, scan};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What public rules are made of.
pub(super) const RULES: &str = r##"
import "elf"
import "hash"
import "math"
import "pe"

private rule is_elf { condition: uint32(0) == 0x464c457f }
rule elf_executable : linux { meta: author = "tests" condition: is_elf and elf.machine == elf.EM_X86_64 and elf.number_of_sections > 5 }
rule links_libc { strings: $a = "libc.so.6" fullword $b = "GLIBC_2." condition: is_elf and all of them }
rule many_strings { strings: $a = "GLIBC_2." condition: #a > 3 and @a[1] < filesize and !a[1] == 8 }
rule dense { condition: filesize > 1KB and math.entropy(0, filesize) > 7.0 }
rule sum { condition: hash.md5(0, filesize) == "d41d8cd98f00b204e9800998ecf8427e" or hash.md5(0, 3) == "900150983cd24fb0d6963f7d28e17f72" }
rule shell : script { strings: $a = /^#!\s?\/bin\/(ba|da)?sh/ $b = "#!/bin/sh" condition: $a at 0 or $b at 0 }
rule webshell { strings: $a = "<?php" nocase $b = /eval\s*\(\s*(base64_decode|gzinflate)\s*\(/ nocase $c = "$_POST" condition: $a in (0..64) and ($b or $c) }
rule wide_text { strings: $a = "powershell" wide ascii nocase $b = "-enc" fullword wide condition: any of them }
rule xored { strings: $a = "This program cannot" xor(1-255) condition: $a }
rule encoded { strings: $a = "http://evil.example" base64 condition: $a }
rule code { strings: $a = { 55 48 89 e5 [0-16] ( e8 ?? ?? ?? ?? | c3 ) } $b = { 4? 8b [2-4] ff d? } condition: any of them }
rule loops { strings: $m = "MARK" condition: for any i in (1..#m) : ( uint8(@m[i] + 4) == 0x21 ) }
rule address { strings: $a = /\b(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(\.(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})){3}\b/ condition: $a }
rule lazy { strings: $a = /BEGIN.{1,40}?END/s condition: $a }
rule some { strings: $a1 = "alpha" $a2 = "beta" $a3 = "gamma" condition: 2 of ($a*) }
rule none_of { strings: $a = "alpha" condition: not $a and filesize < 20 }
rule pe_file { condition: pe.number_of_sections > 0 }
"##;

/// Rule, file, and where strings of it were found (`0x12:5:$a`).
type Facts = BTreeSet<(String, String, String)>;

fn by_yara(rules: &Path, directory: &Path) -> Facts {
    let mut command = Command::new("yara");
    let output = command.args(["-r", "-s", "-L", "-w", "-p", "1"]).args([rules, directory]).output();
    let output = output.expect("yara, of Debian's package of that name");
    assert!(output.status.success(), "{output:?}");
    let (mut facts, mut current) = (Facts::new(), (String::new(), String::new()));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line.starts_with("0x") {
            let place: Vec<&str> = line.splitn(4, ':').take(3).collect();
            facts.insert((current.0.clone(), current.1.clone(), place.join(":")));
        } else if let Some((rule, file)) = line.split_once(' ') {
            current = (rule.to_owned(), file.to_owned());
            facts.insert((current.0.clone(), current.1.clone(), String::new()));
        }
    }
    facts
}

fn by_us(rules: &str, directory: &Path) -> Facts {
    let result = scan(rules, &below(directory));
    assert_eq!((&result.errors, result.statistics.get("partial")), (&None, None));
    let mut facts = Facts::new();
    for found in matches(&result) {
        for rule in found["Rules"].as_array().unwrap() {
            let fact = |place: String| {
                (rule["name"].as_str().unwrap().to_owned(), found["Object"].as_str().unwrap().to_owned(), place)
            };
            facts.insert(fact(String::new()));
            for string in rule["strings"].as_array().unwrap() {
                for place in string["places"].as_array().unwrap() {
                    let offset = place["offset"].as_u64().unwrap();
                    facts.insert(fact(format!("{offset:#x}:{}:{}", place["length"], string["name"].as_str().unwrap())));
                }
            }
        }
    }
    facts
}

/// Files for each of [`RULES`].
pub(super) fn plant(files: &Path) {
    let wide: Vec<u8> = "run PowerShell -enc".bytes().flat_map(|byte| [byte, 0]).collect();
    let xored: Vec<u8> = "This program cannot".bytes().map(|byte| byte ^ 0x5a).collect();
    let mut random = 1_u64;
    let dense: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random.to_be_bytes()[0]
    })
    .take(4096)
    .collect();
    let planted: [(&str, &[u8]); 15] = [
        ("empty", b""),
        ("abc", b"abc"),
        ("shell", b"#!/bin/sh\necho 10.0.0.1 and 300.1.1.1 and 1.2.3.4\n"),
        ("bash", b"#! /bin/bash\n"),
        ("not-at-0", b" #!/bin/sh\n"),
        ("webshell.php", b"<?PHP eval ( base64_decode($_POST[1]));"),
        ("wide", &wide),
        ("xored", &xored),
        ("encoded", b"x aHR0cDovL2V2aWwuZXhhbXBsZS9h y"),
        ("marks", b"MARK. MARK! MARK"),
        ("some", b"alpha gamma"),
        ("one", b"alpha only"),
        ("lazy", b"BEGIN 1 END 2 END BEGIN\nEND"),
        ("dense", &dense),
        ("code", b"\x55\x48\x89\xe5\x90\x90\xe8\x01\x02\x03\x04 \x48\x8b\x01\x02\xff\xd0"),
    ];
    for (name, contents) in planted {
        fs::write(files.join(name), contents).unwrap();
    }
    for program in ["/bin/true", "/bin/sleep", "/bin/cat"] {
        fs::copy(program, files.join(program.rsplit('/').next().unwrap())).unwrap();
    }
}

#[test]
fn matches_and_their_places_are_those_of_debians_yara() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("files");
    fs::create_dir(&files).unwrap();
    plant(&files);
    let path = directory.path().join("rules.yar");
    fs::write(&path, RULES).unwrap();
    let (ours, theirs) = (by_us(RULES, &files), by_yara(&path, &files));
    let of = |facts: &Facts| facts.iter().map(|(rule, ..)| rule.clone()).collect::<BTreeSet<_>>();
    let silent: Vec<&str> = RULES
        .lines()
        .filter_map(|line| line.strip_prefix("rule ")?.split_ascii_whitespace().next())
        .filter(|rule| !of(&theirs).contains(*rule))
        .collect();
    assert_eq!(silent, ["pe_file"], "every other rule matches something");
    let different: Vec<_> = ours.symmetric_difference(&theirs).map(|fact| (ours.contains(fact), fact)).collect();
    assert!(different.is_empty(), "true: only ours: {different:#?}");
}
