//! Proxies that the environment names: `HTTPS_PROXY` for TLS, `HTTP_PROXY` for the rest and where there is no `HTTPS_PROXY`;
//! `NO_PROXY` names the hosts that need none. Each may be written in lower case.

use super::{Target, Way};
use crate::config::Network;
use crate::config::proxy::Proxy;
use std::net::IpAddr;
use std::sync::OnceLock;

/// See the module docs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    tls: Option<Way>,
    plain: Option<Way>,
    exceptions: Vec<Exception>,
}

/// What needs no proxy: an element of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// `192.0.2.1`, `10.0.0.0/8`: addresses only, as names are not looked up.
    Network(Network),
    /// `example.net` or `.example.net`: this name and all names below it; perhaps one port of them.
    Name(String, Option<u16>),
}

impl Environment {
    /// That of this process. It is read once.
    pub fn here() -> Environment {
        static HERE: OnceLock<Environment> = OnceLock::new();
        HERE.get_or_init(|| Environment::read(|name| std::env::var(name).ok())).clone()
    }

    /// Reads the variables. One that is no proxy is logged, without its text, which may have a password.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Environment {
        let set = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        // None if neither is set; none inside if it is no proxy.
        let first = |names: [&'static str; 2]| {
            let (named_by, text) = names.into_iter().find_map(|name| Some((name, set(name)?)))?;
            let refused = |reason| log::warn!("{named_by} of the environment {reason}; it is not used");
            Some(Proxy::parse(text.trim()).map_err(refused).ok().map(|proxy| Way::Proxy { proxy, named_by }))
        };
        let (tls, plain) = (first(["HTTPS_PROXY", "https_proxy"]), first(["HTTP_PROXY", "http_proxy"]));
        let exceptions = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
        let exceptions = exceptions.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        Environment {
            tls: tls.or(plain.clone()).flatten(),
            plain: plain.flatten(),
            exceptions: exceptions.map(Exception::parse).collect(),
        }
    }

    /// The way through its proxy, if there is one for this host.
    pub fn proxy_for(&self, target: &Target) -> Option<Way> {
        let way = if target.is_tls { &self.tls } else { &self.plain };
        way.clone().filter(|_| !self.exceptions.iter().any(|exception| exception.matches(target)))
    }
}

impl Exception {
    fn parse(word: &str) -> Exception {
        let bare = word.trim_start_matches('[').trim_end_matches(']');
        if word == "*" {
            return Exception::All;
        }
        if let Ok(network) = Network::parse(bare) {
            return Exception::Network(network);
        }
        let with_port = word.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
        let (name, port) = with_port.map_or((word, None), |(name, port)| (name, Some(port)));
        let name = name.trim_start_matches("*.").trim_matches('.');
        Exception::Name(name.to_ascii_lowercase(), port)
    }

    fn matches(&self, target: &Target) -> bool {
        match self {
            Exception::All => true,
            Exception::Network(network) => target.host.parse::<IpAddr>().is_ok_and(|address| network.contains(address)),
            Exception::Name(name, port) => {
                let host = target.host.trim_end_matches('.').to_ascii_lowercase();
                let is_below = host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                !name.is_empty() && is_below && port.is_none_or(|port| port == target.port)
            }
        }
    }
}
