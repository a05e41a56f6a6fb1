//! Time servers: which there are, and what they say.

use crate::names;
use rsntp::{Config, SntpClient, SynchronizationError};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Where a machine may have its servers; the first column is the word before a server.
const CONFIGURATIONS: [(&[&str], &str); 5] = [
    (&["server", "pool", "peer"], "/etc/ntp.conf"),
    (&["server", "pool", "peer"], "/etc/ntpsec/ntp.conf"),
    (&["server", "pool", "peer"], "/etc/chrony.conf"),
    (&["server", "pool", "peer"], "/etc/chrony/chrony.conf"),
    (&["NTP", "FallbackNTP"], "/etc/systemd/timesyncd.conf"),
];
/// Bytes of a configuration that are read.
const CONFIGURATION_BYTES_MAX: u64 = 64 << 10;
/// Servers of a machine's configuration.
const OWN_MAX: usize = 8;
/// Those that the original asks where the machine's do not answer.
const PUBLIC: [&str; 5] = ["time.nist.gov", "0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"];
/// The port of NTP.
const PORT: u16 = 123;
/// Addresses of one server that are tried.
const ADDRESSES_MAX: usize = 4;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
}

/// What one says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Seconds by which its clock is before ours.
    pub(super) offset_seconds: f64,
    /// How long the answer took. The offset is right to half of it.
    pub(super) latency: Duration,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Server { host, port } = self;
        match *port {
            PORT => f.write_str(host),
            port => f.write_str(&crate::config::authority(host, port)),
        }
    }
}

impl Server {
    /// Reads `host`, `host:port`, `[address]:port` or an address.
    pub(super) fn parse(text: &str) -> Option<Server> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Server { host: address.to_string(), port: PORT });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Server { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, PORT),
        };
        names::is_name(host).then(|| Server { host: host.to_owned(), port })
    }

    /// Asks it what time it is.
    pub(super) fn ask(&self, timeout: Duration) -> Result<Answer, String> {
        let deadline = Instant::now() + timeout;
        let addresses = names::addresses(&self.host, self.port, deadline)?;
        let mut last = "it has no address".to_owned();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let any = names::unspecified(address);
            let client = SntpClient::with_config(Config::default().bind_address(any).timeout(left));
            let begun = Instant::now();
            match client.synchronize(address) {
                Ok(answer) => {
                    let offset_seconds = answer.clock_offset().as_secs_f64();
                    return Ok(Answer { offset_seconds, latency: begun.elapsed() });
                }
                Err(SynchronizationError::IOError(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    last = format!("no answer within {timeout:.1?}");
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }
}

/// The servers of this machine, and then the public ones.
pub(super) fn default_servers() -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    for (words, path) in CONFIGURATIONS {
        let mut text = String::new();
        let file = File::open(path).and_then(|file| file.take(CONFIGURATION_BYTES_MAX).read_to_string(&mut text));
        if file.is_ok() {
            servers.extend(configured(words, &text));
        }
    }
    servers.truncate(OWN_MAX);
    servers.extend(PUBLIC.iter().filter_map(|name| Server::parse(name)));
    let mut seen = Vec::new();
    servers.retain(|server| {
        let is_new = !seen.contains(server);
        seen.push(server.clone());
        is_new
    });
    servers
}

/// Reads lines such as `server ntp.example.net iburst` or `NTP=a b`.
fn configured(words: &[&str], text: &str) -> Vec<Server> {
    let servers = |line: &str| -> Vec<Server> {
        let line = line.trim();
        match line.split_once(|letter: char| letter == '=' || letter.is_whitespace()) {
            Some((word, rest)) if words.contains(&word.trim()) => {
                let is_list = line.contains('=');
                let names = rest.split_whitespace().take(if is_list { OWN_MAX } else { 1 });
                names.filter_map(Server::parse).filter(|server| !is_clock(server)).collect()
            }
            _ => Vec::new(),
        }
    };
    text.lines().flat_map(servers).collect()
}

/// Whether it is a clock of the machine itself, as ntpd names them.
fn is_clock(server: &Server) -> bool {
    server.host.parse::<Ipv4Addr>().is_ok_and(|address| address.octets().starts_with(&[127, 127]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_people_and_configurations_write_them() {
        for (text, shown) in [
            ("ntp.example.net", "ntp.example.net"),
            ("ntp.example.net:123", "ntp.example.net"),
            ("a:1230", "a:1230"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:124", "192.0.2.1:124"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:124", "[2001:db8::1]:124"),
        ] {
            assert_eq!(Server::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["", "a b", "a:", "a:70000", "-a", "a/b", "[::1", ":123"] {
            assert_eq!(Server::parse(wrong), None, "{wrong}");
        }
        let text =
            "# server x\ndriftfile /d\nserver 127.127.1.0\n\tpool 0.debian.pool.ntp.org iburst\nserver a b\nserver\n";
        let shown = |servers: Vec<Server>| servers.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(configured(CONFIGURATIONS[0].0, text)), ["0.debian.pool.ntp.org", "a"]);
        let text = "[Time]\n#NTP=x\nNTP=a b\nFallbackNTP = c\nPollIntervalMinSec=32\n";
        assert_eq!(shown(configured(CONFIGURATIONS[4].0, text)), ["a", "b", "c"]);
        let servers = default_servers();
        assert!(servers.len() >= PUBLIC.len() && servers.len() <= OWN_MAX + PUBLIC.len());
    }
}
