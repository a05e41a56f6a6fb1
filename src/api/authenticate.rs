//! Who asks: a signed token, or the token of a session that one bought.
//!
//! A signed token is `1;TIME;NONCE;SIGNATURE` in the header X-PGPAUTHORIZATION, signed by any active investigator over
//! `1;TIME;NONCE` and a line end. It counts while its time is near the clock of this machine.

use super::call::Api;
use super::error::ApiError;
use super::stores::ApiStore;
use crate::config::api::AuthenticationConfig;
use crate::id::InvestigatorId;
use crate::limits;
use crate::signature::{Keyring, SignatureError};
use crate::store::accounts::{InvestigatorStatus, StoredInvestigator, TokenHash};
use crate::time::{self, Timestamp};
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The header with a signed token.
pub const TOKEN_HEADER: &str = "X-PGPAUTHORIZATION";

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The investigator.
    pub id: InvestigatorId,
    /// The hash of the session's token; None if the request is signed itself.
    pub session: Option<TokenHash>,
}

/// The investigators whose signatures count.
#[derive(Default)]
pub struct Known {
    /// Their keys.
    pub keyring: Keyring,
    by_fingerprint: HashMap<String, InvestigatorId>,
}

impl Known {
    fn of(investigators: Vec<StoredInvestigator>) -> Known {
        let mut known = Known::default();
        for one in investigators.into_iter().filter(|one| one.status == InvestigatorStatus::Active) {
            match Keyring::parse(one.public_key.as_bytes()) {
                Ok(keyring) => known.keyring.merge(keyring),
                Err(e) => {
                    log::error!("investigator {} '{}': {e}; it does not count, the others do", one.id, one.name);
                    continue;
                }
            }
            known.by_fingerprint.insert(one.fingerprint, one.id);
        }
        known
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_fingerprint.is_empty()
    }
}

/// The investigators in the store, read again when one was added or changed.
#[derive(Default)]
pub struct Investigators(Mutex<(String, Arc<Known>)>);

impl Investigators {
    /// Those that count now.
    pub fn now(&self, store: &mut dyn ApiStore) -> Result<Arc<Known>, ApiError> {
        let version = store.investigators_version()?;
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != version {
            *cached = (version, Arc::new(Known::of(store.investigators()?)));
        }
        Ok(Arc::clone(&cached.1))
    }
}

/// A token from a request.
enum Token {
    Signed(SignedToken),
    Session(TokenHash),
}

struct SignedToken {
    text: String,
    time: Timestamp,
    signature: String,
}

/// Hashes a token, so that what is kept of it cannot be used.
pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

fn token(headers: &HeaderMap) -> Result<Token, ApiError> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| ApiError::unauthorized("header Authorization: is not 'Bearer TOKEN'"))?;
        return Ok(Token::Session(hash(token)));
    }
    let value = headers.get(TOKEN_HEADER).ok_or_else(|| {
        ApiError::unauthorized(format!("header {TOKEN_HEADER}: not found; sign a token, or send that of a session"))
    })?;
    SignedToken::parse(value.to_str().unwrap_or_default()).map(Token::Signed)
}

impl SignedToken {
    fn parse(value: &str) -> Result<SignedToken, ApiError> {
        let wrong = |reason: &str| Err(ApiError::unauthorized(format!("header {TOKEN_HEADER}: {reason}")));
        let mut parts = value.splitn(4, ';');
        let (Some(version), Some(time), Some(nonce), Some(signature)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return wrong("is not 1;TIME;NONCE;SIGNATURE");
        };
        if version != "1" {
            return wrong("its version is not 1");
        }
        if nonce.is_empty() || nonce.len() > limits::API_NONCE_BYTES_MAX {
            return wrong("its nonce is empty or too long");
        }
        if signature.len() > limits::SIGNATURE_BYTES_MAX {
            return wrong("its signature is too long");
        }
        let Ok(when) = time.parse() else { return wrong("its time is not one such as 2026-11-22T08:00:00Z") };
        Ok(SignedToken { text: format!("1;{time};{nonce}\n"), time: when, signature: signature.to_owned() })
    }

    /// The investigator that signed it.
    fn verify(
        &self,
        store: &mut dyn ApiStore,
        known: &Known,
        config: &AuthenticationConfig,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let refused = |reason: String| ApiError::unauthorized(format!("header {TOKEN_HEADER}: {reason}"));
        let duration = config.token_duration;
        if self.time < time::before(now, duration) || self.time > time::after(now, duration) {
            let text = format!(
                "its time {} is more than {duration:?} from the server's, {}; compare the clocks, and sign a new one",
                self.time,
                now.round(jiff::Unit::Second).unwrap_or(now)
            );
            return Err(refused(text));
        }
        let signer = known.keyring.verify(&self.text, &self.signature, now).map_err(|e| match e {
            SignatureError::UnknownKey(key) => refused(format!(
                "its signature is by key {key}, which belongs to no active investigator; another one adds it (mig investigator add)"
            )),
            e => refused(e.to_string()),
        })?;
        let id = known.by_fingerprint.get(signer.fingerprint.as_str());
        let id = *id.ok_or_else(|| refused(format!("{} is not an active investigator", signer.name)))?;
        let expires = time::after(self.time, duration);
        if !config.token_reuse && !store.use_once(&hash(&self.text), expires, now)? {
            return Err(refused("it was used before; sign a new one, or begin a session".into()));
        }
        Ok(Caller { id, session: None })
    }
}

/// Finds out who asks.
pub async fn caller(api: &Api, headers: &HeaderMap, is_local: bool) -> Result<Caller, ApiError> {
    let token = token(headers);
    let (investigators, config) = (Arc::clone(&api.investigators), api.config.authentication.clone());
    let verify = move |store: &mut dyn ApiStore| {
        let now = time::now();
        if let Ok(Token::Session(hash)) = token {
            let ended = || ApiError::unauthorized("header Authorization: the session has ended; sign a new token");
            return Ok(Caller { id: store.find_session(&hash, now)?.ok_or_else(ended)?, session: Some(hash) });
        }
        let known = investigators.now(store)?;
        if known.is_empty() && !is_local {
            let help = "until then it answers on this machine only: mig-api --add-investigator NAME FILE";
            return Err(ApiError::forbidden(format!("the server has no investigator yet; {help}")));
        }
        match token? {
            Token::Signed(token) => token.verify(store, &known, &config, now),
            Token::Session(_) => Err(ApiError::internal("a session was taken for a signed token")),
        }
    };
    api.stores.quick(verify).await
}
