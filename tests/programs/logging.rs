//! Where log lines go: the real scheduler, and real sockets and files at the other end.

use crate::common::{Background, PATIENCE, Sandbox};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Has the scheduler of this sandbox log in another way.
fn log_to(sandbox: &Sandbox, keys: &str) {
    let configuration = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
    std::fs::write(sandbox.scheduler_cfg(), configuration.replace("[logging]", &format!("[logging]\n{keys}"))).unwrap();
}

/// Has the scheduler say something about a file: a warning, whose name has what would end a line.
fn provoke(sandbox: &Sandbox, name: &str) {
    sandbox.drop_bytes(&format!("{name}\n<131>forged \u{1b}[2J.json"), b"{}");
}

/// A line as syslog gets it: facility local3 (19 * 8) and the level, time, then `rest`.
fn check(line: &str, level: u32, host: bool, rest: &str) {
    let after = line.strip_prefix(&format!("<{}>", 19 * 8 + level));
    let after = after.unwrap_or_else(|| panic!("not of level {level}: {line}"));
    // Nov 22 21:15:25
    assert!(after.as_bytes()[3] == b' ' && after.as_bytes()[9] == b':' && after.as_bytes()[15] == b' ', "{line}");
    let nodename = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let program = after[16..].strip_prefix(&if host { format!("{nodename} ") } else { String::new() });
    let program = program.unwrap_or_else(|| panic!("host: {line}"));
    assert!(program.starts_with("mig-scheduler["), "{line}");
    assert!(program.split_once("]: ").unwrap().1.contains(rest), "{line}");
    assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
}

fn datagram(receive: impl FnOnce(&mut [u8]) -> std::io::Result<usize>) -> String {
    let mut buffer = vec![0; 65536];
    let length = receive(&mut buffer).expect("a line in time");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Waits for a line with this text among those that `next` returns.
fn wait_for(text: &str, mut next: impl FnMut() -> String) -> String {
    let started = Instant::now();
    loop {
        let line = next();
        if line.contains(text) {
            return line;
        }
        assert!(started.elapsed() < PATIENCE, "no line with {text}");
    }
}

#[test]
fn syslog_over_udp_gets_one_datagram_per_line() {
    let (sandbox, server) = (Sandbox::new(), UdpSocket::bind("127.0.0.1:0").unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = server.local_addr().unwrap().port();
    log_to(&sandbox, &format!("mode = syslog\nhost = 127.0.0.1\nport = {port}\nprotocol = udp"));
    let program = sandbox.start_scheduler();
    let mut next = || datagram(|buffer| server.recv(buffer));
    check(&wait_for("works on", &mut next), 6, true, "- - - [info] mig-scheduler ");
    provoke(&sandbox, "udp");
    check(&wait_for("forged", &mut next), 4, true, "- - - [warning] ");
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn the_local_socket_gets_its_lines_also_after_it_was_made_anew() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("dev-log");
    // There is no listener yet: the program works all the same.
    log_to(&sandbox, &format!("mode = syslog\nsocket = \"{}\"", path.display()));
    let program = sandbox.start_scheduler();
    let log = sandbox.path("scheduler.log");
    let started = Instant::now();
    while !std::fs::read_to_string(&log).unwrap().contains("works on") {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    for round in 0..2 {
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let name = format!("unix{round}");
        provoke(&sandbox, &name);
        let mut number = 0;
        let line = wait_for(&name, || {
            number += 1;
            provoke(&sandbox, &format!("{name}-{number}"));
            let mut buffer = vec![0; 65536];
            let length = server.recv(&mut buffer).unwrap_or(0);
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        });
        check(&line, 4, false, "- - - [warning] ");
        drop(server);
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn syslog_over_tcp_is_connected_again_and_says_what_it_missed() {
    let sandbox = Sandbox::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    log_to(&sandbox, &format!("mode = syslog\nhost = 127.0.0.1\nport = {}\nprotocol = tcp", address.port()));
    let program = sandbox.start_scheduler();
    let mut lines = BufReader::new(server.accept().unwrap().0).lines();
    let mut next = || lines.next().unwrap().unwrap();
    check(&wait_for("works on", &mut next), 6, true, "- - - [info] mig-scheduler ");
    provoke(&sandbox, "first");
    check(&wait_for("forged", &mut next), 4, true, "- - - [warning] ");
    // The server ends, and some lines have nowhere to go but standard error; the work goes on.
    drop((lines, server));
    for number in 0..3 {
        provoke(&sandbox, &format!("away{number}"));
    }
    let started = Instant::now();
    while std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap().matches("forged").count() < 3 {
        assert!(started.elapsed() < PATIENCE, "{}", std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    let server = TcpListener::bind(address).unwrap();
    server.set_nonblocking(true).unwrap();
    let mut number = 0;
    let stream = loop {
        if let Ok((stream, _)) = server.accept() {
            break stream;
        }
        assert!(started.elapsed() < PATIENCE, "not connected again");
        number += 1;
        provoke(&sandbox, &format!("back{number}"));
        std::thread::sleep(Duration::from_millis(200));
    };
    stream.set_nonblocking(false).unwrap();
    let mut lines = BufReader::new(stream).lines();
    check(&lines.next().unwrap().unwrap(), 4, true, "- - - [warning] syslog was unavailable; ");
    check(&lines.next().unwrap().unwrap(), 4, true, "back");
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn a_syslog_that_takes_nothing_does_not_stop_the_work() {
    let sandbox = Sandbox::new();
    // Its queue is full after some lines, as there is no reader.
    let server = UnixDatagram::bind(sandbox.path("dev-log")).unwrap();
    log_to(&sandbox, &format!("mode = syslog\nsocket = \"{}\"", sandbox.path("dev-log").display()));
    let program: Background = sandbox.start_scheduler();
    let started = Instant::now();
    for number in 0..600 {
        provoke(&sandbox, &format!("flood{number}"));
    }
    while std::fs::read_dir(sandbox.spool().join("action/new")).unwrap().count() > 0 {
        assert!(started.elapsed() < PATIENCE, "the work stands still");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap().contains("flood"));
    assert_eq!(program.terminate(), Some(0));
    drop(server);
}

#[test]
fn a_log_file_that_is_moved_away_is_made_again() {
    let sandbox = Sandbox::new();
    let (file, moved) = (sandbox.path("mig.log"), sandbox.path("mig.log.1"));
    log_to(&sandbox, &format!("mode = file\nfile = \"{}\"", file.display()));
    let program = sandbox.start_scheduler();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let wait = |path: &std::path::Path, text: &str| {
        let started = Instant::now();
        while !read(path).contains(text) {
            assert!(started.elapsed() < PATIENCE, "no '{text}' in {}: {}", path.display(), read(path));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&file, "works on");
    std::fs::rename(&file, &moved).unwrap();
    provoke(&sandbox, "second");
    wait(&file, "second");
    assert!(read(&moved).contains("works on") && !read(&moved).contains("second"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    // Deleted while it is open, and a directory that is away for a while.
    std::fs::remove_file(&file).unwrap();
    provoke(&sandbox, "third");
    wait(&file, "third");
    assert_eq!(program.terminate(), Some(0));
    wait(&file, "mig-scheduler ends");
    assert!(read(&file).lines().all(|line| line.contains("] ") && !line.contains(char::is_control)));
}
