//! Persistent modules: an agent runs them for as long as it runs itself, because its configuration says so. They cannot be
//! ordered by an action, and what they notice is no result of one: it is an event.
//!
//! One runs in a process of its own, `mig-agent --limited -P NAME -`, as restricted as an operation. It reads its parameters (JSON)
//! from standard input, and prints events, a JSON object in a line each. `agent/persistent.rs` keeps it running.

use super::form::Form;
use super::fswatch::FsWatch;
use super::{Needs, ParameterError};
use serde_json::{Map, Value};

/// What one noticed.
pub type Event = Map<String, Value>;

/// See the module docs.
pub trait Persistent: Sync {
    /// Its name and its options.
    fn form(&self) -> &'static Form;
    /// All that it may do.
    fn needs(&self) -> Needs;
    /// Refuses parameters that [`Persistent::run`] cannot use, naming the field.
    fn validate(&self, parameters: &Value) -> Result<(), ParameterError>;
    /// Calls `notice` with each event until that returns false. Returns why it cannot go on.
    fn run(&self, parameters: &Value, notice: &mut dyn FnMut(Event) -> bool) -> Result<(), String>;

    /// Turns the command-line form into parameters that [`Persistent::validate`] accepts.
    fn parse_arguments(&self, arguments: &[String]) -> Result<Value, ParameterError> {
        let parameters = self.form().parameters(arguments)?;
        let checked = self.validate(&parameters).map_err(|error| self.form().of_argument(error, &parameters));
        checked.map(|()| parameters)
    }
}

/// Every persistent module of this build.
pub fn all() -> &'static [&'static dyn Persistent] {
    &[&FsWatch]
}

/// The one called `name`.
pub fn by_name(name: &str) -> Option<&'static dyn Persistent> {
    all().iter().copied().find(|module| module.form().name == name)
}

/// A persistent module that the configuration names.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub module: &'static str,
    /// Its parameters.
    pub parameters: Value,
}

impl Wanted {
    /// Reads the text of a configuration: the module's options as on a command line, or its parameters as JSON.
    pub fn parse(module: &str, text: &str) -> Result<Wanted, String> {
        let known = || all().iter().map(|module| module.form().name).collect::<Vec<_>>().join(", ");
        let found = by_name(module).ok_or_else(|| format!("no persistent module '{module}'; known are {}", known()))?;
        let parameters = if text.trim_start().starts_with('{') {
            let parameters = crate::json::value(text).map_err(|error| error.to_string())?;
            found.validate(&parameters).map(|()| parameters)
        } else {
            let words = shlex::split(text).ok_or("a quotation mark is not closed")?;
            found.parse_arguments(&words)
        };
        let parameters = parameters.map_err(|error| error.to_string())?;
        Ok(Wanted { module: found.form().name, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_names_one_by_options_or_json() {
        for text in ["-path /etc -path '/my files'", r#"{"paths": ["/etc", "/my files"]}"#] {
            let wanted = Wanted::parse("fswatch", text).unwrap();
            assert_eq!(wanted, Wanted { module: "fswatch", parameters: json!({"paths": ["/etc", "/my files"]}) });
        }
        for (module, text, error) in [
            ("fswatsh", "-path /etc", "no persistent module 'fswatsh'; known are fswatch"),
            ("fswatch", "-path '/etc", "a quotation mark is not closed"),
            ("fswatch", "", "-path: at least one path is needed"),
            ("fswatch", r#"{"paths": ["#, "the JSON text ends in the middle"),
            ("fswatch", r#"{"path": ["/etc"]}"#, "parameters.path: unknown key; did you mean \"paths\"?"),
        ] {
            assert!(Wanted::parse(module, text).unwrap_err().starts_with(error), "{module} {text}");
        }
    }
}
