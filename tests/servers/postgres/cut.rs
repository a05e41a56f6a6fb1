//! The connection to the database is cut after every single byte of one transaction: it is there as a whole or not at all,
//! and done again it changes nothing twice.

use super::{action, agents, answered, begin, select, servers};
use crate::common::proxy::{Proxy, Way};
use mig::command::CommandStatus::Success;
use mig::failure::Failure;
use mig::store::postgres::PostgresStore;
use mig::store::{Finished, Store};
use mig::time;

/// More bytes than the transaction has either way.
const BYTES_MAX: usize = 6000;

#[test]
fn a_commit_is_cut_at_every_byte() {
    let server = servers::shared("postgres");
    let config = servers::database(&server);
    let proxy = Proxy::start(config.port);
    let mut cut =
        PostgresStore::open(&mig::config::database::PostgresConfig { port: proxy.port, ..config.clone() }).unwrap();
    let mut direct = PostgresStore::open(&config).unwrap();
    for way in [Way::Up, Way::Down] {
        direct.register(&agents(&format!("{way:?}").to_lowercase(), 2 * BYTES_MAX as i64), time::now()).unwrap();
    }
    for way in [Way::Up, Way::Down] {
        let targets = select(&mut direct, &format!("name LIKE '{}%'", format!("{way:?}").to_lowercase())).unwrap();
        let one = action(direct.reserve_action_ids(1).unwrap()[0]);
        let commands = answered(begin(&mut direct, &one, &targets).unwrap());
        let (mut undone, mut unknown, mut bytes) = (0, 0, 0);
        for two in commands.chunks_exact(2) {
            // A connection that has run all statements before: only those of the transaction are cut.
            let (before, command) = two.split_at(1);
            assert_eq!(cut.finish_commands(before, time::now()).unwrap().finished, [Finished::Now]);
            proxy.cut_after(way, bytes);
            let first = cut.finish_commands(command, time::now());
            if !proxy.was_cut() {
                assert_eq!(first.unwrap().finished, [Finished::Now]);
                break;
            }
            // The server may still be busy with what it got; asking again waits for that.
            let again = cut.finish_commands(command, time::now()).unwrap();
            match first {
                // The answer to the commit had passed.
                Ok(batch) => {
                    assert_eq!((batch.finished, again.finished), (vec![Finished::Now], vec![Finished::Before(Success)]))
                }
                Err(error) => {
                    assert!(matches!(error, Failure::Retry { server: Some(_), .. }), "{way:?} {bytes}: {error}");
                    let was_done = again.finished == [Finished::Before(Success)];
                    (undone, unknown) = (undone + u32::from(!was_done), unknown + u32::from(was_done));
                }
            }
            bytes += 1;
        }
        assert!(
            undone > 100 && bytes < BYTES_MAX - 1,
            "{way:?}: {bytes} bytes, {undone} undone, {unknown} done and untold"
        );
        let ended = servers::psql(
            &server,
            &config.database,
            &format!("SELECT count(*) FROM commands WHERE actionid = {} AND status = 'success'", one.id.unwrap()),
        );
        assert_eq!(ended, (2 * (bytes + 1)).to_string(), "each command has ended once");
    }
}
