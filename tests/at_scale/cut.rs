//! The connection to the broker is cut after every single byte of a publish, a delivery and an acknowledgement: what was
//! promised is there, what was not can be done again, and nothing is stuck.

use crate::common::proxy::{Proxy, Way};
use crate::common::servers::{self, Broker, open_relay};
use mig::relay::amqp::{AmqpRelay, Role};
use mig::relay::{Message, Queue, Relay, RelayError, Sent};
use mig::time;
use std::time::{Duration, Instant};

/// More bytes than one message takes either way.
const BYTES_MAX: usize = 2000;
/// How long a worker may take to get over one cut.
const LIMIT: Duration = Duration::from_secs(20);

struct Place {
    broker: Broker,
    proxy: Proxy,
    queue: Queue,
}

impl Place {
    fn new() -> Place {
        let broker = Broker::shared("classic");
        let proxy = Proxy::start(servers::port(&broker.directory, "port"));
        let place = Place { broker, proxy, queue: Queue::results() };
        place.direct().declare(&place.queue).unwrap();
        place
    }

    fn direct(&self) -> AmqpRelay {
        open_relay(&self.broker.url("scheduler"), Role::Scheduler)
    }

    fn through_proxy(&self) -> AmqpRelay {
        let server = format!(":{}/", servers::port(&self.broker.directory, "port"));
        let url = self.broker.url("scheduler").replace(&server, &format!(":{}/", self.proxy.port));
        open_relay(&url, Role::Scheduler)
    }

    fn message(&self, text: &str) -> Message {
        Message { queue: self.queue.clone(), body: body(text), expires: time::never() }
    }

    /// Takes messages as a worker does, over as many connections as it needs, until this one is there; gives them all.
    fn take_until(&self, relay: &mut AmqpRelay, text: &str) -> Vec<Vec<u8>> {
        let (started, mut taken) = (Instant::now(), Vec::new());
        while !taken.contains(&body(text)) {
            assert!(started.elapsed() < LIMIT, "{text} does not come, but {taken:?}");
            let received = relay.receive(&self.queue, 100, time::now());
            let handled = received.and_then(|deliveries| {
                relay.done(&self.queue, &deliveries)?;
                Ok(deliveries)
            });
            match handled {
                Ok(deliveries) if deliveries.is_empty() => std::thread::sleep(Duration::from_millis(1)),
                Ok(deliveries) => taken.extend(deliveries.into_iter().map(|delivery| delivery.body)),
                Err(error) => expect_down(&error),
            }
        }
        taken
    }

    /// Calls `step` with every cut this way until one is behind all bytes of the step.
    fn each_cut(&self, way: Way, mut step: impl FnMut(usize)) {
        for bytes in 0..BYTES_MAX {
            step(bytes);
            if !self.proxy.was_cut() {
                assert!(bytes > 20, "{bytes} bytes {way:?} are not a message");
                return;
            }
        }
        panic!("the step has no end");
    }
}

fn body(text: &str) -> Vec<u8> {
    format!("{{\"n\":\"{text}\"}}").into_bytes()
}

/// One outage for all workers, not trouble of this one.
fn expect_down(error: &RelayError) {
    assert!(matches!(error, RelayError::Down { .. }), "{error}");
}

fn a_publish_is_cut(way: Way) {
    let place = Place::new();
    let (mut sender, mut receiver) = (place.through_proxy(), place.direct());
    place.each_cut(way, |bytes| {
        sender.send(&[place.message("connected")], time::now()).unwrap();
        let text = format!("{way:?} {bytes}");
        place.proxy.cut_after(way, bytes);
        match sender.send(&[place.message(&text)], time::now()) {
            Ok(sent) => assert_eq!(sent, [Sent::Kept], "{text}"),
            Err(error) => {
                expect_down(&error);
                assert_eq!(sender.send(&[place.message(&text)], time::now()).unwrap(), [Sent::Kept], "{text}");
            }
        }
        let taken = place.take_until(&mut receiver, &text);
        let copies = taken.iter().filter(|taken| **taken == body(&text)).count();
        assert!(copies <= 2 && taken.len() <= copies + 1, "{text}: {taken:?}");
    });
}

#[test]
fn a_publish_is_cut_at_every_byte() {
    a_publish_is_cut(Way::Up);
    a_publish_is_cut(Way::Down);
}

#[test]
fn a_delivery_and_its_acknowledgement_are_cut_at_every_byte() {
    let place = Place::new();
    let (mut sender, mut receiver) = (place.direct(), place.through_proxy());
    for way in [Way::Down, Way::Up] {
        place.each_cut(way, |bytes| {
            let [before, text, after] = ["before", "at", "after"].map(|when| format!("{when} {way:?} {bytes}"));
            sender.send(&[place.message(&before)], time::now()).unwrap();
            place.take_until(&mut receiver, &before);
            place.proxy.cut_after(way, bytes);
            sender.send(&[place.message(&text)], time::now()).unwrap();
            place.take_until(&mut receiver, &text);
            // What was acknowledged into the void comes again, before what was sent later.
            sender.send(&[place.message(&after)], time::now()).unwrap();
            let again = place.take_until(&mut receiver, &after);
            assert!(again.iter().all(|taken| [body(&text), body(&after)].contains(taken)), "{text}: {again:?}");
            // A question and its answer: the acknowledgements are through by then, or cut.
            match receiver.receive(&place.queue, 1, time::now()) {
                Ok(deliveries) => assert!(deliveries.is_empty(), "{text}"),
                Err(error) => expect_down(&error),
            }
        });
    }
    drop((sender, receiver));
    assert_eq!(place.broker.waiting(), [], "everything was taken");
}
