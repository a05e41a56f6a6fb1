//! Who asks the API: a session that one signature buys, or a signed token for an API of the original.
//!
//! The session is kept in `$XDG_RUNTIME_DIR/mig` or `~/.cache/mig`, in a file that only its owner can read, until it ends:
//! so a smartcard is touched once. Losing the file costs a signature.

use super::collection::Collection;
use super::http::{Api, ApiError};
use super::signing::SigningKey;
use crate::config::read_bounded;
use crate::error::{ExitClass, ProgramError};
use crate::json::{Fields, JsonError};
use crate::limits;
use crate::time::{self, Timestamp};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a request is sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: there is no key.
    None,
    /// A session's token.
    Session {
        /// As it is sent.
        token: String,
        /// Made for this request.
        is_new: bool,
    },
    /// A signed token, which the original's API accepts again until it expires.
    Signed {
        /// As it is sent.
        token: String,
        /// Made for this request.
        is_new: bool,
    },
}

impl Credential {
    /// The header that carries it.
    pub fn header(&self) -> Option<(&'static str, String)> {
        match self {
            Credential::None => None,
            Credential::Session { token, .. } => Some(("Authorization", format!("Bearer {token}"))),
            Credential::Signed { token, .. } => Some(("X-PGPAUTHORIZATION", token.clone())),
        }
    }

    /// Whether another signature would not help.
    pub fn is_new(&self) -> bool {
        matches!(self, Credential::Session { is_new: true, .. } | Credential::Signed { is_new: true, .. })
    }

    /// The same, once it was accepted: later it may expire.
    fn used(&self) -> Credential {
        let mut used = self.clone();
        if let Credential::Session { is_new, .. } | Credential::Signed { is_new, .. } = &mut used {
            *is_new = false;
        }
        used
    }
}

/// The credential for one API.
pub struct Sessions {
    key: Option<SigningKey>,
    cache: Option<PathBuf>,
    now: Mutex<Option<Credential>>,
}

impl Sessions {
    /// For the API at this address.
    pub fn new(base: &str, key: Option<SigningKey>) -> Sessions {
        let cache = cache_file(base, key.as_ref());
        Sessions { key, cache, now: Mutex::new(None) }
    }

    /// Returns the credential; with `renew` a new one, because the last was not accepted.
    pub fn credential(&self, api: &Api, renew: bool) -> Result<Credential, ApiError> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if renew {
            *now = None;
        } else if let Some(credential) = &*now {
            return Ok(credential.clone());
        } else if let Some(token) = self.cache.as_deref().and_then(read_cache) {
            let credential = Credential::Session { token, is_new: false };
            *now = Some(credential.clone());
            return Ok(credential);
        }
        let Some(key) = &self.key else { return Ok(Credential::None) };
        let made = self.make(api, key)?;
        *now = Some(made.used());
        Ok(made)
    }

    /// Signs a token, and buys a session with it where the API has sessions.
    fn make(&self, api: &Api, key: &SigningKey) -> Result<Credential, ApiError> {
        const PATH: &str = "session/create/";
        let token = signed_token(key, time::now()).map_err(ApiError::Key)?;
        let (status, body) = api.post_signed(PATH, &token)?;
        match status {
            201 => {}
            404 => return Ok(Credential::Signed { token, is_new: true }),
            status => return Err(api.error(PATH, status, &body)),
        }
        let (token, expires) = parse_session(&body).map_err(|e| api.unreadable(PATH, e))?;
        if let Some(cache) = &self.cache {
            // Without it the next program signs again.
            let _ = write_cache(cache, &token, expires);
        }
        Ok(Credential::Session { token, is_new: true })
    }

    /// What to do when a request is not accepted.
    pub fn cure(&self) -> String {
        match &self.key {
            None => "a key is needed: set gpg.keyid in ~/.migrc, or name one with -k".to_owned(),
            Some(key) => {
                let fingerprint = key.check(time::now()).map_or(String::new(), |fingerprint| format!(" {fingerprint}"));
                format!(
                    "the key{fingerprint} is of no active investigator there; another one adds it: mig investigator add NAME FILE"
                )
            }
        }
    }
}

/// `1;TIME;NONCE;SIGNATURE`, as the original's clients send it.
fn signed_token(key: &SigningKey, now: Timestamp) -> Result<String, ProgramError> {
    let text = format!("1;{};{}", now.strftime("%Y-%m-%dT%H:%M:%SZ"), random());
    let signature = key.sign(&format!("{text}\n"), now).map_err(|error| {
        let text = format!("{}; the API needs a signature once, to know who asks", error.text);
        ProgramError::new(error.class, text)
    })?;
    Ok(format!("{text};{signature}"))
}

/// A random number.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        // A nonce must differ from the last one, and need not be secret.
        Err(_) => time::now().as_nanosecond() as u64,
    }
}

fn parse_session(body: &[u8]) -> Result<(String, Timestamp), JsonError> {
    let collection = Collection::parse(body)?;
    let session = Fields::at("session", collection.first()?.get())?;
    let token = session.text_required("token", limits::CLIENT_LINK_BYTES_MAX)?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(session.error("token", "has characters that no header carries"));
    }
    Ok((token, session.time("expires")?))
}

/// The file of a session: one for each API and key.
fn cache_file(base: &str, key: Option<&SigningKey>) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_RUNTIME_DIR")
        .filter(|path| path.is_dir())
        .or_else(|| absolute("XDG_CACHE_HOME"))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))?;
    let key = match key {
        None => return None,
        Some(SigningKey::File(file)) => std::fs::canonicalize(file).ok()?.display().to_string(),
        Some(SigningKey::Gpg { id, home }) => format!("{id} {}", home.as_deref().unwrap_or(Path::new("")).display()),
    };
    let digest = <sha2::Sha256 as sha2::Digest>::digest(format!("{base} {key}"));
    let name = crate::hex::encode(&digest[..16]);
    Some(directory.join("mig").join(format!("session-{name}.json")))
}

/// Reads a session that is ours alone and lasts a while.
fn read_cache(file: &Path) -> Option<String> {
    let look = std::fs::symlink_metadata(file).ok()?;
    if !look.is_file() || look.mode() & 0o077 != 0 || look.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let bytes = read_bounded(file, limits::CLIENT_SESSION_BYTES_MAX).ok()?;
    let fields = Fields::parse(&bytes).ok()?;
    let expires = fields.time("expires").ok()?;
    let lasts = expires > time::after(time::now(), limits::CLIENT_SESSION_LEFT_MIN);
    fields.text_required("token", limits::CLIENT_LINK_BYTES_MAX).ok().filter(|_| lasts)
}

fn write_cache(file: &Path, token: &str, expires: Timestamp) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
    let text = json!({"token": token, "expires": expires.to_string()}).to_string();
    let written = out.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// The error where a key is needed and none is configured.
pub fn key_is_missing(file: &Path) -> ProgramError {
    let text = format!("no key to sign with: set keyid in [gpg] of {}, or name a key with -k", file.display());
    ProgramError::new(ExitClass::Usage, text)
}
