//! From the JSON of an operation to what is scanned.

use super::rules::RULES_BYTES_MAX;
use crate::json::Fields;
use crate::modules::expressions::{Pattern, Patterns};
use crate::modules::fields;
use crate::modules::file::File;
use crate::modules::{Module, ParameterError, limits};
use serde_json::Value;

/// Bytes of the command line that selects files: more than people write.
const SEARCH_BYTES_MAX: usize = 64 << 10;

/// Where rules come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// Their text.
    Text(String),
    /// What [`super::compiled`] makes of it.
    Compiled(String),
}

/// What is scanned, with what.
#[derive(Debug)]
pub(super) struct Search {
    /// Not checked yet.
    pub(super) rules: Source,
    /// Valid parameters of module `file`.
    pub(super) files: Option<Value>,
    /// On the name or the program of processes.
    pub(super) processes: Vec<Pattern>,
    /// Why the search for files cannot mean what was intended.
    pub(super) doubts: Vec<ParameterError>,
}

/// Reads the parameters of an operation.
pub(super) fn parse(parameters: &Value) -> Result<Search, ParameterError> {
    let text = parameters.to_string();
    let given = Fields::at("parameters", &text)?;
    fields::only(&given, &["yara", "compiled", "filesearch", "processes"])?;
    // Names of fields stand for themselves in errors.
    let given = Fields::parse(text.as_bytes())?;
    let rules = match (given.raw("yara"), given.raw("compiled")) {
        (Some(_), Some(_)) => return Err(ParameterError::new("compiled", "is there, and so is yara: one of both")),
        (None, Some(_)) => Source::Compiled(given.text_required("compiled", RULES_BYTES_MAX)?),
        (_, None) => Source::Text(given.text_required("yara", RULES_BYTES_MAX)?),
    };
    let line = given.text("filesearch", SEARCH_BYTES_MAX)?;
    let processes = Patterns::default().list(&given, "processes")?;
    let words = words(&line).map_err(|reason| ParameterError::new("filesearch", reason))?;
    if words.is_empty() && processes.is_empty() {
        return Err(ParameterError::new("filesearch", "is missing, and so is processes: nothing would be scanned"));
    }
    let (files, doubts) = if words.is_empty() {
        (None, Vec::new())
    } else {
        file_search(&words).map(|(files, doubts)| (Some(files), doubts))?
    };
    Ok(Search { rules, files, processes, doubts })
}

/// Parameters of module `file`, and what it doubts.
fn file_search(words: &[String]) -> Result<(Value, Vec<ParameterError>), ParameterError> {
    let of_files = |error| ParameterError::new("filesearch", File.form().of_option(error).to_string());
    let parameters = File.form().parameters(words).map_err(of_files)?;
    let doubts = File.validate(&parameters).map_err(of_files)?.into_iter().map(of_files).collect();
    let options = &parameters["searches"]["s1"]["options"];
    if options["links"] == true {
        return Err(ParameterError::new("filesearch", "-links: a link itself has no contents to scan"));
    }
    if options["matchlimit"].as_u64().is_some_and(|limit| limit > 0) {
        return Err(ParameterError::new("filesearch", "-matchlimit: all files that are selected are scanned"));
    }
    Ok((parameters, doubts))
}

/// Splits a command line at white space. Quotes, single or double, hold words together; nothing escapes, as a backslash belongs to
/// an expression.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let (mut quote, mut is_in_word) = (None, false);
    for letter in line.chars() {
        let begins = !is_in_word && (quote.is_some() || !letter.is_whitespace());
        if begins {
            words.push(String::new());
            is_in_word = true;
        }
        let word = words.last_mut();
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, letter) if letter.is_whitespace() => is_in_word = false,
            (_, letter) => word.into_iter().for_each(|word| word.push(letter)),
        }
    }
    match quote {
        Some(quote) => Err(format!("a quote ({quote}) has no end")),
        None if words.len() > limits::LIST_VALUES_MAX => {
            Err(format!("has more than {} words", limits::LIST_VALUES_MAX))
        }
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_line_is_split_like_a_shell_does() {
        let split = |line| words(line).unwrap();
        assert_eq!(
            split(r#" -path  /a -content "b c"  -name '\.php"$' "#),
            ["-path", "/a", "-content", "b c", "-name", "\\.php\"$"]
        );
        assert_eq!(split(r#"-name="a b"'c' '' "#), ["-name=a bc", ""]);
        assert_eq!(split(" "), [""; 0]);
        assert_eq!(words("-name it's").unwrap_err(), "a quote (') has no end");
        assert!(words(&"x ".repeat(300)).is_err());
    }

    #[test]
    fn errors_name_the_field_and_the_option() {
        let rule = "rule a { condition: true }";
        for (parameters, error) in [
            (json!({}), "yara: is missing"),
            (json!({"yara": ""}), "yara: is empty"),
            (json!({"compiled": ""}), "compiled: is empty"),
            (json!({"compiled": 7}), "compiled: is not a string"),
            (json!({"yara": rule, "compiled": "x"}), "compiled: is there, and so is yara: one of both"),
            (json!({"yara": "x".repeat(RULES_BYTES_MAX + 1)}), "yara: has 1048577 bytes, the limit is 1048576"),
            (json!({"yara": rule}), "filesearch: is missing, and so is processes"),
            (
                json!({"yara": rule, "filesearh": "x"}),
                "parameters.filesearh: unknown key; did you mean \"filesearch\"?",
            ),
            (json!({"yara": rule, "filesearch": "-path"}), "filesearch: -path: needs a value"),
            (json!({"yara": rule, "filesearch": "-pth /"}), "filesearch: -pth: is not an option of the module file"),
            (json!({"yara": rule, "filesearch": "-path / -name ("}), "filesearch: -name: bad regular"),
            (json!({"yara": rule, "filesearch": "-path / -links -target x"}), "filesearch: -links: a link itself has"),
            (
                json!({"yara": rule, "filesearch": "-path / -name . -matchlimit 7"}),
                "filesearch: -matchlimit: all files",
            ),
            (json!({"yara": rule, "processes": ["("]}), "processes[0]: bad regular expression"),
        ] {
            let found = parse(&parameters).unwrap_err().to_string();
            assert!(found.starts_with(error), "{parameters}: {found}");
        }
        let search = parse(&json!({"YARA": rule, "FileSearch": "-path / -name a/b", "processes": ["x"]})).unwrap();
        assert_eq!((search.rules, search.processes.len()), (Source::Text(rule.into()), 1));
        assert!(search.doubts[0].to_string().starts_with("filesearch: -name: "), "{:?}", search.doubts);
        assert!(search.files.is_some());
    }
}
