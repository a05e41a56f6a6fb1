//! The scheduler's configuration: `/etc/mig/mig-scheduler.cfg`. `conf/mig-scheduler.cfg.inc` shows every key.

use super::broker::{BrokerConfig, RelayConfig};
use super::database::PostgresConfig;
use super::{ConfigError, Ini, LoggingConfig};
use crate::limits;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The scheduler's settings.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// `directories.spool`
    pub spool: PathBuf,
    /// `agent.whitelist`; by default `agents_whitelist.txt` in the spool.
    pub whitelist: PathBuf,
    /// `agent.timeout`: an agent without a heartbeat for this long is offline.
    pub agent_timeout: Duration,
    /// `agent.heartbeatfreq`: how often agents send heartbeats; an agent that missed five is idle.
    pub heartbeat_freq: Duration,
    /// `collector.freq`
    pub collector_freq: Duration,
    /// `collector.deleteafter`
    pub delete_after: Duration,
    /// `events.collect`: whether what persistent modules of agents notice is taken in.
    pub collects_events: bool,
    /// `periodic.freq`
    pub periodic_freq: Duration,
    /// `periodic.queuescleanupfreq`: how often queues without an agent are deleted.
    pub queues_cleanup_freq: Duration,
    /// `agent.detectmultiagents`: whether to log agents of which several processes are alive.
    pub detect_multi_agents: bool,
    /// `agent.killdupagents`: whether to end the older one, with an action that the scheduler signs.
    pub kill_dup_agents: bool,
    /// `investigators.keyring`: public keys of investigators whose actions are accepted, beside those in the store.
    pub keyring: Option<PathBuf>,
    /// `investigators.minimumsigners`: how many investigators must sign an action.
    pub minimum_signers: usize,
    /// `investigators.acl`: an agent's access list, which the signers of an action must satisfy.
    pub acl: Option<PathBuf>,
    /// `[mq]` or `[relay]`
    pub relay: RelayConfig,
    /// `[postgres]` or `[sqlite]`
    pub store: StoreConfig,
    /// `[logging]`
    pub logging: LoggingConfig,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// `sqlite.file`
    Sqlite(PathBuf),
    /// `[postgres]`
    Postgres(PostgresConfig),
}

const SECTIONS: [&str; 11] = [
    "agent",
    "collector",
    "events",
    "periodic",
    "directories",
    "investigators",
    "relay",
    "mq",
    "sqlite",
    "postgres",
    "logging",
];

/// Whether `first` of two sections is present; exactly one must be.
fn is_first(ini: &Ini, first: &str, other: &str) -> Result<bool, ConfigError> {
    match (ini.section_line(first), ini.section_line(other)) {
        (Some(_), None) => Ok(true),
        (None, Some(_)) => Ok(false),
        (_, line) => {
            let text =
                if line.is_some() { "are both present; keep one" } else { "are both missing; one of them is needed" };
            Err(ConfigError {
                file: ini.file().to_owned(),
                line,
                text: format!("[{first}] and [{other}] {text}"),
                is_temporary: false,
            })
        }
    }
}

fn take_minimum_signers(ini: &mut Ini) -> Result<usize, ConfigError> {
    let most = limits::ACTION_SIGNATURES_MAX;
    let parse = |text: &str| match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("'{text}' is not a number from 1 to {most}")),
    };
    ini.take("investigators", "minimumsigners", 1, parse)
}

/// Takes `[mq]` or `[relay]`.
pub(super) fn take_relay(ini: &mut Ini) -> Result<RelayConfig, ConfigError> {
    Ok(if is_first(ini, "mq", "relay")? {
        RelayConfig::Broker(BrokerConfig::take(ini)?)
    } else {
        RelayConfig::Directory(ini.path_required("relay", "directory")?)
    })
}

/// Takes `[postgres]` or `[sqlite]`.
pub(super) fn take_store(ini: &mut Ini) -> Result<StoreConfig, ConfigError> {
    Ok(if is_first(ini, "postgres", "sqlite")? {
        StoreConfig::Postgres(PostgresConfig::take(ini)?)
    } else {
        StoreConfig::Sqlite(ini.path_required("sqlite", "file")?)
    })
}

impl SchedulerConfig {
    /// Reads and checks the file. Changes nothing.
    pub fn read(path: &Path) -> Result<SchedulerConfig, ConfigError> {
        SchedulerConfig::from_ini(Ini::read(path)?)
    }

    /// Checks the text of `file`.
    pub fn parse(text: &str, file: &str) -> Result<SchedulerConfig, ConfigError> {
        SchedulerConfig::from_ini(Ini::parse(text, file)?)
    }

    fn from_ini(mut ini: Ini) -> Result<SchedulerConfig, ConfigError> {
        let spool = ini.path_required("directories", "spool")?;
        if ini.path("directories", "tmp")?.is_some() {
            log::warn!("directories.tmp is ignored: files are staged in tmp below the spool, on its file system");
        }
        let seconds = Duration::from_secs;
        let config = SchedulerConfig {
            whitelist: ini.path("agent", "whitelist")?.unwrap_or_else(|| spool.join("agents_whitelist.txt")),
            spool,
            agent_timeout: ini.duration("agent", "timeout", seconds(3600))?,
            heartbeat_freq: ini.duration("agent", "heartbeatfreq", seconds(300))?,
            collector_freq: ini.duration("collector", "freq", seconds(60))?,
            delete_after: ini.duration("collector", "deleteafter", seconds(72 * 3600))?,
            collects_events: ini.boolean("events", "collect", false)?,
            periodic_freq: ini.duration("periodic", "freq", seconds(60))?,
            queues_cleanup_freq: ini.duration("periodic", "queuescleanupfreq", seconds(24 * 3600))?,
            detect_multi_agents: ini.boolean("agent", "detectmultiagents", true)?,
            kill_dup_agents: ini.boolean("agent", "killdupagents", false)?,
            keyring: ini.path("investigators", "keyring")?,
            minimum_signers: take_minimum_signers(&mut ini)?,
            acl: ini.path("investigators", "acl")?,
            relay: take_relay(&mut ini)?,
            store: take_store(&mut ini)?,
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
    use crate::config::Material;

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
    fn the_sections_of_the_seed_work_as_shown() {
        let text = "[directories]\nspool=/s\n[investigators]\nkeyring=/k\n[mq]\nhost = \"relay1.mig.example.net\"\n\
            port = 5671\nuser = \"scheduler\"\npass = \"secretrabbitmqpassword\"\nvhost = \"mig\"\n; TLS options\n\
            usetls = true\ncacert = \"/c\"\ntlscert = \"/t\"\ntlskey = \"/y\"\n[postgres]\nhost = \"192.168.0.1\"\n\
            port = 5432\ndbname = \"mig\"\nuser = \"migscheduler\"\npassword = \"4NvQ\"\nsslmode = \"verify-full\"\nmaxconn = 10\n";
        let config = parse(text).unwrap();
        assert!(!format!("{config:?}").contains("secretrabbit") && !format!("{config:?}").contains("4NvQ"));
        let RelayConfig::Broker(broker) = config.relay else { panic!() };
        assert_eq!((broker.vhost.as_str(), broker.tls.unwrap().ca), ("mig", Some(Material::File("/c".into()))));
        let StoreConfig::Postgres(postgres) = config.store else { panic!() };
        assert_eq!((postgres.connections_max, postgres.port), (10, 5432));
        for (from, to, error) in [
            ("usetls = true", "usetls = false", "mq.usetls: is off, but there are certificates"),
            ("tlskey = \"/y\"", "", "mq.tlskey: is missing, but there is a tlscert"),
            ("sslmode = \"verify-full\"", "sslmode = prefer", "postgres.sslmode: 'prefer' is none of"),
            ("maxconn = 10", "maxconn = 0", "postgres.maxconn: '0' is not a number from"),
            ("user = \"scheduler\"", "", "mq.user: is missing"),
        ] {
            let found = parse(&text.replace(from, to)).unwrap_err().to_string();
            assert!(found.contains(error), "{found}");
        }
        let neither = parse(&text.replace("[mq]", "[logging]")).unwrap_err().to_string();
        assert_eq!(neither, "s.cfg: [mq] and [relay] are both missing; one of them is needed");
    }

    #[test]
    fn a_configuration_of_the_original_needs_nothing_else() {
        let text = "[agent]\n    timeout = \"12h\"\n    heartbeatfreq = \"30s\"\n    whitelist = \"/var/cache/mig/agents_whitelist.txt\"\n\
            detectmultiagents = true\n[collector]\n    freq = \"7s\"\n    deleteafter = \"168h\"\n[directories]\n\
            spool = \"/var/cache/mig/\"\n    tmp = \"/var/tmp/\"\n[postgres]\n    host = \"127.0.0.1\"\n    port = 5432\n\
            dbname = \"mig\"\n    user = \"migscheduler\"\n    password = \"p-_\"\n    sslmode = \"disable\"\n    maxconn = 10\n\
            [mq]\n    host = \"127.0.0.1\"\n    port = 5672\n    user = \"scheduler\"\n    pass = \"p\"\n    vhost = \"mig\"\n\
            ; TLS options\n    usetls  = false\n; AMQP options\n    timeout = \"600s\"\n[logging]\n    mode = \"file\"\n\
            level = \"info\"\n    file = \"/var/cache/mig/mig-scheduler.log\"\n";
        let config = parse(text).unwrap();
        assert_eq!((config.keyring, config.minimum_signers, config.acl), (None, 1, None));
        assert_eq!(config.delete_after, Duration::from_secs(168 * 3600));
        assert_eq!(config.spool, Path::new("/var/cache/mig"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (add, error) in [
            ("[agent]\ntimeout = 10s\n", "s.cfg: agent.timeout: is shorter"),
            (
                "[investigators]\nminimumsigners = 0\n",
                "s.cfg:10: investigators.minimumsigners: '0' is not a number from 1 to",
            ),
            ("[collector]\nfreq = 0s\n", "s.cfg:10: collector.freq: must be longer than zero"),
            ("[collector]\nfrequency = 1s\n", "s.cfg:10: collector.frequency: unknown key"),
            ("[collecter]\n", "s.cfg:9: unknown section [collecter]"),
            ("[mq]\nhost = x\n", "s.cfg:5: [mq] and [relay] are both present"),
            ("[postgres]\nhost = x\n", "s.cfg:7: [postgres] and [sqlite] are both present"),
        ] {
            let found = parse(&format!("{LEAST}{add}")).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
