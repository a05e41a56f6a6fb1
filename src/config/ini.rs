//! INI as Go's gcfg reads it: `[section]`, `key = value`. Every error names file, line and key. Unknown sections and keys are
//! errors, so that a typo does not silently select a default.

use super::{ConfigError, Secret, read_bounded};
use crate::limits;
use crate::time::parse_duration;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Keys that may be set more than once: each line adds a value, and a text of lines is taken.
const LISTS: [(&str, &str); 1] = [("targets", "macro")];

/// A parsed file. Reading a key removes it; a key that is left at the end is unknown.
#[derive(Clone)]
pub struct Ini {
    file: String,
    values: BTreeMap<(String, String), Setting>,
    sections: BTreeMap<String, usize>,
    /// What the file calls a key.
    name_of: fn(&str, &str) -> String,
}

/// The value of a key, and where it is written. It may be a secret.
#[derive(Clone)]
pub struct Setting {
    /// The file.
    pub file: String,
    /// The line in it.
    pub line: usize,
    /// What the key is called there.
    pub name: String,
    /// The value.
    pub text: String,
    /// Whether the file is world-readable.
    is_public: bool,
}

impl Setting {
    /// The error of this value.
    pub fn error(&self, reason: &str) -> ConfigError {
        let text = format!("{}: {reason}", self.name);
        ConfigError { file: self.file.clone(), line: Some(self.line), text, is_temporary: false }
    }
}

impl Ini {
    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<Ini, ConfigError> {
        let file = path.display().to_string();
        let error =
            |text: String, is_temporary: bool| ConfigError { file: file.clone(), line: None, text, is_temporary };
        let bytes = read_bounded(path, limits::CONFIGURATION_SIZE_BYTES_MAX)
            .map_err(|e| error(format!("cannot be read: {e}"), e.is_temporary))?;
        let text = String::from_utf8(bytes).map_err(|_| error("is not UTF-8".into(), false))?;
        let mode = std::fs::metadata(path).map_or(0, |look| look.permissions().mode());
        let mut ini = Ini::parse(&text, &file)?;
        ini.values.values_mut().for_each(|setting| setting.is_public = mode & 0o004 != 0);
        Ok(ini)
    }

    /// Settings from `file`, none so far.
    pub fn empty(file: &str) -> Ini {
        let name_of = |section: &str, key: &str| format!("{section}.{key}");
        Ini { file: file.to_owned(), values: BTreeMap::new(), sections: BTreeMap::new(), name_of }
    }

    /// The same with other names of keys.
    pub fn with_names(self, name_of: fn(&str, &str) -> String) -> Ini {
        Ini { name_of, ..self }
    }

    /// Sets a key, which is called `name` in line `line` of the file. Returns the line in which it was set before.
    pub fn set(&mut self, section: &str, key: &str, name: &str, line: usize, text: String) -> Option<usize> {
        let setting = Setting { file: self.file.clone(), line, name: name.to_owned(), text, is_public: false };
        let earlier = self.values.insert((section.to_owned(), key.to_owned()), setting);
        earlier.map(|earlier| earlier.line)
    }

    /// Whether a key is set.
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.values.contains_key(&(section.to_owned(), key.to_owned()))
    }

    /// Forgets a key.
    pub fn remove(&mut self, section: &str, key: &str) {
        self.values.remove(&(section.to_owned(), key.to_owned()));
    }

    /// Adds the settings of another file, which count where this one says nothing.
    pub fn add_defaults(&mut self, other: Ini) {
        for (place, setting) in other.values {
            self.values.entry(place).or_insert(setting);
        }
    }

    /// Parses the text of `file`.
    pub fn parse(text: &str, file: &str) -> Result<Ini, ConfigError> {
        let mut ini = Ini::empty(file);
        let mut section: Option<String> = None;
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            let error =
                |text: String| ConfigError { file: file.to_owned(), line: Some(number), text, is_temporary: false };
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let (name, rest) = rest.split_once(']').ok_or_else(|| error("section without ']'".into()))?;
                if !rest.trim().is_empty() && !rest.trim().starts_with([';', '#']) {
                    return Err(error(format!("'{}' after the section's name", rest.trim())));
                }
                let name = name.trim().to_lowercase();
                ini.sections.entry(name.clone()).or_insert(number);
                section = Some(name);
                continue;
            }
            let section = section.clone().ok_or_else(|| error("a key before the first section".into()))?;
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => {
                    (key, parse_value(value).map_err(|e| error(format!("{}.{}: {e}", section, key.trim())))?)
                }
                // A key without a value is true.
                None => (line.split([';', '#']).next().unwrap_or_default(), "true".to_owned()),
            };
            let key = key.trim().to_lowercase();
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
                return Err(error(format!("'{key}' is not a key")));
            }
            let place = (section.clone(), key.clone());
            if LISTS.contains(&(section.as_str(), key.as_str())) {
                let (file, name) = (file.to_owned(), format!("{section}.{key}"));
                let none = Setting { file, line: number, name, text: String::new(), is_public: false };
                let all = &mut ini.values.entry(place).or_insert(none).text;
                all.push_str(&format!("{}\n", value.replace('\n', " ")));
                continue;
            }
            let name = format!("{section}.{key}");
            if let Some(earlier) = ini.set(&section, &key, &name, number, value) {
                return Err(error(format!("{name} is already set in line {earlier}")));
            }
        }
        Ok(ini)
    }

    /// All settings, with their sections and keys.
    pub fn into_settings(self) -> impl Iterator<Item = ((String, String), Setting)> {
        self.values.into_iter()
    }

    /// The line of a section, with or without keys; none if it is not there.
    pub fn section_line(&self, section: &str) -> Option<usize> {
        self.sections.get(section).copied()
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Takes a key's value and converts it; `default` if the key is missing.
    pub fn take<T>(
        &mut self,
        section: &str,
        key: &str,
        default: T,
        convert: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        match self.values.remove(&(section.to_owned(), key.to_owned())) {
            None => Ok(default),
            Some(setting) => convert(&setting.text).map_err(|reason| setting.error(&reason)),
        }
    }

    /// Takes all keys of a section, with their values.
    pub fn take_section(&mut self, section: &str) -> Vec<(String, Setting)> {
        let keys: Vec<_> = self.values.keys().filter(|(of, _)| of == section).cloned().collect();
        let take = |place: (String, String)| self.values.remove(&place).map(|setting| (place.1, setting));
        keys.into_iter().filter_map(take).collect()
    }

    /// Takes text.
    pub fn text(&mut self, section: &str, key: &str, default: &str) -> Result<String, ConfigError> {
        self.take(section, key, default.to_owned(), |value| Ok(value.to_owned()))
    }

    /// Takes required text, which must not be empty.
    pub fn text_required(&mut self, section: &str, key: &str) -> Result<String, ConfigError> {
        let value = self.text(section, key, "")?;
        if value.is_empty() { Err(self.error(None, section, key, "is missing")) } else { Ok(value) }
    }

    /// Takes a host: a name or an address. An IPv6 address may be in brackets, as in an URL.
    pub fn host(&mut self, section: &str, key: &str, default: &str) -> Result<String, ConfigError> {
        self.take(section, key, default.to_owned(), |value| match value.strip_prefix('[') {
            None => Ok(value.to_owned()),
            Some(rest) => match rest.strip_suffix(']').filter(|address| address.parse::<Ipv6Addr>().is_ok()) {
                Some(address) => Ok(address.to_owned()),
                None => Err(format!("'{value}' is not an IPv6 address in brackets, such as [::1]")),
            },
        })
    }

    /// Takes a host that must be there.
    pub fn host_required(&mut self, section: &str, key: &str) -> Result<String, ConfigError> {
        let host = self.host(section, key, "")?;
        if host.is_empty() { Err(self.error(None, section, key, "is missing")) } else { Ok(host) }
    }

    /// Takes a required password, from a file that is not world-readable.
    pub fn secret(&mut self, section: &str, key: &str) -> Result<Secret, ConfigError> {
        self.check_private(section, key)?;
        Ok(Secret::new(self.text_required(section, key)?))
    }

    /// Refuses a secret in a world-readable file.
    pub fn check_private(&self, section: &str, key: &str) -> Result<(), ConfigError> {
        match self.values.get(&(section.to_owned(), key.to_owned())) {
            Some(setting) if setting.is_public => {
                Err(self.error(None, section, key, "is a secret in a world-readable file; run chmod o-r on it"))
            }
            _ => Ok(()),
        }
    }

    /// The error of a key that is set: with its place.
    pub fn error_at(&self, section: &str, key: &str, reason: &str) -> ConfigError {
        match self.values.get(&(section.to_owned(), key.to_owned())) {
            Some(setting) => setting.error(reason),
            None => self.error(None, section, key, reason),
        }
    }

    /// Takes a port number.
    pub fn port(&mut self, section: &str, key: &str, default: u16) -> Result<u16, ConfigError> {
        self.take(section, key, default, |value| match value.parse() {
            Ok(port @ 1..) => Ok(port),
            _ => Err(format!("'{value}' is not a port from 1 to 65535")),
        })
    }

    /// Takes an optional path; an empty one counts as missing. It must be absolute, because a service has no current
    /// directory.
    pub fn path(&mut self, section: &str, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        self.take(section, key, None, |value| match value {
            "" => Ok(None),
            value if value.starts_with('/') => Ok(Some(PathBuf::from(value))),
            value => Err(format!("'{value}' is not an absolute path")),
        })
    }

    /// Takes a required path.
    pub fn path_required(&mut self, section: &str, key: &str) -> Result<PathBuf, ConfigError> {
        self.path(section, key)?.ok_or_else(|| self.error(None, section, key, "is missing"))
    }

    /// Takes a duration in Go's notation, longer than zero.
    pub fn duration(&mut self, section: &str, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        self.take(section, key, default, |value| match parse_duration(value)? {
            Duration::ZERO => Err("must be longer than zero".into()),
            duration => Ok(duration),
        })
    }

    /// Takes true/false, yes/no, on/off, 1/0.
    pub fn boolean(&mut self, section: &str, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.take(section, key, default, |value| match value.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(format!("'{value}' is neither true nor false")),
        })
    }

    /// Takes a whole number.
    pub fn number(&mut self, section: &str, key: &str, default: u64) -> Result<u64, ConfigError> {
        self.take(section, key, default, |value| value.parse().map_err(|_| format!("'{value}' is not a whole number")))
    }

    /// Builds the error for a key.
    pub fn error(&self, line: Option<usize>, section: &str, key: &str, reason: &str) -> ConfigError {
        let text = format!("{}: {reason}", (self.name_of)(section, key));
        ConfigError { file: self.file.clone(), line, text, is_temporary: false }
    }

    /// Checks that every section is one of `sections` and that every key was taken.
    pub fn finish(self, sections: &[&str]) -> Result<(), ConfigError> {
        if let Some((section, line)) = self.sections.iter().find(|(section, _)| !sections.contains(&section.as_str())) {
            let text = format!("unknown section [{section}]; known are {}", sections.join(", "));
            return Err(ConfigError { file: self.file, line: Some(*line), text, is_temporary: false });
        }
        match self.values.iter().next() {
            Some((_, setting)) => Err(setting.error("unknown key")),
            None => Ok(()),
        }
    }
}

/// Parses a bare or quoted value; strips a comment after it, except inside quotes.
fn parse_value(text: &str) -> Result<String, String> {
    let mut value = String::new();
    let mut characters = text.trim().chars();
    let mut quoted = false;
    while let Some(c) = characters.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => match characters.next() {
                Some(c @ ('"' | '\\')) => value.push(c),
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                _ => return Err("a backslash is valid only before '\"', '\\', 'n' or 't'".into()),
            },
            ';' | '#' if !quoted => {
                value.truncate(value.trim_end().len());
                break;
            }
            c => value.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".into());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_gcfg_reads_them() {
        let text = "; comment\n[Agent]\n bare = a b ; comment\nquoted = \"x;y#z \\\"q\\\" \\\\\" # comment\nalone\nempty =\n\n[other]\nKEY=1h30m\n";
        let mut ini = Ini::parse(text, "t.cfg").unwrap();
        assert_eq!(ini.text("agent", "bare", "").unwrap(), "a b");
        assert_eq!(ini.text("agent", "quoted", "").unwrap(), "x;y#z \"q\" \\");
        assert!(ini.boolean("agent", "alone", false).unwrap());
        assert_eq!(ini.text("agent", "empty", "default").unwrap(), "");
        assert_eq!(ini.duration("other", "key", Duration::ZERO).unwrap(), Duration::from_secs(5400));
        ini.finish(&["agent", "other"]).unwrap();
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, error) in [
            ("[a]\nx = \"open\n", "t.cfg:2: a.x: a quote is not closed"),
            ("x = 1\n", "t.cfg:1: a key before the first section"),
            ("[a\n", "t.cfg:1: section without ']'"),
            ("[a] b\n", "t.cfg:1: 'b' after the section's name"),
            ("[a]\nx=1\n\nX=2\n", "t.cfg:4: a.x is already set in line 2"),
            ("[a]\n= 1\n", "t.cfg:2: '' is not a key"),
            ("[a]\nx = \\q\n", "t.cfg:2: a.x: a backslash"),
        ] {
            assert!(Ini::parse(text, "t.cfg").err().unwrap().to_string().starts_with(error), "{text}");
        }
        let ini = || Ini::parse("[a]\nx = maybe\n[b]\n", "t.cfg").unwrap();
        assert_eq!(
            ini().boolean("a", "x", false).unwrap_err().to_string(),
            "t.cfg:2: a.x: 'maybe' is neither true nor false"
        );
        assert_eq!(ini().number("a", "x", 0).unwrap_err().to_string(), "t.cfg:2: a.x: 'maybe' is not a whole number");
        assert_eq!(ini().path("a", "x").unwrap_err().to_string(), "t.cfg:2: a.x: 'maybe' is not an absolute path");
        assert_eq!(ini().path_required("a", "y").unwrap_err().to_string(), "t.cfg: a.y: is missing");
        assert_eq!(ini().finish(&["a", "b"]).unwrap_err().to_string(), "t.cfg:2: a.x: unknown key");
        assert_eq!(ini().finish(&["a"]).unwrap_err().to_string(), "t.cfg:3: unknown section [b]; known are a");
    }

    #[test]
    fn an_ipv6_address_may_be_in_brackets() {
        for (text, expected) in [
            ("[::1]", Ok("::1")),
            ("::1", Ok("::1")),
            ("broker.example.net", Ok("broker.example.net")),
            ("/run/postgresql", Ok("/run/postgresql")),
            ("[broker]", Err("t.cfg:2: mq.host: '[broker]' is not an IPv6 address in brackets, such as [::1]")),
            ("[::1", Err("t.cfg:2: mq.host: '[::1' is not an IPv6 address in brackets, such as [::1]")),
        ] {
            let mut ini = Ini::parse(&format!("[mq]\nhost = \"{text}\"\n"), "t.cfg").unwrap();
            let host = ini.host_required("mq", "host").map_err(|error| error.to_string());
            assert_eq!(host.as_deref().map_err(String::as_str), expected);
        }
        let mut ini = Ini::parse("[mq]\n", "t.cfg").unwrap();
        assert_eq!(ini.host_required("mq", "host").unwrap_err().to_string(), "t.cfg: mq.host: is missing");
    }
}
