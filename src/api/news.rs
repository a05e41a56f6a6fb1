//! Events of the relay: whenever a command or an action has ended, those who follow the action look at the store soon. The
//! store is what they see; an event that is lost costs them a moment.

use super::follow::Followers;
use crate::config::api::ApiConfig;
use crate::config::broker::RelayConfig;
use crate::failure::Failure;
use crate::id::ActionId;
use crate::json::Fields;
use crate::limits::{API_NEWS_AT_ONCE, API_NEWS_PAUSE, API_NEWS_RETRY_PAUSE};
use crate::relay::amqp::{AmqpRelay, Role};
use crate::relay::directory::DirectoryRelay;
use crate::relay::{Event, Queue, Relay};
use crate::time;
use crate::wake::{Sleeper, Stop};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One queue for each API, which stays over a restart.
fn queue(config: &ApiConfig) -> Queue {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Queue::worker(&format!("api-{}-{host}", config.address.port()))
}

fn open(relay: &RelayConfig) -> Result<Box<dyn Relay>, Failure> {
    Ok(match relay {
        RelayConfig::Directory(path) => Box::new(DirectoryRelay::open(path)?),
        RelayConfig::Broker(broker) => Box::new(AmqpRelay::open(broker, Role::Subscriber)?),
    })
}

/// The action that an event is about: that of a command, or the action itself.
fn action(body: &[u8]) -> Option<ActionId> {
    let fields = Fields::parse(body).ok()?;
    let of_command = fields.id("actionid", ActionId::from_json_number).ok().flatten();
    of_command.or_else(|| fields.id("id", ActionId::from_json_number).ok().flatten())
}

/// Receives events until it is asked to end, or fails.
fn receive(
    relay: &RelayConfig,
    queue: &Queue,
    followers: &Followers,
    stop: &Stop,
    is_told: &mut bool,
) -> Result<(), Failure> {
    let sleeper = Sleeper::new();
    stop.also_wake(sleeper.waker());
    let mut relay = open(relay)?;
    for event in [Event::CommandFinished, Event::ActionFinished] {
        relay.subscribe(queue, event)?;
    }
    if std::mem::take(is_told) {
        log::info!("events: the relay answers again");
    }
    let _watch = relay.watch(queue, sleeper.waker())?;
    while !stop.is_asked() {
        let deliveries = relay.receive(queue, API_NEWS_AT_ONCE, time::now())?;
        if deliveries.is_empty() {
            sleeper.sleep(Some(API_NEWS_PAUSE));
            continue;
        }
        relay.acknowledge(queue, &deliveries)?;
        let actions: BTreeSet<ActionId> = deliveries.iter().filter_map(|delivery| action(&delivery.body)).collect();
        actions.into_iter().for_each(|id| followers.poke(id));
    }
    Ok(())
}

/// Starts the thread that receives events, if there is a relay. It tries again for as long as it takes.
pub fn start(config: &ApiConfig, followers: Arc<Followers>, stop: &Stop) {
    let Some(relay) = config.relay.clone() else { return };
    let (queue, stop) = (queue(config), stop.clone());
    std::thread::spawn(move || {
        let mut is_told = false;
        while let Err(failure) = receive(&relay, &queue, &followers, &stop, &mut is_told) {
            if !std::mem::replace(&mut is_told, true) {
                log::warn!("events: {failure}; until the relay answers, the store is asked from time to time");
            }
            let sleeper = Sleeper::new();
            stop.also_wake(sleeper.waker());
            sleeper.sleep(Some(API_NEWS_RETRY_PAUSE));
            if stop.is_asked() {
                return;
            }
        }
    });
}
