//! Looks, and reports what matches.

use super::facts::Fact;
use super::files::{NetFiles, Table};
use super::holders::{self, Holders};
use super::kernel;
use super::namespaces::{self, is_late};
use super::parameters::{Kind, Search, Wanted};
use crate::modules::processes::Processes;
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult, limits};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::time::Instant;

/// The clock is looked at after so many facts.
const FACTS_PER_LOOK: usize = 256;
/// What the agent's own network namespace is called.
const OWN: &str = "default";

/// A fact that a search looks for.
struct Match<'w> {
    search: &'w Search,
    fact: Fact,
    namespace: Option<Rc<str>>,
}

/// Facts that were looked at, and those that match.
struct Looking<'w> {
    wanted: &'w Wanted,
    deadline: Option<Instant>,
    examined: usize,
    matches: Vec<Match<'w>>,
}

/// Runs an operation.
pub(super) fn run(wanted: &Wanted, context: Context) -> ModuleResult {
    run_shaped(wanted, nested, context)
}

/// Runs an operation. `shape` makes its elements of lists by label.
pub(super) fn run_shaped(wanted: &Wanted, shape: fn(Map<String, Value>) -> Value, context: Context) -> ModuleResult {
    let shaped = |result: ModuleResult| {
        let lists = result.elements.as_object().cloned().unwrap_or_default();
        ModuleResult { elements: shape(lists), ..result }
    };
    let progress = context.progress.map(|outer| move |result: &ModuleResult| outer(&shaped(result.clone())));
    let context =
        Context { progress: progress.as_ref().map(|progress| progress as &(dyn Fn(&ModuleResult) + Sync)), ..context };
    let mut report = Report::new(context, wanted.searches.iter().map(|search| &search.label));
    let mut looking = Looking { wanted, deadline: report.deadline(), examined: 0, matches: Vec::new() };
    looking.look_here(&mut report);
    looking.report(&mut report);
    if wanted.namespaces && !report.is_over() {
        if let Err(error) = looking.look_elsewhere(&mut report) {
            report.unseen(format_args!("other network namespaces: read /proc: {error}"));
        }
        looking.report(&mut report);
    }
    report.is_over();
    shaped(report.finish(&json!({"examined": looking.examined})))
}

impl<'w> Looking<'w> {
    /// The tables that the searches need, once each.
    fn tables(&self) -> BTreeSet<Table> {
        self.wanted.searches.iter().map(|search| search.kind.table()).collect()
    }

    /// The labels of the searches that need a table.
    fn labels(&self, table: Table) -> Vec<String> {
        let of_table = self.wanted.searches.iter().filter(|search| search.kind.table() == table);
        of_table.map(|search| search.label.clone()).collect()
    }

    /// Looks at the agent's own namespace.
    fn look_here(&mut self, report: &mut Report) {
        let namespace = self.wanted.namespaces.then(|| Rc::from(OWN));
        for table in self.tables() {
            let asked = self.collect(namespace.as_ref(), |each| kernel::read(table, each));
            let Err(error) = asked else { continue };
            let read = self.collect(namespace.as_ref(), |each| own_files(table)?.read(each));
            if let Err(second) = read {
                let text = format!("{}: ask the kernel: {error}; read /proc/net: {second}", table.name());
                report.unseen_of(self.labels(table), text);
            } else if let Some(missing) = table.without_file() {
                report.unseen_of(self.labels(table), format_args!("{missing}: ask the kernel: {error}"));
            }
        }
    }

    /// Looks at the other namespaces.
    fn look_elsewhere(&mut self, report: &mut Report) -> io::Result<()> {
        let processes = Processes::open()?;
        let others = namespaces::others(&processes, report)?;
        let tables = self.tables();
        if !others.is_empty() {
            for table in &tables {
                if let Some(missing) = table.without_file() {
                    let text = format!("{missing} of {} other network namespaces", others.len());
                    report.unseen_of(self.labels(*table), text);
                }
            }
        }
        for (name, threads) in &others {
            for table in &tables {
                if is_late(report) {
                    return Ok(());
                }
                let read = self.collect(Some(&Rc::from(name.as_str())), |each| {
                    namespaces::open(&processes, name, threads, *table)?.map_or(Ok(()), |files| files.read(each))
                });
                if let Err(error) = read {
                    let text = format!("{} of the network namespace {name}: {error}", table.name());
                    report.unseen_of(self.labels(*table), text);
                }
            }
        }
        Ok(())
    }

    /// Collects what matches of one table: all, or nothing if it cannot be read.
    fn collect(
        &mut self,
        namespace: Option<&Rc<str>>,
        read: impl FnOnce(&mut dyn FnMut(Fact) -> bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let (examined_before, count_before) = (self.examined, self.matches.len());
        let outcome = read(&mut |fact| {
            self.examined += 1;
            let met = self.wanted.searches.iter().filter(|search| search.is_met_by(&fact));
            self.matches.extend(met.map(|search| Match { search, fact: fact.clone(), namespace: namespace.cloned() }));
            let is_late = || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            // One more than a result may have, by which it knows that there are more.
            self.matches.len() <= limits::ELEMENTS_MAX && !(self.examined.is_multiple_of(FACTS_PER_LOOK) && is_late())
        });
        if outcome.is_err() {
            self.examined = examined_before;
            self.matches.truncate(count_before);
        }
        outcome
    }

    /// Reports the matches, with the processes of sockets.
    fn report(&mut self, report: &mut Report) {
        let inode = |found: &Match| match &found.fact {
            Fact::Socket(socket) if self.wanted.holders && socket.inode != 0 => Some(socket.inode),
            _ => None,
        };
        let inodes: BTreeSet<u64> = self.matches.iter().filter_map(inode).collect();
        // Half of the time that is left: the matches are worth more.
        let now = Instant::now();
        let until = self.deadline.map(|deadline| now + deadline.saturating_duration_since(now) / 2);
        let holders = holders::find(&inodes, until);
        for doubt in &holders.doubts {
            report.note(doubt);
        }
        for found in self.matches.drain(..) {
            if !report.add(&found.search.label, element(&found, &holders)) {
                break;
            }
        }
    }
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Interfaces => "MACs of interfaces",
            Table::Addresses => "local addresses",
            Table::Neighbours => "neighbours",
            Table::Sockets => "sockets",
        }
    }

    /// What has no file below `/proc`.
    fn without_file(self) -> Option<&'static str> {
        match self {
            Table::Interfaces => Some("MACs of interfaces"),
            Table::Neighbours => Some("neighbours of IPv6"),
            Table::Addresses | Table::Sockets => None,
        }
    }
}

fn own_files(table: Table) -> io::Result<NetFiles> {
    NetFiles::open(&Processes::open()?.process(std::process::id().cast_signed())?, table, || Ok(()))
}

/// An element, in the original's shape and with what it has not.
fn element(found: &Match, holders: &Holders) -> Value {
    let mut element = match &found.fact {
        Fact::Interface { mac, name } => json!({"localmacaddr": mac, "interface": name}),
        Fact::Address(address) => json!({"localaddr": address}),
        Fact::Neighbour { address, mac: Some(mac) } => json!({"remotemacaddr": mac, "remoteaddr": address}),
        Fact::Neighbour { address, mac: None } => json!({"remoteaddr": address}),
        Fact::Socket(socket) => {
            let mut element = json!({
                "localaddr": socket.local.ip(), "localport": socket.local.port(), "protocol": socket.protocol.name(),
            });
            if found.search.kind == Kind::ConnectedIp {
                element["remoteaddr"] = json!(socket.remote.ip());
                element["remoteport"] = json!(socket.remote.port());
                element["state"] = json!(socket.state_name());
            }
            if let Some(processes) = holders.of.get(&socket.inode) {
                element["processes"] = processes.iter().map(|process| Value::clone(process)).collect();
            }
            element
        }
    };
    if let Some(namespace) = &found.namespace {
        element["namespace"] = json!(**namespace);
    }
    element
}

/// Elements by parameter and value, as the original has them, in place of those by label.
fn nested(labels: Map<String, Value>) -> Value {
    let mut parameters: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (label, elements) in labels {
        let (field, value) = label.split_once(' ').unwrap_or((&label, ""));
        parameters.entry(field.to_owned()).or_default().insert(value.to_owned(), elements);
    }
    json!(parameters)
}
