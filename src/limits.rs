//! Every limit of the system, with its unit and its reason.
//!
//! A limit is part of an interface: input beyond it is refused with a message that names the field. None of them is a
//! tuning knob; settings for operators are in the configuration.

use std::time::Duration;

/// Bytes of one action file. The largest action that came with the original is 6 kB.
pub const ACTION_SIZE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one command with its results, on disk and on the relay.
pub const RESULT_SIZE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one command file in the spool: the action that was sent, and the agent's results.
pub const COMMAND_FILE_SIZE_BYTES_MAX: u64 = RESULT_SIZE_BYTES_MAX + ACTION_SIZE_BYTES_MAX;
/// Bytes of one heartbeat (`spool-layout/FORMAT.md`: 100 kB).
pub const HEARTBEAT_SIZE_BYTES_MAX: u64 = 100_000;
/// Bytes of an agent's name in a heartbeat (`spool-layout/FORMAT.md`).
pub const AGENT_NAME_BYTES_MAX: usize = 1024;
/// Bytes of an agent's version in a heartbeat (`spool-layout/FORMAT.md`).
pub const AGENT_VERSION_BYTES_MAX: usize = 128;
/// Addresses in a heartbeat of ours: a host of containers may have thousands, and 256 of the longest have 12 kB.
pub const AGENT_ADDRESSES_MAX: usize = 256;
/// Bytes of the configuration behind an agent's program: keys of hundreds of investigators.
pub const STAMP_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a program that may be an agent: some ten times the size of one.
pub const PROGRAM_BYTES_MAX: u64 = 256 << 20;
/// Bytes of an agent's tags in its configuration: with everything else they fit into a heartbeat, also escaped.
pub const AGENT_TAGS_BYTES_MAX: usize = 8 << 10;
/// Bytes of a queueloc: it becomes a directory name after `mig.agt.`, and names are limited to 255.
pub const QUEUELOC_BYTES_MAX: usize = 240;
/// Bytes of an action's name: it appears in log lines and lists.
pub const ACTION_NAME_BYTES_MAX: usize = 2048;
/// Bytes of a target's text.
pub const TARGET_BYTES_MAX: usize = 8192;
/// Operations of one action: each is a process on every targeted endpoint.
pub const ACTION_OPERATIONS_MAX: usize = 256;
/// Signatures of one action: each costs a public-key operation to check.
pub const ACTION_SIGNATURES_MAX: usize = 32;
/// Bytes of one stripped signature: RSA-16384 with many subpackets stays below.
pub const SIGNATURE_BYTES_MAX: usize = 16 << 10;
/// Attempts to create a signature that is long enough: one in 256 is too short, and each may prompt for a card's PIN.
pub const SIGNING_ATTEMPTS_MAX: usize = 8;
/// Parts (objects, arrays, elements) of a free-form object: description, threat, tags.
pub const JSON_OBJECT_PARTS_MAX: usize = 2_000;
/// Parts of an agent's environment: the original's agents list every address, and so many fill a heartbeat.
pub const JSON_ENVIRONMENT_PARTS_MAX: usize = 20_000;
/// Parts of one operation's parameters: lists of tens of thousands of hashes exist.
pub const JSON_PARAMETERS_PARTS_MAX: usize = 100_000;
/// Nesting of objects and arrays in an agent's results: SQLite parses a thousand levels, and an error in one agent's
/// results would break every target that reads results. Our JSON parser has the same limit.
pub const RESULTS_LEVELS_MAX: usize = 127;
/// Bytes of a module's name.
pub const MODULE_NAME_BYTES_MAX: usize = 64;
/// Largest id that we assign: the original transmits ids as 64-bit floats.
pub const ID_OURS_MAX: u64 = (1 << 53) - 1;
/// Largest id that we accept: the maximum of a signed 64-bit integer in both databases.
pub const ID_ACCEPTED_MAX: u64 = i64::MAX as u64;

/// Bytes of a configuration, ACL or whitelist file.
pub const CONFIGURATION_SIZE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a keyring file.
pub const KEYRING_SIZE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one page of the API that a client reads: several of the largest commands.
pub const CLIENT_PAGE_BYTES_MAX: u64 = 4 * COMMAND_FILE_SIZE_BYTES_MAX;
/// Rows of a page that a client asks for; fewer when a page is too large.
pub const CLIENT_PAGE_ROWS: u64 = 200;
/// Rows that a client asks an API of the original for, which does not say how many agents a target selects.
pub const CLIENT_ROWS_MAX: u64 = 1_000_000;
/// Bytes of a link to the next page: the parameters of a search, with the longest target, escaped.
pub const CLIENT_LINK_BYTES_MAX: usize = 4 * TARGET_BYTES_MAX;
/// Bytes of one server-sent event: a command, with every byte of it escaped.
pub const CLIENT_EVENT_BYTES_MAX: usize = 2 * COMMAND_FILE_SIZE_BYTES_MAX as usize;
/// Parts of an operation's result that a client parses: ten times what our agents return.
pub const CLIENT_RESULT_PARTS_MAX: usize = 2_000_000;
/// Answered commands that a client remembers, to count each once.
pub const CLIENT_COMMANDS_MAX: usize = 10_000_000;
/// Events that wait for the one that prints.
pub const CLIENT_EVENTS_AHEAD_MAX: usize = 64;
/// How long the API may take to accept a connection.
pub const CLIENT_CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the API may be silent: more than its own limit for a search, and than three comments of a stream of events.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long after the end of an action no answer may have come before following ends.
pub const CLIENT_LAST_ANSWERS_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause before a lost connection is tried again.
pub const CLIENT_RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often an API without events is asked.
pub const CLIENT_POLL_PERIOD: Duration = Duration::from_millis(500);
/// A progress bar appears after this time: what is quicker needs none.
pub const CLIENT_PROGRESS_AFTER: Duration = Duration::from_millis(250);
/// A session that ends sooner is not used any more.
pub const CLIENT_SESSION_LEFT_MIN: Duration = Duration::from_secs(30);
/// Bytes of a cached session.
pub const CLIENT_SESSION_BYTES_MAX: u64 = 16 << 10;
/// Rows of a table on a terminal that are aligned together.
pub const CLIENT_TABLE_ROWS: usize = 1_000;
/// Agents that `mig explain` lists.
pub const CLIENT_EXPLAINED_AGENTS: u64 = 10;
/// Characters of the arguments that become an action's name.
pub const CLIENT_NAME_CHARACTERS_MAX: usize = 100;
/// Bytes of an answer to a question on the terminal.
pub const CLIENT_REPLY_BYTES_MAX: u64 = 1024;

/// Bytes of one compiled regular expression of a whitelist: `\w{60}` fits, and so does a list of thousands of host
/// names; `(.{1000}){1000}` does not, because a few such lines would delay heartbeats by a second.
pub fn whitelist_expression_size_bytes_max(expression: &str) -> usize {
    (64 << 10) + 256 * expression.len()
}
/// Bytes of all compiled regular expressions of a whitelist together.
pub const WHITELIST_REGEX_SIZE_BYTES_MAX: usize = 64 << 20;
/// Regular expressions in one set: the time to compile it grows with the square of their number, and 2,000 that ignore
/// case took more than a second.
pub const REGEX_SET_EXPRESSIONS_MAX: usize = 100;
/// Bytes of the cache for matching one set of a whitelist's regular expressions.
pub const REGEX_CACHE_BYTES_MAX: usize = 2 << 20;

/// Entries of one batch of a worker: they share the syncs, each of which costs as much as a hundred files.
pub const BATCH_ENTRIES_MAX: usize = 1024;
/// Entries of the first batch after a start or a failure, so that retries during an outage are cheap.
pub const TRIAL_ENTRIES_MAX: usize = 32;
/// Smallest batch for which a second thread is started: for less, starting it takes longer than it saves.
pub const PARALLEL_ENTRIES_MIN: usize = 32;
/// A pass begins no further batch after this time: the loop checks for a stop, and lists again.
pub const PASS_TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes of file content of a batch in memory, beyond its first entry.
pub const BATCH_SIZE_BYTES_MAX: u64 = 32 << 20;
/// Names in one listing of a stage; the next listing returns the rest.
pub const LISTING_ENTRIES_MAX: usize = 1_000_000;

/// Names in action/new of what is no drop that are remembered, so that each is logged once.
pub const OTHERS_LOGGED_MAX: usize = 100;
/// How long an empty, incomplete or unreadable file is ignored after its last change.
pub const HALF_WRITTEN_GRACE: Duration = Duration::from_secs(60);
/// Bytes of a detached signature: the armor of the largest one, with comments.
pub const DETACHED_SIGNATURE_SIZE_BYTES_MAX: u64 = 32 << 10;
/// How long a detached signature waits for its action to appear, and how long at most an action waits for a detached
/// signature that is being written.
pub const DETACHED_SIGNATURE_KEPT: Duration = Duration::from_secs(600);
/// How often an action is looked at beside which a detached signature is being written.
pub const DETACHED_SIGNATURE_PAUSE: Duration = Duration::from_secs(1);
/// Actions in action/pending: each is compared with what is dropped. Further ones wait in action/new.
pub const PENDING_ACTIONS_MAX: usize = 256;
/// How often an action is looked at for which action/pending has no room.
pub const PENDING_PAUSE: Duration = Duration::from_secs(60);
/// Investigators that are read from the store, and bytes of the key of each.
pub const STORED_INVESTIGATORS_MAX: usize = 2_000;
/// See [`STORED_INVESTIGATORS_MAX`].
pub const STORED_KEY_BYTES_MAX: usize = 256 << 10;
/// How long after SIGTERM a program exits, whatever its workers wait for: sooner than service managers and operators lose
/// their patience (10 s), long enough for what works.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(6);
/// How long a program that must end waits for its last log line to be written.
pub const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(1);
/// How long one way to a server (directly, or through a proxy) may take to open, when there are others: three attempts of the
/// kernel, and what a proxy needs to reach the server itself.
pub const DIAL_WAY_TIME_MAX: Duration = Duration::from_secs(10);
/// No further way to a server is begun after this time: less than a service manager waits for a worker.
pub const DIAL_TIME_MAX: Duration = Duration::from_secs(120);
/// Bytes of a proxy's answer to CONNECT: some show a page of headers.
pub const PROXY_ANSWER_BYTES_MAX: usize = 16 << 10;
/// Redirects that a download follows.
pub const FETCH_REDIRECTS_MAX: usize = 5;
/// Bytes that a download reads at once.
pub const FETCH_CHUNK_BYTES: usize = 64 << 10;
/// Characters of a download's URL that a message repeats.
pub const URL_SHOWN_CHARACTERS_MAX: usize = 300;
/// Bytes of the authorities that a module's process receives: a bundle of all public ones has a quarter of this.
pub const MODULE_AUTHORITIES_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the input of a module's process: its limits with the authorities and proxies, escaped, and its parameters.
pub const MODULE_INPUT_BYTES_MAX: u64 = ACTION_SIZE_BYTES_MAX + 2 * MODULE_AUTHORITIES_BYTES_MAX + (64 << 10);
/// How long the API may take to say the agent's address.
pub const PUBLIC_IP_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of the API's answer to that.
pub const PUBLIC_IP_BYTES_MAX: u64 = 64;
/// Initial back-off after a failure; doubled each time.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);
/// Maximum back-off of a scheduler's worker whose store or relay is unavailable: results are pending meanwhile.
pub const SCHEDULER_RETRY_PAUSE_MAX: Duration = Duration::from_millis(700);
/// Maximum back-off of an agent whose relay is unavailable: there are thousands of agents.
pub const AGENT_RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Maximum back-off of a single command without a queue, or of a file that cannot be read or moved.
pub const UNROUTABLE_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Heartbeat periods without a heartbeat after which an agent is idle.
pub const IDLE_AFTER_PERIODS: u32 = 5;
/// Heartbeat periods after which an unread heartbeat expires on the relay.
pub const AGENT_MESSAGE_PERIODS: u32 = 10;

/// Address space of a module's process in bytes: sufficient, as files are read in blocks.
pub const MODULE_ADDRESS_SPACE_BYTES: u64 = 2 << 30;
/// Memory of all processes of an operation in bytes, cache of files included, where control groups limit it: half of the
/// address space, which is never used up.
pub const MODULE_MEMORY_BYTES: u64 = 1 << 30;
/// Threads and processes of an operation, where control groups limit them: more than half of the processors of a large
/// machine.
pub const MODULE_TASKS_MAX: u64 = 512;
/// Processes and threads of the agent's user, as long as an operation runs, where that is not root: room for others that the
/// user has, as the kernel counts them together.
pub const MODULE_USER_TASKS_MAX: u64 = 4096;
/// Bytes kept of what a module's process writes to its standard error: a message of a panic, or a few of others.
pub const MODULE_MESSAGES_BYTES_MAX: usize = 4 << 10;
/// Authorities in a directory of them whose links are followed for a module that opens the network; the largest collection has
/// some hundreds, each under two names.
pub const AUTHORITY_LINKS_MAX: usize = 4096;
/// Weight of an operation's group for processors and disks, of 1 to 10000; others have 100.
pub const MODULE_WEIGHT: u64 = 10;
/// Bytes of one result printed by a module's process: the results of all operations of a command must fit
/// RESULT_SIZE_BYTES_MAX.
pub const MODULE_OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Bytes reserved for each pending operation, so that a large result leaves space for those after it.
pub const MODULE_OUTPUT_BYTES_MIN: usize = 32 << 10;
/// Results that a module's process may print: the last one is final, those before are partial. The module `file` prints one
/// for each twentieth of its time, and a few more at first.
pub const MODULE_RESULTS_MAX: usize = 48;
/// Bytes of the output limit that a module leaves unused, so that its own limit is reached first and reported.
pub const MODULE_OUTPUT_RESERVE_BYTES: usize = 4 << 10;
/// Bytes of a result of a module that is run by hand.
pub const MODULE_OUTPUT_BYTES_BY_HAND_MAX: usize = 64 << 20;
/// How long before its time limit a module stops to return a partial result: a tenth of the limit, at most this.
pub const MODULE_TIME_RESERVE_MAX: Duration = Duration::from_secs(10);
/// How long before the end of its time an agent that checks in ends what runs, to send the answer: a fifth of the time, at most
/// this. A module that hangs is killed, and a broker is connected, in less.
pub const CHECK_IN_ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a module may take to exit after its result.
pub const MODULE_END_TIME_MAX: Duration = Duration::from_secs(5);
/// Maximum interval between two scans of all kept files and queues for expired ones.
pub const CLEANING_PERIOD_MAX: Duration = Duration::from_secs(600);

/// Platforms of one `upgrade`: more than there are.
pub const UPGRADE_PLATFORMS_MAX: usize = 64;
/// Bytes of a URL in its parameters.
pub const UPGRADE_LOCATION_BYTES_MAX: usize = 2048;
/// How long its download may take where no agent sets a limit.
pub const UPGRADE_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a new program may take to say its version: a slow disk reads some 20 MB.
pub const PROGRAM_VERSION_TIME_MAX: Duration = Duration::from_secs(20);
/// Drafts of programs that one run removes.
pub const PROGRAM_DRAFTS_REMOVED_MAX: usize = 100;
/// How long the new program may take to work after an upgrade: it waits for the lock, and reads what is there.
pub const HAND_OVER_TIME_MAX: Duration = Duration::from_secs(60);
/// How long starting the new program may take: a slow disk reads some 20 MB.
pub const SUCCESSOR_START_TIME_MAX: Duration = Duration::from_secs(20);
/// How long an agent that is destroyed may take to end after SIGTERM: it ends itself after [`STOP_TIME_MAX`].
pub const AGENT_END_TIME_MAX: Duration = Duration::from_secs(STOP_TIME_MAX.as_secs() + 4);
/// Largest process id of Linux.
pub const PID_MAX: i32 = 4_194_304;
/// Bytes of a unit of systemd.
pub const UNIT_SIZE_BYTES_MAX: u64 = 64 << 10;

/// Deliveries that an agent receives before it runs them; its prefetch.
pub const AGENT_DELIVERIES_MAX: usize = 64;
/// Files in an agent's received and in its answered, after which it takes, or runs, no further command: a relay must not
/// fill an endpoint's disk.
pub const WAITING_FILES_MAX: usize = 1_000;
/// Bytes of these files, for each of the two; the last one may exceed it.
pub const WAITING_BYTES_MAX: u64 = 256 << 20;
/// Answers that an agent keeps until their actions expire, to send them again: a year of three a day.
pub const KEPT_ANSWERS_MAX: usize = 1_000;
/// Bytes of these answers.
pub const KEPT_ANSWERS_BYTES_MAX: u64 = 256 << 20;
/// Commands that ran and whose answers are not kept, which are remembered by name until their actions expire: a note of a
/// megabyte, which is read before each command.
pub const RAN_COMMANDS_MAX: usize = 20_000;
/// How long an agent keeps what it could not read as a command.
pub const UNREADABLE_KEPT: Duration = Duration::from_secs(30 * 86400);

/// Bytes of an embedded store that is checked at start when it was in use until then: some tenths of a second.
pub const STORE_CHECKED_SIZE_BYTES_MAX: u64 = 64 << 20;
/// How long the database may take to find the agents that a target selects.
pub const TARGET_TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long the database may take for anything else.
pub const STATEMENT_TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long a database server may take to answer: more than its own limits, so that its reason is logged where it works.
pub const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(STATEMENT_TIME_LIMIT.as_secs() + 10);
/// How long to wait until a connection to a database is closed.
pub const DATABASE_GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);
/// How long after a command that ends agents the ended process is searched for: long enough for schedulers that were
/// stopped over a weekend, short enough not to scan years of commands every minute.
pub const ENDED_AGENTS_PERIOD: Duration = Duration::from_secs(7 * 86400);
/// Commands that action-new prepares in one batch, beyond those of one action.
pub const FAN_OUT_COMMANDS_MAX: usize = 10_000;
/// How long action-new selects the agents of further actions before it continues with those it has.
pub const SELECTING_TIME_MAX: Duration = Duration::from_secs(5);
/// Parsed actions that are cached while a batch of their commands is read.
pub const KNOWN_ACTIONS_MAX: usize = 4;
/// Agents that action-new loads at a time, with all fields.
pub const AGENTS_LOADED_MAX: usize = BATCH_ENTRIES_MAX;
/// How long results are still accepted after an action has expired: they may be on the relay.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(5);
/// The same for actions of another scheduler, which ends them itself while it runs: a restart is no reason to discard the
/// answers on its disk.
pub const OTHERS_EXPIRY_GRACE: Duration = Duration::from_secs(60);
/// How long commands may wait for results to take in their answers until it is logged: several schedulers wait a minute for
/// what one of them may hold unacknowledged.
pub const WAITING_LOGGED_AFTER: Duration = Duration::from_secs(180);
/// How often it is logged then.
pub const WAITING_LOGGED_EVERY: Duration = Duration::from_secs(600);
/// Bytes of the output of all operations of a command together: with the action they fit RESULT_SIZE_BYTES_MAX.
pub const RESULTS_OUTPUT_BYTES_MAX: usize = 12 << 20;
/// How long a client of the stat socket may take to send its line, and how long `mig-agent -q` waits for the answer.
pub const STAT_SOCKET_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause before the agent tries again to listen in a place that another program has.
pub const STAT_SOCKET_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Clients of the stat socket at once; the oldest one is closed for one more.
pub const STAT_CLIENTS_MAX: usize = 16;
/// Bytes of a line to the stat socket.
pub const STAT_LINE_BYTES_MAX: usize = 64;
/// Bytes of an answer of the stat socket: it fits into the kernel's buffer of a new connection.
pub const STAT_ANSWER_BYTES_MAX: u64 = 8 << 10;
/// Characters of a failure in an answer of the stat socket.
pub const STAT_FAILURE_CHARACTERS_MAX: usize = 1000;
/// How long an agent must run until the pause before its next start by its parent is the shortest again.
pub const IMMORTAL_GOOD_RUN: Duration = Duration::from_secs(60);
/// Longest pause before an agent is started again by its parent.
pub const IMMORTAL_PAUSE_MAX: Duration = Duration::from_secs(60);

/// AMQP heartbeat interval in seconds; a connection that is silent for two intervals is lost.
pub const BROKER_HEARTBEAT_SECONDS: u16 = 30;
/// Deliveries of an unacknowledged message by a replicated queue before it is dead-lettered: as good as none. RabbitMQ
/// refuses -1 before version 4, which has a limit of 20 where none is set.
pub const BROKER_DELIVERIES_MAX: i64 = i32::MAX as i64;
/// The same of queues that an older version of ours made.
pub const BROKER_DELIVERIES_MAX_BEFORE: i64 = 20;
/// How long a message that the broker has routed may take to be in its queue.
pub const BROKER_ROUTING_TIME_MAX: Duration = Duration::from_secs(1);
/// Prefetch of a scheduler's worker, and so its largest batch.
pub const BROKER_MESSAGES_AHEAD_MAX: usize = 512;
/// Bytes of all prefetched messages of a queue together.
pub const BROKER_BYTES_AHEAD_MAX: usize = 64 << 20;
/// Reduced prefetch after messages have exceeded [`BROKER_BYTES_AHEAD_MAX`]: this many fit in it, each of the largest
/// accepted size.
pub const BROKER_MESSAGES_AHEAD_REDUCED: usize = 4;
/// How long to wait for the broker to confirm a close.
pub const BROKER_GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the broker may go without confirming anything, without an alarm, before messages are published again on another
/// channel: some of them may be there twice then.
pub const BROKER_CONFIRM_TIME_MAX: Duration = Duration::from_secs(300);
/// How often a request checks whether the broker has raised an alarm, and does not read it.
pub const BROKER_ALARM_CHECKED_EVERY: Duration = Duration::from_millis(250);
/// Queues that refuse messages which are logged one by one.
pub const REFUSING_QUEUES_LOGGED_MAX: usize = 20;
/// How often a consumer checks its connection.
pub const BROKER_CONNECTION_CHECKED_EVERY: Duration = Duration::from_secs(1);
/// Time to live of an event on the relay.
pub const EVENT_LIFETIME: Duration = Duration::from_secs(100 * 60);
/// Time to live of a dead letter at the broker, for inspection by an operator.
pub const DEAD_LETTER_LIFETIME: Duration = Duration::from_secs(72 * 3600);
/// Characters of the reason that is kept with a dead letter.
pub const DEAD_LETTER_REASON_CHARS_MAX: usize = 1000;

/// Duration of an outage after which it is logged again.
pub const OUTAGE_LOGGED_FIRST: Duration = Duration::from_secs(10);
/// What fails again so soon after it worked is the same outage. One that came back has ended after this time without a
/// failure.
pub const OUTAGE_QUIET: Duration = Duration::from_secs(10);
/// Factor by which the duration grows from one log line of an outage to the next.
pub const OUTAGE_LOGGED_FACTOR: u32 = 4;
/// How often it is logged that a keyring, an access list or a whitelist cannot be used: keys that were to be removed are
/// still in force.
pub const UNUSABLE_FILE_LOGGED_EVERY: Duration = Duration::from_secs(3600);
/// How often the number of refused messages of a kind is logged, and one agent that is not authorized.
pub const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Different agents that are logged in one period: a sender that makes up names must not fill the log.
pub const TOLD_KEYS_MAX: usize = 1_000;

/// Registrations of one queueloc that are kept without commands: each restart has a new process id, and so a new one, and
/// every query on agents looks at all of them.
pub const REGISTRATIONS_MAX: usize = 100;
/// Pairs of duplicate agents that one round of periodic looks at, and those of one queueloc: hundreds of machines may be
/// made from one image.
pub const DUPLICATES_MAX: usize = 100;
/// See [`DUPLICATES_MAX`].
pub const DUPLICATES_OF_ONE_MAX: usize = 8;
/// Addresses of an agent that a log line names.
pub const ADDRESSES_LOGGED_MAX: usize = 4;
/// Validity of an action that ends a duplicate agent; no other one is created meanwhile, nor is the agent logged again.
pub const KILL_ACTION_VALIDITY: Duration = Duration::from_secs(600);
/// How far in the past such an action's validity begins, for clocks that are behind.
pub const KILL_ACTION_MARGIN: Duration = Duration::from_secs(60);
/// Longest pause before an action that ends an upgraded agent is repeated: one that an access list refuses is refused again.
pub const KILL_ACTION_PAUSE_MAX: Duration = Duration::from_secs(86400);
/// Upgraded agents that one round of periodic looks at: each costs an action and its signature.
pub const UPGRADED_AT_ONCE: usize = 100;
/// Upgraded agents whose actions are remembered; further ones wait.
pub const UPGRADED_AGENTS_MAX: usize = 10_000;
/// Queues of expired agents that are looked up at a time.
pub const QUEUES_CLEANED_AT_ONCE: usize = 500;
/// Bytes of one log line, give or take a few: rsyslog's default limit, and less than a datagram holds.
pub const LOG_LINE_BYTES_MAX: usize = 8000;
/// Timeout for connecting to syslog, and for sending a line.
pub const SYSLOG_TIMEOUT: Duration = Duration::from_secs(1);
/// Back-off after a failure of syslog.
pub const SYSLOG_PAUSE: Duration = Duration::from_secs(5);

/// Chunks of an answer of the API that wait for a reader.
pub const API_CHUNKS_AHEAD_MAX: usize = 2;
/// How long a reader of the API may keep a chunk waiting.
pub const API_WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Requests of the API that use the store at once.
pub const API_STORES_MAX: usize = 8;
/// So many of them are kept for finding out who asks.
pub const API_STORES_QUICK: usize = 3;
/// How long a request waits until it may use the store.
pub const API_STORE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest pattern of a search.
pub const API_PATTERN_BYTES_MAX: usize = 1024;
/// Rows of an answer that are read from the store at once.
pub const API_ROWS_AT_ONCE: usize = 200;
/// Bytes of results after which no more commands are read from the store at once; each may have the largest result.
pub const API_RESULTS_AT_ONCE_BYTES: usize = 8 << 20;
/// Rows that a search returns when it does not say how many.
pub const API_ROWS_DEFAULT: u64 = 10_000;
/// Most rows that a search may ask for; clients of the original ask for 1,000,000.
pub const API_ROWS_MAX: u64 = 10_000_000;
/// Rows up to which a search is counted.
pub const API_COUNTED_MAX: u64 = 10_000;
/// Largest body of a request: an action, with every byte escaped as in a form.
pub const API_BODY_BYTES_MAX: usize = 3 * ACTION_SIZE_BYTES_MAX as usize + (64 << 10);
/// Largest body that is read to its end, to be discarded.
pub const API_BODY_DISCARDED_BYTES_MAX: usize = 8 * API_BODY_BYTES_MAX;
/// Fields of a form.
pub const API_FORM_FIELDS_MAX: usize = 16;
/// How long a request may take to arrive, without its body, and with it.
pub const API_HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// See [`API_HEADER_TIME_MAX`].
pub const API_BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Connections of the API; more wait in the kernel's queue.
pub const API_CONNECTIONS_MAX: usize = 1_000;
/// How long requests may go on after SIGTERM.
pub const API_DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest nonce in a signed token.
pub const API_NONCE_BYTES_MAX: usize = 128;
/// Actions that are followed at once.
pub const API_FOLLOWED_MAX: usize = 256;
/// How often the commands of a followed action are counted.
pub const API_FOLLOW_PERIOD_MIN: Duration = Duration::from_millis(100);
/// The same, when nothing changes.
pub const API_FOLLOW_PERIOD_MAX: Duration = Duration::from_secs(2);
/// How often a reader of events hears at least a comment.
pub const API_EVENT_SILENCE_MAX: Duration = Duration::from_secs(15);
/// Events that the API takes at once.
pub const API_NEWS_AT_ONCE: usize = 512;
/// How often it looks for events that no notification told of.
pub const API_NEWS_PAUSE: Duration = Duration::from_secs(1);
/// How long it waits before it tries a relay again that failed.
pub const API_NEWS_RETRY_PAUSE: Duration = Duration::from_secs(2);

/// How long an event waits on the agent for others: a file for each second at most.
pub const EVENTS_PAUSE: Duration = Duration::from_secs(1);
/// The same when [`EVENT_BATCHES_SOON_MAX`] batches wait for the relay: what there is room for then lasts for most of a day.
pub const EVENTS_PAUSE_WAITING: Duration = Duration::from_secs(60);
/// Batches of events that wait on the agent before fewer and larger ones are made.
pub const EVENT_BATCHES_SOON_MAX: usize = 100;
/// Events of one batch.
pub const EVENTS_PER_BATCH_MAX: usize = 1_000;
/// Bytes of one event: two paths of 4 KiB with every character escaped.
pub const EVENT_BYTES_MAX: u64 = 64 << 10;
/// Bytes of one batch of events.
pub const EVENT_BATCH_BYTES_MAX: u64 = 1 << 20;
/// Parts (objects, arrays, elements) of one batch of events.
pub const EVENT_BATCH_PARTS_MAX: usize = 100_000;
/// How long events wait on the relay for a scheduler.
pub const AGENT_EVENTS_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
