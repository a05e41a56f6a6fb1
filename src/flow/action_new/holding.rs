//! Which actions are not begun yet: those beside which a detached signature lies, and those that more investigators must
//! sign, which move to action/pending.

use super::approval::Rules;
use super::investigators::Trusted;
use super::{ActionNew, Checked, signers_that_count};
use crate::action::Action;
use crate::failure::Failure;
use crate::limits;
use crate::spool::stages::{ACTION_NEW, ACTION_PENDING};
use crate::spool::{Entry, FileName, Over, Placed, Spool, Step};
use crate::time::{self, Timestamp};
use crate::worker::stage::Verdict;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// What decides for one batch.
pub(super) struct Holding {
    rules: Rules,
    /// Actions that have detached signatures beside them. They were listed after the actions were read: a signature that
    /// was dropped before its action is among them.
    signed_beside: HashSet<FileName>,
    /// Signed texts of the batch: of two copies the second waits for what becomes of the first.
    texts: HashSet<Hash>,
    /// What waits in action/pending, listed when it is first asked for.
    waiting: Option<Waiting>,
}

/// The hash of a signed text.
type Hash = [u8; 32];

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// What waits in action/pending.
struct Waiting {
    names: HashSet<FileName>,
    by_text: HashMap<Hash, FileName>,
    /// With those of this batch that join them.
    count: usize,
}

impl Waiting {
    fn list(spool: &Spool) -> Result<Waiting, Failure> {
        let (names, mut by_text) = (spool.list(ACTION_PENDING)?, HashMap::new());
        for name in &names {
            if let Some(action) = read_waiting(spool, name)? {
                by_text.entry(hash(&action.signed_text())).or_insert_with(|| name.clone());
            }
        }
        Ok(Waiting { count: names.len(), names: names.into_iter().collect(), by_text })
    }
}

impl Holding {
    pub(super) fn new(spool: &Spool, rules: Rules) -> Result<Holding, Failure> {
        let beside = spool.list_signatures()?.iter().filter_map(FileName::signed_by_detached).collect();
        Ok(Holding { rules, signed_beside: beside, texts: HashSet::new(), waiting: None })
    }
}

impl ActionNew {
    /// What becomes of an action that is not begun now; none if it may begin.
    pub(super) fn hold(
        &mut self,
        holding: &mut Holding,
        spool: &Spool,
        entry: &Entry,
        checked: &Checked,
        now: Timestamp,
    ) -> Result<Option<Verdict>, Failure> {
        let action = &checked.action;
        // Not for ever, whatever is dropped beside it.
        let may_wait = time::after(entry.look.changed, limits::DETACHED_SIGNATURE_KEPT) > now;
        if may_wait && holding.signed_beside.contains(&entry.name) {
            return Ok(Some(Verdict::NotYet(time::after(now, limits::DETACHED_SIGNATURE_PAUSE))));
        }
        if let Err(error) = action.check_signed() {
            return Ok(Some(Verdict::Reject(error.to_string())));
        }
        if holding.rules.may_hold()
            && let Some(verdict) = self.hold_for_signatures(holding, spool, entry, checked, now)?
        {
            return Ok(Some(verdict));
        }
        Ok((action.valid_from > now).then_some(Verdict::NotYet(action.valid_from)))
    }

    fn hold_for_signatures(
        &mut self,
        holding: &mut Holding,
        spool: &Spool,
        entry: &Entry,
        Checked { action, signers, .. }: &Checked,
        now: Timestamp,
    ) -> Result<Option<Verdict>, Failure> {
        let missing = match holding.rules.missing(&self.trusted, action, signers) {
            Err(Failure::Refuse(reason)) => return Ok(Some(Verdict::Reject(reason))),
            missing => missing?,
        };
        let text = hash(&action.signed_text());
        if !holding.texts.insert(text) {
            return Ok(Some(Verdict::NotYet(now)));
        }
        let waiting = match &mut holding.waiting {
            Some(waiting) => waiting,
            none => none.insert(Waiting::list(spool)?),
        };
        if let Some(name) = waiting.by_text.get(&text)
            && let Some(copy) = read_waiting(spool, name)?
        {
            return self.join_copy(entry, action, name.clone(), copy, now).map(Some);
        }
        if missing.is_none() {
            return Ok(None);
        }
        if waiting.names.contains(&entry.name) {
            let reason = "another action of this name waits in action/pending; drop this one under another name";
            return Ok(Some(Verdict::Reject(reason.into())));
        }
        if waiting.count >= limits::PENDING_ACTIONS_MAX {
            let count = waiting.count;
            log::warn!("action-new: {ACTION_NEW}/{} stays there: {count} actions are in action/pending", entry.name);
            return Ok(Some(Verdict::NotYet(time::after(now, limits::PENDING_PAUSE))));
        }
        waiting.count += 1;
        if let Some(verdict) = self.replace(entry, action, now)? {
            return Ok(Some(verdict));
        }
        Ok(Some(Verdict::done(vec![Step::forward(ACTION_NEW, &entry.name, ACTION_PENDING)])))
    }

    /// Joins the signatures of a drop with those of the same action in action/pending, which judges it again.
    fn join_copy(
        &mut self,
        entry: &Entry,
        dropped: &Action,
        name: FileName,
        copy: Action,
        now: Timestamp,
    ) -> Result<Verdict, Failure> {
        let joined = joined(&self.trusted, &copy, dropped, now);
        let bytes = joined.to_json();
        let is_too_large = bytes.len() as u64 > limits::ACTION_SIZE_BYTES_MAX;
        if is_too_large || joined.signatures.len() > limits::ACTION_SIGNATURES_MAX {
            let reason = format!("has no room for its signatures in action/pending/{name}, which is the same action");
            return Ok(Verdict::Reject(reason));
        }
        if let Some(verdict) = self.replace(entry, &joined, now)? {
            return Ok(verdict);
        }
        log::info!("action-new: {ACTION_NEW}/{} is joined with {ACTION_PENDING}/{name}, the same action", entry.name);
        let put = Step::Put { to: ACTION_PENDING, name, bytes, over: Over::Anything };
        let adds = joined.signatures != copy.signatures;
        let clear = Step::clear(ACTION_NEW, &entry.name);
        Ok(Verdict::done(adds.then_some(put).into_iter().chain([clear]).collect()))
    }

    /// Replaces a drop by a file of ours, so that what moves on is what was judged. Returns the verdict on one that
    /// cannot be replaced.
    fn replace(&mut self, entry: &Entry, action: &Action, now: Timestamp) -> Result<Option<Verdict>, Failure> {
        Ok(match self.drafts.adopt(&[(entry, action.to_json())])?.pop() {
            Some(Ok(Placed::Gone)) | None => Some(Verdict::Gone),
            Some(Ok(_)) => None,
            Some(Err(failure)) => {
                log::error!("action-new: {failure}; it stays, and is tried again from time to time");
                Some(Verdict::NotYet(time::after(now, limits::UNROUTABLE_PAUSE_MAX)))
            }
        })
    }
}

/// An action in action/pending; None if it is gone, or cannot be read.
fn read_waiting(spool: &Spool, name: &FileName) -> Result<Option<Action>, Failure> {
    let entry = spool.read_if_readable(ACTION_PENDING, name, limits::ACTION_SIZE_BYTES_MAX)?;
    Ok(entry.and_then(|entry| Action::parse_dated(&entry.bytes).ok()))
}

/// An action with the signatures of two copies of it that count, one of each signer.
fn joined(trusted: &Trusted, first: &Action, second: &Action, now: Timestamp) -> Action {
    let mut joined = first.clone();
    joined.signatures.clear();
    for signature in first.signatures.iter().chain(&second.signatures) {
        joined.signatures.push(signature.clone());
        if signers_that_count(trusted, &joined, now).len() < joined.signatures.len() {
            joined.signatures.pop();
        }
    }
    joined
}
