//! Sockets, pings and clocks.

use super::{limited, run};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};

/// Nothing that was asked for is unseen. Some machines have processes that not even root may look into.
fn assert_is_whole(result: &Value) {
    assert_eq!((&result["success"], result["statistics"].get("partial")), (&json!(true), None), "{result}");
    for error in result["errors"].as_array().into_iter().flatten() {
        assert!(error.as_str().unwrap().starts_with("processes of sockets are incomplete: "), "{error}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A network namespace, and a process in it.
struct Namespace(Child);

impl Namespace {
    /// One with its own addresses, neighbours and listening socket on a port. Root only.
    fn new() -> Namespace {
        let script =
            "set -e; ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip -6 addr add 2001:db8::1/128 dev lo nodad
            ip link add v0 type veth peer name v1; ip link set v0 address 02:00:00:00:00:01; ip link set v0 up
            ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent
            ip -6 neigh add 2001:db8::9 lladdr 02:00:00:00:00:0a dev v0 nud permanent
            echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range
            exec perl -MIO::Socket::INET -e '
                $s = IO::Socket::INET->new(Listen => 1, LocalAddr => \"192.0.2.1\", LocalPort => 4444) or die;
                $| = 1; print \"ready\\n\"; <STDIN>'";
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).expect("it is set up");
        Namespace(child)
    }

    /// A program in it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--net=/proc/{}/ns/net", self.0.id()), program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn netstat_finds_sockets_and_their_process_confined() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let port = address.port().to_string();
    let result = limited("netstat", &json!({"listeningport": [port], "connectedip": ["127.0.0.0/8"]}));
    assert_is_whole(&result);
    let listening = &result["elements"]["listeningport"][&port][0];
    let is_ours = |process: &&Value| process["pid"] == std::process::id();
    let holder = listening["processes"].as_array().unwrap().iter().find(is_ours).unwrap();
    assert_eq!(holder["exe"], json!(std::env::current_exe().unwrap()), "{listening}");
    let connected = result["elements"]["connectedip"]["127.0.0.0/8"].as_array().unwrap();
    let local = stream.local_addr().unwrap().port();
    let ours = connected.iter().find(|found| found["localport"] == local && found["remoteport"] == address.port());
    assert_eq!(ours.unwrap()["state"], "ESTABLISHED");
}

#[test]
fn netstat_sees_what_a_namespace_has() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new();
    let wanted = json!({
        "localmac": ["^02:00:00:00:00:01$"], "localip": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"],
        "neighbormac": ["^02:00:00:00:00:0A$"], "neighborip": ["192.0.2.9"], "listeningport": ["4444"],
    });
    // From inside, the kernel is asked.
    let inside = run(namespace.command(env!("CARGO_BIN_EXE_mig-agent")), "netstat", &wanted);
    assert_is_whole(&inside);
    let mut expected = json!({
        "localmac": {"^02:00:00:00:00:01$": [{"localmacaddr": "02:00:00:00:00:01", "interface": "v0"}]},
        "localip": {
            "192.0.2.0/24": [{"localaddr": "192.0.2.1"}], "2001:db8::/32": [{"localaddr": "2001:db8::1"}],
            "198.51.100.0/24": [],
        },
        "neighbormac": {"^02:00:00:00:00:0A$": [{"remotemacaddr": "02:00:00:00:00:0a", "remoteaddr": "2001:db8::9"}]},
        "neighborip": {"192.0.2.9": [{"remotemacaddr": "02:00:00:00:00:09", "remoteaddr": "192.0.2.9"}]},
        "listeningport": {"4444": [{
            "localaddr": "192.0.2.1", "localport": 4444, "protocol": "tcp",
            "processes": [{"pid": namespace.0.id(), "name": "perl", "exe": "/usr/bin/perl"}],
        }]},
    });
    assert_eq!(inside["elements"], expected);
    // From outside, one process of it is read, and what that does not show is named.
    let mut wanted = wanted;
    wanted["namespaces"] = json!(true);
    let outside = limited("netstat", &wanted);
    let name = std::fs::read_link(format!("/proc/{}/ns/net", namespace.0.id())).unwrap();
    expected["localip"]["192.0.2.0/24"][0]["namespace"] = json!(name);
    expected["localip"]["2001:db8::/32"][0]["namespace"] = json!(name);
    expected["neighborip"]["192.0.2.9"][0]["namespace"] = json!(name);
    expected["listeningport"]["4444"][0]["namespace"] = json!(name);
    // Those of another test's namespace are the same.
    let of_this = |list: &Value| -> Value {
        list.as_array().unwrap().iter().filter(|found| found["namespace"] == json!(name)).cloned().collect()
    };
    for (field, value) in [
        ("localip", "192.0.2.0/24"),
        ("localip", "2001:db8::/32"),
        ("neighborip", "192.0.2.9"),
        ("listeningport", "4444"),
    ] {
        let found = of_this(&outside["elements"][field][value]);
        assert_eq!(found, expected[field][value], "{field} {value}: {outside}");
    }
    assert_eq!((&outside["success"], &outside["statistics"]["partial"]), (&json!(true), &json!(true)));
    for (field, said) in [("localmac", "MACs of interfaces of "), ("neighbormac", "neighbours of IPv6 of ")] {
        assert_eq!(outside["elements"].get(field), None, "not: there is none");
        let errors = outside["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error.as_str().unwrap().starts_with(said)), "{said}: {errors:?}");
    }
}

#[test]
fn ping_reaches_this_machine_confined() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let result =
        limited("ping", &json!({"destination": "::1", "protocol": "tcp", "destinationport": port, "count": 1}));
    assert_eq!((&result["success"], &result["foundanything"]), (&json!(true), &json!(true)), "{result}");
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let parameters = json!({"destination": "localhost", "protocol": "udp", "destinationport": closed, "count": 1});
    let result = limited("ping", &parameters);
    assert_eq!((&result["success"], &result["elements"]["latencies"]), (&json!(true), &json!([-1.0])), "{result}");
    if !is_root() {
        return;
    }
    // With the kernel's sockets for echo requests, and with raw ones.
    let namespace = Namespace::new();
    for address in ["127.0.0.1", "::1"] {
        let parameters = json!({"destination": address, "protocol": "icmp", "count": 2, "timeout": 10});
        let inside = run(namespace.command(env!("CARGO_BIN_EXE_mig-agent")), "ping", &parameters);
        for result in [inside, limited("ping", &parameters)] {
            assert_eq!((&result["success"], &result["foundanything"]), (&json!(true), &json!(true)), "{result}");
            let latencies = result["elements"]["latencies"].as_array().unwrap();
            assert!(latencies.len() == 2 && latencies.iter().all(|latency| latency.as_f64().unwrap() < 10_000.0));
        }
    }
    // What no route leads to.
    let parameters = json!({"destination": "198.51.100.1", "protocol": "icmp", "count": 1, "timeout": 10});
    let result = run(namespace.command(env!("CARGO_BIN_EXE_mig-agent")), "ping", &parameters);
    assert_eq!(result["foundanything"], false, "{result}");
}

#[test]
fn timedrift_asks_a_server_confined() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = server.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let mut question = [0; 48];
        let (_, peer) = server.recv_from(&mut question).unwrap();
        // The time of the question is that of the answer too.
        let mut answer = [0; 48];
        (answer[0], answer[1]) = (0x24, 1);
        for start in [24, 32, 40] {
            answer[start..start + 8].copy_from_slice(&question[40..48]);
        }
        server.send_to(&answer, peer).unwrap();
    });
    let result = limited("timedrift", &json!({"drift": "1m", "servers": [name]}));
    assert_eq!((&result["success"], &result["elements"]["iswithindrift"]), (&json!(true), &json!(true)), "{result}");
    answering.join().unwrap();
    let result = limited("timedrift", &json!({}));
    assert_eq!((&result["success"], &result["errors"]), (&json!(true), &json!(null)), "{result}");
    // As the original's command line, it needs no parameters.
    for (program, words) in [
        (env!("CARGO_BIN_EXE_mig-agent"), &["-m", "timedrift"][..]),
        (env!("CARGO_BIN_EXE_mig"), &["timedrift", "-t", "local"]),
    ] {
        let output = Command::new(program).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("local time is 20"), "{output:?}");
    }
}
