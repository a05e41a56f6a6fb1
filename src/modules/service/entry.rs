//! What a machine runs by itself.

use super::command::Command;
use crate::modules::notation;
use crate::modules::report::Report;
use serde_json::{Map, Value, json};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The kinds: those of systemd by the ends of their names, and others.
pub(super) const KINDS: [&str; 11] =
    ["service", "timer", "socket", "path", "mount", "automount", "swap", "sysv", "cron", "anacron", "at"];

/// Whether it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// By itself.
    Enabled,
    /// Not, but it could be enabled.
    #[default]
    Disabled,
    /// When something else needs it.
    Static,
    /// It must not be.
    Masked,
    /// It is another name of a unit.
    Alias,
    /// As a program made it at the start of the machine.
    Generated,
    /// As a program made it later, until the machine ends.
    Transient,
    /// Its file is outside of systemd's directories.
    Linked,
    /// Not, as its file is not as it must be.
    Ignored,
    /// It runs, and has no file any more.
    NoFile,
}

impl State {
    /// Their words.
    pub(super) const WORDS: [&str; 10] =
        ["enabled", "disabled", "static", "masked", "alias", "generated", "transient", "linked", "ignored", "nofile"];

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        State::WORDS[self as usize]
    }
}

/// Takes entries as they are read.
pub(super) type Sink<'s> = dyn FnMut(Entry, &mut Report) + 's;

/// One unit, script or line of a table.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// One of [`KINDS`].
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) name: String,
    /// Its file; empty if there is none.
    pub(super) file: String,
    /// Its line there; 0 if it has a file of its own.
    pub(super) line: usize,
    /// Whether it is started.
    pub(super) state: State,
    /// Whether processes of it are there; none if that is not known.
    pub(super) running: Option<bool>,
    /// As whom; empty for root, or what a unit leaves to systemd.
    pub(super) user: String,
    /// What it runs.
    pub(super) commands: Vec<Command>,
    /// When.
    pub(super) schedules: Vec<String>,
    /// Files that change the unit.
    pub(super) dropins: Vec<String>,
    /// Units that start it.
    pub(super) wanted_by: Vec<String>,
    /// The unit that a timer, a socket or a path starts, or of which it is another name.
    pub(super) unit: String,
    /// Programs that are not there.
    pub(super) missing: Vec<String>,
    /// Programs of which that is not known.
    pub(super) unreached: Vec<String>,
    /// Its file, when it was read.
    pub(super) written: Option<Written>,
}

/// Who can have written a file, and when that was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// The id of its owner.
    pub(super) uid: u32,
    mode: u32,
    seconds: i64,
    nanoseconds: u32,
}

impl From<&Metadata> for Written {
    fn from(metadata: &Metadata) -> Written {
        Written {
            uid: metadata.uid(),
            mode: metadata.mode(),
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        }
    }
}

impl Entry {
    /// As a result has it; `owner` is that of its file.
    pub(super) fn element(&self, owner: &str, passed: Map<String, Value>) -> Value {
        let commands: Vec<&str> = self.commands.iter().map(Command::shown).collect();
        let mut element = json!({
            "kind": self.kind, "name": self.name, "file": self.file, "state": self.state.word(), "user": self.user,
            "commands": commands, "search": passed,
        });
        if let Some(running) = self.running {
            element["running"] = json!(running);
        }
        if self.line > 0 {
            element["line"] = json!(self.line);
        }
        if !self.unit.is_empty() {
            element["unit"] = json!(self.unit);
        }
        for (name, list) in [
            ("schedules", &self.schedules),
            ("dropins", &self.dropins),
            ("wantedby", &self.wanted_by),
            ("missing", &self.missing),
        ] {
            if !list.is_empty() {
                element[name] = json!(list);
            }
        }
        if let Some(written) = self.written {
            element["owner"] = json!(owner);
            element["mode"] = json!(notation::mode(written.mode));
            element["lastmodified"] = json!(notation::time(written.seconds, written.nanoseconds));
        }
        element
    }
}
