//! Queues that refuse messages: one log line when a queue begins to, one when it takes them again.

use super::{Queue, Sent};
use crate::limits::REFUSING_QUEUES_LOGGED_MAX;
use std::collections::HashSet;

/// See the module docs.
pub struct Refusing {
    who: &'static str,
    /// What becomes of the messages, for the log.
    effect: &'static str,
    queues: HashSet<Queue>,
}

impl Refusing {
    /// None refuses yet.
    pub fn new(who: &'static str, effect: &'static str) -> Refusing {
        Refusing { who, effect, queues: HashSet::new() }
    }

    /// Notes what became of a message for this queue.
    pub fn note(&mut self, queue: &Queue, sent: &Sent) {
        match sent {
            Sent::Kept if self.queues.remove(queue) => log::info!("{}: queue {queue} takes messages again", self.who),
            Sent::Refused(reason) => self.refused(queue, reason),
            Sent::Kept | Sent::Unroutable | Sent::Unconfirmed => {}
        }
    }

    fn refused(&mut self, queue: &Queue, reason: &str) {
        let (who, effect, known) = (self.who, self.effect, self.queues.len());
        if !self.queues.insert(queue.clone()) || known > REFUSING_QUEUES_LOGGED_MAX {
            log::debug!("{who}: {reason}");
        } else if known == REFUSING_QUEUES_LOGGED_MAX {
            log::warn!("{who}: more than {known} queues refuse messages; the others are logged at level debug");
        } else {
            log::warn!("{who}: {reason}; {effect}, the other queues go on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_known_from_its_first_refusal_until_it_takes_a_message() {
        let mut refusing = Refusing::new("sender", "its messages wait");
        let queues = [Queue::results(), Queue::heartbeats()];
        refusing.note(&queues[0], &Sent::Refused("queue full".into()));
        refusing.note(&queues[0], &Sent::Refused("queue full".into()));
        refusing.note(&queues[1], &Sent::Kept);
        assert_eq!(refusing.queues, HashSet::from([queues[0].clone()]));
        refusing.note(&queues[0], &Sent::Unconfirmed);
        assert_eq!(refusing.queues.len(), 1);
        refusing.note(&queues[0], &Sent::Kept);
        assert!(refusing.queues.is_empty());
    }
}
