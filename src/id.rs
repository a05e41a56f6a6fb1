//! Ids of actions and commands, and the file names made from them.
//!
//! Ids are transmitted as JSON numbers. The original keeps them in 64-bit floats and sends them rounded
//! (`6.115472790658567e+18`), so any positive number is accepted and kept unchanged; our own ids stay below 2^53. The
//! original may return a larger one in another spelling: see [`CommandRef::spellings`].
//! No path is ever built from JSON text: file names are formatted from numbers here, and parsed here.

use crate::limits::ID_ACCEPTED_MAX;
use serde::Serialize;
use std::fmt;

/// Why a text or a file name is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a positive whole number that fits.
    #[error("'{0}' is not an id: a positive whole number up to 9223372036854775807")]
    NotAnId(String),
    /// A file name that is not `<action id>.json` or `<action id>-<command id>.json`.
    #[error("'{0}' is not a file name made of ids, such as 12.json or 12-34.json")]
    NotAFileName(String),
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Parses digits only, no sign, no leading zero, within the accepted range.
fn parse_digits(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id <= ID_ACCEPTED_MAX)
}

/// Parses an id in JSON: a whole number, also in the form of a float. `0` is "not assigned yet".
fn parse_json_number(text: &str) -> Result<Option<u64>, IdError> {
    if text == "0" {
        return Ok(None);
    }
    if let Some(id) = parse_digits(text) {
        return Ok(Some(id));
    }
    let error = || IdError::NotAnId(excerpt(text));
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(error());
    }
    let float: f64 = text.parse().map_err(|_| error())?;
    // 2^63 as a float is one past the largest id.
    if float == 0.0 {
        Ok(None)
    } else if (1.0..9_223_372_036_854_775_808.0).contains(&float) && float.fract() == 0.0 {
        Ok(Some(float as u64))
    } else {
        Err(error())
    }
}

/// Returns the ways in which programs of the original may write an id: unchanged, or the value of their float, in the
/// shortest form that is unique (`6115472790658567000`, in JSON) or in full (`6115472790658567168`, elsewhere, and the
/// value of the form with an exponent).
fn spellings(id: u64) -> impl Iterator<Item = u64> {
    let float = id as f64;
    let fewest = format!("{float}").parse().ok();
    let mut others = [fewest, Some(float as u64)].map(|other| other.filter(|other| *other <= ID_ACCEPTED_MAX));
    if others[0] == others[1] {
        others[1] = None;
    }
    std::iter::once(id).chain(others.into_iter().flatten().filter(move |other| *other != id))
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Creates an id from a number of a database row or a sequence; `None` if it is out of range.
            pub fn new(id: u64) -> Option<Self> {
                (1..=ID_ACCEPTED_MAX).contains(&id).then_some(Self(id))
            }
            /// Parses the text of a JSON number; `None` for 0, "not assigned yet".
            pub fn from_json_number(text: &str) -> Result<Option<Self>, IdError> {
                Ok(parse_json_number(text)?.map(Self))
            }
            /// Parses decimal digits, as on a command line.
            pub fn from_digits(text: &str) -> Result<Self, IdError> {
                parse_digits(text).map(Self).ok_or_else(|| IdError::NotAnId(excerpt(text)))
            }
            /// Returns the number.
            pub fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id_type!(
    /// The id of an action.
    ActionId
);
id_type!(
    /// The id of a command.
    CommandId
);
id_type!(
    /// The id of an agent's registration in the store.
    AgentId
);
id_type!(
    /// The id of an investigator in the store.
    InvestigatorId
);

impl ActionId {
    /// Returns the action's file name in every stage: `<id>.json`.
    pub fn file_name(self) -> String {
        format!("{self}.json")
    }

    /// Parses a name of [`ActionId::file_name`].
    pub fn from_file_name(name: &str) -> Result<Self, IdError> {
        let id = name.strip_suffix(".json").and_then(parse_digits);
        id.map(Self).ok_or_else(|| IdError::NotAFileName(excerpt(name)))
    }
}

/// Identifies a command: its action's id and its own. `12-34.json` is its file in every stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandRef {
    /// The action that the command belongs to.
    pub action: ActionId,
    /// The command itself.
    pub command: CommandId,
}

impl CommandRef {
    /// Returns every spelling that a program of the original may use, this one first: the only one up to 2^53.
    pub fn spellings(self) -> impl Iterator<Item = CommandRef> {
        let of_action = move |action| spellings(self.command.0).map(move |command| (action, command));
        let pairs = spellings(self.action.0).flat_map(of_action);
        pairs.map(|(action, command)| CommandRef { action: ActionId(action), command: CommandId(command) })
    }

    /// Returns the command's file name in every stage: `<action id>-<command id>.json`.
    pub fn file_name(self) -> String {
        format!("{self}.json")
    }

    /// Parses a name of [`CommandRef::file_name`].
    pub fn from_file_name(name: &str) -> Result<Self, IdError> {
        let ids = name.strip_suffix(".json").and_then(|stem| stem.split_once('-'));
        ids.and_then(|(action, command)| {
            Some(CommandRef { action: ActionId(parse_digits(action)?), command: CommandId(parse_digits(command)?) })
        })
        .ok_or_else(|| IdError::NotAFileName(excerpt(name)))
    }
}

impl fmt::Display for CommandRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.action, self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_numbers_are_kept_unchanged() {
        for (text, id) in [
            ("1", 1u64),
            ("1795335524723826200", 1795335524723826200),
            ("6.115472790658567e+18", 6115472790658566912),
            ("1E3", 1000),
            ("5.0", 5),
        ] {
            let read = ActionId::from_json_number(text).unwrap().unwrap();
            assert_eq!(read.get() as f64, id as f64, "{text}");
            assert_eq!(read.get() as f64, text.parse::<f64>().unwrap(), "{text} reads back as the same float");
        }
        assert_eq!(ActionId::from_json_number("0").unwrap(), None);
        assert_eq!(ActionId::from_json_number("0.0").unwrap(), None);
    }

    #[test]
    fn spellings_cover_every_form_of_a_float() {
        let reference = |action, command| CommandRef { action: ActionId(action), command: CommandId(command) };
        let largest = (1 << 53) - 1;
        for ours in [reference(1, 2), reference(largest, largest)] {
            assert_eq!(ours.spellings().collect::<Vec<_>>(), [ours]);
        }
        let forms = ["6115472790658567168", "6115472790658567000", "6.115472790658567e+18", "6115472790658567001"];
        let read = forms.map(|form| ActionId::from_json_number(form).unwrap().unwrap());
        for returned in &read[..3] {
            for sent in &read[..3] {
                let mut spellings = reference(returned.0, 7).spellings();
                assert!(spellings.any(|one| one.action == *sent && one.command.0 == 7), "{returned} for {sent}");
            }
        }
        let both = reference(1795335524723826200, 1795335525519004700).spellings();
        assert_eq!(
            both.map(|one| one.to_string()).collect::<Vec<_>>().join(" "),
            "1795335524723826200-1795335525519004700 \
            1795335524723826200-1795335525519004672 1795335524723826176-1795335525519004700 1795335524723826176-1795335525519004672"
        );
        assert_eq!(reference(ID_ACCEPTED_MAX, 1).spellings().count(), 1, "2^63 is no id");
    }

    #[test]
    fn other_values_than_positive_whole_numbers_are_refused() {
        for text in ["-1", "1.5", "9223372036854775808", "1e400", "\"1\"", "null", "", "true", "0.1", "NaN", "inf"] {
            assert!(ActionId::from_json_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn file_names_hold_digits_only() {
        let name = CommandRef { action: ActionId(12), command: CommandId(34) };
        assert_eq!(CommandRef::from_file_name(&name.file_name()).unwrap(), name);
        for bad in [
            "12-34",
            "12.json",
            "012-3.json",
            "1-2-3.json",
            "../1-2.json",
            "1-+2.json",
            "-.json",
            "1- 2.json",
            "1-2.json.reason",
            "99999999999999999999-1.json",
        ] {
            assert!(CommandRef::from_file_name(bad).is_err(), "{bad}");
        }
        assert_eq!(ActionId::from_file_name("7.json").unwrap().get(), 7);
        for bad in ["7", "07.json", "0.json", "x.json", "7.json/..", ".json"] {
            assert!(ActionId::from_file_name(bad).is_err(), "{bad}");
        }
    }
}
