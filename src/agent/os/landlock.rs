//! The layer of Landlock (landlock(7)): files and the network, by what they are and not by system calls.
//!
//! Every way of changing a file is denied, in every mount namespace; what a module needs is permitted again below one
//! directory. Reading is restricted only where it is not needed at all, so that it costs nothing else.

use crate::limits;
use crate::modules::Needs;
use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use std::path::{Path, PathBuf};

/// The newest interface whose rights were tried; an older kernel takes those that it knows.
const NEWEST: ABI = ABI::V7;

/// What a module may read that needs no files: the kernel's view of the machine and of the process itself.
const ALWAYS_READABLE: [&str; 2] = ["/proc", "/sys/devices/system/cpu"];

/// What finding and verifying another machine reads: names, services, roots of certificates, the system's libraries that
/// look up names, and which machines have the time.
const READABLE_FOR_NETWORK: [&str; 26] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/local/ssl",
    "/usr/lib/ssl",
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/etc/ntp.conf",
    "/etc/ntpsec/ntp.conf",
    "/etc/chrony.conf",
    "/etc/chrony/chrony.conf",
    "/etc/systemd/timesyncd.conf",
];

/// Restricts the calling thread. Returns the version of the kernel's interface, none if it lacks Landlock.
pub(super) fn restrict(needs: Needs, directory: Option<&Path>) -> Result<Option<i32>, RulesetError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut files = AccessFs::from_write(NEWEST) | AccessFs::Execute;
    if !needs.reads_files {
        files |= reading;
    }
    let mut network: BitFlags<AccessNet> = AccessNet::BindTcp.into();
    if !needs.opens_network {
        network |= AccessNet::ConnectTcp;
    }
    let mut scopes: BitFlags<Scope> = Scope::AbstractUnixSocket.into();
    if !needs.ends_processes {
        scopes |= Scope::Signal;
    }
    let mut rules = Ruleset::default().handle_access(files)?.handle_access(network)?.scope(scopes)?.create()?;
    if !needs.reads_files {
        rules = rules.add_rules(path_beneath_rules(ALWAYS_READABLE, reading))?;
        rules = rules.add_rules(path_beneath_rules(directory, reading))?;
        if needs.opens_network {
            rules = rules.add_rules(path_beneath_rules(READABLE_FOR_NETWORK, reading))?;
            rules = rules.add_rules(path_beneath_rules(authorities(), reading))?;
        }
    }
    if needs.writes_program_directory {
        let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
        let writing = AccessFs::from_write(NEWEST) & !devices;
        rules = rules.add_rules(path_beneath_rules(directory, writing))?;
    }
    if needs.removes_programs {
        rules = rules.add_rules(path_beneath_rules(directory, AccessFs::RemoveFile))?;
    }
    if needs.runs_programs {
        rules = rules.add_rules(path_beneath_rules(directory, AccessFs::Execute))?;
        // What a program is started with in place of a terminal.
        let using = (AccessFs::ReadFile | AccessFs::WriteFile) & files;
        rules = rules.add_rules(path_beneath_rules(["/dev/null"], using))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } if status.ruleset != RulesetStatus::NotEnforced => {
            Some(kernel_abi.unwrap_or(effective_abi as i32))
        }
        _ => None,
    })
}

/// The authorities that this machine trusts, wherever they are: the file and the directories that the TLS library reads, or
/// that the environment names, and the files that links in these directories lead to.
fn authorities() -> Vec<PathBuf> {
    let found = openssl_probe::probe();
    let named = std::env::var_os("SSL_CERT_DIR").unwrap_or_default();
    let mut paths = found.cert_dir;
    paths.extend(std::env::split_paths(&named).filter(|path| path.is_absolute()));
    let entries = paths.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten();
    let links =
        entries.flatten().take(limits::AUTHORITY_LINKS_MAX).map(|entry| entry.path()).filter(|path| path.is_symlink());
    let is_hidden = |path: &PathBuf| !READABLE_FOR_NETWORK.iter().any(|readable| path.starts_with(readable));
    let targets: Vec<PathBuf> = links.filter_map(|link| link.canonicalize().ok()).filter(is_hidden).collect();
    paths.extend(targets.into_iter().filter(|target| target.is_file()));
    paths.extend(found.cert_file);
    paths
}
