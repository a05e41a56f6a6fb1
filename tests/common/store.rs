//! What tests do with a store as action-new does.

use super::agents::now;
use mig::action::Action;
use mig::command::Command;
use mig::failure::Failure;
use mig::heartbeat::Agent;
use mig::id::AgentId;
use mig::investigator::Investigator;
use mig::store::{Begin, OverdueSearch, Store};
use mig::targets::Target;
use mig::time::Timestamp;
use std::sync::Arc;

/// The agents that a target selects.
pub fn select(store: &mut dyn Store, target: &str) -> Result<Vec<Agent>, Failure> {
    let ids = store.select_agents(&Target::parse(target).unwrap(), now())?;
    store.load_agents(&ids)
}

/// Begins an action for agents that the store knows; returns the commands that are to be sent.
pub fn begin(
    owner: &str,
    store: &mut dyn Store,
    action: &Action,
    signers: &[Investigator],
    agents: &[Agent],
) -> Result<Vec<Command>, Failure> {
    let agents: Vec<AgentId> = agents.iter().map(|agent| agent.id.unwrap()).collect();
    let begin = Begin { action, id: action.id.unwrap(), signers, agents: &agents };
    let prepared = store.begin_actions(owner, &[begin], now())?.remove(0)?;
    let agents = store.load_agents(&prepared.iter().map(|one| one.agent).collect::<Vec<_>>())?;
    assert_eq!(agents.len(), prepared.len(), "each command has its agent");
    let action = Arc::new(action.clone());
    let commands =
        prepared.iter().zip(agents).map(|(one, agent)| Command::new(one.id, Arc::clone(&action), agent, now()));
    Ok(commands.map(Option::unwrap).collect())
}

/// The first commands without a final status whose actions have expired before then, of all schedulers.
pub fn overdue(store: &mut dyn Store, before: Timestamp, count: usize) -> Vec<Command> {
    let owners = store.overdue_owners(before).unwrap();
    store.overdue_commands(&OverdueSearch { owners: &owners, before, after: None, count }).unwrap().0
}
