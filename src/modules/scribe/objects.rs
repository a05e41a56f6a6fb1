//! What objects collect from the machine.

use super::document::{CHAIN_ROOT, Document, Place, Source};
use crate::modules::Context;
use crate::modules::file::locate;
use crate::modules::file::mounts::Mounts;
use crate::modules::files::{self, Links};
use crate::modules::pkg::databases::{Found, Gathered, Kind, Package, installed};
use crate::modules::pkg::versions::Scheme;
use crate::re2;
use regex::Regex;
use rustix::fs::CWD;
use std::cmp::Ordering;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of a line that are compared at once; what follows is another line, as in the original.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Values of one object.
const VALUES_MAX: usize = 100_000;
/// Bytes of the values of all objects.
const VALUES_BYTES_MAX: usize = 64 << 20;
/// Chains in chains.
const CHAIN_DEPTH_MAX: usize = 4;

/// What a test compares.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// The file or the package that it is of.
    pub(super) identifier: String,
    /// Never returned.
    pub(super) value: String,
    /// Whose rules a version follows.
    pub(super) scheme: Scheme,
}

/// What an object collected.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) candidates: Vec<Candidate>,
    /// What it could not look at.
    pub(super) unseen: Vec<String>,
    bytes_left: usize,
}

impl Collected {
    fn within(bytes_left: usize) -> Collected {
        Collected { candidates: Vec::new(), unseen: Vec::new(), bytes_left }
    }

    fn add(&mut self, identifier: &str, value: &str, scheme: Scheme) {
        let bytes_left = self.bytes_left.checked_sub(identifier.len() + value.len() + size_of::<Candidate>());
        let Some(bytes_left) = bytes_left.filter(|_| self.candidates.len() < VALUES_MAX) else {
            if self.unseen.last().is_none_or(|last| !last.starts_with("more than")) {
                let reason =
                    format!("more than {VALUES_MAX} values, or {VALUES_BYTES_MAX} bytes of those of all objects");
                self.unseen.push(reason);
            }
            return;
        };
        self.bytes_left = bytes_left;
        self.candidates.push(Candidate { identifier: identifier.to_owned(), value: value.to_owned(), scheme });
    }
}

/// Collects for the objects of a document; the packages are read once.
pub(super) struct Collector<'d> {
    document: &'d Document,
    root: &'d Path,
    context: Context<'d>,
    packages: Option<Found>,
    /// Read once. Without them it is not known what is missing.
    mounts: io::Result<Mounts>,
    /// Of the values of all objects.
    bytes_left: usize,
}

impl<'d> Collector<'d> {
    pub(super) fn new(
        document: &'d Document,
        root: &'d Path,
        context: Context<'d>,
        mounts: io::Result<Mounts>,
    ) -> Collector<'d> {
        Collector { document, root, context, packages: None, mounts, bytes_left: VALUES_BYTES_MAX }
    }

    /// Collects what an object is about.
    pub(super) fn collect(&mut self, object: usize, is_over: &mut dyn FnMut() -> bool) -> Collected {
        let mut collected = Collected::within(self.bytes_left);
        match &self.document.objects[object].source {
            Source::Package { name, collect, only_newest } => {
                self.packages(name, collect.as_ref(), *only_newest, &mut collected, is_over);
            }
            Source::Raw(values) => {
                for (identifier, value) in values {
                    collected.add(identifier, value, Scheme::Rpm);
                }
            }
            source => self.files(source, None, 0, &mut collected, is_over),
        }
        self.bytes_left = collected.bytes_left;
        collected
    }

    fn packages(
        &mut self,
        name: &str,
        collect: Option<&Regex>,
        only_newest: bool,
        collected: &mut Collected,
        is_over: &mut dyn FnMut() -> bool,
    ) {
        let databases = Kind::ALL.into_iter().filter(|kind| !kind.is_below_paths());
        let root = self.root;
        let found = self.packages.get_or_insert_with(|| {
            let mut gathered = Gathered { found: Found::default(), is_over };
            installed(root, &databases.collect::<Vec<_>>(), &mut gathered);
            gathered.found
        });
        let is_meant = |package: &&Package| collect.map_or(package.name == name, |regex| regex.is_match(&package.name));
        let mut packages: Vec<&Package> = found.packages.iter().filter(is_meant).collect();
        if only_newest {
            let order = |one: &&&Package, two: &&&Package| {
                one.kind.scheme().compare(&one.version, &two.version).unwrap_or(Ordering::Equal)
            };
            packages = packages.iter().max_by(order).copied().into_iter().collect();
        }
        for package in packages {
            collected.add(&package.name, &package.version, package.kind.scheme());
        }
        collected.unseen.extend(found.unseen.iter().cloned());
    }

    /// Collects from files; `chain` is the directory and the file for which a chain looks.
    fn files(
        &self,
        source: &Source,
        chain: Option<(&str, &str)>,
        depth: usize,
        collected: &mut Collected,
        is_over: &mut dyn FnMut() -> bool,
    ) {
        let Some(place) = source.place() else { return };
        for path in self.locate(place, chain.map(|(directory, _)| directory), collected) {
            if is_over() {
                collected.unseen.push("the time is over".to_owned());
                return;
            }
            let text = path.to_string_lossy();
            let identifier = chain.map_or(&*text, |(_, file)| file);
            let read = match source {
                Source::Name { expression, .. } => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    if let Some(group) = expression.captures(&name).and_then(|captures| captures.get(1)) {
                        collected.add(identifier, group.as_str(), Scheme::Rpm);
                    }
                    Ok(())
                }
                Source::HasLine { expression, .. } => {
                    let mut is_found = false;
                    let read = lines(&path, is_over, |line| {
                        is_found = expression.is_match(line);
                        !is_found
                    });
                    read.map(|()| collected.add(identifier, if is_found { "true" } else { "false" }, Scheme::Rpm))
                }
                Source::Content { expression, .. } => lines(&path, is_over, |line| {
                    if let Some(captures) = expression.captures(line) {
                        for group in captures.iter().skip(1) {
                            collected.add(identifier, group.map_or("", |group| group.as_str()), Scheme::Rpm);
                        }
                    }
                    true
                }),
                Source::Package { .. } | Source::Raw(_) => Ok(()),
            };
            match read {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    collected.unseen.push(format!("read {}: {error}", path.display()));
                }
                _ => {}
            }
        }
        if let Source::Content { chain, concat, .. } = source {
            self.follow(chain, depth, collected, is_over);
            if let Some(between) = concat {
                join(collected, between);
            }
        }
    }

    /// Looks at the objects of a chain beside each file that has values.
    fn follow(&self, chain: &[usize], depth: usize, collected: &mut Collected, is_over: &mut dyn FnMut() -> bool) {
        if chain.is_empty() {
            return;
        }
        if depth == CHAIN_DEPTH_MAX {
            collected.unseen.push(format!("chains are followed {CHAIN_DEPTH_MAX} times"));
            return;
        }
        let mut files: Vec<String> =
            collected.candidates.iter().map(|candidate| candidate.identifier.clone()).collect();
        files.dedup();
        for file in files {
            if file.contains(char::REPLACEMENT_CHARACTER) {
                collected.unseen.push(format!("what is beside {file}: its path is no UTF-8, and no chain leads there"));
                continue;
            }
            let directory = Path::new(&file).parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            for object in chain {
                let source = &self.document.objects[*object].source;
                let mut inner = Collected::within(collected.bytes_left);
                self.files(source, Some((&directory, &file)), depth + 1, &mut inner, is_over);
                for candidate in inner.candidates {
                    collected.add(&candidate.identifier, &candidate.value, candidate.scheme);
                }
                collected.unseen.append(&mut inner.unseen);
            }
        }
    }

    fn locate(&self, place: &Place, chain: Option<&str>, collected: &mut Collected) -> Vec<PathBuf> {
        let path = chain.map_or_else(|| place.path.clone(), |directory| place.path.replace(CHAIN_ROOT, directory));
        match &self.mounts {
            Ok(mounts) => {
                // Nothing is in a directory that is missing. What is behind a network mount is not looked at.
                let found = mounts.locate(Path::new(&path));
                if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                    return Vec::new();
                }
            }
            Err(error) => collected.unseen.push(format!("read /proc/self/mountinfo: {error}")),
        }
        let mut located = locate(&place.wanted(&[path]), self.context);
        collected.unseen.append(&mut located.unseen);
        located.files
    }
}

/// Joins all values to one.
fn join(collected: &mut Collected, between: &str) {
    let Some(first) = collected.candidates.first() else { return };
    let scheme = first.scheme;
    let joined = |text: fn(&Candidate) -> &str, between: &str| {
        collected.candidates.iter().map(text).collect::<Vec<_>>().join(between)
    };
    let identifier = format!("concat:{}", joined(|candidate| &candidate.identifier, ","));
    let value = joined(|candidate| &candidate.value, between);
    collected.candidates = vec![Candidate { identifier, value, scheme }];
}

/// Calls `each` with every line of a file, until it returns false.
fn lines(path: &Path, is_over: &mut dyn FnMut() -> bool, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
    let (file, _) = files::open(CWD, path, Links::Follow)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut looked_at) = (Vec::new(), 0);
    loop {
        line.clear();
        let count = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        looked_at += count;
        if count == 0 {
            return Ok(());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !each(&re2::text(text)) {
            return Ok(());
        }
        if looked_at > 1 << 20 {
            looked_at = 0;
            if is_over() {
                return Err(io::Error::other("the time is over"));
            }
        }
    }
}
