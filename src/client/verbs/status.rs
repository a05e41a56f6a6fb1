//! `mig status`: the dashboard.

use super::{common_options, connect, exit_codes, view};
use crate::cli::{Program, print};
use crate::client::collection::Collection;
use crate::client::output::{Format, Output};
use crate::client::printable;
use crate::error::ProgramError;
use gumdrop::Options;
use serde_json::Value;

/// What `mig status --help` says.
pub const PROGRAM: Program = Program {
    name: "mig status",
    about: "mig status - counts agents, and lists the last actions\n\nUsage: mig status [options]",
    details: exit_codes!(),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct StatusOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// client configuration (default ~/.migrc)
    #[options(short = "c", meta = "MIGRC", no_long)]
    migrc: Option<String>,
    /// key file, or key id or user id for gpg
    #[options(short = "k", meta = "KEY", no_long)]
    key: Option<String>,
}
common_options!(StatusOptions);

/// `mig status`.
pub fn main(options: StatusOptions) -> Result<(), ProgramError> {
    const PATH: &str = "dashboard";
    let api = connect(options.migrc.as_deref(), options.key.as_deref())?;
    let body = api.get(PATH, &[])?;
    let collection = Collection::parse(&body).map_err(|e| api.unreadable(PATH, e))?;
    let mut items = collection.items.iter();
    for (name, value) in items.next().map_or(&[][..], |item| &item.data) {
        print(&format!("{:<36} {}\n", printable(name), figure(value.get())));
    }
    let mut output = Output::new(Format::Text);
    for item in items {
        view::ACTION.write(item.value().map_err(|e| api.unreadable(PATH, e))?, &mut output)?;
    }
    output.finish(view::ACTION.columns())
}

/// A number, or a list of versions with their numbers.
fn figure(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(Value::Array(versions)) => {
            let one = |version: &Value| {
                let (name, count) = (version["version"].as_str().unwrap_or(""), version["count"].as_u64().unwrap_or(0));
                format!("{count} {}", printable(name))
            };
            versions.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Ok(Value::Null) | Err(_) => "none".to_owned(),
        Ok(other) => printable(&other.to_string()),
    }
}
