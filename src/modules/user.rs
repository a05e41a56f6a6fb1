//! The module `user`: looks for accounts by name, group, shell, password, rights and logins.
//!
//! # Parameters
//!
//! `{"searches": {"<label>": {"names", "uids", "groups", "homes", "shells", "passwords", "lastlogins", "loggedin", "sudo", "doas",
//! "root", "nopasswd", "options": {"matchall", "matchlimit"}}}}`; `form.rs` says what each means.
//!
//! # What it looks at
//!
//! - `/etc/passwd`, `/etc/group` and `/etc/shadow`; of the last only the state of a password, its algorithm and dates.
//! - `/var/log/wtmp` and `/var/log/lastlog` for last logins, and what has their place on newer systems: the databases of wtmpdb
//!   and lastlog2. `/run/utmp` and logind's sessions for those that go on.
//! - `/etc/sudoers`, `/etc/sudoers-rs` and what they include, and the files of doas.

mod doas;
mod doas_text;
mod form;
mod logins;
mod parameters;
mod rights;
mod run;
mod shadow;
mod sudoers;
mod sudoers_text;
#[cfg(test)]
mod tests;

use super::files::Machine;
use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;

/// The module `user`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct User;

impl Module for User {
    fn form(&self) -> &'static Form {
        &form::FORM
    }

    fn needs(&self) -> Needs {
        Needs { reads_files: true, ..Needs::default() }
    }

    fn validate(&self, parameters: &Value) -> Result<Vec<ParameterError>, ParameterError> {
        parameters::parse(parameters).map(|_| Vec::new())
    }

    fn run(&self, parameters: &Value, context: Context) -> ModuleResult {
        ModuleResult::of(parameters::parse(parameters), |searches| run::run(&searches, &Machine::this(), context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let line = |account: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
            let groups: Vec<String> = account["groups"].as_array().into_iter().flatten().map(text).collect();
            let (password, last) = (&account["password"], &account["lastlogin"]);
            let mut line = format!(
                "{} [uid:{}, groups:{}, home:{}, shell:{}, password:{} {}",
                text(&account["name"]),
                account["uid"],
                groups.join(" "),
                text(&account["home"]),
                text(&account["shell"]),
                text(&password["state"]),
                text(&password["algorithm"])
            );
            line.truncate(line.trim_end().len());
            if last.is_object() {
                line += format!(", last login:{} {}", text(&last["time"]), text(&last["from"])).trim_end();
            }
            let now = account["loggedin"].as_array().map_or(0, Vec::len);
            if now > 0 {
                line += &format!(", logged in:{now}");
            }
            let rights =
                ["sudo", "doas"].map(|by| account[by].as_array().into_iter().flatten().map(move |right| (by, right)));
            for (by, right) in rights.into_iter().flatten() {
                let commands: Vec<String> = right["commands"].as_array().into_iter().flatten().map(text).collect();
                let unasked = if right["nopasswd"] == true { " NOPASSWD" } else { "" };
                line += &format!(", {by}:({}){unasked} {}", text(&right["as"]), commands.join(" "));
            }
            line + "]"
        };
        notation::lines(result, line, |statistics| format!("{} accounts looked at", statistics["examined"]))
    }
}
