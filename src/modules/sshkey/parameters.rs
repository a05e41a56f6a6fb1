//! From the JSON of an operation to a search.

use super::blob;
use super::keys::Type;
use crate::json::Fields;
use crate::modules::ParameterError;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::fields::{self, Number};
use serde_json::Value;
use std::path::PathBuf;

/// Levels below a path, as in the original.
const LEVELS_DEFAULT: usize = 8;
/// The most levels, as in the original.
const LEVELS_MAX: usize = 1_000;
/// What a path is searched if there is none, as in the original.
const PATHS_DEFAULT: [&str; 2] = ["/root", "/home"];

/// What is looked for, and where. Every filter must be passed; an empty one is.
#[derive(Debug)]
pub(super) struct Search {
    /// Files and directories.
    pub(super) paths: Vec<PathBuf>,
    /// Whether the investigator named them.
    pub(super) has_paths: bool,
    /// `.ssh` of the home directories of all accounts, too.
    pub(super) homes: bool,
    /// Levels below a path.
    pub(super) levels: usize,
    /// Whether the investigator named them.
    pub(super) has_levels: bool,
    /// One of these words.
    pub(super) types: Vec<String>,
    /// One of these words, in lower case.
    pub(super) algorithms: Vec<String>,
    /// One of these, as a key writes them: `SHA256:…`, or pairs of digits.
    pub(super) fingerprints: Vec<String>,
    /// On the size.
    pub(super) bits: Vec<Number>,
    /// On the comment.
    pub(super) comments: Vec<Pattern>,
    /// On the path of the file.
    pub(super) files: Vec<Pattern>,
    /// Only private keys without a passphrase.
    pub(super) unencrypted: bool,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Search, ParameterError> {
    const KNOWN: [&str; 10] = [
        "paths",
        "maxdepth",
        "homes",
        "types",
        "algorithms",
        "fingerprints",
        "bits",
        "comments",
        "files",
        "unencrypted",
    ];
    let text = parameters.to_string();
    let given = Fields::at("parameters", &text)?;
    fields::only(&given, &KNOWN)?;
    let mut patterns = Patterns::default();
    let asked = given.integer::<usize>("maxdepth")?.filter(|levels| *levels > 0);
    let levels = asked.unwrap_or(LEVELS_DEFAULT);
    if levels > LEVELS_MAX {
        return Err(given.error("maxdepth", format!("is {levels}, the limit is {LEVELS_MAX}")).into());
    }
    let types = Type::ALL.map(Type::word);
    let algorithms =
        blob::words().iter().flat_map(|word| [(*word).to_owned(), format!("{word}-cert")]).collect::<Vec<_>>();
    let algorithms: Vec<&str> = algorithms.iter().map(String::as_str).collect();
    let (paths, homes) = (fields::each(&given, "paths", path)?, given.boolean("homes")?);
    let has_paths = !paths.is_empty();
    Ok(Search {
        paths: if has_paths || homes { paths } else { PATHS_DEFAULT.map(PathBuf::from).to_vec() },
        has_paths,
        homes,
        levels,
        has_levels: asked.is_some(),
        types: fields::words(&given, "types", &types)?,
        algorithms: fields::words(&given, "algorithms", &algorithms)?,
        fingerprints: fields::each(&given, "fingerprints", fingerprint)?,
        bits: fields::each(&given, "bits", Number::parse)?,
        comments: patterns.list(&given, "comments")?,
        files: patterns.list(&given, "files")?,
        unencrypted: given.boolean("unencrypted")?,
    })
}

fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() && !text.contains('\0') { Ok(path) } else { Err("is not an absolute path".to_owned()) }
}

/// Reads `SHA256:…`, `MD5:aa:bb:…`, and both without the word in front.
fn fingerprint(text: &str) -> Result<String, String> {
    const SHA256_DIGITS: usize = 43;
    let md5 = text.strip_prefix("MD5:").unwrap_or(text).to_ascii_lowercase();
    let digits: String = md5.chars().filter(|letter| *letter != ':').collect();
    if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pairs: Vec<&str> = (0..16).map(|pair| &digits[2 * pair..2 * pair + 2]).collect();
        return Ok(pairs.join(":"));
    }
    let sha256 = text.strip_prefix("SHA256:").unwrap_or(text).trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    if sha256.len() == SHA256_DIGITS && sha256.bytes().all(is_digit) {
        return Ok(format!("SHA256:{sha256}"));
    }
    Err("is not a fingerprint, such as SHA256: and 43 characters, or MD5: and 16 pairs of digits".to_owned())
}
