//! The agent's configuration: `/etc/mig/mig-agent.cfg`. `conf/mig-agent.cfg.inc` shows every key.

use super::broker::{self, BrokerConfig, QueueType, RelayConfig};
use super::{ConfigError, Ini, LoggingConfig};
use crate::limits;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The agent's settings.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// `agent.relay`: `dir:///path`, or `amqps://user:password@host:port/vhost` with `[certs]`.
    pub relay: RelayConfig,
    /// `agent.keyring`: public keys of investigators.
    pub keyring: PathBuf,
    /// `agent.acl`: which investigators may run which modules.
    pub acl: PathBuf,
    /// `agent.rundir`: the agent's spool and its id.
    pub run_directory: PathBuf,
    /// `agent.heartbeatfreq`
    pub heartbeat_freq: Duration,
    /// `agent.moduletimeout`
    pub module_timeout: Duration,
    /// `agent.socket`: address of the stat socket, on this machine only; None if empty.
    pub socket: Option<SocketAddr>,
    /// `agent.tags`: `key=value` pairs, separated by commas.
    pub tags: Vec<(String, String)>,
    /// `[logging]`
    pub logging: LoggingConfig,
}

const SECTIONS: [&str; 3] = ["agent", "certs", "logging"];

impl AgentConfig {
    /// Reads and checks the file. Changes nothing.
    pub fn read(path: &Path) -> Result<AgentConfig, ConfigError> {
        AgentConfig::from_ini(Ini::read(path)?)
    }

    /// Checks the text of `file`.
    pub fn parse(text: &str, file: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::from_ini(Ini::parse(text, file)?)
    }

    fn from_ini(mut ini: Ini) -> Result<AgentConfig, ConfigError> {
        const SECTION: &str = "agent";
        take_originals(&mut ini)?;
        let tls = broker::take_tls(&mut ini, "certs", ["ca", "cert", "key"])?;
        let queue_type = ini.take(SECTION, "queuetype", QueueType::Classic, broker::parse_queue_type)?;
        let relay = ini.take(SECTION, "relay", None, |value| match value.strip_prefix("dir://") {
            Some(path) if path.starts_with('/') => Ok(Some(RelayConfig::Directory(PathBuf::from(path)))),
            _ if value.starts_with("amqp") => {
                let broker = BrokerConfig::parse_url(value, tls.clone(), queue_type);
                let refused =
                    |e| format!("is not a broker such as amqps://agent:password@relay.example.net:5671/mig: {e}");
                broker.map(|broker| Some(RelayConfig::Broker(broker))).map_err(refused)
            }
            _ => Err(
                "is not a relay such as dir:///var/lib/mig/relay or amqps://agent:password@relay.example.net:5671/mig"
                    .into(),
            ),
        })?;
        if matches!(relay, Some(RelayConfig::Broker(_))) {
            ini.check_private(SECTION, "relay")?;
        }
        let config = AgentConfig {
            relay: relay.ok_or_else(|| ini.error(None, SECTION, "relay", "is missing"))?,
            keyring: ini.path_required(SECTION, "keyring")?,
            acl: ini.path_required(SECTION, "acl")?,
            run_directory: ini.path(SECTION, "rundir")?.unwrap_or_else(|| PathBuf::from("/var/lib/mig-agent")),
            heartbeat_freq: ini.duration(SECTION, "heartbeatfreq", Duration::from_secs(300))?,
            module_timeout: ini.duration(SECTION, "moduletimeout", Duration::from_secs(300))?,
            socket: ini.take(SECTION, "socket", None, parse_socket)?,
            tags: ini.take(SECTION, "tags", Vec::new(), parse_tags)?,
            logging: LoggingConfig::take(&mut ini)?,
        };
        ini.finish(&SECTIONS)?;
        Ok(config)
    }
}

/// Takes the keys of the original's configuration that this agent ignores, and warns if they request something.
fn take_originals(ini: &mut Ini) -> Result<(), ConfigError> {
    const SECTION: &str = "agent";
    // systemd restarts the agent and starts it at boot.
    ini.boolean(SECTION, "isimmortal", true)?;
    ini.boolean(SECTION, "installservice", false)?;
    if ini.boolean(SECTION, "checkin", false)? {
        log::warn!("agent.checkin is ignored: mig-agent --once registers, handles the waiting commands, and exits");
    }
    if ini.boolean(SECTION, "discoverpublicip", false)? {
        log::warn!("agent.discoverpublicip is ignored: heartbeats have no publicip");
    }
    // The original needs it for the public address only.
    ini.text(SECTION, "api", "").map(drop)
}

fn parse_socket(value: &str) -> Result<Option<SocketAddr>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let local = value.replacen("localhost:", "127.0.0.1:", 1);
    match local.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        Ok(_) => Err(format!("'{value}' is not on this machine: the stat socket has no authentication")),
        Err(_) => Err(format!("'{value}' is not an address such as 127.0.0.1:51664")),
    }
}

fn parse_tags(value: &str) -> Result<Vec<(String, String)>, String> {
    let max = limits::AGENT_TAGS_BYTES_MAX;
    if value.len() > max {
        return Err(format!("has {} bytes, the limit is {max}: they are in each heartbeat", value.len()));
    }
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let split = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("'{pair}' is not a tag such as operator=infra")),
    };
    pairs.map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::parse(text, "a.cfg")
    }

    const LEAST: &str = "[agent]\nrelay=\"dir:///r\"\nkeyring=/k\nacl=/a\n";

    #[test]
    fn the_sample_file_and_the_least_file_are_valid() {
        parse(include_str!("../../conf/mig-agent.cfg.inc")).unwrap();
        let config = parse(LEAST).unwrap();
        assert_eq!((config.relay, config.socket), (RelayConfig::Directory("/r".into()), None));
        assert_eq!(config.module_timeout, Duration::from_secs(300));
    }

    #[test]
    fn a_configuration_of_the_original_needs_a_keyring_and_an_access_list_only() {
        let text = "; Sample MIG Agent configuration file\n[agent]\n    relay            = \"amqp://guest:guest@localhost:5672/\"\n\
            api              = \"http://localhost:12345/api/v1/\"\n    socket           = \"127.0.0.1:51664\"\n\
            heartbeatfreq    = \"300s\"\n    moduletimeout    = \"300s\"\n    isimmortal       = on\n\
            installservice   = on\n    discoverpublicip = off\n    checkin = off\n[certs]\n    ca  = \"/path/to/ca/cert\"\n\
            cert= \"/path/to/client/cert\"\n    key = \"/path/to/private/key\"\n[logging]\n\
            mode    = \"stdout\" ; stdout | file | syslog\n    level   = \"notice\"\n";
        assert_eq!(parse(text).unwrap_err().to_string(), "a.cfg: agent.keyring: is missing");
        let config = parse(&text.replace("[agent]\n", "[agent]\nkeyring = /k\nacl = /a\n")).unwrap();
        let RelayConfig::Broker(broker) = config.relay else { panic!("{:?}", config.relay) };
        assert_eq!((broker.host.as_str(), broker.vhost.as_str(), broker.tls), ("localhost", "/", None));
        assert_eq!(config.socket, Some("127.0.0.1:51664".parse().unwrap()));
        assert_eq!(config.logging.level, log::LevelFilter::Info);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (add, error) in [
            ("socket = 0.0.0.0:51664", "a.cfg:5: agent.socket: '0.0.0.0:51664' is not on this machine"),
            ("socket = nowhere", "a.cfg:5: agent.socket: 'nowhere' is not an address"),
            (&format!("tags = x={}", "y".repeat(9000)), "a.cfg:5: agent.tags: has 9002 bytes, the limit is 8192"),
            ("tags = x", "a.cfg:5: agent.tags: 'x' is not a tag"),
            ("isimmortal = often", "a.cfg:5: agent.isimmortal: 'often' is neither"),
            ("colour = red", "a.cfg:5: agent.colour: unknown key"),
        ] {
            let found = parse(&format!("{LEAST}{add}\n")).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        let broker = parse("[agent]\nrelay = amqp://x\n").unwrap_err().to_string();
        assert!(broker.ends_with("relay.example.net:5671/mig: it has no user:password@"), "{broker}");
    }
}
