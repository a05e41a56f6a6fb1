use super::{Ping, run::Outcome};
use crate::modules::{Context, Module, ModuleResult};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

fn ping(parameters: &Value) -> ModuleResult {
    Ping.run(parameters, Context::by_hand())
}

/// A port without a listener.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn tcp_is_answered_or_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let result = ping(&json!({"destination": "localhost", "protocol": "tcp", "destinationport": port, "count": 2}));
    // The name may be an address of IPv6 first, which refuses.
    let host = result.elements["resolvedhost"].as_str().unwrap();
    assert!(host.starts_with(&format!("localhost:{port} (")), "{host}");
    let result = ping(&json!({"destination": "127.0.0.1", "protocol": "tcp", "destinationport": port, "count": 2}));
    assert!(result.success && result.foundanything, "{result:?}");
    assert_eq!(result.elements["latencies"].as_array().unwrap().len(), 2);
    assert!(result.elements["latencies"][0].as_f64().unwrap() > 0.0);
    let lines = Ping.print(&result);
    assert_eq!(lines[0], format!("tcp ping of 127.0.0.1:{port} (127.0.0.1) succeeded. Target is reachable."));
    assert!(lines[1].starts_with("ping #1 succeeded in "), "{lines:?}");
    let result = ping(&json!({"destination": "127.0.0.1", "protocol": "tcp", "destinationport": closed(), "count": 1}));
    assert!(result.success && !result.foundanything, "{result:?}");
    assert_eq!(result.elements["latencies"], json!([-1.0]));
    assert!(
        result.elements["failures"][0].as_str().unwrap().starts_with("ping #1 failed with error: Connection refused")
    );
    assert_eq!(Ping.print(&result)[1], "ping #1 failed, target was unreachable");
}

#[test]
fn udp_is_answered_refused_or_silent() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let parameters = json!({
        "destination": "127.0.0.1", "protocol": "udp", "destinationport": port, "count": 1, "timeout": 0.05,
    });
    let silent = ping(&parameters);
    assert_eq!((silent.foundanything, &silent.elements["latencies"]), (true, &json!([9_999_999.0])), "{silent:?}");
    assert_eq!(Ping.print(&silent)[1], "ping #1 may have succeeded (no udp response)");
    let mut packet = [0; 64];
    let (length, _) = server.recv_from(&mut packet).unwrap();
    assert_eq!(&packet[..length], b"Ping!Ping!Ping!");
    std::thread::spawn(move || {
        let (length, peer) = server.recv_from(&mut packet).unwrap();
        server.send_to(&packet[..length], peer).unwrap();
    });
    let parameters =
        json!({"destination": "127.0.0.1", "protocol": "udp", "destinationport": port, "count": 1, "timeout": 30});
    let answered = ping(&parameters);
    assert!(answered.foundanything && answered.elements["latencies"][0].as_f64().unwrap() < 30_000.0, "{answered:?}");
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = ping(&json!({"destination": "127.0.0.1", "protocol": "udp", "destinationport": free, "count": 1}));
    assert_eq!((refused.foundanything, &refused.elements["latencies"]), (false, &json!([-1.0])), "{refused:?}");
}

#[test]
fn the_time_limit_is_no_silence_of_the_other() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let begun = Instant::now();
    let context = Context { deadline: Some(begun + Duration::from_millis(200)), ..Context::by_hand() };
    let parameters = json!({"destination": "127.0.0.1", "protocol": "udp", "destinationport": port, "count": 3});
    let result = Ping.run(&parameters, context);
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert_eq!((&result.elements["latencies"], result.foundanything), (&json!([]), false), "{result:?}");
    assert_eq!(result.statistics["partial"], json!(true));
    assert_eq!(result.errors.unwrap(), ["partial: stopped at the time limit, after 0 of 3 pings"]);
}

#[test]
fn a_name_without_an_address_is_an_error() {
    let result = ping(&json!({"destination": "none.invalid", "count": 1}));
    assert!(!result.success);
    let said = result.errors.unwrap().remove(0);
    assert!(said.starts_with("destination: the address of none.invalid: "), "{said}");
}

#[test]
fn errors_are_told_apart() {
    for (error, expected) in [
        (Errno::TIMEDOUT, Outcome::TimedOut),
        (Errno::AGAIN, Outcome::TimedOut),
        (Errno::HOSTUNREACH, Outcome::Unreachable(String::new())),
        (Errno::NETUNREACH, Outcome::Unreachable(String::new())),
        (Errno::PERM, Outcome::Failed(String::new())),
    ] {
        let found = Outcome::of(&io::Error::from(error));
        assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&expected), "{error}: {found:?}");
    }
}
