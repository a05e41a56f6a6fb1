//! What every relay promises, run against each implementation.

use mig::relay::directory::DirectoryRelay;
use mig::relay::{Message, Queue, Relay, Sent};
use mig::spool::watch::Sleeper;
use mig::time::{self, Timestamp};
use std::time::{Duration, Instant};

/// Opens another connection to the same relay.
type Open<'a> = &'a dyn Fn() -> Box<dyn Relay>;

fn message(queue: &Queue, body: &str) -> Message {
    Message { queue: queue.clone(), body: body.as_bytes().to_vec(), expires: time::never() }
}

fn bodies(relay: &mut dyn Relay, queue: &Queue, max: usize) -> Vec<String> {
    let deliveries = relay.receive(queue, max, time::now()).unwrap();
    deliveries.into_iter().map(|delivery| String::from_utf8(delivery.body).unwrap()).collect()
}

fn agent_queue(name: &str) -> Queue {
    Queue::agent(&mig::heartbeat::QueueLoc::parse(name).unwrap())
}

fn messages_stay_until_done(open: Open) {
    let (mut one, queue) = (open(), agent_queue("linux.stay.1"));
    one.declare(&queue).unwrap();
    one.declare(&queue).unwrap();
    let sent = one.send(&[message(&queue, "{\"n\":1}"), message(&queue, "{\"n\":2}")], time::now()).unwrap();
    assert_eq!(sent, [Sent::Kept, Sent::Kept]);
    drop(one);
    let mut two = open();
    assert_eq!(bodies(two.as_mut(), &queue, 10), ["{\"n\":1}", "{\"n\":2}"], "in order, by another process");
    assert_eq!(bodies(two.as_mut(), &queue, 1), ["{\"n\":1}"], "not done: received again");
    let delivery = two.receive(&queue, 1, time::now()).unwrap();
    two.done(&queue, &delivery).unwrap();
    two.done(&queue, &delivery).unwrap();
    assert_eq!(bodies(open().as_mut(), &queue, 10), ["{\"n\":2}"]);
}

fn a_queue_that_does_not_exist_is_unroutable(open: Open) {
    let mut relay = open();
    let (there, missing) = (agent_queue("linux.there.1"), agent_queue("linux.missing.1"));
    relay.declare(&there).unwrap();
    let messages = [message(&there, "{\"n\":1}"), message(&missing, "{\"n\":2}"), message(&there, "{\"n\":3}")];
    assert_eq!(relay.send(&messages, time::now()).unwrap(), [Sent::Kept, Sent::Unroutable, Sent::Kept]);
    assert_eq!(bodies(relay.as_mut(), &there, 10), ["{\"n\":1}", "{\"n\":3}"]);
    assert!(relay.receive(&missing, 1, time::now()).is_err());
}

fn expired_messages_are_not_delivered(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("linux.late.1"));
    relay.declare(&queue).unwrap();
    let now = time::now();
    let expires = |seconds| Message {
        expires: time::after(now, Duration::from_secs(seconds)),
        ..message(&queue, &format!("{{\"n\":{seconds}}}"))
    };
    relay.send(&[expires(5), expires(500)], now).unwrap();
    let later = time::after(now, Duration::from_secs(50));
    let found = relay.receive(&queue, 10, later).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body, b"{\"n\":500}");
    relay.tidy(Duration::from_secs(3600), time::after(now, Duration::from_secs(5000))).unwrap();
    assert!(relay.receive(&queue, 10, Timestamp::MIN).unwrap().is_empty());
}

fn rejected_messages_do_not_come_again(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("linux.bad.1"));
    relay.declare(&queue).unwrap();
    relay.send(&[message(&queue, "{\"bad\":1}"), message(&queue, "{\"good\":1}")], time::now()).unwrap();
    let deliveries = relay.receive(&queue, 10, time::now()).unwrap();
    relay.reject(&queue, &deliveries[0], "because\nof this", time::now()).unwrap();
    assert_eq!(bodies(relay.as_mut(), &queue, 10), ["{\"good\":1}"]);
}

fn large_and_many_messages_arrive_whole(open: Open) {
    let (mut relay, queue) = (open(), agent_queue("linux.many.1"));
    relay.declare(&queue).unwrap();
    let large = format!("{{\"x\":\"{}\"}}", "é".repeat(4 << 20));
    relay.send(&[message(&queue, &large)], time::now()).unwrap();
    let delivery = relay.receive(&queue, 10, time::now()).unwrap();
    assert_eq!(delivery[0].body, large.as_bytes());
    relay.done(&queue, &delivery).unwrap();
    let messages: Vec<Message> = (0..1000).map(|n| message(&queue, &format!("{{\"n\":{n}}}"))).collect();
    assert!(relay.send(&messages, time::now()).unwrap().iter().all(|sent| *sent == Sent::Kept));
    let mut seen = Vec::new();
    loop {
        let batch = relay.receive(&queue, 64, time::now()).unwrap();
        if batch.is_empty() {
            break;
        }
        seen.extend(batch.iter().map(|delivery| delivery.body.clone()));
        relay.done(&queue, &batch).unwrap();
    }
    let expected: Vec<Vec<u8>> = messages.into_iter().map(|message| message.body).collect();
    assert!(seen == expected, "in the order of sending");
}

fn a_watch_wakes_when_a_message_arrives(open: Open) {
    let (mut receiver, queue) = (open(), agent_queue("linux.awake.1"));
    receiver.declare(&queue).unwrap();
    let sleeper = Sleeper::new();
    let _watch = receiver.watch(&queue, sleeper.waker()).unwrap();
    open().send(&[message(&queue, "{}")], time::now()).unwrap();
    let started = Instant::now();
    sleeper.sleep(Some(Duration::from_secs(60)));
    assert!(started.elapsed() < Duration::from_secs(59), "it was woken");
}

fn contract(open: Open) {
    messages_stay_until_done(open);
    a_queue_that_does_not_exist_is_unroutable(open);
    expired_messages_are_not_delivered(open);
    rejected_messages_do_not_come_again(open);
    large_and_many_messages_arrive_whole(open);
    a_watch_wakes_when_a_message_arrives(open);
}

#[test]
fn the_directory_relay_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    contract(&|| Box::new(DirectoryRelay::open(directory.path()).unwrap()));
    let reasons: Vec<_> =
        std::fs::read_dir(directory.path().join("dead")).unwrap().map(|e| e.unwrap().path()).collect();
    let reason = reasons.iter().find(|path| path.extension().is_some_and(|e| e == "reason")).unwrap();
    assert!(std::fs::read_to_string(reason).unwrap().ends_with("\nbecause of this\n"));
}

#[test]
fn files_brought_by_hand_are_messages_once_they_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut relay = DirectoryRelay::open(directory.path()).unwrap();
    let queue = agent_queue("linux.usb.1");
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
