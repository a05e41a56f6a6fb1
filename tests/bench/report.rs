//! Figures: medians with their spread, beside the raw limit or rival of the same run, and what they must reach.

use serde_json::{Value, json};

/// What a figure must reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The value itself, at least.
    AtLeast(f64),
    /// The value itself, at most.
    AtMost(f64),
    /// The value over its raw limit, at least.
    RatioAtLeast(f64),
    /// The value over its rival, at most.
    RatioAtMost(f64),
    /// Nothing: it is there for comparison.
    Compare,
}

/// One figure.
pub struct Row {
    /// What was measured: stable, for scripts.
    pub id: String,
    /// One value per run.
    pub values: Vec<f64>,
    /// Of the values.
    pub unit: &'static str,
    /// The raw limit or the rival, measured in the same runs; empty when there is none.
    pub raw: Vec<f64>,
    /// What the raw figure is.
    pub raw_is: &'static str,
    /// See [`Goal`].
    pub goal: Goal,
}

/// The middle of some values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

fn rounded(value: f64) -> f64 {
    let digits = if value.abs() >= 100.0 { 1.0 } else { 1000.0 };
    (value * digits).round() / digits
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        (!self.raw.is_empty()).then(|| median(&self.values) / median(&self.raw))
    }

    /// Whether the goal is reached.
    pub fn is_ok(&self) -> bool {
        let (value, ratio) = (median(&self.values), self.ratio().unwrap_or(f64::NAN));
        match self.goal {
            Goal::AtLeast(goal) => value >= goal,
            Goal::AtMost(goal) => value <= goal,
            Goal::RatioAtLeast(goal) => ratio >= goal,
            Goal::RatioAtMost(goal) => ratio <= goal,
            Goal::Compare => true,
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtLeast(goal) => format!("at least {goal} {}", self.unit),
            Goal::AtMost(goal) => format!("at most {goal} {}", self.unit),
            Goal::RatioAtLeast(goal) => format!("ratio at least {goal}"),
            Goal::RatioAtMost(goal) => format!("ratio at most {goal}"),
            Goal::Compare => "for comparison".into(),
        }
    }

    fn spread(&self) -> (f64, f64) {
        let fold = |with: fn(f64, f64) -> f64| self.values.iter().copied().reduce(with).unwrap_or(f64::NAN);
        (rounded(fold(f64::min)), rounded(fold(f64::max)))
    }

    /// One object of the JSON list.
    pub fn json(&self) -> Value {
        let raw = (!self.raw.is_empty()).then(|| rounded(median(&self.raw)));
        let (min, max) = self.spread();
        json!({
            "id": self.id, "value": rounded(median(&self.values)), "unit": self.unit, "min": min, "max": max,
            "runs": self.values.len(), "raw": raw, "raw_is": self.raw_is, "ratio": self.ratio().map(rounded),
            "goal": self.goal_text(), "ok": self.is_ok(),
        })
    }

    /// One line of the table.
    pub fn line(&self) -> String {
        let (min, max) = self.spread();
        let raw = if self.raw.is_empty() { String::new() } else { format!("{}", rounded(median(&self.raw))) };
        let ratio = self.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let ok = if self.is_ok() { "ok" } else { "MISSED" };
        format!(
            "{:<38} {:>10} {:<11} {:>19} {:>10} {:>6}  {:<6} {}; beside: {}",
            self.id,
            rounded(median(&self.values)),
            self.unit,
            format!("{min}..{max}"),
            raw,
            ratio,
            ok,
            self.goal_text(),
            if self.raw_is.is_empty() { "-" } else { self.raw_is },
        )
    }
}

/// The head of the table.
pub fn heading() -> String {
    format!(
        "{:<38} {:>10} {:<11} {:>19} {:>10} {:>6}  {:<6} goal",
        "what", "median", "unit", "min..max", "raw", "ratio", "",
    )
}
