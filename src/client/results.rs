//! The commands of an action, and agents that a target selects, page by page.

use super::answer::Answer;
use super::collection::Collection;
use super::http::{Api, ApiError};
use crate::action::Action;
use crate::error::{ExitClass, ProgramError};
use crate::id::ActionId;
use crate::json::Fields;
use crate::limits;
use serde_json::value::RawValue;

/// Which commands are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those that have ended.
    Ended,
    /// Those that have not.
    Waiting,
}

/// Calls `each` with the commands of an action.
pub fn each(
    api: &Api,
    action: ActionId,
    wanted: Wanted,
    mut take: impl FnMut(Answer) -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let id = action.to_string();
    // The default of a search is the last seven days.
    let parameters = [("type", "command"), ("actionid", id.as_str()), ("after", "1970-01-01T00:00:00Z")];
    let mut unreadable = 0;
    let is_more = pages(api, &parameters, limits::CLIENT_ROWS_MAX, |raw| {
        let answer = match Answer::parse(raw.get()) {
            Ok(answer) => answer,
            // One that is wrong does not hide the others.
            Err(e) => {
                unreadable += 1;
                eprintln!("mig: an answer cannot be read: {}", super::printable(&e.to_string()));
                return Ok(());
            }
        };
        if answer.status.is_final() == (wanted == Wanted::Ended) { take(answer) } else { Ok(()) }
    })?;
    let text = match (is_more, unreadable) {
        (true, _) => format!("action {action} has more than {} commands: not all were read", limits::CLIENT_ROWS_MAX),
        (false, 0) => return Ok(()),
        (false, count) => format!("{count} answers to action {action} cannot be read"),
    };
    Err(ProgramError::new(ExitClass::TemporaryFailure, text))
}

/// Calls `each` with up to `rows_max` rows of a search; follows the links to next pages, or counts on by offset where the API
/// has none. Returns whether there is more.
pub fn pages(
    api: &Api,
    parameters: &[(&str, &str)],
    rows_max: u64,
    mut each: impl FnMut(&RawValue) -> Result<(), ProgramError>,
) -> Result<bool, ProgramError> {
    let (mut count, mut page) = (0, limits::CLIENT_PAGE_ROWS.min(rows_max.max(1)));
    let mut next: Option<String> = None;
    loop {
        let asked = page.min(rows_max - count);
        let limit = asked.to_string();
        let body = match &next {
            Some(after) => read(api, parameters, &[("limit", &limit), ("afterid", after)]),
            None => read(api, parameters, &[("limit", &limit), ("offset", &count.to_string())]),
        };
        let body = match body {
            Err(ApiError::TooLarge(_)) if page > 1 => {
                page /= 4;
                page = page.max(1);
                continue;
            }
            body => body?,
        };
        let collection = Collection::parse(&body).map_err(|e| api.unreadable("search", e))?;
        for item in &collection.items {
            each(item.value().map_err(|e| api.unreadable("search", e))?)?;
        }
        let returned = collection.items.len() as u64;
        count += returned;
        let after = collection.next.as_deref().and_then(after_id);
        // An API of the original has no links; a full page may have another behind it.
        let has_links = collection.search.is_some_and(has_total);
        let is_more = if has_links { after.is_some() } else { returned > 0 && returned >= asked };
        if !is_more || count >= rows_max || returned == 0 {
            return Ok(is_more);
        }
        next = after;
    }
}

fn read(api: &Api, parameters: &[(&str, &str)], page: &[(&str, &str)]) -> Result<Vec<u8>, ApiError> {
    api.get("search", &[parameters, page].concat())
}

/// The cursor in a link.
fn after_id(link: &str) -> Option<String> {
    let query = link.split_once('?')?.1;
    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "afterid").map(|(_, id)| id.into_owned())
}

fn has_total(raw: &RawValue) -> bool {
    Fields::at("search", raw.get()).is_ok_and(|fields| fields.raw("total").is_some())
}

/// How many rows match a search, and whether it is at least so many.
pub fn count(api: &Api, parameters: &[(&str, &str)]) -> Result<(u64, bool), ProgramError> {
    let body = read(api, parameters, &[("limit", "1")])?;
    let collection = Collection::parse(&body).map_err(|e| api.unreadable("search", e))?;
    if let Some(fields) = collection.search.and_then(|raw| Fields::at("search", raw.get()).ok())
        && let Ok(Some(total)) = fields.integer("total")
    {
        return Ok((total, fields.boolean("totalisminimum").unwrap_or(false)));
    }
    // An API of the original does not say: it lists them.
    let body = read(api, parameters, &[("limit", &limits::CLIENT_ROWS_MAX.to_string())])?;
    let collection = Collection::parse(&body).map_err(|e| api.unreadable("search", e))?;
    Ok((collection.items.len() as u64, false))
}

/// Reads an action, and its JSON.
pub fn action(api: &Api, id: ActionId) -> Result<(Action, Box<RawValue>), ProgramError> {
    let body = api.get("action", &[("actionid", &id.to_string())])?;
    let unreadable = |e: crate::json::JsonError| ProgramError::from(api.unreadable("action", e));
    let raw = Collection::parse(&body).and_then(|collection| collection.first()).map_err(unreadable)?.to_owned();
    let action = Action::parse_draft(raw.get().as_bytes()).map_err(unreadable)?;
    Ok((action, raw))
}
