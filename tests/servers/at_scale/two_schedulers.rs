//! Two schedulers with spools of their own, one database and one broker: whichever receives a result, every command ends once.

use super::{register, wait};
use crate::common::agents::{agent, ago};
use crate::common::broker_fleet::BrokerFleet;
use crate::common::servers::{self, Broker};
use crate::common::{self, Background, Sandbox, text};
use mig::action::Action;
use mig::store::Store;
use mig::store::postgres::PostgresStore;

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
    fn check(&self, sent_at_most: usize) {
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
        let done: usize = [&self.one, &self.other].iter().map(|sandbox| sandbox.names("action/done").len()).sum();
        assert_eq!(done, 1, "the action has ended where it was dropped");
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
    pair.check(AGENTS);
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
    wait("all that was sent is stored", &pair.other, || pair.broker.waiting().is_empty());
    assert_eq!(pair.other.names("command/returned").len() + pair.other.names("command/done").len(), 0);
    let back = pair.one.start_scheduler();
    // A batch that was on its way when it died is sent again; agents know their commands.
    pair.check(agents + mig::limits::BATCH_ENTRIES_MAX);
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
    pair.check(AGENTS);
    end(schedulers);
}

/// A file of the configuration is changed by hand.
fn collects_once_an_hour(sandbox: &Sandbox) {
    let text = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), text.replace("freq = \"1s\"", "freq = \"1h\"")).unwrap();
}

#[test]
fn an_action_ends_at_once_when_another_stores_its_last_answer() {
    let pair = Pair::new(3);
    let other = pair.other.start_scheduler_with(&["--only", "heartbeats,results"]);
    register(&pair.one, &pair.broker, 3);
    collects_once_an_hour(&pair.one);
    // It sends, and receives no answer itself.
    let owner = pair.one.start_scheduler_with(&["--only", "action-new,command-ready,command-returned,action-ended"]);
    pair.one.drop_action("all.json");
    wait("done", &pair.one, || pair.one.names("action/done").len() == 1);
    assert_eq!(pair.one.only("action/done")["counters"]["success"], 3);
    end([owner, other]);
}

#[test]
fn the_commands_of_one_that_is_gone_end_and_those_of_one_that_restarts_wait() {
    let pair = Pair::new(0);
    let now = mig::time::now();
    let seconds = std::time::Duration::from_secs;
    let mut store = PostgresStore::open(&pair.database).unwrap();
    let agents: Vec<_> = (0..2000).map(|n| agent(&format!("gone{n}"), 1, ago(1))).collect();
    store.register(&agents, now).unwrap();
    let begin = |store: &mut PostgresStore, name: &str, expired| {
        let ended = mig::time::before(now, seconds(expired));
        let action = pair.one.sign_window(pair.one.draft(name), mig::time::before(now, seconds(3600)), ended);
        let mut action = Action::parse(action.to_string().as_bytes()).unwrap();
        action.id = Some(store.reserve_action_ids(1).unwrap()[0]);
        let agents = common::store::select(store, "name LIKE 'gone%'").unwrap();
        common::store::begin("gone", store, &action, &[], &agents).unwrap()
    };
    let long_ago = begin(&mut store, "long ago", 100);
    let just_now = begin(&mut store, "just now", 30);
    store.mark_sent(&[long_ago[0].reference()]).unwrap();
    assert_eq!((long_ago.len(), just_now.len()), (2000, 2000));
    let log = text(&pair.other.scheduler(&["--only", "results,collector,command-returned", "--once"]));
    let count = |status: &str| pair.query(&format!("SELECT count(*) FROM commands WHERE status = '{status}'"));
    assert_eq!((count("expired"), count("prepared")), ("2000".into(), "2000".into()), "all in one round");
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines("did not answer in time"), lines("was never sent its command")), (1, 1999));
}
