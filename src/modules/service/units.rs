//! Units of systemd as its files say (systemd.unit(5)): which there are, what changes them, and whether they are enabled.

use super::command::{self, Command, Syntax};
use super::entry::{Entry, Sink, State, Written};
use super::unit_file::{Settings, VALUES_MAX};
use crate::modules::file::mounts::{Mounts, Place};
use crate::modules::files::{self, Links, Machine};
use crate::modules::report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where units are, the most important first. The last is the same as the one before it where `/lib` is a link.
const DIRECTORIES: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// Units that systemd or people enable, there and in directories below.
const OF_PEOPLE: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];
/// Directories with links to units that start with another.
const WANTS: [&str; 3] = [".wants", ".requires", ".upholds"];
/// One file: far more than a unit has.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files that a unit and its drop-ins include: far more than people write.
const INCLUDES_MAX: usize = 100;
/// The kinds of units that are reported: the ends of their names.
const KINDS: [&str; 7] = ["service", "timer", "socket", "path", "mount", "automount", "swap"];

/// What is in the directories.
#[derive(Default)]
struct Found {
    /// The directories without links.
    directories: Vec<PathBuf>,
    /// What a program may be behind.
    mounts: Mounts,
    /// The file of each unit.
    files: BTreeMap<String, PathBuf>,
    /// Drop-ins by the name of their directory, the most important first.
    dropins: BTreeMap<String, Vec<PathBuf>>,
    /// What other units start: the file of a unit that has none in the directories, for systemd before version 243.
    links: BTreeMap<String, PathBuf>,
    /// Who starts a unit, and whether people said so.
    wanted: BTreeMap<String, BTreeSet<String>>,
    enabled: BTreeSet<String>,
}

/// The kind of a unit by its name; none for what is no unit, or one that runs nothing.
pub(super) fn kind(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    KINDS.into_iter().find(|kind| *kind == end)
}

/// Reads all units that have a file, and the instances of templates among those that run.
pub(super) fn read(machine: &Machine, running: Option<&BTreeSet<String>>, report: &mut Report, sink: &mut Sink) {
    let mut found = Found { mounts: mounts(report), ..Found::default() };
    for directory in DIRECTORIES {
        let path = machine.path(directory);
        found.directories.push(machine.follow(&path).unwrap_or_else(|_| path.clone()));
        let names = files::names(&path).reported(directory, report);
        found.read_directory(machine, directory, &path, &names, report);
    }
    found.add_instances(running);
    for (name, path) in std::mem::take(&mut found.links) {
        found.files.entry(name).or_insert(path);
    }
    for (name, path) in &found.files {
        if report.is_over() {
            break;
        }
        if let Some(unit) = kind(name).and_then(|kind| found.unit(machine, (name, kind), path, report)) {
            sink(unit, report);
        }
    }
}

fn mounts(report: &mut Report) -> Mounts {
    Mounts::read().unwrap_or_else(|error| {
        report.note(format_args!("read /proc/self/mountinfo: {error}: network mounts are unknown"));
        Mounts::default()
    })
}

impl Found {
    fn read_directory(
        &mut self,
        machine: &Machine,
        directory: &str,
        path: &Path,
        names: &[OsString],
        report: &mut Report,
    ) {
        for name in names {
            let (path, name) = (path.join(name), name.to_string_lossy().into_owned());
            if let Some(by) = WANTS.iter().find_map(|end| name.strip_suffix(end)) {
                let wanted = files::names(&path).reported(machine.name(&path), report);
                self.add_wanted(directory, by, &path, &wanted);
            } else if let Some(of) = name.strip_suffix(".d") {
                self.dropins.entry(of.to_owned()).or_default().push(path);
            } else if kind(&name).is_some() {
                self.add_alias(machine, directory, &name, &path);
                self.files.entry(name).or_insert(path);
            }
        }
    }

    fn add_wanted(&mut self, directory: &str, by: &str, path: &Path, names: &[OsString]) {
        for name in names {
            let (path, name) = (path.join(name), name.to_string_lossy().into_owned());
            if kind(&name).is_some() {
                self.links.entry(name.clone()).or_insert(path);
            }
            self.wanted.entry(name.clone()).or_default().insert(by.to_owned());
            if OF_PEOPLE.contains(&directory) {
                self.enabled.insert(name);
            }
        }
    }

    /// A link of people to a unit of another name enables it.
    fn add_alias(&mut self, machine: &Machine, directory: &str, name: &str, path: &Path) {
        let target =
            machine.follow(path).ok().and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()));
        if let Some(target) =
            target.filter(|target| target != name && kind(target).is_some() && OF_PEOPLE.contains(&directory))
        {
            self.enabled.insert(target);
        }
    }

    /// Instances that something starts or changes, or that run, have the file of their template, which is enabled then if they are.
    fn add_instances(&mut self, running: Option<&BTreeSet<String>>) {
        let names = self.wanted.keys().chain(self.dropins.keys()).chain(running.into_iter().flatten());
        let names: BTreeSet<String> = names.filter(|name| kind(name).is_some()).cloned().collect();
        for name in names {
            let Some(template) = template(&name) else { continue };
            if let Some(path) = self.files.get(&template).cloned() {
                self.files.entry(name.clone()).or_insert(path);
            }
            if self.enabled.contains(&name) {
                self.enabled.insert(template);
            }
        }
    }

    fn unit(
        &self,
        machine: &Machine,
        (name, kind): (&str, &'static str),
        path: &Path,
        report: &mut Report,
    ) -> Option<Entry> {
        let mut unit = Entry { kind, name: name.to_owned(), file: machine.name(path), ..Entry::default() };
        unit.wanted_by = self.wanted.get(name).into_iter().flatten().cloned().collect();
        let target = match machine.follow(path) {
            Ok(target) => target,
            // It was removed meanwhile.
            Err(error) if files::is_missing(&error) => return None,
            Err(error) => {
                report.unseen(format_args!("read {}: {error}", unit.file));
                return None;
            }
        };
        if target == machine.path("/dev/null") {
            unit.state = State::Masked;
            return Some(unit);
        }
        if let Ok(Place::Network(point)) = self.mounts.locate(&target) {
            report.unseen(format_args!("read {}: the network mount {}", unit.file, point.display()));
            return Some(unit);
        }
        let contents = match files::read(&target, Links::Follow, FILE_BYTES_MAX) {
            Ok(contents) => contents,
            // A link that leads nowhere: what it was for is gone.
            Err(error) if files::is_missing(&error) => {
                unit.missing.push(machine.name(&target));
                unit.state = State::Linked;
                return Some(unit);
            }
            Err(error) => {
                report.unseen(format_args!("read {}: {error}", unit.file));
                return Some(unit);
            }
        };
        unit.written = Some(Written::from(&contents.metadata));
        if !contents.is_whole {
            report.unseen(format_args!("read {}: only its first {FILE_BYTES_MAX} bytes", unit.file));
        }
        if contents.bytes.is_empty() {
            unit.state = State::Masked;
            return Some(unit);
        }
        let mut settings = Settings::default();
        let mut includes_left = INCLUDES_MAX;
        read_settings(&mut settings, machine, path, &contents.bytes, &mut includes_left, report);
        for dropin in self.dropins_of(machine, name, report) {
            if report.is_over() {
                break;
            }
            match files::read(
                &machine.follow(&dropin).unwrap_or_else(|_| dropin.clone()),
                Links::Follow,
                FILE_BYTES_MAX,
            ) {
                Ok(contents) => {
                    if !contents.is_whole {
                        let name = machine.name(&dropin);
                        report.unseen(format_args!("read {name}: only its first {FILE_BYTES_MAX} bytes"));
                    }
                    read_settings(&mut settings, machine, &dropin, &contents.bytes, &mut includes_left, report);
                    unit.dropins.push(machine.name(&dropin));
                }
                Err(error) if files::is_missing(&error) => {}
                Err(error) => report.unseen(format_args!("read {}: {error}", machine.name(&dropin))),
            }
        }
        if settings.is_cut() {
            report.unseen(format_args!("read {}: only its first {VALUES_MAX} commands or times", unit.file));
        }
        unit.state = self.state(machine, (name, path), &target, &settings);
        unit.user = settings.user();
        unit.schedules = settings.schedules();
        unit.commands = settings.commands().iter().map(|line| Command::of(line, Syntax::Systemd)).collect();
        let programs = settings.commands().iter().filter_map(|line| command::program(line)).collect::<BTreeSet<_>>();
        for program in programs {
            match self.mounts.locate(&machine.path(program)) {
                Ok(Place::Local(_)) => {}
                // A server that does not answer would hold up all of it.
                Ok(Place::Network(_)) => unit.unreached.push(program.to_owned()),
                Err(error) if files::is_missing(&error) => unit.missing.push(program.to_owned()),
                Err(error) => report.note(format_args!("look for {program} of {name}: {error}")),
            }
        }
        unit.unit = match target.file_name().map(|name| name.to_string_lossy().into_owned()) {
            Some(other) if unit.state == State::Alias => other,
            _ => settings.unit(name),
        };
        Some(unit)
    }

    /// Whether a unit is started, as `systemctl is-enabled` says.
    fn state(&self, machine: &Machine, (name, path): (&str, &Path), target: &Path, settings: &Settings) -> State {
        let shown = machine.name(path);
        let is_alias = target.file_name().is_some_and(|other| {
            let other = other.to_string_lossy();
            other != name && template(name).is_none_or(|template| other != template)
        });
        if shown.starts_with("/run/systemd/generator") {
            State::Generated
        } else if shown.starts_with("/run/systemd/transient/") {
            State::Transient
        } else if is_alias {
            State::Alias
        } else if self.enabled.contains(name) {
            State::Enabled
        } else if !self.directories.iter().any(|directory| target.starts_with(directory)) {
            State::Linked
        } else if settings.can_be_enabled() {
            State::Disabled
        } else {
            State::Static
        }
    }

    /// The files that change a unit, in the order in which they do: of the same name only the most important.
    fn dropins_of(&self, machine: &Machine, name: &str, report: &mut Report) -> Vec<PathBuf> {
        let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for directory in dropin_names(name).iter().filter_map(|name| self.dropins.get(name)).flatten() {
            let names = files::names(directory).reported(machine.name(directory), report);
            for name in names.into_iter().filter(|name| name.to_string_lossy().ends_with(".conf")) {
                let path = directory.join(&name);
                by_name.entry(name).or_insert(path);
            }
        }
        let is_masked = |path: &PathBuf| machine.follow(path).is_ok_and(|target| target == machine.path("/dev/null"));
        by_name.into_values().filter(|path| !is_masked(path)).collect()
    }
}

/// Reads the settings of a file at this path, and of those that it includes.
fn read_settings(
    settings: &mut Settings,
    machine: &Machine,
    path: &Path,
    bytes: &[u8],
    includes_left: &mut usize,
    report: &mut Report,
) {
    settings.read(bytes, &mut |name| {
        if report.is_over() {
            return None;
        }
        let Some(left) = includes_left.checked_sub(1) else {
            let path = machine.name(path);
            report.unseen(format_args!(
                "read {path}: only the first {INCLUDES_MAX} files that the unit includes, not {name}"
            ));
            return None;
        };
        *includes_left = left;
        let beside = path.parent().map_or_else(|| machine.path(name), |parent| parent.join(name));
        let included = if name.starts_with('/') { machine.path(name) } else { beside };
        match machine.follow(&included).and_then(|target| files::read(&target, Links::Follow, FILE_BYTES_MAX)) {
            Ok(contents) => {
                if !contents.is_whole {
                    let name = machine.name(&included);
                    report.unseen(format_args!("read {name}: only its first {FILE_BYTES_MAX} bytes"));
                }
                Some(contents.bytes)
            }
            Err(error) if files::is_missing(&error) => None,
            Err(error) => {
                report.unseen(format_args!("read {}: {error}", machine.name(&included)));
                None
            }
        }
    });
}

/// `getty@.service` for `getty@tty1.service`.
pub(super) fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, end) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{end}"))
}

/// The units whose drop-ins change a unit, the most important first: itself, its template, `a-.service` for `a-b.service`, and all
/// of its kind.
fn dropin_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    names.extend(template(name));
    let (Some((stem, end)), first) = (name.rsplit_once('.'), name.split('@').next().unwrap_or(name)) else {
        return names;
    };
    let stem = if name.contains('@') { first } else { stem };
    let mut dashes: Vec<usize> = stem.match_indices('-').map(|(at, _)| at).collect();
    while let Some(at) = dashes.pop() {
        names.push(format!("{}.{end}", &stem[..=at]));
    }
    names.push(end.to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_templates_and_drop_ins_are_those_of_systemd() {
        assert_eq!(template("getty@tty1.service").as_deref(), Some("getty@.service"));
        assert_eq!((template("getty@.service"), template("a.service")), (None, None));
        assert_eq!(dropin_names("a-b-c.service"), ["a-b-c.service", "a-b-.service", "a-.service", "service"]);
        assert_eq!(dropin_names("a-b@x-y.timer"), ["a-b@x-y.timer", "a-b@.timer", "a-.timer", "timer"]);
    }
}
