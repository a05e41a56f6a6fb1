//! What the PostgreSQL store promises beyond the contract of every store (`tests/store_contract.rs`): outages, errors,
//! permissions, plans and scripts. Run with `scripts/servers.sh run cargo test --release --test postgres`.

#[path = "../common/agents.rs"]
mod agents;
mod cut;
mod errors;
mod outages;
mod permissions;
mod plans;
#[path = "../common/proxy.rs"]
mod proxy;
mod scale;
mod scripts;
#[path = "../common/servers.rs"]
mod servers;
#[path = "../common/store.rs"]
mod store;

use agents::{ago, now};
use mig::action::Action;
use mig::command::{Command, CommandStatus};
use mig::failure::Failure;
use mig::heartbeat::Agent;
use mig::id::ActionId;
use mig::store::Store;
use std::path::Path;
use store::select;

/// A server for one test, which may end it.
struct OwnServer(tempfile::TempDir);

impl OwnServer {
    /// Starts one with more settings.
    fn start(settings: &str) -> OwnServer {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::Builder::new().prefix("mig-postgres").tempdir().unwrap();
        // PostgreSQL runs as another user when the test runs as root.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(directory.path().join("extra.conf"), settings).unwrap();
        servers::control("postgres", "start", directory.path());
        OwnServer(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn control(&self, command: &str) {
        servers::control("postgres", command, self.path());
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.control("kill");
    }
}

fn agent(host: &str, pid: i64) -> Agent {
    agents::agent(host, pid, ago(1))
}

fn agents(prefix: &str, count: i64) -> Vec<Agent> {
    (0..count).map(|n| agent(&format!("{prefix}{n}"), n)).collect()
}

fn action(id: ActionId) -> Action {
    let mut action = Action::parse(include_bytes!("../samples/action-signed-by-one.json")).unwrap();
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
