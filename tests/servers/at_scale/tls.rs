//! The way over AMQPS, with certificates that are good, have run out, or are another host's.

use super::wait;
use crate::common::Sandbox;
use crate::common::servers::{self, Broker, Own};
use std::path::Path;
use std::time::Duration;

/// Actions that are dropped while the broker shows a bad certificate.
const ACTIONS: usize = 10;

/// Makes a certificate for the server's key, for so many days.
fn certificate(directory: &Path, name: &str, address: &str, days: &str) {
    let request = format!("req -new -key server-key.pem -subj /CN=broker -addext subjectAltName=IP:{address}");
    servers::openssl(directory, &format!("{request} -out request.pem"));
    let sign = "x509 -req -in request.pem -CA cacert.pem -CAkey ca-key.pem -CAcreateserial -copy_extensions copy";
    servers::openssl(directory, &format!("{sign} -days {days} -out {name}"));
}

#[test]
fn a_signed_action_is_answered_over_tls_and_certificates_are_checked() {
    let certificates = tempfile::tempdir().unwrap();
    let directory = certificates.path();
    servers::script("make-certs.sh", &[directory.to_str().unwrap()]);
    std::fs::copy(directory.join("server.pem"), directory.join("good.pem")).unwrap();
    certificate(directory, "expired.pem", "127.0.0.1", "0");
    certificate(directory, "foreign.pem", "127.0.0.2", "1");
    let own = Own::broker(&servers::sample_configuration(directory));
    let broker = Broker::at(own.path().to_owned(), "classic").with_certificates(directory);
    let sandbox = Sandbox::new().with_broker(&broker);
    let (scheduler, agent) = (sandbox.start_scheduler(), sandbox.start_agent(1));
    wait("registered", &sandbox, || sandbox.scheduler(&["--explain-target", "all"]).stdout.ends_with(b"1 agents\n"));
    let done = |count: usize| {
        wait("done", &sandbox, || sandbox.names("command/done").len() == count);
    };
    sandbox.drop_action("good.json");
    done(1);

    let serve = |name: &str| {
        own.control("stop");
        std::fs::copy(directory.join(name), directory.join("server.pem")).unwrap();
        own.control("start");
    };
    for (name, told) in [("expired.pem", "certificate has expired"), ("foreign.pem", "IP address mismatch")] {
        serve(name);
        // Each has another worker connect, at the same time as others: an OpenSSL that is built without threads (see
        // .cargo/perl-for-openssl) corrupts the memory then.
        for n in 0..ACTIONS {
            sandbox.drop_action(&format!("{name}.{n}.json"));
            std::thread::sleep(Duration::from_millis(200));
        }
        for log in ["scheduler.log", "agent-1.log"] {
            wait(&format!("told of {name} in {log}"), &sandbox, || {
                std::fs::read_to_string(sandbox.path(log)).unwrap().contains(told)
            });
        }
        assert_eq!(sandbox.names("command/done").len(), 1, "nothing goes to a server like this");
    }
    serve("good.pem");
    done(1 + 2 * ACTIONS);
    assert!(sandbox.commands("command/done").iter().all(|(_, command)| command["status"] == "success"));
    assert_eq!((scheduler.terminate(), agent.terminate()), (Some(0), Some(0)));
}
