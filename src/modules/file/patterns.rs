//! Compiles regular expressions of RE2's grammar, and combines all name patterns into sets.
//!
//! Text is matched as UTF-8 characters; each invalid byte is one U+FFFD. All programs are limited in size, and matching
//! takes time linear in the text.

use super::limits;
use crate::limits::REGEX_SET_EXPRESSIONS_MAX;
use crate::modules::expressions::reason;
use crate::re2::{self, Expression};
use regex::{Regex, RegexSet};

/// The memory limits of one pattern.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Of its program.
    pub(super) compiled_bytes: usize,
    /// Of its cache in each thread.
    pub(super) cache_bytes: usize,
}

impl Room {
    /// Returns the share of each of `count` patterns.
    pub(super) fn share(count: usize) -> Room {
        let share = |sum: usize, min: usize, max: usize| (sum / count.max(1)).clamp(min, max);
        Room {
            compiled_bytes: share(
                limits::PATTERNS_COMPILED_BYTES_SUM_MAX,
                limits::PATTERN_COMPILED_BYTES_MIN,
                limits::PATTERN_COMPILED_BYTES_MAX,
            ),
            cache_bytes: share(
                limits::PATTERNS_CACHE_BYTES_MAX,
                limits::PATTERN_CACHE_BYTES_MIN,
                limits::PATTERN_CACHE_BYTES_MAX,
            ),
        }
    }
}

/// Compiles one expression for short texts.
pub(super) fn compile(expression: &Expression, room: Room) -> Result<Regex, String> {
    re2::compile(&expression.to_pattern(), room.compiled_bytes, room.cache_bytes)
        .map_err(|error| reason(&error.to_string()))
}

/// All name patterns of all searches, matched together.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// [`REGEX_SET_EXPRESSIONS_MAX`] patterns each, in the order of [`NamesBuilder::add`].
    sets: Vec<RegexSet>,
    count: usize,
}

impl Names {
    /// Number of patterns.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Matches `name`. Returns false if no pattern matches, and leaves `hits` unchanged; else sets `hits` per pattern.
    pub(super) fn mark(&self, name: &[u8], hits: &mut [bool]) -> bool {
        let name = re2::text(name);
        let mut any = false;
        for (set, hits_from) in self.sets.iter().zip((0..).step_by(REGEX_SET_EXPRESSIONS_MAX)) {
            // Nearly all names match nothing, and this call allocates nothing.
            if !set.is_match(&name) {
                continue;
            }
            if !any {
                hits.fill(false);
                any = true;
            }
            for index in &set.matches(&name) {
                hits[hits_from + index] = true;
            }
        }
        any
    }
}

/// Collects name patterns into [`Names`].
#[derive(Debug)]
pub(super) struct NamesBuilder {
    patterns: Vec<String>,
    room: Room,
}

impl NamesBuilder {
    /// Creates a builder; each pattern may use as much memory as `room` allows.
    pub(super) fn new(room: Room) -> Self {
        NamesBuilder { patterns: Vec::new(), room }
    }

    /// Adds a pattern and returns its number.
    pub(super) fn add(&mut self, expression: &Expression) -> Result<usize, String> {
        compile(expression, self.room)?;
        self.patterns.push(expression.to_pattern());
        Ok(self.patterns.len() - 1)
    }

    /// Compiles the patterns into sets.
    pub(super) fn build(self) -> Result<Names, String> {
        let share_bytes = limits::PATTERNS_COMPILED_BYTES_MAX / re2::sets_count(self.patterns.len()).max(1);
        let compiled_bytes_max = share_bytes.max(limits::PATTERN_COMPILED_BYTES_MAX);
        let sets = re2::compile_sets(&self.patterns, compiled_bytes_max, limits::PATTERN_CACHE_BYTES_MAX);
        Ok(Names { sets: sets.map_err(|error| reason(&error.to_string()))?, count: self.patterns.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_numbers_across_sets() {
        let count = 2 * REGEX_SET_EXPRESSIONS_MAX + 50;
        let mut builder = NamesBuilder::new(Room::share(count));
        for number in 0..count {
            let expression = Expression::parse(&format!("^x{number}_[0-9]$")).unwrap();
            assert_eq!(builder.add(&expression), Ok(number));
        }
        let names = builder.build().unwrap();
        let mut hits = vec![true; count];
        assert!(!names.mark(b"y", &mut hits));
        for number in 0..count {
            assert!(names.mark(format!("x{number}_5").as_bytes(), &mut hits), "{number}");
            let hit: Vec<usize> = (0..count).filter(|index| hits[*index]).collect();
            assert_eq!(hit, [number]);
        }
    }
}
