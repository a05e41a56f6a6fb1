//! TCP connections to servers that may be behind a proxy, for AMQP, AMQPS and HTTPS alike.
//!
//! The ways to a host, in the order in which they are tried for each connection:
//!
//! 1. directly;
//! 2. through the proxy that the environment names (`environment`);
//! 3. through the proxies of the configuration, in their order.
//!
//! A way works when what its caller does with the connection does, a TLS handshake for example: behind a firewall that
//! answers for others, the next way is tried. No way is remembered. A proxy is left as soon as a direct connection works
//! again, and the order is the same after a restart.
//!
//! Guarantees: each way ends in time, however slowly or how much a proxy answers (`bounded`, `tunnel`). TLS is the caller's,
//! end to end: a proxy sees the name and the port of the host only. A password of a proxy is in no error.

mod bounded;
mod environment;
mod tunnel;

pub use bounded::Bounded;
pub use environment::Environment;

use crate::config::authority;
use crate::config::proxy::Proxy;
use crate::limits;
use crate::names;
use crate::waiting::waiting_for;
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Where a connection goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Name or address.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Whether it will be spoken TLS with.
    pub is_tls: bool,
}

impl fmt::Display for Target<'_> {
    /// As in the request for a tunnel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(self.host, self.port))
    }
}

/// A way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Without a proxy.
    Direct,
    /// Through this one.
    Proxy {
        /// Which.
        proxy: Proxy,
        /// What names it: a key of the configuration or a variable of the environment.
        named_by: &'static str,
    },
}

impl Way {
    /// The proxy, as heartbeats name it.
    pub fn proxy(&self) -> Option<String> {
        match self {
            Way::Direct => None,
            Way::Proxy { proxy, .. } => Some(proxy.to_string()),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Direct => f.write_str("directly"),
            Way::Proxy { proxy, named_by } => write!(f, "through the proxy {proxy} ({named_by})"),
        }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failed<E> {
    /// The host was not reached: the next way may work.
    Way(String),
    /// The host itself refused: each other way leads to the same.
    Host(E),
}

/// See the module docs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialer {
    environment: Environment,
    proxies: Vec<Proxy>,
    first: Option<String>,
}

impl Dialer {
    /// One that uses no proxy.
    pub fn direct() -> Dialer {
        Dialer { environment: Environment::default(), proxies: Vec::new(), first: None }
    }

    /// One with the proxies of the environment, and these of the configuration.
    pub fn with_proxies(proxies: Vec<Proxy>) -> Dialer {
        Dialer { environment: Environment::here(), proxies, first: None }
    }

    /// The same; tries this proxy (`host:port`) first, if it is one of its own.
    pub fn beginning_with(self, proxy: Option<String>) -> Dialer {
        Dialer { first: proxy, ..self }
    }

    /// The ways to a host, in their order.
    pub fn ways(&self, target: &Target) -> Vec<Way> {
        let mut ways = vec![Way::Direct];
        ways.extend(self.environment.proxy_for(target));
        for proxy in &self.proxies {
            let is_new = |way: &Way| !matches!(way, Way::Proxy { proxy: known, .. } if known == proxy);
            if ways.iter().all(is_new) {
                ways.push(Way::Proxy { proxy: proxy.clone(), named_by: "agent.proxies" });
            }
        }
        // Stable: the others keep their order.
        ways.sort_by_key(|way| self.first.is_none() || way.proxy() != self.first);
        ways
    }

    /// Tries `attempt` over each way until one works; returns what it returned, and the way. It is passed the connection, the
    /// way, and when it has to end. A way that is the only one may take `patience`; none is begun after `until`.
    pub fn connect<T, E>(
        &self,
        target: &Target,
        patience: Duration,
        until: Instant,
        mut attempt: impl FnMut(TcpStream, &Way, Instant) -> Result<T, Failed<E>>,
    ) -> Result<(T, Way), Failed<E>> {
        let ways = self.ways(target);
        let each = if ways.len() == 1 { patience } else { patience.min(limits::DIAL_WAY_TIME_MAX) };
        let mut tried = Vec::new();
        for way in ways {
            let now = Instant::now();
            if now >= until {
                tried.push((way, "not tried, as no time was left".into()));
                continue;
            }
            match try_way(&way, target, until.min(now + each), &mut attempt) {
                Ok(connected) => return Ok((connected, way)),
                Err(Failed::Way(reason)) => tried.push((way, reason)),
                Err(Failed::Host(error)) => return Err(Failed::Host(error)),
            }
        }
        Err(Failed::Way(describe(&tried)))
    }
}

/// Every way, with the reason why it failed.
fn describe(tried: &[(Way, String)]) -> String {
    match tried {
        [(Way::Direct, reason)] => reason.clone(),
        ways => ways.iter().map(|(way, reason)| format!("{way}: {reason}")).collect::<Vec<_>>().join("; "),
    }
}

/// Tries a way until `deadline`.
fn try_way<T, E>(
    way: &Way,
    target: &Target,
    deadline: Instant,
    attempt: &mut impl FnMut(TcpStream, &Way, Instant) -> Result<T, Failed<E>>,
) -> Result<T, Failed<E>> {
    let (host, port) = match way {
        Way::Direct => (target.host, target.port),
        Way::Proxy { proxy, .. } => (proxy.host.as_str(), proxy.port),
    };
    let addresses = waiting_for(format_args!("the address of {host}"), || names::addresses(host, port, deadline));
    let addresses = addresses.map_err(|e| Failed::Way(format!("find the address of {host}: {e}")))?;
    try_addresses(&addresses, way, target, deadline, attempt)
}

/// Tries each address of the host, or of the proxy, until `deadline`. Each may take its share of the time that is left.
fn try_addresses<T, E>(
    addresses: &[SocketAddr],
    way: &Way,
    target: &Target,
    deadline: Instant,
    attempt: &mut impl FnMut(TcpStream, &Way, Instant) -> Result<T, Failed<E>>,
) -> Result<T, Failed<E>> {
    let mut last = Failed::Way("its name has no address".into());
    for (index, address) in addresses.iter().enumerate() {
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun);
        if left.is_zero() {
            break;
        }
        let share = left / (addresses.len() - index) as u32;
        let end = begun + share;
        let opened = waiting_for(format_args!("{address}, to connect to {target} {way}"), || {
            let stream = TcpStream::connect_timeout(address, share)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let opened = opened.map_err(|e: std::io::Error| match e.kind() {
            std::io::ErrorKind::TimedOut => format!("{address}: no answer within {share:.1?}"),
            _ => format!("{address}: {e}"),
        });
        let opened = opened.and_then(|stream| match way {
            Way::Direct => Ok(stream),
            Way::Proxy { proxy, named_by } => {
                waiting_for(format_args!("the proxy {proxy}"), || tunnel::open(stream, proxy, named_by, target, end))
            }
        });
        match opened.map_err(Failed::Way).and_then(|stream| attempt(stream, way, end)) {
            Err(Failed::Way(reason)) => last = Failed::Way(reason),
            outcome => return outcome,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests;
