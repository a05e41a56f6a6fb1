//! Scheduler, broker and database are killed in turn while actions go to many agents: nothing is lost, nothing is there
//! twice, nothing stays behind, and the counters are right.

use super::journey::broker_has_queues;
use super::{register, wait};
use crate::common::broker_fleet::BrokerFleet;
use crate::common::servers::{self, Broker, Own};
use crate::common::{Random, Sandbox, is_full, seed};
use mig::config::scheduler::SchedulerConfig;
use mig::scheduler;
use std::path::Path;
use std::time::{Duration, Instant};

const ACTIONS: usize = 3;
/// Servers take some seconds to start again, and each has its turn so many times.
const ROUNDS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn scheduler_broker_and_database_are_killed_in_turn_and_each_command_ends_once() {
    let agents = if is_full() { 5000 } else { 300 };
    let (own_broker, own_database) = (Own::broker(""), Own::postgres(""));
    let broker = Broker::at(own_broker.path().to_owned(), "classic");
    let database = servers::database(own_database.path());
    let sandbox = Sandbox::new().with_broker(&broker).with_database(&servers::postgres_section(&database));
    let mut scheduler = sandbox.start_scheduler();
    wait("ready", &sandbox, || broker_has_queues(&broker));
    let mut fleet = BrokerFleet::confirming(&broker.agent_url(), agents);
    register(&sandbox, &broker, agents);
    (0..ACTIONS).for_each(|n| sandbox.drop_action(&format!("{n}.json")));
    let seed = seed("MIG_KILLS_SEED");
    println!("MIG_KILLS_SEED={seed}");
    let mut random = Random::new(seed);
    let mut pause = |millis| std::thread::sleep(Duration::from_millis(random.below(millis)));
    for _ in 0..ROUNDS {
        pause(400);
        scheduler.kill();
        scheduler = sandbox.start_scheduler();
        pause(400);
        own_broker.control("kill");
        pause(400);
        own_broker.control("start");
        fleet = BrokerFleet::confirming(&broker.agent_url(), agents);
        pause(400);
        own_database.control("kill");
        pause(400);
        own_database.control("start");
    }
    let picture = [("action/done".to_owned(), ACTIONS), ("command/done".to_owned(), ACTIONS * agents)];
    let started = Instant::now();
    while sandbox.picture() != picture {
        let log = || std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap_or_default();
        let end = || log().lines().rev().take(20).collect::<Vec<_>>().join("\n");
        assert!(started.elapsed() < PATIENCE, "{:?}, {:?}\n{}", sandbox.picture(), broker.waiting(), end());
        std::thread::sleep(Duration::from_millis(50));
    }
    let query = |sql: &str| servers::psql(own_database.path(), &database.database, sql);
    let all = (ACTIONS * agents).to_string();
    assert_eq!(query("SELECT count(*) FROM commands WHERE status = 'success'"), all);
    assert_eq!(query("SELECT count(DISTINCT (actionid, queueloc)) FROM commands"), all);
    assert_eq!(query("SELECT count(*) FROM commands"), all);
    assert_eq!(query("SELECT count(*) FROM actions WHERE status = 'completed'"), ACTIONS.to_string());
    for name in sandbox.names("action/done") {
        let counters = crate::common::json_file(&sandbox.spool().join("action/done").join(&name))["counters"].clone();
        assert_eq!(counters, serde_json::json!({"sent": agents, "done": agents, "success": agents}), "{name}");
    }
    assert_eq!(scheduler.terminate(), Some(0));
    drop(fleet);
}

#[test]
fn answers_that_came_while_no_scheduler_ran_are_taken_in_before_anything_expires() {
    // More than a batch, so that the collector has its turn in between.
    let agents = 2 * mig::limits::BATCH_ENTRIES_MAX;
    let broker = Broker::shared("classic");
    let database = servers::database(&servers::shared("postgres"));
    let sandbox = Sandbox::new().with_broker(&broker).with_database(&servers::postgres_section(&database));
    sandbox.once("heartbeats,results");
    let fleet = BrokerFleet::confirming(&broker.agent_url(), agents);
    // It receives no answer.
    let scheduler = sandbox.start_scheduler_with(&["--only", "heartbeats,action-new,command-ready"]);
    register(&sandbox, &broker, agents);
    sandbox.drop_action("all.json");
    wait("answered", &sandbox, || fleet.answered() == agents && sandbox.names("command/inflight").len() == agents);
    assert_eq!(scheduler.terminate(), Some(0));
    // Half an hour later the action has expired.
    let later = mig::time::after(mig::time::now(), Duration::from_secs(2000));
    let config = SchedulerConfig::read(Path::new(&sandbox.scheduler_cfg())).unwrap();
    let mut workers = ["collector", "results", "command-returned"].map(|name| scheduler::build(name, &config).unwrap());
    let mut pass = |index: usize| {
        let (_lock, worker) = &mut workers[index];
        worker.recover(later).unwrap();
        while worker.pass(later).unwrap().handled > 0 {}
    };
    pass(0);
    assert_eq!(sandbox.names("command/inflight").len(), agents, "none expires while answers wait on the relay");
    (0..3).cycle().skip(1).take(6).for_each(&mut pass);
    assert_eq!(sandbox.only("action/done")["counters"]["success"], agents);
}
