//! `mig-agent --show-config`: the settings in force and where each comes from, without secrets.

use super::stamp::Stamp;
use crate::config::agent::{self, AgentConfig, Inside};
use crate::config::broker::{BrokerConfig, QueueType, TlsConfig};
use crate::config::proxy::Proxy;
use crate::config::{ConfigError, Ini, Setting, authority};
use crate::signature::Keyring;
use std::fmt::Write;

/// The settings of a stamp and a file, one `name = value` for each, as TOML; comments say where they come from.
/// Those that are not shown have their defaults. An error is one that the agent would end with.
pub fn settings(stamp: Option<&Stamp>, file: Option<Ini>) -> Result<String, ConfigError> {
    AgentConfig::resolve(stamp.map(|stamp| stamp.configuration.as_str()), file.clone())?;
    let mut text = match stamp {
        None => "# nothing is inside this program\n".to_owned(),
        Some(stamp) => match stamp.check_signature(None) {
            Ok(Some(signer)) => format!("# inside since {}, signed by {signer}\n", stamp.time),
            _ => format!("# inside since {}, not signed\n", stamp.time),
        },
    };
    let inside = stamp.map(|stamp| stamp.configuration.as_str());
    for ((section, key), Setting { file, line, name, text: value, .. }) in agent::settings(inside, file)? {
        let _ = writeln!(text, "{name} = {} # {file}:{line}", shown(&section, &key, &value));
    }
    Ok(text)
}

/// A value without secrets.
fn shown(section: &str, key: &str, value: &str) -> String {
    match Inside::of(section, key) {
        Some(Inside::PrivateKey) => return toml_text("(hidden)"),
        Some(Inside::Certificates) => return toml_text(&format!("(PEM, {} bytes)", value.len())),
        Some(Inside::Keys) => return keys(value),
        Some(Inside::Acl) => return on_one_line(value),
        None => {}
    }
    match key {
        "relay" => toml_text(&without_password(value)),
        "proxies" => {
            let proxies = Proxy::parse_list(value).unwrap_or_default();
            let shown = proxies.iter().map(|proxy| match &proxy.user {
                Some(user) => format!("{user}:(hidden)@{proxy}"),
                None => proxy.to_string(),
            });
            format!("[{}]", shown.map(|proxy| toml_text(&proxy)).collect::<Vec<_>>().join(", "))
        }
        _ => toml_text(value),
    }
}

/// Text as TOML, on one line.
fn toml_text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// JSON without its line ends.
fn on_one_line(json: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(json).unwrap_or_default();
    format!("'''{value}'''")
}

/// A broker's URL without its password.
fn without_password(relay: &str) -> String {
    if relay.starts_with("dir://") {
        return relay.to_owned();
    }
    // By the parser that counts, so that no part of a password is taken for something else.
    match BrokerConfig::parse_url(relay, TlsConfig::default(), QueueType::Classic) {
        Ok(BrokerConfig { user, host, port, vhost, tls, .. }) => {
            let scheme = if tls.is_some() { "amqps" } else { "amqp" };
            format!("{scheme}://{user}:(hidden)@{} vhost {vhost}", authority(&host, port))
        }
        Err(_) => "(hidden)".into(),
    }
}

/// Fingerprints and names.
fn keys(text: &str) -> String {
    let keyring = Keyring::parse(text.as_bytes()).unwrap_or_default();
    let key = |key: &crate::investigator::Investigator| toml_text(&format!("{} {}", key.fingerprint, key.name));
    format!("[{}]", keyring.investigators().map(key).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_places_are() {
        let text = "[agent]\nrelay = amqps://agent:tiger@relay.example.net/mig\nkeyring = /k\nacl = /a\n\
            proxies = \"http://me:tiger@p:1, q:2\"\ntags = \"a=\\\"b\"\n[logging]\nlevel = debug\n";
        let shown = settings(None, Some(Ini::parse(text, "/etc/a.cfg").unwrap())).unwrap();
        assert!(!shown.contains("tiger"), "{shown}");
        for line in [
            "# nothing is inside this program",
            "agent.relay = \"amqps://agent:(hidden)@relay.example.net:5671 vhost mig\" # /etc/a.cfg:2",
            "agent.proxies = [\"me:(hidden)@p:1\", \"q:2\"] # /etc/a.cfg:5",
            "agent.tags = \"a=\\\"b\" # /etc/a.cfg:6",
            "logging.level = \"debug\" # /etc/a.cfg:8",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line}: {shown}");
        }
        for relay in ["amqp://u:tiger@:x", "amqps://u:12/tiger@h/v"] {
            assert_eq!(without_password(relay), "(hidden)");
        }
        let broken = Ini::parse(&text.replace("debug", "loud"), "/etc/a.cfg").unwrap();
        assert!(settings(None, Some(broken)).unwrap_err().to_string().starts_with("/etc/a.cfg:8: logging.level"));
    }
}
