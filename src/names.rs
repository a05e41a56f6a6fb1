//! Names of hosts to addresses, in time.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Instant;

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
