//! Names of hosts to addresses, in time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Instant;

/// Bytes of a name in the domain name system.
pub const NAME_BYTES_MAX: usize = 253;

/// Any address and port of this machine from which another one may be reached: what a socket of UDP is bound to.
pub fn unspecified(other: SocketAddr) -> SocketAddr {
    match other {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Whether a text can be the name of a machine.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.starts_with('-') && text.chars().all(is_of_name)
}

/// The addresses of a host. The system's resolver has no time limit: it is asked in a thread that ends by itself.
pub fn addresses(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (found, is_found) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let ask = move || drop(found.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    std::thread::Builder::new().name("resolver".into()).spawn(ask).map_err(|e| e.to_string())?;
    match is_found.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(addresses) => addresses.map_err(|e| e.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}
