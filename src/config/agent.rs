//! The agent's configuration: what is inside the program, and a file, `/etc/mig/mig-agent.cfg`, that replaces parts of it.
//! `conf/mig-agent.cfg.inc` and `conf/mig-agent-conf.toml.inc` show every key.
//!
//! | setting | inside | file | both |
//! |---|---|---|---|
//! | keys of investigators | `publicpgpkeys` | `agent.keyring` | refused |
//! | access list | `agentacl` | `agent.acl` | refused |
//! | proxies | `proxies` | `agent.proxies` | refused |
//! | persistent modules | `persistent` | `[persistent]` | refused |
//! | certificates | `cacert`, `agentcert`, `agentkey` | `certs.ca`, `certs.cert`, `certs.key` | the file's |
//! | others | a name each | a name each | the file's |

mod inside;
mod merge;
mod trust;

pub use inside::Inside;

use super::broker::{self, BrokerConfig, QueueType, RelayConfig, TlsConfig};
use super::proxy::Proxy;
use super::{ConfigError, Ini, LoggingConfig, Material, Setting};
use crate::json::Fields;
use crate::limits;
use crate::modules::persistent::Wanted;
use serde_json::{Map, Value};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The configuration file, unless another one is named.
pub const DEFAULT_FILE: &str = "/etc/mig/mig-agent.cfg";

/// The agent's settings.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// `agent.relay`: `dir:///path`, or `amqps://user:password@host:port/vhost` with `[certs]`.
    pub relay: RelayConfig,
    /// `agent.api`: where the API is, without a slash at the end.
    pub api: Option<String>,
    /// `certs.ca`: authorities that may have signed the relay's certificate, and those of the API and of downloads.
    pub ca: Option<Material>,
    /// `agent.proxies`: tried in this order when there is no other way to the relay.
    pub proxies: Vec<Proxy>,
    /// `agent.keyring`: public keys of investigators.
    pub keyring: Material,
    /// `agent.acl`: which investigators may run which modules.
    pub acl: Material,
    /// `agent.rundir`: the agent's spool and its id.
    pub run_directory: PathBuf,
    /// `agent.heartbeatfreq`
    pub heartbeat_freq: Duration,
    /// `agent.refreshenv`: how often it looks what its machine is like.
    pub refresh_environment: Duration,
    /// `agent.discoverpublicip`: whether the API is asked for the address that it sees.
    pub discover_public_ip: bool,
    /// `agent.moduletimeout`
    pub module_timeout: Duration,
    /// `agent.socket`
    pub socket: StatSocket,
    /// `agent.tags`: an object, or `key=value` pairs, separated by commas.
    pub tags: Map<String, Value>,
    /// `agent.isimmortal`: whether an agent that ends without having been asked to is started again.
    pub is_immortal: bool,
    /// `agent.installservice`: whether the first start makes it a service.
    pub install_service: bool,
    /// `agent.installdir`: where the service's program is.
    pub install_directory: PathBuf,
    /// `agent.checkin`: whether it runs what waits, and ends.
    pub check_in: bool,
    /// `agent.checkintime`: the longest that this may take.
    pub check_in_time: Duration,
    /// `[persistent]`: persistent modules.
    pub persistent: Vec<Wanted>,
    /// `[logging]`
    pub logging: LoggingConfig,
}

/// Where a running agent answers queries, on this machine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatSocket {
    /// Nowhere.
    Off,
    /// A socket in the file system; the kernel says who asks.
    Unix(PathBuf),
    /// An address of this machine, as of the original.
    Tcp(SocketAddr),
}

impl fmt::Display for StatSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatSocket::Off => f.write_str("no place"),
            StatSocket::Unix(path) => path.display().fmt(f),
            StatSocket::Tcp(address) => address.fmt(f),
        }
    }
}

impl StatSocket {
    /// Where it is if the configuration does not say.
    pub fn in_run_directory(run_directory: &Path) -> StatSocket {
        StatSocket::Unix(run_directory.join("agent.sock"))
    }
}

/// The settings in force, as [`AgentConfig::resolve`] takes them, with the section and the key of each.
pub fn settings(
    inside: Option<&str>,
    file: Option<Ini>,
) -> Result<impl Iterator<Item = ((String, String), Setting)>, ConfigError> {
    Ok(merge::merge(inside, file)?.into_settings())
}

const PROXIES: (&str, &str) = ("agent", "proxies");
const SECTIONS: [&str; 4] = ["agent", "certs", "persistent", "logging"];

/// What the configuration inside an agent is called in messages.
pub const INSIDE: &str = "(inside)";

impl AgentConfig {
    /// Reads and checks the file. Changes nothing.
    pub fn read(path: &Path) -> Result<AgentConfig, ConfigError> {
        AgentConfig::from_ini(Ini::read(path)?)
    }

    /// Checks the text of `file`.
    pub fn parse(text: &str, file: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::from_ini(Ini::parse(text, file)?)
    }

    /// Checks the text of a configuration that will be inside an agent, which then needs no file.
    pub fn parse_inside(text: &str, file: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::from_ini(inside::parse(text, file)?)
    }

    /// What is in force when there is a text inside, or a file, or both.
    pub fn resolve(inside: Option<&str>, file: Option<Ini>) -> Result<AgentConfig, ConfigError> {
        AgentConfig::from_ini(merge::merge(inside, file)?)
    }

    /// Whether it holds a password or a private key.
    pub fn has_secrets(&self) -> bool {
        let relay = match &self.relay {
            RelayConfig::Directory(_) => false,
            RelayConfig::Broker(_) => true,
        };
        relay || self.proxies.iter().any(|proxy| proxy.password.is_some())
    }

    fn from_ini(mut ini: Ini) -> Result<AgentConfig, ConfigError> {
        const SECTION: &str = "agent";
        let tls = trust::take_tls(&mut ini)?;
        let ca = tls.ca.clone();
        let relay = take_relay(&mut ini, tls)?;
        let keyring = trust::take_keyring(&mut ini)?;
        let acl = trust::take_acl(&mut ini, &keyring)?;
        let run_directory = ini.path(SECTION, "rundir")?.unwrap_or_else(|| PathBuf::from("/var/lib/mig-agent"));
        let own_socket = StatSocket::in_run_directory(&run_directory);
        let config = AgentConfig {
            relay,
            ca,
            api: ini.take(SECTION, "api", None, parse_api)?,
            proxies: take_proxies(&mut ini)?,
            keyring,
            acl,
            heartbeat_freq: ini.duration(SECTION, "heartbeatfreq", Duration::from_secs(300))?,
            refresh_environment: ini.duration(SECTION, "refreshenv", Duration::from_secs(300))?,
            discover_public_ip: ini.boolean(SECTION, "discoverpublicip", false)?,
            module_timeout: ini.duration(SECTION, "moduletimeout", Duration::from_secs(300))?,
            socket: ini.take(SECTION, "socket", own_socket, parse_socket)?,
            tags: ini.take(SECTION, "tags", Map::new(), parse_tags)?,
            is_immortal: ini.boolean(SECTION, "isimmortal", true)?,
            install_service: ini.boolean(SECTION, "installservice", false)?,
            install_directory: ini
                .path(SECTION, "installdir")?
                .unwrap_or_else(|| PathBuf::from("/usr/local/lib/mig-agent")),
            check_in: ini.boolean(SECTION, "checkin", false)?,
            check_in_time: ini.duration(SECTION, "checkintime", Duration::from_secs(600))?,
            persistent: take_persistent(&mut ini)?,
            logging: LoggingConfig::take(&mut ini)?,
            run_directory,
        };
        if config.discover_public_ip && config.api.is_none() {
            return Err(ini.error(None, SECTION, "api", "is missing, but discoverpublicip is on"));
        }
        ini.finish(&SECTIONS)?;
        Ok(config)
    }
}

fn take_relay(ini: &mut Ini, tls: TlsConfig) -> Result<RelayConfig, ConfigError> {
    const SECTION: &str = "agent";
    let queue_type = ini.take(SECTION, "queuetype", QueueType::Classic, broker::parse_queue_type)?;
    let is_private = ini.check_private(SECTION, "relay");
    let relay = ini.take(SECTION, "relay", None, |value| match value.strip_prefix("dir://") {
        Some(path) if path.starts_with('/') => Ok(Some(RelayConfig::Directory(PathBuf::from(path)))),
        _ if value.starts_with("amqp") => {
            let broker = BrokerConfig::parse_url(value, tls.clone(), queue_type);
            let refused = |e| format!("is not a broker such as amqps://agent:password@relay.example.net:5671/mig: {e}");
            let broker = broker.map_err(refused)?;
            if broker.tls.is_none() && matches!(tls.identity, Some((Material::Inside(_), _))) {
                return Err("is without TLS, but there is a certificate for it: amqps:// is meant".into());
            }
            Ok(Some(RelayConfig::Broker(broker)))
        }
        _ => {
            Err("is not a relay such as dir:///var/lib/mig/relay or amqps://agent:password@relay.example.net:5671/mig"
                .into())
        }
    })?;
    if matches!(relay, Some(RelayConfig::Broker(_))) {
        is_private?;
    }
    relay.ok_or_else(|| ini.error(None, SECTION, "relay", "is missing"))
}

fn take_persistent(ini: &mut Ini) -> Result<Vec<Wanted>, ConfigError> {
    let settings = ini.take_section("persistent").into_iter();
    let wanted = settings.filter(|(_, setting)| !setting.text.is_empty());
    wanted.map(|(name, setting)| Wanted::parse(&name, &setting.text).map_err(|reason| setting.error(&reason))).collect()
}

fn take_proxies(ini: &mut Ini) -> Result<Vec<Proxy>, ConfigError> {
    let (section, key) = PROXIES;
    let is_private = ini.check_private(section, key);
    let proxies = ini.take(section, key, Vec::new(), Proxy::parse_list)?;
    if proxies.iter().any(|proxy| proxy.password.is_some()) {
        is_private?;
    }
    Ok(proxies)
}

fn parse_api(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let url = url::Url::parse(value).map_err(|e| format!("is not an URL: {e}"))?;
    let has_login = !url.username().is_empty() || url.password().is_some();
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() || has_login {
        return Err("is not an URL such as https://api.example.net/api/v1".into());
    }
    Ok(Some(value.trim_end_matches('/').to_owned()))
}

fn parse_socket(value: &str) -> Result<StatSocket, String> {
    if value.is_empty() {
        return Ok(StatSocket::Off);
    }
    if value.starts_with('/') {
        return Ok(StatSocket::Unix(PathBuf::from(value)));
    }
    let local = value.replacen("localhost:", "127.0.0.1:", 1);
    match local.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(StatSocket::Tcp(address)),
        Ok(_) => Err(format!("'{value}' is not on this machine: the stat socket has no authentication")),
        Err(_) => Err(format!("'{value}' is neither a path nor an address such as 127.0.0.1:51664")),
    }
}

fn parse_tags(value: &str) -> Result<Map<String, Value>, String> {
    let max = limits::AGENT_TAGS_BYTES_MAX;
    if value.len() > max {
        return Err(format!("has {} bytes, the limit is {max}: they are in each heartbeat", value.len()));
    }
    if value.trim_start().starts_with('{') {
        return match crate::json::value(value) {
            Ok(Value::Object(tags)) => {
                // As the scheduler will read them.
                let heartbeat = serde_json::json!({"tags": tags}).to_string();
                let fields = Fields::parse(heartbeat.as_bytes()).map_err(|e| e.to_string())?;
                fields.object("tags").map_err(|e| e.to_string())
            }
            Ok(_) => Err("is not a JSON object".into()),
            Err(e) => Err(format!("is not a JSON object: {e}")),
        };
    }
    let pairs = value.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let split = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().into())),
        _ => Err(format!("'{pair}' is not a tag such as operator=infra")),
    };
    pairs.map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Keyring;

    fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::parse(text, "a.cfg")
    }

    const LEAST: &str = "[agent]\nrelay=\"dir:///r\"\nkeyring=/k\nacl=/a\n";

    #[test]
    fn the_sample_file_and_the_least_file_are_valid() {
        parse(include_str!("../../conf/mig-agent.cfg.inc")).unwrap();
        let config = parse(LEAST).unwrap();
        assert_eq!(config.relay, RelayConfig::Directory("/r".into()));
        assert_eq!(config.socket, StatSocket::Unix("/var/lib/mig-agent/agent.sock".into()));
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
        assert_eq!(config.socket, StatSocket::Tcp("127.0.0.1:51664".parse().unwrap()));
        assert!(config.is_immortal && config.install_service && !config.check_in);
        assert_eq!(config.api.as_deref(), Some("http://localhost:12345/api/v1"));
        assert_eq!(config.logging.level, log::LevelFilter::Info);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (add, error) in [
            ("socket = 0.0.0.0:51664", "a.cfg:5: agent.socket: '0.0.0.0:51664' is not on this machine"),
            (&format!("tags = \"{{\\\"x\\\": [{}0]}}\"", "0,".repeat(2000)), "a.cfg:5: agent.tags: field 'tags': "),
            ("socket = nowhere", "a.cfg:5: agent.socket: 'nowhere' is neither a path nor an address"),
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

    const INSIDE_LEAST: &str = "amqpbroker = 'dir:///r'\n";

    fn resolve(inside: &str, file: &str) -> Result<AgentConfig, String> {
        let file = Some(file).filter(|file| !file.is_empty()).map(|text| Ini::parse(text, "a.cfg").unwrap());
        AgentConfig::resolve(Some(inside), file).map_err(|e| e.to_string())
    }

    /// A key inside, and an access list that names it.
    fn trust() -> (String, String) {
        let (public, _) = crate::signature::generate_key("Kelso <kelso@example.net>").unwrap();
        trust_in(&public)
    }

    fn trust_in(public: &str) -> (String, String) {
        let keyring = Keyring::parse(public.as_bytes()).unwrap();
        let fingerprint = keyring.signers(crate::time::now()).into_iter().next().unwrap();
        let acl = serde_json::json!({"default": {"minimumweight": 2,
            "investigators": {"Kelso": {"fingerprint": fingerprint.to_string(), "weight": 2}}}});
        (format!("publicpgpkeys = ['''\n{public}''']\n"), format!("agentacl = ['{acl}']\n"))
    }

    #[test]
    fn a_file_replaces_what_is_inside_except_keys_access_list_and_proxies() {
        let (keys, acl) = trust();
        let inside = format!("{INSIDE_LEAST}heartbeatfreq = '9s'\nproxies = ['p:1']\n{keys}{acl}tags = {{ a = 1 }}\n");
        let config = resolve(&inside, "").unwrap();
        assert!(matches!((&config.keyring, &config.acl), (Material::Inside(_), Material::Inside(_))), "{config:?}");
        assert_eq!((config.heartbeat_freq, config.proxies.len()), (Duration::from_secs(9), 1));
        let config = resolve(&inside, "[agent]\nrelay = dir:///other\nheartbeatfreq = 8s\n").unwrap();
        assert_eq!(config.relay, RelayConfig::Directory("/other".into()));
        assert_eq!((config.heartbeat_freq, &config.tags["a"]), (Duration::from_secs(8), &1.into()));
        for line in ["keyring = /k", "acl = /a", "proxies = q:1"] {
            let error = resolve(&inside, &format!("[agent]\n\n{line}\n")).unwrap_err();
            let key = line.split(' ').next().unwrap();
            assert!(error.starts_with(&format!("a.cfg:3: agent.{key}: is inside this program")), "{error}");
        }
        // What is not inside may come from a file.
        let config = resolve(INSIDE_LEAST, "[agent]\nkeyring = /k\nacl = /a\nproxies = q:1\n").unwrap();
        assert_eq!((config.keyring, config.proxies.len()), (Material::File("/k".into()), 1));
        assert_eq!(resolve(INSIDE_LEAST, "").unwrap_err(), "(inside): publicpgpkeys: is missing");
    }

    #[test]
    fn what_is_inside_is_parsed_to_its_end() {
        let (public, secret) = crate::signature::generate_key("Kelso <kelso@example.net>").unwrap();
        let (keys, acl) = trust_in(&public);
        let least = format!("{INSIDE_LEAST}{keys}{acl}");
        AgentConfig::parse_inside(&least, "c.toml").unwrap();
        let next = least.lines().count() + 1;
        for (text, error) in [
            (least.replace("'''\n-----BEGIN", "'''\n---BEGIN"), "c.toml:2: publicpgpkeys: "),
            (
                least.replace("\"minimumweight\":2", "\"minimumweight\":3"),
                "agentacl: default.minimumweight is 3, but those",
            ),
            (least.replace("\"weight\":2", "\"weight\":0"), "agentacl: "),
            (format!("{INSIDE_LEAST}{keys}agentacl = []\n"), "agentacl: is empty"),
            (format!("{keys}{acl}"), "c.toml: amqpbroker: is missing"),
            (INSIDE_LEAST.into(), "c.toml: publicpgpkeys: is missing"),
            (format!("{least}cacert = 'x'\n"), &format!("c.toml:{next}: cacert: ")),
            (format!("{least}agentkey = 'x'\n"), "agentkey: is there, but agentcert is missing"),
            (format!("{least}apiurl = 'x'\n"), "apiurl: is not an URL"),
            (format!("{least}apiurl = 'https://:secret@h/x'\n"), "apiurl: is not an URL such as"),
            (
                format!("{least}loggingconf = {{ mode = 'fil' }}\n"),
                &format!("c.toml:{next}: loggingconf.mode: 'fil' is none"),
            ),
            (least.replace(&public, &secret), "publicpgpkeys: has a private key"),
            (format!("{least}discoverpublicip = true\n"), "apiurl: is missing, but discoverpublicip is on"),
            (format!("{least}proxies = ['http://u:secret@h:0']\n"), "proxies: the proxy number 1 is not a proxy"),
            (least.replace("dir:///r", "amqp://u:secret@"), "c.toml:1: amqpbroker: is not a broker"),
            (format!("{least}tags = {{ x = '{}' }}\n", "y".repeat(9000)), "tags: has 9008 bytes"),
        ] {
            let found = AgentConfig::parse_inside(&text, "c.toml").unwrap_err().to_string();
            let is_said = found.starts_with("c.toml") && found.contains(error);
            assert!(is_said && !found.contains("secret"), "{error}: {found}");
        }
    }
}
