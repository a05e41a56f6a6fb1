//! Actions in action/pending: which may begin, which have expired, and what the others wait for.

use super::approval::{Rules, named};
use super::investigators::Trusted;
use super::joining::Done;
use super::signers_that_count;
use crate::action::Action;
use crate::failure::Failure;
use crate::limits;
use crate::spool::stages::{ACTION_NEW, ACTION_PENDING};
use crate::spool::{FileName, Look, Mover, Placed, Spool, Step, is_settling};
use crate::time::{self, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is known of them. A hint only: after a restart all are judged again.
#[derive(Default)]
pub(super) struct Pending {
    judged: HashMap<FileName, Judged>,
    /// By what they were judged.
    judged_by: Option<(Arc<Trusted>, Rules)>,
}

/// An action that was judged, and waits.
struct Judged {
    /// None if it is to be judged again.
    look: Option<Look>,
    expires: Timestamp,
    /// What was logged.
    said: String,
}

/// A file that was read.
struct Waiting {
    look: Look,
    action: Action,
}

impl Pending {
    /// Has all of them judged again.
    pub(super) fn forget(&mut self) {
        self.judged.clear();
    }

    /// Moves those that may begin back to action/new, and finds those that are to be refused. Those that were judged before
    /// are not read again, unless something changed.
    pub(super) fn judge(
        &mut self,
        mover: &Mover,
        names: &[FileName],
        by: (Arc<Trusted>, Rules),
        now: Timestamp,
    ) -> Result<Done, Failure> {
        let mut done = Done::default();
        let is_same = |(trusted, rules): &(Arc<Trusted>, Rules)| Arc::ptr_eq(trusted, &by.0) && rules.is(&by.1);
        if !self.judged_by.as_ref().is_some_and(is_same) {
            self.judged.values_mut().for_each(|judged| judged.look = None);
            self.judged_by = Some(by.clone());
        }
        let present: HashSet<&FileName> = names.iter().collect();
        self.judged.retain(|name, _| present.contains(name));
        for name in names {
            let look = mover.spool().look(ACTION_PENDING, name)?;
            match self.judged.get(name) {
                Some(judged) if judged.look.is_some() && judged.look == look && judged.expires > now => {
                    done.again_at(judged.expires);
                }
                _ => {
                    if let Some(waiting) = read(mover.spool(), name, &mut done, now)? {
                        self.judge_one(mover, name, &waiting, &by, &mut done, now)?;
                    }
                }
            }
        }
        Ok(done)
    }

    fn judge_one(
        &mut self,
        mover: &Mover,
        name: &FileName,
        Waiting { look, action }: &Waiting,
        (trusted, rules): &(Arc<Trusted>, Rules),
        done: &mut Done,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let signers = signers_that_count(trusted, action, now);
        let missing = match rules.missing(trusted, action, &signers) {
            Err(Failure::Refuse(reason)) => {
                done.refuse(name, reason);
                return Ok(());
            }
            missing => missing?,
        };
        // That a signature does not count any more is said by the check in action/new.
        let Some(missing) = missing else { return move_back(mover, name, done, now) };
        let said = format!("signed by {}; missing: {missing}", named(&signers));
        if action.expire_after <= now {
            done.refuse(
                name,
                format!(
                    "field 'expireafter': the action expired at {} while it waited in action/pending; {said}; give it a later end, \
                    and have it signed again",
                    action.expire_after
                ),
            );
            return Ok(());
        }
        if self.judged.get(name).is_none_or(|before| before.said != said) {
            log::info!("action-new: {ACTION_PENDING}/{name} waits for signatures; {said}");
        }
        done.again_at(action.expire_after);
        let judged = Judged { look: Some(*look), expires: action.expire_after, said };
        self.judged.insert(name.clone(), judged);
        Ok(())
    }
}

/// Reads one; none if it is gone, is refused, or is left alone for now.
fn read(spool: &Spool, name: &FileName, done: &mut Done, now: Timestamp) -> Result<Option<Waiting>, Failure> {
    let entry = match spool.read(ACTION_PENDING, name, limits::ACTION_SIZE_BYTES_MAX) {
        Ok(None) => return Ok(None),
        Ok(Some(entry)) => entry,
        Err(Failure::Refuse(reason)) => {
            done.refuse(name, reason);
            return Ok(None);
        }
        Err(Failure::Skip(reason)) => {
            log::error!("action-new: {ACTION_PENDING}/{name}: {reason}; it stays, and is tried again");
            done.again_at(time::after(now, limits::PENDING_PAUSE));
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    match Action::parse_dated(&entry.bytes) {
        Ok(action) => return Ok(Some(Waiting { look: entry.look, action })),
        Err(error) if error.is_incomplete() && is_settling(entry.look.modified, now) => {
            done.again_at(time::after(entry.look.modified, limits::HALF_WRITTEN_GRACE));
        }
        Err(error) => done.refuse(name, error.to_string()),
    }
    Ok(None)
}

/// Moves an action back to action/new, where it is begun.
fn move_back(mover: &Mover, name: &FileName, done: &mut Done, now: Timestamp) -> Result<(), Failure> {
    match mover.apply(&[Step::forward(ACTION_PENDING, name, ACTION_NEW)])?.pop() {
        Some(Ok(Placed::Taken)) => done.again_at(time::after(now, limits::DETACHED_SIGNATURE_PAUSE)),
        Some(Err(failure)) => {
            log::error!("action-new: {failure}; it stays, and is tried again");
            done.again_at(time::after(now, limits::PENDING_PAUSE));
        }
        _ => done.handled += 1,
    }
    Ok(())
}
