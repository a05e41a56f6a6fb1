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
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// A follower takes at most one part in so many of a store's time.
const SHARE: u32 = 5;
/// Looks that find an action nowhere before it is gone: a file is in no stage for a moment while it moves.
const LOOKS_WITHOUT: u32 = 3;

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
    /// Whether its task runs, which looks from time to time.
    is_looking: AtomicBool,
    /// One look at a time: what is seen never goes back.
    look: tokio::sync::Mutex<()>,
    /// Looks in a row that found it nowhere.
    without: AtomicU32,
    /// Something happened to the action.
    poked: Notify,
}

/// All of them.
#[derive(Default)]
pub struct Followers {
    followers: Mutex<HashMap<ActionId, Arc<Follower>>>,
    /// No event follows: the program ends.
    is_closed: AtomicBool,
}

impl Followers {
    fn all(&self) -> MutexGuard<'_, HashMap<ActionId, Arc<Follower>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the follower of an action look soon.
    pub fn poke(&self, id: ActionId) {
        if let Some(follower) = self.all().get(&id) {
            follower.poked.notify_one();
        }
    }

    /// Ends all readers.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.all().values().for_each(|follower| follower.seen.send_modify(|_| {}));
    }

    /// Whether readers are to end.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Follows an action; what is seen arrives at the receiver. None if there is no such action.
    pub async fn follow(
        &self,
        api: &Arc<Api>,
        id: ActionId,
    ) -> Result<Option<(Arc<Follower>, watch::Receiver<Seen>)>, ApiError> {
        let known = self.all().get(&id).cloned();
        let follower = match known {
            Some(follower) => follower,
            None if look(api, id).await?.is_none() => return Ok(None),
            None => self.keep(id)?,
        };
        let seen = follower.seen.subscribe();
        if !follower.is_looking.load(Ordering::SeqCst) {
            follower.look(api).await?;
        }
        follower.look_on(api);
        Ok(Some((follower, seen)))
    }

    /// Keeps a new follower; forgets others that have no reader if there are many.
    fn keep(&self, id: ActionId) -> Result<Arc<Follower>, ApiError> {
        let epoch = getrandom::u64().map_err(|e| ApiError::unavailable(format!("no random numbers: {e}")))?;
        let mut followers = self.all();
        if followers.len() >= API_FOLLOWED_MAX {
            followers.retain(|_, follower| follower.seen.receiver_count() > 0);
        }
        if followers.len() >= API_FOLLOWED_MAX {
            return Err(ApiError::unavailable(format!("{API_FOLLOWED_MAX} actions are followed already")));
        }
        let new = || {
            let seen = watch::Sender::new(Seen { news: News::Pending, ended: 0 });
            Arc::new(Follower {
                id,
                epoch,
                ended: Mutex::default(),
                seen,
                is_looking: AtomicBool::new(false),
                look: tokio::sync::Mutex::default(),
                without: AtomicU32::new(0),
                poked: Notify::new(),
            })
        };
        Ok(Arc::clone(followers.entry(id).or_insert_with(new)))
    }
}

/// Looks at an action. None if there is none.
async fn look(api: &Arc<Api>, id: ActionId) -> Result<Option<News>, ApiError> {
    let spool = api.config.spool.clone();
    api.stores
        .with(move |store| {
            if let Some(progress) = store.progress(id)? {
                // Between the action and its commands.
                let is_begun = !progress.counters.is_empty();
                return Ok(Some(if is_begun { News::Counted(progress) } else { News::Pending }));
            }
            Ok(in_spool(&spool, id))
        })
        .await
}

/// How an action is that the store does not know. It waits, or was refused; one that was refused may wait again.
fn in_spool(spool: &Path, id: ActionId) -> Option<News> {
    // It may move from action/pending to action/new meanwhile.
    const WAITS: [stages::Stage; 4] =
        [stages::ACTION_PENDING, stages::ACTION_NEW, stages::ACTION_INFLIGHT, stages::ACTION_PENDING];
    if WAITS.iter().any(|stage| spool.join(stage.path()).join(id.file_name()).exists()) {
        return Some(News::Pending);
    }
    let reason = spool.join(stages::ACTION_INVALID.path()).join(format!("{id}.json.reason"));
    let reason = std::fs::read_to_string(reason).ok()?;
    // The time stands in the first line.
    Some(News::Refused(reason.lines().nth(1).unwrap_or(&reason).to_owned()))
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

    /// Looks from time to time for as long as there are readers; then it is forgotten if nothing more can happen.
    fn look_on(self: &Arc<Follower>, api: &Arc<Api>) {
        if self.is_looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let (follower, api) = (Arc::clone(self), Arc::clone(api));
        tokio::spawn(async move {
            let mut period = API_FOLLOW_PERIOD_MIN;
            while follower.seen.receiver_count() > 0 && !follower.is_over() {
                let started = Instant::now();
                let looked = follower.look(&api).await;
                let pause = API_FOLLOW_PERIOD_MIN.max(started.elapsed() * SHARE).min(API_FOLLOW_PERIOD_MAX);
                period = match looked {
                    Ok(true) => pause,
                    Ok(false) => (period * 3 / 2).clamp(pause, API_FOLLOW_PERIOD_MAX),
                    Err(error) => {
                        log::warn!(action:% = follower.id; "{}", error.cause.unwrap_or(error.message));
                        API_FOLLOW_PERIOD_MAX
                    }
                };
                sleep(pause).await;
                let _ = timeout(period.saturating_sub(pause), follower.poked.notified()).await;
            }
            follower.is_looking.store(false, Ordering::SeqCst);
            if follower.is_over() {
                api.followers.all().remove(&follower.id);
            } else if follower.seen.receiver_count() > 0 {
                // A reader that came just now found that it was looking.
                follower.look_on(&api);
            }
        });
    }

    fn is_over(&self) -> bool {
        matches!(self.seen.borrow().news, News::Refused(_))
    }

    /// What is seen of an action that is found, or not.
    fn news(&self, found: Option<News>, before: &News) -> News {
        match found {
            Some(news) => {
                self.without.store(0, Ordering::SeqCst);
                news
            }
            None if self.without.fetch_add(1, Ordering::SeqCst) + 1 < LOOKS_WITHOUT => before.clone(),
            None => News::Refused(
                "it is in the spool and in the store no more: it was removed, or joined with a copy".into(),
            ),
        }
    }

    /// Looks once; whether something changed.
    async fn look(&self, api: &Arc<Api>) -> Result<bool, ApiError> {
        let _alone = self.look.lock().await;
        let before = self.seen.borrow().clone();
        let news = self.news(look(api, self.id).await?, &before.news);
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
