//! The server ends and comes back: nothing is lost, nothing is there twice, and the next call works.

use super::{action, agents, answered, begin, select, servers};
use crate::common::servers::Own;
use mig::failure::Failure;
use mig::store::postgres::PostgresStore;
use mig::store::{Finished, Registration, Store};
use mig::time;
use std::time::{Duration, Instant};

fn is_away<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> bool {
    match outcome {
        Err(Failure::Retry { server: Some(_), .. }) => true,
        Err(other) => panic!("{other}"),
        Ok(_) => false,
    }
}

#[test]
fn the_next_call_works_when_the_server_is_back() {
    let server = Own::postgres("");
    let config = servers::database(server.path());
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("before", 10), time::now()).unwrap();
    for command in ["stop", "kill"] {
        server.control(command);
        let start = Instant::now();
        for _ in 0..20 {
            assert!(is_away(store.register(&agents("away", 1), time::now())));
        }
        // A call that waits for its time limit takes ten seconds.
        assert!(start.elapsed() < 5 * config.timeout, "it is known at once");
        server.control("start");
        let back = Instant::now();
        store.register(&agents("back", 1), time::now()).unwrap();
        assert!(back.elapsed() < config.timeout, "{:?}", back.elapsed());
        // Restarted between two requests: the connection in the pool is dead.
        server.control(command);
        server.control("start");
        store.register(&agents("back", 1), time::now()).unwrap();
    }
    assert_eq!(select(&mut store, "name LIKE 'before%'").unwrap().len(), 10);
}

#[test]
fn a_server_killed_in_a_transaction_has_all_of_it_or_nothing() {
    let server = Own::postgres("");
    let config = servers::database(server.path());
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("target", 2000), time::now()).unwrap();
    let targets = select(&mut store, "all").unwrap();
    let id = store.reserve_action_ids(1).unwrap()[0];
    let action = action(id);
    let retry_until_done = |store: &mut PostgresStore, work: &dyn Fn(&mut PostgresStore) -> Result<(), Failure>| {
        let deadline = Instant::now() + servers::PATIENCE;
        while is_away(work(store)) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for delay_ms in [0, 10, 25, 50, 100] {
        std::thread::scope(|scope| {
            let (targets, action, config) = (&targets, &action, &config);
            scope.spawn(move || {
                let mut store = PostgresStore::open(config).unwrap_or_else(|e| panic!("{e}"));
                retry_until_done(&mut store, &|store| begin(store, action, targets).map(drop));
                let commands = begin(&mut store, action, targets);
                let Ok(commands) = commands else { return };
                for batch in answered(commands).chunks(mig::limits::BATCH_ENTRIES_MAX) {
                    retry_until_done(&mut store, &|store| store.finish_commands(batch, time::now()).map(drop));
                }
            });
            std::thread::sleep(Duration::from_millis(delay_ms + 20));
            server.control("kill");
            server.control("start");
        });
    }
    let mut store = PostgresStore::open(&config).unwrap();
    let commands = answered(begin(&mut store, &action, &targets).unwrap());
    let batch = store.finish_commands(&commands, time::now()).unwrap();
    assert!(batch.finished.iter().all(|one| *one == Finished::Now));
    let ended = store.ended_actions(&[id], time::now()).unwrap();
    assert_eq!(serde_json::json!(ended[0].counters), serde_json::json!({"sent": 2000, "done": 2000, "success": 2000}));
}

#[test]
fn a_connection_that_is_ended_from_outside_is_replaced() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut stores: Vec<PostgresStore> = (0..4).map(|_| PostgresStore::open(&config).unwrap()).collect();
    for _ in 0..3 {
        let sql =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", config.database);
        servers::psql(&server, "postgres", &sql);
        for store in &mut stores {
            let taken = store.register(&agents("ended", 1), time::now()).unwrap();
            assert!(taken != [Registration::Stale]);
        }
    }
}

/// Sends a signal to the server and to each of its processes.
fn signal(server: &Own, name: &str) {
    let pid = std::fs::read_to_string(server.path().join("pid")).unwrap().trim().to_owned();
    let children = std::process::Command::new("pgrep").args(["-P", &pid]).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let kill = |pid: &str| std::process::Command::new("kill").arg(format!("-{name}")).arg(pid).output().unwrap();
    assert!(kill(&pid).status.success());
    // One that maintains tables may have ended meanwhile.
    children.split_whitespace().for_each(|child| drop(kill(child)));
}

#[test]
fn a_frozen_server_is_an_outage_and_not_a_wait_without_end() {
    let server = Own::postgres("");
    let mut config = servers::database(server.path());
    config.timeout = Duration::from_secs(1);
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("before", 1), time::now()).unwrap();
    signal(&server, "STOP");
    let start = Instant::now();
    for _ in 0..2 {
        assert!(is_away(store.register(&agents("frozen", 1), time::now())));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    signal(&server, "CONT");
    let start = Instant::now();
    while is_away(store.register(&agents("after", 1), time::now())) {
        assert!(start.elapsed() < servers::PATIENCE);
    }
    assert_eq!(select(&mut store, "name LIKE 'after%'").unwrap().len(), 1);
}
