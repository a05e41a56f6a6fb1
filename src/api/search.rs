//! Searches: a page of rows, read from the store and sent a part at a time.

use super::answer::{Collection, Item, Link, Stopped, Stream};
use super::call::{Api, Call};
use super::compliance;
use super::error::ApiError;
use super::parameters::Values;
use super::route::Answer;
use super::stores::ApiStore;
use crate::failure::Failure;
use crate::id::AgentId;
use crate::limits::{API_COUNTED_MAX, API_EVENT_SILENCE_MAX, API_ROWS_AT_ONCE, API_ROWS_DEFAULT};
use crate::store::catalog::{Found, FoundPage, Kind, Page, Search, Total};
use crate::targets::Target;
use crate::time::{self, Timestamp};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::form_urlencoded;

/// How old what is found may be, unless the search says it.
const WINDOW: Duration = Duration::from_secs(7 * 86400);

/// A row as an item.
pub fn row(api: &Api, found: &Found) -> Result<Item, ApiError> {
    let id = found.id().unwrap_or_default();
    match found {
        Found::Action(action) => Item::new(api.href(&format!("action?actionid={id}"))).with("action", action),
        Found::Command(command) => {
            let item = Item::new(api.href(&format!("command?commandid={id}"))).with("command", command)?;
            Ok(item.link("action", api.href(&format!("action?actionid={}", command.reference().action))))
        }
        Found::Agent(agent) => Item::new(api.href(&format!("agent?agentid={id}"))).with("agent", agent),
        Found::Investigator(one) => {
            Item::new(api.href(&format!("investigator?investigatorid={id}"))).with("investigator", one)
        }
    }
}

/// Where rows come from.
enum Source {
    Store(Box<Search>),
    /// What a target selected, newest first.
    Agents(Vec<AgentId>),
}

impl Source {
    fn page(&self, store: &mut dyn ApiStore, page: Page) -> Result<FoundPage, Failure> {
        let ids = match self {
            Source::Store(search) => return store.search(search, page),
            Source::Agents(ids) => ids,
        };
        let behind = ids.iter().filter(|id| page.after_id.is_none_or(|after| id.get() < after));
        let wanted: Vec<AgentId> = behind.skip(page.offset as usize).take(page.count).copied().collect();
        let agents = store.agents(&wanted)?;
        let next = wanted.last().filter(|_| wanted.len() == page.count).map(|id| id.get());
        Ok(FoundPage { rows: agents.into_iter().map(|agent| Found::Agent(Box::new(agent))).collect(), next })
    }

    fn total(&self, store: &mut dyn ApiStore) -> Result<Total, Failure> {
        match self {
            Source::Store(search) => store.count(search, API_COUNTED_MAX),
            Source::Agents(ids) => Ok(Total { rows: ids.len() as u64, is_minimum: false }),
        }
    }
}

/// What was asked, in a form that can be told.
struct Asked {
    kind: &'static str,
    after: Timestamp,
    before: Timestamp,
    limit: u64,
    is_report: bool,
}

fn kind(values: &Values) -> (Kind, &'static str) {
    match values.text("type") {
        Some("command") => (Kind::Command, "command"),
        Some("agent") => (Kind::Agent, "agent"),
        Some("investigator") => (Kind::Investigator, "investigator"),
        _ => (Kind::Action, "action"),
    }
}

/// Refuses what would be ignored, which would make the answer another one than was meant.
fn check(values: &Values, kind: Kind) -> Result<(), ApiError> {
    let applies = |name: &str, only: Kind, word: &str| {
        let is_wrong = values.text(name).is_some_and(|value| value != "false") && kind != only;
        if is_wrong { Err(ApiError::parameter(name, format!("applies to type={word} only"))) } else { Ok(()) }
    };
    applies("foundanything", Kind::Command, "command")?;
    applies("report", Kind::Command, "command")?;
    applies("target", Kind::Agent, "agent")?;
    const WITH_TARGET: [&str; 5] = ["type", "target", "limit", "offset", "afterid"];
    let other = values.names().find(|name| !WITH_TARGET.contains(name));
    match other.filter(|name| values.text("target").is_some() && values.text(name) != Some("false")) {
        Some(other) => {
            Err(ApiError::parameter(other, "cannot be combined with target, which selects among what is present now"))
        }
        None => Ok(()),
    }
}

fn search(values: &Values, kind: Kind, after: Timestamp) -> Search {
    Search {
        kind,
        action_id: values.number("actionid"),
        action_name: values.string("actionname"),
        command_id: values.number("commandid"),
        agent_id: values.number("agentid"),
        agent_name: values.string("agentname"),
        investigator_id: values.number("investigatorid"),
        investigator_name: values.string("investigatorname"),
        status: values.string("status"),
        threat_family: values.string("threatfamily"),
        found_anything: values.flag("foundanything"),
        after,
        before: values.time("before"),
    }
}

/// The first rows, and what is told about all of them.
struct First {
    source: Arc<Source>,
    page: FoundPage,
    total: Total,
}

/// Reads the first rows.
fn first(
    store: &mut dyn ApiStore,
    target: Option<String>,
    search: Search,
    page: Page,
    now: Timestamp,
) -> Result<First, ApiError> {
    let source = match target {
        None => Source::Store(Box::new(search)),
        Some(text) => {
            let target = Target::parse(&text).map_err(|e| ApiError::parameter("target", e))?;
            let refused = |failure| match failure {
                Failure::Refuse(reason) => ApiError::parameter("target", reason),
                failure => failure.into(),
            };
            Source::Agents(store.select(&target, now).map_err(refused)?)
        }
    };
    let total = source.total(store)?;
    let page = source.page(store, page)?;
    Ok(First { source: Arc::new(source), page, total })
}

/// `GET search`
pub async fn run(call: Call) -> Answer {
    let (kind, word) = kind(&call.values);
    check(&call.values, kind)?;
    let now = time::now();
    let default = if kind == Kind::Investigator { time::not_set() } else { time::before(now, WINDOW) };
    let asked = Asked {
        kind: word,
        after: call.values.time("after").unwrap_or(default),
        before: call.values.time("before").unwrap_or(now),
        limit: call.values.number("limit").unwrap_or(API_ROWS_DEFAULT),
        is_report: call.values.text("report").is_some(),
    };
    let mut rows = Rows {
        place: Page {
            after_id: call.values.number("afterid"),
            offset: call.values.number("offset").unwrap_or_default(),
            count: 0,
        },
        left: asked.limit,
        returned: 0,
        more: None,
    };
    let (target, search) = (call.values.string("target"), search(&call.values, kind, asked.after));
    let page = rows.next_page();
    let First { source, page, total } = call.with(move |store| first(store, target, search, page, now)).await?;
    let found = rows.take(page);
    let mut items = items(&call, &found, asked.is_report)?;
    if rows.is_done() {
        items.push(told(&call, &asked, total, rows.returned)?);
        let mut collection = Collection::new(call.href.clone());
        for item in items {
            collection = collection.item(item);
        }
        if let Some(id) = rows.more {
            collection = collection.link("next", next(&call, id, &asked));
        }
        return Ok(collection.response(StatusCode::OK));
    }
    let (response, stream) = Stream::begin(&call.href);
    tokio::spawn(async move {
        // The reader is away, or finds that the document is cut off.
        let _ = send(stream, &call, &asked, source, rows, total, items).await;
    });
    Ok(response)
}

/// Sends the first items and the other rows of a search.
async fn send(
    mut stream: Stream,
    call: &Call,
    asked: &Asked,
    source: Arc<Source>,
    mut rows: Rows,
    total: Total,
    mut items: Vec<Item>,
) -> Result<(), Stopped> {
    let mut checked = Instant::now();
    loop {
        stream.items(&items).await?;
        if rows.is_done() {
            break;
        }
        let (source, page) = (Arc::clone(&source), rows.next_page());
        if checked.elapsed() > API_EVENT_SILENCE_MAX {
            checked = Instant::now();
            if !call.is_welcome().await.unwrap_or(false) {
                stream.abort().await;
                return Err(Stopped);
            }
        }
        let found = call.with(move |store| Ok(source.page(store, page)?)).await;
        items = match found.and_then(|page| self::items(call, &rows.take(page), asked.is_report)) {
            Ok(items) => items,
            Err(error) => {
                log::error!("search: {}; the answer is cut off", error.cause.unwrap_or(error.message));
                stream.abort().await;
                return Err(Stopped);
            }
        };
    }
    let told = told(call, asked, total, rows.returned).map_err(|_| Stopped)?;
    stream.items(&[told]).await?;
    let links = rows.more.map(|id| Link { rel: "next", href: next(call, id, asked) });
    stream.finish(links.as_slice()).await
}

/// How far the rows of an answer are read.
struct Rows {
    place: Page,
    left: u64,
    returned: u64,
    /// The last row, if there are more behind it that were not asked for.
    more: Option<u64>,
}

impl Rows {
    /// What is read next: one row more than is left, to know whether there are more.
    fn next_page(&mut self) -> Page {
        self.place.count = (self.left + 1).min(API_ROWS_AT_ONCE as u64) as usize;
        self.place
    }

    /// The rows that are part of the answer. A page may be shorter than it was asked for, and go on.
    fn take(&mut self, mut page: FoundPage) -> Vec<Found> {
        let has_extra = page.rows.len() as u64 > self.left;
        page.rows.truncate(self.left as usize);
        self.returned += page.rows.len() as u64;
        self.left -= page.rows.len() as u64;
        let last = page.rows.last().and_then(Found::id);
        match page.next {
            _ if has_extra => self.more = last.or(self.place.after_id),
            None => self.left = 0,
            Some(next) if self.left == 0 => self.more = Some(next),
            Some(_) => {}
        }
        self.place = Page { after_id: page.next, offset: 0, count: 0 };
        page.rows
    }

    fn is_done(&self) -> bool {
        self.left == 0
    }
}

fn items(call: &Call, found: &[Found], is_report: bool) -> Result<Vec<Item>, ApiError> {
    let mut items = Vec::with_capacity(found.len() + 1);
    for found in found {
        match found {
            Found::Command(command) if is_report => items.extend(compliance::items(&call.api, command)?),
            found => items.push(row(&call.api, found)?),
        }
    }
    Ok(items)
}

/// The last item: the parameters that were used, in the words of the original.
fn told(call: &Call, asked: &Asked, total: Total, returned: u64) -> Result<Item, ApiError> {
    let values = &call.values;
    let or = |name: &str, default: &str| Value::from(values.text(name).unwrap_or(default));
    let parameters = json!({
        "type": asked.kind, "after": asked.after, "before": asked.before, "limit": asked.limit,
        "offset": values.number("offset").unwrap_or_default(), "afterid": or("afterid", "∞"),
        "actionid": or("actionid", "∞"), "actionname": or("actionname", "%"),
        "commandid": or("commandid", "∞"), "agentid": or("agentid", "∞"), "agentname": or("agentname", "%"),
        "investigatorid": or("investigatorid", "∞"), "investigatorname": or("investigatorname", "%"),
        "status": or("status", "%"), "threatfamily": or("threatfamily", "%"), "target": or("target", ""),
        "report": or("report", ""), "foundanything": values.flag("foundanything"),
        "total": total.rows, "totalisminimum": total.is_minimum, "returned": returned,
    });
    Item::new(call.href.clone()).with("search parameters", &parameters)
}

/// The same search behind the row with this id, in the same window.
fn next(call: &Call, id: u64, asked: &Asked) -> String {
    const CHANGED: [&str; 4] = ["afterid", "offset", "limit", "after"];
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in call.values.names().filter(|name| !CHANGED.contains(name)) {
        query.append_pair(name, call.values.text(name).unwrap_or_default());
    }
    if call.values.text("target").is_none() {
        query.append_pair("after", &asked.after.to_string());
    }
    query.append_pair("limit", &asked.limit.to_string()).append_pair("afterid", &id.to_string());
    call.api.href(&format!("search?{}", query.finish()))
}
