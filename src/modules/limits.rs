//! Limits that modules have in common. Parameters beyond one are refused with an error that names the field; one that is
//! reached during a run is an entry in `errors`, and the result is partial.

use std::time::Duration;

/// Searches in one operation; the largest action of the original's collection has 30.
pub(super) const SEARCHES_MAX: usize = 1_000;
/// Length of a label, as in the original.
pub(super) const LABEL_CHARS_MAX: usize = 64;
/// `PATH_MAX` of Linux: a longer path can't be opened.
pub(super) const PATH_BYTES_MAX: usize = 4_096;
/// Text of one regular expression.
pub(super) const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Values in one list of a search: more than people write.
pub(super) const LIST_VALUES_MAX: usize = 256;
/// Regular expressions of one operation: half of its memory, if each is as large as it may be.
pub(super) const PATTERNS_MAX: usize = 500;
/// Compiled size of one regular expression on short texts.
pub(super) const PATTERN_COMPILED_BYTES: usize = 1 << 20;
/// Cache of the lazily built automaton of one regular expression on short texts.
pub(super) const PATTERN_CACHE_BYTES: usize = 256 << 10;
/// Elements of a search if `matchlimit` is 0 or missing.
pub(super) const MATCHLIMIT_DEFAULT: usize = 1_000;
/// Elements of one result.
pub(super) const ELEMENTS_MAX: usize = 100_000;
/// Errors of one result.
pub(super) const ERRORS_MAX: usize = 100;
/// Bytes of one error.
pub(super) const ERROR_BYTES_MAX: usize = 1_024;
/// Bytes of a result besides elements and errors.
pub(super) const FRAME_BYTES: usize = 4 << 10;
/// Time from the start of a run to its first partial result; the next pauses double, up to a part of its time.
pub(super) const PROGRESS_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// A run that is killed loses what it found in the last of so many parts of its time, or of the first pause.
pub(super) const PROGRESS_PARTS: u32 = 20;
