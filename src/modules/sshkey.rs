//! The module `sshkey`: looks for SSH keys in files, private ones, public ones and those that may log in.
//!
//! # Parameters
//!
//! `{"paths": [path], "maxdepth": n}` as in the original, and `"homes"`, `"types"`, `"algorithms"`, `"fingerprints"`, `"bits"`,
//! `"comments"`, `"files"`, `"unencrypted"`; `form.rs` says what each means.
//!
//! # What it looks at
//!
//! - Every regular file up to 1 MiB in which there is a mark of a key near its beginning, every file in a directory `.ssh`, and
//!   every file or directory named `authorized_keys*`.
//! - The kind of a key, its size and fingerprints are computed from its public part, as ssh-keygen(1) does. A private key in PEM
//!   that is encrypted has none.
//! - Users can change what is in their directories while root reads it: `tree.rs` is not led elsewhere by that.

mod blob;
mod form;
mod keys;
mod parameters;
mod private;
mod public;
mod run;
#[cfg(test)]
mod tests;
mod tree;

use super::files::Machine;
use super::form::Form;
use super::{Context, Module, ModuleResult, Needs, ParameterError, notation};
use serde_json::Value;

/// The module `sshkey`, see the module's documentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct SshKey;

impl Module for SshKey {
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
        ModuleResult::of(parameters::parse(parameters), |search| run::run(&search, &Machine::this(), context))
    }

    fn print(&self, result: &ModuleResult) -> Vec<String> {
        let line = |key: &Value| {
            let text = |name: &str| key[name].as_str().filter(|text| !text.is_empty()).unwrap_or("unknown");
            let mut line = format!("{} [{}]", text("path"), text("type"));
            if key["type"] == "private" {
                line += &format!(" encrypted={}", key["encrypted"]);
            }
            line += &format!(" md5fp={} sha256fp={}", text("fingerprint_md5"), text("fingerprint_sha256"));
            // What agents of the original do not say.
            for name in ["algorithm", "bits", "comment", "owner", "mode"] {
                let said = key[name].as_str().map_or_else(|| key[name].to_string(), str::to_owned);
                if !["", "0", "null"].contains(&said.as_str()) {
                    line += &format!(" {name}={said}");
                }
            }
            line
        };
        let statistics =
            |statistics: &Value| format!("{} keys in {} files", statistics["examined"], statistics["files"]);
        notation::lines(result, line, statistics)
    }
}
