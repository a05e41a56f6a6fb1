//! The broker goes away and comes back: nothing is lost, nothing runs twice, and the log says what is wrong.

use super::wait;
use crate::common::servers::{self, Broker, Own};
use crate::common::{Background, Sandbox, events};
use std::time::Duration;

/// Actions that are dropped around an outage.
const ACTIONS: usize = 30;

struct Place {
    own: Own,
    sandbox: Sandbox,
    scheduler: Background,
    agent: Background,
}

impl Place {
    fn start() -> Place {
        let own = Own::broker("");
        let broker = Broker::at(own.path().to_owned(), "classic");
        let sandbox = Sandbox::new().with_broker(&broker);
        let (scheduler, agent) = (sandbox.start_scheduler(), sandbox.start_agent(1));
        wait("registered", &sandbox, || {
            sandbox.scheduler(&["--explain-target", "all"]).stdout.ends_with(b"1 agents\n")
        });
        Place { own, sandbox, scheduler, agent }
    }

    fn drop_actions(&self, range: std::ops::Range<usize>) {
        for n in range {
            self.sandbox.drop_action(&format!("{n:03}.json"));
        }
    }

    /// Every action is done, each command has run once, and the counters add up.
    fn check(self) {
        let Place { own, sandbox, scheduler, agent } = self;
        wait("all done", &sandbox, || {
            // Older copies are removed a moment later.
            sandbox.picture() == [("action/done".to_owned(), ACTIONS), ("command/done".to_owned(), ACTIONS)]
        });
        assert!(sandbox.commands("command/done").iter().all(|(_, command)| command["status"] == "success"));
        assert_eq!((scheduler.terminate(), agent.terminate()), (Some(0), Some(0)));
        let log = std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap();
        assert_eq!(log.matches("running '").count(), ACTIONS, "each runs once");
        drop(own);
    }
}

#[test]
fn a_broker_that_was_killed() {
    let place = Place::start();
    place.drop_actions(0..ACTIONS / 2);
    place.own.control("kill");
    place.drop_actions(ACTIONS / 2..ACTIONS);
    let before = place.scheduler.processor_seconds();
    std::thread::sleep(Duration::from_secs(5));
    assert!(place.scheduler.processor_seconds() - before < 0.5, "it does not spin while the broker is away");
    place.own.control("start");
    let log = || std::fs::read_to_string(place.sandbox.path("scheduler.log")).unwrap();
    let outages = || log().matches("nothing is lost, trying again until it works").count();
    wait("told that it is over", &place.sandbox, || log().contains("the broker: works again, after "));
    assert_eq!(outages(), log().matches("the broker: works again").count(), "one outage of all workers: {}", log());
    place.check();
}

#[test]
fn a_broker_that_was_stopped_and_started_again() {
    let place = Place::start();
    place.drop_actions(0..ACTIONS / 2);
    place.own.control("stop");
    place.drop_actions(ACTIONS / 2..ACTIONS);
    place.own.control("start");
    place.check();
}

#[test]
fn an_alarm_of_the_broker() {
    let place = Place::start();
    let control = |arguments: &[&str]| drop(servers::rabbitmqctl(place.own.path(), arguments));
    control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    place.drop_actions(0..ACTIONS);
    let log = || std::fs::read_to_string(place.sandbox.path("scheduler.log")).unwrap();
    wait("told of the alarm", &place.sandbox, || log().contains("takes no messages"));
    control(&["set_vm_memory_high_watermark", "0.4"]);
    place.check();
}

#[test]
fn queues_that_were_deleted_and_connections_that_were_closed() {
    let place = Place::start();
    place.drop_actions(0..ACTIONS / 2);
    wait("half done", &place.sandbox, || place.sandbox.names("command/done").len() == ACTIONS / 2);
    let vhosts = servers::rabbitmqctl(place.own.path(), &["-q", "list_vhosts", "--no-table-headers"]);
    let vhost = vhosts.lines().find(|name| name.starts_with("mig_")).unwrap();
    for queue in ["mig.agt.results", "mig.agt.heartbeats"] {
        servers::rabbitmqctl(place.own.path(), &["delete_queue", "-p", vhost, queue]);
    }
    servers::rabbitmqctl(place.own.path(), &["close_all_connections", "-p", vhost, "test"]);
    place.drop_actions(ACTIONS / 2..ACTIONS);
    wait("all done", &place.sandbox, || place.sandbox.names("command/done").len() == ACTIONS);
    place.check();
}

#[test]
fn events_wait_on_the_agent_while_the_broker_is_away() {
    let own = Own::broker("");
    let sandbox = Sandbox::new().with_broker(&Broker::at(own.path().to_owned(), "classic"));
    let watched = events::watched(&sandbox);
    let (scheduler, agent) = (sandbox.start_scheduler(), events::start_agent(&sandbox));
    wait("watching", &sandbox, || events::has(&sandbox, "watching", "watched") && events::batches(&sandbox) == 0);
    own.control("kill");
    let files = ["first", "second", "third", "after"];
    for file in &files[..3] {
        let kept = events::batches(&sandbox);
        std::fs::write(watched.join(file), "").unwrap();
        wait("kept", &sandbox, || events::batches(&sandbox) > kept);
    }
    // It sends what it kept in its life before.
    agent.kill();
    let agent = events::start_agent(&sandbox);
    own.control("start");
    wait("sent", &sandbox, || events::batches(&sandbox) == 0 && events::has(&sandbox, "created", "/third"));
    std::fs::write(watched.join("after"), "").unwrap();
    wait("collected", &sandbox, || events::has(&sandbox, "created", "/after"));
    let paths: Vec<_> = events::of(&sandbox, "created").iter().map(|line| line["event"]["path"].clone()).collect();
    assert_eq!(paths, files.map(|file| watched.join(file).display().to_string()), "each once, in order");
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}
