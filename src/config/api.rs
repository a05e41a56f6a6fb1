//! The API's configuration: `/etc/mig/mig-api.cfg`. `conf/mig-api.cfg.inc` shows every key.

use super::broker::RelayConfig;
use super::scheduler::{StoreConfig, take_relay, take_store};
use super::{ConfigError, Ini, LoggingConfig, Network};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The API's settings.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// `server.ip` and `server.port`
    pub address: SocketAddr,
    /// `server.host`: what clients call the server, without a slash at the end.
    pub host: String,
    /// `server.baseroute`, without a slash at the end.
    pub base_route: String,
    /// `server.tlscert` and `server.tlskey`
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `server.trustedproxies`: whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// `[authentication]`
    pub authentication: AuthenticationConfig,
    /// `directories.spool`
    pub spool: PathBuf,
    /// `[postgres]` or `[sqlite]`
    pub store: StoreConfig,
    /// `[mq]` or `[relay]`: whose events tell when answers arrive. None: only the store is asked, from time to time.
    pub relay: Option<RelayConfig>,
    /// `[logging]`
    pub logging: LoggingConfig,
}

/// How requests are recognized.
#[derive(Debug, Clone)]
pub struct AuthenticationConfig {
    /// `authentication.enabled`
    pub is_enabled: bool,
    /// `authentication.tokenduration`: how far the time in a signed token may be from the clock of this machine.
    pub token_duration: Duration,
    /// `authentication.tokenreuse`: whether a signed token may be used again.
    pub token_reuse: bool,
    /// `authentication.sessionduration`
    pub session_duration: Duration,
}

const SECTIONS: [&str; 8] = ["server", "authentication", "directories", "postgres", "sqlite", "relay", "mq", "logging"];

impl ApiConfig {
    /// Reads and checks the file. Changes nothing.
    pub fn read(path: &Path) -> Result<ApiConfig, ConfigError> {
        ApiConfig::from_ini(Ini::read(path)?)
    }

    /// Checks the text of `file`.
    pub fn parse(text: &str, file: &str) -> Result<ApiConfig, ConfigError> {
        ApiConfig::from_ini(Ini::parse(text, file)?)
    }

    fn from_ini(mut ini: Ini) -> Result<ApiConfig, ConfigError> {
        const SERVER: &str = "server";
        const AUTHENTICATION: &str = "authentication";
        let ip = ini.take(SERVER, "ip", IpAddr::from([127, 0, 0, 1]), |value| {
            value.parse().map_err(|_| format!("'{value}' is not an address such as 127.0.0.1 or ::"))
        })?;
        let address = SocketAddr::new(ip, ini.port(SERVER, "port", 12345)?);
        let host = ini.take(SERVER, "host", format!("http://{address}"), |value| {
            let is_url = value.starts_with("http://") || value.starts_with("https://");
            if is_url {
                Ok(value.trim_end_matches('/').to_owned())
            } else {
                Err(format!("'{value}' is not a URL such as https://api.example.net"))
            }
        })?;
        let base_route = ini.take(SERVER, "baseroute", "/api/v1".to_owned(), |value| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
            let path = value.trim_end_matches('/');
            let is_path = path.is_empty() || (path.starts_with('/') && path.chars().all(is_plain));
            if is_path { Ok(path.to_owned()) } else { Err(format!("'{value}' is not a path such as /api/v1")) }
        })?;
        let tls = match (ini.path(SERVER, "tlscert")?, ini.path(SERVER, "tlskey")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(ini.error(None, SERVER, "tlskey", "is missing, but there is a tlscert")),
            (None, Some(_)) => return Err(ini.error(None, SERVER, "tlscert", "is missing, but there is a tlskey")),
        };
        let trusted_proxies = ini.take(SERVER, "trustedproxies", Vec::new(), |value| {
            value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Network::parse).collect()
        })?;
        if ini.path("directories", "tmp")?.is_some() {
            log::warn!("directories.tmp is ignored: files are staged in the spool, on its file system");
        }
        let authentication = AuthenticationConfig {
            is_enabled: ini.boolean(AUTHENTICATION, "enabled", true)?,
            token_duration: ini.duration(AUTHENTICATION, "tokenduration", Duration::from_secs(600))?,
            token_reuse: ini.boolean(AUTHENTICATION, "tokenreuse", true)?,
            session_duration: ini.duration(AUTHENTICATION, "sessionduration", Duration::from_secs(3600))?,
        };
        let config = ApiConfig {
            address,
            host,
            base_route,
            tls,
            trusted_proxies,
            authentication,
            spool: ini.path_required("directories", "spool")?,
            store: take_store(&mut ini)?,
            relay: if ini.section_line("mq").or(ini.section_line("relay")).is_some() {
                Some(take_relay(&mut ini)?)
            } else {
                None
            },
            logging: LoggingConfig::take(&mut ini)?,
        };
        ini.finish(&SECTIONS)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApiConfig, ConfigError> {
        ApiConfig::parse(text, "a.cfg")
    }

    const LEAST: &str = "[directories]\nspool=/s\n[sqlite]\nfile=/f\n";

    #[test]
    fn the_section_of_the_seed_works_as_shown() {
        let text =
            "[server]\nip = \"127.0.0.1\"\nport = 12345\nhost = \"http://localhost:12345\"\nbaseroute = \"/api/v1\"\n";
        let config = parse(&format!("{text}{LEAST}")).unwrap();
        assert_eq!((config.host.as_str(), config.base_route.as_str()), ("http://localhost:12345", "/api/v1"));
        let least = parse(LEAST).unwrap();
        assert_eq!(least.address, config.address);
        assert!(least.authentication.is_enabled && least.authentication.token_reuse);
    }

    #[test]
    fn the_sample_file_is_valid() {
        parse(include_str!("../../conf/mig-api.cfg.inc")).unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (add, error) in [
            ("[server]\nip = localhost\n", "a.cfg:6: server.ip: 'localhost' is not an address"),
            ("[server]\nhost = api.example.net\n", "a.cfg:6: server.host: 'api.example.net' is not a URL"),
            ("[server]\nbaseroute = api v1\n", "a.cfg:6: server.baseroute: 'api v1' is not a path"),
            ("[server]\ntlscert = /c\n", "a.cfg: server.tlskey: is missing, but there is a tlscert"),
            (
                "[server]\ntrustedproxies = 10.0.0.0/8, proxy\n",
                "a.cfg:6: server.trustedproxies: 'proxy' is not an address",
            ),
            ("[server]\ntokenreuse = off\n", "a.cfg:6: server.tokenreuse: unknown key"),
            (
                "[authentication]\nenabled = maybe\n",
                "a.cfg:6: authentication.enabled: 'maybe' is neither true nor false",
            ),
        ] {
            let found = parse(&format!("{LEAST}{add}")).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
