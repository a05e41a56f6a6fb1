//! Batches of any length are one statement, and what cannot be text is kept as it was sent.

use super::{action, agents, answered, begin, now, select, servers};
use mig::command::Command;
use mig::store::postgres::PostgresStore;
use mig::store::{Finished, Store};

#[test]
fn ten_thousand_agents_get_their_command_at_once() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("many", 10_000), now()).unwrap();
    let targets = select(&mut store, "all").unwrap();
    let action = action(store.reserve_action_ids(1).unwrap()[0]);
    let commands = begin(&mut store, &action, &targets).unwrap();
    assert_eq!(commands.len(), 10_000);
    assert_eq!(begin(&mut store, &action, &targets).unwrap().len(), 10_000, "the same ones");
    let references: Vec<_> = commands.iter().map(Command::reference).collect();
    store.mark_sent(&references).unwrap();
    assert!(begin(&mut store, &action, &targets).unwrap().is_empty());
    let batch = store.finish_commands(&answered(commands), now()).unwrap();
    assert_eq!(batch.ended[0].counters.get("success"), Some(&10_000));
    assert_eq!(servers::psql(&server, &config.database, "SELECT count(*) FROM commands"), "10000");
}

#[test]
fn two_that_finish_the_last_commands_at_once_end_the_action() {
    let config = servers::database(&servers::shared("postgres"));
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("last", 200), now()).unwrap();
    let targets = select(&mut store, "all").unwrap();
    for _ in 0..20 {
        let action = action(store.reserve_action_ids(1).unwrap()[0]);
        let commands = answered(begin(&mut store, &action, &targets).unwrap());
        let ended = std::thread::scope(|scope| {
            let halves: Vec<_> = commands
                .chunks(100)
                .map(|half| {
                    let mut store = PostgresStore::open(&config).unwrap();
                    scope.spawn(move || store.finish_commands(half, now()).unwrap().ended.len())
                })
                .collect();
            halves.into_iter().map(|one| one.join().unwrap()).sum::<usize>()
        });
        assert_eq!(ended, 1);
    }
}

#[test]
fn several_collectors_finish_the_same_commands_in_any_order() {
    let config = servers::database(&servers::shared("postgres"));
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("both", 300), now()).unwrap();
    let targets = select(&mut store, "all").unwrap();
    let action = action(store.reserve_action_ids(1).unwrap()[0]);
    let commands = answered(begin(&mut store, &action, &targets).unwrap());
    let reversed: Vec<Command> = commands.iter().rev().cloned().collect();
    let finished = std::thread::scope(|scope| {
        let both = [&commands, &reversed, &commands, &reversed].map(|batch| {
            let mut store = PostgresStore::open(&config).unwrap();
            scope.spawn(move || store.finish_commands(batch, now()).unwrap().finished)
        });
        both.map(|one| one.join().unwrap()).concat()
    });
    assert_eq!(finished.iter().filter(|one| **one == Finished::Now).count(), 300, "each once");
}

#[test]
fn results_that_cannot_be_text_are_kept_as_they_were_sent() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let mut store = PostgresStore::open(&config).unwrap();
    store.register(&agents("odd", 2), now()).unwrap();
    let targets = select(&mut store, "all").unwrap();
    let action = action(store.reserve_action_ids(1).unwrap()[0]);
    let mut commands = answered(begin(&mut store, &action, &targets).unwrap());
    let texts = [r#"[ {"a" : "\u0000\ud800","b":1.50} ]"#, r#"[{"a":"plain",  "b":1e2}]"#];
    for (command, text) in commands.iter_mut().zip(texts) {
        let body = String::from_utf8(command.to_json()).unwrap();
        *command = Command::parse(body.replace("\"results\":[]", &format!("\"results\":{text}")).as_bytes()).unwrap();
    }
    store.finish_commands(&commands, now()).unwrap();
    let sql = "SELECT coalesce(resultsassent, results::text) FROM commands ORDER BY id";
    assert_eq!(servers::psql(&server, &config.database, sql), texts.join("\n"));
    let sql = "SELECT count(*) FROM commands WHERE results->0->>'a' IS NOT NULL";
    assert_eq!(servers::psql(&server, &config.database, sql), "2");
    let sql = "SELECT count(resultsassent) FROM commands";
    assert_eq!(servers::psql(&server, &config.database, sql), "1", "kept twice only where it must be");
}
