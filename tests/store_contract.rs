//! What every store promises, run against each implementation.

use mig::action::Action;
use mig::command::{Command, CommandStatus};
use mig::heartbeat::{Agent, QueueLoc};
use mig::id::ActionId;
use mig::store::sqlite::SqliteStore;
use mig::store::{Begin, Finished, Registration, Store, StoreError};
use mig::target::Target;
use mig::time::{self, Timestamp};
use serde_json::json;
use std::time::Duration;

/// Opens another connection to the same store.
type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

fn now() -> Timestamp {
    "2026-11-22T12:00:00.123456Z".parse().unwrap()
}

fn ago(seconds: u64) -> Timestamp {
    time::before(now(), Duration::from_secs(seconds))
}

fn agent(host: &str, pid: i64, heard: Timestamp) -> Agent {
    Agent {
        id: None,
        name: host.into(),
        queueloc: QueueLoc::parse(&format!("linux.{host}.x1")).unwrap(),
        mode: "daemon".into(),
        version: "1".into(),
        pid,
        start_time: ago(9000),
        destruction_time: time::not_set(),
        heartbeat_time: heard,
        status: None,
        environment: json!({"os": "linux"}).as_object().unwrap().clone(),
        tags: json!({"host": host}).as_object().unwrap().clone(),
    }
}

fn action(id: ActionId, name: &str) -> Action {
    let text = include_str!("samples/action-signed-by-one.json");
    let mut action = Action::parse(text.as_bytes()).unwrap();
    action.id = Some(id);
    action.name = name.into();
    action
}

fn select(store: &mut dyn Store, target: &str) -> Vec<Agent> {
    store.select_agents(&Target::parse(target).unwrap(), now()).unwrap()
}

fn names(agents: &[Agent]) -> Vec<&str> {
    agents.iter().map(|agent| agent.name.as_str()).collect()
}

fn begin(store: &mut dyn Store, action: &Action, agents: &[Agent]) -> Result<Vec<Command>, StoreError> {
    let begin = Begin { action, id: action.id.unwrap(), signers: &[], agents };
    let prepared = store.begin_actions(&[begin], now()).unwrap().remove(0)?;
    Ok(prepared.into_iter().map(|one| Command::new(one.id, action.clone(), one.agent, now()).unwrap()).collect())
}

fn the_newest_heartbeat_wins(store: &mut dyn Store) {
    assert_eq!(store.register(&[agent("a", 1, ago(10))], now()).unwrap(), [Registration::New]);
    let newer = Agent { version: "2".into(), ..agent("a", 1, ago(5)) };
    assert_eq!(store.register(&[newer], now()).unwrap(), [Registration::Known]);
    assert_eq!(store.register(&[agent("a", 1, ago(8))], now()).unwrap(), [Registration::Stale]);
    let found = select(store, "name = 'a'");
    assert_eq!((found.len(), found[0].version.as_str(), found[0].heartbeat_time), (1, "2", ago(5)));
    assert!(found[0].id.is_some());
    let restarted = Agent { version: "3".into(), ..agent("a", 2, ago(1)) };
    store.register(&[restarted], now()).unwrap();
    let found = select(store, "name = 'a'");
    assert_eq!((found.len(), found[0].pid), (1, 2), "of two registrations of a queueloc the newest counts");
}

fn a_clock_that_was_ahead_makes_no_heartbeat_the_newest(store: &mut dyn Store) {
    let ahead = time::after(now(), Duration::from_secs(10 * 365 * 86400));
    store.register(&[agent("ahead", 1, ahead)], ahead).unwrap();
    store.register(&[agent("ahead", 2, ahead)], ahead).unwrap();
    let right = Agent { version: "2".into(), ..agent("ahead", 1, ago(5)) };
    assert_eq!(store.register(&[right], now()).unwrap(), [Registration::Known]);
    let found = select(store, "name = 'ahead'");
    assert_eq!((found.len(), found[0].version.as_str(), found[0].heartbeat_time), (1, "2", ago(5)));
}

fn only_present_agents_are_targets(store: &mut dyn Store) {
    store
        .register(&[agent("online", 1, ago(10)), agent("idle", 1, ago(1000)), agent("offline", 1, ago(5000))], now())
        .unwrap();
    let counts = store.mark_absent(ago(500), ago(3000)).unwrap();
    assert_eq!((counts.became_idle, counts.became_offline), (1, 1));
    let again = store.mark_absent(ago(500), ago(3000)).unwrap();
    assert_eq!((again.became_idle, again.became_offline), (0, 0));
    assert_eq!(names(&select(store, "name IN ('online', 'idle', 'offline')")), ["online", "idle"]);
    assert_eq!(names(&select(store, "status = 'idle'")), ["idle"]);
    store.register(&[agent("offline", 1, ago(1))], now()).unwrap();
    assert_eq!(names(&select(store, "name LIKE 'off%'")), ["offline"], "who is heard of is online again");
    store.record_statistics(now()).unwrap();
}

fn targets_see_json_and_times(store: &mut dyn Store) {
    assert_eq!(names(&select(store, "tags->>'host' = 'online'")), ["online"]);
    assert_eq!(names(&select(store, "heartbeattime > NOW() - INTERVAL '7 seconds' AND name ~ '^off'")), ["offline"]);
    let refused = Target::parse("(tags->>'host')::int = 1").map(|target| store.select_agents(&target, now()));
    assert!(matches!(refused, Ok(Err(StoreError::Refused(_)))), "a cast that fails is the target's fault: {refused:?}");
    assert!(store.explain_target(&Target::parse("name = 'x'").unwrap(), now()).contains("'x'"));
}

fn ids_are_new_sorted_and_small(open: Open) {
    let mut ids = open().reserve_action_ids(3).unwrap();
    ids.extend(open().reserve_action_ids(500).unwrap());
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(ids.iter().all(|id| id.get() < 1 << 53));
    assert_eq!(ids.len(), 503);
}

fn beginning_twice_changes_nothing(open: Open) {
    let mut store = open();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let first = action(id, "twice");
    let agents = select(store.as_mut(), "name IN ('online', 'idle')");
    assert!(!store.has_commands(id).unwrap());
    let commands = begin(store.as_mut(), &first, &agents).unwrap();
    assert!(store.has_commands(id).unwrap());
    assert_eq!(commands.len(), 2);
    let again = begin(open().as_mut(), &first, &agents).unwrap();
    let ids = |commands: &[Command]| commands.iter().map(|command| command.reference()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&commands), "the same commands");
    let none = begin(store.as_mut(), &first, &[]).unwrap();
    assert_eq!(ids(&none), ids(&commands), "those of an interrupted try are still owed");
    let restarted = Agent { id: Some(999_999), pid: 77, ..agents[0].clone() };
    assert_eq!(
        begin(store.as_mut(), &first, &[restarted]).unwrap().len(),
        2,
        "an agent that restarted gets no second one"
    );
    store.mark_sent(&ids(&commands)[..1]).unwrap();
    assert_eq!(begin(store.as_mut(), &first, &agents).unwrap().len(), 1, "what was sent is not made again");
    let other = action(id, "another one");
    assert!(begin(store.as_mut(), &other, &agents).unwrap_err().to_string().contains("belongs to another action"));
}

fn the_first_final_status_stays(open: Open) {
    let mut store = open();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let agents = select(store.as_mut(), "name IN ('online', 'idle')");
    let mut commands = begin(store.as_mut(), &action(id, "finish"), &agents).unwrap();
    assert!(store.ended_actions(&[id], now()).unwrap().is_empty());
    commands[0].finish_unrun(CommandStatus::Expired, "no answer", now());
    let batch = store.finish_commands(&commands[..1], now()).unwrap();
    assert_eq!((batch.finished, batch.ended.len()), (vec![Finished::Now], 0));
    let mut late = commands[0].clone();
    late.finish(CommandStatus::Success, &[], now());
    let batch = store.finish_commands(&[late], now()).unwrap();
    assert_eq!(batch.finished, [Finished::Before(CommandStatus::Expired)]);
    let (status, queueloc) = store.find_command(commands[0].reference()).unwrap().unwrap();
    assert_eq!((status, queueloc.as_str()), (CommandStatus::Expired, commands[0].agent.queueloc.as_str()));
    commands[1].finish(CommandStatus::Success, &[], now());
    let batch = store.finish_commands(&commands, now()).unwrap();
    assert_eq!(batch.finished, [Finished::Before(CommandStatus::Expired), Finished::Now]);
    assert_eq!(json!(batch.ended[0].counters), json!({"sent": 2, "done": 2, "expired": 1, "success": 1}));
    let again = open().finish_commands(&commands, time::after(now(), Duration::from_secs(60))).unwrap();
    assert_eq!(again.ended, batch.ended, "told again after a crash, with the same times");
    assert_eq!(store.ended_actions(&[id], now()).unwrap(), batch.ended);
}

fn what_the_store_lost_comes_back_from_answers(store: &mut dyn Store) {
    let id = ActionId::new(77).unwrap();
    let text = serde_json::to_string(&action(id, "lost")).unwrap();
    let action = Action::parse(text.as_bytes()).unwrap();
    let command_id = mig::id::CommandId::new(78).unwrap();
    let mut command = Command::new(command_id, action, agent("gone", 5, ago(1)), now()).unwrap();
    assert!(store.find_command(command.reference()).unwrap().is_none());
    command.finish(CommandStatus::Failed, &[], now());
    let batch = store.finish_commands(&[command.clone()], now()).unwrap();
    assert_eq!(batch.finished, [Finished::Now]);
    assert_eq!(batch.ended[0].id, id);
    assert_eq!(store.find_command(command.reference()).unwrap().unwrap().0, CommandStatus::Failed);
    assert!(select(store, "name = 'gone'").is_empty(), "an agent known from an answer only is no target");
}

fn contract(open: Open) {
    let mut store = open();
    the_newest_heartbeat_wins(store.as_mut());
    a_clock_that_was_ahead_makes_no_heartbeat_the_newest(store.as_mut());
    only_present_agents_are_targets(store.as_mut());
    targets_see_json_and_times(store.as_mut());
    ids_are_new_sorted_and_small(open);
    beginning_twice_changes_nothing(open);
    the_first_final_status_stays(open);
    what_the_store_lost_comes_back_from_answers(store.as_mut());
}

#[test]
fn sqlite_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    contract(&|| Box::new(SqliteStore::open(&path).unwrap()));
    use std::os::unix::fs::PermissionsExt;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "results are for nobody else to read");
    }
}

#[test]
fn a_target_that_takes_too_long_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("mig.db")).unwrap();
    let agents: Vec<Agent> = (0..400).map(|n| agent(&format!("h{n}"), n, ago(1))).collect();
    store.register(&agents, now()).unwrap();
    // Four tables without a condition between them: 400^4 rows to look at.
    let target = "EXISTS (SELECT a.id FROM agents a, agents b, agents c, agents d WHERE a.id + b.id + c.id + d.id < 0)";
    let error = store.select_agents(&Target::parse(target).unwrap(), now()).unwrap_err().to_string();
    assert!(error.contains("takes longer than"), "{error}");
    assert_eq!(
        store.select_agents(&Target::parse("all").unwrap(), now()).unwrap().len(),
        400,
        "the next one is evaluated"
    );
}

#[test]
fn several_workers_write_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let mut store = SqliteStore::open(path).unwrap();
                for n in 0..25 {
                    store.register(&[agent(&format!("w{worker}-{n}"), 1, ago(1))], now()).unwrap();
                }
            });
        }
    });
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.select_agents(&Target::parse("all").unwrap(), now()).unwrap().len(), 100);
}
