//! What an agent tells of its machine in a heartbeat.

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
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses = Vec::new();
    for interface in interfaces {
        let (Some(address), Some(mask)) = (interface.address, interface.netmask) else { continue };
        let found = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => {
                mask.as_sockaddr_in().map(|mask| (std::net::IpAddr::V4(v4.ip()), u32::from(mask.ip()).count_ones()))
            }
            (_, Some(v6)) => {
                mask.as_sockaddr_in6().map(|mask| (std::net::IpAddr::V6(v6.ip()), u128::from(mask.ip()).count_ones()))
            }
            _ => None,
        };
        addresses.extend(found.filter(|(ip, _)| !ip.is_loopback()).map(|(ip, prefix)| format!("{ip}/{prefix}")));
    }
    addresses
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
