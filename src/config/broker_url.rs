//! A broker as one URL: `agent.relay`.
//!
//! Not read by lapin: its parser takes a host that is an IPv6 address for `localhost`, adds a login where there is none, and
//! repeats some of what it refuses, with the password in it.

use super::Secret;
use super::broker::{BrokerConfig, QueueType, TIMEOUT, TlsConfig};
use percent_encoding::percent_decode_str;
use std::cell::Cell;
use url::SyntaxViolation::{EmbeddedCredentials, NonUrlCodePoint, UnencodedAtSign};
use url::Url;

impl BrokerConfig {
    /// Reads `amqp://user:password@host:port/vhost`, or `amqps:` with `[certs]`. Parts are percent-encoded.
    pub fn parse_url(text: &str, tls: TlsConfig, queue_type: QueueType) -> Result<BrokerConfig, String> {
        // It contains the secret, so no error repeats a part of it; the parser's own errors contain none.
        let violation = Cell::new(None);
        let is_harmless = |found: &_| matches!(found, EmbeddedCredentials | NonUrlCodePoint | UnencodedAtSign);
        let note = |found| violation.set(Some(found).filter(|found| !is_harmless(found)).or(violation.get()));
        let url = Url::options().syntax_violation_callback(Some(&note)).parse(text).map_err(|e| e.to_string())?;
        let use_tls = url.scheme() == "amqps";
        let wrong = [
            (!use_tls && url.scheme() != "amqp", "it begins with neither amqp:// nor amqps://"),
            (violation.get().is_some(), violation.get().map_or("", |violation| violation.description())),
            (url.host_str().is_none(), "it has no host"),
            (url.username().is_empty() || url.password().is_none(), "it has no user:password@"),
            (url.port() == Some(0), "its port is 0"),
            (url.query().or(url.fragment()).is_some(), "a ? or # in it is not percent-encoded"),
        ];
        if let Some((_, reason)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(reason.into());
        }
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err("what is percent-encoded in it is not UTF-8"),
        };
        let vhost = url.path().strip_prefix('/').filter(|vhost| !vhost.is_empty());
        Ok(BrokerConfig {
            host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(if use_tls { 5671 } else { 5672 }),
            user: decoded(url.username())?,
            password: Secret::new(decoded(url.password().unwrap_or_default())?),
            vhost: decoded(vhost.unwrap_or("/"))?,
            tls: use_tls.then_some(tls),
            timeout: TIMEOUT,
            queue_type,
        })
    }
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
        let config = parse("amqp://a@b:{p [w@[::1]:5/%2F%C3%A9").unwrap();
        assert_eq!((config.user.as_str(), config.password.expose()), ("a@b", "{p [w"));
        assert_eq!((config.host.as_str(), config.port, config.vhost.as_str()), ("::1", 5, "/é"));
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
            "amqp://u:secret%+f@h",
            "amqp://u:secret%ff@h",
            "amqp://u:sec\tret@h",
            "amqp:u:secret@h",
            "amqp://u:5672/secret@h",
            "amqp://u:5672#secret@h",
            "amqp://u:secret@h/v?heartbeat=1",
            "amqp://:secret@h",
            "amqp://h/mig",
            "amqp://u:secret@[::1",
        ] {
            let error = parse(wrong).expect_err(wrong);
            assert!(!error.contains("secret"), "{wrong}: {error}");
        }
    }
}
