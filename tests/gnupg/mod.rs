//! What several test files need: actions to sign, and a GnuPG of their own to ask for a second opinion.

use crate::common::score::Score;
use mig::action::Action;
use mig::signature::restore_armor;
use mig::time::Timestamp;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;
use tempfile::TempDir;

/// The original's action that both test investigators signed.
pub const SIGNED_BY_TWO: &str = include_str!("../samples/action-signed-by-two.json");

/// The text that the signatures of an action in JSON cover.
pub fn signed_text(action: &Value) -> String {
    Action::parse_draft(action.to_string().as_bytes()).unwrap().signed_text()
}

/// A GnuPG home of its own; its agent ends with it.
pub struct GnuPg {
    home: TempDir,
}

/// What `gpg --verify` said.
#[derive(Debug)]
pub struct GpgAnswer {
    /// It ended with 0.
    pub accepted: bool,
    /// What it printed, status lines first.
    pub output: String,
}

impl GnuPg {
    /// A new home; none, and a line that says so, where there is no gpg.
    pub fn new() -> Option<GnuPg> {
        if Command::new("gpg").arg("--version").stdout(Stdio::null()).status().is_err() {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| Score::begin("gpg").skip("it is not installed, so nothing is compared with it"));
            return None;
        }
        // Below /tmp, because the name of the agent's socket must stay short.
        let private = Permissions::from_mode(0o700);
        let home = tempfile::Builder::new().prefix("gpg").permissions(private).tempdir_in("/tmp").unwrap();
        Some(GnuPg { home })
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `gpg` in this home, not asking anybody.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home()).args(["--batch", "--no-tty"]).args(arguments);
        command
    }

    /// Imports keys, armored.
    pub fn import(&self, armored: &str) {
        let file = self.home().join("import.asc");
        std::fs::write(&file, armored).unwrap();
        // It complains of what it does not accept; the test then sees that in its verdict.
        self.command(&["--quiet", "--import"]).arg(&file).output().unwrap();
    }

    /// Verifies by the recipe in `mig-action-verifier --help`, with the clock at `now`.
    pub fn verify(&self, text: &str, stripped: &str, now: Timestamp) -> GpgAnswer {
        let [text_file, armor_file] = ["text", "text.asc"].map(|name| self.home().join(name));
        std::fs::write(&text_file, text).unwrap();
        std::fs::write(&armor_file, restore_armor(stripped).unwrap()).unwrap();
        let clock = now.strftime("%Y%m%dT%H%M%S!").to_string();
        let mut command = self.command(&["--faked-system-time", &clock, "--status-fd", "1", "--verify"]);
        let output = command.arg(armor_file).arg(text_file).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        GpgAnswer { accepted: output.status.success(), output: said.concat() }
    }
}

impl Drop for GnuPg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).status();
    }
}
