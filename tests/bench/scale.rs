//! RabbitMQ and PostgreSQL: what a fleet costs, beside what the same servers do without us. Needs the servers of
//! `scripts/servers.sh run`.

use crate::common::broker_fleet::{self, BrokerFleet};
use crate::common::servers::{self, Broker};
use crate::common::{Background, Sandbox, json_file};
use crate::journey::{wait, wait_looking_every};
use crate::registering::{self, AGENTS};
use crate::report::{Goal, Row};
use crate::{RUNS, median};
use mig::action::Action;
use mig::command::Command;
use mig::config::database::PostgresConfig;
use mig::id::CommandRef;
use mig::relay::amqp::{AmqpRelay, Role};
use mig::relay::{Message, Queue, Relay};
use mig::store::postgres::PostgresStore;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A vhost, a database, and a scheduler's sandbox on both.
struct Place {
    broker: Broker,
    database: PostgresConfig,
    sandbox: Sandbox,
}

impl Place {
    fn new() -> Place {
        let broker = Broker::shared("classic");
        let database = servers::database(&servers::shared("postgres"));
        let sandbox = Sandbox::new().with_broker(&broker).with_database(&servers::postgres_section(&database));
        sandbox.once("heartbeats,results");
        Place { broker, database, sandbox }
    }

    /// Has agents registered, without their heartbeats.
    fn register(&self, count: usize) {
        broker_fleet::register(&mut PostgresStore::open(&self.database).unwrap(), count);
    }

    fn count(&self, sql: &str) -> usize {
        servers::psql(&servers::shared("postgres"), &self.database.database, sql).trim().parse().unwrap()
    }

    fn relay(&self) -> AmqpRelay {
        servers::open_relay(&self.broker.agent_url(), Role::Agent)
    }

    fn send_heartbeats(&self, count: usize, agents: usize) {
        let (mut relay, now) = (self.relay(), mig::time::now());
        let message = |n: usize| Message {
            queue: Queue::heartbeats(),
            body: broker_fleet::agent(n % agents).to_json(),
            expires: mig::time::after(now, Duration::from_secs(600)),
        };
        for begin in (0..count).step_by(1000) {
            let batch: Vec<Message> = (begin..(begin + 1000).min(count)).map(message).collect();
            relay.send(&batch, now).unwrap();
        }
    }
}

/// The confirmed rate of this broker for messages like ours, in windows like ours, to the same agents, who throw them away.
fn raw_confirmed(place: &Place, count: usize) -> f64 {
    let (mut relay, now) = (place.relay(), mig::time::now());
    let expires = mig::time::after(now, Duration::from_secs(600));
    let messages: Vec<Message> = (0..count)
        .map(|n| Message { queue: Queue::agent(&broker_fleet::agent(n).queueloc), body: vec![b' '; 2500], expires })
        .collect();
    let started = Instant::now();
    for batch in messages.chunks(mig::limits::BATCH_ENTRIES_MAX) {
        relay.send(batch, now).unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// What the broker takes for the messages of one action when they are not kept: sent to the same agents, who answer at
/// once, the answers received and acknowledged. Returns the seconds until the last was sent, and until the last was received.
fn raw_exchange(place: &Place, agents: usize) -> (f64, f64) {
    let now = mig::time::now();
    let mut action = place.sandbox.sign(place.sandbox.draft("bench"));
    action["id"] = 7.into();
    let action = Arc::new(Action::parse(action.to_string().as_bytes()).unwrap());
    let message = |n: usize| {
        let (id, agent) = (CommandRef::from_file_name(&format!("7-{}.json", n + 1)).unwrap(), broker_fleet::agent(n));
        let queue = Queue::agent(&agent.queueloc);
        let command = Command::new(id.command, Arc::clone(&action), agent, now).unwrap();
        Message { queue, body: command.to_json(), expires: action.expire_after }
    };
    let messages: Vec<Message> = (0..agents).map(message).collect();
    let mut receiver = servers::open_relay(&place.broker.url("scheduler"), Role::Scheduler);
    let (mut relay, started) = (place.relay(), Instant::now());
    std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let (queue, mut count) = (Queue::results(), 0);
            while count < agents {
                let deliveries = receiver.receive(&queue, mig::limits::BATCH_ENTRIES_MAX, now).unwrap();
                receiver.acknowledge(&queue, &deliveries).unwrap();
                count += deliveries.len();
            }
            started.elapsed().as_secs_f64()
        });
        for batch in messages.chunks(mig::limits::BATCH_ENTRIES_MAX) {
            relay.send(batch, now).unwrap();
        }
        (started.elapsed().as_secs_f64(), received.join().unwrap())
    })
}

/// Rows that the database takes in by UNNEST, a transaction per batch.
fn raw_upserts(place: &Place, count: usize) -> f64 {
    let config = &place.database;
    let mut client = postgres::Client::connect(
        &format!("host={} port={} dbname={} user=postgres", config.host, config.port, config.database),
        postgres::NoTls,
    )
    .unwrap();
    let make = "DROP TABLE IF EXISTS raw; CREATE TABLE raw (key text PRIMARY KEY, body json)";
    client.batch_execute(make).unwrap();
    let body = String::from_utf8(broker_fleet::agent(0).to_json()).unwrap();
    let started = Instant::now();
    for begin in (0..count).step_by(mig::limits::BATCH_ENTRIES_MAX) {
        let keys: Vec<String> = (begin..begin + mig::limits::BATCH_ENTRIES_MAX).map(|n| n.to_string()).collect();
        let bodies = vec![body.as_str(); keys.len()];
        let sql = "INSERT INTO raw SELECT k, b::json FROM unnest($1::text[], $2::text[]) AS u (k, b)
            ON CONFLICT (key) DO UPDATE SET body = excluded.body";
        client.execute(sql, &[&keys, &bodies]).unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// Heartbeats from the broker into the database, with three whitelists, of new and of known agents.
pub fn heartbeats() -> Vec<Row> {
    let whitelists = registering::whitelists(|n| broker_fleet::agent(n).queueloc.to_string());
    let (mut new, mut raws, mut known) = (Vec::new(), Vec::new(), <[Vec<f64>; 3]>::default());
    for round in 0..RUNS {
        let place = Place::new();
        let rate = |whitelist: &str| {
            std::fs::write(place.sandbox.spool().join("agents_whitelist.txt"), whitelist).unwrap();
            place.send_heartbeats(2 * AGENTS, AGENTS);
            let started = Instant::now();
            place.sandbox.once("heartbeats");
            2.0 * AGENTS as f64 / started.elapsed().as_secs_f64()
        };
        new.push(rate(&whitelists[0]));
        registering::rate_each(round, &whitelists, &mut known, rate);
        assert_eq!(place.count("SELECT count(*) FROM agents"), AGENTS);
        raws.push(raw_upserts(&place, 2 * AGENTS));
    }
    let row = registering::row(&raws, "rows into PostgreSQL by UNNEST", Goal::AtLeast(6000.0));
    let mut rows = vec![row("heartbeats, half of new agents", &new)];
    rows.extend(registering::rows("heartbeats, known agents", &known, row));
    rows
}

/// What one fan-out took.
struct FanOut {
    published: f64,
    landed: f64,
    processor: f64,
    memory: f64,
}

fn fan_out(place: &Place, agents: usize) -> FanOut {
    let scheduler = place.sandbox.start_scheduler();
    std::thread::sleep(Duration::from_secs(2));
    let (before, done) = (scheduler.processor_seconds(), place.sandbox.names("action/done").len());
    let action = place.sandbox.sign(place.sandbox.draft("bench")).to_string();
    // Cheaper than to list them all.
    let waiting = |stage: &str| place.sandbox.spool().join(stage).read_dir().unwrap().next().is_some();
    let started = Instant::now();
    place.sandbox.drop_bytes("all.json", action.as_bytes());
    let ended = || place.sandbox.names("action/done").len() > done;
    // Two hundred times at the least speed that is allowed: looking costs the time of the processors that is measured.
    let look = Duration::from_micros(5 * agents as u64 / 2);
    let wait = |what: &str, condition: &dyn Fn() -> bool| wait_looking_every(look, what, condition);
    wait("begun", &|| waiting("command/ready") || ended());
    wait("published", &|| !waiting("command/ready"));
    let published = started.elapsed().as_secs_f64();
    wait("landed", &|| ended() && !waiting("command/returned"));
    let landed = started.elapsed().as_secs_f64();
    let processor = scheduler.processor_seconds() - before;
    let memory = scheduler.mebibytes("VmHWM");
    for name in place.sandbox.names("action/done") {
        let action = json_file(&place.sandbox.spool().join("action/done").join(name));
        assert_eq!(action["counters"]["success"], agents);
    }
    assert_eq!(scheduler.terminate(), Some(0));
    FanOut { published, landed, processor, memory }
}

/// One action to 1,000 and to 10,000 agents with a queue each.
pub fn fleets() -> Vec<Row> {
    let mut rows = Vec::new();
    for (agents, landed_goal) in [(1000, 1.5), (10_000, 5.0)] {
        let (mut runs, mut raws, mut raw_exchanges) = (Vec::new(), Vec::new(), Vec::new());
        let place = Place::new();
        place.register(agents);
        let _fleet = BrokerFleet::start(&place.broker.agent_url(), agents);
        for _ in 0..RUNS {
            runs.push(fan_out(&place, agents));
            raws.push(raw_confirmed(&place, agents));
            raw_exchanges.push(raw_exchange(&place, agents));
        }
        let values = |of: fn(&FanOut) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
        let mut row =
            |what: &str, values: Vec<f64>, unit: &'static str, (raw, raw_is): (Vec<f64>, &'static str), goal: Goal| {
                rows.push(Row { id: format!("{agents} agents, {what}"), values, unit, raw, raw_is, goal })
            };
        let exchanged = raw_exchanges.iter().map(|(_, landed)| *landed).collect();
        let beside = (exchanged, "the same messages to and fro, kept by nobody");
        row("drop to all landed", values(|run| run.landed), "s", beside, Goal::AtMost(landed_goal));
        if agents == 10_000 {
            let rate = |seconds: f64| agents as f64 / seconds;
            let beside = || (raws.clone(), "confirmed messages to the same agents");
            let rates = runs.iter().map(|run| rate(run.published)).collect();
            row("drop to last published", rates, "commands/s", beside(), Goal::RatioAtLeast(0.6));
            let rates = raw_exchanges.iter().map(|(sent, _)| rate(*sent)).collect();
            row("raw while they answer", rates, "messages/s", beside(), Goal::Compare);
            let each = runs.iter().map(|run| run.processor * 1e3 / agents as f64).collect();
            row("scheduler's processor per command", each, "ms", Default::default(), Goal::AtMost(0.4));
            let most = values(|run| run.memory);
            row("scheduler's memory, at most", most, "MiB", Default::default(), Goal::AtMost(150.0));
        }
    }
    rows
}

/// One action to 100,000 registered agents that share a queue; once, because it takes minutes.
pub fn hundred_thousand() -> Vec<Row> {
    const AGENTS: usize = 100_000;
    let place = Place::new();
    place.register(AGENTS);
    let _fleet = BrokerFleet::sharing(&place.broker.agent_url());
    let run = fan_out(&place, AGENTS);
    assert_eq!(place.count("SELECT count(*) FROM commands WHERE status = 'success'"), AGENTS);
    let row = |what: &str, value: f64, unit: &'static str, goal: Goal| Row {
        id: format!("{AGENTS} agents, {what}"),
        values: vec![value],
        unit,
        raw: vec![],
        raw_is: "",
        goal,
    };
    vec![
        row("drop to all landed", run.landed, "s", Goal::AtMost(120.0)),
        row("scheduler's memory, at most", run.memory, "MiB", Goal::AtMost(300.0)),
    ]
}

/// One action to one real agent.
pub fn one_agent() -> Vec<Row> {
    let mut values = Vec::new();
    for _ in 0..RUNS {
        let place = Place::new();
        let (scheduler, agent) = (place.sandbox.start_scheduler(), place.sandbox.start_agent(1));
        wait("registered", || place.sandbox.scheduler(&["--explain-target", "all"]).stdout.ends_with(b"1 agents\n"));
        let mut times = Vec::new();
        for n in 0..20 {
            let action = place.sandbox.sign(place.sandbox.draft("bench")).to_string();
            let started = Instant::now();
            place.sandbox.drop_bytes(&format!("{n}.json"), action.as_bytes());
            wait("stored", || place.sandbox.names("command/done").len() == n + 1);
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        values.push(median(&times));
        assert_eq!((scheduler.terminate(), agent.terminate()), (Some(0), Some(0)));
    }
    let id = "one agent, drop to answer stored".into();
    vec![Row { id, values, unit: "ms", raw: vec![], raw_is: "", goal: Goal::AtMost(60.0) }]
}

/// A scheduler that waits for 10,000 answers.
pub fn idle() -> Vec<Row> {
    const AGENTS: usize = 10_000;
    let place = Place::new();
    let text = std::fs::read_to_string(place.sandbox.scheduler_cfg()).unwrap();
    let text = text.replace("freq = \"1s\"", "freq = \"60s\"").replace("timeout = \"10m\"", "timeout = \"24h\"");
    std::fs::write(place.sandbox.scheduler_cfg(), text).unwrap();
    place.register(AGENTS);
    let silent = BrokerFleet::start(&place.broker.agent_url(), AGENTS);
    drop(silent);
    place.sandbox.drop_action("all.json");
    place.sandbox.once("action-new,command-ready");
    assert_eq!(place.sandbox.names("command/inflight").len(), AGENTS);
    let scheduler: Background = place.sandbox.start_scheduler();
    std::thread::sleep(Duration::from_secs(5));
    let mut values = Vec::new();
    for _ in 0..RUNS {
        let (started, before) = (Instant::now(), scheduler.processor_seconds());
        std::thread::sleep(Duration::from_secs(60));
        values.push(100.0 * (scheduler.processor_seconds() - before) / started.elapsed().as_secs_f64());
    }
    let id = format!("idle, {AGENTS} commands wait, freq 60s");
    vec![Row { id, values, unit: "% of a core", raw: vec![], raw_is: "", goal: Goal::AtMost(0.5) }]
}
