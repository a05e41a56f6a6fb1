//! The modules `process` and `memory` in the process that the agent runs them in, and as a user who may not look into others.

use crate::common::score::Score;
use mig::action::Action;
use mig::agent::execute::Executor;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const NOBODY: u32 = 65_534;

/// A process of another user, where this is root, with a secret in memory; it ends with the test.
struct Holder {
    directory: tempfile::TempDir,
    child: Child,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Holder {
    fn start(user: u32) -> Holder {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let path = directory.path().join("holder");
        std::fs::copy("/usr/bin/perl", &path).unwrap();
        let program = r#"$| = 1; $t = join("-", "xyzzy", 271828 . 1828, "plugh"); print "ready\n"; sleep 1000"#;
        let mut command = Command::new(path);
        command.args(["-e", program]).env("MIG_TEST_NAME", "value").stdout(Stdio::piped());
        if is_root() {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Holder { directory, child }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("holder")
    }

    /// A filter that only it passes.
    fn pattern(&self) -> String {
        format!("^{}$", self.path().display())
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command, module: &str, mut search: Value) -> Value {
    search["options"] = json!({"matchall": true});
    let parameters = json!({"searches": {"s": search}}).to_string();
    let output = command.args(["-m", module, &parameters]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// As the agent runs it.
fn limited(module: &str, search: Value) -> Value {
    run(Command::new(env!("CARGO_BIN_EXE_mig-agent")).arg("--limited"), module, search)
}

#[test]
fn processes_of_other_users_are_looked_into() {
    let holder = Holder::start(NOBODY);
    let filters = json!({
        "paths": [holder.pattern()], "environment": ["^MIG_TEST_NAME$"], "openfiles": ["^pipe:"], "executables": ["!deleted"],
        "sha256": [mig::hex::encode(&openssl::sha::sha256(&std::fs::read("/usr/bin/perl").unwrap()))],
    });
    let result = limited("process", filters);
    assert_eq!(result["elements"]["s"][0]["pid"], json!(holder.child.id()), "{result}");
    let contents =
        json!({"names": [holder.pattern()], "contents": ["xyzzy-[0-9]{10}-plugh"], "libraries": ["libc\\.so"]});
    let result = limited("memory", contents);
    assert_eq!(result["elements"]["s"][0]["process"]["pid"], json!(holder.child.id()), "{result}");
    assert!(!result.to_string().contains("2718281828"));
}

#[test]
fn the_agent_that_holds_the_action_is_left_out() {
    let own = std::env::current_exe().unwrap();
    let parameters = json!({"searches": {"s": {
        "names": [format!("^{}$", own.display())], "contents": ["xyzzy-5772156649-plugh"], "options": {"matchall": true},
    }}});
    let action = json!({
        "name": "memory", "target": "all", "syntaxversion": 2,
        "operations": [{"module": "memory", "parameters": parameters}],
    });
    let mut action = Action::parse_draft(action.to_string().as_bytes()).unwrap();
    action.expire_after = mig::time::after(mig::time::now(), Duration::from_secs(3600));
    let executor =
        Executor { program: env!("CARGO_BIN_EXE_mig-agent").into(), ..Executor::new(Duration::from_secs(60)) };
    let (_, results) = executor.run(&action, mig::time::now());
    assert!(results[0].success, "{results:?}");
    let elements = results[0].elements["s"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(elements.iter().all(|element| element["process"]["pid"] != std::process::id()), "{elements:?}");
    assert!(results[0].statistics["processcount"].as_u64() > Some(1));
}

#[test]
fn what_a_user_may_not_look_into_is_named_and_not_denied() {
    if !is_root() {
        return Score::begin("another user's processes").skip("this user is not root");
    }
    let holder = Holder::start(0);
    let agent = holder.directory.path().join("mig-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_mig-agent"), &agent).unwrap();
    let as_nobody = |module, search| run(Command::new(&agent).uid(NOBODY).gid(NOBODY).current_dir("/"), module, search);
    for (module, search, what) in [
        ("process", json!({"names": ["^holder$"], "paths": ["holder$"]}), "exe"),
        ("process", json!({"names": ["^holder$"], "paths": ["!other$"]}), "exe"),
        ("process", json!({"names": ["^holder$"], "environment": ["^MIG"]}), "environ"),
        ("process", json!({"names": ["^holder$"], "openfiles": ["."]}), "fd"),
        ("memory", json!({"names": ["^holder$"], "libraries": ["libc"]}), "maps"),
        ("memory", json!({"names": ["^holder$"], "contents": ["!xyzzy"]}), "mem"),
    ] {
        let result = as_nobody(module, search.clone());
        assert_eq!(
            (&result["elements"], &result["statistics"]["partial"]),
            (&json!({}), &json!(true)),
            "{search}: {result}"
        );
        let errors = result["errors"].to_string();
        assert!(errors.contains(&format!("read {what} of ")) && errors.contains("Permission denied"), "{errors}");
    }
    let user = as_nobody("process", json!({"names": ["^holder$"], "users": ["^root$"], "cmdlines": ["^/"]}));
    assert_eq!(user["elements"]["s"][0]["pid"], json!(holder.child.id()), "what all may see: {user}");
}

#[test]
fn processes_that_are_hidden_are_named_and_not_denied() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let agent = directory.path().join("mig-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_mig-agent"), &agent).unwrap();
    let hidden = |user: u32| {
        let script = format!(
            "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid {user} --regid {user} --clear-groups {} \"$@\"",
            agent.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]);
        command
    };
    if !hidden(0).arg("-V").output().is_ok_and(|output| output.status.success()) {
        return Score::begin("hidden processes").skip("this user may not mount /proc");
    }
    for module in ["process", "memory"] {
        let result = run(&mut hidden(NOBODY), module, json!({"names": ["^no-such-process$"]}));
        assert_eq!((&result["elements"], &result["statistics"]["partial"]), (&json!({}), &json!(true)), "{result}");
        let error = "/proc is mounted with hidepid=";
        assert!(result["errors"][0].as_str().is_some_and(|text| text.starts_with(error)), "{result}");
        let result = run(&mut hidden(0), module, json!({"names": ["^no-such-process$"]}));
        assert!(!result.to_string().contains("hidepid"), "root sees all: {result}");
    }
}
