//! The things that travel: actions, commands, answers, heartbeats.

use super::keys::{KNOWN, assert_no_forgery, now};
use mig::acl::Acl;
use mig::action::Action;
use mig::agent::Trust;
use mig::command::{Command, CommandStatus};
use mig::event::EventBatch;
use mig::heartbeat::{Agent, QueueLoc};
use mig::id::CommandRef;
use mig::limits;
use mig::modules::{self, ModuleResult};
use mig::relay::Queue;
use mig::spool::FileName;
use mig::time::{self, Timestamp};
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

/// The access list of an agent that lets each of the two test investigators do everything.
static ACL: LazyLock<Acl> = LazyLock::new(|| {
    let listed =
        KNOWN.fingerprints.iter().map(|known| format!(r#""{known}": {{"fingerprint": "{known}", "weight": 1}}"#));
    let listed: Vec<String> = listed.collect();
    let acl = format!(r#"{{"default": {{"minimumweight": 1, "investigators": {{{}}}}}}}"#, listed.join(","));
    Acl::parse(acl.as_bytes()).expect("a good access list")
});

/// What we write is one line that ends.
fn assert_one_line(written: &[u8]) {
    let newlines = written.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((newlines, written.last()), (1, Some(&b'\n')), "{}", String::from_utf8_lossy(written));
}

/// An action: what is written of it is the same action with the same signed text, and nobody signed it who did not.
pub fn action(data: &[u8]) {
    let Ok(action) = Action::parse_draft(data) else {
        assert!(Action::parse(data).is_err());
        return;
    };
    let written = action.to_json();
    assert_one_line(&written);
    let again = Action::parse_draft(&written).expect("what was written is read again");
    assert_eq!(again, action);
    let text = action.signed_text();
    assert_eq!(again.signed_text(), text);
    assert_eq!(Action::parse(data), Action::parse(&written));
    for signature in &action.signatures {
        assert_no_forgery(&text, signature);
    }
}

fn assert_same_command(command: &Command, again: &Command) {
    assert_eq!(again.reference(), command.reference());
    assert_eq!(again.action, command.action);
    assert_eq!(again.action.signed_text(), command.action.signed_text());
    assert_eq!(again.to_json(), command.to_json());
}

/// A command: what is written of it is the same command, its file's name names it, and an agent runs only what the
/// investigators signed.
pub fn command(data: &[u8]) {
    let Ok(mut command) = Command::parse(data) else { return };
    let written = command.to_json();
    assert_one_line(&written);
    assert_same_command(&command, &Command::parse(&written).expect("what was written is read again"));
    let name = command.reference().file_name();
    assert_eq!(CommandRef::from_file_name(&name).as_ref(), Ok(&command.reference()));
    let trust = Trust { keyring: &KNOWN.keyring, acl: &ACL };
    if trust.judge(&command, now()).is_ok() {
        assert_eq!(command.action.signed_text(), KNOWN.text, "an agent would run it");
    }
    command.finish_unrun(CommandStatus::Cancelled, "refused", now());
    let refused = Command::parse(&command.to_json()).expect("a refusal is read");
    assert!(refused.status.is_final());
}

/// An answer, or the result of one operation: it is kept, read again and printed without control characters.
pub fn result(data: &[u8]) {
    if let Ok(result) = serde_json::from_slice::<ModuleResult>(data) {
        one_result(&result);
    }
    let Ok(answer) = Command::parse(data) else { return };
    let kept = Command::parse(&answer.to_json()).expect("what was written is read again");
    assert_same_command(&answer, &kept);
    let values = |command: &Command| serde_json::from_str::<Value>(command.results.get()).ok();
    assert_eq!(values(&kept), values(&answer), "results are kept as they came");
    for result in serde_json::from_str::<Vec<ModuleResult>>(kept.results.get()).into_iter().flatten() {
        one_result(&result);
    }
}

fn one_result(result: &ModuleResult) {
    let written = serde_json::to_vec(result).expect("a result is written");
    assert_eq!(serde_json::from_slice::<ModuleResult>(&written).expect("and read again"), *result);
    for module in modules::all() {
        for line in module.print(result) {
            assert!(!line.contains(char::is_control), "{}: {line:?}", module.name());
        }
    }
}

/// A batch of events: one that is accepted is written as it was read, and becomes lines of JSON under a plain file name.
pub fn events(data: &[u8]) {
    let Ok(batch) = EventBatch::parse(data) else { return };
    assert_eq!(EventBatch::parse(&batch.to_json()).as_ref(), Ok(&batch), "what was written is read again");
    let lines = batch.to_lines();
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), batch.events.len() + usize::from(batch.dropped > 0));
    for line in lines {
        assert_one_line(line);
        serde_json::from_slice::<Value>(line).expect("a line is JSON");
    }
    let name = FileName::of_lines(&batch.id);
    assert!(
        name.as_str()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)))
    );
}

/// A heartbeat: one that is accepted is of our time, is written as it was read, and names a queue that is a plain file name.
pub fn heartbeat(data: &[u8]) {
    const TIMEOUT: Duration = Duration::from_secs(3600);
    let now: Timestamp = "2026-11-22T08:18:20Z".parse().expect("a time");
    let Ok(agent) = Agent::parse_heartbeat(data, now, TIMEOUT) else { return };
    assert!((time::before(now, TIMEOUT)..=time::after(now, TIMEOUT)).contains(&agent.heartbeat_time));
    assert_eq!(QueueLoc::parse(agent.queueloc.as_str()).as_ref(), Ok(&agent.queueloc));
    assert!(agent.queueloc.as_str().split('.').all(|part| !part.is_empty()), "{} climbs", agent.queueloc);
    let queue = Queue::agent(&agent.queueloc);
    let name = FileName::new(queue.as_str()).expect("a queue is a directory");
    assert!(!name.is_hidden() && queue.as_str().len() <= 255, "{queue}");
    let written = agent.to_json();
    assert_one_line(&written);
    // Numbers may take more room than they did.
    if written.len() as u64 <= limits::HEARTBEAT_SIZE_BYTES_MAX {
        assert_eq!(Agent::parse_heartbeat(&written, now, TIMEOUT).as_ref(), Ok(&agent));
    }
}
