//! Rules over files and processes.

use super::limited;
use mig::modules::Module;
use mig::modules::yara::Yara;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

#[test]
fn yara_scans_files_and_processes() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("planted-{}", std::process::id());
    let (file, program) = (directory.path().join("file"), directory.path().join("yara-program"));
    fs::write(&file, &text).unwrap();
    fs::copy("/bin/sleep", &program).unwrap();
    let mut child = Command::new(&program).arg("60").env("MIG_TEST", &text).spawn().unwrap();
    let rules = format!(
        "import \"elf\" import \"hash\" rule a {{ strings: $a = \"{text}\" $b = /pl[a-z]+t[a-f]d-[0-9]+/ condition: all of them }}
         rule b {{ condition: elf.number_of_sections > 0 and hash.sha256(0, filesize) != \"\" }}"
    );
    let search = format!("-path {} -name .", directory.path().display());
    let files = limited("yara", &json!({"yara": rules, "filesearch": search}));
    let both = limited("yara", &json!({"yara": rules, "filesearch": search, "processes": ["^yara-program$"]}));
    // Compiled, as the client makes it.
    let path = directory.path().join("rules.yar");
    fs::write(&path, &rules).unwrap();
    let words = ["-compile", path.to_str().unwrap(), "-files", &search].map(str::to_owned);
    let parameters = Yara.parse_arguments(&words).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(parameters["compiled"].is_string() && parameters["yara"].is_null());
    let of_compiled = limited("yara", &parameters);
    child.kill().and_then(|()| child.wait()).unwrap();
    let found = |result: &Value| {
        let matches = result["elements"]["Matches"].as_array().unwrap().clone();
        let mut found: Vec<(Value, Value)> =
            matches.iter().map(|one| (one["Object"].clone(), one["MatchedRules"].clone())).collect();
        found.sort_by_key(|(object, _)| object.to_string());
        found
    };
    let of_files = [(json!(file), json!(["a"])), (json!(program), json!(["b"]))];
    for files in [files, of_compiled] {
        assert_eq!((found(&files), &files["errors"]), (of_files.to_vec(), &json!(null)), "{files}");
    }
    let process = json!(format!("process {} {}", child.id(), program.display()));
    let expected = [&of_files[..], &[(process, json!(["a", "b"]))]].concat();
    let is_there = |one: &(Value, Value)| found(&both).iter().any(|other| other.0 == one.0 && other.1[0] == one.1[0]);
    assert!(expected.iter().all(is_there), "{both}");
    assert_eq!(both["statistics"]["processes"], 1, "{both}");
}
