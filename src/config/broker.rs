//! How to reach the broker: `[mq]` of the scheduler, `agent.relay` and `[certs]` of the agent.

use super::{ConfigError, Ini, Secret};
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

/// What TLS needs. Paths are opened for each connection, so that new certificates count without a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// PEM certificates of the authorities that may have signed the server's; the system's when missing.
    pub ca: Option<PathBuf>,
    /// PEM certificate and key that are shown to the server.
    pub identity: Option<(PathBuf, PathBuf)>,
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
const TIMEOUT: Duration = Duration::from_secs(30);

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
            host: ini.text_required(SECTION, "host")?,
            port: ini.port(SECTION, "port", if use_tls { 5671 } else { 5672 })?,
            user: ini.text_required(SECTION, "user")?,
            password: ini.secret(SECTION, "pass")?,
            vhost: ini.text(SECTION, "vhost", "/")?,
            tls: use_tls.then_some(tls),
            timeout: ini.duration(SECTION, "timeout", TIMEOUT)?,
            queue_type: ini.take(SECTION, "queuetype", QueueType::Classic, parse_queue_type)?,
        })
    }

    /// Reads `amqp://user:password@host:port/vhost`, or `amqps:` with `[certs]`. Parts are percent-encoded.
    pub fn parse_url(url: &str, tls: TlsConfig, queue_type: QueueType) -> Result<BrokerConfig, String> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no ://")?;
        let use_tls = match scheme {
            "amqp" => false,
            "amqps" => true,
            _ => return Err("it begins with neither amqp:// nor amqps://".into()),
        };
        // The secret stands in it, so no part of the text is told.
        let (login, place) = rest.rsplit_once('@').ok_or("it has no user:password@")?;
        let (user, password) = login.split_once(':').ok_or("it has no password after the user")?;
        let (authority, vhost) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port > 0).ok_or("its port is not a number up to 65535")?)
            }
            _ => (authority, if use_tls { 5671 } else { 5672 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("it has no host".into());
        }
        let decoded = |text: &str| percent_decoded(text).ok_or("a % in it is not followed by two hexadecimal digits");
        Ok(BrokerConfig {
            host: host.to_owned(),
            port,
            user: decoded(user)?,
            password: Secret::new(decoded(password)?),
            vhost: if vhost.is_empty() { "/".into() } else { decoded(vhost)? },
            tls: use_tls.then_some(tls),
            timeout: TIMEOUT,
            queue_type,
        })
    }
}

/// Takes the keys of a section that name certificates: authority, certificate, key.
pub fn take_tls(ini: &mut Ini, section: &str, keys: [&str; 3]) -> Result<TlsConfig, ConfigError> {
    let [ca, cert, key] = keys;
    let paths = (ini.path(section, cert)?, ini.path(section, key)?);
    let identity = match paths {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => return Err(ini.error(None, section, key, &format!("is missing, but there is a {cert}"))),
        (None, Some(_)) => return Err(ini.error(None, section, cert, &format!("is missing, but there is a {key}"))),
    };
    Ok(TlsConfig { ca: ini.path(section, ca)?, identity })
}

/// Reads `mq.queuetype`.
pub fn parse_queue_type(value: &str) -> Result<QueueType, String> {
    match value {
        "classic" => Ok(QueueType::Classic),
        "quorum" => Ok(QueueType::Quorum),
        _ => Err(format!("'{value}' is neither classic nor quorum")),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            rest = &rest[2..];
            u8::from_str_radix(digits, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_errors_do_not_tell_the_password() {
        let parse = |url: &str| BrokerConfig::parse_url(url, TlsConfig::default(), QueueType::Classic);
        let config = parse("amqps://agent:p%40ss@relay.example.net:443/mig").unwrap();
        assert_eq!((config.host.as_str(), config.port, config.vhost.as_str()), ("relay.example.net", 443, "mig"));
        assert_eq!((config.user.as_str(), config.password.expose()), ("agent", "p@ss"));
        assert!(config.tls.is_some() && !format!("{config:?}").contains("p@ss"));
        let config = parse("amqp://a:b@[::1]").unwrap();
        assert_eq!((config.host.as_str(), config.port, config.vhost.as_str()), ("::1", 5672, "/"));
        for wrong in [
            "",
            "amqp://",
            "amqp://h",
            "amqp://secret@h",
            "http://u:secret@h",
            "amqp://u:secret@h:x",
            "amqp://u:secret@",
            "amqp://u:secret%4@h",
            "amqp://u:secret%é@h",
            "amqp://u:secret@h:0",
        ] {
            assert!(!parse(wrong).unwrap_err().contains("secret"), "{wrong}");
        }
    }
}
