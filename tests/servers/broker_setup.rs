//! The broker as `scripts/setup-rabbitmq.sh`, `scripts/make-certs.sh` and `conf/rabbitmq.conf.inc` make it. What they change
//! holds for a whole broker (users, guest, TLS), so each test starts one of its own.

use crate::common::servers::{self, Own};
use async_rs::Runtime;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What an agent that came in with the common user has, and another one's queue.
const OWN: &str = "mig.agt.linux.own.58b3mndjmbb00";
const OTHER: &str = "mig.agt.linux.other.56b2andxmyb00";
/// An agent with a user of its own.
const ALONE: &str = "linux.alone.example.net.4vjs8ubqo0100";
const SECRET_BYTES: usize = 48;

/// A broker of its own, and the file with its passwords.
struct Broker(Own);

impl Broker {
    fn start(extra: &str) -> Broker {
        Broker(Own::broker(extra))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What rabbitmqctl lists, sorted.
    fn list(&self, arguments: &[&str]) -> Vec<String> {
        let directory = self.0.path().to_str().unwrap();
        let all = [&["rabbitmq", "ctl", directory, "-q"], arguments, &["--no-table-headers"]].concat();
        let mut lines: Vec<_> = servers::script("servers.sh", &all).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(Path::new(ROOT).join("scripts").join(script));
        command
            .args(arguments)
            .env("RABBITMQCTL", servers::rabbitmqctl_line(self.0.path()))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs the setup; returns the changes that it told.
    fn setup(&self, arguments: &[&str]) -> Vec<String> {
        let passwords = self.path("passwords").display().to_string();
        let output = self.run("setup-rabbitmq.sh", &[&["--passwords", &passwords], arguments].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let mut lines: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
        let last = lines.pop().unwrap();
        assert!(last.starts_with("RabbitMQ is ready for MIG: virtual host mig,"), "{last}");
        lines
    }

    fn passwords(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.path("passwords")).unwrap();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(user, word)| (user.into(), word.into())).collect()
    }
}

/// Whether the broker did it: else its reply code, 403 is ACCESS_REFUSED.
type Answer = Result<(), u16>;
const REFUSED: Answer = Err(403);

fn answer<T>(result: lapin::Result<T>) -> Answer {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(cause) => Err(cause.get_id()),
            _ => panic!("{error}"),
        },
    }
}

/// A user's connection to the virtual host mig.
struct User {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
}

impl User {
    fn new(broker: &Broker, name: &str) -> User {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (port, password) = (servers::port(broker.0.path(), "port"), &broker.passwords()[name]);
        let url = format!("amqp://{name}:{password}@127.0.0.1:{port}/mig");
        let connection = runtime.block_on(async {
            Connection::connect_with_runtime(&url, ConnectionProperties::default(), Runtime::tokio_current()).await
        });
        User { runtime, connection: connection.unwrap() }
    }

    /// Tries something on a channel of its own: a refusal closes the channel.
    fn attempt<T>(&self, what: impl AsyncFnOnce(Channel) -> lapin::Result<T>) -> Answer {
        self.runtime.block_on(async { answer(what(self.connection.create_channel().await.unwrap()).await) })
    }

    fn declare(&self, queue: &str) -> Answer {
        self.declare_with(queue, FieldTable::default())
    }

    fn declare_with(&self, queue: &str, arguments: FieldTable) -> Answer {
        self.attempt(async |channel| {
            channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await
        })
    }

    fn bind(&self, queue: &str, exchange: &str, key: &str) -> Answer {
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        self.attempt(async |channel| channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none).await)
    }

    fn get(&self, queue: &str) -> Answer {
        self.attempt(async |channel| channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await)
    }

    fn publish(&self, exchange: &str, key: &str) -> Answer {
        self.publish_with(exchange, key, BasicProperties::default())
    }

    fn publish_with(&self, exchange: &str, key: &str, properties: BasicProperties) -> Answer {
        self.attempt(async |channel| {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions::default();
            channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties).await?.await
        })
    }

    fn exchange(&self, name: &str, kind: ExchangeKind) -> Answer {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        self.attempt(async |channel| channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await)
    }

    fn exchange_bind(&self, name: &str, source: &str, key: &str) -> Answer {
        let (options, none) = (ExchangeBindOptions::default(), FieldTable::default());
        self.attempt(async |channel| channel.exchange_bind(name.into(), source.into(), key.into(), options, none).await)
    }
}

/// What the programs do with exchanges and queues, each as its user.
fn declare_everything(broker: &Broker) {
    let scheduler = User::new(broker, "scheduler");
    for exchange in ["mig", "migevent"] {
        assert_eq!(scheduler.exchange(exchange, ExchangeKind::Topic), Ok(()));
    }
    for queue in ["mig.agt.heartbeats", "mig.agt.results"] {
        assert_eq!((scheduler.declare(queue), scheduler.bind(queue, "mig", queue)), (Ok(()), Ok(())));
        assert_eq!(scheduler.get(queue), Ok(()));
    }
    assert_eq!(scheduler.declare("migevent.dead"), Ok(()));
    assert_eq!(scheduler.bind("migevent.dead", "migevent", "dead.#"), Ok(()));
    assert_eq!(scheduler.publish("mig", OWN), Ok(()));
    assert_eq!(scheduler.publish("migevent", "agent.new"), Ok(()));
    let worker = User::new(broker, "worker");
    assert_eq!(worker.declare("migevent.worker.agent-verif"), Ok(()));
    assert_eq!(worker.bind("migevent.worker.agent-verif", "migevent", "agent.new"), Ok(()));
    assert_eq!(worker.get("migevent.worker.agent-verif"), Ok(()));
    let agent = User::new(broker, "agent");
    for queue in [OWN, OTHER] {
        assert_eq!((agent.declare(queue), agent.bind(queue, "mig", queue), agent.get(queue)), (Ok(()), Ok(()), Ok(())));
    }
    for key in ["mig.agt.heartbeats", "mig.agt.results"] {
        assert_eq!(agent.publish("mig", key), Ok(()));
    }
}

/// What no agent can do, with topic permissions or without.
fn check_what_agents_never_can(agent: &User) {
    assert_eq!(agent.publish("migevent", "agent.new"), REFUSED);
    assert_eq!(agent.publish("", OTHER), REFUSED);
    for queue in ["mig.agt.heartbeats", "mig.agt.results", "migevent.dead", "mig.agt.plan9.x", "other"] {
        assert_eq!(agent.declare(queue), REFUSED, "{queue}");
        assert_eq!(agent.get(queue), REFUSED, "{queue}");
        assert_eq!(agent.bind(queue, "mig", "mig.agt.x"), REFUSED, "{queue}");
    }
    for exchange in ["mig", "migevent", "other"] {
        assert_eq!(agent.exchange(exchange, ExchangeKind::Topic), REFUSED, "{exchange}");
    }
    let mut dead = FieldTable::default();
    dead.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("migevent".into()));
    assert_eq!(agent.declare_with("mig.agt.linux.dead", dead), REFUSED);
}

/// The holes of the original's permissions; SECURITY.md names them.
fn check_what_permissions_alone_leave_open(agent: &User) {
    assert_eq!(agent.publish("mig", OTHER), Ok(()), "a command for another agent");
    assert_eq!(agent.bind(OWN, "mig", "mig.agt.#"), Ok(()), "everybody's commands");
    assert_eq!(agent.bind(OWN, "mig", "mig.agt.heartbeats"), Ok(()), "everybody's heartbeats");
    assert_eq!(agent.get(OTHER), Ok(()), "another agent's commands, for who knows the name");
}

/// What topic permissions close for the common user, and what they cannot.
fn check_strict(agent: &User) {
    assert_eq!(agent.publish("mig", OTHER), REFUSED);
    for key in ["mig.agt.#", "mig.agt.linux.*.*", "mig.agt.linux.#", "#", "mig.agt.heartbeats", "mig.agt.results"] {
        assert_eq!(agent.bind(OWN, "mig", key), REFUSED, "{key}");
        assert_eq!(agent.exchange("mig.agt.linux.exchange", ExchangeKind::Fanout), Ok(()));
        assert_eq!(agent.exchange_bind("mig.agt.linux.exchange", "mig", key), REFUSED, "{key}");
    }
    // Who knows the name: the broker cannot tell one agent of a common user from another.
    assert_eq!(agent.get(OTHER), Ok(()));
    assert_eq!(agent.bind(OTHER, "mig.agt.linux.exchange", ""), Ok(()));
}

/// An agent with a user of its own cannot use another one's queue even when it knows the name.
fn check_alone(broker: &Broker) {
    let (alone, own) = (User::new(broker, ALONE), format!("mig.agt.{ALONE}"));
    assert_eq!((alone.declare(&own), alone.bind(&own, "mig", &own), alone.get(&own)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(alone.publish("mig", "mig.agt.results"), Ok(()));
    check_what_agents_never_can(&alone);
    assert_eq!(alone.get(OTHER), REFUSED);
    assert_eq!(alone.publish("mig", OTHER), REFUSED);
    assert_eq!(alone.bind(&own, "mig", OTHER), REFUSED);
    assert_eq!(alone.bind(&own, "mig", "mig.agt.#"), REFUSED);
    assert_eq!(alone.declare(OTHER), REFUSED);
    assert_eq!(alone.exchange(&own, ExchangeKind::Fanout), Ok(()));
    assert_eq!(alone.bind(OTHER, &own, ""), REFUSED);
    assert_eq!(User::new(broker, "agent").declare("mig.agt.linux.own.58b3mndjmbb00"), Ok(()));
}

/// Topic permissions look at the key of a message; its headers CC and BCC name further keys, which RabbitMQ looks at since
/// 4.1 only (rabbitmq-server #12553).
fn check_copies(broker: &Broker, version: &str) {
    let copies = FieldArray::from(vec![AMQPValue::LongString(OTHER.into())]);
    let mut headers = FieldTable::default();
    headers.insert("CC".into(), AMQPValue::FieldArray(copies));
    let properties = BasicProperties::default().with_headers(headers);
    let expected = if version.starts_with("3.") { Ok(()) } else { REFUSED };
    assert_eq!(User::new(broker, ALONE).publish_with("mig", "mig.agt.results", properties), expected);
}

#[test]
fn users_can_do_what_their_programs_need_and_agents_little_else() {
    let broker = Broker::start("");
    let changes = broker.setup(&["--delete-guest"]);
    assert!(
        changes.contains(&"created user scheduler".into()) && changes.contains(&"deleted user guest".into()),
        "{changes:?}"
    );
    assert_eq!(broker.setup(&["--delete-guest"]), Vec::<String>::new(), "a second time");

    let mode = std::fs::metadata(broker.path("passwords")).unwrap().permissions().mode();
    let passwords = broker.passwords();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(passwords.keys().collect::<Vec<_>>(), ["admin", "agent", "api", "scheduler", "worker"]);
    assert!(passwords.values().all(|password| password.len() == SECRET_BYTES), "{passwords:?}");
    let users = ["admin\t[administrator]", "agent\t[]", "api\t[]", "scheduler\t[]", "worker\t[]"];
    assert_eq!(broker.list(&["list_users"]), users);
    // The lines of the original's documentation.
    let scheduler = r"^mig(|event(|\..*)|\.(agt\.(events|heartbeats|results)))$";
    let agent = r"^mig(|\.agt\.(linux|windows|darwin)\..*)$";
    let expected = [
        "admin\t.*\t.*\t.*".to_owned(),
        format!("agent\t{}\t{agent}\t{agent}", r"^mig\.agt\.(linux|windows|darwin)\..*$"),
        r"api	^migevent\..*$	^migevent(|\..*)$	^migevent(|\..*)$".to_owned(),
        format!("scheduler\t{}\t{scheduler}\t{scheduler}", r"^mig(|(event|\.agt)(|\..*))$"),
        r"worker	^migevent\..*$	^migevent(|\..*)$	^migevent(|\..*)$".to_owned(),
    ];
    assert_eq!(broker.list(&["list_permissions", "-p", "mig"]), expected);

    declare_everything(&broker);
    let agent = User::new(&broker, "agent");
    check_what_agents_never_can(&agent);
    check_what_permissions_alone_leave_open(&agent);

    let changes = broker.setup(&["--strict", "--agent", ALONE, "--policy", "quorum"]);
    assert!(changes.contains(&"set the topic permissions of agent".into()), "{changes:?}");
    assert_eq!(broker.setup(&["--strict", "--agent", ALONE, "--policy", "quorum"]), Vec::<String>::new());
    declare_everything(&broker);
    check_what_agents_never_can(&agent);
    check_strict(&agent);
    check_alone(&broker);
    check_copies(
        &broker,
        &servers::script("servers.sh", &["rabbitmq", "ctl", broker.path("").to_str().unwrap(), "version"]),
    );
    assert_eq!(broker.list(&["list_policies", "-p", "mig"]).len(), 2);

    let changes = broker.setup(&["--policy", "mirror"]);
    let expected = [
        "removed the topic permissions of agent",
        "set the policy mig-mirror-all",
        "removed the policy mig-quorum",
        "removed the policy mig-dead",
    ];
    assert_eq!(changes, expected);
    let policies = broker.list(&["list_policies", "-p", "mig"]);
    assert_eq!(policies, ["mig\tmig-mirror-all\t^mig\\.\tqueues\t{\"ha-mode\":\"all\"}\t0"]);
    assert_eq!(broker.passwords().len(), passwords.len() + 1);
    assert!(passwords.iter().all(|(user, password)| broker.passwords()[user] == *password), "passwords are kept");

    let output = broker.run("delete-queues.sh", &[]);
    assert_eq!(output.status.code(), Some(1), "nobody said yes");
    let queues = broker.list(&["list_queues", "-p", "mig", "name"]);
    assert!(queues.contains(&OWN.to_owned()), "{queues:?}");
    let output = broker.run("delete-queues.sh", &["--yes"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains(OTHER), "{output:?}");
    assert_eq!(broker.list(&["list_queues", "-p", "mig", "name"]), Vec::<String>::new());
    let output = broker.run("delete-queues.sh", &["--yes"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"mig has no queues of MIG\n"[..]));
}

/// Connects with openssl(1), says AMQP's greeting, and returns what came back.
fn greet(directory: &Path, port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-quiet",
        "-verify_return_error",
        "-CAfile",
        "cacert.pem",
        "-verify_hostname",
        "localhost",
    ]);
    command.args(["-connect", &format!("127.0.0.1:{port}")]).args(arguments).current_dir(directory);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A client that was refused is gone already.
    let _ = stdin.write_all(b"AMQP\0\0\x09\x01");
    // The broker waits ten seconds for the login, then it ends the connection.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_sample_configuration_refuses_clients_without_certificate_and_old_tls() {
    let certificates = tempfile::tempdir().unwrap();
    let (ours, foreign) = (certificates.path().join("our certs"), certificates.path().join("foreign"));
    let make = |directory: &Path| servers::script("make-certs.sh", &[directory.to_str().unwrap()]);
    assert_eq!(make(&ours).lines().count(), 4);
    assert_eq!(make(&ours), "", "a second time");
    make(&foreign);
    for key in ["ca-key.pem", "server-key.pem", "agent-amqps-key.pem", "scheduler-amqps-key.pem"] {
        assert_eq!(std::fs::metadata(ours.join(key)).unwrap().permissions().mode() & 0o7777, 0o600, "{key}");
        assert!(std::fs::read_to_string(ours.join(key)).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    }
    for name in ["cacert.pem", "agent-amqps.pem", "agent-amqps-key.pem"] {
        std::fs::copy(foreign.join(name), ours.join(format!("foreign-{name}"))).unwrap();
    }
    let broker = Broker::start(&servers::sample_configuration(&ours));
    let port = servers::port(broker.0.path(), "tls-port");

    let agent = ["-cert", "agent-amqps.pem", "-key", "agent-amqps-key.pem"];
    let scheduler = ["-cert", "scheduler-amqps.pem", "-key", "scheduler-amqps-key.pem"];
    let stranger = ["-cert", "foreign-agent-amqps.pem", "-key", "foreign-agent-amqps-key.pem"];
    // Clients refuse old versions too, unless an option allows them.
    let old = ["-cipher", "DEFAULT@SECLEVEL=0"];
    let weak = ["-cipher", "ECDHE-ECDSA-AES128-SHA"];
    for (what, arguments, expected) in [
        ("an agent, TLS 1.3", [&["-tls1_3"][..], &agent].concat(), "RabbitMQ"),
        ("the scheduler, TLS 1.2", [&["-tls1_2"][..], &scheduler].concat(), "RabbitMQ"),
        ("no certificate, TLS 1.3", vec!["-tls1_3"], "alert certificate required"),
        ("no certificate, TLS 1.2", vec!["-tls1_2"], "alert handshake failure"),
        ("a certificate of another authority", [&["-tls1_2"][..], &stranger].concat(), "alert unknown ca"),
        ("TLS 1.1", [&["-tls1_1"][..], &agent, &old].concat(), "alert protocol version"),
        ("TLS 1.0", [&["-tls1"][..], &agent, &old].concat(), "alert protocol version"),
        ("a CBC suite", [&["-tls1_2"][..], &agent, &weak].concat(), "alert insufficient security"),
    ] {
        let heard = greet(&ours, port, &arguments);
        assert!(heard.contains(expected), "{what}: {heard}");
        assert_eq!(heard.contains("RabbitMQ"), expected == "RabbitMQ", "{what}: {heard}");
    }
}

#[test]
fn policies_of_others_that_lose_or_refuse_messages_are_named() {
    let broker = Broker::start("");
    broker.setup(&[]);
    let warnings = || {
        let output = broker.run("setup-rabbitmq.sh", &["--passwords", broker.path("passwords").to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), Vec::<String>::new());
    let set = |command: &str, name: &str, pattern: &str, definition: &str| {
        servers::rabbitmqctl(broker.0.path(), &[command, "-p", "mig", name, pattern, definition]);
    };
    set("set_policy", "all", ".*", r#"{"max-length":10,"message-ttl":60000}"#);
    set("set_policy", "full", r"^mig\.agt\.results$", r#"{"max-length-bytes":1000,"overflow":"reject-publish"}"#);
    set("set_policy", "others", "^(?!mig)", r#"{"max-length":10}"#);
    set("set_policy", "harmless", ".*", r#"{"ha-mode":"all"}"#);
    set("set_operator_policy", "site", r"^mig\.agt\.linux\.", r#"{"expires":3600000}"#);
    let found = warnings();
    let expected = [
        "policy all, with the pattern .*, applies to mig.agt.results: max-length 10 discards the oldest messages",
        "policy all, with the pattern .*, applies to mig.agt.results: message-ttl 60000 discards messages after",
        "policy full, with the pattern ^mig\\.agt\\.results$, applies to mig.agt.results: max-length-bytes 1000 refuses messages",
        "operator policy site, with the pattern ^mig\\.agt\\.linux\\., applies to mig.agt.linux.host",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for text in expected {
        assert!(found.iter().any(|line| line.contains(text)), "{text}: {found:?}");
    }
}
