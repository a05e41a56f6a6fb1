//! run drains received: a command that may run is claimed, runs, and its answer goes to answered; one that is refused is
//! answered at once; one that is not valid yet waits.
//!
//! The order of claim, operations and answer is in `agent/claim.rs`.

use super::claim::{Finished, Received, answered};
use super::execute::Executor;
use super::forgotten::Forgotten;
use super::room::Room;
use super::status::Status;
use super::{Refusal, Trusted, commands_of, read_command};
use crate::command::{Command, CommandStatus};
use crate::failure::Failure;
use crate::id::CommandRef;
use crate::limits;
use crate::spool::stages::{AGENT_ANSWERED, AGENT_DONE, AGENT_RECEIVED, AGENT_RUNNING};
use crate::spool::{Entry, FileName, Mover, Spool, Step};
use crate::time::{self, Timestamp};
use crate::wake::Stop;
use crate::worker::stage::{FileHandler, Source, Verdict};
use crate::worker::{Apply, apply_all};

/// See the module docs.
pub struct Run {
    /// For claims.
    mover: Mover,
    trusted: Trusted,
    executor: Executor,
    /// Notes what runs.
    status: Status,
    forgotten: Forgotten,
    /// For answers.
    room: Room,
    /// The command that ran last, until its answer is saved.
    unsaved: Option<Finished>,
    /// Paused when a command has installed another version, which takes over.
    stop: Stop,
}

impl Run {
    /// Runs what is `trusted`, until `stop` is asked.
    pub fn new(mover: Mover, trusted: Trusted, executor: Executor, status: Status, stop: Stop) -> Run {
        let (forgotten, room) = (Forgotten::new(mover.notes()), Room::new("run", "no further command runs"));
        Run { mover, trusted, executor, status, forgotten, room, unsaved: None, stop }
    }

    fn save(&mut self) -> Result<(), Failure> {
        let Some(finished) = &self.unsaved else { return Ok(()) };
        finished.save(&self.mover)?;
        if finished.has_upgraded() {
            self.stop.pause();
        }
        self.unsaved = None;
        Ok(())
    }

    fn handle_one(&mut self, entry: &Entry, mut command: Command, now: Timestamp) -> Result<Verdict, Failure> {
        let CommandRef { action, command: id } = command.reference();
        let trusted = self.trusted.judge(&command, now)?;
        match trusted.and(self.forgotten.judge(&command, now)?) {
            Ok(()) => {
                let Some(claimed) = Received::new(entry, command).claim(&self.mover)? else {
                    return Ok(Verdict::Gone);
                };
                self.unsaved = Some(claimed.run(&self.executor, &self.status, now));
                self.save()?;
                Ok(Verdict::done(Vec::new()))
            }
            Err(Refusal::NotBefore(time)) => {
                let is_early = time != command.action.valid_from;
                let clock =
                    if is_early { ": what was signed is from the future, or the clock here is behind" } else { "" };
                log::info!(action:% = action, command:% = id; "waits until {time}{clock}");
                Ok(Verdict::NotYet(time))
            }
            Err(Refusal::Final(status, error)) => {
                log::warn!(action:% = action, command:% = id; "{status}: {error}");
                self.status.command(command.reference(), status);
                command.finish_unrun(status, &error, now);
                Ok(Verdict::done(answered(&entry.name, &command, AGENT_RECEIVED)))
            }
        }
    }
}

fn is_answered(spool: &Spool, name: &FileName) -> Result<bool, Failure> {
    Ok(spool.has(AGENT_ANSWERED, name)? || spool.has(AGENT_DONE, name)?)
}

impl FileHandler for Run {
    type Checked = Command;

    fn name(&self) -> &'static str {
        "run"
    }

    /// One at a time: a crash interrupts one at most.
    fn source(&self) -> Source {
        commands_of(AGENT_RECEIVED, 1)
    }

    fn recover(&mut self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<(), Failure> {
        self.save()?;
        for name in spool.list(AGENT_RUNNING)? {
            // Cut short between writing the answer and removing the command.
            if is_answered(spool, &name)? {
                apply_all(apply, vec![Step::clear(AGENT_RUNNING, &name)])?;
                continue;
            }
            let entry = spool.read_if_readable(AGENT_RUNNING, &name, limits::COMMAND_FILE_SIZE_BYTES_MAX)?;
            let Some(mut command) = entry.and_then(|entry| Command::parse(&entry.bytes).ok()) else {
                log::error!("{AGENT_RUNNING}/{name} cannot be read as a command; it stays, move it away by hand");
                continue;
            };
            log::warn!("command {} was interrupted, it does not run again by itself", command.reference());
            command.finish_unrun(CommandStatus::Failed, "interrupted", now);
            apply_all(apply, answered(&name, &command, AGENT_RUNNING))?;
        }
        // Afterwards: a power cut may show a claimed command in received too.
        for name in spool.list(AGENT_RECEIVED)? {
            if is_answered(spool, &name)? {
                apply_all(apply, vec![Step::clear(AGENT_RECEIVED, &name)])?;
            }
        }
        Ok(())
    }

    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<Command, Verdict> + Send + Sync + use<> {
        read_command
    }

    fn handle(
        &mut self,
        spool: &Spool,
        batch: Vec<(&Entry, Command)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        // A command that is not begun is the next one's, or the next version's.
        if self.stop.is_asked() || !self.executor.has_time() || self.room.is_used_up(spool, AGENT_ANSWERED)? {
            let later = time::after(now, limits::AGENT_RETRY_PAUSE_MAX);
            return Ok(batch.iter().map(|_| Verdict::NotYet(later)).collect());
        }
        batch.into_iter().map(|(entry, command)| self.handle_one(entry, command, now)).collect()
    }
}
