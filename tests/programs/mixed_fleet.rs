//! A fleet that is moved over one component at a time: the original's agents under our scheduler, and ours under the
//! original's. Its programs are written in Go; here are its structs, and what it writes after it has read with them.

use crate::common::{Sandbox, json_file, names};
use go::GoCommand;
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Event, Queue, Relay};
use mig::time;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The original's structs. A value of another type is an error there too, and unknown fields are passed over.
#[allow(dead_code, reason = "that they can be read is what counts")]
mod go {
    use mig::time::Timestamp;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Deserialize)]
    pub struct GoCommand {
        pub id: f64,
        pub action: GoAction,
        pub agent: GoAgent,
        pub status: String,
        pub results: Option<Vec<GoResult>>,
        pub starttime: Timestamp,
        pub finishtime: Timestamp,
    }

    #[derive(Deserialize)]
    pub struct GoAction {
        pub id: f64,
        name: String,
        target: String,
        description: GoDescription,
        #[serde(default)]
        threat: GoThreat,
        validfrom: Timestamp,
        expireafter: Timestamp,
        pub operations: Option<Vec<GoOperation>>,
        pub pgpsignatures: Option<Vec<String>>,
        #[serde(default)]
        status: String,
        starttime: Timestamp,
        finishtime: Timestamp,
        lastupdatetime: Timestamp,
        pub counters: GoCounters,
        syntaxversion: u16,
    }

    #[derive(Deserialize, Default)]
    #[serde(default)]
    pub struct GoDescription {
        author: String,
        email: String,
        url: String,
        revision: f64,
    }

    #[derive(Deserialize, Default)]
    #[serde(default)]
    pub struct GoThreat {
        r#ref: String,
        level: String,
        family: String,
        r#type: String,
    }

    #[derive(Deserialize, Default)]
    #[serde(default)]
    pub struct GoCounters {
        sent: i64,
        done: i64,
        inflight: i64,
        success: i64,
        cancelled: i64,
        expired: i64,
        failed: i64,
        timeout: i64,
    }

    #[derive(Deserialize)]
    pub struct GoOperation {
        module: String,
        parameters: Value,
    }

    #[derive(Deserialize)]
    pub struct GoResult {
        foundanything: bool,
        pub success: bool,
        elements: Value,
        statistics: Value,
        errors: Option<Vec<String>>,
    }

    #[derive(Deserialize)]
    pub struct GoAgent {
        #[serde(default)]
        id: f64,
        name: String,
        pub queueloc: String,
        mode: String,
        version: String,
        pid: i64,
        starttime: Timestamp,
        destructiontime: Timestamp,
        heartbeatts: Timestamp,
        #[serde(default)]
        status: String,
        environment: GoEnvironment,
        #[serde(default)]
        tags: Value,
    }

    #[derive(Deserialize, Default)]
    #[serde(default)]
    pub struct GoEnvironment {
        init: String,
        ident: String,
        os: String,
        arch: String,
        isproxied: bool,
        proxy: String,
        addresses: Vec<String>,
        publicip: String,
    }
}

/// The bodies of the original's messages on `key`.
fn samples(key: &str) -> Vec<Value> {
    let messages =
        include_str!("../samples/amqp.jsonl").lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let bodies = messages.filter(|message| message["key"] == key);
    bodies.map(|message| serde_json::from_str(message["body"].as_str().unwrap()).unwrap()).collect()
}

/// The agent of the samples.
const QUEUELOC: &str = "linux.vm.dn1lbhvz2lfk";

/// How Go writes a float: in the digits that tell it from others, and until 2016 with an exponent.
fn with_exponent(id: f64) -> String {
    format!("{id:e}").replace('e', "e+")
}

fn in_digits(id: f64) -> String {
    id.to_string()
}

fn queue(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.path("relay").join(name)
}

/// What is on a queue, which is empty then. The original's scheduler discards what is not within braces.
fn take(sandbox: &Sandbox, name: &str) -> Vec<Vec<u8>> {
    let read = |file: &String| {
        let path = queue(sandbox, name).join(file);
        let body = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(body.len() >= 10 && body[0] == b'{' && body[body.len() - 1] == b'}', "{name}: {body:?}");
        body
    };
    names(&queue(sandbox, name)).iter().map(read).collect()
}

/// Our scheduler, and an agent of the original that has sent its heartbeat.
fn with_originals_agent() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.once("heartbeats,results");
    std::fs::create_dir(queue(&sandbox, &format!("mig.agt.{QUEUELOC}"))).unwrap();
    for (number, mut heartbeat) in samples("mig.agt.heartbeats").into_iter().enumerate() {
        heartbeat["heartbeatts"] = time::now().to_string().into();
        let file = queue(&sandbox, "mig.agt.heartbeats").join(format!("{number}.json"));
        std::fs::write(file, heartbeat.to_string()).unwrap();
    }
    sandbox.once("heartbeats");
    sandbox
}

/// An action with an id in this form, dropped and sent; returns what the agent gets.
fn send(sandbox: &Sandbox, id: Option<&str>) -> (GoCommand, Value) {
    let mut draft = sandbox.draft("mixed <fleet> & co");
    draft["description"] = json!({"author": "a", "revision": 201408261000u64});
    let mut signed = sandbox.sign(draft);
    signed["id"] = "@id".into();
    let dropped = signed.to_string().replace("\"@id\"", id.unwrap_or("0"));
    sandbox.drop_bytes("a.json", dropped.as_bytes());
    sandbox.once("action-new,command-ready");
    let mut bodies = take(sandbox, &format!("mig.agt.{QUEUELOC}"));
    assert_eq!(bodies.len(), 1, "{:?}", sandbox.picture());
    let body = bodies.remove(0);
    (serde_json::from_slice(&body).unwrap(), serde_json::from_slice(&body).unwrap())
}

/// The answer of the original's agent, put on the queue of results.
fn answer(sandbox: &Sandbox, sent: &(GoCommand, Value), form: fn(f64) -> String, status: &str, results: &str) {
    let (read, mut command) = (&sent.0, sent.1.clone());
    command["id"] = "@command".into();
    command["action"]["id"] = "@action".into();
    command["status"] = status.into();
    command["results"] = "@results".into();
    let text =
        command.to_string().replace("\"@command\"", &form(read.id)).replace("\"@action\"", &form(read.action.id));
    let text = text.replace("\"@results\"", results).replace('<', "\\u003c").replace('>', "\\u003e");
    std::fs::write(queue(sandbox, "mig.agt.results").join("answer.json"), text.replace('&', "\\u0026")).unwrap();
}

const FOUND: &str = r#"[{"foundanything":true,"success":true,"elements":{"s1":null},"statistics":null,"errors":null}]"#;

/// A result that says nothing: of an operation that was ended, or never begun.
const ZERO: &str = r#"{"foundanything":false,"success":false,"elements":null,"statistics":null,"errors":null}"#;

#[test]
fn an_answer_is_known_by_ids_that_went_through_floats() {
    let sandbox = with_originals_agent();
    let mut float = 6115472790658567168f64;
    let mut check = |given: Option<fn(f64) -> String>, form: fn(f64) -> String, is_lost: bool| {
        float += 1024.0;
        let given = given.map(|given| given(float));
        let sent = send(&sandbox, given.as_deref());
        if let Some(given) = &given {
            assert_eq!(sent.0.action.id, given.parse::<f64>().unwrap());
        }
        let name = sandbox.names("command/inflight").remove(0);
        if is_lost {
            // The store knows whose answer counts.
            std::fs::remove_file(sandbox.spool().join("command/inflight").join(&name)).unwrap();
        }
        answer(&sandbox, &sent, form, "success", FOUND);
        sandbox.once("results,command-returned");
        let case = format!("{given:?} came back as {}, lost: {is_lost}", form(sent.0.action.id));
        assert_eq!(names(&queue(&sandbox, "dead")), Vec::<String>::new(), "{case}");
        assert_eq!((sandbox.names("action/inflight").len(), sandbox.names("command/inflight").len()), (0, 0), "{case}");
        let kept = json_file(&sandbox.spool().join("command/done").join(name));
        assert_eq!((&kept["id"], &kept["action"]["id"]), (&sent.1["id"], &sent.1["action"]["id"]), "{case}");
        assert_eq!(kept["status"], "success", "{case}");
    };
    let in_all_digits: fn(f64) -> String = |id| format!("{id:.0}");
    for form in [with_exponent, in_digits] {
        check(None, form, false);
        for given in [with_exponent, in_digits, in_all_digits] {
            for is_lost in [false, true] {
                check(Some(given), form, is_lost);
            }
        }
    }
}

#[test]
fn each_kind_of_answer_ends_its_command() {
    let sandbox = with_originals_agent();
    let mut counters = std::collections::BTreeMap::new();
    for (status, results) in [
        ("success", FOUND.to_owned()),
        (
            "failed",
            r#"[{"foundanything":false,"success":false,"elements":null,"statistics":null,"errors":["a <b>"]}]"#.into(),
        ),
        ("timeout", format!("[{ZERO}]")),
        ("cancelled", "null".into()),
        ("cancelled", "[]".into()),
        ("failed", "[null]".into()),
        ("success", format!("[{ZERO},{ZERO}]")),
        ("expired", format!("[{ZERO}]")),
    ] {
        let sent = send(&sandbox, None);
        answer(&sandbox, &sent, with_exponent, status, &results);
        sandbox.once("results,command-returned");
        let reference = format!("{}-{}.json", sent.1["action"]["id"], sent.1["id"]);
        let kept = json_file(&sandbox.spool().join("command/done").join(reference));
        assert_eq!(kept["status"], status, "{results}");
        let expected: Value = serde_json::from_str(&results).unwrap();
        assert_eq!(kept["results"], if expected.is_null() { json!([]) } else { expected });
        *counters.entry(status).or_insert(0) += 1;
    }
    assert_eq!(names(&queue(&sandbox, "dead")), Vec::<String>::new());
    for name in sandbox.names("action/done") {
        let action = json_file(&sandbox.spool().join("action/done").join(name));
        let status = action["counters"].as_object().unwrap().keys().find(|key| counters.contains_key(key.as_str()));
        *counters.get_mut(status.unwrap().as_str()).unwrap() -= 1;
    }
    assert!(counters.values().all(|left| *left == 0), "{counters:?}");
}

#[test]
fn what_our_programs_send_has_the_types_that_the_original_reads() {
    let sandbox = Sandbox::new();
    let events = Queue::worker("watcher");
    let mut relay = DirectoryRelay::open(&sandbox.path("relay")).unwrap();
    for event in [Event::AgentNew, Event::CommandFinished, Event::ActionFinished] {
        relay.subscribe(&events, event).unwrap();
    }
    sandbox.once("heartbeats,results");
    sandbox.agent_once(1);
    let heartbeats = take(&sandbox, "mig.agt.heartbeats");
    let read: go::GoAgent = serde_json::from_slice(&heartbeats[0]).unwrap();
    let agent_queue = format!("mig.agt.{}", read.queueloc);
    std::fs::write(queue(&sandbox, "mig.agt.heartbeats").join("again.json"), &heartbeats[0]).unwrap();
    sandbox.once("heartbeats");
    let mut draft = sandbox.draft("types");
    draft["description"] = json!({"author": "a", "revision": 2.01408261e11, "reviewers": ["b"]});
    sandbox.drop_bytes("a.json", sandbox.sign(draft).to_string().as_bytes());
    sandbox.once("action-new,command-ready");
    let sent = take(&sandbox, &agent_queue);
    let command: GoCommand = serde_json::from_slice(&sent[0]).unwrap();
    assert_eq!((command.status.as_str(), command.action.operations.unwrap().len()), ("sent", 1));
    std::fs::write(queue(&sandbox, &agent_queue).join("again.json"), &sent[0]).unwrap();
    sandbox.agent_once(1);
    let answers = take(&sandbox, "mig.agt.results");
    let answered: GoCommand = serde_json::from_slice(&answers[0]).unwrap();
    assert_eq!((answered.id, answered.action.id), (command.id, command.action.id));
    assert!(answered.results.unwrap().iter().all(|result| result.success) && answered.status == "success");
    // An older agent of ours sends a line.
    std::fs::write(queue(&sandbox, "mig.agt.results").join("again.json"), [&answers[0], &b"\n"[..]].concat()).unwrap();
    sandbox.once("results,command-returned");
    let told = take(&sandbox, events.as_str());
    assert_eq!(told.len(), 3, "an agent, a command and an action");
    let done = std::fs::read(sandbox.spool().join("action/done").join(&sandbox.names("action/done")[0])).unwrap();
    let done: go::GoAction = serde_json::from_slice(&done).unwrap();
    assert_eq!(done.id, command.action.id);
}

#[test]
fn our_agent_answers_commands_of_the_originals_scheduler() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let agent_queue = names(&sandbox.path("relay")).into_iter().find(|name| name.starts_with("mig.agt.linux")).unwrap();
    let queueloc = agent_queue.strip_prefix("mig.agt.").unwrap();
    let commands = samples(&format!("mig.agt.{QUEUELOC}"));
    assert_eq!(commands.len(), 2);
    for (command, form) in commands.iter().zip([with_exponent, in_digits]) {
        for (is_signed, status) in [(true, "success"), (false, "expired")] {
            let mut command = command.clone();
            let (id, action_id) = (
                command["id"].as_f64().unwrap() + 256.0 * f64::from(is_signed),
                command["action"]["id"].as_f64().unwrap(),
            );
            if is_signed {
                // As it was, but for the operation, the window and the signature.
                command["action"]["operations"] = sandbox.draft("n")["operations"].clone();
                command["action"] = sandbox.sign(command["action"].clone());
            }
            command["agent"]["queueloc"] = queueloc.into();
            (command["id"], command["action"]["id"]) = ("@command".into(), "@action".into());
            let text = command.to_string().replace("\"@command\"", &form(id)).replace("\"@action\"", &form(action_id));
            std::fs::write(queue(&sandbox, &agent_queue).join("command.json"), text).unwrap();
            sandbox.agent_once(1);
            let answers = take(&sandbox, "mig.agt.results");
            let answer: GoCommand = serde_json::from_slice(&answers[0]).unwrap();
            assert_eq!((answer.id, answer.action.id, answer.status.as_str()), (id, action_id, status));
            assert_eq!(answer.agent.queueloc, queueloc);
            assert_eq!(answer.results.unwrap().len(), 1);
            assert_eq!(answer.action.pgpsignatures.unwrap().len(), 1);
        }
    }
}
