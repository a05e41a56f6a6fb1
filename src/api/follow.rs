//! Actions that somebody follows: one look at the store serves all who follow the same action.
//!
//! A [`Follower`] keeps the ids of commands that have ended in the order in which it saw them end; a place in that order is
//! where a reader resumes. The store has no such order: transactions commit in another one than they begin. Places are
//! good for as long as the follower lives; a reader that comes with one of another follower hears everything again.

use super::call::Api;
use super::error::ApiError;
use crate::id::{ActionId, CommandId};
use crate::limits::{API_FOLLOW_PERIOD_MAX, API_FOLLOW_PERIOD_MIN, API_FOLLOWED_MAX};
use crate::spool::stages;
use crate::store::catalog::Progress;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// How an action is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// No scheduler has begun it yet.
    Pending,
    /// Its commands, counted.
    Counted(Progress),
    /// The scheduler has refused it.
    Refused(String),
}

/// What a follower has seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How the action is.
    pub news: News,
    /// How many of its commands have ended.
    pub ended: usize,
}

/// See the module docs.
pub struct Follower {
    id: ActionId,
    /// Distinguishes its places from those of another follower of the same action.
    epoch: u64,
    ended: Mutex<Vec<CommandId>>,
    seen: watch::Sender<Seen>,
    is_looking: AtomicBool,
}

/// All of them.
#[derive(Default)]
pub struct Followers {
    followers: Mutex<HashMap<ActionId, Arc<Follower>>>,
    /// Something happened to some action.
    poked: Notify,
}

impl Followers {
    /// Has all followers look at once.
    pub fn poke(&self) {
        self.poked.notify_waiters();
    }

    /// Follows an action. None if there is none.
    pub async fn follow(&self, api: &Arc<Api>, id: ActionId) -> Result<Option<Arc<Follower>>, ApiError> {
        let known = self.followers.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let follower = match known {
            Some(follower) => follower,
            None => {
                if look(api, id, &News::Pending).await?.is_none() {
                    return Ok(None);
                }
                self.keep(id)?
            }
        };
        if !follower.is_looking.load(Ordering::SeqCst) {
            follower.look(api).await?;
        }
        follower.look_on(api);
        Ok(Some(follower))
    }

    /// Keeps a new follower; forgets others that have no reader if there are many.
    fn keep(&self, id: ActionId) -> Result<Arc<Follower>, ApiError> {
        let epoch = getrandom::u64().map_err(|e| ApiError::unavailable(format!("no random numbers: {e}")))?;
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if followers.len() >= API_FOLLOWED_MAX {
            followers.retain(|_, follower| follower.seen.receiver_count() > 0);
        }
        if followers.len() >= API_FOLLOWED_MAX {
            return Err(ApiError::unavailable(format!("{API_FOLLOWED_MAX} actions are followed already")));
        }
        let new = || {
            let seen = watch::Sender::new(Seen { news: News::Pending, ended: 0 });
            Arc::new(Follower { id, epoch, ended: Mutex::default(), seen, is_looking: AtomicBool::new(false) })
        };
        Ok(Arc::clone(followers.entry(id).or_insert_with(new)))
    }
}

/// Looks at an action. None if there is none.
async fn look(api: &Arc<Api>, id: ActionId, before: &News) -> Result<Option<News>, ApiError> {
    let spool = api.config.spool.clone();
    let was_pending = *before == News::Pending;
    api.stores
        .with(move |store| {
            if let Some(progress) = store.progress(id)? {
                // Between the action and its commands.
                let is_begun = !progress.counters.is_empty();
                return Ok(Some(if is_begun { News::Counted(progress) } else { News::Pending }));
            }
            Ok(if was_pending { in_spool(&spool, id) } else { None })
        })
        .await
}

/// How an action is that the store does not know.
fn in_spool(spool: &Path, id: ActionId) -> Option<News> {
    let reason = spool.join(stages::ACTION_INVALID.path()).join(format!("{id}.json.reason"));
    if let Ok(reason) = std::fs::read_to_string(reason) {
        // The time stands in the first line.
        return Some(News::Refused(reason.lines().nth(1).unwrap_or(&reason).to_owned()));
    }
    let waits = [stages::ACTION_NEW, stages::ACTION_PENDING, stages::ACTION_INFLIGHT]
        .iter()
        .any(|stage| spool.join(stage.path()).join(id.file_name()).exists());
    waits.then_some(News::Pending)
}

impl Follower {
    /// The text of a place.
    pub fn place(&self, ended: usize) -> String {
        format!("{:x}-{ended}", self.epoch)
    }

    /// Reads a place back: how many commands its reader has heard of; 0 if it is not a place of this follower.
    pub fn resume(&self, place: &str) -> usize {
        let heard = place.split_once('-').filter(|(epoch, _)| u64::from_str_radix(epoch, 16) == Ok(self.epoch));
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).len();
        heard.and_then(|(_, heard)| heard.parse::<usize>().ok()).filter(|heard| *heard <= ended).unwrap_or(0)
    }

    /// Commands that have ended, from a place on, at most so many.
    pub fn ended(&self, from: usize, count: usize) -> Vec<CommandId> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().skip(from).take(count).copied().collect()
    }

    /// What is seen, now and later.
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Looks from time to time for as long as there are readers.
    fn look_on(self: &Arc<Follower>, api: &Arc<Api>) {
        if self.is_looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let (follower, api) = (Arc::clone(self), Arc::clone(api));
        tokio::spawn(async move {
            let mut period = API_FOLLOW_PERIOD_MIN;
            // The first reader subscribes after this begins.
            let mut is_first = true;
            while is_first || follower.seen.receiver_count() > 0 {
                let poked = api.followers.poked.notified();
                period = match follower.look(&api).await {
                    Ok(true) => API_FOLLOW_PERIOD_MIN,
                    Ok(false) => (period * 3 / 2).min(API_FOLLOW_PERIOD_MAX),
                    Err(error) => {
                        log::warn!(action:% = follower.id; "{}", error.cause.unwrap_or(error.message));
                        API_FOLLOW_PERIOD_MAX
                    }
                };
                if follower.is_over() {
                    break;
                }
                let _ = timeout(period, poked).await;
                is_first = false;
            }
            follower.is_looking.store(false, Ordering::SeqCst);
        });
    }

    fn is_over(&self) -> bool {
        matches!(self.seen.borrow().news, News::Refused(_))
    }

    /// Looks once; whether something changed.
    async fn look(&self, api: &Arc<Api>) -> Result<bool, ApiError> {
        let before = self.seen.borrow().clone();
        let Some(news) = look(api, self.id, &before.news).await? else { return Ok(false) };
        let mut count = before.ended;
        let done = match &news {
            News::Counted(progress) => progress.counters.get("done").copied().unwrap_or_default() as usize,
            _ => 0,
        };
        if done > count {
            let id = self.id;
            let all = api.stores.with(move |store| Ok(store.ended_commands(id)?)).await?;
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let known: HashSet<CommandId> = ended.iter().copied().collect();
            ended.extend(all.into_iter().filter(|id| !known.contains(id)));
            count = ended.len();
        }
        let is_new = news != before.news || count != before.ended;
        if is_new {
            self.seen.send_replace(Seen { news, ended: count });
        }
        Ok(is_new)
    }
}
