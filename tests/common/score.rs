//! What a reliability test found, as one line of `scripts/scoreboard.sh`; and what any test could not try on this machine,
//! which `scripts/test.sh` tells at its end.

use std::io::Write;
use std::time::Instant;

/// Counts what one test tried and what was wrong. A test that ends without [`Score::end`] has failed.
pub struct Score {
    test: String,
    seed: Option<u64>,
    started: Instant,
    runs: usize,
    ended: bool,
}

impl Score {
    /// Begins a test; its name is what the scoreboard prints.
    pub fn begin(test: impl Into<String>) -> Score {
        Score { test: test.into(), seed: None, started: Instant::now(), runs: 0, ended: false }
    }

    /// Tells the seed of a test that is different each time.
    pub fn with_seed(mut self, seed: u64) -> Score {
        println!("{}: seed {seed}", self.test);
        self.seed = Some(seed);
        self
    }

    /// Counts cases that were tried.
    pub fn add_runs(&mut self, runs: usize) {
        self.runs += runs;
    }

    /// Tells the outcome and fails the test when something was wrong. `note` is a word for the scoreboard, or empty.
    pub fn end(mut self, violations: &[String], note: &str) {
        self.write(violations.len(), note);
        assert!(self.runs > 0, "{}: nothing was tried", self.test);
        assert!(violations.is_empty(), "{}: {} violations:\n{}", self.test, violations.len(), violations.join("\n"));
    }

    /// Nothing could be tried on this machine: a visible line, which does not count as passed.
    pub fn skip(mut self, why: &str) {
        self.write(0, &format!("SKIPPED: {why}"));
    }

    fn write(&mut self, violations: usize, note: &str) {
        self.ended = true;
        let line = serde_json::json!({
            "test": self.test, "runs": self.runs, "violations": violations,
            "seconds": (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            "seed": self.seed, "note": note,
        });
        println!("{line}");
        if let Some(path) = std::env::var_os("MIG_SCORES") {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).unwrap();
        }
    }
}

impl Drop for Score {
    fn drop(&mut self) {
        if !self.ended {
            self.write(1, "the test itself failed");
        }
    }
}
