//! Signatures that are dropped beside an action, and actions that wait for more of them.
//!
//! | what | becomes |
//! |---|---|
//! | `action/new/NAME.json.asc-X`, a detached signature that counts | part of the action `NAME.json` in action/new, else in action/pending; the file is removed |
//! | one that does not count, or whose action does not appear | refused, with a reason that names both |
//! | an action in action/pending that enough investigators have signed | a drop again, which is begun as any |
//! | one that expired there | refused, with a reason that names who had signed and what was missing |
//!
//! The worker action-new does this around the draining of action/new: signatures first, so that an action is begun with
//! those that were there before it; the actions that wait last, so that copies of them in action/new are joined before.

use super::detached::{Detached, read_detached};
use super::investigators::Trusted;
use super::pending::Pending;
use super::{ActionNew, signers_that_count};
use crate::action::Action;
use crate::failure::Failure;
use crate::investigator::Fingerprint;
use crate::limits;
use crate::spool::stages::{ACTION_INVALID, ACTION_NEW, ACTION_PENDING};
use crate::spool::watch::Watch;
use crate::spool::{Entry, FileName, Mover, Placed, Spool, Stage, Step};
use crate::time::{self, Timestamp};
use crate::wake::Waker;
use crate::worker::stage::StageWorker;
use crate::worker::{Pass, Worker, earlier};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// See the module docs.
pub struct ActionNewWorker {
    stage: StageWorker<ActionNew>,
    mover: Mover,
    pending: Pending,
}

/// An action to which signatures are added.
struct Joined {
    entry: Entry,
    action: Action,
    text: String,
    signers: BTreeSet<Fingerprint>,
    is_changed: bool,
}

/// What one part of a pass did, and which files it refuses.
#[derive(Default)]
pub(super) struct Done {
    pub(super) handled: usize,
    again: Option<Timestamp>,
    refused: Vec<(FileName, String)>,
}

impl Done {
    pub(super) fn again_at(&mut self, time: Timestamp) {
        self.again = earlier(self.again, time);
    }

    pub(super) fn refuse(&mut self, name: &FileName, reason: String) {
        self.refused.push((name.clone(), reason));
    }
}

impl ActionNewWorker {
    /// Drains action/new, and joins what is dropped beside its actions.
    pub fn new(mover: Mover, handler: ActionNew) -> ActionNewWorker {
        let stage = StageWorker::new(mover.clone(), handler);
        ActionNewWorker { stage, mover, pending: Pending::default() }
    }

    /// Joins detached signatures with their actions.
    fn join(&mut self, now: Timestamp) -> Result<Done, Failure> {
        let mut done = Done::default();
        let names = self.mover.spool().list_signatures()?;
        if names.is_empty() {
            return Ok(done);
        }
        let mut actions: HashSet<FileName> = self.mover.spool().list(ACTION_NEW)?.into_iter().collect();
        actions.extend(self.mover.spool().list(ACTION_PENDING)?);
        let mut of_actions: BTreeMap<FileName, Vec<FileName>> = BTreeMap::new();
        let (mut joining, mut orphans) = (0, 0);
        for name in names {
            let Some(action) = name.signed_by_detached() else { continue };
            let count = if actions.contains(&action) { &mut joining } else { &mut orphans };
            *count += 1;
            if *count > limits::BATCH_ENTRIES_MAX {
                // Those before them go first.
                done.again_at(time::after(now, limits::DETACHED_SIGNATURE_PAUSE));
            } else if actions.contains(&action) {
                of_actions.entry(action).or_default().push(name);
            } else {
                self.keep_orphan(&name, &action, &mut done, now)?;
            }
        }
        for (action, signatures) in of_actions {
            self.join_action(&action, &signatures, &mut done, now)?;
        }
        self.refuse(ACTION_NEW, done, now)
    }

    /// A signature whose action is not there.
    fn keep_orphan(&self, name: &FileName, action: &FileName, done: &mut Done, now: Timestamp) -> Result<(), Failure> {
        let Some(look) = self.mover.spool().look(ACTION_NEW, name)? else { return Ok(()) };
        let until = time::after(look.changed, limits::DETACHED_SIGNATURE_KEPT);
        if until > now {
            done.again_at(until);
            return Ok(());
        }
        let minutes = limits::DETACHED_SIGNATURE_KEPT.as_secs() / 60;
        done.refuse(
            name,
            format!(
                "no action {action} was in action/new or action/pending for {minutes} minutes: it may have begun before the \
                signature came; drop the signature beside its action, or before it"
            ),
        );
        Ok(())
    }

    /// Joins these signatures with the action of that name.
    fn join_action(
        &mut self,
        name: &FileName,
        signatures: &[FileName],
        done: &mut Done,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let trusted = self.stage.handler().trusted()?;
        let spool = self.mover.spool();
        let mut candidates = Vec::with_capacity(2);
        for stage in [ACTION_NEW, ACTION_PENDING] {
            candidates.extend(read_action(spool, stage, name, &trusted, now)?);
        }
        if candidates.is_empty() {
            // What becomes of the action is decided first: it is half-written, or is refused.
            done.again_at(time::after(now, limits::PENDING_PAUSE));
            return Ok(());
        }
        let mut joined = Vec::new();
        for signature in signatures {
            match read_detached(spool, signature, now)? {
                Detached::Gone => {}
                Detached::Settling(until) => done.again_at(until),
                Detached::Refused(reason) => done.refuse(signature, format!("as a signature of {name}, {reason}")),
                Detached::Whole(stripped) => match add(&mut candidates, &stripped, &trusted, now) {
                    Ok(said) => joined.push((signature, said)),
                    Err(reason) => done.refuse(signature, format!("the signature of {name} {reason}")),
                },
            }
        }
        if self.write(candidates, done, now)? {
            let clears: Vec<Step> = joined.iter().map(|(name, _)| Step::clear(ACTION_NEW, name)).collect();
            self.mover.apply_all(&clears)?;
            joined.iter().for_each(|(name, said)| log::info!("action-new: {ACTION_NEW}/{name}: {said}"));
            done.handled += joined.len();
        }
        Ok(())
    }

    /// Writes the actions that have further signatures now. Returns false if one of them could not be written: its
    /// signatures stay.
    fn write(&self, candidates: Vec<Joined>, done: &mut Done, now: Timestamp) -> Result<bool, Failure> {
        for Joined { entry, action, .. } in candidates.into_iter().filter(|one| one.is_changed) {
            match self.mover.drafts().adopt(&[(&entry, action.to_json())])?.pop() {
                Some(Ok(Placed::New)) => {}
                Some(Err(failure)) => {
                    log::error!(
                        "action-new: {failure}; the signature stays beside it, and is tried again from time to time"
                    );
                    done.again_at(time::after(now, limits::PENDING_PAUSE));
                    return Ok(false);
                }
                // Taken away, or replaced: the next pass sees what is there.
                _ => {
                    done.again_at(now);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Judges what waits in action/pending.
    fn judge(&mut self, now: Timestamp) -> Result<Done, Failure> {
        let names = self.mover.spool().list(ACTION_PENDING)?;
        if names.is_empty() {
            self.pending.forget();
            return Ok(Done::default());
        }
        let handler = self.stage.handler();
        let (trusted, rules) = (handler.trusted()?, handler.rules()?);
        let done = self.pending.judge(&self.mover, &names, (trusted, rules), now)?;
        self.refuse(ACTION_PENDING, done, now)
    }

    /// Moves refused files to action/invalid.
    fn refuse(&self, from: Stage, mut done: Done, now: Timestamp) -> Result<Done, Failure> {
        let refused = std::mem::take(&mut done.refused);
        if refused.is_empty() {
            return Ok(done);
        }
        for (name, reason) in &refused {
            log::warn!("action-new: {from}/{name} is refused: {reason}");
        }
        for outcome in self.mover.reject(from, &refused, ACTION_INVALID, now)? {
            match outcome {
                Ok(_) => done.handled += 1,
                Err(failure) => {
                    log::error!("action-new: {failure}; it stays, and is tried again from time to time");
                    done.again_at(time::after(now, limits::UNROUTABLE_PAUSE_MAX));
                }
            }
        }
        Ok(done)
    }
}

/// Reads an action to which signatures may be added; none while it is no action.
fn read_action(
    spool: &Spool,
    stage: Stage,
    name: &FileName,
    trusted: &Trusted,
    now: Timestamp,
) -> Result<Option<Joined>, Failure> {
    let entry = match spool.read(stage, name, limits::ACTION_SIZE_BYTES_MAX) {
        Err(Failure::Refuse(_) | Failure::Skip(_)) => None,
        read => read?,
    };
    let Some(entry) = entry else { return Ok(None) };
    let Ok(action) = Action::parse_dated(&entry.bytes) else { return Ok(None) };
    let signers = signers_that_count(trusted, &action, now).into_iter().map(|signer| signer.fingerprint).collect();
    let text = action.signed_text();
    Ok(Some(Joined { entry, action, text, signers, is_changed: false }))
}

/// Adds a signature to the action that it covers. Returns what was done, for the log; or why it does not count.
fn add(candidates: &mut [Joined], stripped: &str, trusted: &Trusted, now: Timestamp) -> Result<String, String> {
    let mut refused = None;
    for Joined { entry, action, text, signers, is_changed } in candidates {
        let signer = match trusted.verify(text, stripped, now) {
            Ok(signer) => signer,
            Err(reason) => {
                refused = Some(reason);
                continue;
            }
        };
        let (stage, name, by) = (entry.stage, &entry.name, format!("{} ({})", signer.name, signer.fingerprint));
        if signers.contains(&signer.fingerprint) {
            return Ok(format!("{stage}/{name} has a signature by {by} already; this one is removed"));
        }
        action.signatures.push(stripped.to_owned());
        let size_bytes = action.to_json().len() as u64;
        if action.signatures.len() > limits::ACTION_SIGNATURES_MAX || size_bytes > limits::ACTION_SIZE_BYTES_MAX {
            action.signatures.pop();
            let (count, bytes) = (limits::ACTION_SIGNATURES_MAX, limits::ACTION_SIZE_BYTES_MAX);
            return Err(format!("has no room in the action: the limits are {count} signatures and {bytes} bytes"));
        }
        signers.insert(signer.fingerprint);
        *is_changed = true;
        return Ok(format!("{stage}/{name} is signed by {by} too"));
    }
    Err(refused.unwrap_or_else(|| "belongs to no action that can be read".into()))
}

impl Worker for ActionNewWorker {
    fn name(&self) -> &'static str {
        self.stage.name()
    }

    fn recover(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.pending.forget();
        self.stage.recover(now)
    }

    fn watch(&mut self, waker: Waker) -> Result<Option<Watch>, Failure> {
        self.stage.watch(waker)
    }

    fn pass(&mut self, now: Timestamp) -> Result<Pass, Failure> {
        let joined = self.join(now)?;
        let Pass { handled, again } = self.stage.pass(now)?;
        // Only when nothing in action/new is left to be handled: a copy there is joined before its action is moved back.
        let judged = if again.is_some_and(|again| again <= now) { Done::default() } else { self.judge(now)? };
        let times = [joined.again, again, judged.again];
        Ok(Pass {
            handled: joined.handled + handled + judged.handled,
            again: times.into_iter().flatten().fold(None, earlier),
        })
    }

    fn has_tried(&self) -> bool {
        self.stage.has_tried()
    }
}
