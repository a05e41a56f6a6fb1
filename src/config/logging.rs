//! Where log lines go: `[logging]` of every program.

use super::{ConfigError, Ini};
use std::path::PathBuf;

/// Destination and level of log lines: the keys of `[logging]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// stdout, file or syslog.
    pub mode: LoggingMode,
    /// Lines below it are discarded.
    pub level: log::LevelFilter,
}

/// See [`LoggingConfig::mode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggingMode {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// Syslog, facility local3.
    Syslog(SyslogServer),
}

/// Address of the syslog server: `logging.protocol` and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogServer {
    /// `udp`: host and port.
    Udp(String, u16),
    /// `tcp`: host and port.
    Tcp(String, u16),
    /// `unix`: the local socket.
    Unix(PathBuf),
}

impl LoggingConfig {
    /// Takes the section's keys.
    pub fn take(ini: &mut Ini) -> Result<LoggingConfig, ConfigError> {
        const SECTION: &str = "logging";
        let level =
            ini.take(SECTION, "level", log::LevelFilter::Info, |value| match value.to_lowercase().as_str() {
                "debug" => Ok(log::LevelFilter::Debug),
                "info" | "notice" => Ok(log::LevelFilter::Info),
                "warning" => Ok(log::LevelFilter::Warn),
                "err" | "error" | "critical" | "crit" | "alert" | "emergency" | "emerg" => Ok(log::LevelFilter::Error),
                _ => Err(format!("'{value}' is none of debug, info, warning, err")),
            })?;
        let file = ini.path(SECTION, "file")?;
        let host = ini.host(SECTION, "host", "localhost")?;
        let port = ini.port(SECTION, "port", 514)?;
        let socket = ini.path(SECTION, "socket")?.unwrap_or_else(|| PathBuf::from("/dev/log"));
        let unix = SyslogServer::Unix(socket);
        let server = ini.take(SECTION, "protocol", unix.clone(), |value| match value {
            "udp" => Ok(SyslogServer::Udp(host.clone(), port)),
            "tcp" => Ok(SyslogServer::Tcp(host.clone(), port)),
            "unix" => Ok(unix.clone()),
            _ => Err(format!("'{value}' is none of udp, tcp, unix")),
        })?;
        let mode = ini.take(SECTION, "mode", LoggingMode::Stdout, |value| match value {
            "stdout" => Ok(LoggingMode::Stdout),
            "file" => Ok(LoggingMode::File(file.clone().ok_or("is file, but the key file is missing")?)),
            "syslog" => Ok(LoggingMode::Syslog(server.clone())),
            _ => Err(format!("'{value}' is none of stdout, file, syslog")),
        })?;
        Ok(LoggingConfig { mode, level })
    }
}
