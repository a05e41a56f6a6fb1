//! Which units of systemd have processes: those with a control group that has some.

use crate::modules::files::{self, Links, Machine};
use crate::modules::report::Report;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Where systemd keeps its control groups: version 2, version 1, and both at once.
const GROUPS: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// Control groups that are looked at: some ten for each container of a large machine.
const GROUPS_MAX: usize = 50_000;
/// What is read of the processes of a group: whether there is one.
const PROCESS_BYTES: u64 = 16;
/// The end of the name of a group that has units, as the root has.
const SLICE: &str = ".slice";

/// The names of the units that run; none if that is not known.
pub(super) fn read(machine: &Machine, report: &mut Report) -> Option<BTreeSet<String>> {
    if !machine.path("/run/systemd/system").is_dir() {
        // Another program started this machine.
        return Some(BTreeSet::new());
    }
    let is_of_systemd = |path: &PathBuf| path.join("cgroup.procs").is_file();
    let Some(root) = GROUPS.map(|path| machine.path(path)).into_iter().find(is_of_systemd) else {
        return active(machine, report);
    };
    let (mut running, mut left) = (BTreeSet::new(), GROUPS_MAX);
    let mut pending: Vec<(PathBuf, Option<String>)> = vec![(root.clone(), None)];
    while let Some((path, unit)) = pending.pop() {
        if report.is_over() {
            break;
        }
        if left == 0 {
            report.unseen(format_args!("read {}: more than {GROUPS_MAX} control groups", machine.name(&root)));
            break;
        }
        left -= 1;
        if let Some(unit) = &unit {
            if running.contains(unit) {
                continue;
            }
            let processes = files::read(&path.join("cgroup.procs"), Links::Follow, PROCESS_BYTES);
            if processes.is_ok_and(|first| !first.bytes.is_empty()) {
                running.insert(unit.clone());
                continue;
            }
        }
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // It is gone meanwhile.
            Err(error) if files::is_missing(&error) => continue,
            Err(error) => {
                let of = unit.unwrap_or_else(|| machine.name(&path));
                report.unseen(format_args!("read the control groups of {of}: {error}"));
                continue;
            }
        };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let of = name.strip_prefix('_').unwrap_or(&name);
            // What is below a unit is its own, such as a user's units. What is below anything else but a slice is not of this
            // systemd: the units of a container in a scope.
            let unit = unit.clone().or_else(|| super::units::kind(of).is_some().then(|| of.to_owned()));
            if unit.is_some() || name.ends_with(SLICE) {
                pending.push((entry.path(), unit));
            }
        }
    }
    Some(running)
}

/// Units that are active, with or without processes, as systemd itself notes them.
fn active(machine: &Machine, report: &mut Report) -> Option<BTreeSet<String>> {
    let path = machine.path("/run/systemd/units");
    let names = files::names(&path).reported(machine.name(&path), report);
    if names.is_empty() {
        report.note("no control groups of systemd and no /run/systemd/units: which units run is unknown");
        return None;
    }
    let names = names.into_iter().map(|name| name.to_string_lossy().into_owned());
    Some(names.filter_map(|name| Some(name.strip_prefix("invocation:")?.to_owned())).collect())
}
