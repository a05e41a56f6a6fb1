//! Downloads and the public address, through proxies and past hostile ones.

use crate::common::https::Https;
use crate::common::score::Score;
use crate::common::tinyproxy::{Tinyproxy, cannot_be_behind};
use crate::common::{Background, Sandbox, servers};
use mig::agent::fetch::Fetcher;
use mig::config::Material;
use mig::config::proxy::Proxy;
use mig::modules::network::{Fetch, FetchError, Fetched};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

fn get(fetcher: &Fetcher, url: &str, max: u64) -> (Result<Fetched, FetchError>, Vec<u8>) {
    let mut bytes = Vec::new();
    (fetcher.get(url, max, Instant::now() + Duration::from_secs(60), &mut bytes), bytes)
}

#[test]
fn a_download_over_https_takes_a_real_proxy() {
    if let Err(why) = Command::new("tinyproxy").arg("-v").output() {
        return Score::begin("proxies").skip(&format!("tinyproxy: {why}"));
    }
    let directory = tempfile::tempdir().unwrap();
    let https = Https::start(&directory.path().join("certs"));
    let body = vec![7; 300_000];
    let url = https.offer("file", body.clone());
    let ca = Some(Material::File(https.ca.clone()));
    let direct = Fetcher::new(vec![], ca.clone());
    let (fetched, bytes) = get(&direct, &url, 300_000);
    assert_eq!(fetched, Ok(Fetched { size_bytes: 300_000, url: url.clone(), proxy: None }));
    assert_eq!(bytes, body);
    let (fetched, bytes) = get(&direct, &url, 299_999);
    assert!(matches!(fetched, Err(FetchError::TooLarge { .. })) && bytes.len() <= 299_999, "{fetched:?}");
    let missing = get(&direct, &format!("{}missing", https.base), 9).0.unwrap_err();
    assert!(missing.to_string().ends_with("/missing: the server answers 404"), "{missing}");
    let untrusted = get(&Fetcher::new(vec![], None), &url, 300_000).0.unwrap_err();
    assert!(untrusted.to_string().contains("certs.ca names an authority to trust"), "{untrusted}");

    let tinyproxy = Tinyproxy::start("BasicAuth agent s3cret\n");
    let proxy = Proxy::parse(&format!("http://agent:s3cret@{}", tinyproxy.place())).unwrap();
    let through = Fetcher::new(vec![proxy], ca).beginning_with(Some(tinyproxy.place()));
    let (fetched, bytes) = get(&through, &url, 300_000);
    assert_eq!(fetched.unwrap().proxy, Some(tinyproxy.place()));
    assert_eq!(bytes, body);
    assert!(tinyproxy.log().contains("CONNECT 127.0.0.1:"), "{}", tinyproxy.log());
}

/// A proxy that leads every tunnel to this port; its own.
fn misleading(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (mut from, mut to) in [(&client, &server), (&server, &client)]
                .map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
            {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    own
}

#[test]
fn a_proxy_cannot_pose_as_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let [wanted, other] = ["wanted", "other"].map(|name| Https::start(&directory.path().join(name)));
    for https in [&wanted, &other] {
        https.offer("file", b"bytes".to_vec());
    }
    let port = |https: &Https| https.base.trim_end_matches('/').rsplit_once(':').unwrap().1.parse().unwrap();
    let through = |to: &Https, url: &str| {
        let proxy = format!("127.0.0.1:{}", misleading(port(to)));
        let fetcher = Fetcher::new(vec![Proxy::parse(&proxy).unwrap()], Some(Material::File(wanted.ca.clone())));
        get(&fetcher.beginning_with(Some(proxy)), url, 100)
    };
    // Nothing listens at these ports: only the proxy leads anywhere.
    let (fetched, bytes) = through(&wanted, "https://localhost:1/file");
    assert_eq!((fetched.map(|fetched| fetched.size_bytes), &bytes[..]), (Ok(5), &b"bytes"[..]));
    for (to, url, reason) in [
        (&other, "https://localhost:1/file", "certificate verify failed"),
        (&wanted, "https://127.0.0.2:1/file", "IP address mismatch"),
    ] {
        let (fetched, bytes) = through(to, url);
        let error = fetched.unwrap_err().to_string();
        assert!(error.contains(reason) && bytes.is_empty(), "{url}: {error}");
    }
}

#[test]
fn the_public_address_is_the_one_that_the_api_sees() {
    if let Some(why) = cannot_be_behind() {
        return Score::begin("proxies").skip(&why);
    }
    let sandbox = Sandbox::new();
    let certificates = sandbox.path("certs");
    servers::script("make-certs.sh", &[certificates.to_str().unwrap()]);
    let file = |name: &str| certificates.join(name).display().to_string();
    let scheduler = sandbox.start_scheduler();
    let lines = format!("tlscert = \"{}\"\ntlskey = \"{}\"", file("server.pem"), file("server-key.pem"));
    let api = sandbox.start_api_with(&lines);
    let tinyproxy = Tinyproxy::start(&format!("ConnectPort {}\n", api.port));
    // Only the address is new after the first heartbeat, and it is sent at once.
    let settings = format!(
        "api = \"https://localhost:{}/api/v1/\"\ndiscoverpublicip = on\nproxies = \"{}\"",
        api.port,
        tinyproxy.place()
    );
    let mut command = sandbox.agent_behind(&settings);
    let cfg = sandbox.path("agent-1.cfg");
    let text = std::fs::read_to_string(&cfg).unwrap().replace("heartbeatfreq = \"30s\"", "heartbeatfreq = \"10h\"");
    crate::common::write_private(&cfg, &format!("{text}[certs]\nca = \"{}\"\n", file("cacert.pem")));
    command.env("NO_PROXY", "*");
    let agent = Background::start(command, sandbox.path("agent-1.log"));
    sandbox.wait("told of its address", |sandbox| sandbox.stored_environment()["publicip"] == "127.0.0.1");
    let environment = sandbox.stored_environment();
    assert_eq!(
        (&environment["isproxied"], environment.get("proxy")),
        (&false.into(), None),
        "its relay is a directory"
    );
    assert!(tinyproxy.log().contains(&format!("CONNECT localhost:{}", api.port)), "{}", tinyproxy.log());
    assert_eq!((agent.terminate(), scheduler.terminate()), (Some(0), Some(0)));
}

#[test]
fn an_api_that_hangs_or_lies_delays_no_heartbeat() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, is_asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        asked.send(()).unwrap();
        // It hangs until the other connections are answered.
        let lie = "not-an-address";
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{lie}", lie.len());
            let _ = stream.write_all(answer.as_bytes());
        }
        let _ = stream.read(&mut [0]);
    });
    sandbox.once("heartbeats,results");
    let cfg = sandbox.agent_cfg(1);
    let text = std::fs::read_to_string(&cfg).unwrap().replace("heartbeatfreq = \"30s\"", "heartbeatfreq = \"100ms\"");
    let settings =
        format!("[agent]\napi = \"http://127.0.0.1:{port}\"\ndiscoverpublicip = on\nrefreshenv = \"100ms\"\n");
    crate::common::write_private(cfg.as_ref(), &text.replacen("[agent]\n", &settings, 1));
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
        command.args(["-f", "-c", &cfg]);
        Background::start(command, sandbox.path("agent-1.log"))
    };
    let agent = start();
    is_asked.recv().unwrap();
    let heartbeats = || crate::common::names(&sandbox.path("relay/mig.agt.heartbeats")).len();
    let before = heartbeats();
    sandbox.wait("three more heartbeats", |_| heartbeats() >= before + 3);
    assert_eq!(agent.terminate(), Some(0), "nor its end");
    // The next one receives a lie.
    let agent = start();
    sandbox.wait("logged", |sandbox| {
        sandbox.agent_log().contains("/ip returns no address; is agent.api the API's address?")
    });
    assert_eq!(agent.terminate(), Some(0));
}
