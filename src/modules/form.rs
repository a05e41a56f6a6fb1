//! The form of a module: what its parameters are called on a command line, in questions, in `help` and in completion. All of
//! them are made of one table.

use super::ParameterError;
use super::fields::nearest;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;

/// See the module docs.
#[derive(Debug)]
pub struct Form {
    /// The module.
    pub name: &'static str,
    /// What it looks for: the rest of a sentence that begins with its name.
    pub about: &'static str,
    /// Its command line, behind the name.
    pub usage: &'static str,
    /// Its options.
    pub groups: &'static [Group],
    /// What they mean for each other, and examples.
    pub details: &'static str,
    /// Where they go.
    pub shape: Shape,
    /// Switches that are set unless the command line says otherwise, by their field.
    pub preset: &'static [(&'static str, bool)],
}

/// Options that belong together.
#[derive(Debug)]
pub struct Group {
    /// The line above them.
    pub title: &'static str,
    /// In order of importance.
    pub flags: &'static [Flag],
}

/// One option.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What its value is called; empty for a switch.
    pub value: &'static str,
    /// Where it goes: a field, or a field in an object (`options.maxdepth`).
    pub field: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it does; further lines are indented.
    pub help: &'static str,
}

/// What an option takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Texts: it may be there more than once, and the field is a list.
    Texts,
    /// One text.
    Text,
    /// The path of a file on the machine of the command line; the field is what this makes of the file. Only there: an
    /// operation has what was made.
    File(fn(File) -> Result<String, String>),
    /// One whole number.
    Number,
    /// Nothing; `-x=false` is the opposite. The field is then this.
    Switch(bool),
}

/// The parameters that a filled form makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The fields themselves.
    Fields,
    /// One search: `{"searches": {"s1": {fields}}}`.
    Search,
}

/// The label of the one search that a command line describes.
const LABEL: &str = "s1";

/// The column in which the explanation of an option begins.
const EXPLANATION_COLUMN: usize = 22;

impl Flag {
    /// An option that may be there more than once.
    pub const fn texts(name: &'static str, value: &'static str, field: &'static str, help: &'static str) -> Flag {
        Flag { name, value, field, kind: Kind::Texts, help }
    }

    /// An option with one text.
    pub const fn text(name: &'static str, value: &'static str, field: &'static str, help: &'static str) -> Flag {
        Flag { name, value, field, kind: Kind::Text, help }
    }

    /// An option with the path of a file; the field is what `made` makes of it.
    pub const fn file(
        name: &'static str,
        made: fn(File) -> Result<String, String>,
        field: &'static str,
        help: &'static str,
    ) -> Flag {
        Flag { name, value: "<file>", field, kind: Kind::File(made), help }
    }

    /// An option with a number.
    pub const fn number(name: &'static str, field: &'static str, help: &'static str) -> Flag {
        Flag { name, value: "<n>", field, kind: Kind::Number, help }
    }

    /// An option that sets a field to true.
    pub const fn switch(name: &'static str, field: &'static str, help: &'static str) -> Flag {
        Flag { name, value: "", field, kind: Kind::Switch(true), help }
    }

    /// An option that sets a field to false.
    pub const fn unset(name: &'static str, field: &'static str, help: &'static str) -> Flag {
        Flag { name, value: "", field, kind: Kind::Switch(false), help }
    }

    /// What all searches by label have; `help` says what must pass the filters.
    pub const fn matchall(help: &'static str) -> Flag {
        Flag::switch("matchall", "options.matchall", help)
    }

    /// The opposite.
    pub const fn matchany() -> Flag {
        Flag::unset("matchany", "options.matchall", "one is enough")
    }

    /// What they have too; `help` says of what it is the maximum.
    pub const fn matchlimit(help: &'static str) -> Flag {
        Flag::number("matchlimit", "options.matchlimit", help)
    }

    /// Reads its value.
    fn value(&self, value: Option<&str>) -> Result<Value, ParameterError> {
        match (self.kind, value) {
            (Kind::Switch(set), None | Some("true")) => Ok(json!(set)),
            (Kind::Switch(set), Some("false")) => Ok(json!(!set)),
            (Kind::Switch(_), Some(_)) => Err(refuse(self.name, "must be true or false")),
            (_, None) => Err(refuse(self.name, "needs a value")),
            (Kind::Number, Some(value)) => {
                let number: u64 = value.parse().map_err(|_| refuse(self.name, "must be a whole number"))?;
                Ok(json!(number))
            }
            (Kind::File(made), Some(path)) => {
                let text = File::open(path).map_err(|error| error.to_string()).and_then(made);
                Ok(json!(text.map_err(|reason| refuse(self.name, &format!("read {path}: {reason}")))?))
            }
            (Kind::Text | Kind::Texts, Some(value)) => Ok(json!(value)),
        }
    }
}

/// The text of a file.
pub(super) fn text_of(file: impl Read, bytes_max: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is no UTF-8; save it as UTF-8")
    })
}

impl Form {
    /// All options.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.groups.iter().flat_map(|group| group.flags)
    }

    /// Turns a command line into parameters, which may still be invalid.
    pub fn parameters(&self, words: &[String]) -> Result<Value, ParameterError> {
        let mut fields = Map::new();
        let mut rest = words.iter().map(String::as_str);
        let mut once: Vec<&str> = Vec::new();
        while let Some(word) = rest.next() {
            let (name, inline) = split(word)?;
            let flag = self.flags().find(|flag| flag.name == name).ok_or_else(|| self.unknown(name))?;
            let value = if matches!(flag.kind, Kind::Switch(_)) { inline } else { inline.or_else(|| rest.next()) };
            let value = flag.value(value)?;
            let place = place(&mut fields, flag.field);
            if matches!(flag.kind, Kind::Texts) {
                match place {
                    Value::Array(values) => values.push(value),
                    place => *place = json!([value]),
                }
                continue;
            }
            if once.contains(&flag.field) {
                return Err(refuse(name, "is there twice, or with its opposite"));
            }
            once.push(flag.field);
            *place = value;
        }
        for (field, set) in self.preset {
            let place = place(&mut fields, field);
            if place.is_null() {
                *place = json!(set);
            }
        }
        Ok(match self.shape {
            Shape::Fields => Value::Object(fields),
            Shape::Search => json!({"searches": {LABEL: fields}}),
        })
    }

    /// An error of a parameter as one of the option that sets it, if there is one.
    pub fn of_option(&self, error: ParameterError) -> ParameterError {
        match self.option_of(&error.field) {
            Some((flag, _)) => refuse(flag.name, &error.reason),
            None => error,
        }
    }

    /// The same of parameters that a command line became: an option that is there more than once is named with its value,
    /// unless the reason quotes that.
    pub fn of_argument(&self, error: ParameterError, parameters: &Value) -> ParameterError {
        let Some((flag, index)) = self.option_of(&error.field) else { return error };
        let fields = match self.shape {
            Shape::Fields => parameters,
            Shape::Search => &parameters["searches"][LABEL],
        };
        let list = flag.field.split('.').fold(fields, |object, name| &object[name]).as_array();
        let value = list.filter(|list| list.len() > 1).zip(index).and_then(|(list, index)| list.get(index)?.as_str());
        let quotes =
            |value: &&str| ["'", "\"", "`"].iter().any(|mark| error.reason.contains(&[*mark, *value, *mark].concat()));
        match value.filter(|value| !quotes(value)) {
            Some(value) => refuse(&format!("{} '{}'", flag.name, value.escape_debug()), &error.reason),
            None => refuse(flag.name, &error.reason),
        }
    }

    /// The option that sets a field, as errors name that; and which of several.
    fn option_of(&self, field: &str) -> Option<(&'static Flag, Option<usize>)> {
        let field = match self.shape {
            // Some name their field below this word.
            Shape::Fields => field.strip_prefix("parameters.").unwrap_or(field),
            Shape::Search => field.strip_prefix("searches.")?.strip_prefix(LABEL)?.strip_prefix('.')?,
        };
        let (field, index) = field.split_once('[').unwrap_or((field, ""));
        let flag = self.flags().find(|flag| flag.field == field)?;
        Some((flag, index.strip_suffix(']').and_then(|index| index.parse().ok())))
    }

    fn unknown(&self, name: &str) -> ParameterError {
        let names: Vec<&str> = self.flags().map(|flag| flag.name).collect();
        let reason = match nearest(name, &names) {
            Some(right) => format!("is not an option of the module {}; did you mean -{right}?", self.name),
            None => format!("is not an option of the module {}", self.name),
        };
        refuse(name, &reason)
    }

    /// The help text; complete, as there is no other manual on the command line.
    pub fn help(&self) -> String {
        self.help_of("mig")
    }

    /// The help text of what is run by `program`.
    pub fn help_of(&self, program: &str) -> String {
        let Form { name, about, usage, details, .. } = self;
        let mut text =
            format!("{name}: {about}\n\n  {program} {name} {usage}     (-x and --x are the same; -x=value too)\n");
        for Group { title, flags } in self.groups {
            let _ = write!(text, "\n{title}\n");
            for flag in *flags {
                let line = format!("  -{} {}", flag.name, flag.value);
                let mut lines = flag.help.lines();
                let first = lines.next().unwrap_or_default();
                if line.trim_end().len() + 1 < EXPLANATION_COLUMN {
                    let _ = writeln!(text, "{line:EXPLANATION_COLUMN$}{first}");
                } else {
                    let _ = writeln!(text, "{}\n{:EXPLANATION_COLUMN$}{first}", line.trim_end(), "");
                }
                for more in lines {
                    let _ = writeln!(text, "{:EXPLANATION_COLUMN$}{more}", "");
                }
            }
        }
        let _ = write!(text, "\n{details}");
        text
    }
}

/// Where a field is, made if it is missing.
fn place<'v>(fields: &'v mut Map<String, Value>, field: &str) -> &'v mut Value {
    match field.split_once('.') {
        None => fields.entry(field).or_insert(Value::Null),
        // Indexing makes an object of what was null.
        Some((object, field)) => &mut fields.entry(object).or_insert_with(|| json!({}))[field],
    }
}

/// Splits `-x`, `--x` or `-x=value` into the flag and the value.
pub(super) fn split(argument: &str) -> Result<(&str, Option<&str>), ParameterError> {
    let stripped = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
    let Some(stripped) = stripped.filter(|stripped| !stripped.is_empty()) else {
        return Err(ParameterError::new(argument, "is not an option; options begin with -"));
    };
    Ok(match stripped.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (stripped, None),
    })
}

/// The error of a flag.
pub(super) fn refuse(flag: &str, reason: &str) -> ParameterError {
    ParameterError::new(format!("-{flag}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    const FORM: Form = Form {
        name: "example",
        about: "looks for examples",
        usage: "-name <regex>",
        groups: &[
            Group { title: "Filters:", flags: &[Flag::texts("name", "<regex>", "names", "on the name;\nof all")] },
            Group {
                title: "Options:",
                flags: &[
                    Flag::switch("matchall", "options.matchall", "all"),
                    Flag::unset("matchany", "options.matchall", "any"),
                    Flag::number("maxdepth", "options.maxdepth", "levels"),
                    Flag::text("a-very-long-name", "<word>", "word", "a word"),
                ],
            },
        ],
        details: "Example:\n  mig example -name .\n",
        shape: Shape::Fields,
        preset: &[("options.matchall", true)],
    };

    fn parse(line: &str) -> Result<Value, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        FORM.parameters(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_line_becomes_parameters() {
        let found = parse("-name a --name=-b -maxdepth 3 --a-very-long-name x").unwrap();
        let expected = json!({"names": ["a", "-b"], "options": {"matchall": true, "maxdepth": 3}, "word": "x"});
        assert_eq!(found, expected);
        assert_eq!(parse("-matchany").unwrap(), json!({"options": {"matchall": false}}));
        assert_eq!(parse("-matchany=false").unwrap(), json!({"options": {"matchall": true}}));
        let search = Form { shape: Shape::Search, ..FORM };
        assert_eq!(search.parameters(&[]).unwrap(), json!({"searches": {"s1": {"options": {"matchall": true}}}}));
        for (line, error) in [
            ("name", "name: is not an option; options begin with -"),
            ("-", "-: is not an option; options begin with -"),
            ("-nme x", "-nme: is not an option of the module example; did you mean -name?"),
            ("-zzzzzzz x", "-zzzzzzz: is not an option of the module example"),
            ("-name", "-name: needs a value"),
            ("-maxdepth x", "-maxdepth: must be a whole number"),
            ("-matchall=1", "-matchall: must be true or false"),
            ("-maxdepth 1 -maxdepth 2", "-maxdepth: is there twice, or with its opposite"),
            ("-matchall -matchany", "-matchany: is there twice, or with its opposite"),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line}");
        }
    }

    #[test]
    fn errors_of_parameters_name_the_option_that_sets_them() {
        let search = Form { shape: Shape::Search, ..FORM };
        for (form, field, option) in [
            (&FORM, "names", "-name"),
            (&FORM, "names[3]", "-name"),
            (&FORM, "options.maxdepth", "-maxdepth"),
            (&FORM, "parameters.word", "-a-very-long-name"),
            (&search, "searches.s1.names[0]", "-name"),
            (&search, "searches.s1.options.matchall", "-matchall"),
            // No option sets it.
            (&FORM, "options", "options"),
            (&FORM, "parameters.nmes", "parameters.nmes"),
            (&search, "searches.s1", "searches.s1"),
            (&search, "names", "names"),
            (&search, "searches.other.names[0]", "searches.other.names[0]"),
        ] {
            assert_eq!(form.of_option(ParameterError::new(field, "x")), ParameterError::new(option, "x"), "{field}");
        }
    }

    #[test]
    fn errors_of_one_of_several_values_name_it() {
        let search = Form { shape: Shape::Search, ..FORM };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
        for (form, line, field, option) in [
            (&FORM, "-name a -name b", "parameters.names[1]", "-name 'b'"),
            (&search, "-name a\n -name b", "searches.s1.names[0]", "-name 'a\\n'"),
            (&FORM, "-name b", "names[0]", "-name"),
            (&FORM, "-name a -name b", "names", "-name"),
            (&FORM, "-name a -name b", "names[2]", "-name"),
            (&search, "-maxdepth 1", "searches.s1.options.maxdepth", "-maxdepth"),
            (&search, "-name a -name b", "searches.s1", "searches.s1"),
        ] {
            let parameters = form.parameters(&words(line)).unwrap();
            let error = form.of_argument(ParameterError::new(field, "x"), &parameters);
            assert_eq!(error, ParameterError::new(option, "x"), "{line}: {field}");
        }
        let parameters = FORM.parameters(&words("-name ( -name b")).unwrap();
        let error = FORM.of_argument(ParameterError::new("names[0]", "bad: `(`"), &parameters);
        assert_eq!(error.to_string(), "-name: bad: `(`");
        let error = modules::by_name("sshkey").unwrap().parse_arguments(&words("-path /a -path b")).unwrap_err();
        assert_eq!(error.to_string(), "-path 'b': is not an absolute path");
    }

    #[test]
    fn the_text_of_a_file_is_read_within_its_limit() {
        const OF_FILE: Form = Form {
            groups: &[Group {
                title: "Options:",
                flags: &[Flag::file("rules", |file| text_of(file, 8), "text", "its text")],
            }],
            preset: &[],
            ..FORM
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let read = |text: &[u8]| {
            std::fs::write(path, text).unwrap();
            OF_FILE.parameters(&["-rules".into(), path.into()]).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"a\nb").unwrap(), json!({"text": "a\nb"}));
        assert_eq!(read(b"123456789").unwrap_err(), format!("-rules: read {path}: it has more than 8 bytes"));
        let error = format!("-rules: read {path}: line 2 is no UTF-8; save it as UTF-8");
        assert_eq!(read(b"a\n\xff").unwrap_err(), error);
        let missing = OF_FILE.parameters(&["-rules".into(), "/nonexistent".into()]).unwrap_err().to_string();
        assert!(missing.starts_with("-rules: read /nonexistent: No such file"), "{missing}");
    }

    #[test]
    fn only_switches_share_a_field() {
        for module in modules::all() {
            let values = || module.form().flags().filter(|flag| !matches!(flag.kind, Kind::Switch(_)));
            for flag in values() {
                let same: Vec<&str> =
                    values().filter(|other| other.field == flag.field).map(|other| other.name).collect();
                assert_eq!(same, [flag.name], "{}: an error would name the first", module.name());
            }
        }
    }

    #[test]
    fn the_help_is_complete_and_aligned() {
        let help = FORM.help();
        for line in [
            "example: looks for examples",
            "  mig example -name <regex>     (-x and --x are the same; -x=value too)",
            "  -name <regex>       on the name;",
            "                      of all",
            "  -matchany           any",
            "  -maxdepth <n>       levels",
            "  -a-very-long-name <word>",
            "                      a word",
        ] {
            assert!(help.lines().any(|found| found == line), "{line}:\n{help}");
        }
        assert!(help.ends_with(FORM.details));
        assert!(FORM.help_of("mig-agent -P").contains("\n  mig-agent -P example -name <regex> "));
    }
}
