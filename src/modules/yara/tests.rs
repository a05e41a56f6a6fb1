//! The module against planted files and processes, against rules that explode, and beside Debian's yara.

mod compiled;
mod hostile;
mod oracle;
mod processes;

use super::Yara;
use super::rules::RULES_BYTES_MAX;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A rule for a text.
fn rule_for(text: &str) -> String {
    format!("rule found : a b {{ meta: author = \"x\" score = 7 good = true strings: $t = \"{text}\" condition: $t }}")
}

fn scan(rules: &str, files: &str) -> ModuleResult {
    Yara.run(&json!({"yara": rules, "filesearch": files}), Context::by_hand())
}

/// Every file below a directory.
fn below(directory: &Path) -> String {
    format!("-path '{}' -name .", directory.display())
}

fn matches(result: &ModuleResult) -> Vec<Value> {
    assert!(result.success, "{result:?}");
    result.elements["Matches"].as_array().cloned().unwrap_or_default()
}

#[test]
fn files_are_found_with_rules_tags_meta_and_places_and_without_contents() {
    let directory = tempfile::tempdir().unwrap();
    for (name, contents) in [("hit", "..s3cret..s3cret"), ("miss", "s3cre"), ("empty", "")] {
        fs::write(directory.path().join(name), contents).unwrap();
    }
    let result = scan(&rule_for("s3cret"), &below(directory.path()));
    let expected = json!([{
        "Object": directory.path().join("hit"),
        "MatchedRules": ["found"],
        "Rules": [{
            "name": "found", "tags": ["a", "b"], "meta": {"author": "x", "score": 7, "good": true},
            "strings": [{
                "name": "$t", "count": 2, "places": [{"offset": 2, "length": 6}, {"offset": 10, "length": 6}],
            }],
        }],
    }]);
    assert_eq!((&result.elements["Matches"], &result.errors), (&expected, &None));
    assert_eq!((&result.statistics["files"], result.statistics.get("partial")), (&json!(3), None));
    assert!(result.foundanything && !result.elements.to_string().contains("s3cret"));
    let lines = Yara.print(&result);
    assert_eq!(lines[0], format!("{} [found]", directory.path().join("hit").display()));
    assert!(lines[1].starts_with("Statistics: 3 files and 0 processes scanned, 1 matched, ran in "), "{lines:?}");

    // The search selects: by name and contents, without depth.
    fs::create_dir(directory.path().join("deep")).unwrap();
    fs::write(directory.path().join("deep/hit"), "s3cret").unwrap();
    let search = format!("{} -content '^\\.\\.s3' -maxdepth 1", below(directory.path()));
    assert_eq!(scan(&rule_for("s"), &search).statistics["files"], 1);
    let none = scan(&rule_for("s4cret"), &below(directory.path()));
    assert_eq!((&none.elements, none.foundanything, &none.errors), (&json!({"Matches": []}), false, &None));
}

#[test]
fn rules_may_ask_for_the_names_of_files() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.php", "b.txt"] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    let condition =
        "filename == \"a.php\" and extension == \".php\" and filepath endswith \"/a.php\" and filesize == 1";
    let result = scan(&format!("rule a {{ condition: {condition} }}"), &below(directory.path()));
    assert_eq!(matches(&result).len(), 1, "{result:?}");
    assert_eq!(matches(&result)[0]["Object"], json!(directory.path().join("a.php")));
}

#[test]
fn what_is_not_scanned_is_named_and_no_absence() {
    let directory = tempfile::tempdir().unwrap();
    let large = fs::File::create(directory.path().join("large")).unwrap();
    large.set_len(super::scan::FILE_BYTES_MAX as u64 + 1).unwrap();
    let result = scan(&rule_for("x"), &below(directory.path()));
    let error =
        format!("scan {}: it has more than 256 MiB, and was not scanned", directory.path().join("large").display());
    assert_eq!((&result.elements, result.errors.as_deref()), (&json!({}), Some(&[error][..])));
    assert_eq!(result.statistics["partial"], true);

    // A search that module file does not run.
    let result = scan(&rule_for("x"), "-path /etc");
    assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)));
    assert!(result.errors.unwrap()[0].starts_with("not searched: "));
    let doubts = Yara.validate(&json!({"yara": rule_for("x"), "filesearch": "-path /etc"})).unwrap();
    assert!(doubts[0].to_string().starts_with("filesearch: "), "{doubts:?}");

    // A path that does not exist has no files.
    let result = scan(&rule_for("x"), "-path /nonexistent -name .");
    assert_eq!(result.elements, json!({"Matches": []}));
    assert!(result.errors.unwrap()[0].contains("/nonexistent"));
}

#[test]
fn a_bad_rule_is_refused_with_its_line() {
    for (rules, error) in [
        ("rule a {\n condition: b }", "yara: line 2: unknown identifier \"b\""),
        ("rule a {\n condition\n }", "yara: line 3: "),
        ("rule a { condition: true }\n\nrule a { condition: true }", "yara: line 3: "),
        ("\nrule a { strings: $a = /a(/ condition: $a }", "yara: line 2: "),
        ("rule a { strings: $a = \"x\" condition: true }", "yara: line 1: "),
        ("import \"pe\"", "yara: there is no rule"),
        ("// nothing", "yara: line 1: syntax error"),
        ("\ninclude \"/etc/passwd\"\nrule a { condition: true }", "yara: line 2: include is refused"),
        (
            "import \"cuckoo\" rule a { condition: true }",
            "yara: line 1: the module \"cuckoo\" of YARA is not in this build, which has console, dex, dotnet, elf, hash, macho, math, \
             pe, string, time",
        ),
    ] {
        let parameters = json!({"yara": rules, "filesearch": "-path /etc -name ."});
        let found = Yara.validate(&parameters).unwrap_err().to_string();
        assert!(found.starts_with(error), "{rules}: {found}");
        let result = Yara.run(&parameters, Context::by_hand());
        assert_eq!((result.success, result.errors), (false, Some(vec![found])));
    }
}

#[test]
fn rules_are_read_from_a_file_of_the_command_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rule_for("x")).unwrap();
    let path = file.path().to_str().unwrap();
    let words = ["-rules", path, "-files", "-path /etc -name .", "-process", "^a$", "-process", "b"].map(str::to_owned);
    let expected = json!({"yara": rule_for("x"), "filesearch": "-path /etc -name .", "processes": ["^a$", "b"]});
    assert_eq!(Yara.parse_arguments(&words).unwrap(), expected);
    let compiled = Yara.parse_arguments(&[&["-compile".to_owned()][..], &words[1..]].concat()).unwrap();
    assert_eq!((&compiled["yara"], &compiled["filesearch"]), (&Value::Null, &expected["filesearch"]));
    assert!(compiled["compiled"].is_string());

    let refused = |contents: &[u8], words: &[&str]| {
        fs::write(file.path(), contents).unwrap();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Yara.parse_arguments(&words).unwrap_err().to_string()
    };
    let large = [b"YARA".as_slice(), &vec![0; RULES_BYTES_MAX + 1]].concat();
    for (contents, reason) in [
        (b"YARA\x12\0\0\0\xff".as_slice(), "it was compiled by yarac, which only the same version of YARA can load"),
        (&large, "it was compiled by yarac"),
        (&large[4..], "it has more than 1048576 bytes"),
        (b"YAR\xff", "line 1 is no UTF-8"),
    ] {
        for option in ["-rules", "-compile"] {
            let found = refused(contents, &[option, path, "-process", "."]);
            assert!(found.starts_with(&format!("{option}: read {path}: {reason}")), "{found}");
        }
    }
    // Errors name what a person typed.
    for (contents, words, error) in [
        ("rule", &["-rules", path, "-process", "."][..], "-rules: line 1: "),
        ("", &["-rules", path, "-process", "."], "-rules: is empty"),
        (
            "\nrule a { condition: b }",
            &["-compile", path, "-process", "."],
            &format!("-compile: read {path}: line 2: unknown"),
        ),
        ("", &["-compile", path, "-process", "."], &format!("-compile: read {path}: there is no rule")),
        (&rule_for("x"), &["-compile", path, "-rules", path, "-process", "."], "-compile: is there, and so is "),
        (&rule_for("x"), &["-rules", path], "-files: is missing"),
        (&rule_for("x"), &["-rules", path, "-process", "a", "-process", "("], "-process: bad regular expression"),
        (&rule_for("x"), &["-rules", path, "-files", "-path / -name ("], "-files: -name: bad regular expression"),
        ("", &["-process", "."], "-rules: is missing"),
    ] {
        let found = refused(contents.as_bytes(), words);
        assert!(found.starts_with(error), "{words:?}: {found}");
    }
}
