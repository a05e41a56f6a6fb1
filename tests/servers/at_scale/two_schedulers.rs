//! Two schedulers with spools of their own, one database and one broker: whichever receives a result, every command ends once.

use super::{register, wait};
use crate::common::broker_fleet::BrokerFleet;
use crate::common::servers::{self, Broker};
use crate::common::{Background, Sandbox};
use std::collections::HashSet;

const AGENTS: usize = 1000;

struct Pair {
    agents: usize,
    broker: Broker,
    database: mig::config::database::PostgresConfig,
    one: Sandbox,
    other: Sandbox,
    fleet: BrokerFleet,
}

impl Pair {
    fn new(agents: usize) -> Pair {
        let broker = Broker::shared("classic");
        let database = servers::database(&servers::shared("postgres"));
        let section = servers::postgres_section(&database);
        let one = Sandbox::new().with_broker(&broker).with_database(&section);
        let other = Sandbox::new().with_broker(&broker).with_database(&section).with_keys_of(&one);
        one.once("heartbeats,results");
        let fleet = BrokerFleet::start(&broker.agent_url(), agents);
        Pair { agents, broker, database, one, other, fleet }
    }

    fn query(&self, sql: &str) -> String {
        servers::psql(&servers::shared("postgres"), &self.database.database, sql).trim().to_owned()
    }

    /// Every command has ended with success once, and no spool waits for anything.
    fn check(&self, sent_at_most: usize, was_killed: bool) {
        wait("ended", &self.one, || {
            self.query("SELECT count(*) FROM commands WHERE status = 'success'") == self.agents.to_string()
        });
        wait("complete", &self.one, || self.query("SELECT status FROM actions") == "completed");
        assert_eq!(self.query("SELECT count(*) FROM commands"), self.agents.to_string());
        assert!(self.fleet.answered() <= sent_at_most, "{} commands were delivered", self.fleet.answered());
        for sandbox in [&self.one, &self.other] {
            wait("nothing waits", sandbox, || {
                ["command/ready", "command/inflight", "command/returned", "action/inflight"]
                    .iter()
                    .all(|stage| sandbox.names(stage).is_empty())
            });
        }
        let names = |sandbox: &Sandbox| -> HashSet<String> { sandbox.names("command/done").into_iter().collect() };
        let (one, other) = (names(&self.one), names(&self.other));
        // One that was killed between writing an answer and letting go of its message leaves it to the other as well.
        assert!(was_killed || one.is_disjoint(&other), "each answer lies in one spool");
        assert_eq!(one.union(&other).count(), self.agents);
        wait("all is acknowledged", &self.one, || self.broker.waiting().is_empty());
    }
}

fn end(schedulers: impl IntoIterator<Item = Background>) {
    for scheduler in schedulers {
        assert_eq!(scheduler.terminate(), Some(0));
    }
}

#[test]
fn results_land_at_either_and_each_command_ends_once() {
    let pair = Pair::new(AGENTS);
    let schedulers = [pair.one.start_scheduler(), pair.other.start_scheduler()];
    register(&pair.one, &pair.broker, AGENTS);
    pair.one.drop_action("all.json");
    pair.check(AGENTS, false);
    end(schedulers);
}

#[test]
fn one_that_dies_while_results_arrive_leaves_them_to_the_other_and_may_come_back() {
    // More than a batch, so that what is sent again is less than all.
    let agents = 2 * mig::limits::BATCH_ENTRIES_MAX;
    let pair = Pair::new(agents);
    let (one, other) = (pair.one.start_scheduler(), pair.other.start_scheduler());
    register(&pair.one, &pair.broker, agents);
    pair.one.drop_action("all.json");
    wait("on its way", &pair.one, || pair.fleet.answered() > agents / 10);
    one.kill();
    // What it had not sent waits in its spool; the other goes on with what is at the broker.
    wait("all that was sent is stored", &pair.other, || {
        let stored: usize = pair.query("SELECT count(*) FROM commands WHERE status = 'success'").parse().unwrap();
        stored >= pair.other.names("command/done").len() && pair.broker.waiting().is_empty()
    });
    let back = pair.one.start_scheduler();
    // A batch that was on its way when it died is sent again; agents know their commands.
    pair.check(agents + mig::limits::BATCH_ENTRIES_MAX, true);
    end([other, back]);
}

#[test]
fn one_action_is_scheduled_by_one_of_them() {
    let pair = Pair::new(AGENTS);
    let schedulers = [pair.one.start_scheduler(), pair.other.start_scheduler()];
    register(&pair.one, &pair.broker, AGENTS);
    let mut action = pair.one.sign(pair.one.draft("same"));
    action["id"] = 4711.into();
    let bytes = action.to_string();
    pair.one.drop_bytes("same.json", bytes.as_bytes());
    pair.other.drop_bytes("same.json", bytes.as_bytes());
    wait("taken by both", &pair.one, || {
        pair.one.names("action/new").is_empty() && pair.other.names("action/new").is_empty()
    });
    pair.check(AGENTS, false);
    end(schedulers);
}
