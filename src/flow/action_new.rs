//! action-new: from a file that somebody dropped to commands that are ready to be sent.
//!
//! 1. Parse, verify every signature, check the target and the validity window: no effect yet.
//! 2. Find the agents; give the action an id if it has none.
//! 3. Adopt: the drop is replaced, under its own name, by a file of ours with the id in it. From here on nobody who
//!    holds the dropped file open can change what is used, and a restart goes on with the same id.
//! 4. Store the action and its commands (one command per agent, however often this is done).
//! 5. Write the commands into `tmp/`.
//! 6. The move to action/inflight commits, then the commands are released ([`super::stage`]).
//!
//! A crash before the move leaves the adopted drop in action/new: everything is done again with the same ids. A crash
//! after it leaves prepared commands of an action in flight: [`ActionNew::recover`] releases them.

use super::stage::{StageWorker, Verdict, Work, in_flight_already};
use super::{Failure, owner};
use crate::action::{Action, ActionStatus};
use crate::command::Command;
use crate::heartbeat::Agent;
use crate::id::{ActionId, AgentId, CommandRef};
use crate::investigator::Investigator;
use crate::limits;
use crate::parallel;
use crate::reload::Reloaded;
use crate::signature::{Keyring, SignatureError};
use crate::spool::stages::{ACTION_INFLIGHT, ACTION_NEW, COMMAND_READY};
use crate::spool::{Entry, Preparation, Spool, Stage, is_settling};
use crate::store::{Begin, Prepared, Store, StoreError};
use crate::targets::Target;
use crate::time::{self, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// See the module docs.
pub struct ActionNew {
    store: Box<dyn Store>,
    /// Whose the actions are in the store: [`super::owner`]; read when the first one is begun.
    owner: Option<String>,
    keyring: Reloaded<Keyring>,
    /// What was begun with the batch before, whose files may not have moved to action/inflight yet.
    begun_before: HashSet<ActionId>,
}

/// An action that passed every check that needs no store.
pub struct Checked {
    action: Action,
    signers: Vec<Investigator>,
    target: Target,
}

/// An action that goes to these agents.
struct Accepted {
    index: usize,
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
    /// Works with this store and these keys.
    pub fn new(store: Box<dyn Store>, keyring: Reloaded<Keyring>) -> ActionNew {
        ActionNew { store, owner: None, keyring, begun_before: HashSet::new() }
    }

    fn owner(&mut self, spool: &Spool) -> Result<String, Failure> {
        if let Some(owner) = &self.owner {
            return Ok(owner.clone());
        }
        let owner = owner::scheduler_id(spool)?;
        Ok(self.owner.insert(owner).clone())
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
            return Err(Failure::Refused(in_flight_already(id)));
        }
        let agents = self.store.select_agents(target, now).map_err(|error| match error {
            StoreError::Refused(reason) => Failure::Refused(format!("field 'target': {reason}")),
            away => away.into(),
        })?;
        // An action that is run again for agents that came since may find none; one that never had any is a mistake.
        if agents.is_empty() && !action.id.map_or(Ok(false), |id| self.store.has_commands(id))? {
            let help = "look at it with mig-scheduler --explain-target, and at the agents that are online";
            return Err(Failure::Refused(format!("field 'target': it selects no agent; {help}")));
        }
        Ok(agents)
    }

    /// Gives ids to the actions that have none, and replaces the drops by files of ours. Those that were taken away
    /// meanwhile are dropped from the list; so are those that cannot be replaced, whose places in the batch are given.
    fn adopt(
        &mut self,
        spool: &Spool,
        batch: &[Entry],
        accepted: &mut Vec<Accepted>,
        now: Timestamp,
    ) -> Result<Vec<usize>, Failure> {
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
        #[cfg(feature = "mutants")]
        if crate::mutants::Mutant::StoreBeforeAdoption.is_on() {
            for one in accepted.iter() {
                let Some(id) = one.action.id else { continue };
                let begin = Begin { action: &one.action, id, signers: &one.signers, agents: &one.agents };
                let owner = self.owner(spool)?;
                self.store.begin_actions(&owner, &[begin], now)?;
            }
        }
        let files: Vec<(&Entry, Vec<u8>)> =
            accepted.iter().map(|one| (&batch[one.index], one.action.to_json())).collect();
        let mut replaced = spool.rewrite(&files)?.into_iter();
        let mut stuck = Vec::new();
        accepted.retain(|one| match replaced.next() {
            Some(Ok(is_there)) => is_there,
            Some(Err(error)) => {
                log::error!("action-new: {error}; it stays, and is tried again from time to time");
                stuck.push(one.index);
                false
            }
            None => false,
        });
        Ok(stuck)
    }

    /// Stores the actions and writes their commands. Gives the verdict of each.
    fn begin(&mut self, spool: &Spool, accepted: &[Accepted], now: Timestamp) -> Result<Vec<Verdict>, Failure> {
        let begins = accepted.iter().filter_map(|one| {
            Some(Begin { action: &one.action, id: one.action.id?, signers: &one.signers, agents: &one.agents })
        });
        let begins: Vec<Begin> = begins.collect();
        let owner = self.owner(spool)?;
        let begun = self.store.begin_actions(&owner, &begins, now)?;
        let mut verdicts = Vec::with_capacity(accepted.len());
        let mut commands = Vec::new();
        for (begin, begun) in begins.iter().zip(begun) {
            verdicts.push(match begun {
                Ok(prepared) => {
                    log::info!(action:% = begin.id; "'{}' goes to {} agents", begin.action.name, prepared.len());
                    let reference = |one: &Prepared| CommandRef { action: begin.id, command: one.id };
                    let references = prepared.iter().map(reference).collect();
                    let action = Arc::new(begin.action.clone());
                    let unwritten = |prepared| Unwritten { action: Arc::clone(&action), prepared };
                    commands.extend(prepared.into_iter().map(unwritten));
                    Verdict::Release { action: begin.id, commands: references }
                }
                Err(StoreError::Refused(reason)) => Verdict::Reject(reason),
                Err(away) => return Err(away.into()),
            });
        }
        self.write(spool, &commands, now)?;
        Ok(verdicts)
    }

    /// Writes the commands. While those for some agents are written, the next agents are loaded, and what was written
    /// before is synced, so that the sync that counts is short; as long as the disk is quick about it.
    fn write(&mut self, spool: &Spool, commands: &[Unwritten], now: Timestamp) -> Result<(), Failure> {
        let mut chunks = commands.chunks(limits::AGENTS_LOADED_MAX);
        let Some(mut chunk) = chunks.next() else { return Ok(()) };
        let (mut agents, mut is_quick) = (self.load(chunk)?, true);
        let mut preparation = spool.preparation();
        for next in chunks {
            let beside = || {
                let loaded = self.load(next)?;
                if is_quick {
                    let started = Instant::now();
                    spool.sync_ahead()?;
                    is_quick = started.elapsed() < limits::SYNC_AHEAD_TIME_MAX;
                }
                Ok(loaded)
            };
            let here = || write_for(&mut preparation, chunk, &agents, now);
            let (loaded, written): (Result<_, Failure>, _) = parallel::both(chunk.len(), beside, here);
            // A failed sync first: it ends the process.
            agents = loaded?;
            written?;
            chunk = next;
        }
        write_for(&mut preparation, chunk, &agents, now)?;
        Ok(preparation.finish()?)
    }

    /// The agents of these commands.
    fn load(&mut self, commands: &[Unwritten]) -> Result<HashMap<AgentId, Agent>, Failure> {
        let ids: BTreeSet<AgentId> = commands.iter().map(|one| one.prepared.agent).collect();
        let agents = self.store.load_agents(&Vec::from_iter(ids))?;
        Ok(agents.into_iter().filter_map(|agent| Some((agent.id?, agent))).collect())
    }
}

/// Writes commands; those whose agent is gone from the store are left out.
fn write_for(
    preparation: &mut Preparation,
    commands: &[Unwritten],
    agents: &HashMap<AgentId, Agent>,
    now: Timestamp,
) -> Result<(), Failure> {
    for one in commands {
        let Some(agent) = agents.get(&one.prepared.agent) else { continue };
        let command = Command::new(one.prepared.id, Arc::clone(&one.action), agent.clone(), now);
        let command = command.ok_or_else(|| Failure::Fatal(format!("'{}' lost its id", one.action.name)))?;
        preparation.add(command.reference(), &command.to_json())?;
    }
    Ok(())
}

/// Everything that needs no effect: the action, or what becomes of its file instead.
fn check(keyring: &Keyring, entry: &Entry, now: Timestamp) -> Result<Checked, Verdict> {
    let action = Action::parse(&entry.bytes).map_err(|error| {
        if !error.is_incomplete() {
            return Verdict::Reject(error.to_string());
        }
        if is_settling(entry.look.modified, now) {
            return Verdict::NotYet(time::after(entry.look.modified, limits::HALF_WRITTEN_GRACE));
        }
        Verdict::Reject(format!("{error} and did not grow for a minute; drop the whole file again"))
    })?;
    action.check_notes().map_err(|error| Verdict::Reject(error.to_string()))?;
    if action.expire_after <= now {
        let help = "give it a later end, and sign it again";
        let reason = format!("field 'expireafter': the action ran out at {}; {help}", action.expire_after);
        return Err(Verdict::Reject(reason));
    }
    // What is written of it later must be readable again: numbers may take more room than they did.
    let size_bytes = action.to_json().len() as u64;
    if size_bytes > limits::ACTION_SIZE_BYTES_MAX {
        let max = limits::ACTION_SIZE_BYTES_MAX;
        return Err(Verdict::Reject(format!("has {size_bytes} bytes when it is written out, the limit is {max}")));
    }
    let signers = verify(keyring, &action, now).map_err(Verdict::Reject)?;
    let target = Target::parse(&action.target).map_err(|e| Verdict::Reject(format!("field 'target': {e}")))?;
    if action.valid_from > now {
        return Err(Verdict::NotYet(action.valid_from));
    }
    Ok(Checked { action, signers, target })
}

/// Who signed. Here every signature must be good: one that is not was tampered with, or its owner is not in the
/// keyring, and the investigator should know before agents refuse the action one by one.
fn verify(keyring: &Keyring, action: &Action, now: Timestamp) -> Result<Vec<Investigator>, String> {
    let text = action.signed_text();
    let verify = |(index, signature): (usize, &String)| {
        let refused = |error: SignatureError| format!("pgpsignatures[{index}] {error}; {}", advice(&error));
        let signer = keyring.verify(&text, signature, now).map_err(refused)?;
        keyring
            .investigator(&signer.fingerprint)
            .cloned()
            .ok_or_else(|| format!("pgpsignatures[{index}]: {} is gone", signer.name))
    };
    action.signatures.iter().enumerate().map(verify).collect()
}

/// What the dropper can do about a signature that does not count.
fn advice(error: &SignatureError) -> &'static str {
    match error {
        SignatureError::UnknownKey(_) => "add the key to the scheduler's keyring, or take the signature out",
        SignatureError::Key { .. } => "have it signed with a key that counts",
        _ => "sign the action again",
    }
}

impl StageWorker for ActionNew {
    type Judged = Checked;

    fn name(&self) -> &'static str {
        "action-new"
    }

    fn source(&self) -> Stage {
        ACTION_NEW
    }

    fn size_bytes_max(&self) -> u64 {
        limits::ACTION_SIZE_BYTES_MAX
    }

    /// An action that was begun and has not moved yet is known by its id.
    fn runs_ahead(&self) -> bool {
        true
    }

    fn recover(&mut self, spool: &Spool, _now: Timestamp) -> Result<(), Failure> {
        // A list has an end, and there may be more.
        loop {
            let mut prepared: BTreeMap<ActionId, Vec<CommandRef>> = BTreeMap::new();
            for command in spool.prepared()? {
                prepared.entry(command.action).or_default().push(command);
            }
            if prepared.is_empty() {
                return Ok(());
            }
            for (id, commands) in prepared {
                if spool.has(ACTION_INFLIGHT, &id.into())? {
                    log::info!(action:% = id; "releasing the commands that were prepared before the restart");
                    spool.release(&commands, COMMAND_READY)?;
                } else {
                    spool.discard_prepared(&commands)?;
                }
            }
        }
    }

    fn judge(&mut self, now: Timestamp) -> impl Fn(&Entry) -> Result<Checked, Verdict> + Send + Sync + use<> {
        let keyring = Arc::clone(self.keyring.get());
        move |entry| check(&keyring, entry, now)
    }

    fn work(
        &mut self,
        spool: &Spool,
        batch: &[Entry],
        judged: Vec<Result<Checked, Verdict>>,
        now: Timestamp,
    ) -> Result<Work, Failure> {
        let (mut verdicts, started) = (vec![Verdict::Gone; batch.len()], Instant::now());
        let (mut accepted, mut commands, mut begun) = (Vec::new(), 0, std::mem::take(&mut self.begun_before));
        for (index, checked) in judged.into_iter().enumerate() {
            let Checked { action, signers, target } = match checked {
                Ok(checked) => checked,
                Err(verdict) => {
                    verdicts[index] = verdict;
                    continue;
                }
            };
            if commands > limits::FAN_OUT_COMMANDS_MAX || started.elapsed() > limits::SELECTING_TIME_MAX {
                // Memory is bounded by what is prepared at once, and slow targets do not keep the others from being begun;
                // the rest of the batch comes in the next pass.
                verdicts[index] = Verdict::NotYet(now);
                continue;
            }
            if action.id.is_some_and(|id| !begun.insert(id)) {
                // The same id twice: the next pass sees what became of the first.
                verdicts[index] = Verdict::NotYet(now);
                continue;
            }
            match self.select(spool, &action, &target, now) {
                Ok(agents) => {
                    commands += agents.len();
                    accepted.push(Accepted { index, action, signers, agents });
                }
                Err(Failure::Refused(reason)) => verdicts[index] = Verdict::Reject(reason),
                Err(failure) => return Err(failure),
            }
        }
        if !accepted.is_empty() {
            for index in self.adopt(spool, batch, &mut accepted, now)? {
                verdicts[index] = Verdict::NotYet(time::after(now, limits::UNROUTABLE_PAUSE_MAX));
            }
            self.begun_before = accepted.iter().filter_map(|one| one.action.id).collect();
            for (one, verdict) in accepted.iter().zip(self.begin(spool, &accepted, now)?) {
                verdicts[one.index] = verdict;
            }
        }
        Ok(Work { verdicts, ended: Vec::new() })
    }
}
