//! The options of a search.

use super::filter::FIELDS;
use super::json::{fields, strings, unknown_keys, whole_number};
use super::limits;
use crate::modules::ParameterError;
use serde_json::{Map, Value, json};

/// The options of a search (`spec/modules.md`).
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
    /// Look into gzip files.
    pub(super) decompress: bool,
    /// The fields whose checks are inverted, as they were given.
    pub(super) mismatch: Vec<String>,
}

/// The names of all options.
pub(super) const NAMES: [&str; 9] = [
    "maxdepth",
    "matchlimit",
    "maxerrors",
    "matchall",
    "remotefs",
    "macroal",
    "returnsha256",
    "decompress",
    "mismatch",
];

impl Options {
    /// Reads the options at `at`, and returns them with the doubts about them.
    pub(super) fn parse(value: Option<&Value>, at: &str) -> Result<(Self, Vec<ParameterError>), ParameterError> {
        let Some(value) = value else {
            return Ok(Default::default());
        };
        let given = fields(value, at, &format!("{at}."))?;
        let number = |name: &str| match given.get(name) {
            None => Ok(None),
            Some(value) => whole_number(value).map(Some).ok_or_else(|| {
                ParameterError::new(format!("{at}.{name}"), "must be a whole number that is not negative")
            }),
        };
        let flag = |name: &str| match given.get(name) {
            None => Ok(false),
            Some(value) => {
                value.as_bool().ok_or_else(|| ParameterError::new(format!("{at}.{name}"), "must be true or false"))
            }
        };
        let mismatch = strings(&given, at, "mismatch", limits::VALUES_PER_FIELD_MAX)?;
        for (index, word) in mismatch.iter().enumerate() {
            if !FIELDS.iter().any(|(field, _, _)| field.is_named_by(word)) {
                let reason = format!("\"{word}\" is not the name of a filter");
                return Err(ParameterError::new(format!("{at}.mismatch[{index}]"), reason));
            }
        }
        let options = Options {
            maxdepth: number("maxdepth")?.unwrap_or(0),
            matchlimit: number("matchlimit")?.unwrap_or(0),
            maxerrors: number("maxerrors")?,
            matchall: flag("matchall")?,
            remotefs: flag("remotefs")?,
            macroal: flag("macroal")?,
            returnsha256: flag("returnsha256")?,
            decompress: flag("decompress")?,
            mismatch,
        };
        Ok((options, unknown_keys(&given, at, &NAMES)))
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
            ("decompress", self.decompress),
        ] {
            if set {
                echo.insert(name.to_owned(), json!(true));
            }
        }
        if !self.mismatch.is_empty() {
            echo.insert("mismatch".to_owned(), json!(self.mismatch));
        }
        if let Some(maxerrors) = self.maxerrors {
            echo.insert("maxerrors".to_owned(), json!(maxerrors));
        }
        Value::Object(echo)
    }
}
