//! Scripts of System V's init and of OpenRC.

use super::entry::{Entry, State, Written};
use crate::modules::files::Machine;
use crate::modules::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where scripts are; on Red Hat the first is a link to the second.
const SCRIPTS: [&str; 2] = ["/etc/init.d", "/etc/rc.d/init.d"];
/// Scripts that run at the start without being in a runlevel.
const LOCAL: [&str; 2] = ["/etc/rc.local", "/etc/rc.d/rc.local"];
/// Files beside the scripts that are none.
const OTHERS: [&str; 4] = ["README", "skeleton", "functions", "functions.sh"];
/// Where OpenRC has its runlevels.
const OPENRC: &str = "/etc/runlevels";
const EXECUTABLE: u32 = 0o111;

/// Reads all of them.
pub(super) fn read(machine: &Machine, report: &mut Report) -> Vec<Entry> {
    let levels = levels(machine, report);
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for directory in SCRIPTS {
        for name in machine.names(directory, report) {
            if OTHERS.contains(&name.as_str()) || name.starts_with('.') {
                continue;
            }
            let found = levels.get(&name).map(|levels| levels.iter().cloned().collect()).unwrap_or_default();
            if let Some(entry) = script(machine, &Path::new(directory).join(&name), &name, found) {
                entries.entry(name).or_insert(entry);
            }
        }
    }
    for path in LOCAL {
        entries.extend(
            script(machine, Path::new(path), "rc.local", vec!["boot".to_owned()])
                .map(|entry| ("rc.local".into(), entry)),
        );
    }
    entries.into_values().collect()
}

/// The runlevels in which each script is started.
fn levels(machine: &Machine, report: &mut Report) -> BTreeMap<String, BTreeSet<String>> {
    let mut levels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for level in ["S", "2", "3", "4", "5"] {
        for directory in [format!("/etc/rc{level}.d"), format!("/etc/rc.d/rc{level}.d")] {
            for name in machine.names(&directory, report) {
                // S01name is started, K01name is stopped.
                let script =
                    name.strip_prefix('S').map(|name| name.trim_start_matches(|letter: char| letter.is_ascii_digit()));
                if let Some(script) = script {
                    levels.entry(script.to_owned()).or_default().insert(format!("rc{level}"));
                }
            }
        }
    }
    for level in machine.names(OPENRC, report) {
        for name in machine.names(&format!("{OPENRC}/{level}"), report) {
            levels.entry(name).or_default().insert(level.clone());
        }
    }
    levels
}

fn script(machine: &Machine, path: &Path, name: &str, levels: Vec<String>) -> Option<Entry> {
    let metadata = machine.path(path).metadata().ok().filter(std::fs::Metadata::is_file)?;
    let is_executable = std::os::unix::fs::MetadataExt::mode(&metadata) & EXECUTABLE != 0;
    let file = path.to_string_lossy().into_owned();
    let state = match (levels.is_empty(), is_executable) {
        (true, _) => State::Disabled,
        (false, true) => State::Enabled,
        (false, false) => State::Ignored,
    };
    Some(Entry {
        kind: "sysv",
        name: name.to_owned(),
        state,
        user: "root".to_owned(),
        commands: vec![file.clone()],
        file,
        schedules: levels,
        written: Some(Written::from(&metadata)),
        ..Entry::default()
    })
}
