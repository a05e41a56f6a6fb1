use super::*;
use crate::relay::directory::DirectoryRelay;
use crate::relay::fake::Fake;
use crate::relay::{Message, Tag};
use crate::spool::stages::{self, COMMAND_RETURNED};
use crate::time;
use std::sync::Mutex;

/// Acknowledges every message, and remembers what it was asked.
#[derive(Default)]
struct Reader {
    checked: Arc<Mutex<Vec<Vec<u8>>>>,
    handled: Vec<Vec<u8>>,
    batches: usize,
    /// Refuses every batch that has this message.
    culprit: Option<Vec<u8>>,
}

impl MessageHandler for Reader {
    type Checked = Vec<u8>;
    fn name(&self) -> &'static str {
        "reader"
    }
    fn queue(&self) -> Queue {
        Queue::results()
    }
    fn check(&mut self, _spool: &Arc<Spool>, _now: Timestamp) -> impl Fn(&Delivery) -> Vec<u8> + Send + Sync + use<> {
        let checked = Arc::clone(&self.checked);
        move |delivery| {
            checked.lock().unwrap().push(delivery.body.clone());
            delivery.body.clone()
        }
    }
    fn handle(&mut self, _spool: &Spool, batch: Vec<Vec<u8>>, _now: Timestamp) -> Result<Vec<Settlement>, Failure> {
        if self.culprit.as_ref().is_some_and(|culprit| batch.contains(culprit)) {
            return Err(Failure::Refuse("is the culprit".into()));
        }
        let put = |body: &Vec<u8>| {
            let name = format!("{}.json", String::from_utf8_lossy(body).trim_matches(['{', '}']));
            vec![Step::put(COMMAND_RETURNED, crate::spool::FileName::new(name).unwrap(), body.clone())]
        };
        let settlements = batch.iter().map(|body| Settlement::accept(put(body))).collect();
        self.handled.extend(batch);
        self.batches += 1;
        Ok(settlements)
    }
}

fn with_messages(count: usize) -> (tempfile::TempDir, Vec<Vec<u8>>, Box<dyn Relay>, Mover) {
    let directory = tempfile::tempdir().unwrap();
    stages::make(directory.path(), &stages::SCHEDULER).unwrap();
    let relay = directory.path().join("relay");
    std::fs::create_dir(&relay).unwrap();
    let mut relay = DirectoryRelay::open(&relay).unwrap();
    relay.declare(&Queue::results()).unwrap();
    let bodies: Vec<Vec<u8>> = (0..count).map(|n| format!("{{{n:05}}}").into_bytes()).collect();
    let message = |body: &Vec<u8>| Message { queue: Queue::results(), body: body.clone(), expires: time::never() };
    relay.send(&bodies.iter().map(message).collect::<Vec<_>>(), time::now()).unwrap();
    let mover = Mover::open(directory.path(), &stages::SCHEDULER, "reader").unwrap();
    (directory, bodies, Box::new(relay), mover)
}

#[test]
fn each_message_of_many_batches_is_checked_once_handled_in_order_and_acknowledged_after_its_steps() {
    let count = 2 * limits::BATCH_ENTRIES_MAX + 1;
    let (directory, bodies, relay, mover) = with_messages(count);
    let mut worker = QueueWorker::new(mover, relay, Reader::default());
    let now = time::now();
    while worker.handler.handled.len() < count {
        assert!(worker.pass(now).unwrap().has_more(now));
    }
    assert_eq!(worker.handler.handled, bodies);
    let mut checked = worker.handler.checked.lock().unwrap().clone();
    checked.sort();
    assert_eq!((checked, worker.handler.batches), (bodies, 3));
    assert_eq!(worker.pass(now).unwrap(), Pass { handled: 0, again: None });
    assert_eq!(std::fs::read_dir(directory.path().join("command/returned")).unwrap().count(), count);
}

#[test]
fn of_a_batch_that_is_refused_only_the_culprit_is_put_aside() {
    let (directory, bodies, relay, mover) = with_messages(10);
    let culprit = Some(bodies[7].clone());
    let mut worker = QueueWorker::new(mover, relay, Reader { culprit, ..Reader::default() });
    assert_eq!(worker.pass(time::now()).unwrap().handled, 10);
    assert_eq!(worker.handler.handled.len(), 9);
    let dead = std::fs::read_dir(directory.path().join("relay/dead")).unwrap();
    let dead = dead.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    assert_eq!(dead.map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>(), [bodies[7].clone()]);
}

#[test]
fn a_message_is_not_acknowledged_when_its_steps_fail() {
    let directory = tempfile::tempdir().unwrap();
    stages::make(directory.path(), &stages::SCHEDULER).unwrap();
    let delivery = Delivery { body: b"{1}".to_vec(), tag: Tag::Amqp(1) };
    let acknowledged = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&acknowledged);
    let relay = Fake {
        receive: Box::new(move |_| Ok(vec![delivery.clone()])),
        acknowledge: Box::new(move |count| {
            *counted.lock().unwrap() += count;
            Ok(())
        }),
        ..Fake::default()
    };
    let mover = Mover::open(directory.path(), &stages::SCHEDULER, "reader").unwrap();
    let mut worker = QueueWorker::new(mover, Box::new(relay), Reader::default());
    let returned = directory.path().join("command/returned");
    std::fs::remove_dir(&returned).unwrap();
    assert!(worker.pass(time::now()).is_err());
    assert_eq!(*acknowledged.lock().unwrap(), 0);
}
