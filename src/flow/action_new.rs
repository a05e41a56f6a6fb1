//! action-new drains action/new: a dropped action becomes commands in command/ready, and moves to action/inflight or
//! action/invalid.
//!
//! 1. Parse, verify every signature, check the target and the validity window: no effect yet. An action that more
//!    investigators must sign moves to action/pending (`action_new/holding.rs`); signatures beside it are joined with it
//!    (`action_new/joining.rs`).
//! 2. Select the agents; assign an id if the action has none.
//! 3. Adopt: the drop is replaced, under its own name, by a file of ours with the id in it. From here on a process that
//!    holds the dropped file open cannot change what is used, and a restart goes on with the same id.
//! 4. Store the action and its commands (one command per agent, however often this is done).
//! 5. Write the commands into `tmp/`.
//! 6. The move to action/inflight commits, then the commands move to command/ready.
//!
//! A crash before the move leaves the adopted drop in action/new: everything is done again with the same ids. A crash
//! after it leaves prepared commands of an action in flight: [`ActionNew::recover`] releases them.

pub mod approval;
mod detached;
mod holding;
pub mod investigators;
pub mod joining;
mod pending;

use super::FindOwner;
use super::command_returned::final_text;
use crate::action::{Action, ActionStatus};
use crate::command::Command;
use crate::failure::Failure;
use crate::heartbeat::Agent;
use crate::id::{ActionId, AgentId, CommandRef};
use crate::investigator::Investigator;
use crate::limits;
use crate::signature::Keyring;
use crate::spool::drafts::Preparation;
use crate::spool::stages::{ACTION_DONE, ACTION_INFLIGHT, ACTION_INVALID, ACTION_NEW, COMMAND_READY, PREPARED};
use crate::spool::{Drafts, Entry, FileName, Over, Placed, Spool, Step, is_settling};
use crate::store::{Begin, Ended, Prepared, Store};
use crate::targets::Target;
use crate::time::{self, Timestamp};
use crate::worker::stage::{FileHandler, Source, Verdict};
use crate::worker::{Apply, LogLine, apply_all};
use approval::{Approval, Rules};
use holding::Holding;
use investigators::{Investigators, Trusted};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// See the module docs.
pub struct ActionNew {
    store: Box<dyn Store>,
    investigators: Investigators,
    /// Those in force for the files that are being checked.
    trusted: Arc<Trusted>,
    approval: Approval,
    drafts: Drafts,
    /// Asked when the first action is begun.
    find_owner: FindOwner,
    owner: Option<String>,
}

/// An action that passed every check that needs no store.
pub struct Checked {
    action: Action,
    signers: Vec<Investigator>,
    target: Target,
}

/// An action that goes to these agents, and its drop.
struct Accepted<'a> {
    entry: &'a Entry,
    action: Action,
    signers: Vec<Investigator>,
    agents: Vec<AgentId>,
}

/// A command whose file is to be written.
struct Unwritten {
    action: Arc<Action>,
    prepared: Prepared,
}

impl ActionNew {
    /// Works with this store and these keys; `drafts` are those of the spool that it drains.
    pub fn new(
        store: Box<dyn Store>,
        investigators: Investigators,
        approval: Approval,
        drafts: Drafts,
        find_owner: FindOwner,
    ) -> ActionNew {
        ActionNew { store, investigators, trusted: Arc::default(), approval, drafts, find_owner, owner: None }
    }

    /// The keys in force.
    fn trusted(&mut self) -> Result<Arc<Trusted>, Failure> {
        self.investigators.get(self.store.as_mut())
    }

    /// What is required of an action's signers.
    fn rules(&mut self) -> Result<Rules, Failure> {
        self.approval.rules()
    }

    fn owner(&mut self) -> Result<String, Failure> {
        if self.owner.is_none() {
            self.owner = Some((self.find_owner)()?);
        }
        Ok(self.owner.clone().unwrap_or_default())
    }

    /// The agents that the target selects, or why the file is refused.
    fn select(
        &mut self,
        spool: &Spool,
        action: &Action,
        target: &Target,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, Failure> {
        if let Some(id) = action.id
            && spool.has(ACTION_INFLIGHT, &id.into())?
        {
            let help = "wait until it is done, or drop it without its id to run it anew";
            return Err(Failure::Refuse(format!("action {id} is in flight already; {help}")));
        }
        let agents = self.store.select_agents(target, now).map_err(|error| match error {
            Failure::Refuse(reason) => Failure::Refuse(format!("field 'target': {reason}")),
            failure => failure,
        })?;
        // An action that is run again for new agents may select none; one that never had any is a mistake.
        if agents.is_empty() && !action.id.map_or(Ok(false), |id| self.store.has_commands(id))? {
            let help = "look at it with mig-scheduler --explain-target, and at the agents that are online";
            return Err(Failure::Refuse(format!("field 'target': it selects no agent; {help}")));
        }
        Ok(agents)
    }

    /// Assigns ids to the actions that have none, and replaces the drops by files of ours. Returns the verdicts on those
    /// that were taken away meanwhile or cannot be replaced; they are removed from the list.
    fn adopt<'a>(
        &mut self,
        accepted: &mut Vec<Accepted<'a>>,
        now: Timestamp,
    ) -> Result<Vec<(&'a FileName, Verdict)>, Failure> {
        let missing = accepted.iter().filter(|one| one.action.id.is_none()).count();
        let mut ids = if missing > 0 { self.store.reserve_action_ids(missing)? } else { Vec::new() }.into_iter();
        for one in accepted.iter_mut() {
            one.action.id = one.action.id.or_else(|| ids.next());
            one.action.status = Some(ActionStatus::Inflight);
            one.action.start_time = now;
            one.action.last_update_time = now;
            one.action.finish_time = time::not_set();
            one.action.counters.clear();
        }
        let files: Vec<(&Entry, Vec<u8>)> = accepted.iter().map(|one| (one.entry, one.action.to_json())).collect();
        let mut adopted = self.drafts.adopt(&files)?.into_iter();
        let mut others = Vec::new();
        accepted.retain(|one| {
            let verdict = match adopted.next() {
                Some(Ok(Placed::Gone)) | None => Verdict::Gone,
                Some(Ok(_)) => return true,
                Some(Err(failure)) => {
                    log::error!("action-new: {failure}; it stays, and is tried again from time to time");
                    Verdict::NotYet(time::after(now, limits::UNROUTABLE_PAUSE_MAX))
                }
            };
            others.push((&one.entry.name, verdict));
            false
        });
        Ok(others)
    }

    /// Stores the actions and writes their commands. Returns the verdict on each.
    fn begin(&mut self, accepted: &[Accepted], now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        let begins = accepted.iter().filter_map(|one| {
            Some(Begin { action: &one.action, id: one.action.id?, signers: &one.signers, agents: &one.agents })
        });
        let begins: Vec<Begin> = begins.collect();
        let owner = self.owner()?;
        let begun = self.store.begin_actions(&owner, &begins, now)?;
        let mut verdicts = Vec::with_capacity(accepted.len());
        let mut commands = Vec::new();
        for ((one, begin), begun) in accepted.iter().zip(&begins).zip(begun) {
            verdicts.push(match begun {
                Ok(prepared) => {
                    let goes = format!("'{}' goes to {} agents", begin.action.name, prepared.len());
                    let release = |one: &Prepared| released(CommandRef { action: begin.id, command: one.id });
                    let then = prepared.iter().map(release).collect();
                    let action = Arc::new(begin.action.clone());
                    let unwritten = |prepared| Unwritten { action: Arc::clone(&action), prepared };
                    let is_ended = prepared.is_empty();
                    commands.extend(prepared.into_iter().map(unwritten));
                    let ended = if is_ended { self.store.ended_actions(&[begin.id], now)? } else { Vec::new() };
                    match ended.into_iter().next() {
                        Some(ended) => Verdict::done(back_to_done(one, ended, now)),
                        None => {
                            let steps = vec![committed(&one.entry.name, begin.id)];
                            Verdict::Done { steps, then, log: vec![LogLine::Action(begin.id, goes)] }
                        }
                    }
                }
                Err(Failure::Refuse(reason)) => Verdict::Reject(reason),
                Err(failure) => return Err(failure),
            });
        }
        let drafts = self.drafts.clone();
        let mut preparation = drafts.prepare();
        for commands in commands.chunks(limits::AGENTS_LOADED_MAX) {
            self.write(&mut preparation, commands, now)?;
        }
        preparation.finish()?;
        Ok(verdicts)
    }

    /// Writes commands; those whose agent is gone from the store are left out.
    fn write(&mut self, preparation: &mut Preparation, commands: &[Unwritten], now: Timestamp) -> Result<(), Failure> {
        let ids: BTreeSet<AgentId> = commands.iter().map(|one| one.prepared.agent).collect();
        let agents = self.store.load_agents(&Vec::from_iter(ids))?;
        let agents: HashMap<AgentId, Agent> = agents.into_iter().filter_map(|agent| Some((agent.id?, agent))).collect();
        for one in commands {
            let Some(agent) = agents.get(&one.prepared.agent) else { continue };
            let command = Command::new(one.prepared.id, Arc::clone(&one.action), agent.clone(), now);
            let command = command.ok_or_else(|| Failure::retry(format!("'{}' has no id", one.action.name)))?;
            preparation.add(command.reference(), &command.to_json())?;
        }
        Ok(())
    }
}

/// The commit point of an action.
fn committed(drop: &FileName, id: ActionId) -> Step {
    Step::Move { from: ACTION_NEW, name: drop.clone(), to: ACTION_INFLIGHT, to_name: id.into() }
}

/// A done action that was dropped again and goes to no further agent.
fn back_to_done(dropped: &Accepted, ended: Ended, now: Timestamp) -> Vec<Step> {
    let (name, text) = (ended.id.into(), final_text(dropped.action.clone(), ended, now));
    let put = Step::Put { to: ACTION_DONE, name, bytes: text, over: Over::Anything };
    vec![put, Step::clear(ACTION_NEW, &dropped.entry.name)]
}

/// What follows the commit point.
fn released(command: CommandRef) -> Step {
    Step::forward(PREPARED, &command.into(), COMMAND_READY)
}

/// Everything that needs no effect: the action, or what becomes of its file instead.
fn check(trusted: &Trusted, entry: &Entry, now: Timestamp) -> Result<Checked, Verdict> {
    let action = Action::parse_dated(&entry.bytes).map_err(|error| {
        if !error.is_incomplete() {
            return Verdict::Reject(error.to_string());
        }
        if is_settling(entry.look.modified, now) {
            return Verdict::NotYet(time::after(entry.look.modified, limits::HALF_WRITTEN_GRACE));
        }
        Verdict::Reject(format!("{error} and did not grow for a minute; drop the whole file again"))
    })?;
    check_unsigned(&action, now).map_err(Verdict::Reject)?;
    let signers = verify_all(&action, |text, one| trusted.verify(text, one, now)).map_err(Verdict::Reject)?;
    let target = Target::parse(&action.target).map_err(|e| Verdict::Reject(format!("field 'target': {e}")))?;
    Ok(Checked { action, signers, target })
}

/// Why an action is refused, by any signer.
fn check_unsigned(action: &Action, now: Timestamp) -> Result<(), String> {
    action.check_notes().map_err(|error| error.to_string())?;
    if action.expire_after <= now {
        let help = "give it a later end, and sign it again";
        return Err(format!("field 'expireafter': the action expired at {}; {help}", action.expire_after));
    }
    // What is written of it later must be readable again: numbers may take more room than they did.
    let size_bytes = action.to_json().len() as u64;
    if size_bytes > limits::ACTION_SIZE_BYTES_MAX {
        let max = limits::ACTION_SIZE_BYTES_MAX;
        return Err(format!("has {size_bytes} bytes when it is written out, the limit is {max}"));
    }
    Ok(())
}

/// Parses an action as it is checked here: what is wrong with it, before anybody looks at its signatures.
pub fn parse(bytes: &[u8], now: Timestamp) -> Result<Action, String> {
    let action = Action::parse(bytes).map_err(|e| e.to_string())?;
    check_unsigned(&action, now)?;
    Ok(action)
}

/// Who signed, by a keyring. Here every signature must be good: one that is not was tampered with, or its owner is not in the
/// keyring, and the investigator should know before agents refuse the action one by one.
pub fn verify(keyring: &Keyring, action: &Action, now: Timestamp) -> Result<Vec<Investigator>, String> {
    verify_all(action, |text, one| investigators::verify(keyring, text, one, now))
}

fn verify_all(
    action: &Action,
    verify: impl Fn(&str, &str) -> Result<Investigator, String>,
) -> Result<Vec<Investigator>, String> {
    let text = action.signed_text();
    let verify = |(index, signature): (usize, &String)| {
        verify(&text, signature).map_err(|reason| format!("pgpsignatures[{index}] {reason}"))
    };
    action.signatures.iter().enumerate().map(verify).collect()
}

/// The distinct signers whose signatures count.
fn signers_that_count(trusted: &Trusted, action: &Action, now: Timestamp) -> Vec<Investigator> {
    let text = action.signed_text();
    let mut signers: Vec<Investigator> = Vec::new();
    for signer in action.signatures.iter().filter_map(|signature| trusted.verify(&text, signature, now).ok()) {
        if signers.iter().all(|known| known.fingerprint != signer.fingerprint) {
            signers.push(signer);
        }
    }
    signers
}

impl FileHandler for ActionNew {
    type Checked = Checked;

    fn name(&self) -> &'static str {
        "action-new"
    }

    fn source(&self) -> Source {
        Source {
            stage: ACTION_NEW,
            invalid: ACTION_INVALID,
            size_bytes_max: limits::ACTION_SIZE_BYTES_MAX,
            batch_entries_max: limits::BATCH_ENTRIES_MAX,
        }
    }

    fn recover(&mut self, spool: &Spool, apply: Apply, _now: Timestamp) -> Result<(), Failure> {
        // A listing is limited, and there may be more.
        loop {
            let mut prepared: BTreeMap<ActionId, Vec<CommandRef>> = BTreeMap::new();
            for name in spool.list(PREPARED)? {
                if let Some(command) = name.as_str().and_then(|name| CommandRef::from_file_name(name).ok()) {
                    prepared.entry(command.action).or_default().push(command);
                }
            }
            if prepared.is_empty() {
                return Ok(());
            }
            for (id, commands) in prepared {
                let is_committed = spool.has(ACTION_INFLIGHT, &id.into())?;
                if is_committed {
                    log::info!(action:% = id; "releasing the commands that were prepared before the restart");
                }
                let steps = commands.into_iter().map(released);
                apply_all(apply, steps.map(|step| if is_committed { step } else { step.undone() }).collect())?;
            }
        }
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        self.trusted = self.trusted()?;
        Ok(())
    }

    fn check(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Checked, Verdict> + Send + Sync + use<> {
        let trusted = Arc::clone(&self.trusted);
        move |entry| check(&trusted, entry, now)
    }

    fn handle(
        &mut self,
        spool: &Spool,
        batch: Vec<(&Entry, Checked)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        let started = Instant::now();
        let order: Vec<&FileName> = batch.iter().map(|(entry, _)| &entry.name).collect();
        let (mut verdicts, mut accepted) = (HashMap::with_capacity(batch.len()), Vec::new());
        let (mut commands, mut begun) = (0, HashSet::new());
        let mut holding = Holding::new(spool, self.rules()?)?;
        for (entry, checked) in batch {
            if let Some(verdict) = self.hold(&mut holding, spool, entry, &checked, now)? {
                verdicts.insert(&entry.name, verdict);
                continue;
            }
            let Checked { action, signers, target } = checked;
            // Memory is bounded by what is prepared at once, and slow targets must not hold up the others: the rest comes
            // in the next batch.
            let is_full = commands > limits::FAN_OUT_COMMANDS_MAX || started.elapsed() > limits::SELECTING_TIME_MAX;
            // The same id twice: the next batch sees what became of the first.
            if is_full || action.id.is_some_and(|id| !begun.insert(id)) {
                verdicts.insert(&entry.name, Verdict::NotYet(now));
                continue;
            }
            match self.select(spool, &action, &target, now) {
                Ok(agents) => {
                    commands += agents.len();
                    accepted.push(Accepted { entry, action, signers, agents });
                }
                Err(Failure::Refuse(reason)) => drop(verdicts.insert(&entry.name, Verdict::Reject(reason))),
                Err(failure) => return Err(failure),
            }
        }
        if !accepted.is_empty() {
            verdicts.extend(self.adopt(&mut accepted, now)?);
            let begun = self.begin(&accepted, now)?;
            verdicts.extend(accepted.iter().map(|one| &one.entry.name).zip(begun));
        }
        Ok(order.into_iter().map(|name| verdicts.remove(name).unwrap_or(Verdict::Gone)).collect())
    }
}
