//! The examples in spool-layout/FORMAT.md are read by the parsers that the programs use.

use mig::acl::Acl;
use mig::action::Action;
use mig::command::Command;
use mig::heartbeat::Agent;
use mig::scheduler::whitelist::Whitelist;
use mig::time::Timestamp;
use std::path::Path;
use std::time::Duration;

/// The fenced blocks of the document: what the fence says, and what is inside.
fn examples() -> Vec<(&'static str, String)> {
    let text = include_str!("../../spool-layout/FORMAT.md");
    let mut examples = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            examples.push((kind, body.join("\n")));
        }
    }
    examples
}

#[test]
fn every_example_is_read() {
    let mut kinds = Vec::new();
    for (kind, text) in examples() {
        kinds.push(kind);
        match kind {
            "json action" => {
                let action = Action::parse(text.as_bytes()).unwrap();
                assert_eq!(Action::parse(&action.to_json()).unwrap().signed_text(), action.signed_text());
            }
            "json command" => assert!(Command::parse(text.as_bytes()).unwrap().status.is_final()),
            "json heartbeat" => {
                let now: Timestamp = "2026-11-22T08:18:20Z".parse().unwrap();
                Agent::parse_heartbeat(text.as_bytes(), now, Duration::from_secs(60)).unwrap();
            }
            "json acl" => assert!(Acl::parse(text.as_bytes()).is_ok()),
            "text whitelist" => {
                let whitelist = Whitelist::parse(text.as_bytes(), Path::new("FORMAT.md")).unwrap();
                assert!(whitelist.allows("linux.server12.example.net.abcdefghijklm"));
                assert!(whitelist.allows("windows.db4.sub.example.com.56b2andxmyb00"));
            }
            "text reason" => {
                let lines: Vec<&str> = text.lines().collect();
                assert_eq!(lines.len(), 2);
                lines[0].parse::<Timestamp>().unwrap();
            }
            other => panic!("nothing reads '{other}'"),
        }
    }
    for kind in ["json action", "json command", "json heartbeat", "json acl", "text whitelist", "text reason"] {
        assert!(kinds.contains(&kind), "{kind} has an example");
    }
}
