//! The stamp: a configuration behind the end of an agent's program, which makes it an agent that needs no other file.
//!
//! ```text
//! program (ELF) | magic 16 | format 4 | length 8 | SHA-256 32 | payload
//! ```
//!
//! The head of an ELF file says where it ends, so that a stamp is found without reading the program, and what is cut off,
//! changed or written behind it is noticed: an agent never runs with half a configuration. The numbers are little-endian;
//! the payload is JSON.

use super::build;
use crate::investigator::Fingerprint;
use crate::limits;
use crate::signature::{Keyring, strip_armor};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

const MAGIC: [u8; 16] = *b"\nmig-agent stamp";
const FORMAT: u32 = 1;
const HEAD_BYTES: u64 = 16 + 4 + 8 + 32;

/// What is behind a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Version of the program that it is for.
    pub version: String,
    /// `BUILDENV`: the last part of the agent's version.
    pub environment: Option<String>,
    /// When it was made.
    pub time: Timestamp,
    /// As [`crate::config::agent::AgentConfig::parse_inside`] reads it.
    pub configuration: String,
    /// Who answers for the configuration.
    pub signature: Option<StampSignature>,
}

/// A detached signature of the configuration's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StampSignature {
    /// The certificate of the signer, armored.
    pub certificate: String,
    /// The signature, armored.
    pub signature: String,
}

/// Why a stamp is not used.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is no whole program.
    #[error("is not a whole program: {0}")]
    NotAProgram(&'static str),
    /// What is behind the program is no whole stamp.
    #[error("its stamp is damaged: {0}; stamp the program anew")]
    Damaged(String),
    /// It is whole, and not for this program.
    #[error("its stamp {0}; stamp the program anew")]
    Foreign(String),
}

impl Stamp {
    /// The stamp of the program that runs.
    pub fn own() -> Result<Option<&'static Stamp>, &'static StampError> {
        static OWN: OnceLock<Result<Option<Stamp>, StampError>> = OnceLock::new();
        let read = || Stamp::read(&own_program()?, build::version(), build::stamp_key().as_ref());
        OWN.get_or_init(read).as_ref().map(Option::as_ref)
    }

    /// The stamp of a program of this version; none if nothing is behind it. With `signer` only what that key signed counts.
    pub fn read(program: &File, version: &str, signer: Option<&Fingerprint>) -> Result<Option<Stamp>, StampError> {
        let (stamp, _) = match Stamp::read_any(program)? {
            Some(found) => found,
            None => return Ok(None),
        };
        if stamp.version != version {
            return Err(StampError::Foreign(format!("is for version {}, the program has {version}", stamp.version)));
        }
        stamp.check_signature(signer).map_err(StampError::Foreign)?;
        Ok(Some(stamp))
    }

    /// The stamp of any program, and its SHA-256.
    fn read_any(program: &File) -> Result<Option<(Stamp, [u8; 32])>, StampError> {
        let (end, size) = (program_end(program)?, program.metadata()?.len());
        if size == end {
            return Ok(None);
        }
        let damaged = |reason: &str| StampError::Damaged(reason.into());
        let payload_bytes = (size - end).checked_sub(HEAD_BYTES).ok_or_else(|| damaged("it is cut off"))?;
        let mut head = [0; HEAD_BYTES as usize];
        program.read_exact_at(&mut head, end)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let (format, rest) = rest.split_at(4);
        let (length, sum) = rest.split_at(8);
        if magic != MAGIC {
            return Err(damaged("something else is behind the program"));
        }
        let format = u32::from_le_bytes(format.try_into().unwrap_or_default());
        if format != FORMAT {
            return Err(StampError::Foreign(format!("has format {format}, this version reads {FORMAT}")));
        }
        let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
        match length {
            length if length > limits::STAMP_BYTES_MAX => return Err(damaged("it is longer than a stamp may be")),
            length if length > payload_bytes => return Err(damaged("it is cut off")),
            length if length < payload_bytes => return Err(damaged("there is more behind it; it was stamped twice")),
            _ => {}
        }
        let mut payload = vec![0; length as usize];
        program.read_exact_at(&mut payload, end + HEAD_BYTES)?;
        let found: [u8; 32] = Sha256::digest(&payload).into();
        if found != sum {
            return Err(damaged("its checksum is wrong"));
        }
        let stamp = serde_json::from_slice(&payload).map_err(|e| StampError::Damaged(e.to_string()))?;
        Ok(Some((stamp, found)))
    }

    /// The bytes behind a program.
    pub fn to_bytes(&self) -> Vec<u8> {
        let payload = serde_json::to_vec(self).unwrap_or_default();
        let (length, sum) = ((payload.len() as u64).to_le_bytes(), Sha256::digest(&payload));
        [&MAGIC[..], &FORMAT.to_le_bytes(), &length, &sum, &payload].concat()
    }

    /// Whether the key with this fingerprint signed the configuration; any signature that is there must be good. When the key
    /// was valid is judged at the time of the stamp, so that an agent starts after the key has expired.
    pub fn check_signature(&self, signer: Option<&Fingerprint>) -> Result<Option<Fingerprint>, String> {
        let Some(StampSignature { certificate, signature }) = &self.signature else {
            return match signer {
                Some(signer) => Err(format!("is not signed; this program takes stamps by key {signer} only")),
                None => Ok(None),
            };
        };
        let keyring = Keyring::parse(certificate.as_bytes()).map_err(|e| format!("has a bad certificate: {e}"))?;
        if keyring.had_secrets() {
            return Err("has a secret key where the signer's public key belongs".into());
        }
        let stripped = strip_armor(signature).map_err(|e| format!("has a bad signature: {e}"))?;
        let verified = keyring.verify(&self.configuration, &stripped, self.time);
        let by = verified.map_err(|e| format!("has a bad signature: {e}"))?.fingerprint;
        match signer {
            Some(signer) if *signer != by => {
                Err(format!("is signed by {by}; this program takes those by {signer} only"))
            }
            _ => Ok(Some(by)),
        }
    }
}

/// The program that runs, also when its file was replaced.
fn own_program() -> io::Result<File> {
    File::open("/proc/self/exe")
}

/// Where an ELF file ends: its table of sections is the last of it.
fn program_end(program: &File) -> Result<u64, StampError> {
    let mut head = [0; 64];
    let read = program.read_exact_at(&mut head, 0);
    read.map_err(|_| StampError::NotAProgram("it is too short"))?;
    // ELF, 64 bits, little-endian.
    if head[..6] != *b"\x7fELF\x02\x01" {
        return Err(StampError::NotAProgram("it does not begin like one of Linux with 64 bits"));
    }
    let two = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let offset = u64::from_le_bytes(head[40..48].try_into().unwrap_or_default());
    let end = offset.checked_add(two(58) * two(60)).filter(|_| offset > 0);
    let end = end.ok_or(StampError::NotAProgram("its head does not say where it ends"))?;
    if program.metadata()?.len() < end {
        return Err(StampError::NotAProgram("it is cut off"));
    }
    Ok(end)
}

/// Copies the program that runs, without a stamp, and puts a stamp behind it.
pub fn copy_stamped(stamp: &Stamp, output: &mut File) -> Result<(), StampError> {
    let mut program = own_program()?;
    let end = program_end(&program)?;
    program.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut (&mut program).take(end), output)?;
    if copied != end {
        return Err(StampError::NotAProgram("it became shorter"));
    }
    Ok(output.write_all(&stamp.to_bytes())?)
}

/// The version that a program says inside its file, if it is an agent of ours; the program is not started. What is not one
/// has none.
pub fn identify(program: &File) -> Result<Option<String>, StampError> {
    let end = program_end(program)?;
    if end > limits::PROGRAM_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; end as usize];
    program.read_exact_at(&mut bytes, 0)?;
    let Some(version) = build::find_version(&bytes) else { return Ok(None) };
    let environment = Stamp::read_any(program)?.and_then(|(stamp, _)| stamp.environment);
    Ok(Some(build::full_version(version, environment.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{generate_key, restore_armor, sign_with_key};
    use crate::time;

    fn stamp() -> Stamp {
        let configuration = "amqpbroker = 'dir:///r'\n".to_owned();
        Stamp {
            version: "1".into(),
            environment: Some("prod".into()),
            time: time::now(),
            configuration,
            signature: None,
        }
    }

    /// The least file that is an ELF file by its head.
    fn program() -> Vec<u8> {
        let mut bytes = vec![0; 64 + 3 * 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[40] = 64;
        (bytes[58], bytes[60]) = (64, 3);
        bytes
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(bytes: &[u8]) -> Result<Option<Stamp>, String> {
        Stamp::read(&file(bytes), "1", None).map_err(|e| e.to_string())
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let whole = [program(), stamp().to_bytes()].concat();
        assert_eq!(read(&whole).unwrap().unwrap().configuration, stamp().configuration);
        assert_eq!(read(&program()), Ok(None));
    }

    #[test]
    fn no_byte_of_a_stamp_can_be_cut_off_changed_or_added() {
        let (program, stamp) = (program(), stamp().to_bytes());
        let whole = [program.clone(), stamp.clone()].concat();
        for length in program.len() + 1..whole.len() {
            assert!(read(&whole[..length]).unwrap_err().contains("damaged: it is cut off"), "{length}");
        }
        for length in [0, 63, program.len() - 1] {
            assert!(read(&whole[..length]).unwrap_err().starts_with("is not a whole program"), "{length}");
        }
        for changed in program.len()..whole.len() {
            let mut bytes = whole.clone();
            bytes[changed] ^= 1;
            let error = read(&bytes).unwrap_err();
            assert!(error.contains("damaged") || error.contains("has format"), "{changed}: {error}");
        }
        let twice = [whole.clone(), stamp].concat();
        assert!(read(&twice).unwrap_err().contains("stamped twice"));
        assert!(read(&[program, b"x".repeat(100)].concat()).unwrap_err().contains("something else"));
    }

    #[test]
    fn a_stamp_of_another_version_is_refused() {
        let stamp = Stamp { version: "2".into(), ..stamp() };
        let error = read(&[program(), stamp.to_bytes()].concat()).unwrap_err();
        assert_eq!(error, "its stamp is for version 2, the program has 1; stamp the program anew");
    }

    #[test]
    fn with_a_key_only_its_own_signature_counts() {
        let sign = |text: &str, secret: &str| {
            let stripped = sign_with_key(text, secret.as_bytes(), time::now()).unwrap();
            restore_armor(&stripped).unwrap()
        };
        let [(owner, secret), (other, other_secret)] = [generate_key("Fleet").unwrap(), generate_key("Other").unwrap()];
        let fingerprint = Keyring::parse(owner.as_bytes()).unwrap().signers(time::now()).into_iter().next().unwrap();
        let stamp = stamp();
        let text = stamp.configuration.as_str();
        let signed = |certificate: &str, signature: String| {
            let signature = Some(StampSignature { certificate: certificate.into(), signature });
            Stamp { signature, time: time::now(), ..stamp.clone() }
        };
        let good = signed(&owner, sign(text, &secret));
        assert_eq!(good.check_signature(Some(&fingerprint)), Ok(Some(fingerprint.clone())));
        assert_eq!(good.check_signature(None), Ok(Some(fingerprint.clone())));
        for (stamp, reason) in [
            (stamp.clone(), "is not signed"),
            (signed(&other, sign(text, &other_secret)), "is signed by"),
            (signed(&other, sign(text, &secret)), "has a bad signature"),
            (signed(&owner, sign("other text", &secret)), "has a bad signature"),
            (signed("x", sign(text, &secret)), "has a bad certificate"),
            (signed(&secret, sign(text, &secret)), "has a secret key"),
            (signed(&owner, "x".into()), "has a bad signature"),
        ] {
            let error = stamp.check_signature(Some(&fingerprint)).unwrap_err();
            assert!(error.starts_with(reason), "{error}");
        }
        let broken = signed(&owner, sign("other text", &secret));
        assert!(broken.check_signature(None).is_err(), "a bad signature is never ignored");
    }
}
