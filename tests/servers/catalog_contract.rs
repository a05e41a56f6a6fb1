//! What the read side of every store promises, and its accounts; each promise a test for each implementation. PostgreSQL's are read
//! as the role of the API.

use crate::common::agents::{agent, ago, now};
use crate::common::{servers, store};
use mig::action::{Action, ActionStatus};
use mig::command::{Command, CommandStatus};
use mig::heartbeat::Agent;
use mig::id::{ActionId, CommandId, InvestigatorId};
use mig::investigator::{Fingerprint, Investigator};
use mig::modules::ModuleResult;
use mig::store::Store;
use mig::store::accounts::{Accounts, Added, InvestigatorStatus};
use mig::store::catalog::{Catalog, Found, FoundPage, Kind, Page, Search};
use mig::store::postgres::PostgresStore;
use mig::store::sqlite::SqliteStore;
use mig::targets::Target;
use mig::time;
use serde_json::json;
use std::time::Duration;

/// The read side and the accounts.
trait Reader: Catalog + Accounts {}
impl<T: Catalog + Accounts> Reader for T {}

/// A store as the scheduler has it, and as the API has it.
struct Both {
    writer: Box<dyn Store>,
    reader: Box<dyn Reader>,
}

fn in_sqlite(promise: fn(&mut Both)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    let writer = Box::new(SqliteStore::open(&path).unwrap());
    promise(&mut Both { writer, reader: Box::new(SqliteStore::open_for_api(&path).unwrap()) });
}

fn in_postgres(promise: fn(&mut Both)) {
    let server = servers::shared("postgres");
    let config = servers::copied_database(&server);
    let writer = Box::new(PostgresStore::open(&config).unwrap());
    let api = servers::reach_as(&server, &config.database, "migapi");
    promise(&mut Both { writer, reader: Box::new(PostgresStore::open(&api).unwrap()) });
}

fn signer(name: &str, digit: &str) -> Investigator {
    let fingerprint = Fingerprint::parse(&digit.repeat(40)).unwrap();
    Investigator { name: name.into(), fingerprint, public_key: format!("key of {name}") }
}

impl Both {
    fn register(&mut self, names: &[&str]) -> Vec<Agent> {
        let agents: Vec<Agent> = names.iter().map(|name| agent(name, 1, ago(10))).collect();
        self.writer.register(&agents, now()).unwrap();
        names.iter().map(|name| self.agent(name)).collect()
    }

    fn agent(&mut self, name: &str) -> Agent {
        store::select(self.writer.as_mut(), &format!("name = '{name}'")).unwrap().remove(0)
    }

    /// Begins an action for agents; returns its commands.
    fn begin(&mut self, name: &str, by: &[Investigator], agents: &[Agent]) -> Vec<Command> {
        let id = self.writer.reserve_action_ids(1).unwrap()[0];
        let mut action = Action::parse(include_bytes!("../samples/action-signed-by-one.json")).unwrap();
        action.id = Some(id);
        action.name = name.into();
        action.signatures = by.iter().map(|one| format!("signature of {}", one.name)).collect();
        store::begin("one", self.writer.as_mut(), &action, by, agents).unwrap()
    }

    fn finish(&mut self, mut command: Command, status: CommandStatus, found: bool) {
        let result =
            ModuleResult { foundanything: found, success: true, elements: json!({"a": "\u{0}"}), ..Default::default() };
        command.finish(status, &[result], now());
        self.writer.finish_commands(&[command], now()).unwrap();
    }

    fn search(&mut self, search: &Search) -> FoundPage {
        let page = self.reader.search(search, Page { count: 100, ..Page::default() }).unwrap();
        let total = self.reader.count(search, 1000).unwrap();
        assert_eq!((total.rows, total.is_minimum), (page.rows.len() as u64, false), "the count agrees: {search:?}");
        page
    }

    fn ids(&mut self, search: &Search) -> Vec<u64> {
        self.search(search).rows.iter().filter_map(Found::id).collect()
    }
}

fn all(kind: Kind) -> Search {
    Search::all(kind)
}

fn rows_come_newest_first_a_page_at_a_time(both: &mut Both) {
    let agents = both.register(&["a", "b", "c", "d", "e"]);
    let search = all(Kind::Agent);
    let mut expected: Vec<u64> = agents.iter().map(|agent| agent.id.unwrap().get()).collect();
    expected.reverse();
    assert_eq!(both.ids(&search), expected);
    let (mut found, mut page) = (Vec::new(), Page { count: 2, ..Page::default() });
    loop {
        let part = both.reader.search(&search, page).unwrap();
        found.extend(part.rows.iter().filter_map(Found::id));
        // Rows that arrive meanwhile are newer, and move no page.
        both.register(&[&format!("new{}", found.len())]);
        let Some(next) = part.next else { break };
        page.after_id = Some(next);
    }
    assert_eq!(found, expected);
    let behind = Page { after_id: Some(expected[0]), offset: 3, count: 9 };
    let rest = both.reader.search(&search, behind).unwrap();
    assert_eq!(rest.rows.iter().filter_map(Found::id).collect::<Vec<_>>(), expected[4..]);
    assert_eq!(rest.next, None);
    let total = both.reader.count(&search, 3).unwrap();
    assert_eq!((total.rows, total.is_minimum), (3, true));
}

fn each_filter_finds_what_it_names(both: &mut Both) {
    let agents = both.register(&["web1", "web2", "db1"]);
    let (bob, eve) = (signer("Bob Kelso", "A"), signer("Eve", "B"));
    let first = both.begin("first look", std::slice::from_ref(&bob), &agents[..2]);
    let second = both.begin("second_look", &[bob.clone(), eve.clone()], &agents[2..]);
    both.finish(first[0].clone(), CommandStatus::Success, true);
    both.finish(first[1].clone(), CommandStatus::Failed, false);
    let command = |command: &Command| command.id.get();
    let (one, two) = (first[0].reference().action.get(), second[0].reference().action.get());
    let agent = |n: usize| agents[n].id.unwrap().get();
    let text = |text: &str| Some(text.to_owned());
    let who = both.ids(&Search { investigator_name: text("eve"), ..all(Kind::Investigator) })[0];
    for (search, expected) in [
        (all(Kind::Action), vec![two, one]),
        (Search { action_id: Some(one), ..all(Kind::Action) }, vec![one]),
        (Search { action_name: text("%LOOK"), ..all(Kind::Action) }, vec![two, one]),
        (Search { action_name: text("second\\_look"), ..all(Kind::Action) }, vec![two]),
        (Search { action_name: text("first\\_look"), ..all(Kind::Action) }, vec![]),
        (Search { action_name: text("' OR 1=1 --"), ..all(Kind::Action) }, vec![]),
        (Search { command_id: Some(command(&second[0])), ..all(Kind::Action) }, vec![two]),
        (Search { agent_id: Some(agent(0)), ..all(Kind::Action) }, vec![one]),
        (Search { agent_name: text("db%"), ..all(Kind::Action) }, vec![two]),
        (Search { investigator_id: Some(who), ..all(Kind::Action) }, vec![two]),
        (Search { investigator_name: text("bob%"), ..all(Kind::Action) }, vec![two, one]),
        (Search { threat_family: text("TEST"), ..all(Kind::Action) }, vec![two, one]),
        (Search { threat_family: text("other"), ..all(Kind::Action) }, vec![]),
        (Search { status: text("inflight"), ..all(Kind::Action) }, vec![two]),
        (Search { status: text("completed"), ..all(Kind::Action) }, vec![one]),
        (Search { action_id: Some(one), ..all(Kind::Command) }, vec![command(&first[1]), command(&first[0])]),
        (Search { action_name: text("second%"), ..all(Kind::Command) }, vec![command(&second[0])]),
        (Search { command_id: Some(command(&first[0])), ..all(Kind::Command) }, vec![command(&first[0])]),
        (Search { agent_id: Some(agent(2)), ..all(Kind::Command) }, vec![command(&second[0])]),
        (Search { agent_name: text("web2"), ..all(Kind::Command) }, vec![command(&first[1])]),
        (Search { investigator_name: text("eve"), ..all(Kind::Command) }, vec![command(&second[0])]),
        (Search { status: text("fail%"), ..all(Kind::Command) }, vec![command(&first[1])]),
        (Search { found_anything: true, ..all(Kind::Command) }, vec![command(&first[0])]),
        (Search { action_id: Some(two), ..all(Kind::Agent) }, vec![agent(2)]),
        (Search { action_name: text("first%"), ..all(Kind::Agent) }, vec![agent(1), agent(0)]),
        (Search { command_id: Some(command(&first[1])), ..all(Kind::Agent) }, vec![agent(1)]),
        (Search { investigator_id: Some(who), ..all(Kind::Agent) }, vec![agent(2)]),
        (
            Search {
                action_id: Some(two),
                investigator_name: text("%"),
                agent_name: text("db1"),
                ..all(Kind::Investigator)
            },
            {
                let all = both.ids(&all(Kind::Investigator));
                assert_eq!(all.len(), 2);
                all
            },
        ),
        (Search { command_id: Some(command(&second[0])), status: text("active"), ..all(Kind::Investigator) }, {
            both.ids(&all(Kind::Investigator))
        }),
    ] {
        assert_eq!(both.ids(&search), expected, "{search:?}");
    }
}

fn the_window_is_of_what_was_there_in_it(both: &mut Both) {
    let agents = both.register(&["a"]);
    let commands = both.begin("look", &[], &agents);
    let later = |seconds| time::after(now(), Duration::from_secs(seconds));
    for kind in [Kind::Agent, Kind::Action, Kind::Command] {
        let found = |both: &mut Both, after, before| both.ids(&Search { after, before, ..all(kind) }).len();
        assert_eq!(found(both, ago(3600), None), 1, "{kind:?}");
        assert_eq!(found(both, ago(3600), Some(later(5))), 1, "{kind:?}");
        assert_eq!(found(both, ago(3600), Some(ago(3000))), 0, "{kind:?}");
    }
    // A command that has not ended is there now.
    let unfinished = Search { after: later(86400), ..all(Kind::Command) };
    assert_eq!(both.ids(&unfinished).len(), 1);
    both.finish(commands[0].clone(), CommandStatus::Success, false);
    assert_eq!(both.ids(&unfinished).len(), 0);
}

fn one_is_found_as_it_is(both: &mut Both) {
    let agents = both.register(&["a", "b"]);
    let bob = signer("Bob", "A");
    let commands = both.begin("look", &[bob], &agents);
    both.finish(commands[0].clone(), CommandStatus::Success, true);
    let id = commands[0].reference().action;
    let action = both.reader.action(id).unwrap().unwrap();
    assert_eq!((action.action.id, action.action.name.as_str()), (Some(id), "look"));
    assert_eq!(action.action.status, Some(ActionStatus::Inflight));
    assert_eq!(
        action.action.counters,
        [("done", 1), ("inflight", 1), ("sent", 2), ("success", 1)].map(|(name, n)| (name.to_owned(), n)).into()
    );
    assert_eq!(action.action.signed_text(), commands[0].action.signed_text());
    assert_eq!(action.investigators.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["Bob"]);
    let found = both.reader.commands(&[commands[0].id, CommandId::new(1).unwrap()], 1 << 20).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].reference(), found[0].status), (commands[0].reference(), CommandStatus::Success));
    assert!(found[0].results.get().contains("\\u0000"), "as the agent sent it: {}", found[0].results);
    assert_eq!(both.reader.command_ids(id, 1).unwrap(), [commands[0].id]);
    let order = [commands[1].id, commands[0].id];
    let both_ids: Vec<_> = both.reader.commands(&order, 1 << 20).unwrap().iter().map(|command| command.id).collect();
    assert_eq!(both_ids, order);
    assert_eq!(both.reader.commands(&order, 1).unwrap().len(), 1, "the second has no room");
    assert_eq!(found[0].agent.name, "a");
    assert_eq!(found[0].finish_time, now());
    let agent = both.reader.agent(agents[1].id.unwrap()).unwrap().unwrap();
    assert_eq!(agent, agents[1]);
    assert!(both.reader.action(ActionId::new(7).unwrap()).unwrap().is_none());
    assert!(both.reader.agent(mig::id::AgentId::new(7).unwrap()).unwrap().is_none());
}

fn progress_adds_up(both: &mut Both) {
    let agents = both.register(&["a", "b", "c", "d", "e"]);
    let commands = both.begin("look", &[], &agents);
    let id = commands[0].reference().action;
    both.writer.mark_sent(&commands[..4].iter().map(Command::reference).collect::<Vec<_>>()).unwrap();
    both.finish(commands[0].clone(), CommandStatus::Success, true);
    let heard = [("b", 10), ("c", 1000), ("d", 5000)].map(|(name, seconds)| agent(name, 2, ago(seconds)));
    both.writer.register(&heard, now()).unwrap();
    both.writer.mark_absent(ago(500), ago(3000)).unwrap();
    let progress = both.reader.progress(id).unwrap().unwrap();
    let waiting = progress.waiting;
    assert_eq!((progress.status, progress.counters["sent"], progress.counters["done"]), (ActionStatus::Inflight, 5, 1));
    assert_eq!(waiting.prepared, 1);
    assert_eq!(waiting.prepared + waiting.online + waiting.idle + waiting.offline, 4, "{waiting:?}");
    assert!(waiting.online >= 1, "{waiting:?}");
    assert_eq!(both.reader.ended_commands(id).unwrap(), [commands[0].id]);
    for command in &commands[1..] {
        both.finish(command.clone(), CommandStatus::Expired, false);
    }
    let progress = both.reader.progress(id).unwrap().unwrap();
    assert_eq!((progress.status, progress.counters["expired"]), (ActionStatus::Completed, 4));
    assert_eq!(both.reader.ended_commands(id).unwrap().len(), 5);
    assert!(both.reader.progress(ActionId::new(7).unwrap()).unwrap().is_none());
}

fn targets_select_as_for_the_scheduler(both: &mut Both) {
    let agents = both.register(&["a", "b", "c"]);
    let target = Target::parse("name IN ('a', 'c')").unwrap();
    let ids = both.reader.select(&target, now()).unwrap();
    assert_eq!(ids, [agents[2].id.unwrap(), agents[0].id.unwrap()]);
    assert_eq!(both.reader.agents(&ids).unwrap(), [agents[2].clone(), agents[0].clone()]);
    let failing = Target::parse("queueloc::int = 1").unwrap();
    assert!(matches!(both.reader.select(&failing, now()), Err(mig::failure::Failure::Refuse(_))));
}

fn the_dashboard_counts_the_fleet(both: &mut Both) {
    assert_eq!(both.reader.dashboard(now()).unwrap().online_agents, 0);
    both.register(&["a", "b"]);
    let dashboard = both.reader.dashboard(now()).unwrap();
    assert_eq!((dashboard.online_agents, dashboard.online_endpoints), (2, 2));
    assert_eq!(
        (dashboard.online_agents_by_version[0].version.as_str(), dashboard.online_agents_by_version[0].count),
        ("1", 2)
    );
}

fn investigators_are_added_once_and_disabled(both: &mut Both) {
    let version = both.reader.investigators_version().unwrap();
    let Added::New(id) = both.reader.add_investigator(&signer("Eve", "B"), now()).unwrap() else { panic!() };
    assert_eq!(both.reader.add_investigator(&signer("Other", "B"), now()).unwrap(), Added::Known(id));
    assert_ne!(both.reader.investigators_version().unwrap(), version);
    let version = both.reader.investigators_version().unwrap();
    let later = time::after(now(), Duration::from_secs(1));
    assert!(both.reader.set_status(id, InvestigatorStatus::Disabled, later).unwrap());
    assert_ne!(both.reader.investigators_version().unwrap(), version);
    let found = both.reader.investigator(id).unwrap().unwrap();
    assert_eq!(
        (found.name.as_str(), found.public_key.as_str(), found.status),
        ("Eve", "key of Eve", InvestigatorStatus::Disabled)
    );
    assert_eq!((found.created, found.modified), (now(), later));
    assert_eq!(both.reader.investigators().unwrap(), [found]);
    assert!(!both.reader.set_status(InvestigatorId::new(7).unwrap(), InvestigatorStatus::Active, now()).unwrap());
}

fn tokens_are_used_once_and_sessions_end(both: &mut Both) {
    let minute = |n: u64| time::after(now(), Duration::from_secs(60 * n));
    assert!(both.reader.use_once(&[1; 32], minute(10), now()).unwrap());
    assert!(!both.reader.use_once(&[1; 32], minute(10), minute(9)).unwrap());
    assert!(both.reader.use_once(&[1; 32], minute(30), minute(11)).unwrap(), "it has expired, and its time is checked");
    let Added::New(id) = both.reader.add_investigator(&signer("Eve", "B"), now()).unwrap() else { panic!() };
    both.reader.begin_session(&[2; 32], id, minute(10), now()).unwrap();
    assert_eq!(both.reader.find_session(&[2; 32], minute(9)).unwrap(), Some(id));
    assert_eq!(both.reader.find_session(&[2; 32], minute(11)).unwrap(), None);
    assert_eq!(both.reader.find_session(&[1; 32], now()).unwrap(), None, "that is no session");
    both.reader.set_status(id, InvestigatorStatus::Disabled, now()).unwrap();
    both.reader.set_status(id, InvestigatorStatus::Active, now()).unwrap();
    assert_eq!(
        both.reader.find_session(&[2; 32], minute(1)).unwrap(),
        None,
        "it ended when its investigator was disabled"
    );
    both.reader.begin_session(&[3; 32], id, minute(10), now()).unwrap();
    both.reader.end_session(&[3; 32]).unwrap();
    assert_eq!(both.reader.find_session(&[3; 32], minute(1)).unwrap(), None);
}

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

promises! {
    rows_come_newest_first_a_page_at_a_time
    each_filter_finds_what_it_names
    the_window_is_of_what_was_there_in_it
    one_is_found_as_it_is
    progress_adds_up
    targets_select_as_for_the_scheduler
    the_dashboard_counts_the_fleet
    investigators_are_added_once_and_disabled
    tokens_are_used_once_and_sessions_end
}

#[test]
fn the_api_cannot_write_actions_and_commands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mig.db");
    let writer = Box::new(SqliteStore::open(&path).unwrap());
    let mut both = Both { writer, reader: Box::new(SqliteStore::open_for_api(&path).unwrap()) };
    let agents = both.register(&["a"]);
    let commands = both.begin("look", &[], &agents);
    let mut api = SqliteStore::open_for_api(&path).unwrap();
    let refused = api.finish_commands(&commands, now()).unwrap_err().to_string();
    assert!(refused.contains("not authorized"), "{refused}");
    assert!(api.mark_sent(&[commands[0].reference()]).is_err());
    assert!(api.register(&[agent("b", 1, ago(1))], now()).is_err());
    assert!(api.reserve_action_ids(1).is_ok());
}
