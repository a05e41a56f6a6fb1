//! What an agent tells of its machine in a heartbeat.

use if_addrs::{IfAddr, Interface};
use serde_json::{Map, Value};

/// `amd64`, `arm64`, `386`: the words of the original.
fn architecture() -> &'static str {
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

/// Every address of the machine with its prefix length, loopback excepted: `192.0.2.2/24`, `fd00::2/64`.
fn addresses() -> Vec<String> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let text = |interface: Interface| match interface.addr {
        IfAddr::V4(v4) => format!("{}/{}", v4.ip, v4.prefixlen),
        IfAddr::V6(v6) => format!("{}/{}", v6.ip, v6.prefixlen),
    };
    interfaces.filter(|interface| !interface.is_loopback()).map(text).collect()
}

/// The `environment` object.
pub fn environment() -> Map<String, Value> {
    let mut environment = Map::new();
    environment.insert("init".into(), init().into());
    environment.insert("ident".into(), ident().into());
    environment.insert("os".into(), "linux".into());
    environment.insert("arch".into(), architecture().into());
    environment.insert("isproxied".into(), false.into());
    environment.insert("addresses".into(), addresses().into());
    environment
}

#[cfg(test)]
mod tests {
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
}
