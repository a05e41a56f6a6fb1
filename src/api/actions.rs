//! Actions and commands: shown, and launched.

use super::answer::{Collection, Item};
use super::authenticate::Known;
use super::call::Call;
use super::error::ApiError;
use super::route::Answer;
use super::search::row;
use super::stores::ApiStore;
use crate::action::Action;
use crate::config::read_bounded;
use crate::failure::Failure;
use crate::flow::action_new;
use crate::id::{ActionId, CommandId};
use crate::limits::{self, API_RESULTS_AT_ONCE_BYTES};
use crate::spool::{FileName, Placed, drop_file, stages};
use crate::store::catalog::Found;
use crate::targets::Target;
use crate::time::{self, Timestamp};
use axum::http::StatusCode;
use std::path::Path;

/// Links to commands in an answer about an action; more are found by a search.
const COMMAND_LINKS_MAX: usize = 100;

/// The action that a request names.
pub fn wanted(call: &Call) -> Result<ActionId, ApiError> {
    call.values.id("actionid", ActionId::new)
}

/// The error for a missing action.
pub fn missing(id: ActionId) -> ApiError {
    ApiError::not_found(format!("Action ID '{id}' not found"))
}

/// `GET action`
pub async fn show(call: Call) -> Answer {
    let id = wanted(&call)?;
    let (action, commands) = call
        .with(move |store| {
            let Some(action) = store.action(id)? else { return Err(missing(id)) };
            Ok((action, store.command_ids(id, COMMAND_LINKS_MAX + 1)?))
        })
        .await?;
    let mut item = row(&call.api, &Found::Action(Box::new(action)))?;
    for id in commands.iter().take(COMMAND_LINKS_MAX) {
        item = item.link("command", call.api.href(&format!("command?commandid={id}")));
    }
    if commands.len() > COMMAND_LINKS_MAX {
        item = item.link("commands", call.api.href(&format!("search?type=command&actionid={id}")));
    }
    Ok(Collection::new(call.href).item(item).response(StatusCode::OK))
}

/// `GET command`
pub async fn command(call: Call) -> Answer {
    let id = call.values.id("commandid", CommandId::new)?;
    let command = call.with(move |store| Ok(store.commands(&[id], API_RESULTS_AT_ONCE_BYTES)?.pop())).await?;
    let command = command.ok_or_else(|| ApiError::not_found(format!("Command ID '{id}' not found")))?;
    let item = row(&call.api, &Found::Command(Box::new(command)))?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::OK))
}

/// Checks an action as action-new does, so that its author hears at once what is wrong with it.
fn check(store: &mut dyn ApiStore, known: &Known, text: &str, now: Timestamp) -> Result<Action, ApiError> {
    let refused = |reason: String| ApiError::parameter("action", reason);
    let action = action_new::parse(text.as_bytes(), now).map_err(refused)?;
    action_new::verify(&known.keyring, &action, now).map_err(refused)?;
    let target = Target::parse(&action.target).map_err(|e| refused(format!("field 'target': {e}")))?;
    let selected = store.select(&target, now).map_err(|failure| match failure {
        Failure::Refuse(reason) => refused(format!("field 'target': {reason}")),
        failure => failure.into(),
    })?;
    if selected.is_empty() {
        let help = "look at the agents that are online: search?type=agent&status=online";
        return Err(refused(format!("field 'target': it selects no agent; {help}")));
    }
    Ok(action)
}

/// The id of a copy of this action that waits for other signers: they are joined, and this id is the one that stays.
fn waiting_id(spool: &Path, action: &Action) -> Option<ActionId> {
    let text = action.signed_text();
    let files = std::fs::read_dir(spool.join(stages::ACTION_PENDING.path())).ok()?;
    files.flatten().take(limits::PENDING_ACTIONS_MAX).find_map(|file| {
        let bytes = read_bounded(&file.path(), limits::ACTION_SIZE_BYTES_MAX).ok()?;
        let waiting = Action::parse_draft(&bytes).ok()?;
        waiting.id.filter(|_| waiting.signed_text() == text)
    })
}

/// Puts an action into action/new, under a name of its own.
fn launch(spool: &Path, name: &FileName, id: ActionId, bytes: &[u8]) -> Result<(), ApiError> {
    let directory = spool.join(stages::ACTION_NEW.path());
    match drop_file(&directory, name, bytes) {
        Ok(Placed::New | Placed::Same) => Ok(()),
        Ok(placed) => Err(ApiError::internal(format!("drop {name} into {}: {placed:?}", directory.display()))),
        Err(failure @ Failure::End(_)) => Err(ApiError {
            message: format!(
                "action {id} may have been launched, the disk failed; look at it before it is launched again"
            ),
            ..ApiError::internal(format!("drop {name} into {}: {failure}", directory.display()))
        }),
        Err(failure) => Err(ApiError::unavailable(format!("drop {name} into {}: {failure}", directory.display()))),
    }
}

/// `POST action/create/`
pub async fn create(call: Call) -> Answer {
    let text = call.values.string("action").unwrap_or_default();
    let (spool, investigators) = (call.api.config.spool.clone(), call.api.investigators.clone());
    let action = call
        .with(move |store| {
            let now = time::now();
            let known = investigators.now(store)?;
            let mut action = check(store, &known, &text, now)?;
            let id = store.reserve_action_ids(1)?.pop();
            let new = id.ok_or_else(|| ApiError::internal("the store has no id for an action"))?;
            let id = waiting_id(&spool, &action).unwrap_or(new);
            action.id = Some(id);
            action.counters.clear();
            launch(&spool, &new.into(), id, &action.to_json())?;
            Ok(action)
        })
        .await?;
    let id = action.id.map_or(0, ActionId::get);
    let caller = call.caller.as_ref().map_or("an unknown caller".to_owned(), |one| format!("investigator {}", one.id));
    log::info!(action:% = id; "'{}' was launched by {caller}", action.name);
    let mut value = serde_json::to_value(&action).map_err(|e| ApiError::internal(format!("write an action: {e}")))?;
    value["status"] = "pending".into();
    let item = Item::new(call.api.href(&format!("action?actionid={id}"))).with(format!("action ID {id}"), &value)?;
    Ok(Collection::new(call.href).item(item).response(StatusCode::ACCEPTED))
}
