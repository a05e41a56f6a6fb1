//! `mig-action-generator`: signs an action file, and launches it through the API, drops it into a spool, or prints it.

use super::checks::{check_operations, check_signed};
use super::http::Api;
use super::launch;
use super::migrc::Migrc;
use super::output;
use super::signing::SigningKey;
use super::{parse_time, read_file, warn_left_out};
use crate::action::Action;
use crate::cli::{Common, Program, print};
use crate::error::{ExitClass, ProgramError};
use crate::json::JsonError;
use crate::limits;
use crate::signature::{Keyring, are_by_one_key, generate_key, generate_rsa_key};
use crate::spool::{FileName, Placed, drop_file, stages};
use crate::time::{self, Timestamp};
use gumdrop::Options;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What `mig-action-generator --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-action-generator",
    about: "mig-action-generator - signs an action, and launches it\n\n\
        Usage: mig-action-generator -i ACTION [-k KEY | -c MIGRC] [-t TARGET] [-validfrom TIME] [-expireafter TIME] [-p] [-nolaunch | --spool DIR]\n       \
        mig-action-generator -i SIGNED --keep-dates -k KEY          (adds a signature)\n       \
        mig-action-generator --make-key 'Name <mail>' [--rsa] --key-file FILE\n       \
        mig-action-generator --fingerprint FILE",
    details: "KEY is a file with a secret key without passphrase, or a key id or user id for gpg: then gpg signs, with its agent or a\n\
        smartcard, and may prompt. Without -k the key is [gpg] keyid of MIGRC (default ~/.migrc), in [gpg] home.\n\
        The signed action is launched through the API of MIGRC ([api] url), or dropped into the spool DIR; with -nolaunch, without\n\
        an API, and with --keep-dates it is printed.\n\
        TIME is now, a time such as 2026-11-22T08:00:00Z, or a duration such as 30m: for -validfrom relative to now, for\n\
        -expireafter relative to the later of now and -validfrom. Defaults: -validfrom -60s, -expireafter 30m.\n\
        An action that every agent would refuse is not signed; nor, without --force, a search that cannot mean what was intended,\n\
        such as one with a misspelt field.\n\n\
        --make-key creates an Ed25519 key, which agents of the original do not support; with --rsa an RSA key of 3072 bits, which\n\
        they do. If an RSA signature is shorter than its key, signing is repeated: their library refuses those.\n\n\
        Exit codes: 0 done; 64 command line; 65 unusable action or key; 66 unreadable file; 74 write error;\n\
        75 the API cannot be reached; 77 the API refuses the key; 78 invalid migrc.",
    rest_after: &[],
};

/// One of -i, --make-key and --fingerprint is required.
#[derive(Debug, Options)]
pub struct GeneratorOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// the action to sign
    #[options(short = "i", meta = "ACTION", no_long)]
    input: Option<String>,
    /// key file, or key id or user id for gpg
    #[options(short = "k", meta = "KEY", no_long)]
    key: Option<String>,
    /// client configuration (default ~/.migrc)
    #[options(short = "c", meta = "MIGRC", no_long)]
    migrc: Option<String>,
    /// target, instead of the one in the file
    #[options(short = "t", meta = "TARGET", no_long)]
    target: Option<String>,
    /// start of the validity
    #[options(no_short, long = "validfrom", meta = "TIME")]
    valid_from: Option<String>,
    /// end of the validity
    #[options(no_short, long = "expireafter", meta = "TIME")]
    expire_after: Option<String>,
    /// print pretty JSON
    #[options(short = "p", no_long)]
    pretty: bool,
    /// print the signed action instead of launching it
    #[options(no_short, long = "nolaunch")]
    no_launch: bool,
    /// keep target, dates and signatures, add a signature
    #[options(no_short)]
    keep_dates: bool,
    /// sign searches that cannot mean what was intended
    #[options(no_short)]
    force: bool,
    /// drop the action into this spool
    #[options(no_short, meta = "DIR")]
    spool: Option<String>,
    /// create a signing key without passphrase for this user id
    #[options(no_short, meta = "USERID")]
    make_key: Option<String>,
    /// with --make-key: an RSA key, for fleets with agents of the original
    #[options(no_short)]
    rsa: bool,
    /// file for the secret key (mode 600); the public key is written to FILE.pub
    #[options(no_short, meta = "FILE")]
    key_file: Option<String>,
    /// print the fingerprint of the first key in a file, for an access list
    #[options(no_short, meta = "FILE")]
    fingerprint: Option<String>,
}

impl Common for GeneratorOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

fn usage(text: &str) -> ProgramError {
    ProgramError::new(ExitClass::Usage, format!("{text}; try mig-action-generator --help"))
}

/// `mig-action-generator`.
pub fn main(options: GeneratorOptions) -> Result<(), ProgramError> {
    if let Some(user_id) = &options.make_key {
        let file = options.key_file.as_deref().ok_or_else(|| usage("--make-key requires --key-file"))?;
        return make_key(user_id, options.rsa, Path::new(file));
    }
    if options.rsa {
        return Err(usage("--rsa requires --make-key"));
    }
    if let Some(file) = &options.fingerprint {
        return print_fingerprint(file);
    }
    let input = options.input.as_deref().ok_or_else(|| usage("-i is missing"))?;
    let draft = Action::parse_draft(&read_file(input, limits::ACTION_SIZE_BYTES_MAX)?).map_err(|e| data(input, e))?;
    let now = time::now();
    let mut action = prepare(draft, &options, now)?;
    check_operations(&action, input, options.force)?;
    let text = action.signed_text();
    let key = SigningKey::choose(options.key.as_deref(), || Migrc::read(options.migrc.as_deref()))?;
    let signature = key.sign(&text, now)?;
    if let Some(index) = action.signatures.iter().position(|before| are_by_one_key(before, &signature)) {
        let reason = "is by this key already; a second signature by one investigator adds nothing";
        return Err(ProgramError::new(ExitClass::Data, format!("{input}: pgpsignatures[{index}] {reason}")));
    }
    action.signatures.push(signature);
    // The checks of the scheduler, so that errors are reported here.
    let action = check_signed(&action, input)?;
    if let Some(spool) = options.spool.as_deref().filter(|_| !options.no_launch) {
        return drop_into(Path::new(spool), &action, input);
    }
    if !options.no_launch && !options.keep_dates {
        let migrc = Migrc::read_if_there(options.migrc.as_deref())?;
        if migrc.api_url.is_some() {
            let api = Api::open(&migrc, Some(key))?;
            let id = launch::post(&api, &action)?;
            print(&format!("{}/action?actionid={id}\n", api.address()));
            return Ok(());
        }
    }
    let pretty = serde_json::to_string_pretty(&action).unwrap_or_default() + "\n";
    output::write(&if options.pretty { pretty } else { String::from_utf8_lossy(&action.to_json()).into_owned() })
}

fn data(input: &str, error: JsonError) -> ProgramError {
    ProgramError::new(ExitClass::Data, format!("{input}: {error}"))
}

/// Sets target and dates from the options.
fn prepare(mut action: Action, options: &GeneratorOptions, now: Timestamp) -> Result<Action, ProgramError> {
    if options.keep_dates {
        if options.target.is_some() || options.valid_from.is_some() || options.expire_after.is_some() {
            return Err(usage("--keep-dates keeps the signed fields: it excludes -t, -validfrom and -expireafter"));
        }
        return Ok(action);
    }
    if let Some(target) = &options.target {
        action.target = target.clone();
    }
    let valid_from = options.valid_from.as_deref().unwrap_or("-60s");
    action.valid_from = parse_time("-validfrom", valid_from, now)?;
    let from = action.valid_from.max(now);
    action.expire_after = parse_time("-expireafter", options.expire_after.as_deref().unwrap_or("30m"), from)?;
    if !action.signatures.is_empty() {
        eprintln!(
            "{}: the dates change, so the {} signatures in the file are removed (--keep-dates keeps both)",
            PROGRAM.name,
            action.signatures.len()
        );
        action.signatures.clear();
    }
    Ok(action)
}

/// Drops the action under a descriptive, unique name.
fn drop_into(spool: &Path, action: &Action, input: &str) -> Result<(), ProgramError> {
    let stem = Path::new(input).file_stem().map_or("action".into(), |stem| stem.to_string_lossy().into_owned());
    let plain: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(100)
        .collect();
    let name = format!("{}-{}.json", plain.trim_start_matches('-'), time::now().as_microsecond());
    let directory = spool.join(stages::ACTION_NEW.path());
    let failed = |reason: String| {
        ProgramError::new(ExitClass::Io, format!("drop {name} into {}: {reason}", directory.display()))
    };
    let file = FileName::new(name.as_str()).ok_or_else(|| failed("not a file name".into()))?;
    match drop_file(&directory, &file, &action.to_json()).map_err(|e| failed(e.to_string()))? {
        Placed::New | Placed::Same => {}
        Placed::Taken | Placed::Gone => return Err(failed("the name exists already".into())),
    }
    print(&format!("{}\n", directory.join(&name).display()));
    Ok(())
}

fn make_key(user_id: &str, is_rsa: bool, path: &Path) -> Result<(), ProgramError> {
    let made = if is_rsa { generate_rsa_key(user_id) } else { generate_key(user_id) };
    let (public, secret) = made.map_err(|e| ProgramError::new(ExitClass::Data, e))?;
    let public_path = PathBuf::from(format!("{}.pub", path.display()));
    for (path, text, mode) in [(path, secret, 0o600), (public_path.as_path(), public, 0o644)] {
        let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let written = created.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| ProgramError::new(ExitClass::Io, format!("write {}: {e}", path.display())))?;
    }
    print(&format!("{}\n{}\n", path.display(), public_path.display()));
    Ok(())
}

fn print_fingerprint(file: &str) -> Result<(), ProgramError> {
    let keyring = Keyring::parse(&read_file(file, limits::KEYRING_SIZE_BYTES_MAX)?);
    let keyring = keyring.map_err(|e| ProgramError::new(ExitClass::Data, format!("{file}: {e}")))?;
    warn_left_out(PROGRAM.name, file, &keyring);
    keyring.investigators().take(1).for_each(|investigator| print(&format!("{}\n", investigator.fingerprint)));
    Ok(())
}
