//! The progress of an action: a bar on standard error, if that is a terminal, after a quarter of a second.

use super::follow::Waiting;
use crate::limits;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// See the module docs.
pub struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    is_wanted: bool,
}

impl Progress {
    /// Nothing is drawn yet.
    pub fn new() -> Progress {
        Progress { started: Instant::now(), bar: None, is_wanted: std::io::stderr().is_terminal() }
    }

    /// Shows these numbers.
    pub fn update(&mut self, waiting: &Waiting) {
        if !self.is_wanted || self.started.elapsed() < limits::CLIENT_PROGRESS_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(
                ProgressStyle::with_template("[{bar:24}] {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        bar.set_length(waiting.sent);
        bar.set_position(waiting.done);
        bar.set_message(waiting.to_string());
    }

    /// Runs `write`, which writes lines to the terminal, above the bar.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Removes the bar.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
