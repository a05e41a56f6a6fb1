//! Compiles patterns for short texts, one by one and in sets.

use crate::limits::REGEX_SET_EXPRESSIONS_MAX;

use regex::{Error, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Compiles a pattern of [`super::Expression`], with limits on the program and on the cache of each thread.
pub fn compile(pattern: &str, compiled_bytes_max: usize, cache_bytes: usize) -> Result<Regex, Error> {
    RegexBuilder::new(pattern)
        .nest_limit(super::NEST_LIMIT)
        .size_limit(compiled_bytes_max)
        .dfa_size_limit(cache_bytes)
        .build()
}

/// Returns the number of sets for that many patterns.
#[must_use]
pub fn sets_count(patterns: usize) -> usize {
    patterns.div_ceil(REGEX_SET_EXPRESSIONS_MAX)
}

/// Compiles patterns that are matched together, in order: [`REGEX_SET_EXPRESSIONS_MAX`] in each set, because the time
/// to build a set grows with the square of its size. The limits apply to each set.
pub fn compile_sets(
    patterns: &[String],
    compiled_bytes_max: usize,
    cache_bytes: usize,
) -> Result<Vec<RegexSet>, Error> {
    let build = |set: &[String]| {
        RegexSetBuilder::new(set)
            .nest_limit(super::NEST_LIMIT)
            .size_limit(compiled_bytes_max)
            .dfa_size_limit(cache_bytes)
            .build()
    };
    patterns.chunks(REGEX_SET_EXPRESSIONS_MAX).map(build).collect()
}
