//! The README's first command with servers of its own.

use std::path::Path;
use std::process::Command;

#[test]
fn quickstart_at_scale_shows_the_same_answers_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/quickstart.sh");
    let output = Command::new(script).args(["--once", "--scale"]).env("TMPDIR", temporary.path()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("completed: 3 done, 3 sent, 3 success"), "{text}");
    assert!(text.contains("mig: 3 of 3 agents found something"), "{text}");
    assert_eq!(crate::common::names(temporary.path()), Vec::<String>::new(), "no server's files are left");
}
