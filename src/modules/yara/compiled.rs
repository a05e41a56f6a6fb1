//! Rules that were compiled before they were signed.
//!
//! The parameter is base64 of gzip of an envelope: `mig-yara-1 SHA256`, a line of JSON `{"engine", "strings", "counting"}`, and what
//! the engine writes. The sum is of all that follows its line.
//!
//! An engine loads what its own version has written, trusts it, and reads no list beyond [`ENTRIES_MAX`] entries: the others are
//! lost, mostly with an error. So what was loaded is written again, and must be what was read: at signing, and on the agent.
//! Nothing else is known of compiled rules: someone who may sign can make some that take any memory or time. Only
//! [`Opened::load`] is open to that, and only an agent's operation calls it with what comes from others.

use super::rules::{RULES_BYTES_MAX, Rules, apart, compile, console, shortened};
use crate::hex;
use crate::json::Fields;
use crate::modules::ParameterError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use boreal::Scanner;
use boreal::scanner::DeserializeParams;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// The engine of this build.
pub(super) const ENGINE: &str = "boreal 1.4.0";
/// What files of YARA's own compiler begin with.
pub(super) const OF_YARAC: &[u8] = b"YARA";
/// Why they are refused.
pub(super) const IS_OF_YARAC: &str =
    "it was compiled by yarac, which only the same version of YARA can load; take the text that it was made of";
/// What an envelope begins with: the second version has another number.
const MAGIC: &str = "mig-yara-1 ";
/// Bytes of an envelope: the literals of rules at the limit of `cost.rs` have some 10 MiB.
const ENVELOPE_BYTES_MAX: usize = 16 << 20;
/// Bytes of the line of JSON: names of all rules that count.
const HEAD_BYTES_MAX: usize = RULES_BYTES_MAX;
/// Rules, or operands of an operator, that the engine loads.
const ENTRIES_MAX: usize = 1024;

/// What arrived whole.
pub(super) struct Opened {
    engine: String,
    strings: usize,
    counting: Vec<String>,
    envelope: Vec<u8>,
    /// Where the engine's part of it begins.
    scanner_at: usize,
}

fn refuse(reason: impl Into<String>) -> ParameterError {
    ParameterError::new("compiled", reason)
}

/// Compiles the text of rules, with all its checks. What is returned can be loaded.
pub(super) fn of_text(text: &str) -> Result<String, ParameterError> {
    let failed = |error: io::Error| refuse(format!("write compiled rules: {error}"));
    let rules = compile(text)?;
    let head = json!({"engine": ENGINE, "strings": rules.strings, "counting": rules.counting});
    let mut rest = format!("{head}\n").into_bytes();
    rules.scanner.to_bytes(&mut rest).map_err(failed)?;
    let mut envelope = format!("{MAGIC}{}\n", hex::encode(&Sha256::digest(&rest))).into_bytes();
    envelope.append(&mut rest);
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&envelope).map_err(failed)?;
    let compiled = BASE64_STANDARD.encode(packed.finish().map_err(failed)?);
    if envelope.len() > ENVELOPE_BYTES_MAX || compiled.len() > RULES_BYTES_MAX {
        return Err(refuse("the compiled rules are too large; use several actions, or -rules"));
    }
    open(&compiled)?.load().map_err(|error| {
        refuse(format!(
            "{}; compiled rules have at most {ENTRIES_MAX} rules, and conditions with as many operands: use several \
             actions, or -rules",
            error.reason
        ))
    })?;
    Ok(compiled)
}

/// Checks that compiled rules arrived whole, whichever engine they are for.
pub(super) fn open(compiled: &str) -> Result<Opened, ParameterError> {
    let packed = BASE64_STANDARD.decode(compiled).map_err(|error| refuse(format!("is not base64: {error}")))?;
    if packed.starts_with(OF_YARAC) {
        return Err(refuse(IS_OF_YARAC));
    }
    let mut unpacking = GzDecoder::new(packed.as_slice());
    let mut envelope = Vec::new();
    let unpacked = unpacking.by_ref().take(ENVELOPE_BYTES_MAX as u64 + 1).read_to_end(&mut envelope);
    unpacked.map_err(|error| refuse(format!("decompress: {error}")))?;
    if envelope.len() > ENVELOPE_BYTES_MAX {
        return Err(refuse(format!("has more than {ENVELOPE_BYTES_MAX} bytes when it is decompressed")));
    }
    if !unpacking.into_inner().is_empty() {
        return Err(refuse("has something behind its end"));
    }
    let foreign = || refuse("is not what -compile of mig makes; send the text of the rules");
    let (first, rest) = line(&envelope).ok_or_else(foreign)?;
    let sum = first.strip_prefix(MAGIC).ok_or_else(foreign)?;
    if sum != hex::encode(&Sha256::digest(rest)) {
        return Err(refuse("is damaged: its content does not have its sha256"));
    }
    let (head, scanner) = line(rest).filter(|(head, _)| head.len() <= HEAD_BYTES_MAX).ok_or_else(foreign)?;
    let head = Fields::at("compiled", head)?;
    let engine = head.text_required("engine", 64)?;
    let strings = head.integer("strings")?.ok_or_else(|| head.missing("strings"))?;
    // Global rules, and others.
    let counting = head.strings("counting", 2 * ENTRIES_MAX)?;
    let scanner_at = envelope.len() - scanner.len();
    Ok(Opened { engine, strings, counting, scanner_at, envelope })
}

/// The first line, and what follows.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

impl Opened {
    /// Why agents of this version would not run it.
    pub(super) fn doubt(&self) -> Option<ParameterError> {
        let Opened { engine, .. } = self;
        (engine != ENGINE).then(|| {
            refuse(format!("it was compiled by {engine:?}, and this version has {ENGINE}: send the text of the rules"))
        })
    }

    /// Makes of it what scans.
    pub(super) fn load(self) -> Result<Rules, ParameterError> {
        if let Some(doubt) = self.doubt() {
            return Err(doubt);
        }
        let failed = |reason: String| refuse(format!("load: {reason}"));
        let of_engine = |error: io::Error| failed(shortened(&error.to_string()).to_owned());
        let written = &self.envelope[self.scanner_at..];
        let scanner = apart(failed, || {
            let mut with = DeserializeParams::default();
            with.add_module(console());
            let scanner = Scanner::from_bytes_unchecked(written, with).map_err(of_engine)?;
            let mut unread = Same(written);
            let is_same = scanner.to_bytes(&mut unread).is_ok() && unread.0.is_empty();
            if is_same { Ok(scanner) } else { Err(failed("the engine did not load all of it".into())) }
        })?;
        Ok(Rules { scanner, strings: self.strings, counting: self.counting.into_iter().collect() })
    }
}

/// Takes what is written if it is the same as this.
struct Same<'w>(&'w [u8]);

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
