//! `mig-action-verifier`: shows the signers of an action, and verifies the signatures.

mod permissions;

use super::{printable, read_file, warn_left_out};
use crate::acl::Acl;
use crate::action::Action;
use crate::cli::{Common, Program, print};
use crate::command::Command;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::signature::{Keyring, SignatureError, Signer, distinct, restore_armor};
use crate::time::{self, Timestamp};
use gumdrop::Options;
use permissions::Permission;
use serde_json::{Value, json};

/// What `mig-action-verifier --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-action-verifier",
    about: "mig-action-verifier - verifies the signatures of an action, and checks whether it may run now\n\n\
        Usage: mig-action-verifier -a ACTION | -c COMMAND [--keyring FILE] [--acl FILE] [--json]\n       \
        mig-action-verifier -a ACTION --text | --armor N",
    details: "To verify with plain gpg:\n  mig-action-verifier -a action.json --text > text\n  mig-action-verifier -a action.json --armor 0 > text.asc\n  \
        gpg --verify text.asc text\n\n\
        To sign with plain gpg, for the scheduler to join with the action:\n  mig-action-verifier -a action.json --text | gpg --armor --detach-sign > action.json.asc-bob\n  \
        cp action.json.asc-bob SPOOL/action/new/\n\n\
        Exit codes: 0 every signature counts, the action is inside its window, and with --acl permitted; 1 otherwise; 64 command line; 65 not an action;\n\
        66 unreadable file.",
    rest_after: &[],
};

/// One of -a and -c is required.
#[derive(Debug, Options)]
pub struct VerifierOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// an action file
    #[options(short = "a", meta = "ACTION", no_long)]
    action: Option<String>,
    /// a command file
    #[options(short = "c", meta = "COMMAND", no_long)]
    command: Option<String>,
    /// trusted public keys
    #[options(no_short, meta = "FILE", default = "/etc/mig/investigators.asc")]
    keyring: String,
    /// an agent's access list: print what the signers weigh, and what is missing
    #[options(no_short, meta = "FILE")]
    acl: Option<String>,
    /// print one JSON object
    #[options(no_short)]
    json: bool,
    /// print the text that signatures cover, without a newline at its end; the action need not be signed
    #[options(no_short)]
    text: bool,
    /// print the N-th signature, armored
    #[options(no_short, meta = "N")]
    armor: Option<usize>,
}

impl Common for VerifierOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

/// `mig-action-verifier`.
pub fn main(options: VerifierOptions) -> Result<(), ProgramError> {
    let action = read_action(&options)?;
    if options.text {
        print(&action.signed_text());
        return Ok(());
    }
    if let Some(index) = options.armor {
        let missing = || {
            ProgramError::new(
                ExitClass::Usage,
                format!("--armor {index}: the action has {} signatures", action.signatures.len()),
            )
        };
        let armored = restore_armor(action.signatures.get(index).ok_or_else(missing)?);
        print(&armored.map_err(|e| ProgramError::new(ExitClass::Data, format!("pgpsignatures[{index}] {e}")))?);
        return Ok(());
    }
    let keyring = Keyring::parse(&read_file(&options.keyring, limits::KEYRING_SIZE_BYTES_MAX)?);
    let keyring =
        keyring.map_err(|e| ProgramError::new(ExitClass::Data, format!("--keyring {}: {e}", options.keyring)))?;
    warn_left_out(PROGRAM.name, &options.keyring, &keyring);
    let now = time::now();
    let text = action.signed_text();
    let verified: Vec<_> = action.signatures.iter().map(|signature| keyring.verify(&text, signature, now)).collect();
    let window = window(&action, now);
    let acl = options.acl.as_deref().map(read_acl).transpose()?;
    let permissions = acl.map(|acl| permissions::weigh(&acl, &action, &distinct(&verified)));
    print(&if options.json {
        as_json(&verified, window, permissions.as_deref())
    } else {
        let permissions = permissions.as_deref().unwrap_or_default();
        as_text(&action, &verified, window) + &permissions::as_text(permissions, &verified)
    });
    let is_permitted = permissions.iter().flatten().all(Permission::is_satisfied);
    if verified.iter().all(Result::is_ok) && window == "inside" && is_permitted {
        Ok(())
    } else {
        Err(ProgramError::new(ExitClass::Negative, ""))
    }
}

fn read_acl(path: &str) -> Result<Acl, ProgramError> {
    Acl::parse(&read_file(path, limits::CONFIGURATION_SIZE_BYTES_MAX)?)
        .map_err(|e| ProgramError::new(ExitClass::Data, format!("--acl {path}: {e}")))
}

fn read_action(options: &VerifierOptions) -> Result<Action, ProgramError> {
    let data = |path: &str, e: crate::json::JsonError| ProgramError::new(ExitClass::Data, format!("{path}: {e}"));
    match (&options.action, &options.command) {
        (Some(path), None) => {
            let parse = if options.text { Action::parse_dated } else { Action::parse };
            parse(&read_file(path, limits::ACTION_SIZE_BYTES_MAX)?).map_err(|e| data(path, e))
        }
        (None, Some(path)) => {
            let command =
                Command::parse(&read_file(path, limits::RESULT_SIZE_BYTES_MAX)?).map_err(|e| data(path, e))?;
            Action::parse(&command.action.to_json()).map_err(|e| data(path, e))
        }
        _ => Err(ProgramError::new(ExitClass::Usage, "one of -a and -c is required; try mig-action-verifier --help")),
    }
}

fn window(action: &Action, now: Timestamp) -> &'static str {
    if now < action.valid_from {
        "before"
    } else if now >= action.expire_after {
        "after"
    } else {
        "inside"
    }
}

fn as_json(verified: &[Result<Signer, SignatureError>], window: &str, permissions: Option<&[Permission]>) -> String {
    let signatures: Vec<Value> = verified
        .iter()
        .map(|one| match one {
            Ok(signer) => json!({"valid": true, "fingerprint": signer.fingerprint, "name": signer.name}),
            Err(error) => json!({"valid": false, "error": error.to_string()}),
        })
        .collect();
    let valid = !verified.is_empty() && verified.iter().all(Result::is_ok);
    let mut answer = json!({"signatures": signatures, "valid": valid, "window": window});
    if let Some(permissions) = permissions {
        answer["permissions"] = permissions.iter().map(Permission::to_json).collect();
    }
    format!("{answer}\n")
}

fn as_text(action: &Action, verified: &[Result<Signer, SignatureError>], window: &str) -> String {
    let mut text = String::new();
    for (index, one) in verified.iter().enumerate() {
        text.push_str(&match one {
            Ok(signer) => {
                format!("pgpsignatures[{index}]: valid, by {} ({})\n", printable(&signer.name), signer.fingerprint)
            }
            Err(error) => format!("pgpsignatures[{index}]: NOT valid: it {}\n", printable(&error.to_string())),
        });
    }
    let (from, until) = (action.valid_from, action.expire_after);
    text.push_str(&match window {
        "inside" => format!("may run now: valid from {from} until {until}\n"),
        "before" => format!("may NOT run yet: valid from {from} until {until}\n"),
        _ => format!("may NOT run any more: valid from {from} until {until}\n"),
    });
    text
}
