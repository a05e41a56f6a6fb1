//! How the server runs the store's statements on large tables. The plans are those of the very statements that the store
//! sends: `auto_explain` writes them to the server's log.

use super::{action, agent, ago, begin, now, servers};
use crate::common::servers::Own;
use crate::common::store;
use mig::command::{Command, CommandStatus};
use mig::heartbeat::Agent;
use mig::id::{ActionId, AgentId, CommandId, CommandRef};
use mig::limits::BATCH_ENTRIES_MAX;
use mig::store::postgres::PostgresStore;
use mig::store::{Finished, Store};
use mig::time::{self, Timestamp};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A prepared statement gets its general plan after five uses.
const USES: usize = 8;
const AGENTS: i64 = 100_000;

/// Tables as they are after a year: 100,000 agents, 1,000 actions of 1,000 commands each, ten of them in flight.
const FILL: &str = "
    SET synchronous_commit = off;
    INSERT INTO agents SELECT n, 'host' || n, 'linux.host' || n || '.x1', 'daemon', '1', n, now() - interval '9000 s',
        '9998-01-11', timestamptz '2026-11-22T12:00:00Z' - (n % 200) * interval '1 s',
        CASE WHEN n % 20 = 0 THEN 'offline' ELSE 'online' END,
        json_build_object('os', 'linux', 'ident', 'Debian ' || n), '{}' FROM generate_series(1, 100000) AS n;
    INSERT INTO actions SELECT n, 'action ' || n, 'all', '{}', '{}', '[{\"module\":\"file\",\"parameters\":{}}]', NULL,
        timestamptz '2026-11-01', timestamptz '2026-11-22' + n * interval '1 minute', now(), now(), now(),
        CASE WHEN n > 990 THEN 'inflight' ELSE 'completed' END, 2, '[]', 'one', n % 100 = 0
        FROM generate_series(1, 1000) AS n;
    INSERT INTO commands SELECT 10000000 + n, 1 + (n - 1) / 1000, 1 + (n * 7) % 100000, 'linux.host' || 1 + (n * 7) % 100000
        || '.x1', CASE WHEN n > 990000 AND n % 2 = 0 THEN 'sent' ELSE 'success' END, '[{\"foundanything\":true}]', NULL,
        timestamptz '2026-01-01' + n * interval '25 s', now() FROM generate_series(1, 1000000) AS n;
    ANALYZE;";

struct Watched {
    server: Own,
    database: String,
    store: PostgresStore,
}

impl Watched {
    fn start() -> Watched {
        let server = Own::postgres("fsync = off\nmax_wal_size = 4GB\nautovacuum = off\n");
        let config = servers::database(server.path());
        let database = config.database.clone();
        servers::psql(server.path(), &database, FILL);
        servers::psql(server.path(), &database, "VACUUM ANALYZE");
        let settings = [
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_timing = off",
        ];
        for setting in settings {
            servers::psql(server.path(), "postgres", &format!("ALTER DATABASE {database} SET {setting}"));
        }
        Watched { store: PostgresStore::open(&config).unwrap(), server, database }
    }

    fn log(&self) -> PathBuf {
        self.server.path().join("log")
    }

    /// How the server did what `work` asked of it.
    fn plans(&mut self, work: impl FnOnce(&mut PostgresStore)) -> String {
        let before = std::fs::read_to_string(self.log()).unwrap().len();
        work(&mut self.store);
        let plans = std::fs::read_to_string(self.log()).unwrap().split_off(before);
        assert!(plans.contains("Query Text: "), "nothing was explained");
        plans
    }

    /// The large tables that `work` made the server read from one end to the other.
    fn scanned(&mut self, work: impl FnOnce(&mut PostgresStore)) -> Vec<String> {
        scanned(&self.plans(work))
    }

    /// Nothing large is read from end to end, and nothing is compared with everything else, neither with the first plans
    /// nor with the general one.
    fn served_by_indexes(&mut self, what: &str, work: impl Fn(&mut PostgresStore, usize)) {
        let plans = self.plans(|store| (0..USES).for_each(|n| work(store, n)));
        let scanned = scanned(&plans);
        assert!(scanned.is_empty(), "{what} reads all of {scanned:?}");
        let compared = compared_in_vain(&plans);
        assert!(compared <= 10 * BATCH_ENTRIES_MAX as u64, "{what} compares {compared} pairs of rows in vain");
    }
}

fn scanned(plans: &str) -> Vec<String> {
    let is_read = |table: &&str| {
        [format!("Seq Scan on {table}"), format!("Seq Scan on public.{table}")].iter().any(|scan| plans.contains(scan))
    };
    ["agents", "commands"].iter().filter(|table| is_read(table)).map(|table| (*table).to_owned()).collect()
}

/// The most pairs of rows that one join looked at and that did not belong together.
fn compared_in_vain(plans: &str) -> u64 {
    let removed = plans.lines().filter_map(|line| line.trim().strip_prefix("Rows Removed by Join Filter: "));
    removed.map(|count| count.parse().unwrap()).max().unwrap_or(0)
}

fn references(first: u64) -> Vec<CommandRef> {
    // The action of command n is 1 + (n - 1) / 1000.
    let reference = |n: u64| CommandRef {
        action: ActionId::new(1 + (n - 1) / 1000).unwrap(),
        command: CommandId::new(10_000_000 + n).unwrap(),
    };
    (first..first + BATCH_ENTRIES_MAX as u64).map(reference).collect()
}

fn heartbeats(first: i64) -> Vec<Agent> {
    (first..first + 500).map(|n| Agent { heartbeat_time: now(), ..agent(&format!("host{n}"), n) }).collect()
}

fn answers(first: u64) -> Vec<Command> {
    let answer = |reference: CommandRef| {
        let mut command =
            Command::new(reference.command, action(reference.action).into(), agent("host1", 1), now()).unwrap();
        command.finish(CommandStatus::Success, &[], now());
        command
    };
    references(first).into_iter().map(answer).collect()
}

fn in_hours(hours: u64) -> Timestamp {
    time::after(now(), Duration::from_secs(hours * 3600))
}

#[test]
fn frequent_statements_are_served_by_indexes() {
    let mut watched = Watched::start();
    watched.served_by_indexes("register, known", |store, n| {
        store.register(&heartbeats(1 + 500 * n as i64), in_hours(1)).unwrap();
    });
    watched.served_by_indexes("register, new", |store, n| {
        store.register(&heartbeats(AGENTS + 1 + 500 * n as i64), in_hours(1)).unwrap();
    });
    watched.served_by_indexes("begin", |store, n| {
        let id = store.reserve_action_ids(10).unwrap()[n % 10];
        let mut targets = heartbeats(1);
        targets.iter_mut().for_each(|agent| agent.id = AgentId::new(agent.pid as u64));
        let begun = begin(store, &action(id), &targets).unwrap();
        assert_eq!(begun.len(), 500);
        // Those of an interrupted try, with agents that are not selected any more.
        assert_eq!(begin(store, &action(id), &[]).unwrap().len(), 500);
        store.mark_sent(&begun.iter().map(Command::reference).collect::<Vec<_>>()).unwrap();
    });
    watched.served_by_indexes("overdue", |store, _| {
        assert_eq!(store::overdue(store, in_hours(1000), BATCH_ENTRIES_MAX).len(), BATCH_ENTRIES_MAX);
    });
    watched.served_by_indexes("finish", |store, n| {
        let batch = store.finish_commands(&answers(990_001 + (BATCH_ENTRIES_MAX * n) as u64), now()).unwrap();
        assert_eq!(batch.finished.iter().filter(|one| **one == Finished::Now).count(), BATCH_ENTRIES_MAX / 2);
    });
    watched.served_by_indexes("restore", |store, n| {
        let command = |m: u64| {
            let id = CommandId::new(20_000_000 + 100 * n as u64 + m).unwrap();
            let new = agent(&format!("host{}", 50_000 + 100 * n as u64 + m), 1);
            Command::new(id, action(ActionId::new(5_000_000 + n as u64).unwrap()).into(), new, now()).unwrap()
        };
        store.restore_commands(&(0..100).map(command).collect::<Vec<_>>(), now()).unwrap();
    });
    watched.served_by_indexes("look-ups", |store, n| {
        assert!(store.find_commands(&references(1 + 1000 * n as u64)).unwrap().iter().all(Option::is_some));
        store.find_action(ActionId::new(5).unwrap()).unwrap().unwrap();
        assert!(store.has_commands(ActionId::new(7).unwrap()).unwrap());
    });
    let plans = watched.plans(|store| assert!(store.has_commands(ActionId::new(7).unwrap()).unwrap()));
    assert!(plans.contains("using commands_actionid_queueloc_key"), "{plans}");
    watched.served_by_indexes("ended", |store, n| {
        let actions: Vec<ActionId> = (1..100).map(|m| ActionId::new(100 * n as u64 + m).unwrap()).collect();
        store.ended_actions(&actions, now()).unwrap();
    });
}

#[test]
fn lists_for_the_api_are_served_by_indexes() {
    let mut watched = Watched::start();
    let (path, database) = (watched.server.path().to_owned(), watched.database.clone());
    for condition in [
        "commands WHERE status = 'sent' ORDER BY starttime DESC LIMIT 100",
        "commands WHERE queueloc = 'linux.host5.x1' ORDER BY starttime DESC LIMIT 100",
        "commands WHERE starttime > '2026-10-10' ORDER BY starttime LIMIT 100",
        "commands WHERE actionid = 5 AND status = 'success' LIMIT 100",
        "commands WHERE agentid = 8 LIMIT 100",
        "commands WHERE id = 10000005",
        "agents WHERE queueloc = 'linux.host5.x1'",
        "agents WHERE status = 'offline' ORDER BY starttime LIMIT 100",
        "agents WHERE starttime > '2030-01-01' LIMIT 100",
        "agents WHERE id = 5",
    ] {
        let sql = format!("SELECT * FROM {condition}");
        let scanned = watched.scanned(|_| drop(servers::psql(&path, &database, &sql)));
        assert!(scanned.is_empty(), "{sql} reads all of {scanned:?}");
    }
    // The check sees what it looks for: what must read every agent does, and so does what has lost its index.
    let absent = watched.scanned(|store| {
        store.mark_absent(ago(86400), ago(86400 * 2)).unwrap();
    });
    assert_eq!(absent, ["agents"]);
    let sql = "ALTER TABLE commands DROP CONSTRAINT commands_actionid_queueloc_key;
        DROP INDEX commands_action, commands_queueloc;
        ALTER TABLE commands DROP CONSTRAINT commands_agentid_actionid_key";
    servers::psql(&path, &database, sql);
    let unserved = watched.scanned(|store| {
        store.has_commands(ActionId::new(999_999).unwrap()).unwrap();
    });
    assert_eq!(unserved, ["commands"]);
}

#[test]
fn heartbeats_of_known_agents_touch_no_index() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&heartbeats(1), in_hours(1)).unwrap();
    for _ in 0..10 {
        store.register(&heartbeats(1), in_hours(1)).unwrap();
    }
    drop(store);
    // Statistics of a session reach the table when the session has been quiet for a moment or ends.
    let sql = "SELECT n_tup_hot_upd * 100 / greatest(n_tup_upd, 1) FROM pg_stat_user_tables WHERE relname = 'agents' AND n_tup_upd >= 5000";
    let (started, mut found) = (Instant::now(), None);
    while found.is_none() && started.elapsed() < servers::PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
        found = servers::psql(&server, &config.database, sql).parse::<u64>().ok();
    }
    assert!(found.unwrap() > 80, "{found:?} % of the updates stayed in their page");
}
