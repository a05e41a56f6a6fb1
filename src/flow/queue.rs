//! Draining a queue of the relay: receive, judge, ask the worker, put what it keeps on our disk, then let go of the message.
//!
//! Judging has no effect, so it runs ahead: a batch is judged while the one before is worked on.

use super::refusal::{Kind, Tally};
use super::{Failure, Pass, Worker};
use crate::limits;
use crate::parallel;
use crate::relay::{Delivery, Event, Queue, Relay};
use crate::spool::stages::{COMMAND_INFLIGHT, COMMAND_READY, COMMAND_RETURNED};
use crate::spool::watch::{Waker, Watch};
use crate::spool::{FileName, Spool};
use crate::time::Timestamp;
use std::sync::Arc;

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
}

/// A [`QueueWorker`] as a [`Worker`].
pub struct QueueDrain<W> {
    worker: W,
    spool: Arc<Spool>,
    relay: Box<dyn Relay>,
    refused: Tally,
}

impl<W: QueueWorker> QueueDrain<W> {
    /// Drains the worker's queue of `relay`.
    pub fn new(spool: Spool, relay: Box<dyn Relay>, worker: W) -> QueueDrain<W> {
        let refused = Tally::new(worker.name());
        QueueDrain { worker, spool: Arc::new(spool), relay, refused }
    }

    /// Hands a batch to the worker; when it refuses the whole, one by one, so that only the culprit is put aside.
    fn work(&mut self, Judged { batch, judged }: Judged<W>, now: Timestamp) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        match self.worker.work(&self.spool, judged, now) {
            Ok(verdicts) => self.carry_out(batch, verdicts, now),
            Err(Failure::Refused(reason)) if batch.len() == 1 => {
                self.carry_out(batch, vec![Verdict::Reject(Kind::Unusable, reason)], now)
            }
            Err(Failure::Refused(_)) => batch.into_iter().try_for_each(|delivery| {
                let judged = vec![self.worker.judge(&self.spool, now)(&delivery)];
                self.work(Judged { batch: vec![delivery], judged }, now)
            }),
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
        self.spool.put_replacing(COMMAND_RETURNED, &[COMMAND_READY, COMMAND_INFLIGHT], &kept)?;
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
        self.relay.declare(&self.worker.source())?;
        Ok(self.spool.clean()?)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.relay.declare(&self.worker.source())?;
        Ok(self.relay.watch(&self.worker.source(), waker)?)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let queue = self.worker.source();
        let (mut handled, mut ahead) = (0, Judged { batch: Vec::new(), judged: Vec::new() });
        for _ in 0..limits::QUEUE_PASS_BATCHES_MAX {
            let received = self.relay.receive_after(&ahead.batch, &queue, limits::BATCH_ENTRIES_MAX, now);
            // What was received before is worked on before an error counts: it may be the same every time.
            let (batch, failed) = received.map_or_else(|error| (Vec::new(), Some(error)), |batch| (batch, None));
            let judge = self.worker.judge(&self.spool, now);
            let (judged, worked) =
                parallel::both(batch.len(), || parallel::map(&batch, judge), || self.work(ahead, now));
            worked?;
            failed.map_or(Ok(()), Err)?;
            handled += batch.len();
            ahead = Judged { batch, judged };
            if ahead.batch.is_empty() {
                break;
            }
        }
        self.work(ahead, now)?;
        // More may be there: the loop looks whether it shall stop, and comes back at once.
        let untold = self.refused.tell(now);
        Ok(Pass { handled, again: if handled == 0 { untold } else { Some(now) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Message;
    use crate::relay::directory::DirectoryRelay;
    use crate::spool::stages;
    use crate::time;
    use std::sync::Mutex;

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
}
