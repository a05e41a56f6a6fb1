//! What becomes of messages that a relay does not take, because of a limit that others set, an alarm or a queue that is broken;
//! and of those that are returned.

use super::relay_contract::{agent_queue, assert_bodies, broker, message, reach, worker_queue};
use crate::common::servers;
use async_rs::TokioRuntime;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use mig::config::broker::{BrokerConfig, QueueType};
use mig::limits::BROKER_GOODBYE_TIME_MAX;
use mig::relay::amqp::{AmqpRelay, Role};
use mig::relay::directory::DirectoryRelay;
use mig::relay::{Event, Message, Queue, Relay, Sent};
use mig::time;
use mig::wake::Sleeper;
use std::time::{Duration, Instant};

fn a_full_queue_refuses_its_messages_and_no_others(queue_type: QueueType) {
    let (config, directory) = (broker(queue_type), servers::shared("rabbitmq"));
    let mut relay = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    let (full, free, missing) = (agent_queue("full"), agent_queue("free"), agent_queue("missing"));
    [&full, &free].into_iter().for_each(|queue| relay.declare(queue).unwrap());
    let policy = ["set_policy", "-p", &config.vhost, "full", "full", r#"{"max-length":1,"overflow":"reject-publish"}"#];
    servers::rabbitmqctl(&directory, &policy);
    let started = Instant::now();
    // A policy works a moment later, and the limit of a quorum queue is not exact.
    while !matches!(relay.send(&[message(&full, "{}")], time::now()).unwrap()[..], [Sent::Refused(_)]) {
        assert!(started.elapsed() < servers::PATIENCE);
    }
    let messages: Vec<Message> =
        (0..40).map(|n| message([&full, &free, &missing][n % 3], &format!("{{\"n\":{n}}}"))).collect();
    for (n, sent) in relay.send(&messages, time::now()).unwrap().into_iter().enumerate() {
        match (n % 3, &sent) {
            (0, Sent::Refused(reason)) if reason.contains(full.as_str()) => {}
            (1, Sent::Kept) | (2, Sent::Unroutable) => {}
            _ => panic!("message {n}: {sent:?}"),
        }
    }
    let expected: Vec<String> = (0..40).filter(|n| n % 3 == 1).map(|n| format!("{{\"n\":{n}}}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_bodies(&mut relay, &free, 40, &expected);
    // Somebody takes them away.
    loop {
        let deliveries = relay.receive(&full, 40, time::now()).unwrap();
        relay.acknowledge(&full, &deliveries).unwrap();
        if deliveries.is_empty() && relay.send(&[message(&full, "{}")], time::now()).unwrap() == [Sent::Kept] {
            break;
        }
        assert!(started.elapsed() < servers::PATIENCE);
    }
}

#[test]
fn a_full_classic_queue_refuses_its_messages_and_no_others() {
    a_full_queue_refuses_its_messages_and_no_others(QueueType::Classic);
}

#[test]
fn a_full_quorum_queue_refuses_its_messages_and_no_others() {
    a_full_queue_refuses_its_messages_and_no_others(QueueType::Quorum);
}

#[test]
fn a_subscriber_with_a_full_queue_holds_up_no_event_of_others() {
    let config = broker(QueueType::Classic);
    let mut relay = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    relay.declare(&Queue::results()).unwrap();
    let (full, free) = (worker_queue("full"), worker_queue("free"));
    [&full, &free].into_iter().for_each(|queue| relay.subscribe(queue, Event::AgentNew).unwrap());
    let policy = r#"{"max-length":0,"overflow":"reject-publish"}"#;
    servers::rabbitmqctl(&servers::shared("rabbitmq"), &["set_policy", "-p", &config.vhost, "full", "full", policy]);
    let events: Vec<_> = (0..5).map(|n| (Event::AgentNew, format!("{{\"n\":{n}}}").into_bytes())).collect();
    relay.publish(&events, time::now()).unwrap();
    assert_bodies(&mut relay, &free, 10, &["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}"]);
}

/// A broker of its own: alarms and the largest size hold for all of it.
#[test]
fn an_alarm_is_named_and_nothing_is_published_twice_and_a_message_that_is_too_large_is_refused_alone() {
    let own = servers::Own::broker("max_message_size = 65536\n");
    let (config, queue) = (reach(own.path(), "%2F", QueueType::Classic), agent_queue("large"));
    let mut relay = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    relay.declare(&queue).unwrap();
    let large = message(&queue, &format!("{{\"x\":\"{}\"}}", "x".repeat(70_000)));
    let small = |n: usize| message(&queue, &format!("{{\"n\":{n}}}"));
    // Those before it may be confirmed before the broker closes the channel, or not.
    let mut waiting = vec![small(0), large.clone(), small(1)];
    let (mut kept, mut refused) = (0, 0);
    while !waiting.is_empty() {
        let sent = relay.send(&waiting, time::now()).unwrap();
        let mut outcomes = sent.into_iter();
        waiting.retain(|message| match outcomes.next().unwrap() {
            Sent::Kept => {
                kept += 1;
                false
            }
            Sent::Refused(reason) => {
                assert!(message.body == large.body && reason.contains("size"), "{reason}");
                refused += 1;
                false
            }
            Sent::Unconfirmed => true,
            Sent::Unroutable => panic!("there is a queue"),
        });
    }
    assert_eq!((kept, refused), (2, 1));

    let queue = agent_queue("alarm");
    relay.declare(&queue).unwrap();
    servers::rabbitmqctl(own.path(), &["set_vm_memory_high_watermark", "0"]);
    let messages: Vec<Message> = (2..50).map(|n| message(&queue, &format!("{{\"n\":{n}}}"))).collect();
    let begun = Instant::now();
    for _ in 0..3 {
        let failure = relay.send(&messages, time::now()).unwrap_err();
        assert!(failure.to_string().contains("it takes no messages: low on memory"), "{failure}");
    }
    assert!(begun.elapsed() < config.timeout, "it does not wait for an answer that does not come");
    let mut other = AmqpRelay::open(&config, Role::Scheduler).unwrap();
    assert!(other.send(&messages, time::now()).is_err());
    let ending = Instant::now();
    drop(other);
    assert!(ending.elapsed() < BROKER_GOODBYE_TIME_MAX, "it waits for no answer at its end either");
    servers::rabbitmqctl(own.path(), &["set_vm_memory_high_watermark", "0.8"]);
    while relay.send(&messages, time::now()).is_err() {
        assert!(begun.elapsed() < servers::PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    let expected: Vec<String> = (2..50).map(|n| format!("{{\"n\":{n}}}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_bodies(&mut relay, &queue, 1000, &expected);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(relay.receive(&queue, 1000, time::now()).unwrap().len(), expected.len(), "each of them once");

    servers::rabbitmqctl(own.path(), &["close_all_connections", "-p", "/", "a reason of its own"]);
    let started = Instant::now();
    let failure = loop {
        if let Err(failure) = relay.receive(&queue, 10, time::now()) {
            break failure.to_string();
        }
        assert!(started.elapsed() < servers::PATIENCE);
    };
    assert!(failure.contains("a reason of its own"), "{failure}");
}

/// Twenty restarts with a full disk, or more, put nothing aside.
#[test]
fn messages_of_quorum_queues_may_be_returned_any_number_of_times() {
    let (config, queue) = (broker(QueueType::Quorum), Queue::results());
    let open = || AmqpRelay::open(&config, Role::Scheduler).unwrap();
    open().declare(&queue).unwrap();
    open().send(&[message(&queue, "{}")], time::now()).unwrap();
    for _ in 0..25 {
        assert_bodies(&mut open(), &queue, 1, &["{}"]);
    }
}

/// Declares a queue as versions before did.
fn declare_limited(config: &BrokerConfig, queue: &Queue) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = format!("amqp://guest:guest@127.0.0.1:{}/{}", config.port, config.vhost);
    runtime.block_on(async {
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect_with_runtime(&url, properties, TokioRuntime::tokio_current());
        let channel = connection.await.unwrap().create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        for (name, text) in [
            ("x-queue-type", "quorum"),
            ("x-dead-letter-exchange", "migevent"),
            ("x-dead-letter-routing-key", &format!("dead.{queue}")),
        ] {
            arguments.insert(name.into(), AMQPValue::LongString(text.into()));
        }
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(20));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    });
}

#[test]
fn a_queue_that_an_older_version_made_is_used_and_is_made_anew_once_it_is_empty() {
    let (config, queue) = (broker(QueueType::Quorum), Queue::results());
    let open = || AmqpRelay::open(&config, Role::Scheduler).unwrap();
    open().declare(&Queue::heartbeats()).unwrap();
    declare_limited(&config, &queue);
    let arguments = || {
        let list = ["-q", "list_queues", "-p", &config.vhost, "--no-table-headers", "name", "arguments"];
        let queues = servers::rabbitmqctl(&servers::shared("rabbitmq"), &list);
        queues.lines().find(|line| line.starts_with(queue.as_str())).unwrap().to_owned()
    };
    // In use by an older scheduler, bound as it does it.
    let mut relay = open();
    relay.watch(&queue, Sleeper::new().waker()).unwrap();
    open().declare(&queue).unwrap();
    assert!(
        arguments().contains("\"x-delivery-limit\",20") || arguments().contains("x-delivery-limit,20"),
        "{}",
        arguments()
    );
    assert_eq!(open().send(&[message(&queue, "{}")], time::now()).unwrap(), [Sent::Kept]);
    drop(relay);
    let mut relay = open();
    relay.declare(&queue).unwrap();
    assert_bodies(&mut relay, &queue, 10, &["{}"]);
    let deliveries = relay.receive(&queue, 10, time::now()).unwrap();
    relay.acknowledge(&queue, &deliveries).unwrap();
    drop(relay);
    let mut relay = open();
    let started = Instant::now();
    while arguments().contains(",20") {
        assert!(started.elapsed() < servers::PATIENCE);
        relay = open();
        relay.declare(&queue).unwrap();
    }
    assert_eq!(relay.send(&[message(&queue, "{\"n\":2}")], time::now()).unwrap(), [Sent::Kept]);
    assert_bodies(&mut relay, &queue, 10, &["{\"n\":2}"]);
}

#[test]
fn a_queue_directory_that_cannot_be_written_to_refuses_its_messages_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut relay = DirectoryRelay::open(directory.path()).unwrap();
    let (broken, fine, missing) = (agent_queue("broken"), agent_queue("fine"), agent_queue("missing"));
    relay.declare(&fine).unwrap();
    std::fs::write(directory.path().join(broken.as_str()), "not a directory").unwrap();
    let messages = [message(&broken, "{}"), message(&fine, "{\"n\":1}"), message(&missing, "{}")];
    for count in 1..=2 {
        let sent = relay.send(&messages, time::now()).unwrap();
        assert!(matches!(&sent[0], Sent::Refused(reason) if reason.contains(broken.as_str())), "{sent:?}");
        assert_eq!(sent[1..], [Sent::Kept, Sent::Unroutable]);
        assert_eq!(std::fs::read_dir(directory.path().join(fine.as_str())).unwrap().count(), count);
    }
    let (broken, fine) = (worker_queue("broken"), worker_queue("fine"));
    [&broken, &fine].into_iter().for_each(|queue| relay.subscribe(queue, Event::AgentNew).unwrap());
    std::fs::remove_dir(directory.path().join(broken.as_str())).unwrap();
    std::fs::write(directory.path().join(broken.as_str()), "not a directory").unwrap();
    relay.publish(&[(Event::AgentNew, b"{}".to_vec())], time::now()).unwrap();
    assert_bodies(&mut relay, &fine, 10, &["{}"]);
}
