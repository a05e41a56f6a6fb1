//! What an agent tells of its machine in a heartbeat. It is found out now and then, not for each heartbeat.

use super::machine;
use super::os::{confine, facts};
use super::public_ip::PublicIp;
use crate::limits;
use crate::wake::Waker;
use if_addrs::{IfAddr, Interface};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// Addresses of the machine with their prefix lengths, loopback excepted: `192.0.2.2/24`, `fd00::2/64`. Those that are
/// valid on one link only, of which a host of containers has thousands, come last.
fn addresses() -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut interfaces: Vec<Interface> = interfaces.into_iter().filter(|one| !one.is_loopback()).collect();
    interfaces.sort_by_key(Interface::is_link_local);
    let text = |interface: Interface| match interface.addr {
        IfAddr::V4(v4) => format!("{}/{}", v4.ip, v4.prefixlen),
        IfAddr::V6(v6) => format!("{}/{}", v6.ip, v6.prefixlen),
    };
    interfaces.into_iter().map(text).collect()
}

/// See the module docs.
pub struct Environment {
    collect: fn() -> Map<String, Value>,
    every: Duration,
    collected: Option<Instant>,
    public_ip: Option<PublicIp>,
    facts: Map<String, Value>,
}

impl Environment {
    /// Collects every so often, and has the API asked if that is wanted.
    pub fn new(every: Duration, public_ip: Option<PublicIp>) -> Environment {
        Environment { collect, every, collected: None, public_ip, facts: Map::new() }
    }

    /// Collects if it is time to. Whether something differs from before.
    pub fn refresh(&mut self) -> bool {
        let is_old = self.collected.is_none_or(|collected| collected.elapsed() >= self.every);
        let mut facts = if is_old { (self.collect)() } else { self.facts.clone() };
        if is_old {
            self.collected = Some(Instant::now());
        }
        if let Some(address) = self.public_ip.as_mut().and_then(PublicIp::known) {
            facts.insert("publicip".into(), address.to_string().into());
        }
        let is_changed = facts != self.facts;
        self.facts = facts;
        is_changed
    }

    /// When it will be time to.
    pub fn left(&self) -> Duration {
        self.collected.map_or(Duration::ZERO, |collected| self.every.saturating_sub(collected.elapsed()))
    }

    /// Has the API asked for the public address, if it is time to.
    pub fn ask_public_ip(&mut self, proxy: Option<&str>, waker: Option<&Waker>) {
        if let Some(public_ip) = &mut self.public_ip {
            public_ip.ask(proxy.map(str::to_owned), waker.cloned());
        }
    }

    /// The `environment` object of an agent that reaches its relay through this proxy.
    pub fn object(&self, proxy: Option<&str>) -> Map<String, Value> {
        let mut object = self.facts.clone();
        object.insert("isproxied".into(), proxy.is_some().into());
        object.extend(proxy.map(|proxy| ("proxy".into(), proxy.into())));
        object
    }
}

/// What the machine says.
pub fn collect() -> Map<String, Value> {
    let mut environment = Map::new();
    environment.insert("init".into(), facts::init().into());
    environment.insert("ident".into(), facts::identification().into());
    environment.insert("os".into(), facts::NAME.into());
    environment.insert("arch".into(), facts::architecture().into());
    environment.insert("confinement".into(), confine::facts());
    environment.extend(machine::running().map(|machine| ("machine".into(), machine.into())));
    add_addresses(&mut environment, addresses());
    environment
}

/// Adds as many as fit into a heartbeat, and how many are left out.
fn add_addresses(environment: &mut Map<String, Value>, mut addresses: Vec<String>) {
    let left_out = addresses.len().saturating_sub(limits::AGENT_ADDRESSES_MAX);
    addresses.truncate(limits::AGENT_ADDRESSES_MAX);
    environment.insert("addresses".into(), addresses.into());
    if left_out > 0 {
        environment.insert("addressesleftout".into(), left_out.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn addresses_are_those_of_the_kernel_with_their_prefix_lengths() {
        let kernel = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let of_line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, prefix] = [words[0], words[2]].map(|word| u128::from_str_radix(word, 16).unwrap());
            (Ipv6Addr::from(address), prefix)
        };
        let expected = kernel.lines().map(of_line).filter(|(address, _)| !address.is_loopback());
        let mut expected: Vec<String> = expected.map(|(address, prefix)| format!("{address}/{prefix}")).collect();
        let mut found = super::addresses();
        assert!(!found.iter().any(|address| address.starts_with("127.")), "{found:?}");
        found.retain(|address| address.contains(':'));
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    #[test]
    fn a_machine_with_thousands_of_addresses_fits_into_a_heartbeat() {
        let mut environment = collect();
        assert!(environment.get("machine").is_some_and(Value::is_string), "{environment:?}");
        let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128";
        add_addresses(&mut environment, vec![long.into(); 2000]);
        let left_out = 2000 - limits::AGENT_ADDRESSES_MAX;
        assert_eq!(environment["addressesleftout"], left_out);
        let size_bytes = serde_json::to_vec(&environment).unwrap().len();
        assert!(size_bytes < limits::HEARTBEAT_SIZE_BYTES_MAX as usize / 2, "{size_bytes}");
        add_addresses(&mut environment, vec![long.into()]);
        assert_eq!(environment["addresses"], serde_json::json!([long]));
    }

    #[test]
    fn the_machine_is_looked_at_now_and_then_and_a_change_is_seen() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COLLECTED: AtomicU32 = AtomicU32::new(0);
        // Each second time something is new.
        let collect = || Map::from_iter([("n".into(), (COLLECTED.fetch_add(1, Ordering::Relaxed) / 2).into())]);
        let long = Duration::from_secs(3600);
        let mut rarely = Environment { collect, ..Environment::new(long, None) };
        assert_eq!([rarely.refresh(), rarely.refresh(), rarely.refresh()], [true, false, false]);
        assert_eq!(COLLECTED.load(Ordering::Relaxed), 1);
        assert!(rarely.left() > Duration::from_secs(3500));
        assert_eq!(Value::from(rarely.object(None)), serde_json::json!({"n": 0, "isproxied": false}));
        let proxied = serde_json::json!({"n": 0, "isproxied": true, "proxy": "p:3128"});
        assert_eq!(Value::from(rarely.object(Some("p:3128"))), proxied);
        let mut often = Environment { every: Duration::ZERO, ..rarely };
        assert_eq!([often.refresh(), often.refresh(), often.refresh()], [false, true, false]);
    }
}
