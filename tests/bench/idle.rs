//! What a scheduler costs that waits for 10,000 answers.

use crate::common::Sandbox;
use crate::report::{Goal, Row};
use crate::{RUNS, fleet};
use std::time::{Duration, Instant};

const AGENTS: usize = 10_000;
/// One window has a sweep at `freq = 60s`.
const WINDOW: Duration = Duration::from_secs(60);

/// Shares of one core, at two sweep frequencies, in the same minutes.
pub fn measure() -> Vec<Row> {
    let waiting = ["60s", "1s"].map(|freq| {
        let sandbox = Sandbox::new();
        let text = std::fs::read_to_string(sandbox.scheduler_cfg()).unwrap();
        let text = text.replace("[collector]\nfreq = \"1s\"", &format!("[collector]\nfreq = \"{freq}\""));
        let text = text.replace("timeout = \"10m\"", "timeout = \"24h\"");
        std::fs::write(sandbox.scheduler_cfg(), text).unwrap();
        fleet::register(&sandbox, AGENTS);
        sandbox.drop_action("all.json");
        sandbox.once("action-new,command-ready");
        assert_eq!(sandbox.names("command/inflight").len(), AGENTS);
        let scheduler = sandbox.start_scheduler();
        (freq, sandbox, scheduler)
    });
    std::thread::sleep(Duration::from_secs(5));
    let mut shares = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        let started = Instant::now();
        let before = waiting.each_ref().map(|(_, _, scheduler)| scheduler.processor_seconds());
        std::thread::sleep(WINDOW);
        for (index, (_, _, scheduler)) in waiting.iter().enumerate() {
            let used = scheduler.processor_seconds() - before[index];
            shares[index].push(100.0 * used / started.elapsed().as_secs_f64());
        }
    }
    let [slow, quick] = shares;
    let row = |freq: &str, values: Vec<f64>, goal: f64| {
        let id = format!("idle, {AGENTS} commands wait, freq {freq}");
        Row { id, values, unit: "% of a core", raw: vec![], raw_is: "", goal: Goal::AtMost(goal) }
    };
    vec![row("60s", slow, 0.5), row("1s", quick, 3.0)]
}
