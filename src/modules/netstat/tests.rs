use super::facts::{Fact, Protocol, Socket};
use super::files::{NetFiles, Table};
use super::namespaces::{self, Thread};
use super::{Netstat, holders, kernel, print};
use crate::modules::processes::Processes;
use crate::modules::{Context, Module, ModuleResult};
use rustix::thread::{UnshareFlags, gettid};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

/// What the kernel answers.
fn asked(table: Table) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut each = |fact| {
        facts.push(fact);
        true
    };
    kernel::read(table, &mut each).unwrap();
    facts
}

/// What its texts say.
fn read(table: Table) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut each = |fact| {
        facts.push(fact);
        true
    };
    let process = Processes::open().unwrap().process(std::process::id().cast_signed()).unwrap();
    NetFiles::open(&process, table, || Ok(())).unwrap().read(&mut each).unwrap();
    facts
}

fn run(parameters: &Value) -> ModuleResult {
    let result = Netstat.run(parameters, Context::by_hand());
    assert!(result.success, "{result:?}");
    result
}

/// Sockets of this process, each of another kind.
struct Sockets {
    listening: TcpListener,
    listening_v6: TcpListener,
    streams: Vec<TcpStream>,
    bound: UdpSocket,
    connected: UdpSocket,
}

impl Sockets {
    fn open() -> Sockets {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening_v6 = TcpListener::bind("[::1]:0").unwrap();
        let port = listening.local_addr().unwrap().port();
        let addresses: [SocketAddr; 3] = [
            listening.local_addr().unwrap(),
            listening_v6.local_addr().unwrap(),
            // A socket of IPv6 with a connection of IPv4.
            format!("[::ffff:127.0.0.1]:{port}").parse().unwrap(),
        ];
        let streams = addresses.iter().map(|address| TcpStream::connect(address).unwrap()).collect();
        let bound = UdpSocket::bind("[::]:0").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(("127.0.0.1", bound.local_addr().unwrap().port())).unwrap();
        Sockets { listening, listening_v6, streams, bound, connected }
    }

    /// Both ends of each, as they are to be found.
    fn expected(&self) -> Vec<(Protocol, SocketAddr, SocketAddr, &'static str)> {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let none: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let none_v6: SocketAddr = "[::]:0".parse().unwrap();
        let mut found = vec![
            (Protocol::Tcp, self.listening.local_addr().unwrap(), none, "LISTEN"),
            (Protocol::Tcp, self.listening_v6.local_addr().unwrap(), none_v6, "LISTEN"),
            (Protocol::Udp, self.bound.local_addr().unwrap(), none_v6, "CLOSE"),
            (Protocol::Udp, self.connected.local_addr().unwrap(), self.connected.peer_addr().unwrap(), "ESTABLISHED"),
        ];
        for stream in &self.streams {
            let (local, peer) = (plain(stream.local_addr().unwrap()), plain(stream.peer_addr().unwrap()));
            found.push((Protocol::Tcp, local, peer, "ESTABLISHED"));
        }
        found
    }
}

#[test]
fn the_kernel_and_its_texts_say_the_same_of_sockets() {
    let sockets = Sockets::open();
    let (asked, read) = (asked(Table::Sockets), read(Table::Sockets));
    for (protocol, local, remote, state) in sockets.expected() {
        let of = |facts: &[Fact]| {
            let is_it = |fact: &&Fact| {
                matches!(fact, Fact::Socket(socket)
                    if (socket.protocol, socket.local, socket.remote) == (protocol, local, remote))
            };
            facts.iter().filter(is_it).cloned().collect::<Vec<_>>()
        };
        let [Fact::Socket(socket)] = &of(&asked)[..] else { panic!("{local} {remote}: {:?}", of(&asked)) };
        assert_eq!(of(&asked), of(&read), "{local} {remote}");
        assert_eq!((socket.state_name(), socket.inode > 0), (state, true), "{local} {remote}");
    }
}

#[test]
fn the_kernel_and_its_texts_say_the_same_of_addresses_and_neighbours() {
    let is_same = |table, is_in_text: fn(&Fact) -> bool| {
        let sorted = |mut facts: Vec<Fact>| {
            facts.sort_by_key(|fact| format!("{fact:?}"));
            facts
        };
        let asked = sorted(asked(table).into_iter().filter(is_in_text).collect());
        (asked == sorted(read(table)), asked)
    };
    // Other tests may change what there is between two looks.
    for (table, is_in_text) in [
        (Table::Addresses, (|_| true) as fn(&Fact) -> bool),
        (Table::Neighbours, |fact| matches!(fact, Fact::Neighbour { address, .. } if address.is_ipv4())),
    ] {
        let mut tried = (0..10).map(|_| is_same(table, is_in_text));
        assert!(tried.any(|(is_same, _)| is_same), "{table:?}: {:?} {:?}", asked(table), read(table));
    }
    assert!(asked(Table::Addresses).contains(&Fact::Address("127.0.0.1".parse().unwrap())));
}

#[test]
fn sockets_are_found_with_their_processes() {
    let sockets = Sockets::open();
    let port = |address: SocketAddr| address.port().to_string();
    let [tcp, udp] = [sockets.listening.local_addr(), sockets.bound.local_addr()].map(|address| port(address.unwrap()));
    let nothing = sockets.connected.local_addr().unwrap().port().to_string();
    let result = run(&json!({
        "listeningport": [tcp, udp, nothing], "connectedip": ["127.0.0.0/8", "::1", "203.0.113.0/24"],
    }));
    let own = std::env::current_exe().unwrap();
    let listening = &result.elements["listeningport"];
    let [element] = &listening[&tcp].as_array().unwrap()[..] else { panic!("{listening}") };
    assert_eq!((&element["localaddr"], &element["protocol"]), (&json!("127.0.0.1"), &json!("tcp")));
    assert_eq!((port_of(element, "localport"), element.get("remoteaddr")), (tcp.clone(), None));
    // A child that a test is starting has the socket too, until its program runs.
    let holders = element["processes"].as_array().unwrap();
    let holder = holders.iter().find(|holder| holder["pid"] == std::process::id()).unwrap();
    assert_eq!(holder["exe"], json!(own));
    assert_eq!(listening[&udp][0]["protocol"], json!("udp"));
    assert_eq!(listening[&nothing], json!([]), "a connected socket of UDP does not listen");
    let connected = &result.elements["connectedip"];
    assert_eq!(connected["203.0.113.0/24"], json!([]));
    let has = |list: &Value, local: SocketAddr, remote: SocketAddr| {
        list.as_array().unwrap().iter().any(|found| {
            (port_of(found, "localport"), port_of(found, "remoteport")) == (port(local), port(remote))
                && found["state"] == "ESTABLISHED"
        })
    };
    for (protocol, local, remote, state) in sockets.expected().into_iter().filter(|expected| expected.3 != "LISTEN") {
        let list = if remote.is_ipv4() { &connected["127.0.0.0/8"] } else { &connected["::1"] };
        assert_eq!(has(list, local, remote), state == "ESTABLISHED", "{protocol:?} {local} {remote}");
    }
    assert_eq!((result.foundanything, result.statistics.get("partial")), (true, None), "{:?}", result.errors);
    let lines = Netstat.print(&result);
    let line = format!("found listening port {tcp} for netstat listeningport:'{tcp}' process:[{} ", std::process::id());
    assert!(lines.iter().any(|found| found.starts_with(&line)), "{line}: {lines:?}");
    assert!(lines.contains(&format!("did not find anything for netstat listeningport:'{nothing}'")), "{lines:?}");
}

/// A thread that has made what belongs to the others of its process its own, and then a listening socket. `look` gets the port and
/// the thread's id.
fn apart(flags: UnshareFlags, look: impl FnOnce(u16, i32)) {
    let (tell_port, port) = mpsc::channel();
    let (looked, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            #[expect(deprecated, reason = "its successor is unsafe: this thread uses no descriptor of another")]
            let is_apart = rustix::thread::unshare(flags).is_ok();
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            let own = (listener.local_addr().unwrap().port(), gettid().as_raw_nonzero().get());
            tell_port.send(is_apart.then_some(own)).unwrap();
            let _ = wait.recv();
        });
        // Without root it cannot be.
        if let Some((port, id)) = port.recv().unwrap() {
            look(port, id);
        }
        drop(looked);
    });
}

#[test]
fn the_namespace_of_a_thread_is_seen() {
    apart(UnshareFlags::NEWNET, |port, _| {
        let result = run(&json!({"listeningport": [port.to_string()], "namespaces": true}));
        let found = result.elements["listeningport"][port.to_string()].as_array().unwrap();
        let is_apart = |element: &&Value| element["namespace"].as_str().unwrap().starts_with("net:[");
        let element = found.iter().find(is_apart).unwrap_or_else(|| panic!("{result:?}"));
        assert_eq!(element["processes"][0]["pid"], std::process::id(), "{element}");
    });
}

#[test]
fn a_thread_that_has_moved_is_not_taken_for_its_namespace() {
    apart(UnshareFlags::NEWNET, |_, id| {
        let processes = Processes::open().unwrap();
        let pid = std::process::id().cast_signed();
        let [moved, there] = [gettid().as_raw_nonzero().get(), id].map(|id| Thread { pid, id });
        let other = processes.process(pid).unwrap().thread(id).unwrap().link("ns/net").unwrap();
        let open = |threads: &[Thread]| namespaces::open(&processes, other.to_str().unwrap(), threads, Table::Sockets);
        let error = open(&[moved]).err().unwrap().to_string();
        assert_eq!(error, "a thread of it is in another one now");
        assert!(open(&[moved, there]).unwrap().is_some());
    });
}

#[test]
fn the_process_of_a_socket_is_found_by_any_of_its_threads() {
    let holder = |port: u16| {
        let result = run(&json!({"listeningport": [port.to_string()]}));
        result.elements["listeningport"][port.to_string()][0]["processes"][0].clone()
    };
    apart(UnshareFlags::FILES, |port, _| assert_eq!(holder(port)["pid"], std::process::id()));

    // Its first thread ends.
    let exit = if cfg!(target_arch = "x86_64") { 60 } else { 93 };
    let script = format!(
        "$s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die; $| = 1; print $s->sockport, qq(\n);
        threads->create(sub {{ sleep 60 }}); syscall({exit}, 0)"
    );
    let mut command = Command::new("perl");
    let mut child =
        command.args(["-Mthreads", "-MIO::Socket::INET", "-e", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
    let processes = Processes::open().unwrap();
    let state = || processes.process(child.id().cast_signed()).unwrap().stat().unwrap().state;
    while state() != 'Z' {
        std::thread::yield_now();
    }
    let found = holder(port.trim().parse().unwrap());
    child.kill().and_then(|()| child.wait()).unwrap();
    let (exe, name) = (found["exe"].as_str().unwrap(), &found["name"]);
    assert_eq!((&found["pid"], name, exe.contains("perl")), (&json!(child.id()), &json!("perl"), true), "{found}");
}

#[test]
fn a_socket_without_a_process_is_said() {
    let found = holders::find(&[u64::MAX].into(), None);
    assert!(found.of.is_empty());
    assert!(found.doubts.iter().any(|doubt| doubt.starts_with("processes of sockets are incomplete: ")), "{found:?}");
}

fn port_of(element: &Value, name: &str) -> String {
    element[name].to_string()
}

#[test]
fn macs_of_interfaces_are_found_in_any_case() {
    let mac_of = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("address")).ok();
    let macs = std::fs::read_dir("/sys/class/net").unwrap().flatten().filter_map(mac_of);
    for mac in macs.map(|mac| mac.trim().to_owned()).filter(|mac| mac.contains(|digit| !matches!(digit, '0' | ':'))) {
        let result = run(&json!({"localmac": [format!("^{}$", mac.to_uppercase()), "^none"]}));
        let found = &result.elements["localmac"];
        assert_eq!(found[format!("^{}$", mac.to_uppercase())][0]["localmacaddr"], json!(mac), "{found}");
        assert_eq!(found["^none"], json!([]));
    }
}

#[test]
fn what_was_found_until_the_time_limit_is_returned() {
    let late = Context { deadline: Some(Instant::now()), ..Context::by_hand() };
    let result = Netstat.run(&json!({"localip": ["127.0.0.1", "192.0.2.77"]}), late);
    assert_eq!(result.statistics["partial"], json!(true));
    assert!(result.errors.unwrap()[0].starts_with("partial: stopped at the time limit"));
    assert_eq!(result.elements["localip"].get("192.0.2.77"), None, "not: there is none");
    let found = &result.elements["localip"]["127.0.0.1"];
    assert_eq!(found, &json!([{"localaddr": "127.0.0.1"}]));
}

#[test]
fn a_result_is_printed_as_the_original_does() {
    // As an agent of the original writes it.
    let result = ModuleResult {
        foundanything: true,
        success: true,
        elements: json!({
            "localmac": {"^0": [{"localmacaddr": "02:fc:00:00:00:01"}]},
            "neighborip": {"10.0.0.1": [{"remotemacaddr": "02:00:00:00:00:01", "remoteaddr": "10.0.0.1", "namespace": "net:[7]"}]},
            "connectedip": {"10.0.0.0/8": [{"localaddr": "10.0.0.2", "localport": 40000.0, "remoteaddr": "10.0.0.9\u{1b}",
                "remoteport": 443.0, "namespace": "default"}], "::1": null},
        }),
        statistics: json!({"examined": 12.0, "totalhits": 2, "exectime": "1ms"}),
        errors: Some(vec!["x".into()]),
    };
    assert_eq!(
        print::lines(&result),
        [
            "found local mac 02:fc:00:00:00:01 for netstat localmac:'^0'",
            "found neighbor IP 10.0.0.1 02:00:00:00:00:01 for netstat neighborIP:'10.0.0.1' namespace:[net:[7]]",
            "found connected tuple 10.0.0.9\\u{1b}:443 with local tuple 10.0.0.2:40000 for netstat connectedip:'10.0.0.0/8'",
            "did not find anything for netstat connectedip:'::1'",
            "error: x",
            "Statistics: total hits 2 examined 12 items exectime 1ms",
        ]
    );
}

#[test]
fn states_have_names_and_an_unknown_one_is_no_panic() {
    let local: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let socket = |state| Socket { protocol: Protocol::Tcp, local, remote: local, state, inode: 1 };
    assert_eq!(
        [1, 10, 0, 255].map(|state| socket(state).state_name()),
        ["ESTABLISHED", "LISTEN", "UNKNOWN", "UNKNOWN"]
    );
    assert!(socket(10).is_listening() && !socket(10).is_connected() && socket(6).is_connected());
}

#[test]
fn operations_of_the_originals_actions_are_answered() {
    let mut tried = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/actions")).unwrap() {
        let action: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        for operation in action["operations"].as_array().into_iter().flatten() {
            let Some(name @ ("netstat" | "connected")) = operation["module"].as_str() else { continue };
            let module = crate::modules::by_name(name).unwrap();
            let parameters = &operation["parameters"];
            assert_eq!(module.validate(parameters), Ok(Vec::new()), "{parameters}");
            let result = module.run(parameters, Context::by_hand());
            assert!(result.success && result.statistics.get("partial").is_none(), "{parameters}: {:?}", result.errors);
            tried += 1;
        }
    }
    assert!(tried >= 5, "{tried}");
}

#[test]
fn an_answer_of_the_original_is_printed_as_its_client_did() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    let messages = std::fs::read_to_string(format!("{samples}/amqp.jsonl")).unwrap();
    let bodies = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter_map(|message| {
        (message["key"] == "mig.agt.results").then(|| serde_json::from_str(message["body"].as_str()?).ok())?
    });
    let is_netstat = |body: &Value| body["action"]["operations"][0]["module"] == "netstat";
    let answer = bodies.into_iter().find(is_netstat).unwrap();
    let result: ModuleResult = serde_json::from_value(answer["results"][0].clone()).unwrap();
    let printed = std::fs::read_to_string(format!("{samples}/mig-client-netstat.txt")).unwrap();
    let expected: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("vm found ")).collect();
    let lines = Netstat.print(&result);
    let found: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("found ")).collect();
    // The sample ends after its first lines.
    assert!(!expected.is_empty() && found.starts_with(&expected), "{found:#?}");
}
