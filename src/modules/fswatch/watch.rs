//! Watching with inotify(7): a watch for each directory.
//!
//! | file | what |
//! |---|---|
//! | `watch.rs` | the loop, and where the paths of the plan lead |
//! | `watch/walk.rs` | watching directories and those below them, and no longer |
//! | `watch/events.rs` | what the kernel reports |
//! | `watch/tell.rs` | events of it |

mod events;
mod tell;
#[cfg(test)]
mod tests;
mod walk;

use super::marks::Marks;
use super::mounts::Mounts;
use super::parameters::Plan;
use super::place::{Place, place, real};
use super::watches::Watches;
use crate::modules::persistent::Event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags};
use rustix::io::Errno;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tell::Unseen;

/// How often it is looked whether each path of the plan leads to what is watched.
const PLACES_PAUSE: Duration = Duration::from_secs(10);
/// How often what is mounted is read at most, where it changes all the time.
const MOUNTS_PAUSE: Duration = Duration::from_secs(1);
/// How often all is watched anew at most, where events are lost all the time.
const BEGINNINGS_PAUSE: Duration = Duration::from_secs(10);
/// What is said of a path of the plan.
const NOT_THERE: &str = "is not there; it is watched when it is";

/// A path of the plan that is to be watched: at the beginning, or because it was not there, or leads elsewhere now.
#[derive(Debug, PartialEq)]
struct Missing {
    path: PathBuf,
    /// Why it is not watched, as it was told.
    told: Option<String>,
    /// Its name, which is watched still.
    named: Option<PathBuf>,
}

/// See the module docs.
pub(super) struct Watcher<'w> {
    plan: &'w Plan,
    notice: &'w mut dyn FnMut(Event) -> bool,
    inotify: OwnedFd,
    watches: Watches,
    marks: Marks,
    mounts: Mounts,
    /// What is mounted could not be read, and that was told.
    are_mounts_unknown: bool,
    last_mounts: Instant,
    /// What is mounted has changed: when it is read.
    next_mounts: Option<Instant>,
    missing: Vec<Missing>,
    /// What each path of the plan leads to that is watched.
    places: HashMap<PathBuf, Place>,
    next_look: Instant,
    /// Events were lost: all is watched anew, but not before this time.
    is_lost: bool,
    next_beginning: Instant,
    unseen: Unseen,
    is_over: bool,
}

impl<'w> Watcher<'w> {
    /// One that watches nothing yet.
    pub(super) fn new(plan: &'w Plan, notice: &'w mut dyn FnMut(Event) -> bool) -> Result<Watcher<'w>, String> {
        let now = Instant::now();
        Ok(Watcher {
            plan,
            notice,
            inotify: instance()?,
            watches: Watches::default(),
            marks: Marks::new(now),
            mounts: Mounts::default(),
            are_mounts_unknown: false,
            last_mounts: now,
            next_mounts: None,
            missing: all_of(plan),
            places: HashMap::new(),
            next_look: now + PLACES_PAUSE,
            is_lost: false,
            next_beginning: now,
            unseen: Unseen::new(now),
            is_over: false,
        })
    }

    /// Watches until what it notices is not wanted any longer.
    pub(super) fn run(mut self) -> Result<(), String> {
        self.check_mounts();
        self.begin();
        while !self.is_over {
            self.wait().map_err(|e| format!("wait for events: {e}"))?;
            // Before what is mounted: it happened before.
            self.read().map_err(|e| format!("read events: {e}"))?;
            let now = Instant::now();
            if self.next_mounts.is_some_and(|next| now >= next) || now >= self.next_look {
                self.check_mounts();
            }
            if now >= self.next_look {
                self.check_places();
            }
            self.tell_more_unseen(now);
            if self.marks.due().is_some_and(|due| now >= due) {
                let marks = self.marks.turn(now);
                self.settle(marks, true);
            }
            if self.is_lost && now >= self.next_beginning {
                self.begin_anew()?;
            }
            self.begin();
        }
        Ok(())
    }

    /// Waits for events, a change of what is mounted, or a time.
    fn wait(&mut self) -> rustix::io::Result<()> {
        let again = self.is_lost.then_some(self.next_beginning);
        let times = [Some(self.next_look), self.next_mounts, self.marks.due(), again];
        let now = Instant::now();
        let pause = times.into_iter().flatten().map(|time| time.saturating_duration_since(now)).min();
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        let mut polled = vec![PollFd::new(&self.inotify, PollFlags::IN)];
        polled.extend(self.mounts.polled());
        match poll(&mut polled, pause.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if polled.get(1).is_some_and(|mounts| !mounts.revents().is_empty()) {
            self.next_mounts.get_or_insert(self.last_mounts + MOUNTS_PAUSE);
        }
        Ok(())
    }

    /// Watches the paths that are missing, if they are there now.
    fn begin(&mut self) {
        let mut names = Vec::new();
        for mut missing in std::mem::take(&mut self.missing) {
            let Err(error) = self.begin_path(&missing.path) else {
                names.extend(missing.named);
                continue;
            };
            let is_gone = error.kind() == io::ErrorKind::NotFound;
            let reason = if is_gone { NOT_THERE.to_owned() } else { error.to_string() };
            if missing.told.as_ref() != Some(&reason) {
                self.unseen(&missing.path, &reason);
                missing.told = Some(reason);
            }
            self.missing.push(missing);
        }
        // It may be in another directory by now.
        names.iter().for_each(|named| self.release(named));
    }

    /// Watches a path of the plan: the name, and what it leads to.
    fn begin_path(&mut self, path: &Path) -> io::Result<()> {
        // A link that leads nowhere has a place, too.
        real(path, &self.mounts.ways)?;
        let place = place(path, &self.mounts.ways)?;
        let real = place.real.clone();
        if self.plan.excludes(&real) {
            return Err(io::Error::other(format!("it leads to {}, which is excluded", real.display())));
        }
        let (itself, metadata) = (fs::symlink_metadata(path)?, fs::symlink_metadata(&real)?);
        if let Some(named) = &place.named {
            self.watch_name(named)?;
        }
        if metadata.is_dir() {
            self.begin_tree(&real, false)?;
        } else {
            self.watch_name(&real)?;
        }
        self.places.insert(path.to_owned(), place);
        // Now that the watches are there.
        self.tell("watching", path, Some(&itself), json!({}));
        // A mount that is a directory is asked for.
        self.tell_barred(&real, |point| !metadata.is_dir() || point != real);
        Ok(())
    }

    /// Events were lost: which directories have which paths is not known any longer.
    fn begin_anew(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for _ in 0..2 {
            let marks = self.marks.turn(now);
            self.settle(marks, true);
        }
        self.inotify = instance()?;
        (self.watches, self.missing) = (Watches::default(), all_of(self.plan));
        self.places.clear();
        (self.is_lost, self.next_beginning) = (false, now + BEGINNINGS_PAUSE);
        Ok(())
    }

    /// Looks whether each path of the plan still leads to what is watched: a directory above it may have been renamed. One that
    /// does not is watched again when it is back.
    fn check_places(&mut self) {
        self.next_look = Instant::now() + PLACES_PAUSE;
        let ways = &self.mounts.ways;
        let mut elsewhere = Vec::new();
        for (path, before) in &self.places {
            let now = place(path, ways).ok();
            if now.as_ref() != Some(before) {
                elsewhere.push((path.clone(), now.and_then(|now| now.named)));
            }
        }
        // All of them first: none needs what it led to.
        let lost = elsewhere.into_iter().filter_map(|(path, named)| Some((self.places.remove(&path)?, path, named)));
        let lost: Vec<(Place, PathBuf, Option<PathBuf>)> = lost.collect();
        for (before, path, named_now) in &lost {
            // Its name is of interest as long as it is the same.
            let named = before.named.clone().filter(|named| Some(named) == named_now.as_ref());
            self.missing.push(Missing { path: path.clone(), told: Some(NOT_THERE.to_owned()), named });
        }
        for (before, path, _) in &lost {
            self.release(&before.real);
            before.named.iter().for_each(|named| self.release(named));
            self.tell("removed", path, None, json!({}));
        }
    }

    /// Ends the watches of what a path of the plan leads to no longer, unless another one needs them.
    fn release(&mut self, path: &Path) {
        let is_needed = self.places.values().any(|place| place.needs(path))
            || self.missing.iter().any(|missing| missing.named.as_deref() == Some(path));
        if !is_needed {
            self.forget_below(path);
            self.forget_name(path);
            let inside = self.take_places(|place| place.is_in(path));
            self.missing.extend(inside);
        }
    }

    /// Paths of the plan that are to be watched anew.
    fn take_places(&mut self, is_taken: impl Fn(&Place) -> bool) -> Vec<Missing> {
        let taken = self.places.extract_if(|_, place| is_taken(place));
        taken.map(|(path, place)| Missing { path, told: None, named: place.named }).collect()
    }

    /// Looks whether what is mounted has changed.
    fn check_mounts(&mut self) {
        (self.last_mounts, self.next_mounts) = (Instant::now(), None);
        match self.mounts.look() {
            Ok(changed) => {
                self.are_mounts_unknown = false;
                changed.iter().for_each(|point| self.mount_changed(point));
            }
            Err(error) if !self.are_mounts_unknown => {
                self.are_mounts_unknown = true;
                let reason =
                    format!("read /proc/self/mountinfo: {error}; what is mounted over directories is not noticed");
                self.unseen(Path::new("/"), &reason);
            }
            Err(_) => {}
        }
    }

    /// Something else is mounted at a point, or nothing any longer: what is there and below it is watched anew.
    fn mount_changed(&mut self, point: &Path) {
        if self.plan.excludes(point) {
            return;
        }
        let is_inside = self.places.values().any(|place| point.starts_with(&place.real) && point != place.real);
        let around = self.take_places(|place| place.real.starts_with(point));
        if !is_inside && around.is_empty() {
            return;
        }
        self.forget_below(point);
        self.missing.extend(around);
        if is_inside {
            self.enter_mount(point);
        }
    }

    fn enter_mount(&mut self, point: &Path) {
        if self.mounts.bar(point).is_none()
            && let Ok(metadata) = fs::symlink_metadata(point)
        {
            match self.begin_tree(point, false) {
                Ok(()) => {
                    let reason = json!({"reason": "what is mounted there has changed"});
                    self.tell("watching", point, Some(&metadata), reason);
                }
                Err(error) => self.unseen_unless_gone(point, &error),
            }
        }
        self.tell_barred(point, |_| true);
    }

    /// Tells what is mounted at and below a path and is not noticed.
    fn tell_barred(&mut self, top: &Path, is_told: impl Fn(&Path) -> bool) {
        for point in self.mounts.below(top) {
            if is_told(&point)
                && !self.plan.excludes(&point)
                && let Some(reason) = self.mounts.bar(&point)
            {
                self.unseen(&point, &reason);
            }
        }
    }
}

fn instance() -> Result<OwnedFd, String> {
    inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(|e| format!("watch files: {e}; fs.inotify.max_user_instances may be too small"))
}

fn all_of(plan: &Plan) -> Vec<Missing> {
    plan.paths.iter().map(|path| Missing { path: path.clone(), told: None, named: None }).collect()
}
