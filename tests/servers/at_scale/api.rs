//! The REST API with the rights of its own users at broker and database.

use super::journey::broker_has_queues;
use super::{register, wait};
use crate::common::broker_fleet::BrokerFleet;
use crate::common::servers::{self, Broker};
use crate::common::{Sandbox, api::Api};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// A sandbox at a broker and a database, the API with its own users.
fn sandbox(broker: &Broker) -> Sandbox {
    let server = servers::shared("postgres");
    let database = servers::copied_database(&server);
    let mut sandbox = Sandbox::new().with_broker(broker).with_database(&servers::postgres_section(&database));
    let own = servers::postgres_section(&servers::reach_as(&server, &database.database, "migapi"));
    sandbox.api_sections = Some(format!("{own}{}", broker.section("api")));
    sandbox
}

fn launch(sandbox: &Sandbox, api: &Api) -> u64 {
    let action = sandbox.sign(sandbox.draft("over http"));
    let created = api.post("action/create/", &[("action", &action.to_string())]);
    assert_eq!(created.status, 202, "{created:?}");
    created.values().remove(0).1["id"].as_u64().unwrap()
}

#[test]
fn a_thousand_answers_arrive_at_who_follows() {
    let broker = Broker::shared("classic");
    let sandbox = sandbox(&broker);
    let scheduler = sandbox.start_scheduler();
    wait("ready", &sandbox, || broker_has_queues(&broker));
    register(&sandbox, &broker, 1000);
    let api = sandbox.start_api();
    let fleet = BrokerFleet::start(&broker.agent_url(), 1000);
    let id = launch(&sandbox, &api);
    let events = api.events(id, None);
    let of = |name: &str| events.iter().filter(|(found, ..)| found == name).map(|(.., data)| data).collect::<Vec<_>>();
    let mut commands: Vec<u64> = of("command").iter().map(|command| command["id"].as_u64().unwrap()).collect();
    commands.sort_unstable();
    commands.dedup();
    assert_eq!((of("command").len(), commands.len()), (1000, 1000), "each once");
    let last: &Value = of("counters").pop().unwrap();
    assert_eq!((&last["counters"]["success"], &last["status"]), (&1000.into(), &"completed".into()));
    let mut pages = 0;
    let mut path = format!("search?type=command&actionid={id}&limit=300");
    let mut found = 0;
    loop {
        let page = api.get(&path);
        found += page.named("command").len();
        pages += 1;
        let links = &page.json()["collection"]["links"];
        let Some(next) = links[0]["href"].as_str() else { break };
        path = next.split_once("/api/v1/").unwrap().1.to_owned();
    }
    assert_eq!((found, pages), (1000, 4));
    let all = api.get(&format!("search?type=command&actionid={id}&limit=1000000"));
    assert_eq!(all.named("command").len(), 1000, "streamed");
    drop(fleet);
    wait("the API has taken its events", &sandbox, || broker.waiting().is_empty());
    assert_eq!((api.process.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}

#[test]
fn mig_asks_a_thousand_agents() {
    let broker = Broker::shared("quorum");
    let sandbox = sandbox(&broker);
    let _scheduler = sandbox.start_scheduler();
    wait("ready", &sandbox, || broker_has_queues(&broker));
    register(&sandbox, &broker, 1000);
    let api = sandbox.start_api();
    let _fleet = BrokerFleet::start(&broker.agent_url(), 1000);
    std::fs::write(sandbox.path("migrc"), format!("[api]\nurl = \"{}\"\n", api.url)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mig"))
        .args(["file", "-c"])
        .arg(sandbox.path("migrc"))
        .arg("-k")
        .arg(sandbox.path("key"))
        .args(["--yes", "--format", "jsonl", "--show", "all", "-path", "/etc", "-name", "^passwd$"])
        .env("HOME", sandbox.path(""))
        .output()
        .unwrap();
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the target selects 1000 agents") && said.contains("1000 of 1000 agents found"), "{said}");
    let row = |line: &str| serde_json::from_str::<Value>(line).unwrap()["agent"].as_str().unwrap().to_owned();
    let agents: BTreeSet<String> = out.lines().map(row).collect();
    assert_eq!(agents.len(), 1000, "each agent is in the rows");
}

#[test]
fn it_answers_while_the_database_is_away_and_goes_on_afterwards() {
    let broker = Broker::shared("classic");
    let own = servers::Own::postgres("");
    let database = servers::database(own.path());
    let mut sandbox = Sandbox::new().with_broker(&broker).with_database(&servers::postgres_section(&database));
    let section = servers::postgres_section(&servers::reach_as(own.path(), &database.database, "migapi"));
    sandbox.api_sections = Some(section.replace("maxconn", "timeout = 1s\nmaxconn"));
    let api = sandbox.start_api();
    assert_eq!(api.get("dashboard").status, 200);
    own.control("stop");
    let away = api.get("dashboard");
    assert_eq!(away.status, 503, "{away:?}");
    assert_eq!(away.message(), "the server cannot answer at the moment; try again in a few seconds");
    assert_eq!(api.get_with("heartbeat", &[]).status, 200, "what needs no database is answered");
    let log = std::fs::read_to_string(sandbox.path("api.log")).unwrap();
    let id = away.header("x-request-id").unwrap();
    assert!(log.lines().any(|line| line.contains(&format!("request {id}: GET /api/v1/dashboard: "))), "{log}");
    own.control("start");
    assert_eq!(api.get("dashboard").status, 200);
}
