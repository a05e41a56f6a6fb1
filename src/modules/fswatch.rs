//! The persistent module `fswatch`: notices what changes below given paths.
//!
//! # Parameters
//!
//! `{"paths": ["/etc"], "exclude": ["/etc/mtab"], "names": [regex]}`: `names` is on names of files, and leaves out none of the `paths`.
//!
//! # Events
//!
//! | `event` | meaning |
//! |---|---|
//! | `watching` | it begins, or begins again, to watch this path: what happened before is not known; `reason` is there if that is a mount |
//! | `created` | a name is new here |
//! | `modified` | a file that was open for writing was closed; or one was written to, or truncated, up to ten seconds ago |
//! | `attributes` | owner, mode, times, extended attributes or number of links |
//! | `removed` | a name is gone from here |
//! | `moved` | a name is gone from `from`, and is here now |
//! | `unseen` | something may happen that is not noticed; `reason` says why |
//!
//! Each has `time` and `path`, and where there is one: `type`, `size`, `mode`, `uid`, `gid`, `modified` of what the name leads to now.
//!
//! # Limits
//!
//! - The kernel tells names and kinds, not who did it. Not noticed: writing through a memory mapping before the mapping ends, writing
//!   to a file by another name that it has elsewhere, and what other mount namespaces mount.
//! - What is mounted below a path is watched as soon as it is mounted (`mounts`), and what it covered when it is unmounted. Not entered,
//!   but `unseen`: network mounts, also if a path leads into one; mounts that a program serves (FUSE) unless a path is there; proc
//!   and sysfs; files that are mounted over files.
//! - A directory that has several paths by bind mounts has events with each of them.
//! - A path that is a link is watched with what it leads to, whose events have its real path; links below a path are not followed.
//! - Where a path leads is looked at every ten seconds: if a directory above it was renamed, it is watched anew.
//! - A directory that is made is watched as soon as it is noticed; what was made in it before is reported as `created`, perhaps twice.
//! - Directories beyond `watches::DIRECTORIES_MAX` (100,000), those whose path is too long, and those for which the kernel has no room (`fs.inotify.max_user_watches`), are
//!   `unseen`, and so are events that came faster than they were read: then all is watched anew, every ten seconds at most.
//! - Of what is `unseen` 20 have an event of their own in ten seconds; the others have one together, with their number and the last of them.

mod form;
mod marks;
mod mounts;
mod parameters;
mod place;
mod watch;
mod watches;

use super::form::Form;
use super::persistent::{Event, Persistent};
use super::{Needs, ParameterError};
use serde_json::Value;

/// The persistent module `fswatch`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsWatch;

impl Persistent for FsWatch {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, watches_files: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<(), ParameterError> {
        parameters::parse(parameters).map(drop)
    }

    fn run(&self, parameters: &Value, notice: &mut dyn FnMut(Event) -> bool) -> Result<(), String> {
        let plan = parameters::parse(parameters).map_err(|error| error.to_string())?;
        watch::Watcher::new(&plan, notice)?.run()
    }
}
