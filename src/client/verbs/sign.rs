//! `mig sign`: signs an action, or adds a signature to one that is passed from hand to hand.

use super::{common_options, usage};
use crate::action::Action;
use crate::cli::Program;
use crate::client::checks::{check_operations, check_signed};
use crate::client::launch::key;
use crate::client::migrc::Migrc;
use crate::client::output;
use crate::client::session::key_is_missing;
use crate::client::signing::check_weight;
use crate::client::{parse_time, read_file};
use crate::error::{ExitClass, ProgramError};
use crate::signature::are_by_one_key;
use crate::{limits, time};
use gumdrop::Options;

/// What `mig sign --help` says.
pub const PROGRAM: Program = Program {
    name: "mig sign",
    about: "mig sign - signs an action, and prints it\n\n\
        Usage: mig sign FILE [-k KEY] [-t TARGET] [-e DURATION] [-o FILE]\n       \
        mig sign SIGNED --keep-dates [-k KEY] [-o FILE]         (adds a signature)",
    details: "Launch the signed action with mig launch FILE, or drop it into a spool with cp.\n\n\
        Exit codes: 0 done; 64 command line; 65 unusable action or key; 66 unreadable file; 74 write error; 78 invalid migrc.",
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct SignOptions {
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
    /// target, instead of the one in the file
    #[options(short = "t", meta = "TARGET", no_long)]
    target: Option<String>,
    /// how long the action is valid
    #[options(short = "e", meta = "DURATION", no_long)]
    expiration: Option<String>,
    /// keep target, dates and signatures, add a signature
    #[options(no_short)]
    keep_dates: bool,
    /// write to this file
    #[options(short = "o", meta = "FILE", no_long)]
    output: Option<String>,
    /// refuse what the agents' access list in this file would not run
    #[options(no_short, meta = "FILE")]
    acl: Option<String>,
    /// sign searches that cannot mean what was intended
    #[options(no_short)]
    force: bool,
    /// the action
    #[options(free)]
    words: Vec<String>,
}
common_options!(SignOptions);

/// `mig sign`.
pub fn main(options: SignOptions) -> Result<(), ProgramError> {
    let [input] = options.words.as_slice() else { return Err(usage(&PROGRAM, "one word is expected, a file")) };
    let data = |reason: String| ProgramError::new(ExitClass::Data, format!("{input}: {reason}"));
    let mut action =
        Action::parse_draft(&read_file(input, limits::ACTION_SIZE_BYTES_MAX)?).map_err(|e| data(e.to_string()))?;
    let migrc = Migrc::read_if_there(options.migrc.as_deref())?;
    let now = time::now();
    if options.keep_dates {
        if options.target.is_some() || options.expiration.is_some() {
            return Err(usage(&PROGRAM, "--keep-dates keeps the signed fields: it excludes -t and -e"));
        }
    } else if !action.signatures.is_empty() {
        return Err(data("is signed already; --keep-dates adds a signature".into()));
    } else {
        if let Some(target) = &options.target {
            action.target = migrc.target(target);
        }
        action.valid_from = parse_time("-validfrom", "-60s", now)?;
        action.expire_after = parse_time("-e", options.expiration.as_deref().unwrap_or("30m"), now)?;
    }
    check_operations(&action, input, options.force)?;
    let key = key(options.key.as_deref(), &migrc)?.ok_or_else(|| key_is_missing(&migrc.file))?;
    let fingerprint = key.check(now)?;
    if let Some(acl) = options.acl.as_deref().filter(|_| !options.force)
        && let Some(warning) = check_weight(acl, &action, &fingerprint)?
    {
        eprintln!("mig sign: {warning}");
    }
    let signature = key.sign(&action.signed_text(), now)?;
    if action.signatures.iter().any(|before| are_by_one_key(before, &signature)) {
        return Err(data("is signed by this key already; a second signature by one investigator adds nothing".into()));
    }
    action.signatures.push(signature);
    let action = check_signed(&action, input)?;
    let text = String::from_utf8_lossy(&action.to_json()).into_owned() + "\n";
    match &options.output {
        None => output::write(&text),
        Some(file) => {
            std::fs::write(file, text).map_err(|e| ProgramError::new(ExitClass::Io, format!("write {file}: {e}")))
        }
    }
}
