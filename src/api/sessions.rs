//! Sessions: a signed token buys one, so that a smartcard is touched once.

use super::answer::{Collection, Item};
use super::authenticate::hash;
use super::call::Call;
use super::error::ApiError;
use super::route::Answer;
use crate::time;
use axum::http::StatusCode;
use serde_json::json;

/// `POST session/create/`
pub async fn create(call: Call) -> Answer {
    let Some(caller) = &call.caller else {
        return Err(ApiError::unauthorized("authentication is off: a session is not needed"));
    };
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|e| ApiError::unavailable(format!("no random numbers: {e}")))?;
    let token = crate::hex::encode(&random);
    let now = time::now();
    let (id, hash) = (caller.id, hash(&token));
    let expires = time::after(now, call.api.config.authentication.session_duration);
    let investigator = call
        .with(move |store| {
            store.begin_session(&hash, id, expires, now)?;
            Ok(store.investigator(id)?)
        })
        .await?;
    let session = json!({"token": token, "expires": expires, "investigator": investigator});
    let collection = Collection::new(call.href.clone()).item(Item::new(call.href).with("session", &session)?);
    Ok(collection.response(StatusCode::CREATED))
}

/// `POST session/revoke/`
pub async fn revoke(call: Call) -> Answer {
    let Some(session) = call.caller.as_ref().and_then(|caller| caller.session) else {
        return Err(ApiError::bad("header Authorization: names no session; one that is to end must be used for it"));
    };
    call.with(move |store| Ok(store.end_session(&session)?)).await?;
    Ok(Collection::new(call.href).response(StatusCode::OK))
}
