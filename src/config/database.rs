//! The connection to the PostgreSQL database: `[postgres]`.

use super::{ConfigError, Ini, Material, Secret};
use std::time::Duration;

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres.host`: a name, an address, or the directory of a Unix socket.
    pub host: String,
    /// `postgres.port`
    pub port: u16,
    /// `postgres.dbname`
    pub database: String,
    /// `postgres.user`
    pub user: String,
    /// `postgres.password`
    pub password: Secret,
    /// `postgres.sslmode`
    pub ssl_mode: SslMode,
    /// `postgres.cacert`: PEM certificates of the authorities that may sign the server's; the system's if missing.
    pub ca: Option<Material>,
    /// `postgres.maxconn`: connections that the process may hold.
    pub connections_max: u32,
    /// `postgres.timeout`: time limit for a connection to be made, or to become free in the pool.
    pub timeout: Duration,
}

/// TLS requirements of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Plain text.
    Disable,
    /// TLS, without verification of the server.
    Require,
    /// TLS, with a certificate of a trusted authority for that host name.
    VerifyFull,
}

impl PostgresConfig {
    /// Takes `[postgres]`.
    pub fn take(ini: &mut Ini) -> Result<PostgresConfig, ConfigError> {
        const SECTION: &str = "postgres";
        let connections_max = ini.take(SECTION, "maxconn", 10, |value| match value.parse() {
            Ok(number @ 1..=10_000) => Ok(number),
            _ => Err(format!("'{value}' is not a number from 1 to 10000")),
        })?;
        Ok(PostgresConfig {
            host: ini.host_required(SECTION, "host")?,
            port: ini.port(SECTION, "port", 5432)?,
            database: ini.text(SECTION, "dbname", "mig")?,
            user: ini.text_required(SECTION, "user")?,
            password: ini.secret(SECTION, "password")?,
            ssl_mode: ini.take(SECTION, "sslmode", SslMode::VerifyFull, |value| match value {
                "disable" => Ok(SslMode::Disable),
                "require" => Ok(SslMode::Require),
                "verify-full" => Ok(SslMode::VerifyFull),
                _ => Err(format!("'{value}' is none of disable, require, verify-full")),
            })?,
            ca: ini.path(SECTION, "cacert")?.map(Material::File),
            connections_max,
            timeout: ini.duration(SECTION, "timeout", Duration::from_secs(10))?,
        })
    }
}
