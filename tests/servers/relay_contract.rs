//! What every relay promises, each promise a test for each implementation. RabbitMQ's need `scripts/servers.sh run`.

use crate::common::{servers, status, text};
use mig::config::Material;
use mig::config::Secret;
use mig::config::broker::{BrokerConfig, QueueType, TlsConfig};
use mig::limits::{BATCH_ENTRIES_MAX, BROKER_GOODBYE_TIME_MAX, RESULT_SIZE_BYTES_MAX};
use mig::relay::amqp::{AmqpRelay, Role};
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Event, Message, Queue, Relay, Sent};
use mig::time;
use mig::wake::Sleeper;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Opens another connection to the same relay.
type Open<'a> = &'a dyn Fn() -> Box<dyn Relay>;

pub fn message(queue: &Queue, body: &str) -> Message {
    Message { queue: queue.clone(), body: body.as_bytes().to_vec(), expires: time::never() }
}

fn bodies(relay: &mut dyn Relay, queue: &Queue, max: usize) -> Vec<String> {
    let deliveries = relay.receive(queue, max, time::now()).unwrap();
    deliveries.into_iter().map(|delivery| String::from_utf8(delivery.body).unwrap()).collect()
}

/// These messages are received, none before them and none besides; the last ones may still be on their way.
pub fn assert_bodies(relay: &mut dyn Relay, queue: &Queue, max: usize, expected: &[&str]) {
    let started = Instant::now();
    let mut found = bodies(relay, queue, max);
    while found.len() < expected.len() && started.elapsed() < servers::PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
        found = bodies(relay, queue, max);
    }
    assert_eq!(found, expected);
}

/// An agent's queue that no other test has.
pub fn agent_queue(name: &str) -> Queue {
    Queue::agent(&mig::heartbeat::QueueLoc::parse(&format!("linux.{}.1", servers::unique(name))).unwrap())
}

/// The same of a worker.
pub fn worker_queue(name: &str) -> Queue {
    Queue::worker(&servers::unique(name))
}

fn messages_stay_until_done(open: Open) {
    let (mut one, queue) = (open(), agent_queue("stay"));
    one.declare(&queue).unwrap();
    one.declare(&queue).unwrap();
    let sent = one.send(&[message(&queue, "{\"n\":1}"), message(&queue, "{\"n\":2}")], time::now()).unwrap();
    assert_eq!(sent, [Sent::Kept, Sent::Kept]);
    drop(one);
    let mut two = open();
    assert_bodies(two.as_mut(), &queue, 10, &["{\"n\":1}", "{\"n\":2}"]);
    assert_bodies(two.as_mut(), &queue, 1, &["{\"n\":1}"]);
    let delivery = two.receive(&queue, 1, time::now()).unwrap();
    two.acknowledge(&queue, &delivery).unwrap();
    two.acknowledge(&queue, &delivery).unwrap();
    drop(two);
    assert_bodies(open().as_mut(), &queue, 10, &["{\"n\":2}"]);
}

fn a_queue_that_does_not_exist_is_unroutable(open: Open) {
    let mut relay = open();
    let (there, missing) = (agent_queue("there"), agent_queue("missing"));
    relay.declare(&there).unwrap();
    let messages = [message(&there, "{\"n\":1}"), message(&missing, "{\"n\":2}"), message(&there, "{\"n\":3}")];
    assert_eq!(relay.send(&messages, time::now()).unwrap(), [Sent::Kept, Sent::Unroutable, Sent::Kept]);
    assert_bodies(relay.as_mut(), &there, 10, &["{\"n\":1}", "{\"n\":3}"]);
    let deliveries = relay.receive(&there, 10, time::now()).unwrap();
    assert_eq!(deliveries.len(), 2);
    relay.acknowledge(&there, &deliveries).unwrap();
    // Many at once, mixed: each has its own outcome.
    let is_missing = |n: &usize| n % 7 == 3;
    let queue = |n| if is_missing(&n) { &missing } else { &there };
    let many: Vec<Message> = (0..500).map(|n| message(queue(n), &format!("{{\"n\":{n}}}"))).collect();
    let expected: Vec<Sent> = (0..500).map(|n| if is_missing(&n) { Sent::Unroutable } else { Sent::Kept }).collect();
    assert_eq!(relay.send(&many, time::now()).unwrap(), expected);
    assert!(relay.receive(&missing, 1, time::now()).is_err());
}

fn none_is_an_answer_only_when_all_have_come(open: Open) {
    const MESSAGES: usize = 300;
    let (mut sender, queue) = (open(), agent_queue("all"));
    sender.declare(&queue).unwrap();
    for round in 0..3 {
        let messages: Vec<Message> = (0..MESSAGES).map(|n| message(&queue, &format!("{{\"n\":{n}}}"))).collect();
        sender.send(&messages, time::now()).unwrap();
        let (mut relay, mut received) = (open(), Vec::new());
        loop {
            let batch = relay.receive(&queue, 64, time::now()).unwrap();
            if batch.is_empty() {
                break;
            }
            relay.acknowledge(&queue, &batch).unwrap();
            received.extend(batch.into_iter().map(|delivery| delivery.body));
        }
        assert!(received.into_iter().eq(messages.into_iter().map(|message| message.body)), "round {round}");
    }
}

fn it_is_known_when_every_message_is_settled(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("settled"));
    relay.declare(&queue).unwrap();
    assert!(relay.receive(&queue, 10, time::now()).unwrap().is_empty());
    let now = time::now();
    assert_eq!(relay.settled_before(&queue, now).unwrap(), Some(now));
    let messages: Vec<Message> = (0..3).map(|n| message(&queue, &format!("{{\"n\":{n}}}"))).collect();
    open().send(&messages, now).unwrap();
    let settle = |relay: &mut dyn Relay| {
        wait_for_messages(relay, &queue);
        let first = relay.receive(&queue, 1, time::now()).unwrap();
        relay.acknowledge(&queue, &first).unwrap();
    };
    for left in (0..3).rev() {
        settle(relay.as_mut());
        let now = time::after(time::now(), Duration::from_secs(1));
        let settled = relay.settled_before(&queue, now).unwrap();
        assert_eq!(settled == Some(now), left == 0, "{left} are left, and {settled:?}");
    }
    // Also while messages never stop: those that were there at one look are settled at a later one.
    open().send(&messages, now).unwrap();
    settle(relay.as_mut());
    let looked = time::now();
    relay.settled_before(&queue, looked).unwrap();
    settle(relay.as_mut());
    settle(relay.as_mut());
    open().send(&messages, now).unwrap();
    wait_for_messages(relay.as_mut(), &queue);
    let settled = relay.settled_before(&queue, time::after(looked, Duration::from_secs(60))).unwrap();
    assert!(settled.is_some_and(|time| time >= looked), "{settled:?}");
}

fn wait_for_messages(relay: &mut dyn Relay, queue: &Queue) {
    let started = Instant::now();
    while relay.receive(queue, 10, time::now()).unwrap().is_empty() {
        assert!(started.elapsed() < servers::PATIENCE);
    }
}

fn what_another_receiver_holds_is_not_settled(open: Open) {
    let (mut one, mut other, queue) = (open(), open(), agent_queue("elsewhere"));
    one.declare(&queue).unwrap();
    let now = time::now();
    one.send(&[message(&queue, "{\"n\":1}")], now).unwrap();
    assert_bodies(other.as_mut(), &queue, 10, &["{\"n\":1}"]);
    assert!(one.settled_before(&queue, now).unwrap().is_none_or(|time| time < now), "it only looks");
    assert!(one.receive(&queue, 10, now).unwrap().is_empty());
    assert!(one.settled_before(&queue, now).unwrap().is_none_or(|time| time < now), "it receives too");
    assert_eq!(one.has_receiver(&queue).unwrap(), Some(true));
    drop((one, other));
    let started = Instant::now();
    while open().has_receiver(&queue).unwrap() != Some(false) {
        assert!(started.elapsed() < servers::PATIENCE, "one that is gone receives nothing");
    }
}

fn expired_messages_are_not_delivered(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("late"));
    relay.declare(&queue).unwrap();
    let now = time::now();
    let expires = |millis| Message {
        expires: time::after(now, Duration::from_millis(millis)),
        ..message(&queue, &format!("{{\"n\":{millis}}}"))
    };
    relay.send(&[expires(300), expires(500_000)], now).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_bodies(relay.as_mut(), &queue, 10, &["{\"n\":500000}"]);
}

fn events_reach_those_who_subscribed(open: Open) {
    let (mut relay, new, all) = (open(), worker_queue("new"), worker_queue("a/ll"));
    let event = |event, n: u32| (event, format!("{{\"n\":{n}}}").into_bytes());
    relay.publish(&[event(Event::AgentNew, 0)], time::now()).unwrap();
    relay.subscribe(&new, Event::AgentNew).unwrap();
    relay.subscribe(&all, Event::AgentNew).unwrap();
    relay.subscribe(&all, Event::AgentAuthenticationFailure).unwrap();
    // Most are of the kind without a subscriber.
    let kinds = [Event::CommandFinished, Event::AgentNew, Event::CommandFinished, Event::AgentAuthenticationFailure];
    let events: Vec<_> = kinds.into_iter().cycle().take(8).zip(1..).map(|(kind, n)| event(kind, n)).collect();
    relay.publish(&events, time::now()).unwrap();
    assert_bodies(relay.as_mut(), &new, 10, &["{\"n\":2}", "{\"n\":6}"]);
    assert_bodies(relay.as_mut(), &all, 10, &["{\"n\":2}", "{\"n\":4}", "{\"n\":6}", "{\"n\":8}"]);
}

fn a_body_is_sent_without_white_space_around_its_json(open: Open) {
    let (mut relay, queue, worker) = (open(), agent_queue("line"), worker_queue("line"));
    relay.declare(&queue).unwrap();
    relay.send(&[message(&queue, "{\"n\":1}\n"), message(&queue, " {\"n\": 2 }\r\n\n")], time::now()).unwrap();
    assert_bodies(relay.as_mut(), &queue, 10, &["{\"n\":1}", "{\"n\": 2 }"]);
    relay.subscribe(&worker, Event::ActionFinished).unwrap();
    let event = |n: u32| (Event::ActionFinished, format!("{{\"n\":{n}}}\n").into_bytes());
    relay.publish(&[event(3), event(4)], time::now()).unwrap();
    assert_bodies(relay.as_mut(), &worker, 10, &["{\"n\":3}", "{\"n\":4}"]);
}

fn a_removed_queue_is_gone_with_its_messages(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("gone"));
    assert!(relay.remove(&queue).unwrap(), "one that is not there is removed already");
    relay.declare(&queue).unwrap();
    relay.send(&[message(&queue, "{}")], time::now()).unwrap();
    assert!(relay.remove(&queue).unwrap());
    assert_eq!(relay.send(&[message(&queue, "{}")], time::now()).unwrap(), [Sent::Unroutable]);
    relay.declare(&queue).unwrap();
    assert!(bodies(relay.as_mut(), &queue, 10).is_empty());
}

fn rejected_messages_do_not_come_again(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("bad"));
    relay.declare(&queue).unwrap();
    relay.send(&[message(&queue, "{\"bad\":1}"), message(&queue, "{\"good\":1}")], time::now()).unwrap();
    assert_bodies(relay.as_mut(), &queue, 10, &["{\"bad\":1}", "{\"good\":1}"]);
    let deliveries = relay.receive(&queue, 10, time::now()).unwrap();
    relay.reject(&queue, &[(deliveries[0].clone(), "because\nof this".into())], time::now()).unwrap();
    assert_bodies(relay.as_mut(), &queue, 10, &["{\"good\":1}"]);
}

fn large_and_many_messages_arrive_whole(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("many"));
    relay.declare(&queue).unwrap();
    let large = format!("{{\"x\":\"{}\"}}", "é".repeat(4 << 20));
    relay.send(&[message(&queue, &large)], time::now()).unwrap();
    assert_bodies(relay.as_mut(), &queue, 10, &[&large]);
    let delivery = relay.receive(&queue, 10, time::now()).unwrap();
    assert_eq!(delivery[0].body, large.as_bytes());
    relay.acknowledge(&queue, &delivery).unwrap();
    let messages: Vec<Message> = (0..1000).map(|n| message(&queue, &format!("{{\"n\":{n}}}"))).collect();
    assert!(relay.send(&messages, time::now()).unwrap().iter().all(|sent| *sent == Sent::Kept));
    let (mut seen, started) = (Vec::new(), Instant::now());
    while seen.len() < messages.len() && started.elapsed() < servers::PATIENCE {
        let batch = relay.receive(&queue, 64, time::now()).unwrap();
        seen.extend(batch.iter().map(|delivery| delivery.body.clone()));
        relay.acknowledge(&queue, &batch).unwrap();
    }
    let expected: Vec<Vec<u8>> = messages.into_iter().map(|message| message.body).collect();
    assert!(seen == expected, "in the order of sending");
}

fn a_watch_wakes_when_a_message_arrives(open: Open) {
    let (mut receiver, queue) = (open(), agent_queue("awake"));
    receiver.declare(&queue).unwrap();
    let sleeper = Sleeper::new();
    let _watch = receiver.watch(&queue, sleeper.waker()).unwrap();
    open().send(&[message(&queue, "{}")], time::now()).unwrap();
    let started = Instant::now();
    sleeper.sleep(Some(servers::PATIENCE));
    assert!(started.elapsed() < servers::PATIENCE, "it was woken");
}

fn make_vhost(directory: &Path, vhost: &str) {
    servers::rabbitmqctl(directory, &["add_vhost", vhost]);
    servers::rabbitmqctl(directory, &["set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"]);
}

pub fn reach(directory: &Path, vhost: &str, queue_type: QueueType) -> BrokerConfig {
    let url = format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", servers::port(directory, "port"));
    BrokerConfig::parse_url(&url, TlsConfig::default(), queue_type).unwrap()
}

/// A new vhost of the shared broker.
pub fn broker(queue_type: QueueType) -> BrokerConfig {
    let (directory, vhost) = (servers::shared("rabbitmq"), servers::unique("relay"));
    make_vhost(&directory, &vhost);
    reach(&directory, &vhost, queue_type)
}

/// A vhost that the promises share, as making one takes a second. What a promise needs there has names of its own; and each
/// promise about events has kinds of events of its own.
fn over_amqp(queue_type: QueueType, promise: fn(Open)) {
    let (directory, name) = (servers::shared("rabbitmq"), format!("contract-{queue_type:?}"));
    servers::once(&directory, &name, || make_vhost(&directory, &name));
    let config = reach(&directory, &name, queue_type);
    AmqpRelay::open(&config, Role::Scheduler).unwrap().declare(&Queue::results()).unwrap();
    promise(&|| Box::new(AmqpRelay::open(&config, Role::Scheduler).unwrap()));
}

fn over_classic_queues(promise: fn(Open)) {
    over_amqp(QueueType::Classic, promise);
}

fn over_quorum_queues(promise: fn(Open)) {
    over_amqp(QueueType::Quorum, promise);
}

/// The same by a relay that asks for each message.
fn pulled_over_amqp(queue_type: QueueType, promise: fn(Open)) {
    let config = broker(queue_type);
    AmqpRelay::open(&config, Role::Scheduler).unwrap().declare(&Queue::results()).unwrap();
    promise(&|| Box::new(AmqpRelay::open(&config, Role::Scheduler).unwrap().pulling()));
}

fn over_pulled_classic_queues(promise: fn(Open)) {
    pulled_over_amqp(QueueType::Classic, promise);
}

fn over_pulled_quorum_queues(promise: fn(Open)) {
    pulled_over_amqp(QueueType::Quorum, promise);
}

fn over_a_directory(promise: fn(Open)) {
    let directory = tempfile::tempdir().unwrap();
    promise(&|| Box::new(DirectoryRelay::open(directory.path()).unwrap()));
}

/// Makes a test of each promise, in a module for the implementation.
macro_rules! keeps {
    ($implementation:ident, $over:ident: $($promise:ident)*) => {
        mod $implementation {
            $(
                #[test]
                fn $promise() {
                    super::$over(super::$promise);
                }
            )*
        }
    };
}

/// Every relay keeps the first promises, those that wait for messages the next ones, those that end when a queue is empty the
/// third ones; the last ones are those of relays that know who receives.
macro_rules! promises {
    (every relay: $($every:ident)*; waiting: $($waiting:ident)*; ending: $($ending:ident)*; brokers: $($broker:ident)*) => {
        keeps!(directory, over_a_directory: $($every)* $($waiting)* $($ending)*);
        keeps!(classic_queues, over_classic_queues: $($every)* $($waiting)* $($broker)*);
        keeps!(quorum_queues, over_quorum_queues: $($every)* $($waiting)* $($broker)*);
        keeps!(pulled_classic_queues, over_pulled_classic_queues: $($every)* $($ending)*);
        keeps!(pulled_quorum_queues, over_pulled_quorum_queues: $($every)* $($ending)*);
    };
}

promises!(
    every relay:
    messages_stay_until_done
    a_queue_that_does_not_exist_is_unroutable
    expired_messages_are_not_delivered
    rejected_messages_do_not_come_again
    large_and_many_messages_arrive_whole
    events_reach_those_who_subscribed
    a_body_is_sent_without_white_space_around_its_json;
    waiting:
    it_is_known_when_every_message_is_settled
    a_watch_wakes_when_a_message_arrives;
    ending:
    none_is_an_answer_only_when_all_have_come;
    brokers:
    a_removed_queue_is_gone_with_its_messages
    what_another_receiver_holds_is_not_settled
);

fn a_queue_that_somebody_consumes_from_is_not_removed(queue_type: QueueType) {
    let config = broker(queue_type);
    let queue = agent_queue("here");
    let open = |role| AmqpRelay::open(&config, role).unwrap();
    let (mut scheduler, mut agent) = (open(Role::Scheduler), open(Role::Agent));
    scheduler.declare(&Queue::results()).unwrap();
    agent.declare(&queue).unwrap();
    assert!(agent.receive(&queue, 1, time::now()).unwrap().is_empty());
    assert!(!scheduler.remove(&queue).unwrap());
    drop(agent);
    let started = Instant::now();
    while !scheduler.remove(&queue).unwrap() {
        assert!(started.elapsed() < servers::PATIENCE, "its consumer is gone");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_classic_queue_that_somebody_consumes_from_is_not_removed() {
    a_queue_that_somebody_consumes_from_is_not_removed(QueueType::Classic);
}

#[test]
fn a_quorum_queue_that_somebody_consumes_from_is_not_removed() {
    a_queue_that_somebody_consumes_from_is_not_removed(QueueType::Quorum);
}

/// As the workers of a scheduler do. lapin's own way to close a channel, when the last of it is dropped, lost the answer to
/// a goodbye in one of some hundred rounds.
#[test]
fn relays_that_end_together_do_not_wait_for_each_other() {
    const RELAYS: usize = 6;
    let config = broker(QueueType::Classic);
    for round in 0..300 {
        let together = Barrier::new(RELAYS);
        let end = &|n: usize| {
            let (mut relay, queue) = (AmqpRelay::open(&config, Role::Scheduler).unwrap(), agent_queue("end"));
            relay.declare(&queue).unwrap();
            if n.is_multiple_of(2) {
                relay.watch(&queue, Sleeper::new().waker()).unwrap();
            }
            relay.publish(&[(Event::CommandFinished, b"{}".to_vec())], time::now()).unwrap();
            together.wait();
            let begun = Instant::now();
            drop(relay);
            assert!(begun.elapsed() < BROKER_GOODBYE_TIME_MAX, "round {round}: relay {n} took {:?}", begun.elapsed());
        };
        std::thread::scope(|scope| (0..RELAYS).for_each(|n| drop(scope.spawn(move || end(n)))));
    }
}

#[test]
fn a_watch_wakes_when_the_connection_ends() {
    let config = broker(QueueType::Classic);
    let queue = agent_queue("cut");
    let mut relay = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    relay.declare(&Queue::results()).unwrap();
    relay.declare(&queue).unwrap();
    for _ in 0..3 {
        let sleeper = Sleeper::new();
        let watch = relay.watch(&queue, sleeper.waker()).unwrap();
        assert!(relay.receive(&queue, 1, time::now()).unwrap().is_empty());
        sleeper.sleep(Some(Duration::from_millis(1)));
        let arguments = ["close_all_connections", "-p", &config.vhost, "a test"];
        servers::rabbitmqctl(&servers::shared("rabbitmq"), &arguments);
        let started = Instant::now();
        sleeper.sleep(Some(servers::PATIENCE));
        assert!(started.elapsed() < servers::PATIENCE, "the end wakes it");
        assert!(relay.receive(&queue, 1, time::now()).is_err());
        drop(watch);
    }
}

/// Receives so many messages and acknowledges them.
fn take(relay: &mut AmqpRelay, queue: &Queue, count: usize, mut seen: impl FnMut(Vec<u8>)) {
    let (mut taken, started) = (0, Instant::now());
    while taken < count {
        assert!(started.elapsed() < servers::PATIENCE, "{taken} of {count} have come");
        let batch = relay.receive(queue, BATCH_ENTRIES_MAX, time::now()).unwrap();
        relay.acknowledge(queue, &batch).unwrap();
        taken += batch.len();
        batch.into_iter().for_each(|delivery| seen(delivery.body));
    }
}

/// Messages of more bytes than there is room for arrive all the same, each once, in order; and then things go on as before.
fn large_messages_are_taken_as_memory_allows(queue_type: QueueType, time_to_arrive: Duration) {
    const MESSAGES: usize = 40;
    let (config, queue) = (broker(queue_type), Queue::results());
    let mut sender = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    sender.declare(&queue).unwrap();
    for n in 0..MESSAGES {
        let body = format!("{{\"{n}\":\"{}\"}}", "x".repeat(RESULT_SIZE_BYTES_MAX as usize - 100));
        sender.send(&[message(&queue, &body)], time::now()).unwrap();
    }
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let peak = || status::mebibytes(std::process::id(), "VmHWM");
    let before = peak();
    let mut relay = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    relay.watch(&queue, Sleeper::new().waker()).unwrap();
    std::thread::sleep(time_to_arrive);
    let mut expected = 0..MESSAGES;
    take(&mut relay, &queue, MESSAGES, |body| {
        let start = format!("{{\"{}\":", expected.next().unwrap());
        assert!(body.starts_with(start.as_bytes()), "the order of sending");
    });
    let used = peak() - before;
    assert!(used < 20.0 * (RESULT_SIZE_BYTES_MAX >> 20) as f64, "{used:.0} MiB were in memory");
    let small: Vec<Message> = (0..1000).map(|n| message(&queue, &format!("{{\"n\":{n}}}"))).collect();
    sender.send(&small, time::now()).unwrap();
    let mut received = Vec::new();
    take(&mut relay, &queue, small.len(), |body| received.push(body));
    assert!(received.into_iter().eq(small.into_iter().map(|message| message.body)));
    assert!(relay.receive(&queue, 1, time::now()).unwrap().is_empty());
}

#[test]
fn large_messages_that_have_arrived_are_taken_as_memory_allows() {
    alone("large_messages_that_have_arrived_are_taken_as_memory_allows", || {
        large_messages_are_taken_as_memory_allows(QueueType::Classic, Duration::from_secs(3));
    });
}

#[test]
fn large_messages_that_are_arriving_are_taken_as_memory_allows() {
    alone("large_messages_that_are_arriving_are_taken_as_memory_allows", || {
        large_messages_are_taken_as_memory_allows(QueueType::Classic, Duration::ZERO);
    });
}

#[test]
fn large_messages_of_a_quorum_queue_are_taken_as_memory_allows() {
    alone("large_messages_of_a_quorum_queue_are_taken_as_memory_allows", || {
        large_messages_are_taken_as_memory_allows(QueueType::Quorum, Duration::from_millis(100));
    });
}

/// Runs a test of this file in a process of its own: its memory is measured, and other tests need some too.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os("MIG_TEST_ALONE").is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("relay_contract::{test}"), "--nocapture"]).env("MIG_TEST_ALONE", "yes");
    let output = command.output().unwrap();
    let has_run = output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(has_run, "{}", text(&output));
}

#[test]
fn rejected_messages_are_kept_at_the_broker() {
    let config = broker(QueueType::Classic);
    let mut relay = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    relay.declare(&Queue::results()).unwrap();
    relay.send(&[message(&Queue::results(), "{\"bad\":1}")], time::now()).unwrap();
    assert_bodies(&mut relay, &Queue::results(), 10, &["{\"bad\":1}"]);
    let delivery = relay.receive(&Queue::results(), 10, time::now()).unwrap().remove(0);
    relay.reject(&Queue::results(), &[(delivery, "because".into())], time::now()).unwrap();
    let arguments = ["-q", "list_queues", "-p", &config.vhost, "name", "messages", "--no-table-headers"];
    let started = Instant::now();
    loop {
        let queues = servers::rabbitmqctl(&servers::shared("rabbitmq"), &arguments);
        let mut queues: Vec<&str> = queues.lines().collect();
        queues.sort_unstable();
        if queues == ["mig.agt.results\t0", "migevent.dead\t1"] {
            break;
        }
        assert!(started.elapsed() < servers::PATIENCE, "{queues:?}");
    }
}

#[test]
fn what_is_wrong_with_the_way_to_the_broker_is_named() {
    let good = broker(QueueType::Classic);
    let try_it = |config: &BrokerConfig| {
        let error = AmqpRelay::open(config, Role::Scheduler).unwrap().declare(&Queue::results()).unwrap_err();
        error.to_string()
    };
    for (config, expected) in [
        (
            BrokerConfig { password: Secret::new("wrong-one".into()), ..good.clone() },
            "the user or the password is wrong",
        ),
        (BrokerConfig { vhost: "nowhere".into(), ..good.clone() }, "scripts/setup-rabbitmq.sh makes the vhost"),
        (BrokerConfig { port: 1, ..good.clone() }, "refused"),
        (
            BrokerConfig { host: "no-such-host.invalid".into(), ..good.clone() },
            "find the address of no-such-host.invalid",
        ),
        (BrokerConfig { tls: Some(TlsConfig::default()), ..good.clone() }, "connect at the broker"),
        (
            BrokerConfig {
                tls: Some(TlsConfig { ca: Some(Material::File("/nonexistent.pem".into())), identity: None }),
                ..good.clone()
            },
            "read /nonexistent.pem: No such file",
        ),
    ] {
        let error = try_it(&config);
        assert!(error.contains(expected) && !error.contains("wrong-one"), "{error}");
    }
}

#[test]
fn the_directory_relay_keeps_the_reason_beside_what_was_rejected() {
    let directory = tempfile::tempdir().unwrap();
    rejected_messages_do_not_come_again(&|| Box::new(DirectoryRelay::open(directory.path()).unwrap()));
    let reasons: Vec<_> =
        std::fs::read_dir(directory.path().join("dead")).unwrap().map(|e| e.unwrap().path()).collect();
    let reason = reasons.iter().find(|path| path.extension().is_some_and(|e| e == "reason")).unwrap();
    assert!(std::fs::read_to_string(reason).unwrap().ends_with("\nbecause of this\n"));
}

#[test]
fn files_brought_by_hand_are_messages_once_they_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut relay = DirectoryRelay::open(directory.path()).unwrap();
    let queue = agent_queue("usb");
    relay.declare(&queue).unwrap();
    let file = directory.path().join(queue.as_str()).join("from-a-stick.json");
    std::fs::write(&file, "{\"half\":").unwrap();
    assert!(relay.receive(&queue, 10, time::now()).unwrap().is_empty(), "somebody may still be copying it");
    std::fs::write(&file, "{\"half\": 1}\n").unwrap();
    std::fs::write(directory.path().join(queue.as_str()).join(".from-rsync.json.Xyz"), "{}").unwrap();
    assert_eq!(relay.receive(&queue, 10, time::now()).unwrap().len(), 1);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(relay.receive(&queue, 10, time::now()).unwrap().is_empty(), "links are put aside");
    assert!(directory.path().join("dead/from-a-stick.json.reason").exists());
}
