//! Every limit of the system, with its unit and its reason.
//!
//! A limit is part of an interface: what is over it is refused with a message that names the field. None of them is a
//! tuning knob; what an operator may change is in the configuration.

use std::time::Duration;

/// Bytes of one action file. The largest action that came with the original is 6 kB.
pub const ACTION_SIZE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one command with its results, on disk and on the relay.
pub const RESULT_SIZE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one command file of ours: the action that was sent, with the agent's results in it.
pub const COMMAND_FILE_SIZE_BYTES_MAX: u64 = RESULT_SIZE_BYTES_MAX + ACTION_SIZE_BYTES_MAX;
/// Bytes of one heartbeat (formats.md: 100 kB).
pub const HEARTBEAT_SIZE_BYTES_MAX: u64 = 100_000;
/// Bytes of an agent's name in a heartbeat (formats.md).
pub const AGENT_NAME_BYTES_MAX: usize = 1024;
/// Bytes of an agent's version in a heartbeat (formats.md).
pub const AGENT_VERSION_BYTES_MAX: usize = 128;
/// Bytes of a queueloc: it becomes a directory name after `mig.agt.`, and names end at 255.
pub const QUEUELOC_BYTES_MAX: usize = 240;
/// Bytes of an action's name: it stands in log lines and lists.
pub const ACTION_NAME_BYTES_MAX: usize = 2048;
/// Bytes of a target's text.
pub const TARGET_BYTES_MAX: usize = 8192;
/// Operations of one action: each is a process on every targeted endpoint.
pub const ACTION_OPERATIONS_MAX: usize = 256;
/// Signatures of one action: each costs a public-key operation to check.
pub const ACTION_SIGNATURES_MAX: usize = 32;
/// Bytes of one stripped signature: RSA-16384 with many subpackets stays below.
pub const SIGNATURE_BYTES_MAX: usize = 16 << 10;
/// How often a signature is made before one is long enough: each is too short once in 256 times, and a card may ask for
/// its PIN each time.
pub const SIGNING_ATTEMPTS_MAX: usize = 8;
/// Parts (objects, arrays, elements) of a free object: description, threat, tags, environment.
pub const JSON_OBJECT_PARTS_MAX: usize = 2_000;
/// Parts of one operation's parameters: lists of some ten thousand hashes are real.
pub const JSON_PARAMETERS_PARTS_MAX: usize = 100_000;
/// Levels of objects and arrays in an agent's results: SQLite reads a thousand, and an error in one agent's results would be
/// one for every target that looks at results. What our JSON parser reads goes as deep.
pub const RESULTS_LEVELS_MAX: usize = 127;
/// Bytes of a module's name.
pub const MODULE_NAME_BYTES_MAX: usize = 64;
/// Largest id that we give out: ids travel as 64-bit floats in the original.
pub const ID_OURS_MAX: u64 = (1 << 53) - 1;
/// Largest id that we accept: what both databases hold in 64 signed bits.
pub const ID_ACCEPTED_MAX: u64 = i64::MAX as u64;

/// Bytes of a configuration, ACL or whitelist file.
pub const CONFIGURATION_SIZE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a keyring file.
pub const KEYRING_SIZE_BYTES_MAX: u64 = 64 << 20;
/// Bytes one regular expression of a whitelist may take once compiled: `\w{60}` fits, and so does a list of thousands of
/// host names; `(.{1000}){1000}` does not, because a few such lines would hold up heartbeats for a second.
pub fn whitelist_expression_size_bytes_max(expression: &str) -> usize {
    (64 << 10) + 256 * expression.len()
}
/// Bytes all regular expressions of a whitelist may take together once compiled.
pub const WHITELIST_REGEX_SIZE_BYTES_MAX: usize = 64 << 20;
/// Regular expressions that are matched together: the time to prepare them grows with the square of their number, and
/// 2,000 that ignore case took more than a second.
pub const REGEX_SET_EXPRESSIONS_MAX: usize = 100;
/// Bytes of the cache with which one set of a whitelist's regular expressions is matched.
pub const REGEX_CACHE_BYTES_MAX: usize = 2 << 20;

/// Entries that a worker handles in one batch: many share the syncs, each of which costs as much as a hundred files.
pub const BATCH_ENTRIES_MAX: usize = 1024;
/// Entries of the first batch after a start or a failure: trying again while something is away shall cost little.
pub const TRIAL_ENTRIES_MAX: usize = 32;
/// Entries of a batch from which on a second thread helps: below, starting it takes longer than it saves.
pub const PARALLEL_ENTRIES_MIN: usize = 32;
/// A pass begins no further batch after this time: the loop looks whether it shall stop, and lists again.
pub const PASS_TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes of file content that a batch may hold in memory, beyond its first entry. Two batches are there at a time.
pub const BATCH_SIZE_BYTES_MAX: u64 = 32 << 20;
/// Names that one look at a stage keeps; the rest is seen by the next look.
pub const LISTING_ENTRIES_MAX: usize = 1_000_000;

/// How long an empty or half-written file is left alone since its last change.
pub const HALF_WRITTEN_GRACE: Duration = Duration::from_secs(60);
/// First pause before something that could not be processed is tried again; doubled each time.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause before a scheduler's worker whose store or relay is away tries again: answers wait for it.
pub const SCHEDULER_RETRY_PAUSE_MAX: Duration = Duration::from_millis(700);
/// Longest pause before an agent whose relay is away tries again: there are thousands of them.
pub const AGENT_RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause before a single command without a queue is tried again.
pub const UNROUTABLE_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Heartbeat periods without a heartbeat after which an agent is idle.
pub const IDLE_AFTER_PERIODS: u32 = 5;
/// Heartbeats older than this many periods leave the relay unread.
pub const AGENT_MESSAGE_PERIODS: u32 = 10;

/// Bytes of address space that a module's process may have: files are read, not loaded, so this is plenty.
pub const MODULE_ADDRESS_SPACE_BYTES: u64 = 2 << 30;
/// Bytes that a module's process may print at a time: the results of all operations of a command must fit
/// RESULT_SIZE_BYTES_MAX.
pub const MODULE_OUTPUT_BYTES_MAX: usize = 4 << 20;
/// What is kept for each operation that is still to come, so that a large result leaves room for those behind it.
pub const MODULE_OUTPUT_BYTES_MIN: usize = 32 << 10;
/// How often it may print so much: the last is its result, those before are what it had found so far.
pub const MODULE_RESULTS_MAX: usize = 32;
/// What of that a module keeps free, so that its own limit is met first, and it says so.
pub const MODULE_OUTPUT_RESERVE_BYTES: usize = 4 << 10;
/// Bytes of a result of a module that is run by hand.
pub const MODULE_OUTPUT_BYTES_BY_HAND_MAX: usize = 64 << 20;
/// How long before its end a module stops, so that it returns what it has found: a tenth of its time, and no longer than
/// this.
pub const MODULE_TIME_RESERVE_MAX: Duration = Duration::from_secs(10);
/// How long a module whose result is there may take to end.
pub const MODULE_END_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest pause between two looks at every kept file and every queue, for what is old enough to be deleted.
pub const CLEANING_PERIOD_MAX: Duration = Duration::from_secs(600);

/// Deliveries that an agent takes before it looks at what it has.
pub const AGENT_DELIVERIES_MAX: usize = 64;

/// How long the database may take to find the agents that a target selects.
pub const TARGET_TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long the database may take for anything else.
pub const STATEMENT_TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long after a command that ends agents the ended process is looked for: long enough for schedulers that were stopped
/// over a weekend, short enough not to go through years of commands every minute.
pub const ENDED_AGENTS_PERIOD: Duration = Duration::from_secs(7 * 86400);
/// Commands that action-new prepares at once, beyond those of one action.
pub const FAN_OUT_COMMANDS_MAX: usize = 10_000;
/// How long action-new looks for the agents of one action after the other before it goes on with those it has.
pub const SELECTING_TIME_MAX: Duration = Duration::from_secs(5);
/// Actions whose parsed form is remembered while a batch of their commands is read.
pub const KNOWN_ACTIONS_MAX: usize = 4;
/// Agents that action-new loads at once, with all that they tell of themselves: so many again are loaded while the
/// commands of these are written.
pub const AGENTS_LOADED_MAX: usize = BATCH_ENTRIES_MAX;
/// How long after an action ran out answers of its commands are still waited for: they may be on the relay.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(5);
/// Bytes that all operations of a command may print together: with the action they fit RESULT_SIZE_BYTES_MAX.
pub const RESULTS_OUTPUT_BYTES_MAX: usize = 12 << 20;
/// Connections to the stat socket that wait to be answered, and how long each may take.
pub const STAT_SOCKET_TIMEOUT: Duration = Duration::from_secs(2);

/// Seconds between signs of life on a connection to the broker; one that is silent for two of them is lost.
pub const BROKER_HEARTBEAT_SECONDS: u16 = 30;
/// How often a replicated queue hands a message over that nobody acknowledges, before it is put aside.
pub const BROKER_DELIVERIES_MAX: i64 = 20;
/// Messages that the broker hands to a worker ahead, which is then the largest batch.
pub const BROKER_MESSAGES_AHEAD_MAX: usize = 512;
/// Bytes that they may have together.
pub const BROKER_BYTES_AHEAD_MAX: usize = 64 << 20;
/// Messages that it hands over ahead for a while when they had more, of any size that the broker takes: as many of the
/// largest that count have room.
pub const BROKER_MESSAGES_AHEAD_REDUCED: usize = 4;
/// How long whoever ends waits for the broker to answer a goodbye.
pub const BROKER_GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a consumer looks whether its connection is still there.
pub const BROKER_CONNECTION_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// How long an event waits for its worker.
pub const EVENT_LIFETIME: Duration = Duration::from_secs(100 * 60);
/// How long a message that nobody could use is kept at the broker, for an operator to look at.
pub const DEAD_LETTER_LIFETIME: Duration = Duration::from_secs(72 * 3600);
/// Characters of the reason that is kept with it.
pub const DEAD_LETTER_REASON_CHARS_MAX: usize = 1000;

/// An outage that lasts so long is told of once more.
pub const OUTAGE_LOGGED_FIRST: Duration = Duration::from_secs(10);
/// And again whenever it lasts so many times longer.
pub const OUTAGE_LOGGED_FACTOR: u32 = 4;
/// How often it is told how many messages of a kind were refused.
pub const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// How long an action that ends a duplicate agent may be run; nor is another one made meanwhile.
pub const KILL_ACTION_VALIDITY: Duration = Duration::from_secs(600);
/// How far such an action's validity begins in the past, for clocks that are behind.
pub const KILL_ACTION_MARGIN: Duration = Duration::from_secs(60);
/// Queues of agents that are gone that one cleaning looks at.
pub const QUEUES_CLEANED_MAX: usize = 10_000;
/// Bytes of one log line, and a few: what rsyslog takes by default, and a datagram surely holds.
pub const LOG_LINE_BYTES_MAX: usize = 8000;
/// How long syslog may take to connect, or to take a line.
pub const SYSLOG_TIMEOUT: Duration = Duration::from_secs(1);
/// How long syslog is left alone after it did not.
pub const SYSLOG_PAUSE: Duration = Duration::from_secs(5);
