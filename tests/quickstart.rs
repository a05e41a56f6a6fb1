//! The README's first command, as an ordinary user would run it.

use std::process::Command;

#[test]
fn quickstart_once_shows_the_answers_and_leaves_nothing() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/scripts/quickstart.sh")).arg("--once").current_dir("/").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("completed: 3 done, 3 sent, 3 success"), "{text}");
    assert_eq!(text.matches(": success\n").count(), 3, "an answer per agent: {text}");
    assert!(text.matches("setuid  u").count() >= 3, "{text}");
    assert!(text.contains("worldwritable  -rw-rw-rw-"), "{text}");
    let left = std::fs::read_dir(format!("{root}/sandbox")).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("once-")).count()
    });
    assert_eq!(left, 0, "it cleans up");
}
