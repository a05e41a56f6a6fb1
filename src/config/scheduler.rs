//! The scheduler's configuration: `/etc/mig/mig-scheduler.cfg`. `conf/mig-scheduler.cfg.inc` shows every key.

use super::{ConfigError, Ini, LoggingConfig};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that the scheduler is told.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// `directories.spool`
    pub spool: PathBuf,
    /// `agent.whitelist`; by default `agents_whitelist.txt` in the spool.
    pub whitelist: PathBuf,
    /// `agent.timeout`: not heard of for this long, an agent is offline.
    pub agent_timeout: Duration,
    /// `agent.heartbeatfreq`: how often agents send heartbeats; five of them missed make an agent idle.
    pub heartbeat_freq: Duration,
    /// `collector.freq`
    pub collector_freq: Duration,
    /// `collector.deleteafter`
    pub delete_after: Duration,
    /// `periodic.freq`
    pub periodic_freq: Duration,
    /// `investigators.keyring`: public keys of those whose actions are taken.
    pub keyring: PathBuf,
    /// `relay.directory`
    pub relay: PathBuf,
    /// `sqlite.file`
    pub sqlite: PathBuf,
    /// `[logging]`
    pub logging: LoggingConfig,
}

const SECTIONS: [&str; 8] =
    ["agent", "collector", "periodic", "directories", "investigators", "relay", "sqlite", "logging"];

impl SchedulerConfig {
    /// Reads and checks the file. Nothing is touched.
    pub fn read(path: &Path) -> Result<SchedulerConfig, ConfigError> {
        SchedulerConfig::from_ini(Ini::read(path)?)
    }

    /// Checks the text of `file`.
    pub fn parse(text: &str, file: &str) -> Result<SchedulerConfig, ConfigError> {
        SchedulerConfig::from_ini(Ini::parse(text, file)?)
    }

    fn from_ini(mut ini: Ini) -> Result<SchedulerConfig, ConfigError> {
        for (section, instead) in [("mq", "[relay] directory = …"), ("postgres", "[sqlite] file = …")] {
            if ini.has_section(section) {
                let text = format!("[{section}] is not in this version yet; use {instead}");
                return Err(ConfigError { file: ini.file, line: ini.sections.get(section).copied(), text });
            }
        }
        let spool = ini.path_required("directories", "spool")?;
        if ini.path("directories", "tmp")?.is_some() {
            log::warn!("directories.tmp is not used: files are staged in tmp below the spool, on its file system");
        }
        let seconds = Duration::from_secs;
        let config = SchedulerConfig {
            whitelist: ini.path("agent", "whitelist")?.unwrap_or_else(|| spool.join("agents_whitelist.txt")),
            spool,
            agent_timeout: ini.duration("agent", "timeout", seconds(3600))?,
            heartbeat_freq: ini.duration("agent", "heartbeatfreq", seconds(300))?,
            collector_freq: ini.duration("collector", "freq", seconds(60))?,
            delete_after: ini.duration("collector", "deleteafter", seconds(72 * 3600))?,
            periodic_freq: ini.duration("periodic", "freq", seconds(60))?,
            keyring: ini.path_required("investigators", "keyring")?,
            relay: ini.path_required("relay", "directory")?,
            sqlite: ini.path_required("sqlite", "file")?,
            logging: LoggingConfig::take(&mut ini)?,
        };
        if config.agent_timeout < config.heartbeat_freq {
            return Err(ini.error(
                None,
                "agent",
                "timeout",
                "is shorter than agent.heartbeatfreq: every agent would be offline",
            ));
        }
        ini.finish(&SECTIONS)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SchedulerConfig, ConfigError> {
        SchedulerConfig::parse(text, "s.cfg")
    }

    const LEAST: &str =
        "[directories]\nspool=/s\n[investigators]\nkeyring=/k\n[relay]\ndirectory=/r\n[sqlite]\nfile=/f\n";

    #[test]
    fn missing_keys_have_defaults() {
        let config = parse(LEAST).unwrap();
        assert_eq!(config.whitelist, Path::new("/s/agents_whitelist.txt"));
        assert_eq!(config.collector_freq, Duration::from_secs(60));
        assert_eq!(config.delete_after, Duration::from_secs(72 * 3600));
    }

    #[test]
    fn the_sample_file_is_valid() {
        parse(include_str!("../../conf/mig-scheduler.cfg.inc")).unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (add, error) in [
            ("[agent]\ntimeout = 10s\n", "s.cfg: agent.timeout: is shorter"),
            ("[collector]\nfreq = 0s\n", "s.cfg:10: collector.freq: must be longer than zero"),
            ("[collector]\nfrequency = 1s\n", "s.cfg:10: collector.frequency: unknown key"),
            ("[collecter]\n", "s.cfg:9: unknown section [collecter]"),
            ("[mq]\nhost = x\n", "s.cfg:9: [mq] is not in this version yet"),
        ] {
            let found = parse(&format!("{LEAST}{add}")).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
