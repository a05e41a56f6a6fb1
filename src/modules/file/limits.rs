//! Every limit of the module in one place: the name ends in the unit, the comment says why.
//!
//! A limit on parameters is an error that names the field; a limit met during a run is an entry in `errors`, and what was
//! found until then is returned.

use std::time::Duration;

/// Searches in one operation; the largest action of the original's collection has 30.
pub(super) const SEARCHES_MAX: usize = 1_000;
/// Length of a label, as in the original.
pub(super) const LABEL_CHARS_MAX: usize = 64;
/// Paths of one search; each is a root of its own to open and remember.
pub(super) const PATHS_PER_SEARCH_MAX: usize = 1_000;
/// `PATH_MAX` of Linux: a longer path can't be opened.
pub(super) const PATH_BYTES_MAX: usize = 4_096;
/// Values in one list of a search; long enough for published lists of hashes, which are compared one by one.
pub(super) const VALUES_PER_FIELD_MAX: usize = 10_000;
/// Regular expressions of all searches together; each has its own compiled program and cache per thread.
pub(super) const PATTERNS_MAX: usize = 2_000;
/// Text of one regular expression.
pub(super) const PATTERN_BYTES_MAX: usize = 16 * 1024;
/// Compiled size of one regular expression: `\p{L}{50}` fits, `(.{1000}){1000}` doesn't.
pub(super) const PATTERN_COMPILED_BYTES_MAX: usize = 4 << 20;
/// Compiled size of each pattern, added up: less for each of many.
pub(super) const PATTERNS_COMPILED_BYTES_SUM_MAX: usize = 256 << 20;
/// Compiled size of one of many: `\w{60}` fits.
pub(super) const PATTERN_COMPILED_BYTES_MIN: usize = 256 << 10;
/// Compiled size of all name patterns, or of all content patterns, put together.
pub(super) const PATTERNS_COMPILED_BYTES_MAX: usize = 64 << 20;
/// Caches of the lazily built automata of all patterns, per thread: what [`THREADS_MAX`] have fits the address space.
pub(super) const PATTERNS_CACHE_BYTES_MAX: usize = 32 << 20;
/// The same of one pattern, of few.
pub(super) const PATTERN_CACHE_BYTES_MAX: usize = 4 << 20;
/// The same of one pattern, of many: less makes the engine choose a slower way.
pub(super) const PATTERN_CACHE_BYTES_MIN: usize = 256 << 10;
/// Matching files kept per search when `matchlimit` is 0 or missing.
pub(super) const MATCHLIMIT_FILES_DEFAULT: u64 = 1_000;
/// Entries of one result, whatever the searches' own limits say.
pub(super) const RESULT_ENTRIES_MAX: usize = 100_000;
/// Bytes of a path, or of the text of an error, in an error.
pub(super) const ERROR_PART_BYTES_MAX: usize = 1_024;
/// Different reasons for which files are not read.
pub(super) const UNREAD_REASONS_MAX: usize = 30;
/// A list of a search that is longer as JSON is not repeated in each entry when the result would be too large.
pub(super) const ECHO_LIST_BYTES_MAX: usize = 512;
/// Errors returned when `maxerrors` is missing.
pub(super) const ERRORS_DEFAULT: u64 = 30;
/// Errors returned when `maxerrors` is 0, which asks for all.
pub(super) const ERRORS_MAX: u64 = 10_000;
/// First size of a thread's read buffer, and the size of one read: fits the second level cache.
pub(super) const READ_BYTES: usize = 128 * 1024;
/// Longest line that is looked at as a whole, and so the largest buffer of a thread.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// What the parts of a longer line have in common, so that a match at the cut is found.
pub(super) const LINE_OVERLAP_BYTES: usize = 1 << 20;
/// A longer hole in a sparse file is looked into as so many NULs: more than an expression can count.
pub(super) const HOLE_BYTES_MAX: u64 = 64 << 10;
/// Bytes taken out of one compressed file: ends decompression bombs.
pub(super) const UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// Bytes read from one file that says its size is 0: `/proc/kallsyms` has 10 MB.
pub(super) const PSEUDO_FILE_BYTES_MAX: u64 = 64 << 20;
/// Largest file that is read: more than ext4 can hold.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 40;
/// Levels of directories that are walked: opening one by its path takes time in proportion to its level.
pub(super) const WALKED_LEVELS_MAX: usize = 4_096;
/// Bytes of the path of a directory that is walked. Longer than `PATH_MAX`, because files can be hidden below such a
/// path; a limit, because a walk has the paths of all directories in memory that it is in.
pub(super) const WALKED_PATH_BYTES_MAX: usize = 256 << 10;
/// A file of this size is read when all others have been: it may take all the time there is.
pub(super) const LARGE_FILE_BYTES_MIN: u64 = 1 << 30;
/// Files and mounts that are put off to the end of the walk.
pub(super) const TASKS_PUT_OFF_MAX: usize = 10_000;
/// How long a file is waited for that another process has a lease on: the kernel takes it away after 45 s
/// (`/proc/sys/fs/lease-break-time`).
pub(super) const LEASE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long after the start of a search what was found so far is reported; doubled each time.
pub(super) const PROGRESS_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Files of one directory that are set aside for reading before they are read.
pub(super) const FILES_PER_BATCH_MAX: usize = 256;
/// Subdirectories of a directory that are walked before it is read on.
pub(super) const SUBDIRECTORIES_AHEAD_MIN: usize = 1_024;
/// Directories that are kept open until all below them was walked; less than the usual limit of 1,024 descriptors.
pub(super) const OPEN_DIRECTORIES_MAX: usize = 512;
/// Buffer for directory entries: one system call for most directories.
pub(super) const DIRECTORY_BUFFER_BYTES: usize = 64 * 1024;
/// Threads, however many are allowed: more don't make a disk faster.
pub(super) const THREADS_MAX: usize = 16;
/// Symbolic links followed for one path, as in the kernel (path_resolution(7)).
pub(super) const LINKS_PER_PATH_MAX: usize = 40;
/// Smallest file whose reading is remembered: smaller ones are read again as fast as they are looked up.
pub(super) const REMEMBERED_FILE_BYTES_MIN: u64 = 32 * 1024;
/// Bytes of what is remembered of files in case they have another name.
pub(super) const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Read buffer that a thread keeps from file to file; one that a long line made larger is given back.
pub(super) const KEPT_BUFFER_BYTES_MAX: usize = 2 << 20;
