//! Scripts of System V's init and of OpenRC.

use super::command::Command;
use super::entry::{Entry, State, Written};
use crate::modules::files::{self, Machine};
use crate::modules::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where scripts are; on Red Hat the first is a link to the second.
const SCRIPTS: [&str; 2] = ["/etc/init.d", "/etc/rc.d/init.d"];
/// Scripts that run at the start without being in a runlevel.
const LOCAL: [&str; 2] = ["/etc/rc.local", "/etc/rc.d/rc.local"];
/// Files beside the scripts that are none.
const OTHERS: [&str; 4] = ["README", "skeleton", "functions", "functions.sh"];
/// Where OpenRC has its runlevels.
const OPENRC: &str = "/etc/runlevels";
/// Scripts that OpenRC runs when a machine starts and stops, and the ends of their names.
const LOCAL_OPENRC: &str = "/etc/local.d";
const LOCAL_ENDS: [(&str, &str); 2] = [(".start", "boot"), (".stop", "shutdown")];
const EXECUTABLE: u32 = 0o111;

/// Scripts by what they are when links are followed: each once.
type Scripts = BTreeMap<PathBuf, Entry>;

/// Reads all of them.
pub(super) fn read(machine: &Machine, report: &mut Report) -> Vec<Entry> {
    let in_levels = in_levels(machine, report);
    let mut by_name: BTreeMap<&OsStr, BTreeSet<&str>> = BTreeMap::new();
    for script in &in_levels {
        by_name.entry(&script.name).or_default().insert(&script.level);
    }
    let mut scripts = Scripts::new();
    for directory in SCRIPTS {
        let directory = Path::new(directory);
        for name in machine.names(directory, report) {
            if OTHERS.iter().any(|other| name == *other) || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // systemd goes by names, whatever the links in the levels lead to.
            let levels = by_name.get(name.as_os_str()).into_iter().flatten().copied();
            add(&mut scripts, machine, &directory.join(&name), &name, levels, report);
        }
    }
    for InLevel { path, name, level } in &in_levels {
        add(&mut scripts, machine, path, name, [level.as_str()], report);
    }
    for path in LOCAL {
        add(&mut scripts, machine, Path::new(path), OsStr::new("rc.local"), ["boot"], report);
    }
    for name in machine.names(Path::new(LOCAL_OPENRC), report) {
        let level = LOCAL_ENDS.iter().find(|(end, _)| name.as_encoded_bytes().ends_with(end.as_bytes()));
        if let Some((_, level)) = level {
            add(&mut scripts, machine, &Path::new(LOCAL_OPENRC).join(&name), &name, [*level], report);
        }
    }
    scripts.into_values().collect()
}

/// A script that is started in a runlevel.
struct InLevel {
    path: PathBuf,
    name: OsString,
    level: String,
}

/// The scripts that are started in runlevels; most are links to others.
fn in_levels(machine: &Machine, report: &mut Report) -> Vec<InLevel> {
    let mut found = Vec::new();
    for level in ["S", "0", "1", "2", "3", "4", "5", "6"] {
        for directory in [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")] {
            let directory = Path::new(&directory);
            for file in machine.names(directory, report) {
                // S01name is started, K01name is stopped.
                let Some(name) = file.as_bytes().strip_prefix(b"S") else { continue };
                let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let name = OsStr::from_bytes(&name[digits..]).to_owned();
                found.push(InLevel { path: directory.join(&file), name, level: format!("rc{level}") });
            }
        }
    }
    for level in machine.names(Path::new(OPENRC), report) {
        let directory = Path::new(OPENRC).join(&level);
        let level = level.to_string_lossy();
        for name in machine.names(&directory, report) {
            found.push(InLevel { path: directory.join(&name), name, level: level.clone().into_owned() });
        }
    }
    found
}

/// Adds a script, or levels to one that is known.
fn add<'l>(
    scripts: &mut Scripts,
    machine: &Machine,
    path: &Path,
    name: &OsStr,
    levels: impl IntoIterator<Item = &'l str>,
    report: &mut Report,
) {
    let found = machine.follow(&machine.path(path)).and_then(|real| Ok((std::fs::metadata(&real)?, real)));
    let (metadata, real) = match found {
        Ok(found) => found,
        Err(error) if files::is_missing(&error) => return,
        Err(error) => return report.unseen(format_args!("read {}: {error}", path.display())),
    };
    if !metadata.is_file() {
        return;
    }
    let is_executable = std::os::unix::fs::MetadataExt::mode(&metadata) & EXECUTABLE != 0;
    let file = path.to_string_lossy().into_owned();
    let script = scripts.entry(real).or_insert_with(|| Entry {
        kind: "sysv",
        name: name.to_string_lossy().into_owned(),
        user: "root".to_owned(),
        commands: vec![Command::file(&file)],
        file,
        written: Some(Written::from(&metadata)),
        ..Entry::default()
    });
    for level in levels {
        if !script.schedules.iter().any(|known| known == level) {
            script.schedules.push(level.to_owned());
        }
    }
    script.state = match (script.schedules.is_empty(), is_executable) {
        (true, _) => State::Disabled,
        (false, true) => State::Enabled,
        (false, false) => State::Ignored,
    };
}
