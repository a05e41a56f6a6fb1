//! What every store promises, each promise a test for each implementation. PostgreSQL's need `scripts/servers.sh run`.

use crate::common::agents::{agent, ago, now};
use crate::common::{servers, store};
use mig::action::{Action, Operation};
use mig::command::{Command, CommandStatus};
use mig::config::Secret;
use mig::failure::Failure;
use mig::heartbeat::{Agent, QueueLoc};
use mig::id::{ActionId, AgentId, CommandId, CommandRef};
use mig::investigator::{Fingerprint, Investigator};
use mig::limits::{DUPLICATES_OF_ONE_MAX, REGISTRATIONS_MAX, STORED_KEY_BYTES_MAX};
use mig::modules::ModuleResult;
use mig::store::postgres::PostgresStore;
use mig::store::sqlite::SqliteStore;
use mig::store::{Finished, KnownCommand, OverdueSearch, Registration, SchedulerKey, Store, StoredKey};
use mig::targets::Target;
use mig::time;
use serde_json::json;
use std::time::Duration;

/// Opens another connection to the same store.
type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// The scheduler that begins actions here.
const OWNER: &str = "one";

fn action(id: ActionId, name: &str) -> Action {
    let text = include_str!("../samples/action-signed-by-one.json");
    let mut action = Action::parse(text.as_bytes()).unwrap();
    action.id = Some(id);
    action.name = name.into();
    action
}

fn select(store: &mut dyn Store, target: &str) -> Vec<Agent> {
    store::select(store, target).unwrap()
}

fn find(store: &mut dyn Store, command: CommandRef) -> Option<KnownCommand> {
    store.find_commands(&[command]).unwrap().remove(0)
}

fn names(agents: &[Agent]) -> Vec<&str> {
    agents.iter().map(|agent| agent.name.as_str()).collect()
}

fn begin(store: &mut dyn Store, action: &Action, agents: &[Agent]) -> Result<Vec<Command>, Failure> {
    begin_as(OWNER, store, action, agents)
}

fn begin_as(owner: &str, store: &mut dyn Store, action: &Action, agents: &[Agent]) -> Result<Vec<Command>, Failure> {
    let signer = Investigator {
        name: "Bob\0 Kelso".into(),
        fingerprint: Fingerprint::parse(&"AB".repeat(20)).unwrap(),
        public_key: "key".into(),
    };
    store::begin(owner, store, action, &[signer], agents)
}

/// Has two agents that are targets, and one that is offline; returns the two.
fn present(store: &mut dyn Store) -> Vec<Agent> {
    let heard = [("online", 10), ("idle", 1000), ("offline", 5000)];
    store.register(&heard.map(|(name, seconds)| agent(name, 1, ago(seconds))), now()).unwrap();
    store.mark_absent(ago(500), ago(3000)).unwrap();
    let present = select(store, "name IN ('online', 'idle', 'offline')");
    assert_eq!(present.len(), 2);
    present
}

fn the_newest_heartbeat_wins(open: Open) {
    let store = &mut *open();
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

fn agents_are_loaded_in_the_order_asked_for(open: Open) {
    let store = &mut *open();
    store.register(&[agent("load-a", 1, ago(5)), agent("load-b", 1, ago(5))], now()).unwrap();
    let ids: Vec<AgentId> = select(store, "name LIKE 'load-%'").iter().map(|agent| agent.id.unwrap()).collect();
    let nobody = AgentId::new(7).unwrap();
    let loaded = store.load_agents(&[ids[1], nobody, ids[0], ids[1]]).unwrap();
    assert_eq!(names(&loaded), ["load-b", "load-a", "load-b"]);
    assert_eq!(loaded[0].id, Some(ids[1]));
    assert_eq!(store.load_agents(&[]).unwrap(), []);
}

fn a_clock_that_was_ahead_makes_no_heartbeat_the_newest(open: Open) {
    let store = &mut *open();
    let ahead = time::after(now(), Duration::from_secs(10 * 365 * 86400));
    store.register(&[agent("ahead", 1, ahead)], ahead).unwrap();
    store.register(&[agent("ahead", 2, ahead)], ahead).unwrap();
    let right = Agent { version: "2".into(), ..agent("ahead", 1, ago(5)) };
    assert_eq!(store.register(&[right], now()).unwrap(), [Registration::Known]);
    let found = select(store, "name = 'ahead'");
    assert_eq!((found.len(), found[0].version.as_str(), found[0].heartbeat_time), (1, "2", ago(5)));
}

fn only_present_agents_are_targets(open: Open) {
    let store = &mut *open();
    store
        .register(&[agent("online", 1, ago(10)), agent("idle", 1, ago(1000)), agent("offline", 1, ago(5000))], now())
        .unwrap();
    let counts = store.mark_absent(ago(500), ago(3000)).unwrap();
    assert_eq!((counts.became_idle, counts.became_offline), (1, 1));
    let again = store.mark_absent(ago(500), ago(3000)).unwrap();
    assert_eq!((again.became_idle, again.became_offline), (0, 0));
    let mut present = select(store, "name IN ('online', 'idle', 'offline')");
    present.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(names(&present), ["idle", "online"]);
    assert_eq!(names(&select(store, "status = 'idle'")), ["idle"]);
    store.register(&[agent("offline", 1, ago(1))], now()).unwrap();
    assert_eq!(names(&select(store, "name LIKE 'off%'")), ["offline"], "who is heard of is online again");
    store.record_statistics(now()).unwrap();
}

fn targets_see_json_and_times(open: Open) {
    let store = &mut *open();
    let heard = [("online", 10), ("offline", 1), ("off-duty", 8)];
    store.register(&heard.map(|(name, seconds)| agent(name, 1, ago(seconds))), now()).unwrap();
    assert_eq!(names(&select(store, "tags->>'host' = 'online'")), ["online"]);
    assert_eq!(names(&select(store, "heartbeattime > NOW() - INTERVAL '7 seconds' AND name ~ '^off'")), ["offline"]);
    let refused = Target::parse("(tags->>'host')::int = 1").map(|target| store.select_agents(&target, now()));
    assert!(matches!(refused, Ok(Err(Failure::Refuse(_)))), "a cast that fails is the target's fault: {refused:?}");
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
    let agents = present(store.as_mut());
    assert!(!store.has_commands(id).unwrap());
    let commands = begin(store.as_mut(), &first, &agents).unwrap();
    assert!(store.has_commands(id).unwrap());
    assert_eq!(commands.len(), 2);
    let again = begin(open().as_mut(), &first, &agents).unwrap();
    let ids = |commands: &[Command]| commands.iter().map(|command| command.reference()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&commands), "the same commands");
    let none = begin(store.as_mut(), &first, &[]).unwrap();
    assert_eq!(ids(&none), ids(&commands), "those of an interrupted try are still owed");
    let restarted = Agent { pid: 77, heartbeat_time: now(), ..agents[0].clone() };
    store.register(&[restarted], now()).unwrap();
    let restarted = select(store.as_mut(), &format!("name = '{}'", agents[0].name));
    assert_ne!(restarted[0].id, agents[0].id);
    let again = begin(store.as_mut(), &first, &restarted).unwrap();
    assert_eq!(ids(&again), ids(&commands), "an agent that restarted gets no second one");
    store.mark_sent(&ids(&commands)[..1]).unwrap();
    assert_eq!(begin(store.as_mut(), &first, &agents).unwrap().len(), 1, "what was sent is not made again");
    let other = action(id, "another one");
    assert!(begin(store.as_mut(), &other, &agents).unwrap_err().to_string().contains("belongs to another action"));
}

fn the_first_final_status_stays(open: Open) {
    let mut store = open();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let agents = present(store.as_mut());
    let mut commands = begin(store.as_mut(), &action(id, "finish"), &agents).unwrap();
    assert!(store.ended_actions(&[id], now()).unwrap().is_empty());
    commands[0].finish_unrun(CommandStatus::Expired, "no answer", now());
    let batch = store.finish_commands(&commands[..1], now()).unwrap();
    assert_eq!((batch.finished, batch.ended.len()), (vec![Finished::Now], 0));
    let mut late = commands[0].clone();
    late.finish(CommandStatus::Success, &[], now());
    let batch = store.finish_commands(&[late], now()).unwrap();
    assert_eq!(batch.finished, [Finished::Before(CommandStatus::Expired)]);
    let queueloc = commands[0].agent.queueloc.as_str().to_owned();
    let known = KnownCommand { status: CommandStatus::Expired, queueloc };
    assert_eq!(find(store.as_mut(), commands[0].reference()), Some(known));
    commands[1].finish(CommandStatus::Success, &[], now());
    let batch = store.finish_commands(&commands, now()).unwrap();
    assert_eq!(batch.finished, [Finished::Before(CommandStatus::Expired), Finished::Now]);
    assert_eq!(json!(batch.ended[0].counters), json!({"sent": 2, "done": 2, "expired": 1, "success": 1}));
    let again = open().finish_commands(&commands, time::after(now(), Duration::from_secs(60))).unwrap();
    assert_eq!(again.ended, batch.ended, "told again after a crash, with the same times");
    assert_eq!(store.ended_actions(&[id], now()).unwrap(), batch.ended);
}

/// An answer to command 77-78, which the store does not know.
fn lost_command() -> Command {
    let text = serde_json::to_string(&action(ActionId::new(77).unwrap(), "lost")).unwrap();
    let action = Action::parse(text.as_bytes()).unwrap();
    let command_id = CommandId::new(78).unwrap();
    let mut command = Command::new(command_id, action.into(), agent("gone", 5, ago(1)), now()).unwrap();
    command.finish(CommandStatus::Failed, &[], now());
    command
}

fn what_the_store_lost_comes_back_from_answers(open: Open) {
    let (store, command) = (&mut *open(), lost_command());
    assert!(find(store, command.reference()).is_none());
    let batch = store.finish_commands(std::slice::from_ref(&command), now()).unwrap();
    assert_eq!(batch.finished, [Finished::Now]);
    assert_eq!(batch.ended[0].id, command.action.id.unwrap());
    assert_eq!(find(store, command.reference()).unwrap().status, CommandStatus::Failed);
    assert!(select(store, "name = 'gone'").is_empty(), "an agent known from an answer only is no target");
}

fn several_commands_are_looked_up_at_once(open: Open) {
    let store = &mut *open();
    let lost = lost_command().reference();
    store.finish_commands(&[lost_command()], now()).unwrap();
    let of_another = CommandRef { action: ActionId::new(76).unwrap(), ..lost };
    let found = store.find_commands(&[of_another, lost, lost]).unwrap();
    assert!(found[0].is_none(), "the command is not of that action");
    assert_eq!(found[1].as_ref().unwrap().queueloc, "linux.gone.x1");
    assert_eq!(found[1], found[2]);
    assert!(store.find_commands(&[]).unwrap().is_empty());
}

fn an_action_is_given_back_as_it_was_signed(open: Open) {
    let store = &mut *open();
    let id = store.reserve_action_ids(1).unwrap()[0];
    assert!(store.find_action(id).unwrap().is_none());
    let mut odd = action(id, "odd <&> 'name' \u{2028} ü");
    odd.operations[0].parameters =
        json!({"\0": "a\0b", "large": 1e300, "small": 0.1, "odd": "a\0b", "text": "\u{fffd}\\u0000"});
    odd.description = json!({"author": "a\0b"}).as_object().unwrap().clone();
    let agents = present(store);
    begin(store, &odd, &agents).unwrap();
    begin(store, &odd, &agents).unwrap();
    let found = store.find_action(id).unwrap().unwrap();
    assert_eq!(found.signed_text(), odd.signed_text());
    assert_eq!((found.id, found.signatures), (Some(id), odd.signatures));
    for condition in
        ["operations->0->'parameters'->>'text' LIKE '%u0000%'", "operations->0->'parameters'->>'odd' LIKE 'a%b'"]
    {
        let target = format!("EXISTS (SELECT id FROM actions WHERE {condition})");
        assert!(!select(store, &target).is_empty(), "{condition}");
    }
}

fn results_come_back_and_spoil_no_target(open: Open) {
    let store = &mut *open();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let agents = present(store);
    let mut commands = begin(store, &action(id, "hostile results"), &agents).unwrap();
    for command in &mut commands {
        command.finish(CommandStatus::Success, &[], now());
    }
    let body = String::from_utf8(commands[0].to_json()).unwrap();
    let text = r#"[{"a":"\\u0000\u0000\ud800x\ude00 \ud83d\ude00","\u0000":"nul"}]"#;
    let hostile = body.replace("\"results\":[]", &format!("\"results\":{text}"));
    let hostile = Command::parse(hostile.as_bytes()).unwrap();
    assert_eq!(hostile.results.get(), text);
    let batch = store.finish_commands(&[hostile, commands[1].clone()], now()).unwrap();
    assert_eq!(batch.finished, [Finished::Now, Finished::Now]);
    for condition in ["results->0->>'a' LIKE '%x%'", "results->0->>'b' = 'x' OR results->0->>'a' IS NOT NULL"] {
        let target = format!("id IN (SELECT agentid FROM commands WHERE {condition})");
        assert_eq!(select(store, &target).len(), 1, "{target}");
    }
}

fn an_action_in_flight_is_its_schedulers(open: Open) {
    let mut store = open();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let claimed = action(id, "claimed");
    let agents = present(store.as_mut());
    let mut commands = begin_as("one", store.as_mut(), &claimed, &agents[..1]).unwrap();
    let refused = begin_as("two", open().as_mut(), &claimed, &agents).unwrap_err().to_string();
    assert!(refused.contains(&format!("action {id} is being scheduled by another scheduler;")), "{refused}");
    assert_eq!(begin_as("one", store.as_mut(), &claimed, &agents[..1]).unwrap().len(), 1);
    commands[0].finish(CommandStatus::Success, &[], now());
    assert_eq!(store.finish_commands(&commands, now()).unwrap().ended.len(), 1);
    assert_eq!(begin_as("two", store.as_mut(), &claimed, &agents).unwrap().len(), 1, "a completed one is anybody's");
    assert!(begin_as("one", store.as_mut(), &claimed, &agents).is_err(), "and then the other's");
}

fn overdue_commands_are_found_page_by_page_by_their_schedulers(open: Open) {
    let store = &mut *open();
    let agents = present(store);
    let (own, other) = (store.reserve_action_ids(2).unwrap()[0], store.reserve_action_ids(1).unwrap()[0]);
    let mut commands = begin_as("one", store, &action(own, "own"), &agents).unwrap();
    commands.extend(begin_as("two", store, &action(other, "other"), &agents).unwrap());
    store.mark_sent(&[commands[0].reference()]).unwrap();
    let expired = action(own, "own").expire_after;
    let (at_end, later) = (expired, time::after(expired, Duration::from_secs(1)));
    assert!(store.overdue_owners(at_end).unwrap().is_empty(), "none before its end");
    let mut owners = store.overdue_owners(later).unwrap();
    owners.sort();
    assert_eq!(owners, ["one", "two"]);
    let mut find = |owners: &[&str], before| {
        let owners: Vec<String> = owners.iter().map(|owner| owner.to_string()).collect();
        let mut search = OverdueSearch { owners: &owners, before, after: None, count: 1 };
        let mut found = Vec::new();
        loop {
            let (page, next) = store.overdue_commands(&search).unwrap();
            assert!(page.len() <= 1);
            found.extend(page.iter().map(|command| (command.reference(), command.status)));
            match next {
                Some(after) => search.after = Some(after),
                None => return found,
            }
        }
    };
    let status = |n: usize| if n == 0 { CommandStatus::Sent } else { CommandStatus::Prepared };
    let mut expected: Vec<_> = commands.iter().enumerate().map(|(n, one)| (one.reference(), status(n))).collect();
    expected.sort_by_key(|(reference, _)| *reference);
    let of = |action| expected.iter().filter(|(one, _)| one.action == action).copied().collect::<Vec<_>>();
    assert_eq!(find(&["one", "two"], at_end), []);
    assert_eq!((find(&["one", ""], later), find(&["two"], later)), (of(own), of(other)));
    assert_eq!((find(&["one", "two"], later), find(&[], later)), (expected, vec![]));
}

fn of_several_schedulers_one_begins_an_action(open: Open) {
    let id = open().reserve_action_ids(1).unwrap()[0];
    let contested = action(id, "contested");
    let agents = present(open().as_mut());
    let begun = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|n| {
                let mut store = open();
                let (contested, agents) = (&contested, &agents);
                scope.spawn(move || begin_as(&format!("scheduler {n}"), store.as_mut(), contested, agents).is_ok())
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).filter(|begun| *begun).count()
    });
    assert_eq!(begun, 1);
}

fn heartbeats_of_one_process_in_one_batch_count_in_order(open: Open) {
    let store = &mut *open();
    use Registration::{Known, New, Stale};
    let process = |pid, heard| agent("batch", pid, ago(heard));
    let batch = [process(1, 20), process(1, 10), process(1, 15), process(2, 30)];
    assert_eq!(store.register(&batch, now()).unwrap(), [New, Known, Stale, New]);
    assert_eq!(select(store, "name = 'batch'")[0].heartbeat_time, ago(10));
    let odd = Agent {
        version: "v\0".into(),
        tags: json!({"odd": "\0", "\0": 1}).as_object().unwrap().clone(),
        ..process(1, 5)
    };
    assert_eq!(store.register(&[odd, process(2, 6)], now()).unwrap(), [Known, Known]);
    assert!(select(store, "tags->>'odd' = 'x'").is_empty(), "a character that cannot be stored spoils nothing");
    assert!(store.register(&[], now()).unwrap().is_empty());
}

fn new_agents_that_two_take_in_at_once_are_there_once(open: Open) {
    let agents: Vec<Agent> = (0..200).map(|n| agent(&format!("race{n}"), 1, ago(1))).collect();
    let reversed: Vec<Agent> = agents.iter().rev().cloned().collect();
    let new = std::thread::scope(|scope| {
        let both = [&agents, &reversed].map(|batch| {
            let mut store = open();
            scope.spawn(move || store.register(batch, now()).unwrap())
        });
        let counts = both.map(|one| one.join().unwrap().into_iter().filter(|one| *one == Registration::New).count());
        counts.iter().sum::<usize>()
    });
    assert_eq!(new, 200, "each is new once");
    assert_eq!(select(open().as_mut(), "name LIKE 'race%'").len(), 200);
}

fn scheduler_key(n: u8) -> SchedulerKey {
    SchedulerKey {
        fingerprint: Fingerprint::parse(&format!("{n:02}").repeat(20)).unwrap(),
        public_key: format!("public {n}"),
        private_key: Secret::new(format!("private {n}")),
    }
}

fn all_schedulers_get_one_key(open: Open) {
    let key = scheduler_key;
    let keys = std::thread::scope(|scope| {
        let starts: Vec<_> = (1..5)
            .map(|n| {
                let mut store = open();
                scope.spawn(move || store.scheduler_key(Some(&key(n)), now()).unwrap().unwrap())
            })
            .collect();
        starts.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let first = &keys[0];
    assert!(keys.iter().all(|one| one.fingerprint == first.fingerprint && one.public_key == first.public_key));
    let again = open().scheduler_key(Some(&key(9)), now()).unwrap().unwrap();
    assert_eq!(again.fingerprint, first.fingerprint);
    assert_eq!(again.private_key.expose(), first.private_key.expose());
    assert_eq!(again.private_key.expose().replace("private", "public"), again.public_key);
}

/// The promise of `Store::investigator_keys`; `execute` runs SQL as the API does.
fn investigators_are_read_again_when_one_changes(open: Open, execute: &dyn Fn(&str)) {
    let store = &mut *open();
    let none = store.investigator_keys(None).unwrap().unwrap();
    assert_eq!(none.keys, []);
    store.scheduler_key(Some(&scheduler_key(1)), now()).unwrap();
    assert_eq!(store.investigator_keys(Some(&none.version)).unwrap(), None, "the schedulers' own is none of them");
    let agents = present(store);
    let id = store.reserve_action_ids(1).unwrap()[0];
    begin(store, &action(id, "signed"), &agents).unwrap();
    let signed = store.investigator_keys(Some(&none.version)).unwrap().unwrap();
    let (fingerprint, public_key) = ("AB".repeat(20), "key".to_owned());
    let name = signed.keys[0].name.clone();
    assert!(name.ends_with(" Kelso"), "{name}");
    let key = StoredKey { name, fingerprint, public_key, is_active: true };
    assert_eq!(signed.keys, std::slice::from_ref(&key));
    assert_eq!(store.investigator_keys(Some(&signed.version)).unwrap(), None);
    let mut version = signed.version;
    for (status, is_active) in [("disabled", false), ("active", true), ("disabled", false)] {
        execute(&format!("UPDATE investigators SET status = '{status}' WHERE privatekey IS NULL"));
        let changed = store.investigator_keys(Some(&version)).unwrap().expect("a change is seen");
        assert_eq!(changed.keys, [StoredKey { is_active, ..key.clone() }]);
        version = changed.version;
    }
    let doublings = (STORED_KEY_BYTES_MAX / "key".len()).ilog2() + 1;
    (0..doublings).for_each(|_| execute("UPDATE investigators SET publickey = publickey || publickey"));
    assert_eq!(store.investigator_keys(None).unwrap().unwrap().keys[0].public_key, "", "too large");
}

#[test]
fn investigators_in_sqlite_are_read_again_when_one_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    let execute = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    investigators_are_read_again_when_one_changes(&|| Box::new(SqliteStore::open(&path).unwrap()), &execute);
}

#[test]
fn investigators_in_postgres_are_read_again_when_one_changes() {
    let server = servers::shared("postgres");
    let config = servers::copied_database(&server);
    let execute = |sql: &str| drop(servers::psql(&server, &config.database, sql));
    investigators_are_read_again_when_one_changes(&|| Box::new(PostgresStore::open(&config).unwrap()), &execute);
}

fn process(host: &str, pid: i64, started: u64, heard: u64) -> Agent {
    Agent { start_time: ago(started), ..agent(host, pid, ago(heard)) }
}

/// How many registrations of a host the store has.
fn registrations(store: &mut dyn Store, host: &str, condition: &str) -> usize {
    store.register(&[agent("witness", 1, ago(1))], now()).unwrap();
    let has = |count: &usize| {
        let counted = format!("(SELECT COUNT(*) FROM agents a WHERE a.name = '{host}' AND {condition})");
        !select(store, &format!("name = 'witness' AND {counted} = {count}")).is_empty()
    };
    (0..=REGISTRATIONS_MAX + 10).find(has).unwrap()
}

fn processes_that_are_alive_at_once_are_duplicates_and_restarted_ones_are_not(open: Open) {
    let store = &mut *open();
    let batch = [
        process("triplets", 1, 900, 5),
        process("triplets", 2, 300, 20),
        process("triplets", 3, 600, 1),
        process("single", 1, 900, 5),
        process("restarted", 1, 900, 45),
        process("restarted", 2, 40, 35),
        process("restarted", 3, 30, 25),
        process("silent", 1, 900, 400),
        process("silent", 2, 500, 5),
        // Began while its clock was ahead by ten minutes.
        process("ahead", 1, 5, 10),
        process("ahead", 2, 20, 8),
    ];
    store.register(&batch, now()).unwrap();
    let pairs = |store: &mut dyn Store, count| -> Vec<(String, i64, i64)> {
        let found = store.duplicate_agents(ago(60), count).unwrap();
        let mut pairs: Vec<_> =
            found.into_iter().map(|pair| (pair.older.name, pair.older.pid, pair.newer.pid)).collect();
        pairs.sort();
        pairs
    };
    assert_eq!(pairs(store, 10), [("triplets".into(), 1, 3), ("triplets".into(), 3, 2)]);
    assert_eq!(pairs(store, 1).len(), 1);
    store.register(&[process("restarted", 1, 900, 20)], now()).unwrap();
    assert_eq!(pairs(store, 10)[0], ("restarted".into(), 1, 2), "it was not restarted after all");
    let many: Vec<Agent> = (10..40).map(|pid| process("many", pid, 900 - pid as u64, 5)).collect();
    store.register(&many, now()).unwrap();
    assert_eq!(pairs(store, 1000).len(), 3 + DUPLICATES_OF_ONE_MAX);
}

fn a_process_that_was_restarted_is_offline_at_once(open: Open) {
    let store = &mut *open();
    let batch =
        [process("two", 1, 900, 45), process("two", 2, 40, 35), process("both", 1, 900, 5), process("both", 2, 40, 5)];
    store.register(&batch, now()).unwrap();
    let counts = store.mark_absent(ago(500), ago(3000)).unwrap();
    assert_eq!((counts.became_offline, counts.online), (0, 3));
    assert_eq!(registrations(store, "two", "a.status = 'offline' AND a.pid = 1"), 1);
    assert_eq!(registrations(store, "both", "a.status = 'online'"), 2);
    store.register(&[process("two", 1, 900, 30)], now()).unwrap();
    assert_eq!(registrations(store, "two", "a.status = 'online'"), 2, "who is heard of is online again");
}

fn a_clock_that_was_ahead_makes_no_duplicate(open: Open) {
    let store = &mut *open();
    let later = time::after(now(), Duration::from_secs(3600));
    let ahead = Agent { start_time: ago(900), ..agent("ahead", 1, later) };
    store.register(&[ahead], later).unwrap();
    store.register(&[process("ahead", 2, 10, 5)], now()).unwrap();
    assert_eq!(store.duplicate_agents(ago(600), 10).unwrap(), []);
}

fn two_machines_with_one_process_id_are_told_from_a_restart(open: Open) {
    let store = &mut *open();
    let mut register = |agent: Agent| store.register(&[agent], now()).unwrap().remove(0);
    assert_eq!(register(process("clone", 1, 900, 50)), Registration::New);
    let newer = process("clone", 1, 300, 40);
    assert_eq!(register(newer.clone()), Registration::Known, "a restart");
    let Registration::Cloned(other) = register(process("clone", 1, 900, 30)) else { panic!("it is alive") };
    assert_eq!((other.start_time, other.heartbeat_time), (newer.start_time, newer.heartbeat_time));
    assert_eq!(register(process("clone", 1, 900, 29)), Registration::Known);
    assert_eq!(register(process("clone", 1, 10, 20)), Registration::Known, "the clock was ahead when it started");
    assert_eq!(register(process("clone", 1, 300, 10)), Registration::Known);
}

fn an_agent_that_is_restarted_for_weeks_has_few_registrations(open: Open) {
    let store = &mut *open();
    let restarts = REGISTRATIONS_MAX as u64 + 50;
    // The first heartbeat came while the clock was right, and the first one is asked something.
    store.register(&[process("loop", 1, 90_000, 89_000), process("loop", 2, 80_000, 79_000)], now()).unwrap();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let asked = select(store, "name = 'loop'");
    assert_eq!(asked[0].pid, 2);
    begin(store, &action(id, "asked"), &asked).unwrap();
    for batch in (3..restarts).collect::<Vec<u64>>().chunks(10) {
        let batch: Vec<Agent> =
            batch.iter().map(|n| process("loop", *n as i64, 70_000 - n * 10, 70_000 - n * 10 - 1)).collect();
        store.register(&batch, now()).unwrap();
    }
    assert_eq!(registrations(store, "loop", "TRUE"), REGISTRATIONS_MAX + 2, "the newest, the first, and the one asked");
    assert_eq!(registrations(store, "loop", "a.pid IN (1, 2, 3)"), 2);
    assert_eq!(store.remove_registrations(ago(90_000)).unwrap(), 0);
    assert_eq!(store.remove_registrations(ago(1_000)).unwrap(), REGISTRATIONS_MAX as u64 - 1);
    assert_eq!(registrations(store, "loop", "TRUE"), 3);
    assert_eq!(select(store, "name = 'loop'")[0].pid, restarts as i64 - 1);
    assert_eq!(store.remove_registrations(ago(0)).unwrap(), 0, "the first and the newest stay");
}

fn what_commands_ended_is_marked(open: Open) {
    let mut store = open();
    let process = |host: &str, pid, version: &str, started, heard| Agent {
        version: version.into(),
        ..process(host, pid, started, heard)
    };
    let batch = [
        process("up", 1, "1", 900, 50),
        process("kill", 1, "1", 900, 50),
        process("kill", 2, "2", 800, 40),
        process("not-up", 1, "1", 900, 50),
        process("not-up", 2, "2", 8, 5),
        process("not-kill", 1, "1", 900, 50),
        agent("witness", 1, ago(1)),
    ];
    store.register(&batch, now()).unwrap();
    // What has ended is no target itself; the condition of another agent sees it.
    let statuses = |store: &mut dyn Store| {
        ["upgraded", "destroyed"].map(|status| {
            let ended = format!(
                "SELECT a.name FROM agents a WHERE a.status = '{status}' AND a.pid = 1 AND a.name IN ('up', 'kill')"
            );
            select(store, &format!("name = 'witness' AND EXISTS ({ended})")).len()
        })
    };
    let to_version = json!({"linux/amd64": {"to_version": "2"}});
    let killed = json!({"pid": 1, "version": "1"});
    // The result of the operation counts, wherever it is, and not what became of the others.
    for (name, module, parameters, succeeds) in [
        ("up", "upgrade", &to_version, true),
        ("kill", "agentdestroy", &killed, true),
        ("not-up", "upgrade", &to_version, false),
        ("not-kill", "agentdestroy", &killed, false),
    ] {
        let mut ending = action(store.reserve_action_ids(1).unwrap()[0], name);
        let operation = |module: &str| Operation { module: module.into(), parameters: parameters.clone() };
        ending.operations = vec![operation("file"), operation(module), operation("file")];
        let agents = select(store.as_mut(), &format!("name = '{name}'"));
        let mut commands = begin(store.as_mut(), &ending, &agents).unwrap();
        assert_eq!(commands.len(), 1);
        let result = |success| ModuleResult { success, ..ModuleResult::default() };
        commands[0].finish(CommandStatus::Failed, &[!succeeds, succeeds, !succeeds].map(result), ago(10));
        store.finish_commands(&commands, now()).unwrap();
    }
    assert_eq!(statuses(store.as_mut()), [0, 0]);
    assert_eq!(store.mark_upgraded(now()).unwrap(), 1, "the killed one; the upgraded one is still heard of");
    assert_eq!(statuses(store.as_mut()), [0, 1]);
    assert_eq!(select(store.as_mut(), "name = 'kill'")[0].pid, 2, "the killer lives");
    store.register(&[process("up", 2, "2", 8, 5)], now()).unwrap();
    assert_eq!(store.mark_upgraded(now()).unwrap(), 1);
    assert_eq!(store.mark_upgraded(now()).unwrap(), 0, "done once");
    assert_eq!(statuses(store.as_mut()), [1, 1]);
    store.register(&[process("kill", 1, "1", 900, 3)], now()).unwrap();
    assert_eq!(statuses(store.as_mut()), [1, 1], "a late heartbeat does not bring it back");
    store.register(&[process("kill", 1, "1", 2, 1)], now()).unwrap();
    assert_eq!(store.mark_upgraded(now()).unwrap(), 0, "a process that started after the command is another one");
    assert_eq!(statuses(store.as_mut()), [1, 0]);
}

fn upgraded_processes_are_found_while_they_run_and_are_no_target(open: Open) {
    let mut store = open();
    let up =
        |pid, version: &str, started, heard| Agent { version: version.into(), ..process("up", pid, started, heard) };
    store.register(&[up(1, "1", 900, 50)], now()).unwrap();
    let mut upgrade = action(store.reserve_action_ids(1).unwrap()[0], "up");
    let parameters = json!({"linux/amd64": {"to_version": "2"}});
    upgrade.operations = vec![Operation { module: "upgrade".into(), parameters }];
    let agents = select(store.as_mut(), "name = 'up'");
    let mut commands = begin(store.as_mut(), &upgrade, &agents).unwrap();
    let upgraded = ModuleResult { success: true, ..ModuleResult::default() };
    commands[0].finish(CommandStatus::Success, &[upgraded], ago(40));
    store.finish_commands(&commands, now()).unwrap();
    let found = |store: &mut dyn Store, since, after| -> Vec<(i64, i64)> {
        let found = store.upgraded_agents(ago(since), after, 10).unwrap();
        found.iter().map(|pair| (pair.older.pid, pair.newer.pid)).collect()
    };
    store.register(&[up(2, "2", 30, 20)], now()).unwrap();
    assert_eq!(store.mark_upgraded(now()).unwrap(), 1);
    assert_eq!(found(store.as_mut(), 60, None), [], "the old one ended before the new one started");
    store.register(&[up(1, "1", 900, 10)], now()).unwrap();
    assert_eq!(found(store.as_mut(), 60, None), [(1, 2)]);
    assert_eq!(found(store.as_mut(), 5, None), [], "it is not heard of any more");
    assert_eq!(found(store.as_mut(), 60, agents[0].id), [], "behind it there is none");
    assert_eq!(select(store.as_mut(), "name = 'up'")[0].pid, 2, "also when the old one was heard of last");
    assert_eq!(store.duplicate_agents(ago(60), 10).unwrap(), []);
    // It took the run directory back, which is a start.
    store.register(&[up(1, "1", 8, 7)], now()).unwrap();
    assert_eq!(store.mark_upgraded(now()).unwrap(), 0);
    assert_eq!(found(store.as_mut(), 60, None), []);
    assert_eq!(select(store.as_mut(), "name = 'up'")[0].pid, 1);
}

fn queues_of_agents_that_are_gone_are_found(open: Open) {
    let store = &mut *open();
    let old = ago(40 * 86400);
    store.register(&[agent("left", 1, old), agent("left", 2, old), agent("owed", 1, old)], now()).unwrap();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let owed = select(store, "name = 'owed'");
    begin(store, &action(id, "owed"), &owed).unwrap();
    let gone = |store: &mut dyn Store| store.gone_queuelocs(ago(86400), None, 100).unwrap();
    assert!(gone(store).is_empty(), "they are online still");
    store.mark_absent(ago(500), ago(3000)).unwrap();
    let left = QueueLoc::parse("linux.left.x1").unwrap();
    assert_eq!(gone(store), [(left.clone(), old)]);
    assert_eq!(store.gone_queuelocs(ago(86400), None, 0).unwrap(), []);
    assert_eq!(store.gone_queuelocs(ago(86400), Some(&left), 100).unwrap(), [], "those behind it");
    store.register(&[agent("left", 2, ago(1))], now()).unwrap();
    assert!(gone(store).is_empty());
}

fn in_sqlite(promise: fn(Open)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    promise(&|| Box::new(SqliteStore::open(&path).unwrap()));
}

fn in_postgres(promise: fn(Open)) {
    let config = servers::copied_database(&servers::shared("postgres"));
    promise(&|| Box::new(PostgresStore::open(&config).unwrap()));
}

/// Makes a test of each promise for each store.
macro_rules! promises {
    ($($promise:ident)*) => {
        mod sqlite {
            $(
                #[test]
                fn $promise() {
                    super::in_sqlite(super::$promise);
                }
            )*
        }

        mod postgres {
            $(
                #[test]
                fn $promise() {
                    super::in_postgres(super::$promise);
                }
            )*
        }
    };
}

promises!(
    the_newest_heartbeat_wins
    agents_are_loaded_in_the_order_asked_for
    a_clock_that_was_ahead_makes_no_heartbeat_the_newest
    only_present_agents_are_targets
    targets_see_json_and_times
    ids_are_new_sorted_and_small
    beginning_twice_changes_nothing
    the_first_final_status_stays
    what_the_store_lost_comes_back_from_answers
    several_commands_are_looked_up_at_once
    an_action_is_given_back_as_it_was_signed
    results_come_back_and_spoil_no_target
    an_action_in_flight_is_its_schedulers
    of_several_schedulers_one_begins_an_action
    overdue_commands_are_found_page_by_page_by_their_schedulers
    heartbeats_of_one_process_in_one_batch_count_in_order
    new_agents_that_two_take_in_at_once_are_there_once
    all_schedulers_get_one_key
    upgraded_processes_are_found_while_they_run_and_are_no_target
    processes_that_are_alive_at_once_are_duplicates_and_restarted_ones_are_not
    a_process_that_was_restarted_is_offline_at_once
    a_clock_that_was_ahead_makes_no_duplicate
    two_machines_with_one_process_id_are_told_from_a_restart
    an_agent_that_is_restarted_for_weeks_has_few_registrations
    what_commands_ended_is_marked
    queues_of_agents_that_are_gone_are_found
);

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(include_str!("../samples/store-1.sql")).unwrap();
    for _ in 0..2 {
        let mut store = SqliteStore::open(&path).unwrap();
        let found = store.find_action(ActionId::new(5).unwrap()).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.operations[0].module.as_str()), ("kept", "upgrade"));
        assert!(begin_as("anybody", &mut store, &found, &[]).is_ok(), "nobody's until somebody begins it");
        assert_eq!(store.mark_upgraded(now()).unwrap(), 0);
    }
}

#[test]
fn the_files_of_sqlite_are_for_nobody_else_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("mig.db")).unwrap();
    let (id, agents) = (store.reserve_action_ids(1).unwrap()[0], present(&mut store));
    begin(&mut store, &action(id, "secret"), &agents).unwrap();
    let check = || {
        let entries = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap());
        let modes = entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().permissions().mode()));
        let modes: Vec<_> = modes.collect();
        assert!(modes.iter().all(|(_, mode)| mode & 0o077 == 0), "{modes:?}");
        modes.len()
    };
    assert!(check() > 1, "the log is a file beside the database");
    drop(store);
    assert!(check() > 0);
}

#[test]
fn a_target_that_takes_too_long_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("mig.db")).unwrap();
    let agents: Vec<Agent> = (0..400).map(|n| agent(&format!("h{n}"), n, ago(1))).collect();
    store.register(&agents, now()).unwrap();
    // Four tables without a condition between them: 400^4 rows to look at.
    let target = "EXISTS (SELECT a.id FROM agents a, agents b, agents c, agents d WHERE a.id + b.id + c.id + d.id < 0)";
    let error = store::select(&mut store, target).unwrap_err().to_string();
    assert!(error.contains("takes longer than"), "{error}");
    assert_eq!(select(&mut store, "all").len(), 400, "the next one is evaluated");
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
    assert_eq!(select(&mut store, "all").len(), 100);
}

#[test]
fn many_may_open_a_new_file_at_once() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mig.db");
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| SqliteStore::open(&file).unwrap().reserve_action_ids(1).unwrap())));
        });
    }
}
