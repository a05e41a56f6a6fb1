//! The agent: at most once, within limits, trusting only its own keys and access list.

use crate::common::{self, Sandbox, names, text, write_program};
use mig::action::Action;
use mig::agent::execute::{Executor, ModuleLimits};
use mig::command::CommandStatus;
use mig::time;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A program in place of the agent's own, that does with its parameters what `script` says.
fn executor(directory: &Path, script: &str, timeout: Duration) -> Executor {
    let program = directory.join("module.sh");
    write_program(&program, script);
    Executor { program, ..Executor::new(timeout) }
}

fn action(modules: &[&str]) -> Action {
    let operations: Vec<Value> =
        modules.iter().map(|module| json!({"module": module, "parameters": {"x": "y"}})).collect();
    let draft = json!({"name": "n", "target": "all", "operations": operations, "syntaxversion": 2});
    let mut action = Action::parse_draft(draft.to_string().as_bytes()).unwrap();
    action.expire_after = mig::time::after(mig::time::now(), Duration::from_secs(3600));
    action
}

const GOOD: &str =
    r#"cat >/dev/null; echo '{"foundanything":true,"success":true,"elements":{"a":1},"statistics":{},"errors":null}'"#;

fn run(script: &str, timeout: Duration) -> (CommandStatus, Vec<mig::modules::ModuleResult>) {
    let directory = tempfile::tempdir().unwrap();
    executor(directory.path(), script, timeout).run(&action(&["file"]), mig::time::now())
}

fn only_error(script: &str, timeout: Duration) -> (CommandStatus, String) {
    let (status, results) = run(script, timeout);
    (status, results[0].errors.as_ref().unwrap()[0].clone())
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn each_operation_gives_one_result_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let executor = executor(directory.path(), GOOD, LONG);
    let (status, results) = executor.run(&action(&["file", "nosuch", "file"]), mig::time::now());
    assert_eq!(status, CommandStatus::Failed);
    let success: Vec<bool> = results.iter().map(|result| result.success).collect();
    assert_eq!(success, [true, false, true]);
    assert_eq!(results[1].errors.as_ref().unwrap()[0], "module 'nosuch': is not available on this agent");
    assert_eq!(results[2].elements, json!({"a": 1}));
}

#[test]
fn an_operation_that_takes_too_long_is_ended() {
    let (status, error) = only_error("cat >/dev/null; exec sleep 1000", Duration::from_millis(300));
    assert_eq!(
        (status, error.as_str()),
        (CommandStatus::Timeout, "module 'file': took longer than 300.0ms and was ended")
    );
    let (status, _) = only_error("exec sleep 1000", Duration::from_millis(300));
    assert_eq!(status, CommandStatus::Timeout, "also one that never reads");
    let (status, _) = only_error("cat >/dev/null; while :; do echo x; sleep 0.01; done", Duration::from_millis(300));
    assert_eq!(status, CommandStatus::Timeout, "also one that never stops talking");
}

#[test]
fn the_end_of_the_validity_ends_an_operation_too() {
    let directory = tempfile::tempdir().unwrap();
    let executor = executor(directory.path(), "exec sleep 1000", LONG);
    let mut action = action(&["file"]);
    action.expire_after = mig::time::after(mig::time::now(), Duration::from_secs(2));
    let (status, _) = executor.run(&action, mig::time::now());
    assert_eq!(status, CommandStatus::Timeout);
}

#[test]
fn operations_share_the_time_until_the_executors_end() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!("test -e ran && exec sleep 1000; touch ran; {GOOD}")
        .replace("ran", &format!("{}/ran", directory.path().display()));
    let end = std::time::Instant::now() + Duration::from_secs(2);
    let executor = executor(directory.path(), &script, LONG).ending_at(end);
    assert!(executor.has_time());
    let (status, results) = executor.run(&action(&["file"; 3]), mig::time::now());
    assert_eq!((status, results[0].success), (CommandStatus::Timeout, true), "what was found in time stands");
    let errors = [1, 2].map(|index: usize| results[index].errors.as_ref().unwrap()[0].clone());
    assert!(errors[0].contains("took longer than ") && errors[0].ends_with("and was ended"), "{errors:?}");
    assert_eq!(errors[1], "module 'file': not begun, as no time was left for it");
    assert!(!executor.has_time() && end.elapsed() < LONG / 2);
}

#[test]
fn what_a_module_does_to_itself_is_a_failed_operation() {
    for (script, expected) in [
        ("kill -SEGV $$", "its process ended with signal: 11 (SIGSEGV)"),
        ("exit 3", "its process ended with exit status: 3"),
        ("echo nonsense", "printed no result"),
        ("exec yes", "its result has more than 4194304 bytes"),
        ("exec 0<&-; exec 1>&-; exec sleep 0", "printed no result"),
    ] {
        let (status, error) = only_error(script, LONG);
        assert_eq!(status, CommandStatus::Failed);
        assert!(error.contains(expected), "{script}: {error}");
    }
}

#[test]
fn what_a_module_had_found_stands_however_it_ends() {
    const FOUND: &str =
        r#"echo '{"foundanything":true,"success":true,"elements":["hit"],"statistics":{},"errors":null}'; "#;
    for (end, timeout, status, reason) in [
        (
            "kill -KILL $$",
            LONG,
            CommandStatus::Failed,
            "partial: module 'file': its process ended with signal: 9 (SIGKILL): it was killed for memory",
        ),
        ("printf '{\"found'; exit 3", LONG, CommandStatus::Failed, "its process ended with exit status: 3"),
        ("exec sleep 100", Duration::from_secs(1), CommandStatus::Timeout, "took longer than 1.0s and was ended"),
        ("exec tr '\\0' x </dev/zero", LONG, CommandStatus::Failed, "its result has more than 4194304 bytes"),
    ] {
        let (got, results) = run(&format!("{FOUND}{end}"), timeout);
        let result = &results[0];
        assert_eq!((got, &result.elements), (status, &json!(["hit"])), "{end}");
        assert!(result.errors.as_ref().unwrap()[0].contains(reason), "{end}: {result:?}");
    }
    // The last line counts.
    let (status, results) = run(&format!("{FOUND}{}", FOUND.replace("hit", "more")), LONG);
    assert_eq!((status, &results[0].elements, &results[0].errors), (CommandStatus::Success, &json!(["more"]), &None));
}

#[test]
fn a_module_is_told_limits_below_the_agents() {
    let script = r#"read -r line; cat >/dev/null; echo "{\"foundanything\":true,\"success\":true,\"elements\":$line,\"statistics\":null,\"errors\":null}""#;
    let (_, results) = run(script, Duration::from_secs(50));
    let limits = ModuleLimits::parse(&results[0].elements.to_string()).unwrap();
    assert_eq!(limits.time, Duration::from_secs(45));
    assert!(limits.result_bytes < 4 << 20 && limits.result_bytes > 4_000_000);
}

#[test]
fn the_results_of_all_operations_fit_one_message() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"cat >/dev/null; printf '{"foundanything":true,"success":true,"elements":"'; head -c 3900000 /dev/zero | tr '\0' x; printf '","statistics":null,"errors":null}'"#;
    let executor = executor(directory.path(), script, LONG);
    let (status, results) = executor.run(&action(&["file"; 6]), mig::time::now());
    assert_eq!(status, CommandStatus::Failed);
    assert_eq!(results.iter().filter(|result| result.success).count(), 3);
    assert!(serde_json::to_vec(&results).unwrap().len() < 16 << 20);
}

#[test]
fn a_limited_module_cannot_take_the_machines_memory() {
    // The module's process is asked for its own limits by reading them through the module itself.
    let parameters = json!({"searches": {"s": {"paths": ["/proc/self/limits"], "contents": ["^Max address space +2147483648 +2147483648"]}}});
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mig-agent"))
        .args(["--limited", "-m", "file", &parameters.to_string()])
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["foundanything"], true, "{result}");
}

#[test]
fn a_limited_module_is_chosen_first_when_memory_runs_out() {
    let parameters = json!({"searches": {"s": {"paths": ["/proc/self/oom_score_adj"], "contents": ["^1000$"]}}});
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mig-agent"))
        .args(["--limited", "-m", "file", &parameters.to_string()])
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["foundanything"], true, "{result}");
}

/// Puts a command into an agent's queue, as a scheduler would; `change` may spoil it first.
pub fn deliver(sandbox: &Sandbox, number: usize, file: &str, draft: Value, change: impl FnOnce(&mut Value)) {
    let mut action = sandbox.sign(draft);
    action["id"] = 1000.into();
    let queueloc = queueloc(sandbox, number);
    let mut command = json!({
        "id": 1001,
        "action": action,
        "agent": {"name": "x", "queueloc": queueloc, "pid": 1, "version": "1"},
        "status": "sent",
        "results": []
    });
    change(&mut command);
    std::fs::write(sandbox.path("relay").join(format!("mig.agt.{queueloc}")).join(file), command.to_string()).unwrap();
}

fn queueloc(sandbox: &Sandbox, number: usize) -> String {
    let id = std::fs::read_to_string(sandbox.path(&format!("agent-{number}/agent.id"))).unwrap();
    let queues = names(&sandbox.path("relay"));
    let queue = queues.iter().find(|queue| queue.ends_with(id.trim())).unwrap();
    queue.strip_prefix("mig.agt.").unwrap().to_owned()
}

pub fn answer(sandbox: &Sandbox) -> Value {
    let files: Vec<PathBuf> =
        std::fs::read_dir(sandbox.path("relay/mig.agt.results")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "one answer");
    let answer = common::json_file(&files[0]);
    std::fs::remove_file(&files[0]).unwrap();
    answer
}

#[test]
fn the_agent_verifies_for_itself() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let soon = |seconds: i64| {
        let now = mig::time::now();
        let by = Duration::from_secs(seconds.unsigned_abs());
        (if seconds < 0 { mig::time::before(now, by) } else { mig::time::after(now, by) }).to_string()
    };
    type Change = Box<dyn FnOnce(&mut Value)>;
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "cancelled",
            Box::new(|c| c["action"]["target"] = "all".into()),
            "permission denied: module 'file' needs weight 1, the signers that its permission lists weigh 0; pgpsignatures[0] claims to be by Test Investigator",
        ),
        (
            "cancelled",
            Box::new(|c| {
                c["action"]["operations"][0]["parameters"]["searches"]["s1"]["paths"][0] = "/etc/shadow".into()
            }),
            "permission denied",
        ),
        ("cancelled", Box::new(|c| c["action"]["pgpsignatures"] = json!([])), "permission denied"),
        ("cancelled", Box::new(|c| c["action"]["expireafter"] = time::NEVER_TEXT.into()), "permission denied"),
        ("cancelled", Box::new(move |c| c["action"]["expireafter"] = soon(7200).into()), "permission denied"),
        ("expired", Box::new(move |c| c["action"]["expireafter"] = soon(-1).into()), "the action expired at"),
    ];
    for (status, change, error) in cases {
        deliver(&sandbox, 1, "c.json", sandbox.draft("refused"), change);
        sandbox.agent_once(1);
        let answer = answer(&sandbox);
        assert_eq!(answer["status"], status, "{answer}");
        let found = answer["results"][0]["errors"][0].as_str().unwrap();
        assert!(found.starts_with(error), "{found}");
        // Nothing of it is kept: the next one, of the same name, is judged anew.
        assert!(names(&sandbox.path("agent-1/done")).is_empty());
    }
    deliver(&sandbox, 1, "c.json", sandbox.draft("good"), |_| {});
    sandbox.agent_once(1);
    assert_eq!(answer(&sandbox)["status"], "success");
}

#[test]
fn a_command_for_another_agent_or_no_command_is_put_aside() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    deliver(&sandbox, 1, "other.json", sandbox.draft("x"), |c| c["agent"]["queueloc"] = "linux.other.host.1".into());
    deliver(&sandbox, 1, "none.json", sandbox.draft("x"), |c| *c = json!({"hello": 1}));
    sandbox.agent_once(1);
    assert_eq!(
        names(&sandbox.path("relay/dead")),
        ["none.json", "none.json.reason", "other.json", "other.json.reason"]
    );
}

#[test]
fn one_that_was_cut_down_in_the_middle_never_runs_again() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    deliver(&sandbox, 1, "c.json", sandbox.draft("x"), |_| {});
    sandbox.agent_once(1);
    answer(&sandbox);
    // As a crash between claim and answer leaves it.
    let spool = sandbox.path("agent-1");
    std::fs::rename(spool.join("done/1000-1001.json"), spool.join("running/1000-1001.json")).unwrap();
    sandbox.agent_once(1);
    let interrupted = answer(&sandbox);
    assert_eq!(
        (&interrupted["status"], &interrupted["results"][0]["errors"]),
        (&json!("failed"), &json!(["interrupted"]))
    );
    deliver(&sandbox, 1, "again.json", sandbox.draft("x"), |_| {});
    sandbox.agent_once(1);
    assert_eq!(answer(&sandbox)["results"], interrupted["results"], "delivered again: the kept answer");
}

#[test]
fn kept_answers_go_when_their_action_ran_out() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let now = mig::time::now();
    let action = sandbox.sign_window(
        sandbox.draft("short"),
        mig::time::before(now, LONG),
        mig::time::after(now, Duration::from_secs(20)),
    );
    deliver(&sandbox, 1, "c.json", sandbox.draft("x"), |c| {
        let id = c["action"]["id"].clone();
        c["action"] = action;
        c["action"]["id"] = id;
    });
    sandbox.agent_once(1);
    assert_eq!(names(&sandbox.path("agent-1/done")), ["1000-1001.json"]);
    sandbox.wait("forgotten", |sandbox| {
        sandbox.agent_once(1);
        names(&sandbox.path("agent-1/done")).is_empty()
    });
}

#[test]
fn a_second_agent_in_one_run_directory_is_refused() {
    let sandbox = Sandbox::new();
    let _first = sandbox.start_agent(1);
    sandbox.wait("locked", |s| !std::fs::read_to_string(s.path("agent-1/lock/agent")).unwrap_or_default().is_empty());
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    let output = second.arg("-c").arg(sandbox.agent_cfg(1)).arg("--once").output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
}

#[test]
fn a_wrong_configuration_names_its_key() {
    let sandbox = Sandbox::new();
    let good = std::fs::read_to_string(sandbox.agent_cfg(1)).unwrap();
    std::fs::write(sandbox.path("empty.json"), "[]").unwrap();
    for (from, to, error) in [
        ("/acl.json", "/nothing.json", "agent.acl: "),
        ("/acl.json", "/empty.json", "the access list is empty"),
        ("/key.pub", "/acl.json", "agent.keyring: "),
        ("dir://", "http://", "bad.cfg:2: agent.relay: "),
        (
            "heartbeatfreq = \"30s\"",
            "heartbeatfreq = often",
            "bad.cfg:6: agent.heartbeatfreq: 'often' is not a duration",
        ),
    ] {
        std::fs::write(sandbox.path("bad.cfg"), good.replace(from, to)).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mig-agent"));
        let output = command.arg("-c").arg(sandbox.path("bad.cfg")).arg("--once").output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", text(&output));
        assert!(text(&output).contains(error), "{}", text(&output));
    }
    assert!(!sandbox.path("agent-1").exists(), "nothing was touched");
}
