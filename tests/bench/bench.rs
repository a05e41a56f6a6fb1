//! `scripts/bench.sh`: how quick MIG is on this machine, each figure beside the raw limit or rival of the same run.

mod agent;
mod api;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod fleet;
mod idle;
mod journey;
mod netstat;
mod pkg;
mod processes;
mod raw;
mod registering;
mod report;
mod scale;
mod stamped;
mod verifying;
mod workers;
mod yara;

use report::{Row, median};

/// Runs of each measurement; the median counts.
pub const RUNS: usize = 5;

/// What the command line calls some figures, and how they are measured.
type Group = (&'static str, fn() -> Vec<Row>);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let json = words.iter().any(|word| word == "--json");
    let chosen: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
    let scale = words.iter().any(|word| word == "--scale");
    let embedded: [Group; 16] = [
        ("journey", journey::one_agent),
        ("workers", workers::measure),
        ("one-each", workers::one_command_each),
        ("fleet", journey::many_agents),
        ("heartbeats", registering::measure),
        ("idle", idle::measure),
        ("agent", agent::measure),
        ("stamped", stamped::measure),
        ("files", files::measure),
        ("process", processes::list),
        ("memory", processes::memory),
        ("netstat", netstat::measure),
        ("pkg", pkg::measure),
        ("yara", yara::measure),
        ("verify", verifying::measure),
        ("api", api::sqlite),
    ];
    let at_scale: [Group; 6] = [
        ("heartbeats", scale::heartbeats),
        ("journey", scale::one_agent),
        ("fleet", scale::fleets),
        ("hundred-thousand", scale::hundred_thousand),
        ("api", api::postgres),
        ("idle", scale::idle),
    ];
    let groups = if scale { &at_scale[..] } else { &embedded[..] };
    let mut rows = Vec::new();
    if !json {
        println!("{}", report::heading());
    }
    for (name, measure) in groups {
        if !chosen.is_empty() && !chosen.iter().any(|word| word == name) {
            continue;
        }
        for row in measure() {
            if !json {
                println!("{}", row.line());
            }
            rows.push(row);
        }
    }
    if json {
        let list: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap());
    }
    std::process::exit(i32::from(!rows.iter().all(Row::is_ok)));
}
