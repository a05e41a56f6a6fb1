//! `scripts/bench.sh`: how quick MIG is on this machine, each figure beside the raw limit or rival of the same run.

#[path = "../common/mod.rs"]
mod common;
mod fleet;
mod raw;
mod report;
mod workers;

use report::Row;

/// Runs of each measurement; the median counts.
pub const RUNS: usize = 1;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let json = words.iter().any(|word| word == "--json");
    let chosen: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
    let groups: [(&str, fn() -> Vec<Row>); 1] = [("workers", workers::measure)];
    let mut rows = Vec::new();
    if !json {
        println!("{}", report::heading());
    }
    for (name, measure) in groups {
        if !chosen.is_empty() && !chosen.iter().any(|word| *word == name) {
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
