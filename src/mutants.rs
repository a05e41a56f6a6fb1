//! Planted bugs, so that the fault matrices can be seen to catch them (`tests/faults/mutants.rs`). They are layers around
//! the seams of the product: the system calls of the spool (`mutants/disk.rs`), the relay and handlers. Compiled in only
//! under the feature `mutants`, which refuses to be part of a release; the environment chooses one of them.

pub mod handler;
pub mod relay;

#[cfg(not(debug_assertions))]
compile_error!("the feature `mutants` plants bugs: it is for `cargo test --profile mutants` only");

/// The planted bugs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Files get their names before their content is on the disk.
    NoFileSync,
    /// Names are not brought to the disk.
    NoDirectorySync,
    /// Answers move to command/done before the store has them.
    MoveBeforeEffect,
    /// A message is acknowledged before its effect is on our disk.
    AckBeforeWrite,
    /// The same, of events of persistent modules only.
    AckEventsBeforeWrite,
    /// The agent deletes events before the relay keeps them.
    DeleteEventsBeforeSend,
    /// The agent claims a command after it ran it.
    RunBeforeClaim,
    /// Commands count as sent before the relay keeps them.
    NoWaitForConfirm,
    /// A second copy of a worker is not kept out.
    NoLock,
    /// The store has an action before the drop has its id.
    StoreBeforeAdoption,
}

impl Mutant {
    /// All of them, by the names that the environment knows them by.
    pub const ALL: [(&'static str, Mutant); 10] = [
        ("no sync of files", Mutant::NoFileSync),
        ("no sync of directories", Mutant::NoDirectorySync),
        ("move before the effect", Mutant::MoveBeforeEffect),
        ("ack before the write", Mutant::AckBeforeWrite),
        ("ack of events before the write", Mutant::AckEventsBeforeWrite),
        ("events deleted before they are sent", Mutant::DeleteEventsBeforeSend),
        ("run before the claim", Mutant::RunBeforeClaim),
        ("no wait for the confirm", Mutant::NoWaitForConfirm),
        ("no lock", Mutant::NoLock),
        ("store before the adoption", Mutant::StoreBeforeAdoption),
    ];

    /// Whether this one was chosen.
    pub fn is_on(self) -> bool {
        std::env::var("MIG_MUTANT").is_ok_and(|chosen| Self::ALL.contains(&(chosen.as_str(), self)))
    }
}
