//! Compares one process with all searches: first its name and what is mapped, then, if that does not decide, its memory.

use super::expressions::Expressions;
use super::parameters::{InMemory, Plan, Search};
use crate::modules::expressions::Texts;
use crate::modules::fields::{Judged, judged};
use crate::modules::processes::{self, Memory, Piece, Process, Processes, Reader, Region, Stat, Walk};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// How often a process is looked at that replaces its program meanwhile.
const ATTEMPTS_MAX: usize = 3;
/// Bytes of address space, used or not, from which on a process is looked at last: only to see what of it is used takes a second.
const LARGE_BYTES_MIN: u64 = 1 << 40;
/// Failures of one process that are named.
const FAILURES_MAX: usize = 20;

/// What one thread needs.
pub(super) struct Examiner<'p> {
    plan: &'p Plan,
    expressions: Expressions,
    memory: Memory,
}

/// What was found out about a process.
pub(super) struct Examined {
    /// The path of its program, or its name where it has none.
    pub(super) name: String,
    /// What each search says, in their order.
    pub(super) judged: Vec<Judged>,
    /// Where expressions were found, by the number of the range and that of the expression.
    pub(super) places: Vec<Vec<Option<Place>>>,
    /// Bytes of memory that were read.
    pub(super) bytes: u64,
    /// What could not be read: what, and why.
    pub(super) errors: Vec<(&'static str, io::Error)>,
    /// Parts of memory that could not be read.
    pub(super) failures: Vec<String>,
}

/// Where an expression was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its address.
    pub(super) address: u64,
    /// Of the region.
    pub(super) start: u64,
    /// Its name; a path, `[heap]`, or nothing.
    pub(super) region: String,
    /// `rw-p`.
    pub(super) permissions: String,
}

/// The truths about expressions in one range of memory.
struct Looking<'l> {
    expressions: &'l Expressions,
    regions: &'l [Region],
    /// Not found yet.
    pending: BTreeSet<usize>,
    /// By the number of the expression.
    places: Vec<Option<Place>>,
    is_over: &'l mut dyn FnMut() -> bool,
    was_over: bool,
}

impl Reader for Looking<'_> {
    fn is_over(&mut self) -> bool {
        self.was_over |= (self.is_over)();
        self.was_over
    }

    fn look(&mut self, piece: &Piece) -> bool {
        for number in self.expressions.in_piece(piece, &self.pending) {
            if self.is_over() {
                return false;
            }
            if let Some(address) = self.expressions.find(number, piece) {
                self.places[number] = Some(self.place(address));
                self.pending.remove(&number);
            }
        }
        !self.pending.is_empty()
    }
}

impl Looking<'_> {
    fn place(&self, address: u64) -> Place {
        let region = self.regions.iter().find(|region| region.start <= address && address < region.end);
        Place {
            address,
            start: region.map_or(address, |region| region.start),
            region: region.map_or_else(String::new, |region| String::from_utf8_lossy(&region.name).into_owned()),
            permissions: region.map_or_else(String::new, |region| region.permissions.clone()),
        }
    }
}

impl<'p> Examiner<'p> {
    /// One for a thread.
    pub(super) fn new(plan: &'p Plan) -> Self {
        Examiner { plan, expressions: plan.expressions.clone(), memory: Memory::new() }
    }

    /// Looks at a process. Nothing: it has ended, or has no memory at all, as a thread of the kernel. If it replaces its program
    /// meanwhile, what was found in the one before comes first. None: it `may_wait`, and should.
    pub(super) fn examine(
        &mut self,
        processes: &Processes,
        pid: i32,
        may_wait: bool,
        is_over: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<Vec<Examined>>> {
        let mut found = Vec::new();
        for attempt in 1..=ATTEMPTS_MAX {
            let looked = processes.process(pid).and_then(|process| Ok((process.stat()?, process)));
            let (stat, process) = match looked {
                Ok((stat, _)) if stat.is_kernel => return Ok(Some(found)),
                Err(error) if processes::has_ended(&error) => return Ok(Some(found)),
                looked => looked?,
            };
            let known = Known::of(&process, &stat, self.plan, is_over);
            if may_wait && attempt == 1 && known.is_large(self.plan) {
                return Ok(None);
            }
            let (examined, is_gone) = self.once(&process, known, is_over);
            let is_last = attempt == ATTEMPTS_MAX;
            // If it has ended or is about to, what was found until then counts.
            if !is_gone || !processes.has_memory(&process) {
                add(&mut found, examined);
                return Ok(Some(found));
            }
            add(&mut found, if is_last { examined.of_many() } else { examined.of_one() });
        }
        Ok(Some(found))
    }

    fn once(&mut self, process: &Process, mut known: Known, is_over: &mut dyn FnMut() -> bool) -> (Examined, bool) {
        let plan = self.plan;
        let is_open: Vec<bool> = plan.searches.iter().map(|search| known.is_open(search)).collect();
        for (number, range) in plan.ranges.iter().enumerate() {
            let searches =
                plan.searches.iter().zip(&is_open).filter(|(search, is_open)| **is_open && search.range == number);
            let pending: BTreeSet<usize> =
                searches.flat_map(|(search, _)| &search.memory).map(|one| one.expression).collect();
            let places = vec![None; self.expressions.count()];
            if pending.is_empty() {
                known.found.push(Found { places, is_whole: true });
                continue;
            }
            let mut looking = Looking {
                expressions: &self.expressions,
                regions: &known.regions,
                pending,
                places,
                is_over,
                was_over: false,
            };
            let walked = self.memory.walk(process, &known.regions, *range, &mut looking);
            let (places, was_over) = (looking.places, looking.was_over);
            known.walked(places, was_over, walked);
        }
        let is_gone = known.is_gone;
        (known.examined(plan), is_gone)
    }
}

/// Adds what was found in a program to what was found in those before; each search finds a process once.
fn add(found: &mut Vec<Examined>, examined: Examined) {
    for before in found.iter_mut() {
        let pairs = before.judged.iter_mut().zip(&examined.judged);
        pairs.filter(|(_, now)| matches!(now, Judged::Is(_))).for_each(|(before, _)| *before = Judged::IsNot);
    }
    found.push(examined);
}

impl Examined {
    /// What was found in a program that was replaced: the next one is looked at.
    fn of_one(mut self) -> Examined {
        self.judged.iter_mut().filter(|one| matches!(one, Judged::Unknown)).for_each(|one| *one = Judged::IsNot);
        self
    }

    /// What was found in the last of many programs: nothing is known of the next.
    fn of_many(mut self) -> Examined {
        self.judged.iter_mut().filter(|one| matches!(one, Judged::IsNot)).for_each(|one| *one = Judged::Unknown);
        let error = format!("it replaced its program {ATTEMPTS_MAX} times while it was looked at");
        self.errors.push(("the memory", io::Error::other(error)));
        self
    }
}

/// What was found in one range.
struct Found {
    places: Vec<Option<Place>>,
    /// All of it was looked at.
    is_whole: bool,
}

/// What is known of a process so far.
struct Known {
    name: String,
    names: Texts,
    libraries: Texts,
    regions: Vec<Region>,
    are_regions_all: bool,
    found: Vec<Found>,
    bytes: u64,
    is_gone: bool,
    errors: Vec<(&'static str, io::Error)>,
    failures: Vec<String>,
}

impl Known {
    fn of(process: &Process, stat: &Stat, plan: &Plan, is_over: &mut dyn FnMut() -> bool) -> Known {
        let (mut errors, mut is_gone) = (Vec::new(), false);
        let mut failed = |what, error: io::Error| {
            if processes::has_ended(&error) { is_gone = true } else { errors.push((what, error)) }
        };
        let executable = process.executable().map_err(|error| failed("exe", error)).ok();
        let program = executable.as_ref().and_then(|executable| Some(executable.as_ref()?.path.as_os_str().as_bytes()));
        let names = Texts {
            known: [Some(stat.name.as_slice()), program].into_iter().flatten().map(<[u8]>::to_vec).collect(),
            are_all: executable.is_some(),
        };
        let needs_regions =
            plan.searches.iter().any(|search| !search.libraries.is_empty() || !search.memory.is_empty());
        let regions = if needs_regions { process.regions(is_over) } else { Ok(Default::default()) };
        let regions = regions.map_err(|error| failed("maps", error)).unwrap_or_default();
        if needs_regions && errors.is_empty() && !is_gone {
            if !regions.is_whole {
                errors.push(("maps", io::Error::other("it has too many regions, of which the first were looked at")));
            } else if !regions.are_names_whole {
                errors.push(("maps", io::Error::other("names of mapped files are too long, or too many")));
            }
        }
        let paths: BTreeSet<&[u8]> =
            regions.list.iter().filter_map(Region::path).filter(|path| Some(*path) != program).collect();
        let are_all = regions.is_whole && regions.are_names_whole;
        let libraries = Texts { known: paths.into_iter().map(<[u8]>::to_vec).collect(), are_all };
        let name = String::from_utf8_lossy(program.unwrap_or(&stat.name)).into_owned();
        let (regions, are_regions_all) = (regions.list, regions.is_whole);
        Known {
            name,
            names,
            libraries,
            regions,
            are_regions_all,
            found: Vec::new(),
            bytes: 0,
            is_gone,
            errors,
            failures: Vec::new(),
        }
    }

    /// Whether it takes long to see which memory it uses, and that is wanted.
    fn is_large(&self, plan: &Plan) -> bool {
        let readable = self.regions.iter().filter(|region| region.is_readable());
        let bytes: u64 = readable.map(|region| region.end - region.start).sum();
        bytes >= LARGE_BYTES_MIN && plan.searches.iter().any(|search| self.is_open(search))
    }

    /// Whether the memory decides about a search: it does not, if all filters must be passed and one is not.
    fn is_open(&self, search: &Search) -> bool {
        let is_missed = |truth: Option<bool>| truth == Some(false);
        let is_decided = search.options.matchall && self.quick(search).any(|(_, _, truth)| is_missed(truth));
        !search.memory.is_empty() && !is_decided
    }

    /// The checks that need no memory.
    fn quick<'s>(&'s self, search: &'s Search) -> impl Iterator<Item = (&'static str, &'s str, Option<bool>)> {
        let names = search.names.iter().map(|one| ("names", one.text.as_str(), one.is_met_by_one_of(&self.names)));
        let libraries =
            search.libraries.iter().map(|one| ("libraries", one.text.as_str(), one.is_met_by_one_of(&self.libraries)));
        names.chain(libraries)
    }

    /// Takes in what a walk through a range has found.
    fn walked(&mut self, places: Vec<Option<Place>>, was_over: bool, walked: io::Result<Walk>) {
        let mut is_whole = false;
        match walked {
            Ok(walk) => {
                self.bytes += walk.bytes;
                self.is_gone |= walk.is_gone;
                is_whole = self.are_regions_all && !walk.is_gone && !was_over && walk.failures.is_empty();
                for failure in walk.failures {
                    let name =
                        self.regions.iter().find(|region| region.start <= failure.start && failure.start < region.end);
                    let name = name.map_or("".into(), |region| String::from_utf8_lossy(&region.name));
                    if self.failures.len() < FAILURES_MAX {
                        self.failures
                            .push(format!("{:#x}-{:#x} {name}: {}", failure.start, failure.end, failure.error));
                    }
                    if !self.errors.iter().any(|(what, _)| *what == "a part of the memory") {
                        self.errors.push(("a part of the memory", failure.error));
                    }
                }
            }
            Err(error) if processes::has_ended(&error) => self.is_gone = true,
            Err(error) => self.errors.push(("mem", error)),
        }
        self.found.push(Found { places, is_whole });
    }

    fn examined(self, plan: &Plan) -> Examined {
        let truth = |search: &Search, one: &InMemory| {
            let found = &self.found[search.range];
            match found.places[one.expression] {
                Some(_) => Some(!one.is_negated),
                None => found.is_whole.then_some(one.is_negated),
            }
        };
        let judge = |search: &Search| {
            let memory = search.memory.iter().map(|one| (one.field, one.value.as_str(), truth(search, one)));
            judged(self.quick(search).chain(memory), search.options)
        };
        let judged = plan.searches.iter().map(judge).collect();
        let places = self.found.into_iter().map(|found| found.places).collect();
        Examined { name: self.name, judged, places, bytes: self.bytes, errors: self.errors, failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(judged: Vec<Judged>) -> Examined {
        let (places, errors, failures) = (Vec::new(), Vec::new(), Vec::new());
        Examined { name: "a".into(), judged, places, bytes: 0, errors, failures }
    }

    fn kinds(examined: &Examined) -> String {
        let kind = |judged: &Judged| match judged {
            Judged::Is(_) => '+',
            Judged::IsNot => '-',
            Judged::Unknown => '?',
        };
        examined.judged.iter().map(kind).collect()
    }

    #[test]
    fn what_was_found_before_a_process_replaced_its_program_is_kept() {
        let is = || Judged::Is(Default::default());
        let mut found = Vec::new();
        add(&mut found, examined(vec![is(), is(), Judged::Unknown, Judged::IsNot]).of_one());
        add(&mut found, examined(vec![is(), Judged::IsNot, Judged::IsNot, Judged::Unknown]));
        assert_eq!(found.iter().map(kinds).collect::<Vec<_>>(), ["-+--", "+--?"], "each search finds it once");
        let last = examined(vec![is(), Judged::IsNot, Judged::Unknown]).of_many();
        assert_eq!((kinds(&last).as_str(), last.errors.len()), ("+??", 1));
    }
}
