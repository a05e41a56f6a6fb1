//! What operators write: access lists, whitelists, configurations.

use super::keys::KNOWN;
use mig::acl::Acl;
use mig::action::Action;
use mig::config::agent::{AgentConfig, StatSocket};
use mig::config::broker::RelayConfig;
use mig::config::scheduler::{SchedulerConfig, StoreConfig};
use mig::config::{ConfigError, LoggingConfig, LoggingMode, Material};
use mig::investigator::Fingerprint;
use mig::limits;
use mig::re2::{Expression, NEST_LIMIT};
use mig::scheduler::whitelist::Whitelist;
use regex::RegexBuilder;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

static ACTION: LazyLock<Action> = LazyLock::new(|| {
    Action::parse(include_bytes!("../../samples/action-signed-by-one.json")).expect("the sample is good")
});

/// An access list: nobody and a stranger may nothing, and who signs along takes no permission away.
pub fn acl(data: &[u8]) {
    let Ok(acl) = Acl::parse(data) else { return };
    let allows = |signers: &[&Fingerprint]| {
        let signers: BTreeSet<Fingerprint> = signers.iter().copied().cloned().collect();
        acl.check(&ACTION, &signers).is_ok()
    };
    let stranger = Fingerprint::parse(&"5EED".repeat(10)).expect("a fingerprint");
    // The fuzzer sees what is compared: it may list the stranger.
    let text =
        serde_json::from_slice::<serde_json::Value>(data).map_or_else(|_| String::new(), |value| value.to_string());
    if text.replace(' ', "").to_uppercase().contains(stranger.as_str()) {
        return;
    }
    assert!(!allows(&[]), "nobody signed");
    assert!(!allows(&[&stranger]), "a stranger signed");
    for known in &KNOWN.fingerprints {
        assert!(!allows(&[known]) || allows(&[known, &stranger]), "a stranger signed along");
    }
}

/// Agents of the usual kinds, and some that are written to be let in by mistake.
const QUEUELOCS: [&str; 8] = [
    "linux.agent123.example.net.58b3mndjmbb00",
    "linux.server12.example.net.abcdefghijklm",
    "windows.db4.sub.example.com.56b2andxmyb00",
    "darwin.a_b-c.1",
    "linux.a.b",
    "# comment",
    "re:^linux",
    "",
];

/// A whitelist: it lets in exactly those whom one of its lines names.
pub fn whitelist(data: &[u8]) {
    let Ok(whitelist) = Whitelist::parse(data, Path::new("whitelist")) else { return };
    let text = std::str::from_utf8(data).expect("what is not UTF-8 is refused");
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let plain: HashSet<&str> = lines().filter(|line| !line.starts_with("re:")).collect();
    let queuelocs: HashSet<&str> = QUEUELOCS.into_iter().chain(plain.iter().copied()).collect();
    let mut named = plain;
    let compile = |line: &str| {
        let expression = line.strip_prefix("re:")?;
        let size_bytes_max = limits::whitelist_expression_size_bytes_max(expression);
        let pattern = Expression::parse(expression).ok()?.to_pattern();
        let build = |text: &str| RegexBuilder::new(text).nest_limit(NEST_LIMIT).size_limit(size_bytes_max).build().ok();
        build(&format!("\\A(?:{pattern})\\z"))
    };
    for expression in lines().filter_map(compile) {
        named.extend(queuelocs.iter().filter(|queueloc| expression.is_match(queueloc)));
    }
    for queueloc in queuelocs {
        assert_eq!(whitelist.allows(queueloc), named.contains(queueloc), "{queueloc}");
    }
}

/// Configurations, in a file or inside an agent: what is accepted can be worked with, and an error names a line that there is.
pub fn configuration(data: &[u8]) {
    const FILE: &str = "some.cfg";
    let Ok(text) = std::str::from_utf8(data) else { return };
    match SchedulerConfig::parse(text, FILE) {
        Ok(config) => {
            let mut paths = vec![&config.spool, &config.whitelist];
            paths.extend(config.keyring.iter().chain(&config.acl));
            assert!(config.minimum_signers > 0);
            paths.extend(relay_paths(&config.relay));
            match &config.store {
                StoreConfig::Sqlite(file) => paths.push(file),
                StoreConfig::Postgres(postgres) => paths.extend(postgres.ca.iter().filter_map(file)),
            }
            assert!(paths.iter().all(|path| path.is_absolute()), "{paths:?}");
            for duration in [config.heartbeat_freq, config.collector_freq, config.delete_after, config.periodic_freq] {
                assert_ne!(duration, Duration::ZERO);
            }
            assert!(config.agent_timeout >= config.heartbeat_freq);
            logging(&config.logging);
        }
        Err(error) => assert_names_a_line(&error, text),
    }
    agent(AgentConfig::parse(text, FILE), text);
    agent(AgentConfig::parse_inside(text, FILE), text);
}

fn agent(parsed: Result<AgentConfig, ConfigError>, text: &str) {
    match parsed {
        Ok(config) => {
            let mut paths = vec![&config.run_directory, &config.install_directory];
            paths.extend([&config.keyring, &config.acl].into_iter().filter_map(file));
            paths.extend(relay_paths(&config.relay));
            assert!(paths.iter().all(|path| path.is_absolute()), "{paths:?}");
            for duration in [config.heartbeat_freq, config.module_timeout, config.refresh_environment] {
                assert_ne!(duration, Duration::ZERO);
            }
            match &config.socket {
                StatSocket::Off => {}
                StatSocket::Unix(path) => assert!(path.is_absolute(), "{path:?}"),
                StatSocket::Tcp(address) => assert!(address.ip().is_loopback(), "{address}"),
            }
            assert!(config.proxies.iter().all(|proxy| !proxy.host.is_empty() && proxy.port > 0));
            logging(&config.logging);
        }
        Err(error) => assert_names_a_line(&error, text),
    }
}

fn file(material: &Material) -> Option<&PathBuf> {
    match material {
        Material::File(path) => Some(path),
        Material::Inside(_) => None,
    }
}

fn relay_paths(relay: &RelayConfig) -> Vec<&PathBuf> {
    match relay {
        RelayConfig::Directory(path) => vec![path],
        RelayConfig::Broker(broker) => {
            assert!(!broker.host.is_empty() && broker.port > 0 && broker.timeout > Duration::ZERO);
            let tls = broker.tls.iter();
            let pems = tls.flat_map(|tls| tls.ca.iter().chain(tls.identity.iter().flat_map(|(cert, key)| [cert, key])));
            pems.filter_map(file).collect()
        }
    }
}

fn logging(logging: &LoggingConfig) {
    if let LoggingMode::File(path) = &logging.mode {
        assert!(path.is_absolute(), "{}", path.display());
    }
}

fn assert_names_a_line(error: &ConfigError, text: &str) {
    assert!(error.to_string().starts_with("some.cfg:"), "{error}");
    assert!(error.line.is_none_or(|line| (1..=text.lines().count()).contains(&line)), "{error}");
}
