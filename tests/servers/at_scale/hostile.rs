//! Messages that are no answers.

use super::wait;
use crate::common::Sandbox;
use crate::common::servers::Broker;
use mig::relay::{Message, Queue, Relay};

#[test]
fn they_go_to_the_dead_letters_and_stop_nobody() {
    let broker = Broker::shared("classic");
    let sandbox = Sandbox::new().with_broker(&broker);
    let scheduler = sandbox.start_scheduler();
    let agent = sandbox.start_agent(1);
    wait("registered", &sandbox, || sandbox.scheduler(&["--explain-target", "all"]).stdout.ends_with(b"1 agents\n"));
    let bad: [&[u8]; 5] = [b"", b"nonsense", b"{\"id\": 1}", &[0xff; 200], b"[[[[[[[["];
    let now = mig::time::now();
    let message = |body: &[u8]| Message { queue: Queue::results(), body: body.to_vec(), expires: mig::time::never() };
    super::agent_relay(&broker).send(&bad.map(message), now).unwrap();
    sandbox.drop_action("good.json");
    wait("done", &sandbox, || sandbox.names("command/done").len() == 1);
    wait("put aside", &sandbox, || broker.waiting() == [("migevent.dead".to_owned(), bad.len() as u64)]);
    assert_eq!((scheduler.terminate(), agent.terminate()), (Some(0), Some(0)));
}
