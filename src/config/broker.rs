//! How to reach the broker: `[mq]` of the scheduler, `agent.relay` and `[certs]` of the agent.

use super::{ConfigError, Ini, Material, Secret};
use std::path::PathBuf;
use std::time::Duration;

/// Which relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayConfig {
    /// `relay.directory`
    Directory(PathBuf),
    /// `[mq]`, or an URL.
    Broker(BrokerConfig),
}

/// A RabbitMQ broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `mq.host`
    pub host: String,
    /// `mq.port`: 5672, or 5671 with TLS.
    pub port: u16,
    /// `mq.user`
    pub user: String,
    /// `mq.pass`
    pub password: Secret,
    /// `mq.vhost`
    pub vhost: String,
    /// `mq.usetls` and what belongs to it; none is plain text.
    pub tls: Option<TlsConfig>,
    /// `mq.timeout`: how long the broker may take to connect, answer or confirm.
    pub timeout: Duration,
    /// `mq.queuetype`
    pub queue_type: QueueType,
}

/// What TLS needs. Files are read for each connection, so that new certificates count without a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// PEM certificates of the authorities that may have signed the server's; the system's when missing.
    pub ca: Option<Material>,
    /// PEM certificate and key that are shown to the server.
    pub identity: Option<(Material, Material)>,
}

/// How queues are declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// As the original declares them.
    Classic,
    /// Replicated in a cluster.
    Quorum,
}

/// How long the broker may take, unless `mq.timeout` says otherwise.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

impl BrokerConfig {
    /// Takes `[mq]`.
    pub fn take(ini: &mut Ini) -> Result<BrokerConfig, ConfigError> {
        const SECTION: &str = "mq";
        let use_tls = ini.boolean(SECTION, "usetls", false)?;
        let tls = take_tls(ini, SECTION, ["cacert", "tlscert", "tlskey"])?;
        if !use_tls && tls != TlsConfig::default() {
            return Err(ini.error(None, SECTION, "usetls", "is off, but there are certificates; set it to true"));
        }
        Ok(BrokerConfig {
            host: ini.host_required(SECTION, "host")?,
            port: ini.port(SECTION, "port", if use_tls { 5671 } else { 5672 })?,
            user: ini.text_required(SECTION, "user")?,
            password: ini.secret(SECTION, "pass")?,
            vhost: ini.text(SECTION, "vhost", "/")?,
            tls: use_tls.then_some(tls),
            timeout: ini.duration(SECTION, "timeout", TIMEOUT)?,
            queue_type: ini.take(SECTION, "queuetype", QueueType::Classic, parse_queue_type)?,
        })
    }
}

/// Takes the keys of a section that name certificates: authority, certificate, key.
pub fn take_tls(ini: &mut Ini, section: &str, keys: [&str; 3]) -> Result<TlsConfig, ConfigError> {
    let [ca, cert, key] = keys;
    let paths = (ini.path(section, cert)?, ini.path(section, key)?);
    let identity = match paths {
        (Some(cert), Some(key)) => Some((Material::File(cert), Material::File(key))),
        (None, None) => None,
        (Some(_), None) => return Err(ini.error(None, section, key, &format!("is missing, but there is a {cert}"))),
        (None, Some(_)) => return Err(ini.error(None, section, cert, &format!("is missing, but there is a {key}"))),
    };
    Ok(TlsConfig { ca: ini.path(section, ca)?.map(Material::File), identity })
}

/// Reads `mq.queuetype`.
pub fn parse_queue_type(value: &str) -> Result<QueueType, String> {
    match value {
        "classic" => Ok(QueueType::Classic),
        "quorum" => Ok(QueueType::Quorum),
        _ => Err(format!("'{value}' is neither classic nor quorum")),
    }
}
