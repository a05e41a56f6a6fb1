//! Agents that reach their broker through a real proxy only.

use crate::common::score::Score;
use crate::common::servers::{self, Broker, Own};
use crate::common::tinyproxy::{Tinyproxy, cannot_be_behind};
use crate::common::{Background, Sandbox};
use std::process::Command;

const PASSWORD: &str = "s3cret-of-the-tests";

fn start(sandbox: &Sandbox, command: Command) -> Background {
    Background::start(command, sandbox.path("agent-1.log"))
}

/// Waits until the store knows that the agent uses this proxy, and an action is answered through it.
fn uses(sandbox: &Sandbox, proxy: &Tinyproxy, action: &str) {
    sandbox.wait(&format!("registered through {}", proxy.place()), |sandbox| {
        let environment = sandbox.stored_environment();
        environment["isproxied"] == true && environment["proxy"] == proxy.place()
    });
    let done = sandbox.names("command/done").len();
    sandbox.drop_action(action);
    sandbox.wait("answered", |sandbox| sandbox.names("command/done").len() > done);
    assert!(!sandbox.agent_log().contains(PASSWORD), "{}", sandbox.agent_log());
}

#[test]
fn an_agent_reaches_its_relay_through_a_proxy_and_says_which_is_in_use() {
    if let Some(why) = cannot_be_behind() {
        return Score::begin("proxies").skip(&why);
    }
    let certificates = tempfile::tempdir().unwrap();
    servers::script("make-certs.sh", &[certificates.path().to_str().unwrap()]);
    let own = Own::broker(&servers::sample_configuration(certificates.path()));
    let ports = ["port", "tls-port"].map(|file| format!("ConnectPort {}\n", servers::port(own.path(), file))).concat();
    let guarded = format!("{ports}BasicAuth agent {PASSWORD}\n");
    let refusing = Tinyproxy::start("ConnectPort 1\n");
    let broker = || Broker::at(own.path().to_owned(), "classic");

    // In plain text: the environment's proxy refuses, the first of the list is used, and when that ends, the second.
    let sandbox = Sandbox::new().with_broker(&broker());
    let scheduler = sandbox.start_scheduler();
    let (first, second) = (Tinyproxy::start(&guarded), Tinyproxy::start(&ports));
    let list = format!("http://agent:{PASSWORD}@{}, {}", first.place(), second.place());
    let mut command = sandbox.agent_behind(&format!("proxies = \"{list}\""));
    command.env("HTTP_PROXY", refusing.place());
    let agent = start(&sandbox, command);
    uses(&sandbox, &first, "first.json");
    first.process.kill();
    uses(&sandbox, &second, "second.json");
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));

    // By TLS, which is verified with the broker's name: the environment's proxy for it.
    let sandbox = Sandbox::new().with_broker(&broker().with_certificates(certificates.path()));
    let scheduler = sandbox.start_scheduler();
    let secure = Tinyproxy::start(&guarded);
    let mut command = sandbox.agent_behind("");
    command.env("HTTPS_PROXY", format!("http://agent:{PASSWORD}@{}", secure.place()));
    command.env("HTTP_PROXY", refusing.place());
    let agent = start(&sandbox, command);
    uses(&sandbox, &secure, "secure.json");
    assert_eq!(agent.terminate(), Some(0));

    // What does not work is named with its cure.
    let secret = format!("http://agent:wrong-{PASSWORD}@{}", secure.place());
    let lines = format!("proxies = \"{}, {}, {secret}\"", refusing.place(), secure.place());
    std::fs::remove_file(sandbox.path("agent-1.log")).unwrap();
    let agent = start(&sandbox, sandbox.agent_behind(&lines));
    let port = servers::port(own.path(), "tls-port");
    let refused = format!("{} (agent.proxies): it answers 403", refusing.place());
    let rules = format!("its rules must permit CONNECT to port {port}");
    let wants = format!("it wants a user and a password: write http://user:password@{} into", secure.place());
    let wrong = "it does not accept the user and the password in agent.proxies";
    sandbox.wait("told why", |sandbox| {
        let log = sandbox.agent_log();
        [&refused, &rules, &wants, wrong, "directly: 127.9.9.9:"].iter().all(|words| log.contains(*words))
    });
    assert!(!sandbox.agent_log().contains(PASSWORD), "{}", sandbox.agent_log());
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}
