//! `mig-agent --stamp`: makes an agent for a fleet of this program and a configuration, without a compiler.
//!
//! The configuration is checked to its end before anything is written. The new program is written beside its place, started
//! once to see that it shows the same settings, and renamed.

use super::stamp::{Stamp, StampError, StampSignature, copy_stamped};
use super::{build, installed, show};
use crate::config::agent::AgentConfig;
use crate::config::read_bounded;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::time;
use std::fmt::Display;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What to stamp.
pub struct Stamping<'a> {
    /// The configuration, in TOML.
    pub configuration: &'a Path,
    /// The program to make.
    pub output: &'a Path,
    /// `BUILDENV`
    pub environment: Option<&'a str>,
    /// A detached signature of the configuration, and the certificate of its signer.
    pub signature: Option<(&'a Path, &'a Path)>,
}

/// Makes the agent. Returns its version.
pub fn make(stamping: &Stamping) -> Result<String, ProgramError> {
    let output = stamping.output;
    let inputs = stamping.signature.map(|(signature, signer)| [signature, signer]).into_iter().flatten();
    for input in inputs.chain([stamping.configuration]) {
        if installed::is_same_file(input, output) {
            let text = format!("--output {}: is {}, which would be overwritten", output.display(), input.display());
            return Err(ProgramError::new(ExitClass::Usage, text));
        }
    }
    let stamp = stamp_of(stamping)?;
    let failed = |e: &dyn Display| ProgramError::new(ExitClass::Io, format!("write {}: {e}", output.display()));
    // In the directory that is named, whatever the path begins with.
    let path = std::path::absolute(output).map_err(|e| failed(&e))?;
    let mut draft = installed::draft(&path).map_err(|e| failed(&e))?;
    copy_stamped(&stamp, draft.as_file_mut()).map_err(|e| failed(&e))?;
    // It holds secrets.
    let draft = installed::finish(draft, 0o700).map_err(|e| failed(&e))?;
    check_started(&stamp, &draft)?;
    installed::put(&draft, &path).map_err(|e| failed(&e))?;
    Ok(build::full_version(build::version(), stamping.environment))
}

fn stamp_of(stamping: &Stamping) -> Result<Stamp, ProgramError> {
    let usage = |text: String| ProgramError::new(ExitClass::Usage, text);
    if let Some(environment) = stamping.environment.filter(|environment| !build::is_environment(environment)) {
        let shown = environment.escape_default();
        return Err(usage(format!("--buildenv: '{shown}' is not 1 to 32 letters, digits, - and _")));
    }
    match Stamp::own() {
        Ok(None) => {}
        Ok(Some(_)) => {
            let text = "--stamp: this program is stamped already; stamp the one that it was made from";
            return Err(ProgramError::new(ExitClass::Data, text));
        }
        Err(e) => return Err(own_stamp_error(e)),
    }
    let configuration = read_text(stamping.configuration)?;
    let file = stamping.configuration.display().to_string();
    let config =
        AgentConfig::parse_inside(&configuration, &file).map_err(|e| ProgramError::new(ExitClass::Config, e))?;
    let mode = std::fs::metadata(stamping.configuration).map_or(0, |look| look.permissions().mode());
    if config.has_secrets() && mode & 0o004 != 0 {
        let text = format!("{file}: has a secret in a world-readable file; run chmod o-r on it");
        return Err(ProgramError::new(ExitClass::Config, text));
    }
    let signature = match stamping.signature {
        Some((signature, certificate)) => {
            Some(StampSignature { certificate: read_text(certificate)?, signature: read_text(signature)? })
        }
        None => None,
    };
    let stamp = Stamp {
        version: build::version().into(),
        environment: stamping.environment.map(str::to_owned),
        time: time::now(),
        configuration,
        signature,
    };
    let refused = |reason| ProgramError::new(ExitClass::NoPermission, format!("--stamp: {file} {reason}"));
    stamp.check_signature(build::stamp_key().as_ref()).map_err(refused)?;
    Ok(stamp)
}

/// The error of a program whose own stamp cannot be used.
pub fn own_stamp_error(error: &StampError) -> ProgramError {
    let class = if matches!(error, StampError::Io(_)) { ExitClass::Io } else { ExitClass::Config };
    ProgramError::new(class, format!("this program: {error}"))
}

fn read_text(path: &Path) -> Result<String, ProgramError> {
    let failed = |e: &dyn Display| ProgramError::new(ExitClass::NoInput, format!("read {}: {e}", path.display()));
    let bytes = read_bounded(path, limits::STAMP_BYTES_MAX / 4).map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|_| failed(&"is not UTF-8"))
}

/// Starts the new program, and compares what it shows with what it was made of.
fn check_started(stamp: &Stamp, program: &Path) -> Result<(), ProgramError> {
    let expected = show::settings(Some(stamp), None).map_err(|e| ProgramError::new(ExitClass::Config, e))?;
    let failed = |text: String| ProgramError::new(ExitClass::Io, format!("start the new program: {text}"));
    let mut command = Command::new(program);
    command.args(["--show-config", "-c", ""]).stdin(Stdio::null());
    let output = command.output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    if output.stdout != expected.as_bytes() {
        return Err(failed("it shows other settings than it was made of".into()));
    }
    Ok(())
}
