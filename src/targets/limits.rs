//! The limits of target conditions, each with its unit and reason.
//!
//! A target is a line or two written by hand; these limits are far above that, and low enough that a hostile one costs
//! neither stack nor noticeable time, in the parser or in the database.

/// Longest target text, bytes. The longest known real one has 500.
pub const TEXT_BYTES_MAX: usize = crate::limits::TARGET_BYTES_MAX;

/// Most lexical tokens in a target. Bounds the parser's syntax tree (a chain like `1+1+1` gets one level deeper every
/// two tokens) before it is built, so that building, walking and freeing it fits into any thread's stack.
pub const TOKENS_MAX: usize = 3_000;

/// Deepest nesting of parentheses, operators and subqueries, levels. AND and OR in a row count as one level.
pub const DEPTH_MAX: usize = 64;

/// Recursion limit of sqlparser, levels. It counts two to three for a subquery and one for a parenthesis or a prefix
/// operator; with 128, ordinary nesting is limited by [`DEPTH_MAX`], and less than 1 MiB of stack is used even
/// unoptimized (test `hostile_texts_are_answered_quickly_on_a_small_stack`).
pub const PARSER_DEPTH_MAX: usize = 128;

/// Most nodes (columns, literals, operators) of a checked target. Stays below SQLite's expression depth (1000 by
/// default), and bounds the work of both query planners.
pub const NODES_MAX: usize = 2_000;

/// Most items of one IN list.
pub const LIST_ITEMS_MAX: usize = 1_000;

/// Most tables and json_array_elements in the FROM of one subquery. Joins multiply: four suffice to go from agents over
/// commands to actions and their elements.
pub const SOURCES_MAX: usize = 4;

/// Longest regular expression, bytes.
pub const PATTERN_BYTES_MAX: usize = 512;

/// Most memory of one compiled regular expression, bytes (`[a-z]{200}{200}` is short but large when compiled).
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Largest count in a regular expression's `{m,n}`: PostgreSQL's own limit (DUPMAX in its regguts.h).
pub const PATTERN_REPEAT_MAX: u32 = 255;

/// Most compiled regular expressions kept per thread. A target rarely has more than one.
pub const PATTERNS_KEPT_MAX: usize = 32;

/// Longest interval, years, in either direction. Keeps every sum of a time and an interval within 64-bit microseconds.
pub const INTERVAL_YEARS_MAX: i64 = 10_000;

/// Most steps in the path of `#>` and `#>>`.
pub const PATH_STEPS_MAX: usize = 16;

/// Most characters of the target that an error message repeats.
pub const EXCERPT_CHARACTERS_MAX: usize = 80;
