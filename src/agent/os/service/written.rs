//! The directories that the service may write to, besides the unit's own. All others are closed (`ProtectSystem=strict`), and no
//! setting may open one that has programs, the configuration or keys.

use super::{SHARED, is_shared};
use crate::config::agent::{AgentConfig, DEFAULT_FILE, StatSocket};
use crate::config::broker::RelayConfig;
use crate::config::{LoggingMode, Material};
use std::path::{Path, PathBuf};

/// The directories; `file` is the configuration file, if one is named. The error names a setting that would open too much.
pub(super) fn directories(config: &AgentConfig, file: Option<&Path>) -> Result<Vec<PathBuf>, String> {
    let mut directories = vec![config.run_directory.clone()];
    if let RelayConfig::Directory(path) = &config.relay {
        directories.push(path.clone());
    }
    // For the module `upgrade`, where it can replace nothing but the agent.
    if !is_shared(&config.install_directory) {
        directories.push(config.install_directory.clone());
    }
    let closed = closed(config, file);
    let socket = match &config.socket {
        StatSocket::Unix(path) => Some(("agent.socket", path)),
        StatSocket::Off | StatSocket::Tcp(_) => None,
    };
    let log = match &config.logging.mode {
        LoggingMode::File(path) => Some(("logging.file", path)),
        LoggingMode::Stdout | LoggingMode::Syslog(_) => None,
    };
    for (setting, path) in socket.into_iter().chain(log) {
        let Some(directory) = path.parent().map(Path::to_owned) else { continue };
        // What is open is not opened further.
        if directories.contains(&directory) {
            continue;
        }
        if let Some(closed) = closed.iter().find(|closed| closed.starts_with(&directory)) {
            return Err(format!(
                "{setting}: the service would have to write to {}, and so to {}; choose a directory of the agent's own",
                directory.display(),
                closed.display()
            ));
        }
        directories.push(directory);
    }
    Ok(directories)
}

/// What no setting opens.
fn closed(config: &AgentConfig, file: Option<&Path>) -> Vec<PathBuf> {
    let material = |material: &Material| match material {
        Material::File(path) => Some(path.clone()),
        Material::Inside(_) => None,
    };
    let identity = match &config.relay {
        RelayConfig::Broker(broker) => broker.tls.as_ref().and_then(|tls| tls.identity.as_ref()),
        RelayConfig::Directory(_) => None,
    };
    let identity = identity.into_iter().flat_map(|(certificate, key)| [certificate, key]);
    let materials = [&config.keyring, &config.acl].into_iter().chain(&config.ca).chain(identity);
    let directories = ["/etc", "/usr", "/boot"].into_iter().chain(SHARED).map(PathBuf::from);
    let file = file.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    directories.chain([file]).chain(materials.filter_map(material)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories_with(lines: &str) -> Result<Vec<PathBuf>, String> {
        let text = format!("[agent]\nrelay = dir:///r\nkeyring = /srv/keys/ring\nacl = /srv/acl/acl.json\n{lines}\n");
        directories(&AgentConfig::parse(&text, "a.cfg").unwrap(), Some(Path::new("/opt/mig/etc/a.cfg")))
    }

    #[test]
    fn neither_socket_nor_log_opens_programs_configuration_or_keys() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let always = ["/var/lib/mig-agent", "/r", "/usr/local/lib/mig-agent"];
        assert_eq!(directories_with("").unwrap(), paths(&always), "the default socket is in the run directory");
        let found = directories_with("socket = /run/mig/s\n[logging]\nmode = file\nfile = /var/log/mig.log").unwrap();
        assert_eq!(found, paths(&[&always[..], &["/run/mig", "/var/log"]].concat()));
        for (path, opens) in [
            ("/mig", "/etc"),
            ("/etc/mig", "/etc"),
            ("/usr/mig", "/usr"),
            ("/usr/bin/mig", "/usr/bin"),
            ("/srv/keys/mig", "/srv/keys/ring"),
            ("/srv/mig", "/srv/keys/ring"),
            ("/srv/acl/mig", "/srv/acl/acl.json"),
            ("/opt/mig/etc/mig", "/opt/mig/etc/a.cfg"),
        ] {
            let end = format!("and so to {opens}; choose a directory of the agent's own");
            for (setting, lines) in [
                ("agent.socket: ", format!("socket = {path}")),
                ("logging.file: ", format!("[logging]\nmode = file\nfile = {path}")),
            ] {
                let refused = directories_with(&lines).unwrap_err();
                assert!(refused.starts_with(setting) && refused.ends_with(&end), "{refused}");
            }
        }
    }
}
