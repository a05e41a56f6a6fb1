//! The options of a search.

use super::filter::FIELDS;
use super::limits;
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::fields::unknown_names;
use crate::modules::notation;
use crate::time::parse_duration;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The options of a search.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// Levels of directories; 0 is no limit.
    pub(super) maxdepth: u64,
    /// Files reported; 0 is [`limits::MATCHLIMIT_FILES_DEFAULT`].
    pub(super) matchlimit: u64,
    /// Errors returned; 0 is all.
    pub(super) maxerrors: Option<u64>,
    /// A file must pass all checks.
    pub(super) matchall: bool,
    /// Enter network mounts.
    pub(super) remotefs: bool,
    /// Every line must match every content pattern.
    pub(super) macroal: bool,
    /// Report the SHA-256 of each file.
    pub(super) returnsha256: bool,
    /// Report inode and device of each file.
    pub(super) returninode: bool,
    /// Report owner and group of each file.
    pub(super) returnowner: bool,
    /// The search ends after this time, with what it found.
    pub(super) maxtime: Option<Duration>,
    /// Look at symbolic links themselves.
    pub(super) links: bool,
    /// Expand wildcards in paths.
    pub(super) glob: bool,
    /// Look into gzip files.
    pub(super) decompress: bool,
    /// The fields whose checks are inverted, as they were given.
    pub(super) mismatch: Vec<String>,
}

/// The names of all options.
pub(super) const NAMES: [&str; 14] = [
    "maxdepth",
    "matchlimit",
    "maxerrors",
    "matchall",
    "remotefs",
    "macroal",
    "returnsha256",
    "returninode",
    "returnowner",
    "maxtime",
    "links",
    "glob",
    "decompress",
    "mismatch",
];

impl Options {
    /// Reads the options of a search, and returns them with the doubts about them.
    pub(super) fn parse(search: &Fields) -> Result<(Self, Vec<ParameterError>), ParameterError> {
        let Some(given) = search.inner("options")? else { return Ok(Default::default()) };
        let mismatch = given.strings("mismatch", limits::VALUES_PER_FIELD_MAX)?;
        for (index, word) in mismatch.iter().enumerate() {
            if !FIELDS.iter().any(|(field, _, _)| field.is_named_by(word)) {
                let reason = format!("\"{word}\" is not the name of a filter");
                return Err(given.error(&format!("mismatch[{index}]"), reason).into());
            }
        }
        let maxtime = match given.text("maxtime", limits::MAXTIME_BYTES_MAX)? {
            text if text.is_empty() => None,
            text => Some(parse_maxtime(&text).map_err(|reason| given.error("maxtime", reason))?),
        };
        let options = Options {
            maxdepth: given.integer("maxdepth")?.unwrap_or(0),
            matchlimit: given.integer("matchlimit")?.unwrap_or(0),
            maxerrors: given.integer("maxerrors")?,
            matchall: given.boolean("matchall")?,
            remotefs: given.boolean("remotefs")?,
            macroal: given.boolean("macroal")?,
            returnsha256: given.boolean("returnsha256")?,
            returninode: given.boolean("returninode")?,
            returnowner: given.boolean("returnowner")?,
            maxtime,
            links: given.boolean("links")?,
            glob: given.boolean("glob")?,
            decompress: given.boolean("decompress")?,
            mismatch,
        };
        Ok((options, unknown_names(&given, &NAMES)))
    }

    /// The options as the original writes them: three always, the rest when they are set.
    pub(super) fn echo(&self) -> Value {
        let mut echo = Map::new();
        echo.insert("matchall".to_owned(), json!(self.matchall));
        echo.insert("matchlimit".to_owned(), json!(self.matchlimit));
        echo.insert("maxdepth".to_owned(), json!(self.maxdepth));
        for (name, set) in [
            ("remotefs", self.remotefs),
            ("macroal", self.macroal),
            ("returnsha256", self.returnsha256),
            ("links", self.links),
            ("glob", self.glob),
            ("returninode", self.returninode),
            ("returnowner", self.returnowner),
            ("decompress", self.decompress),
        ] {
            if set {
                echo.insert(name.to_owned(), json!(true));
            }
        }
        if !self.mismatch.is_empty() {
            echo.insert("mismatch".to_owned(), json!(self.mismatch));
        }
        if let Some(maxtime) = self.maxtime {
            echo.insert("maxtime".to_owned(), json!(notation::duration(maxtime)));
        }
        if let Some(maxerrors) = self.maxerrors {
            echo.insert("maxerrors".to_owned(), json!(maxerrors));
        }
        Value::Object(echo)
    }
}

fn parse_maxtime(text: &str) -> Result<Duration, String> {
    let maxtime = parse_duration(text)?;
    if maxtime.is_zero() || maxtime > limits::MAXTIME_MAX {
        return Err(format!("\"{text}\" is not between 1ms and {} hours", limits::MAXTIME_MAX.as_secs() / 3_600));
    }
    Ok(maxtime)
}
