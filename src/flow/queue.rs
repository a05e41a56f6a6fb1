//! Draining a queue of the relay: receive, judge, ask the worker, put what it keeps on our disk, then let go of the
//! message.
//!
//! Judging has no effect, so it runs ahead: a batch is judged while the one before is worked on.

use super::refusal::{Kind, Tally};
use super::{Failure, Pass, Worker};
use crate::limits;
use crate::parallel;
use crate::relay::{Delivery, Event, Queue, Relay};
use crate::spool::stages::{COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Placed, Spool};
use crate::time::{self, Timestamp};
use std::sync::Arc;
use std::time::Instant;

/// What shall become of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is a command's answer: to command/returned, in place of the command in ready or inflight.
    Keep(FileName, Vec<u8>),
    /// Its effect is on the disk, or it has none.
    Done,
    /// The same, and whoever subscribed gets the message as this event.
    Tell(Event),
    /// Nobody needs it: its effect is there already.
    Drop(Kind, String),
    /// Nobody can use it: it is put aside on the relay.
    Reject(Kind, String),
}

/// A worker on a queue.
pub trait QueueWorker: Send {
    /// What is found out about a message without any effect.
    type Judged: Send;
    /// See [`Worker::name`].
    fn name(&self) -> &'static str;
    /// The queue it drains.
    fn source(&self) -> Queue;
    /// What looks at the messages of a batch, one by one; apart from the worker, who works on another batch meanwhile.
    fn judge(
        &mut self,
        spool: &Arc<Spool>,
        now: Timestamp,
    ) -> impl Fn(&Delivery) -> Self::Judged + Send + Sync + use<Self>;
    /// Handles a batch: one verdict per message, in order.
    fn work(&mut self, spool: &Spool, judged: Vec<Self::Judged>, now: Timestamp) -> Result<Vec<Verdict>, Failure>;
}

/// A batch, and what was found out about each of its messages.
struct Judged<W: QueueWorker> {
    batch: Vec<Delivery>,
    judged: Vec<W::Judged>,
    /// When it was received.
    now: Timestamp,
}

/// A [`QueueWorker`] as a [`Worker`].
pub struct QueueDrain<W> {
    worker: W,
    spool: Arc<Spool>,
    relay: Box<dyn Relay>,
    refused: Tally,
    /// No pass succeeded since the start or the last failure: the next one is a small one.
    is_trial: bool,
}

impl<W: QueueWorker> QueueDrain<W> {
    /// Drains the worker's queue of `relay`.
    pub fn new(spool: Spool, relay: Box<dyn Relay>, worker: W) -> QueueDrain<W> {
        let refused = Tally::new(worker.name());
        QueueDrain { worker, spool: Arc::new(spool), relay, refused, is_trial: false }
    }

    fn judged(&mut self, batch: Vec<Delivery>, now: Timestamp) -> Judged<W> {
        let judged = parallel::map(&batch, self.worker.judge(&self.spool, now));
        Judged { batch, judged, now }
    }

    /// Hands a batch to the worker; when it refuses the whole, each half, until only the culprit is put aside.
    fn work(&mut self, Judged { mut batch, judged, now }: Judged<W>) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        match self.worker.work(&self.spool, judged, now) {
            Ok(verdicts) => self.carry_out(batch, verdicts, now),
            Err(Failure::Refused(reason)) if batch.len() == 1 => {
                self.carry_out(batch, vec![Verdict::Reject(Kind::Unusable, reason)], now)
            }
            Err(Failure::Refused(_)) => {
                let second = batch.split_off(batch.len() / 2);
                [batch, second].into_iter().try_for_each(|half| {
                    let half = self.judged(half, now);
                    self.work(half)
                })
            }
            Err(failure) => Err(failure),
        }
    }

    fn carry_out(&mut self, batch: Vec<Delivery>, verdicts: Vec<Verdict>, now: Timestamp) -> Result<(), Failure> {
        let queue = self.worker.source();
        let (mut kept, mut done, mut refused) = (Vec::new(), Vec::with_capacity(batch.len()), Vec::new());
        let mut events = Vec::new();
        for (delivery, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Keep(name, bytes) => {
                    kept.push((name, bytes));
                    done.push(delivery);
                }
                Verdict::Done => done.push(delivery),
                Verdict::Tell(event) => {
                    events.push((event, delivery.body.clone()));
                    done.push(delivery);
                }
                Verdict::Drop(kind, reason) => {
                    self.refused.count(kind, &reason, now);
                    done.push(delivery);
                }
                Verdict::Reject(kind, reason) => refused.push((delivery, kind, reason)),
            }
        }
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::AckBeforeWrite.is_on() {
            self.relay.done(&queue, &done)?;
        }
        // A command moves from ready to inflight, so a copy that leaves ready meanwhile is met in inflight.
        let placed = self.spool.put_replacing(COMMAND_RETURNED, &[COMMAND_READY, COMMAND_INFLIGHT], &kept)?;
        for ((name, _), placed) in kept.iter().zip(placed) {
            if placed == Placed::Taken {
                let reason = format!("{name} has ended since it was judged, the first answer stays");
                self.refused.count(Kind::Duplicate, &reason, now);
            }
        }
        self.relay.publish(&events, now)?;
        self.relay.done(&queue, &done)?;
        // Last, because its reason takes room: on a full relay it is the others that make some.
        Ok(self.refused.put_aside(self.relay.as_mut(), &queue, refused, now)?)
    }
}

impl<W: QueueWorker> Worker for QueueDrain<W> {
    fn name(&self) -> &'static str {
        self.worker.name()
    }

    fn recover(&mut self, _now: Timestamp) -> Result<(), Failure> {
        self.is_trial = true;
        self.relay.declare(&self.worker.source())?;
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.relay.declare(&self.worker.source())?;
        Ok(self.relay.watch(&self.worker.source(), waker)?)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let (queue, started) = (self.worker.source(), Instant::now());
        let (batches, entries_max) = match self.is_trial {
            true => (1, limits::TRIAL_ENTRIES_MAX),
            false => (limits::QUEUE_PASS_BATCHES_MAX, limits::BATCH_ENTRIES_MAX),
        };
        let first = self.relay.receive(&queue, entries_max, now)?;
        let (mut handled, mut ahead) = (first.len(), self.judged(first, now));
        for _ in 1..batches {
            if ahead.batch.is_empty() {
                break;
            }
            // Later messages than the pass: what they answer may have begun since.
            let now = time::after(now, started.elapsed());
            let received = self.relay.receive_after(&ahead.batch, &queue, entries_max, now);
            let batch = match received.map_err(Failure::from) {
                Ok(batch) => batch,
                Err(Failure::Fatal(reason)) => return Err(Failure::Fatal(reason)),
                Err(failure) => {
                    // What was received is worked on first: the failure may be the same every time.
                    self.work(ahead)?;
                    return Err(failure);
                }
            };
            let judge = self.worker.judge(&self.spool, now);
            let (judged, worked) = parallel::both(batch.len(), || parallel::map(&batch, judge), || self.work(ahead));
            worked?;
            handled += batch.len();
            ahead = Judged { batch, judged, now };
        }
        self.work(ahead)?;
        self.is_trial = false;
        // More may be there: the loop looks whether it shall stop, and comes back at once.
        let untold = self.refused.tell(now);
        Ok(Pass { handled, again: if handled == 0 { untold } else { Some(now) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::directory::DirectoryRelay;
    use crate::relay::{Message, RelayError, Sent, Tag};
    use crate::spool::stages;
    use crate::time;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Lets go of every message, and remembers what it was asked.
    #[derive(Default)]
    struct Reader {
        judged: Arc<Mutex<Vec<Vec<u8>>>>,
        worked: Vec<Vec<u8>>,
        batches: usize,
    }

    impl QueueWorker for Reader {
        type Judged = Vec<u8>;
        fn name(&self) -> &'static str {
            "reader"
        }
        fn source(&self) -> Queue {
            Queue::results()
        }
        fn judge(
            &mut self,
            _spool: &Arc<Spool>,
            _now: Timestamp,
        ) -> impl Fn(&Delivery) -> Vec<u8> + Send + Sync + use<> {
            let judged = Arc::clone(&self.judged);
            move |delivery| {
                judged.lock().unwrap().push(delivery.body.clone());
                delivery.body.clone()
            }
        }
        fn work(&mut self, _spool: &Spool, judged: Vec<Vec<u8>>, _now: Timestamp) -> Result<Vec<Verdict>, Failure> {
            let verdicts = vec![Verdict::Done; judged.len()];
            self.worked.extend(judged);
            self.batches += 1;
            Ok(verdicts)
        }
    }

    #[test]
    fn each_message_of_many_batches_is_judged_once_and_worked_on_in_order() {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &stages::SCHEDULER).unwrap();
        let relay = directory.path().join("relay");
        std::fs::create_dir(&relay).unwrap();
        let (mut relay, now) = (DirectoryRelay::open(&relay).unwrap(), time::now());
        relay.declare(&Queue::results()).unwrap();
        let count = 2 * limits::BATCH_ENTRIES_MAX + 1;
        let bodies: Vec<Vec<u8>> = (0..count).map(|n| format!("{{{n:05}}}").into_bytes()).collect();
        let message = |body: &Vec<u8>| Message { queue: Queue::results(), body: body.clone(), expires: time::never() };
        relay.send(&bodies.iter().map(message).collect::<Vec<_>>(), now).unwrap();
        let spool = Spool::open(directory.path(), &stages::SCHEDULER, "reader").unwrap();
        let mut drain = QueueDrain::new(spool, Box::new(relay), Reader::default());
        assert_eq!(drain.pass(now).unwrap().handled, count);
        assert_eq!(drain.worker.worked, bodies);
        let mut judged = drain.worker.judged.lock().unwrap().clone();
        judged.sort();
        assert_eq!((judged, drain.worker.batches), (bodies, 3));
        assert_eq!(drain.pass(now).unwrap(), Pass { handled: 0, again: None });
    }

    /// Gives what it was told to give, and remembers what was let go of.
    struct Scripted {
        received: VecDeque<Result<Vec<Delivery>, RelayError>>,
        done: Arc<Mutex<usize>>,
    }

    impl Relay for Scripted {
        fn declare(&mut self, _queue: &Queue) -> Result<(), RelayError> {
            Ok(())
        }
        fn send(&mut self, _messages: &[Message], _now: Timestamp) -> Result<Vec<Sent>, RelayError> {
            Ok(Vec::new())
        }
        fn receive_after(
            &mut self,
            _in_hand: &[Delivery],
            _queue: &Queue,
            _max: usize,
            _now: Timestamp,
        ) -> Result<Vec<Delivery>, RelayError> {
            self.received.pop_front().unwrap_or(Ok(Vec::new()))
        }
        fn done(&mut self, _queue: &Queue, deliveries: &[Delivery]) -> Result<(), RelayError> {
            *self.done.lock().unwrap() += deliveries.len();
            Ok(())
        }
        fn reject(&mut self, _: &Queue, _: &[(Delivery, String)], _: Timestamp) -> Result<(), RelayError> {
            Ok(())
        }
        fn remove(&mut self, _queue: &Queue) -> Result<bool, RelayError> {
            Ok(false)
        }
        fn publish(&mut self, _events: &[(Event, Vec<u8>)], _now: Timestamp) -> Result<(), RelayError> {
            Ok(())
        }
        fn subscribe(&mut self, _queue: &Queue, _event: Event) -> Result<(), RelayError> {
            Ok(())
        }
        fn watch(&mut self, _queue: &Queue, _waker: Waker) -> Result<Option<Watch>, RelayError> {
            Ok(None)
        }
        fn tidy(&mut self, _age: Duration, _now: Timestamp) -> Result<(), RelayError> {
            Ok(())
        }
    }

    #[test]
    fn what_was_received_is_worked_on_before_a_failure_unless_nothing_may_be_done_any_more() {
        let away = RelayError::Away { what: "receive".into(), cause: "away".into() };
        for (error, worked_on) in [(away, 1), (RelayError::Fatal("not synced".into()), 0)] {
            let directory = tempfile::tempdir().unwrap();
            stages::make(directory.path(), &stages::SCHEDULER).unwrap();
            let delivery = Delivery { body: b"{}".to_vec(), tag: Tag::Amqp { generation: 1, delivery: 1 } };
            let done = Arc::new(Mutex::new(0));
            let relay = Scripted { received: [Ok(vec![delivery]), Err(error)].into(), done: Arc::clone(&done) };
            let spool = Spool::open(directory.path(), &stages::SCHEDULER, "reader").unwrap();
            let mut drain = QueueDrain::new(spool, Box::new(relay), Reader::default());
            let failure = drain.pass(time::now()).unwrap_err();
            assert_eq!(matches!(failure, Failure::Fatal(_)), worked_on == 0);
            assert_eq!((drain.worker.worked.len(), *done.lock().unwrap()), (worked_on, worked_on));
        }
    }
}
