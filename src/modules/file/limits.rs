//! Every limit of the module: the name contains the unit, the comment the reason.
//!
//! Parameters beyond a limit are refused with an error that names the field; a limit reached during a run is an entry
//! in `errors`, and the result is partial.

use std::time::Duration;

/// Paths of one search; each is a separate root to open and keep in memory.
pub(super) const PATHS_PER_SEARCH_MAX: usize = 1_000;
/// Values in one list of a search; long enough for published lists of hashes, which are compared one by one.
pub(super) const VALUES_PER_FIELD_MAX: usize = 10_000;
/// Regular expressions of all searches together; each has its own compiled program and cache per thread.
pub(super) const PATTERNS_MAX: usize = 2_000;
/// Compiled size of one regular expression: `\p{L}{50}` fits, `(.{1000}){1000}` doesn't.
pub(super) const PATTERN_COMPILED_BYTES_MAX: usize = 4 << 20;
/// Sum of the compiled sizes of the single patterns: the more patterns, the less for each.
pub(super) const PATTERNS_COMPILED_BYTES_SUM_MAX: usize = 256 << 20;
/// Compiled size of a pattern if there are many: `\w{60}` fits.
pub(super) const PATTERN_COMPILED_BYTES_MIN: usize = 256 << 10;
/// Compiled size of all name patterns, or of all content patterns, as one program.
pub(super) const PATTERNS_COMPILED_BYTES_MAX: usize = 64 << 20;
/// Caches of the lazily built automata of all patterns, per thread: [`THREADS_MAX`] times this fits the address space.
pub(super) const PATTERNS_CACHE_BYTES_MAX: usize = 32 << 20;
/// Cache of one pattern, if there are few.
pub(super) const PATTERN_CACHE_BYTES_MAX: usize = 4 << 20;
/// Cache of one pattern, if there are many: with less the engine falls back to a slower algorithm.
pub(super) const PATTERN_CACHE_BYTES_MIN: usize = 256 << 10;
/// Matching files kept per search if `matchlimit` is 0 or missing.
pub(super) const MATCHLIMIT_FILES_DEFAULT: u64 = 1_000;
/// Entries of one result, regardless of the limits of its searches.
pub(super) const RESULT_ENTRIES_MAX: usize = 100_000;
/// Bytes of a path, or of the text of an error, in an error.
pub(super) const ERROR_PART_BYTES_MAX: usize = 1_024;
/// Different reasons for which files are not read.
pub(super) const UNREAD_REASONS_MAX: usize = 30;
/// Longest list of a search, as JSON, that the short form of an entry repeats.
pub(super) const ECHO_LIST_BYTES_MAX: usize = 512;
/// Errors returned if `maxerrors` is missing.
pub(super) const ERRORS_DEFAULT: u64 = 30;
/// Errors returned if `maxerrors` is 0 (all).
pub(super) const ERRORS_MAX: u64 = 10_000;
/// First size of a thread's read buffer, and the size of one read: fits the second level cache.
pub(super) const READ_BYTES: usize = 128 * 1024;
/// Longest line that is searched as a whole, and so the largest buffer of a thread.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// Overlap of the parts of a longer line, so that a match at the cut is found.
pub(super) const LINE_OVERLAP_BYTES: usize = 1 << 20;
/// A longer hole in a sparse file is searched as this many NULs: more than an expression can count.
pub(super) const HOLE_BYTES_MAX: u64 = 64 << 10;
/// Bytes unpacked from one compressed file: stops decompression bombs.
pub(super) const UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// Bytes read from one file whose `st_size` is 0: `/proc/kallsyms` has 10 MB.
pub(super) const PSEUDO_FILE_BYTES_MAX: u64 = 64 << 20;
/// Largest file that is read: more than ext4 can hold.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 40;
/// Levels of directories that are walked: opening one by its path takes time in proportion to its level.
pub(super) const WALKED_LEVELS_MAX: usize = 4_096;
/// Bytes of the path of a directory that is walked. Longer than `PATH_MAX`, because files can be hidden below such a
/// path; limited, because a walk keeps the paths of all its open and pending directories in memory.
pub(super) const WALKED_PATH_BYTES_MAX: usize = 256 << 10;
/// Files of at least this size are read last: one may take all the remaining time.
pub(super) const LARGE_FILE_BYTES_MIN: u64 = 1 << 30;
/// Longest list of names, or value, of extended attributes: the kernel's limits (xattr(7)).
pub(super) const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;
/// Extended attributes of one file that are compared: on most file systems all of them together have less than a page.
pub(super) const ATTRIBUTES_BYTES_MAX: usize = 1 << 20;
/// Text of the option `maxtime`.
pub(super) const MAXTIME_BYTES_MAX: usize = 64;
/// Longest `maxtime`: no operation may take longer than a day.
pub(super) const MAXTIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Compiled size of one name with wildcards: 255 bytes with a `*` between any two fit.
pub(super) const WILDCARD_COMPILED_BYTES_MAX: usize = 256 << 10;
/// Compiled size of the excluded paths of a search, as one program.
pub(super) const EXCLUDE_COMPILED_BYTES_MAX: usize = 16 << 20;
/// Directories that are read to expand the wildcards of a search: some seconds on a cold disk.
pub(super) const EXPANDED_DIRECTORIES_MAX: usize = 100_000;
/// Memory of the paths that wildcards of a search expand to.
pub(super) const EXPANDED_BYTES_MAX: usize = 16 << 20;
/// Files and mounts that are deferred to the end of the walk.
pub(super) const TASKS_DEFERRED_MAX: usize = 10_000;
/// How long to wait for a file on which another process has a lease: the kernel breaks leases after 45 s
/// (`/proc/sys/fs/lease-break-time`).
pub(super) const LEASE_TIME_MAX: Duration = Duration::from_secs(60);
/// Files of one directory that are collected before they are read.
pub(super) const FILES_PER_BATCH_MAX: usize = 256;
/// Pending subdirectories of a directory from which on they are walked before more of its entries are read.
pub(super) const SUBDIRECTORIES_AHEAD_MIN: usize = 1_024;
/// Directories kept open until everything below them is walked; less than the usual limit of 1,024 descriptors.
pub(super) const OPEN_DIRECTORIES_MAX: usize = 512;
/// Buffer for directory entries: one system call for most directories.
pub(super) const DIRECTORY_BUFFER_BYTES: usize = 64 * 1024;
/// Threads, even if more are allowed: more don't make a disk faster.
pub(super) const THREADS_MAX: usize = 16;
/// Symbolic links followed for one path, as in the kernel (path_resolution(7)).
pub(super) const LINKS_PER_PATH_MAX: usize = 40;
/// Smallest file whose truths and digests are cached: reading a smaller one again is as fast as a lookup.
pub(super) const CACHED_FILE_BYTES_MIN: u64 = 32 * 1024;
/// Size of the cache for files that have several names.
pub(super) const CACHE_BYTES_MAX: usize = 64 << 20;
/// Read buffer that a thread keeps between files; one that a long line has enlarged beyond this is freed.
pub(super) const KEPT_BUFFER_BYTES_MAX: usize = 2 << 20;
