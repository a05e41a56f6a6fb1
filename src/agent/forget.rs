//! forget drains done, so that what an agent keeps is bounded whatever actions it is sent:
//!
//! - a kept answer is deleted when its action has expired, for a command that comes again would be refused as expired;
//! - one to a command that never ran is deleted at once: when the command comes again, it is judged again;
//! - answers that are too many or too large together are deleted as well, and their commands remembered by name;
//! - what could not be read as a command is deleted after a month.

use super::forgotten::Forgotten;
use super::{commands_of, read_command};
use crate::command::CommandStatus;
use crate::failure::Failure;
use crate::id::CommandRef;
use crate::limits;
use crate::spool::stages::{AGENT_DONE, AGENT_INVALID};
use crate::spool::{Entry, FileName, Spool, Step};
use crate::time::Timestamp;
use crate::worker::stage::{FileHandler, Source, Verdict};
use crate::worker::{Apply, apply_all};
use std::collections::HashMap;

/// See the module docs.
pub struct Forget {
    forgotten: Forgotten,
    /// Sizes of the kept answers that were looked at; a restart looks at all of them.
    kept: HashMap<FileName, u64>,
}

/// An answer that the relay has.
pub struct Answered {
    command: CommandRef,
    has_run: bool,
    expires: Timestamp,
}

impl Forget {
    /// Notes in `forgotten` what it deletes.
    pub fn new(forgotten: Forgotten) -> Forget {
        Forget { forgotten, kept: HashMap::new() }
    }

    /// Keeps an answer, if there is room for it.
    fn keep(&mut self, entry: &Entry) -> bool {
        self.kept.remove(&entry.name);
        let size_bytes = self.kept.values().sum::<u64>() + entry.bytes.len() as u64;
        if self.kept.len() >= limits::KEPT_ANSWERS_MAX || size_bytes > limits::KEPT_ANSWERS_BYTES_MAX {
            return false;
        }
        self.kept.insert(entry.name.clone(), entry.bytes.len() as u64);
        true
    }
}

impl FileHandler for Forget {
    type Checked = Answered;

    fn name(&self) -> &'static str {
        "forget"
    }

    fn source(&self) -> Source {
        commands_of(AGENT_DONE, limits::AGENT_DELIVERIES_MAX)
    }

    fn recover(&mut self, spool: &Spool, apply: Apply, now: Timestamp) -> Result<(), Failure> {
        let old = spool.older_than(AGENT_INVALID, limits::UNREADABLE_KEPT, now)?;
        apply_all(apply, old.iter().map(|name| Step::clear(AGENT_INVALID, name)).collect())
    }

    fn check(&mut self, _now: Timestamp) -> impl Fn(&Entry) -> Result<Answered, Verdict> + Send + Sync + use<> {
        |entry| {
            let answer = read_command(entry)?;
            let has_run = !matches!(answer.status, CommandStatus::Cancelled | CommandStatus::Expired);
            Ok(Answered { command: answer.reference(), has_run, expires: answer.action.expire_after })
        }
    }

    fn handle(
        &mut self,
        _spool: &Spool,
        batch: Vec<(&Entry, Answered)>,
        now: Timestamp,
    ) -> Result<Vec<Verdict>, Failure> {
        let expired = batch.iter().filter(|(_, answer)| answer.has_run && answer.expires <= now);
        let latest = expired.map(|(_, answer)| answer.expires).max();
        latest.map_or(Ok(()), |latest| self.forgotten.extend(latest))?;
        let mut surplus = Vec::new();
        for (entry, answer) in &batch {
            if answer.has_run && answer.expires > now && !self.keep(entry) {
                surplus.push((answer.command, answer.expires));
            }
        }
        let remembered = self.forgotten.remember(&surplus, now)?;
        let remembered: Vec<CommandRef> = surplus[..remembered].iter().map(|(command, _)| *command).collect();
        let verdict = |(entry, answer): &(&Entry, Answered)| {
            if answer.has_run && answer.expires > now && !remembered.contains(&answer.command) {
                return Verdict::NotYet(answer.expires);
            }
            self.kept.remove(&entry.name);
            Verdict::done(vec![Step::clear(AGENT_DONE, &entry.name)])
        };
        Ok(batch.iter().map(verdict).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Refusal;
    use crate::command::Command;
    use crate::id::CommandId;
    use crate::spool::{Mover, stages};
    use crate::time;
    use crate::worker::Worker;
    use crate::worker::stage::StageWorker;
    use serde_json::json;
    use std::time::Duration;

    fn answer(id: usize, status: &str, expires: Timestamp) -> Command {
        let mut action: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/samples/action-signed-by-one.json")).unwrap();
        action["id"] = 7.into();
        action["expireafter"] = expires.to_string().into();
        let agent = json!({"name": "web", "queueloc": "linux.web.x1", "pid": 1, "version": "1"});
        let command = json!({"id": id, "action": action, "agent": agent, "status": status, "results": []});
        Command::parse(command.to_string().as_bytes()).unwrap()
    }

    struct Bench {
        _directory: tempfile::TempDir,
        mover: Mover,
        worker: StageWorker<Forget>,
        notes: Forgotten,
    }

    impl Bench {
        fn new() -> Bench {
            let directory = tempfile::tempdir().unwrap();
            stages::make(directory.path(), &stages::AGENT).unwrap();
            let mover = |owner: &str| Mover::open(directory.path(), &stages::AGENT, owner).unwrap();
            let (worker, notes) = (Forget::new(Forgotten::new(mover("forget").notes())), mover("run").notes());
            let worker = StageWorker::new(mover("forget"), worker);
            Bench { mover: mover("answer"), worker, notes: Forgotten::new(notes), _directory: directory }
        }

        fn put(&self, answers: impl Iterator<Item = Command>) {
            let put = |answer: Command| Step::put(AGENT_DONE, answer.reference().into(), answer.to_json());
            self.mover.apply_all(&answers.map(put).collect::<Vec<_>>()).unwrap();
        }

        fn kept(&mut self, now: Timestamp) -> usize {
            while self.worker.pass(now).unwrap().handled > 0 {}
            self.mover.spool().list(AGENT_DONE).unwrap().len()
        }

        fn refused(&self, id: usize, expires: Timestamp, now: Timestamp) -> Option<(CommandStatus, String)> {
            match self.notes.judge(&answer(id, "sent", expires), now).unwrap() {
                Ok(()) => None,
                Err(Refusal::Final(status, text)) => Some((status, text)),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn refused_commands_leave_nothing_whenever_their_actions_end() {
        let mut bench = Bench::new();
        let now = time::now();
        bench.put((1..50).map(|id| answer(id, "cancelled", time::never())));
        bench.put((50..60).map(|id| answer(id, "expired", now)));
        assert_eq!(bench.kept(now), 0);
        assert_eq!((bench.notes.ran().unwrap().len(), bench.notes.until().unwrap()), (0, Timestamp::MIN));
        assert_eq!(bench.refused(1, time::never(), now), None, "it is judged again");
    }

    #[test]
    fn what_ran_does_not_run_again_though_its_answer_is_not_kept() {
        let mut bench = Bench::new();
        let now = time::now();
        let day = time::after(now, Duration::from_secs(86400));
        let count = limits::KEPT_ANSWERS_MAX + 5;
        bench.put((1..=count).map(|id| answer(id, "success", if id % 2 == 0 { day } else { time::never() })));
        assert_eq!(bench.kept(now), limits::KEPT_ANSWERS_MAX);
        let ran = bench.notes.ran().unwrap();
        assert_eq!(ran.len(), 5);
        for (command, end) in &ran {
            let (status, text) = bench.refused(command.command.get() as usize, *end, now).unwrap();
            assert!(status == CommandStatus::Expired && text.contains("it ran before"), "{text}");
        }
        assert_eq!(bench.refused(5000, time::never(), now), None);
        // Whatever the clock says next.
        let later = time::after(day, Duration::from_secs(1));
        assert_eq!(bench.kept(later), limits::KEPT_ANSWERS_MAX / 2);
        for id in 1..=count {
            let (is_short, end) = (id % 2 == 0, if id % 2 == 0 { day } else { time::never() });
            let is_kept = bench.mover.spool().has(AGENT_DONE, &answer(id, "sent", end).reference().into()).unwrap();
            assert!(is_kept || bench.refused(id, end, now).is_some(), "{id} may run again");
            assert!(!is_short || !is_kept, "{id}");
        }
    }

    #[test]
    fn an_agent_that_can_remember_no_more_runs_no_more() {
        let mut bench = Bench::new();
        let now = time::now();
        let day = time::after(now, Duration::from_secs(86400));
        let one = answer(1, "sent", day).reference();
        let named = |id: usize| CommandRef { command: CommandId::new(id as u64).unwrap(), ..one };
        let commands: Vec<_> = (1..=limits::RAN_COMMANDS_MAX + 1).map(|id| (named(id), day)).collect();
        assert_eq!(bench.notes.remember(&commands, now).unwrap(), limits::RAN_COMMANDS_MAX);
        let (status, text) = bench.refused(50_000, time::never(), now).unwrap();
        assert!(status == CommandStatus::Cancelled && text.contains("remembers 20000 commands"), "{text}");
        assert_eq!(bench.notes.remember(&commands[limits::RAN_COMMANDS_MAX..], now).unwrap(), 0);
        let later = time::after(day, Duration::from_secs(1));
        assert_eq!(bench.refused(50_000, time::never(), later), None);
        bench.put([answer(60_000, "success", time::never())].into_iter());
        assert_eq!(bench.kept(later), 1);
    }

    #[test]
    fn what_cannot_be_read_goes_after_a_month() {
        let mut bench = Bench::new();
        let name = FileName::new("1-2.json").unwrap();
        bench.mover.apply_all(&[Step::put(AGENT_DONE, name, b"{".to_vec())]).unwrap();
        let now = time::now();
        assert_eq!(bench.kept(now), 0);
        let unreadable = |bench: &Bench| bench.mover.spool().list(AGENT_INVALID).unwrap().len();
        bench.worker.recover(now).unwrap();
        assert_eq!(unreadable(&bench), 1);
        bench.worker.recover(time::after(now, limits::UNREADABLE_KEPT * 2)).unwrap();
        assert_eq!(unreadable(&bench), 0);
        assert!(!bench.mover.spool().has(AGENT_INVALID, &FileName::new("1-2.json.reason").unwrap()).unwrap());
    }
}
