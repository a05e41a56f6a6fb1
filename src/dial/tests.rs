use super::*;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
}

fn dialer(variables: &[(&str, &str)], proxies: &str) -> Dialer {
    Dialer { environment: environment(variables), proxies: Proxy::parse_list(proxies).unwrap(), first: None }
}

fn shown(dialer: &Dialer, host: &str, is_tls: bool) -> String {
    let ways = dialer.ways(&Target { host, port: 443, is_tls });
    let short = |way: &Way| way.proxy().unwrap_or_else(|| "direct".into());
    ways.iter().map(short).collect::<Vec<_>>().join(" ")
}

#[test]
fn ways_are_direct_then_the_environments_then_the_configurations() {
    let variables = [("HTTPS_PROXY", "http://u:p@secure:1"), ("HTTP_PROXY", "plain:2")];
    let both = dialer(&variables, "a:3, b:4");
    assert_eq!(shown(&both, "h", true), "direct secure:1 a:3 b:4");
    assert_eq!(shown(&both, "h", false), "direct plain:2 a:3 b:4");
    assert_eq!(shown(&dialer(&variables[1..], ""), "h", true), "direct plain:2", "HTTP_PROXY is for TLS as well");
    assert_eq!(shown(&dialer(&variables[..1], ""), "h", false), "direct", "HTTPS_PROXY is for TLS only");
    assert_eq!(shown(&dialer(&[("http_proxy", "low:5"), ("HTTPS_PROXY", "")], ""), "h", true), "direct low:5");
    assert_eq!(shown(&dialer(&[("HTTP_PROXY", "a:3")], "b:4 a:3"), "h", false), "direct a:3 b:4", "once");
    assert_eq!(shown(&dialer(&[("HTTP_PROXY", "socks5://u:p@x:1")], "b:4"), "h", false), "direct b:4");
    assert_eq!(shown(&both.clone().beginning_with(Some("b:4".into())), "h", true), "b:4 direct secure:1 a:3");
    assert_eq!(shown(&both.beginning_with(Some("x:9".into())), "h", true), "direct secure:1 a:3 b:4");
    assert_eq!(shown(&Dialer::direct(), "h", true), "direct");
}

#[test]
fn hosts_in_no_proxy_need_none() {
    for (exceptions, without, with) in [
        ("*", vec!["h", "192.0.2.1"], vec![]),
        ("example.net", vec!["example.net", "a.example.net", "A.EXAMPLE.NET."], vec!["badexample.net", "example.org"]),
        (".example.net, *.example.org", vec!["a.example.net", "a.example.org"], vec!["example.com"]),
        ("10.0.0.0/8 192.0.2.1", vec!["10.1.2.3", "192.0.2.1"], vec!["11.0.0.1", "ten.example.net"]),
        ("2001:db8::/32,[::1]", vec!["2001:db8::5", "::1"], vec!["2001:db9::1"]),
        ("h:443,g:80", vec!["h"], vec!["g"]),
        (" , .,", vec![], vec!["h"]),
    ] {
        let dialer = dialer(&[("HTTP_PROXY", "p:1"), ("no_proxy", exceptions)], "");
        without.iter().for_each(|host| assert_eq!(shown(&dialer, host, false), "direct", "{exceptions}: {host}"));
        with.iter().for_each(|host| assert_eq!(shown(&dialer, host, false), "direct p:1", "{exceptions}: {host}"));
    }
}

/// A listener that does something with its first connection; its port.
fn once(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    port
}

/// A port of this machine where nothing listens.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Reads a request to its empty line.
fn request(stream: &mut std::net::TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Connects to a closed port through these proxies, and reads what comes to its end.
fn read_through(proxies: &str, patience: Duration) -> Result<(String, Way), String> {
    let target = Target { host: "127.0.0.1", port: closed(), is_tls: false };
    let until = Instant::now() + Duration::from_secs(60);
    let read = |mut stream: TcpStream, _: &Way, _| -> Result<String, Failed<Infallible>> {
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(|e| Failed::Way(e.to_string()))?;
        Ok(text)
    };
    match dialer(&[], proxies).connect(&target, patience, until, read) {
        Ok(found) => Ok(found),
        Err(Failed::Way(reason)) => Err(reason),
        Err(Failed::Host(never)) => match never {},
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn what_follows_a_proxys_answer_is_the_hosts() {
    let (asked, is_asked) = mpsc::channel();
    let port = once(move |mut stream| {
        asked.send(request(&mut stream)).unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello\r\n\r\nHTTP/1.1 ").unwrap();
    });
    let (text, way) = read_through(&format!("http://user:s%3Acret@127.0.0.1:{port}"), LONG).unwrap();
    assert_eq!(text, "hello\r\n\r\nHTTP/1.1 ");
    assert_eq!(way.proxy(), Some(format!("127.0.0.1:{port}")));
    let asked = is_asked.recv().unwrap();
    assert!(asked.starts_with("CONNECT 127.0.0.1:") && asked.contains("\r\nHost: 127.0.0.1:"), "{asked}");
    // printf user:s:cret | base64
    assert!(asked.contains("\r\nProxy-Authorization: Basic dXNlcjpzOmNyZXQ=\r\n"), "{asked}");
}

#[test]
fn a_proxy_that_does_not_work_is_named_with_the_reason_and_the_next_is_tried() {
    let answering = |answer: &'static str| {
        once(move |mut stream| {
            request(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        })
    };
    for (port, reason) in [
        (closed(), "Connection refused"),
        (answering(""), "it closed the connection"),
        (answering("HTTP/1.1 200 OK\r\nVia"), "it closed the connection"),
        (answering("SSH-2.0-OpenSSH_9.2\r\n"), "it does not answer as a proxy"),
        (answering("HTTP/1.1 403 Filtered\x1b[1m\r\n\r\n"), "it does not answer as a proxy"),
        (answering("HTTP/1.1 403 Filtered\r\n\r\n"), "it answers 403 Filtered; its rules must permit CONNECT to port"),
        (answering("HTTP/1.0 407 No\r\n\r\n"), "it does not accept the user and the password in agent.proxies"),
        (answering("HTTP/1.0 401 No\r\n\r\n"), "it does not accept the user and the password in agent.proxies"),
        (answering("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "it answers 502 Bad Gateway; it does not reach the host"),
    ] {
        let bad = format!("http://user:s3cret@127.0.0.1:{port}");
        let last = format!("127.0.0.1:{}", closed());
        let error = read_through(&format!("{bad}, {last}"), LONG).unwrap_err();
        assert!(error.starts_with("directly: 127.0.0.1:"), "{error}");
        let (_, after) = error.split_once(&format!("; through the proxy 127.0.0.1:{port} (agent.proxies): ")).unwrap();
        assert!(after.contains(reason) && !error.contains("s3cret"), "{error}");
        assert!(after.contains(&format!("; through the proxy {last} (agent.proxies): ")), "{error}");
    }
    let bad = answering("HTTP/1.1 403 Filtered\r\n\r\n");
    let good = answering("HTTP/1.1 200 OK\r\n\r\nhello");
    let (text, way) = read_through(&format!("127.0.0.1:{bad}, 127.0.0.1:{good}"), LONG).unwrap();
    assert_eq!((text.as_str(), way.proxy()), ("hello", Some(format!("127.0.0.1:{good}"))));
    let port = answering("HTTP/1.0 407 No\r\n\r\n");
    let error = read_through(&format!("127.0.0.1:{port}"), LONG).unwrap_err();
    assert!(
        error.contains("write http://user:password@127.0.0.1:") && error.ends_with("into agent.proxies"),
        "{error}"
    );
}

#[test]
fn a_proxy_that_hangs_or_answers_for_ever_ends_in_time() {
    // Each is left by its client: a write fails then.
    let silent = || once(|stream| drop((stream.try_clone().map(|mut s| s.read_to_end(&mut Vec::new())), stream)));
    let slow = once(|mut stream| {
        request(&mut stream);
        let answer = b"HTTP/1.1 200 OK\r\n".iter().chain(b"x".iter().cycle());
        for byte in answer {
            thread::sleep(Duration::from_millis(20));
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
        }
    });
    let endless = |text: &'static [u8]| once(move |mut stream| while stream.write_all(text).is_ok() {});
    let short = Duration::from_millis(300);
    for (port, reason) in [
        (silent(), "wait for its answer: no answer in time"),
        (slow, "wait for its answer: no answer in time"),
        (endless(b"garbage "), "its answer has no end within 16384 bytes"),
        (endless(b"garbage\r\n"), "it does not answer as a proxy"),
        (endless(b"HTTP/1.1 200 OK"), "its answer has no end within 16384 bytes"),
    ] {
        let begun = Instant::now();
        let error = read_through(&format!("127.0.0.1:{port}"), short).unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{reason}: {:?}", begun.elapsed());
    }
}

/// Reads what comes until a line ends, or the time of the attempt.
fn line(stream: TcpStream, _: &Way, end: Instant) -> Result<String, Failed<Infallible>> {
    let mut text = String::new();
    let mut bounded = BufReader::new(Bounded::new(stream, end));
    bounded.read_line(&mut text).map(|_| text).map_err(|e| Failed::Way(e.to_string()))
}

/// A listener that opens a tunnel if it is a proxy, says this, and then nothing; its address.
fn saying(is_proxy: bool, text: &'static str) -> SocketAddr {
    let port = once(move |mut stream| {
        if is_proxy {
            request(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        }
        stream.write_all(text.as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_way_that_opens_and_hangs_ends_in_time_and_the_next_one_is_tried() {
    let target = Target { host: "127.0.0.1", port: closed(), is_tls: false };
    let (hanging, good) = (saying(true, ""), saying(true, "hello\n"));
    let dialer = dialer(&[], &format!("{hanging}, {good}"));
    let found = dialer.connect(&target, Duration::from_millis(300), Instant::now() + LONG, line);
    let Ok((text, way)) = found else { panic!("{found:?}") };
    assert_eq!((text.as_str(), way.proxy()), ("hello\n", Some(good.to_string())));
}

#[test]
fn an_address_that_hangs_leaves_time_for_the_hosts_next_one() {
    let target = Target { host: "h", port: 1, is_tls: false };
    let proxy = |address: SocketAddr| Proxy::parse(&address.to_string()).unwrap();
    for is_proxy in [false, true] {
        let addresses = [saying(is_proxy, ""), saying(is_proxy, "hello\n")];
        let proxied = Way::Proxy { proxy: proxy(addresses[0]), named_by: "agent.proxies" };
        let way = if is_proxy { proxied } else { Way::Direct };
        let until = Instant::now() + Duration::from_secs(1);
        let found = try_addresses(&addresses, &way, &target, until, &mut line);
        assert!(matches!(&found, Ok(text) if text == "hello\n"), "{found:?}");
    }
}

#[test]
fn ways_for_which_no_time_was_left_are_named() {
    let target = Target { host: "127.0.0.1", port: closed(), is_tls: false };
    let hanging = saying(true, "");
    let dialer = dialer(&[], &format!("{hanging}, p:1, q:2"));
    let found = dialer.connect(&target, LONG, Instant::now() + Duration::from_millis(300), line);
    let Err(Failed::Way(reason)) = found else { panic!("{found:?}") };
    let untried = ["p:1", "q:2"]
        .map(|place| format!("through the proxy {place} (agent.proxies): not tried, as no time was left"));
    assert!(reason.ends_with(&untried.join("; ")), "{reason}");
}

#[test]
fn a_variable_that_names_no_proxy_is_read_once_and_replaces_no_other() {
    let read = std::cell::RefCell::new(Vec::new());
    let environment = Environment::read(|name| {
        read.borrow_mut().push(name.to_owned());
        (name == "HTTP_PROXY").then(|| "socks5://x:1".to_owned())
    });
    assert_eq!(read.borrow().iter().filter(|name| *name == "HTTP_PROXY").count(), 1, "it would be logged as often");
    assert_eq!(environment, Environment::default());
    let variables = [("HTTPS_PROXY", "socks5://x:1"), ("HTTP_PROXY", "plain:2")];
    assert_eq!(shown(&dialer(&variables, ""), "h", true), "direct", "what is for TLS is wrong, not missing");
}

#[test]
fn a_host_that_refuses_is_not_asked_again_another_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target { host: "127.0.0.1", port: listener.local_addr().unwrap().port(), is_tls: false };
    let mut attempts = 0;
    let refused =
        dialer(&[], "127.0.0.1:9").connect(&target, LONG, Instant::now() + LONG, |_, _, _| -> Result<(), _> {
            attempts += 1;
            Err(Failed::Host("wrong password"))
        });
    assert!(matches!(refused, Err(Failed::Host("wrong password"))));
    assert_eq!(attempts, 1);
}
