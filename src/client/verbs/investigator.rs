//! `mig investigator`: who may launch actions through the API.

use super::{common_options, connect, exit_codes, usage, view};
use crate::cli::Program;
use crate::client::http::{Api, Content};
use crate::client::launch::shown;
use crate::client::output::Output;
use crate::client::results::pages;
use crate::client::{read_file, warn_left_out};
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::signature::Keyring;
use gumdrop::Options;

/// What `mig investigator --help` says.
pub const PROGRAM: Program = Program {
    name: "mig investigator",
    about: "mig investigator - lists, adds, disables and enables investigators\n\n\
        Usage: mig investigator list\n       mig investigator add NAME FILE\n       mig investigator disable|enable ID",
    details: concat!("FILE has one public key, armored: gpg --armor --export KEYID.\n\n", exit_codes!()),
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct InvestigatorOptions {
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
    /// form of the list
    #[options(no_short, meta = "text|json|jsonl|csv", default = "text")]
    format: String,
    /// what to do
    #[options(free)]
    words: Vec<String>,
}
common_options!(InvestigatorOptions);

/// `mig investigator`.
pub fn main(options: InvestigatorOptions) -> Result<(), ProgramError> {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let connect = || connect(options.migrc.as_deref(), options.key.as_deref());
    match words.as_slice() {
        ["list"] => {
            let (_, format) = shown("all", &options.format)?;
            let mut output = Output::new(format);
            let write = |raw: &serde_json::value::RawValue| view::INVESTIGATOR.write(raw, &mut output);
            pages(&connect()?, &[("type", "investigator")], limits::CLIENT_ROWS_MAX, write)?;
            output.finish(view::INVESTIGATOR.columns())
        }
        ["add", name, file] => add(&connect, name, file),
        ["disable", id] => update(&connect()?, id, "disabled"),
        ["enable", id] => update(&connect()?, id, "active"),
        _ => Err(usage(&PROGRAM, "expected list, add NAME FILE, disable ID or enable ID")),
    }
}

fn add(connect: &dyn Fn() -> Result<Api, ProgramError>, name: &str, file: &str) -> Result<(), ProgramError> {
    let key = read_file(file, limits::KEYRING_SIZE_BYTES_MAX)?;
    let data = |reason: String| ProgramError::new(ExitClass::Data, format!("{file}: {reason}"));
    if key.windows(KEY_BLOCK.len()).any(|part| part == KEY_BLOCK) {
        return Err(data("has a secret key; export the public one: gpg --armor --export KEYID".into()));
    }
    let keyring = Keyring::parse(&key).map_err(|e| data(e.to_string()))?;
    warn_left_out(PROGRAM.name, file, &keyring);
    let fingerprints: Vec<String> = keyring.investigators().map(|one| one.fingerprint.to_string()).collect();
    let [fingerprint] = fingerprints.as_slice() else {
        return Err(data(format!("has {} keys, not one", fingerprints.len())));
    };
    connect()?.post("investigator/create/", Content::File { name: ("name", name), file: ("publickey", &key) })?;
    eprintln!("mig: {} ({fingerprint}) may launch actions now", crate::client::printable(name));
    Ok(())
}

/// What a file with a secret key begins with.
const KEY_BLOCK: &[u8] = b"BEGIN PGP PRIVATE KEY BLOCK";

fn update(api: &Api, id: &str, status: &str) -> Result<(), ProgramError> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(usage(&PROGRAM, format!("'{id}' is not an id; mig investigator list has them")));
    }
    api.post("investigator/update/", Content::Form(&[("id", id), ("status", status)]))?;
    eprintln!("mig: investigator {id} is {status} now");
    Ok(())
}
