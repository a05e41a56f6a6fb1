//! What an agent tells of its machine in a heartbeat.

use super::machine;
use crate::limits;
use if_addrs::{IfAddr, Interface};
use serde_json::{Map, Value};

/// `amd64`, `arm64`, `386`: the words of the original.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// The distribution: `Debian 12 bookworm`.
fn ident() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let first_word = field("NAME").map(|name| name.split(' ').next().unwrap_or_default().to_owned());
    let parts = [first_word, field("VERSION_ID"), field("VERSION_CODENAME")];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What started the machine's services.
fn init() -> String {
    std::fs::read_to_string("/proc/1/comm").map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

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

/// The `environment` object.
pub fn environment() -> Map<String, Value> {
    let mut environment = Map::new();
    environment.insert("init".into(), init().into());
    environment.insert("ident".into(), ident().into());
    environment.insert("os".into(), "linux".into());
    environment.insert("arch".into(), architecture().into());
    environment.insert("isproxied".into(), false.into());
    environment.insert("confinement".into(), super::os::confine::facts());
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
        let mut environment = environment();
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
}
