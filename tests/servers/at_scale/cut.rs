//! The connection to the broker is cut after every single byte of a publish, a delivery and an acknowledgement: what was
//! promised is there, what was not can be done again, and nothing is stuck.

use crate::common::PATIENCE;
use crate::common::proxy::{Proxy, Way};
use crate::common::servers::{self, Broker, open_relay};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use mig::failure::{Failure, Server};
use mig::relay::amqp::{AmqpRelay, Role};
use mig::relay::{Message, Queue, Relay, Sent};
use mig::time;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// More bytes than one message takes either way.
const BYTES_MAX: usize = 2000;

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

    /// Takes what there is, as a worker does.
    fn take(&self, relay: &mut AmqpRelay) -> Result<Vec<Vec<u8>>, Failure> {
        let deliveries = relay.receive(&self.queue, 100, time::now())?;
        relay.acknowledge(&self.queue, &deliveries)?;
        Ok(deliveries.into_iter().map(|delivery| delivery.body).collect())
    }

    /// Takes messages over as many connections as it needs, until these are enough. A take that finds nothing was
    /// answered by the broker: the acknowledgements before it are through.
    fn take_until(&self, relay: &mut AmqpRelay, enough: impl Fn(&[Vec<u8>], &[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
        let (started, mut all) = (Instant::now(), Vec::new());
        loop {
            assert!(started.elapsed() < PATIENCE, "what was sent does not come, but {all:?}");
            match self.take(relay) {
                Ok(last) => {
                    all.extend_from_slice(&last);
                    if enough(&all, &last) {
                        return all;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => expect_down(&error),
            }
        }
    }

    fn take_until_here(&self, relay: &mut AmqpRelay, text: &str) -> Vec<Vec<u8>> {
        self.take_until(relay, |all, _| all.contains(&body(text)))
    }

    fn take_until_empty(&self, relay: &mut AmqpRelay) -> Vec<Vec<u8>> {
        self.take_until(relay, |_, last| last.is_empty())
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
fn expect_down(error: &Failure) {
    assert!(matches!(error, Failure::Retry { server: Some(Server::Broker), .. }), "{error}");
}

/// How often each message came over a whole test. The broker may come to what a cut left behind a step later.
#[derive(Default)]
struct Copies(BTreeMap<Vec<u8>, usize>);

impl Copies {
    /// One cut is one more copy at most.
    fn add(&mut self, taken: Vec<Vec<u8>>) {
        for body in taken {
            let text = String::from_utf8_lossy(&body).into_owned();
            let count = self.0.entry(body).or_default();
            *count += 1;
            assert!(*count <= 2, "{text} comes again and again");
        }
    }
}

/// Those of the queue, as the broker knows them: one of a connection that was cut is there until the broker has noticed.
struct Consumers {
    runtime: tokio::runtime::Runtime,
    _connection: Connection,
    channel: Channel,
    queue: Queue,
}

impl Consumers {
    fn new(place: &Place) -> Consumers {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let kit = async_rs::TokioRuntime::tokio_with_handle(runtime.handle().clone());
        let url = place.broker.url("scheduler");
        let (connection, channel) = runtime.block_on(async {
            let connection =
                Connection::connect_with_runtime(&url, ConnectionProperties::default(), kit).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            (connection, channel)
        });
        Consumers { runtime, _connection: connection, channel, queue: place.queue.clone() }
    }

    fn wait_for_one(&self) {
        let started = Instant::now();
        let look = QueueDeclareOptions { passive: true, ..Default::default() };
        let count = || {
            let looking = self.channel.queue_declare(self.queue.as_str().into(), look, FieldTable::default());
            self.runtime.block_on(looking).unwrap().consumer_count()
        };
        while count() > 1 {
            assert!(started.elapsed() < PATIENCE, "the broker does not notice the cut");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn a_publish_is_cut(way: Way) {
    let place = Place::new();
    let (mut sender, mut receiver, mut copies) = (place.through_proxy(), place.direct(), Copies::default());
    place.each_cut(way, |bytes| {
        sender.send(&[place.message(&format!("connected {bytes}"))], time::now()).unwrap();
        let text = format!("{way:?} {bytes}");
        place.proxy.cut_after(way, bytes);
        match sender.send(&[place.message(&text)], time::now()) {
            Ok(sent) => assert_eq!(sent, [Sent::Kept], "{text}"),
            Err(error) => {
                expect_down(&error);
                assert_eq!(sender.send(&[place.message(&text)], time::now()).unwrap(), [Sent::Kept], "{text}");
            }
        }
        copies.add(place.take_until_here(&mut receiver, &text));
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
    let (mut sender, mut receiver, mut copies) = (place.direct(), place.through_proxy(), Copies::default());
    let consumers = Consumers::new(&place);
    for way in [Way::Down, Way::Up] {
        place.take_until_empty(&mut receiver);
        place.each_cut(way, |bytes| {
            place.proxy.cut_after(way, bytes);
            for when in ["at", "after"] {
                let text = format!("{when} {way:?} {bytes}");
                sender.send(&[place.message(&text)], time::now()).unwrap();
                copies.add(place.take_until_here(&mut receiver, &text));
            }
            copies.add(place.take_until_empty(&mut receiver));
            // What was acknowledged into the void comes again now, and not in the middle of the next cut.
            consumers.wait_for_one();
            copies.add(place.take_until_empty(&mut receiver));
        });
    }
    drop((sender, receiver));
    assert_eq!(place.broker.waiting(), [], "everything was taken");
}
