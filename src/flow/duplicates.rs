//! Two processes of one queueloc that are alive at the same time: what the log says about them.

use crate::heartbeat::Agent;
use crate::limits::ADDRESSES_LOGGED_MAX;

/// Where two processes of one queueloc are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Both say that they are on the same machine.
    OneMachine,
    /// On two machines that were made from one image, or from a copy of a run directory.
    TwoMachines,
    /// They do not say so, as agents of the original.
    Unknown,
}

/// Where two processes are that are alive at the same time. A process id is there once on one machine.
pub(super) fn place(one: &Agent, other: &Agent) -> Place {
    match (one.machine(), other.machine()) {
        _ if one.pid == other.pid => Place::TwoMachines,
        (Some(one), Some(other)) if one == other => Place::OneMachine,
        (Some(_), Some(_)) => Place::TwoMachines,
        _ => Place::Unknown,
    }
}

/// Names both, and what to do about it.
pub(super) fn notice(older: &Agent, newer: &Agent) -> String {
    let own_identity = "remove agent.id from the run directory of the other one (.migagtid, if it is an agent of the \
        original) while it is stopped, and start it: it then has a queue of its own";
    let (what, cure) = match place(older, newer) {
        Place::OneMachine => ("runs twice on one machine", format!("stop one of them; or {own_identity}")),
        Place::TwoMachines => (
            "runs on two machines at once, which share its commands",
            format!("they have been copied from one image: leave it to one of them; {own_identity}"),
        ),
        Place::Unknown => (
            "runs twice",
            format!("if it is one machine, stop one of them; if there are two, copied from one image, {own_identity}"),
        ),
    };
    format!("agent '{}' {what}: {}, and {}; {cure}", older.queueloc, process(older), process(newer))
}

/// `process 7889 version 0.1.0 on host vm (192.0.2.2/24), started at …, heartbeat at …`
fn process(agent: &Agent) -> String {
    let addresses = agent.environment.get("addresses").and_then(|addresses| addresses.as_array());
    let mut named: Vec<String> = addresses
        .into_iter()
        .flatten()
        .filter_map(|address| address.as_str())
        .take(ADDRESSES_LOGGED_MAX)
        .map(|address| address.escape_default().take(45).collect())
        .collect();
    if addresses.is_some_and(|addresses| addresses.len() > ADDRESSES_LOGGED_MAX) {
        named.push("…".into());
    }
    format!(
        "process {} version {} on host {} ({}), started at {}, heartbeat at {}",
        agent.pid,
        agent.version.escape_default(),
        agent.name.escape_default().take(80).collect::<String>(),
        if named.is_empty() { "without addresses".into() } else { named.join(", ") },
        agent.start_time,
        agent.heartbeat_time
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{self, Timestamp};
    use serde_json::json;

    fn agent(pid: i64, environment: serde_json::Value) -> Agent {
        let heartbeat = json!({
            "name": format!("host{pid}"), "queueloc": "linux.web.x1", "pid": pid, "version": "1",
            "heartbeatts": time::not_set().to_string(), "environment": environment
        });
        Agent::parse_heartbeat(heartbeat.to_string().as_bytes(), Timestamp::MIN, std::time::Duration::MAX).unwrap()
    }

    #[test]
    fn two_processes_are_on_one_machine_only_if_both_say_so() {
        let here = || json!({"machine": "a", "addresses": ["192.0.2.1/24"]});
        let there = || json!({"machine": "b", "addresses": ["192.0.2.1/24"]});
        let original = || json!({"addresses": ["192.0.2.1/24"]});
        for (one, other, expected) in [
            (agent(1, here()), agent(2, here()), Place::OneMachine),
            (agent(1, here()), agent(2, there()), Place::TwoMachines),
            (agent(1, here()), agent(1, here()), Place::TwoMachines),
            (agent(1, original()), agent(2, original()), Place::Unknown),
            (agent(1, original()), agent(1, original()), Place::TwoMachines),
            (agent(1, here()), agent(2, original()), Place::Unknown),
            (agent(1, json!({"machine": 7})), agent(2, json!({"machine": 7})), Place::Unknown),
        ] {
            assert_eq!(place(&one, &other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_notice_names_both_and_the_cure() {
        let many: Vec<String> = (0..2000).map(|n| format!("192.0.2.{n}/24\n")).collect();
        let text =
            notice(&agent(300, json!({"machine": "a", "addresses": many})), &agent(301, json!({"machine": "b"})));
        assert!(text.starts_with("agent 'linux.web.x1' runs on two machines at once"), "{text}");
        for piece in ["process 300 version 1 on host host300 (192.0.2.0/24", "…)", "process 301", "agent.id"] {
            assert!(text.contains(piece), "{piece}: {text}");
        }
        assert!(text.len() < 1500 && !text.contains('\n'), "{text}");
    }
}
