//! Investigators: shown, added, disabled and enabled.

use super::answer::{Collection, Item};
use super::call::Call;
use super::error::ApiError;
use super::route::Answer;
use crate::id::InvestigatorId;
use crate::investigator::Investigator;
use crate::limits;
use crate::signature::Keyring;
use crate::store::SCHEDULER_NAME;
use crate::store::accounts::{Added, InvestigatorStatus, StoredInvestigator};
use crate::time;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// An investigator with its key, which the original writes in base64.
#[derive(Serialize)]
struct WithKey<'a> {
    #[serde(flatten)]
    investigator: &'a StoredInvestigator,
    publickey: String,
}

fn item(call: &Call, investigator: &StoredInvestigator) -> Result<Item, ApiError> {
    let id = investigator.id;
    let publickey = STANDARD.encode(&investigator.public_key);
    let item = Item::new(call.api.href(&format!("investigator?investigatorid={id}")));
    let history = call.api.href(&format!("search?type=action&investigatorid={id}&limit=100"));
    Ok(item.with("investigator", &WithKey { investigator, publickey })?.link("investigator history", history))
}

fn missing(id: InvestigatorId) -> ApiError {
    ApiError::not_found(format!("investigator {id} not found"))
}

/// `GET investigator`
pub async fn show(call: Call) -> Answer {
    let id = call.values.id("investigatorid", InvestigatorId::new)?;
    let found = call.with(move |store| Ok(store.investigator(id)?)).await?.ok_or_else(|| missing(id))?;
    let item = item(&call, &found)?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::OK))
}

/// The investigator of this name whose public key is in the text: exactly one, without the secret key.
pub fn parse(name: &str, key: &[u8]) -> Result<Investigator, String> {
    if name.trim() == SCHEDULER_NAME {
        return Err(format!("name: {SCHEDULER_NAME} is that of the schedulers"));
    }
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err("name: is empty, or has control characters".into());
    }
    if key.len() > limits::STORED_KEY_BYTES_MAX {
        let (size_bytes, max) = (key.len(), limits::STORED_KEY_BYTES_MAX);
        return Err(format!(
            "publickey: has {size_bytes} bytes, the limit is {max}; export it with --export-options export-minimal"
        ));
    }
    const SECRET: &[u8] = b"BEGIN PGP PRIVATE KEY BLOCK";
    if key.windows(SECRET.len()).any(|part| part == SECRET) {
        return Err("publickey: is a secret key; export the public one: gpg --armor --export KEYID".into());
    }
    let keyring = Keyring::parse(key).map_err(|e| format!("publickey: {e}"))?;
    if let Some(left_out) = keyring.left_out().first() {
        return Err(format!("publickey: {left_out}"));
    }
    let mut certificates = keyring.investigators();
    match (certificates.next(), certificates.next()) {
        (Some(one), None) => Ok(Investigator { name: name.trim().to_owned(), ..one.clone() }),
        _ => Err("publickey: has more than one key; add each investigator alone".into()),
    }
}

/// Why a key that is stored is not added.
pub fn already(id: InvestigatorId, known: Option<&StoredInvestigator>) -> String {
    let name = known.map_or("", |one| one.name.as_str());
    let enable = match known.map(|one| one.status) {
        Some(InvestigatorStatus::Disabled) => {
            format!(", who is disabled; mig investigator enable {id} has it count again")
        }
        _ => String::new(),
    };
    format!("is that of investigator {id} '{name}' already{enable}")
}

/// While it is not known who asks, only this machine changes who may.
fn check_caller(call: &Call) -> Result<(), ApiError> {
    if call.caller.is_some() || call.is_local {
        return Ok(());
    }
    let text = "while authentication is off, only callers on the server's machine add or change investigators";
    Err(ApiError::forbidden(text))
}

/// `POST investigator/create/`
pub async fn create(call: Call) -> Answer {
    check_caller(&call)?;
    let text = |name| call.values.text(name).unwrap_or_default();
    let new = parse(text("name"), text("publickey").as_bytes()).map_err(|reason| {
        let (name, reason) = reason.split_once(": ").map_or(("publickey", reason.as_str()), |parts| parts);
        ApiError::parameter(name, reason)
    })?;
    let added = call
        .with(move |store| {
            let id = match store.add_investigator(&new, time::now())? {
                Added::New(id) => id,
                Added::Known(id) => {
                    let known = store.investigator(id)?;
                    return Err(ApiError::conflict(format!("parameter 'publickey': {}", already(id, known.as_ref()))));
                }
            };
            Ok(store.investigator(id)?)
        })
        .await?;
    let added = added.ok_or_else(|| ApiError::internal("an investigator that was added is missing"))?;
    log::info!("investigator {} '{}' added, key {}", added.id, added.name, added.fingerprint);
    let item = item(&call, &added)?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::CREATED))
}

/// `POST investigator/update/`
pub async fn update(call: Call) -> Answer {
    check_caller(&call)?;
    let id = call.values.id("id", InvestigatorId::new)?;
    let status = call.values.text("status").and_then(InvestigatorStatus::parse);
    let status = status.ok_or_else(|| ApiError::parameter("status", "is neither active nor disabled"))?;
    if call.caller.as_ref().is_some_and(|caller| caller.id == id) && status == InvestigatorStatus::Disabled {
        return Err(ApiError::parameter("id", "is your own: have another investigator disable it"));
    }
    let found = call
        .with(move |store| {
            // The schedulers' own key is not an investigator's.
            if store.investigator(id)?.is_none_or(|one| one.name == SCHEDULER_NAME) {
                return Ok(None);
            }
            store.set_status(id, status, time::now())?;
            Ok(store.investigator(id)?)
        })
        .await?
        .ok_or_else(|| missing(id))?;
    log::info!("investigator {id} '{}' is {} now", found.name, status.as_str());
    let item = item(&call, &found)?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::OK))
}
