//! Agents that were upgraded: the old process sends heartbeats and takes no commands, until this ends it.
//!
//! An investigator ordered the upgrade, so that no setting of the scheduler is asked; the agent's access list decides. The
//! action reaches the new process. One that fails is repeated, ever more rarely.

use super::Periodic;
use crate::failure::Failure;
use crate::flow::duplicates::{Place, place};
use crate::heartbeat::Agent;
use crate::id::AgentId;
use crate::limits;
use crate::store::Duplicate;
use crate::time::{self, Timestamp};
use crate::worker::{Apply, apply_all};
use std::collections::HashMap;

/// One process: its registration and its start.
type Process = (Option<AgentId>, Timestamp);

/// The actions that this scheduler has signed. A restart forgets them: one more is harmless.
#[derive(Default)]
pub(super) struct Orders {
    /// Per process how many, and when the next one is due.
    signed: HashMap<Process, (u32, Timestamp)>,
    /// Where the next round goes on looking.
    after: Option<AgentId>,
}

impl Orders {
    fn is_due(&mut self, process: Process, now: Timestamp) -> bool {
        if self.signed.len() >= limits::UPGRADED_AGENTS_MAX {
            self.signed.retain(|_, (_, next)| *next > now);
        }
        match self.signed.get(&process) {
            Some((_, next)) => *next <= now,
            None => self.signed.len() < limits::UPGRADED_AGENTS_MAX,
        }
    }

    fn note(&mut self, process: Process, now: Timestamp) {
        let (count, next) = self.signed.entry(process).or_insert((0, now));
        let pause = limits::KILL_ACTION_VALIDITY.saturating_mul(1u32.checked_shl(*count).unwrap_or(u32::MAX));
        (*count, *next) = (*count + 1, time::after(now, pause.min(limits::KILL_ACTION_PAUSE_MAX)));
    }
}

impl Periodic {
    /// Ends the next ones that still run, where it is certain that the process and its successor are on one machine.
    pub(super) fn end_upgraded(&mut self, apply: Apply, now: Timestamp) -> Result<(), Failure> {
        let (alive_since, count) = (self.alive_since(now), limits::UPGRADED_AT_ONCE);
        let found = self.store.upgraded_agents(alive_since, self.orders.after, count)?;
        for Duplicate { older, newer } in &found {
            let process = (older.id, older.start_time);
            if place(older, newer) == Place::OneMachine && self.orders.is_due(process, now) {
                log::info!("periodic: {}", notice(older, newer));
                let step = self.kill_action("upgraded", older, now)?;
                apply_all(apply, vec![step])?;
                self.orders.note(process, now);
            }
        }
        self.orders.after = found.last().filter(|_| found.len() == count).and_then(|last| last.older.id);
        Ok(())
    }
}

fn notice(older: &Agent, newer: &Agent) -> String {
    let [from, to] =
        [older, newer].map(|agent| format!("process {} version {}", agent.pid, agent.version.escape_default()));
    format!("agent '{}' was upgraded: {from} still runs beside {to}; an action is signed that ends it", older.queueloc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_action_is_repeated_ever_more_rarely_and_at_least_once_a_day() {
        let (mut orders, process, mut now) = (Orders::default(), (AgentId::new(1), time::not_set()), time::now());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            assert!(orders.is_due(process, now));
            orders.note(process, now);
            let (_, next) = orders.signed[&process];
            assert!(!orders.is_due(process, time::before(next, Duration::from_secs(1))));
            pauses.push(time::until(now, next));
            now = next;
        }
        assert_eq!(pauses[..2], [limits::KILL_ACTION_VALIDITY, limits::KILL_ACTION_VALIDITY * 2]);
        assert_eq!(pauses[39], limits::KILL_ACTION_PAUSE_MAX);
        assert!(orders.is_due((AgentId::new(1), now), now), "another process");
    }

    #[test]
    fn processes_that_end_are_forgotten_and_no_more_are_kept_than_fit() {
        let (mut orders, now) = (Orders::default(), time::now());
        let process = |number: usize| (AgentId::new(number as u64 + 1), time::not_set());
        for number in 0..limits::UPGRADED_AGENTS_MAX {
            orders.note(process(number), now);
        }
        let new = process(limits::UPGRADED_AGENTS_MAX);
        assert!(!orders.is_due(new, now));
        let later = time::after(now, limits::KILL_ACTION_VALIDITY);
        assert!(orders.is_due(new, later) && orders.signed.is_empty());
    }
}
