//! What the PostgreSQL store promises beyond the contract of every store (`store_contract.rs`): outages, errors, permissions, plans and
//! scripts.

mod cut;
mod errors;
mod outages;
mod permissions;
mod plans;
mod scale;
mod scripts;

use crate::common::agents::{self, ago, now};
use crate::common::servers;
use crate::common::store::{self, select};
use mig::action::Action;
use mig::command::{Command, CommandStatus};
use mig::failure::Failure;
use mig::heartbeat::Agent;
use mig::id::ActionId;
use mig::store::Store;

fn agent(host: &str, pid: i64) -> Agent {
    agents::agent(host, pid, ago(1))
}

fn agents(prefix: &str, count: i64) -> Vec<Agent> {
    (0..count).map(|n| agent(&format!("{prefix}{n}"), n)).collect()
}

fn action(id: ActionId) -> Action {
    let mut action = Action::parse(include_bytes!("../../samples/action-signed-by-one.json")).unwrap();
    action.id = Some(id);
    action
}

fn begin(store: &mut dyn Store, action: &Action, agents: &[Agent]) -> Result<Vec<Command>, Failure> {
    store::begin("one", store, action, &[], agents)
}

fn answered(mut commands: Vec<Command>) -> Vec<Command> {
    commands.iter_mut().for_each(|command| command.finish(CommandStatus::Success, &[], now()));
    commands
}
