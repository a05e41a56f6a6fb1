//! Files.

use super::limited;
use serde_json::json;
use std::os::unix::fs::symlink;

#[test]
fn file_looks_at_links_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    std::fs::write(place.join("file"), "x\n").unwrap();
    symlink("/nowhere/evil", place.join("dangling")).unwrap();
    // A search that follows it may not: it leads into another process.
    symlink("/proc/1/environ", place.join("process")).unwrap();
    symlink("file", place.join("near")).unwrap();
    let options = json!({"matchall": true, "links": true, "returnowner": true, "returninode": true});
    let result = limited(
        "file",
        &json!({"searches": {"s": {"paths": [place], "birthtimes": ["<60m"], "xattrs": ["!^user\\."], "targets": ["^/"],
            "options": options}}}),
    );
    let found: Vec<_> =
        result["elements"]["s"].as_array().unwrap().iter().map(|one| &one["fileinfo"]["linkto"]).collect();
    assert_eq!((found, &result["errors"]), (vec![&json!("/nowhere/evil"), &json!("/proc/1/environ")], &json!(null)));
    let line = ["-path", place.to_str().unwrap(), "-links", "-target", "^file$"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mig-agent")).args(["-m", "file"]).args(line).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(text.contains("/near [") && text.contains("linkto:file]"), "{text}");
}
