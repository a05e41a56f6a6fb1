//! Agents that only exist for tests: a queue each at the broker, answering at once and running nothing.

use futures_util::StreamExt;
use futures_util::future::{select, try_join_all};
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use mig::command::{Command, CommandStatus};
use mig::heartbeat::{Agent, QueueLoc};
use mig::modules::ModuleResult;
use mig::store::Store;
use mig::time;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Agent number `n` as it registers.
pub fn agent(n: usize) -> Agent {
    let now = time::now();
    let object = |value: serde_json::Value| value.as_object().unwrap().clone();
    Agent {
        id: None,
        name: format!("sim{n}.example.net"),
        queueloc: QueueLoc::parse(&format!("linux.sim{n}.example.net.{n}")).unwrap(),
        mode: "daemon".into(),
        version: "bench".into(),
        pid: 1,
        start_time: now,
        destruction_time: time::not_set(),
        heartbeat_time: now,
        status: None,
        environment: object(serde_json::json!({"os": "linux", "arch": "amd64", "ident": "Debian", "init": "systemd"})),
        tags: object(serde_json::json!({"group": "bench"})),
    }
}

/// Has a store know so many agents; returns them.
pub fn register(store: &mut impl Store, count: usize) -> Vec<Agent> {
    let agents: Vec<Agent> = (0..count).map(agent).collect();
    for batch in agents.chunks(1000) {
        store.register(batch, time::now()).unwrap();
    }
    agents
}

/// The answer to a command.
pub fn answer(command: &[u8]) -> Vec<u8> {
    let mut command = Command::parse(command).unwrap();
    let info = serde_json::json!({"lastmodified": "2026-11-22 08:07:42 +0000 UTC", "mode": "-rw-r--r--", "size": 1349});
    let elements = serde_json::json!({"s1": [{"file": "/etc/passwd", "fileinfo": info}]});
    let result = ModuleResult { foundanything: true, success: true, elements, ..ModuleResult::default() };
    command.finish(CommandStatus::Success, &[result], time::now());
    command.to_json()
}

/// As the original sends messages.
pub fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_delivery_mode(2)
        .with_expiration("600000".into())
}

/// See the module docs. They answer for as long as it lives.
pub struct BrokerFleet {
    answered: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

impl BrokerFleet {
    /// Has `count` agents with a queue each.
    pub fn start(url: &str, count: usize) -> BrokerFleet {
        BrokerFleet::with_queues(url, own_queues(count), false)
    }

    /// The same; a command is acknowledged after the broker has confirmed its answer, as a real agent does it.
    pub fn confirming(url: &str, count: usize) -> BrokerFleet {
        BrokerFleet::with_queues(url, own_queues(count), true)
    }

    /// Has agents that share one queue: as many as the queue's key covers.
    pub fn sharing(url: &str) -> BrokerFleet {
        BrokerFleet::with_queues(url, vec![("mig.agt.linux.all".into(), "mig.agt.linux.#".into())], false)
    }

    /// How many commands were answered.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn with_queues(url: &str, queues: Vec<(String, String)>, confirms: bool) -> BrokerFleet {
        let answered = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (url, count) = (url.to_owned(), Arc::clone(&answered));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let handle = runtime.handle().clone();
            runtime.block_on(async move {
                let work = async {
                    let kit = async_rs::TokioRuntime::tokio_with_handle(handle);
                    let properties = ConnectionProperties::default();
                    let connection = Connection::connect_with_runtime(&url, properties, kit).await.unwrap();
                    answer_all(&connection, &queues, confirms, &ready, &count).await
                };
                select(pin!(work), stopped).await;
            });
        });
        is_ready.recv().unwrap();
        BrokerFleet { answered, _stop: stop }
    }
}

/// The names of queues for `count` agents, and the keys that they are bound with.
fn own_queues(count: usize) -> Vec<(String, String)> {
    let names = (0..count).map(|n| format!("mig.agt.{}", agent(n).queueloc));
    names.map(|name| (name.clone(), name)).collect()
}

async fn answer_all(
    connection: &Connection,
    queues: &[(String, String)],
    confirms: bool,
    ready: &std::sync::mpsc::Sender<()>,
    answered: &AtomicUsize,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(2000, BasicQosOptions::default()).await?;
    if confirms {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
    }
    let mut consumers = Vec::new();
    for (queue, key) in queues {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await?;
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(queue.as_str().into(), "mig".into(), key.as_str().into(), bind, FieldTable::default())
            .await?;
        let options = BasicConsumeOptions::default();
        consumers.push(channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await?);
    }
    let _ = ready.send(());
    // All that are there at once: a publish that is awaited alone waits for its write to the socket.
    let mut deliveries = futures_util::stream::select_all(consumers).ready_chunks(200);
    while let Some(waiting) = deliveries.next().await {
        try_join_all(waiting.into_iter().map(async |delivery| {
            let delivery = delivery?;
            // The benchmark also sends blanks, to see how quick the broker is.
            if !delivery.data.starts_with(b" ") {
                let body = answer(&delivery.data);
                let options = BasicPublishOptions::default();
                let (exchange, key) = ("mig".into(), "mig.agt.results".into());
                channel.basic_publish(exchange, key, options, &body, properties()).await?.await?;
                answered.fetch_add(1, Ordering::SeqCst);
            }
            delivery.ack(BasicAckOptions::default()).await?;
            lapin::Result::Ok(())
        }))
        .await?;
    }
    Ok(())
}
