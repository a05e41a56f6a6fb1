//! `GET action/events`: an action as server-sent events.

use super::actions::{missing, wanted};
use super::answer::events;
use super::call::Call;
use super::error::ApiError;
use super::follow::{Follower, News, Seen};
use super::route::Answer;
use crate::action::{ActionStatus, Counters};
use crate::command::{Command, CommandStatus};
use crate::heartbeat::Agent;
use crate::id::{ActionId, CommandId};
use crate::limits::{API_CHUNKS_AHEAD_MAX, API_EVENT_SILENCE_MAX, API_RESULTS_AT_ONCE_BYTES, API_WRITE_TIME_MAX};
use crate::store::catalog::Waiting;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Commands that are read from the store at once: each may have the largest result.
const COMMANDS_AT_ONCE: usize = 16;

/// A command without its action.
#[derive(Serialize)]
struct Ended<'a> {
    id: CommandId,
    agent: &'a Agent,
    status: CommandStatus,
    results: &'a RawValue,
    #[serde(rename = "starttime")]
    start_time: Timestamp,
    #[serde(rename = "finishtime")]
    finish_time: Timestamp,
}

/// The text of an event.
fn event(name: &str, place: Option<&str>, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).unwrap_or_default().replace(['\r', '\n'], " ");
    let place = place.map(|place| format!("id: {place}\n")).unwrap_or_default();
    format!("event: {name}\n{place}data: {data}\n\n")
}

fn counted(id: ActionId, news: &News) -> String {
    let (status, counters, waiting) = match news {
        News::Counted(progress) => (progress.status.as_str(), progress.counters.clone(), progress.waiting),
        News::Pending | News::Refused(_) => ("pending", Counters::new(), Waiting::default()),
    };
    let data = json!({"actionid": id, "status": status, "counters": counters, "waiting": waiting});
    event("counters", None, &data)
}

/// Sends an action's events to one reader.
struct Reader {
    call: Call,
    id: ActionId,
    follower: Arc<Follower>,
    /// How many commands it has heard of.
    heard: usize,
    sender: mpsc::Sender<String>,
    /// When it was last looked at whether the reader may still read.
    checked: Instant,
}

/// Why there are no more events.
enum Over {
    /// The reader is away, or too slow.
    Away,
    /// The store failed; the reader resumes.
    Failed(ApiError),
    /// Everything was said.
    Said,
}

impl From<ApiError> for Over {
    fn from(error: ApiError) -> Over {
        Over::Failed(error)
    }
}

impl Reader {
    async fn send(&self, text: String) -> Result<(), Over> {
        match timeout(API_WRITE_TIME_MAX, self.sender.send(text)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over::Away),
        }
    }

    /// Sends the commands that have ended, up to this one.
    async fn send_commands(&mut self, up_to: usize) -> Result<(), Over> {
        while self.heard < up_to {
            let ids = self.follower.ended(self.heard, COMMANDS_AT_ONCE.min(up_to - self.heard));
            let wanted = ids.clone();
            let found = self.call.with(move |store| Ok(store.commands(&wanted, API_RESULTS_AT_ONCE_BYTES)?)).await?;
            let last = found.last().map(|command| command.id);
            for id in ids {
                self.heard += 1;
                // A row that is no command cannot be shown.
                let Some(command) = found.iter().find(|command| command.id == id) else { continue };
                let Command { agent, status, results, start_time, finish_time, .. } = command;
                let (status, start_time, finish_time) = (*status, *start_time, *finish_time);
                let data = Ended { id, agent, status, results, start_time, finish_time };
                self.send(event("command", Some(&self.follower.place(self.heard)), &data)).await?;
                // What had no room is read next.
                if last == Some(id) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends what is new.
    async fn tell(&mut self, seen: &Seen) -> Result<(), Over> {
        self.send_commands(seen.ended).await?;
        self.send(counted(self.id, &seen.news)).await?;
        match &seen.news {
            News::Refused(reason) => {
                self.send(event("refused", None, &json!({"reason": reason}))).await?;
                Err(Over::Said)
            }
            News::Counted(progress) if progress.status == ActionStatus::Completed => {
                self.send(event("end", None, &json!({"status": "completed"}))).await?;
                Err(Over::Said)
            }
            _ => Ok(()),
        }
    }

    /// Ends when the investigator was disabled, or the session has ended.
    async fn check_caller(&mut self) -> Result<(), Over> {
        if self.checked.elapsed() < API_EVENT_SILENCE_MAX {
            return Ok(());
        }
        self.checked = Instant::now();
        if self.call.is_welcome().await? { Ok(()) } else { Err(Over::Said) }
    }

    async fn run(&mut self, mut seen: watch::Receiver<Seen>) -> Result<(), Over> {
        loop {
            let news = seen.borrow_and_update().clone();
            self.tell(&news).await?;
            while !matches!(timeout(API_EVENT_SILENCE_MAX, seen.changed()).await, Ok(Ok(()))) {
                self.check_caller().await?;
                self.send(":\n\n".to_owned()).await?;
            }
            if self.call.api.followers.is_closed() {
                return Err(Over::Away);
            }
            self.check_caller().await?;
        }
    }
}

/// See the module docs.
pub async fn stream(call: Call) -> Answer {
    let id = wanted(&call)?;
    let (follower, seen) = call.api.followers.follow(&call.api, id).await?.ok_or_else(|| missing(id))?;
    let place = call.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let heard = place.map_or(0, |place| follower.resume(place));
    let (sender, receiver) = mpsc::channel(API_CHUNKS_AHEAD_MAX);
    tokio::spawn(async move {
        let mut reader = Reader { call, id, follower, heard, sender, checked: Instant::now() };
        if let Err(Over::Failed(error)) = reader.run(seen).await {
            log::warn!(action:% = id; "events: {}; their reader resumes", error.cause.unwrap_or(error.message));
        }
    });
    Ok(events(receiver))
}
