//! The state diagram: one file per worker, and nothing else. The first lines of each say what it drains, what it does, and
//! where files go.
//!
//! | worker | drains | file |
//! |---|---|---|
//! | action-new | action/new, action/pending | `flow/action_new.rs` |
//! | command-ready | command/ready | `flow/command_ready.rs` |
//! | results | the relay's results | `flow/results.rs` |
//! | command-returned | command/returned | `flow/command_returned.rs` |
//! | heartbeats | the relay's heartbeats | `flow/heartbeats.rs` |
//! | action-ended | events of actions that other schedulers ended | `flow/action_ended.rs` |
//! | collector | what is left over, every `freq` | `flow/collector.rs` |
//! | periodic | the store, every `freq` | `flow/periodic.rs` |
//!
//! They are handlers ([`crate::worker`]): each returns what shall become of a file or message, and the worker around it
//! moves and acknowledges. A handler has its effects before it returns, and each of them can be done twice.

pub mod action_ended;
pub mod action_new;
pub mod collector;
pub mod command_ready;
pub mod command_returned;
mod duplicates;
pub mod events;
pub mod heartbeats;
pub mod periodic;
pub mod results;

use crate::failure::Failure;
use crate::id::CommandRef;

/// Finds the id of this scheduler, which is the owner of its actions in the store.
pub type FindOwner = Box<dyn Fn() -> Result<String, Failure> + Send>;

/// Why a command is refused whose file has another name than its ids make: it would not be found again.
fn misnamed(command: CommandRef, done: &str) -> String {
    format!("is command {command}; give it that name, {command}.json, to have it {done}")
}
