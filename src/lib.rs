//! MIG, Mozilla InvestiGator: signed investigations of many endpoints.
//!
//! An investigator writes an *action*, signs it, and drops the file into a *spool*. A *scheduler* turns it into one
//! *command* per targeted *agent* and sends them over a *relay*. Agents verify the signatures against keys and an access
//! list of their own, run the *operations* in *modules*, and return *results*, which the scheduler puts into a *store*.
//! The owners of the servers can order nothing: only signatures count.
//!
//! # The journey
//!
//! Every stage is a directory, every unit of work a file in it, and a file's place says all about its state.
//!
//! ```text
//! investigator          scheduler                                     relay            agent
//!
//!            action/pending (until enough have signed)
//!                 ▲▼
//!  cp ──► action/new ──[action-new]──► action/inflight
//!             │                  └────► command/ready
//!             ▼                              │
//!       action/invalid                [command-ready]────► mig.agt.<queueloc> ──► received
//!       (with a .reason)                     ▼                                      │ verified, claimed
//!                                     command/inflight                           running
//!                                            │                                      │ mig-agent -m MODULE
//!                                        [results] ◄────── mig.agt.results ◄──── answered
//!                                            ▼                                      │
//!                                     command/returned                            done
//!                                            │
//!                                    [command-returned]──► store
//!                                            ▼
//!                        action/done ◄─ command/done
//! ```
//!
//! Of several schedulers that share a store, each takes in answers to all of them: one to another's command goes to the store
//! at once, and action-ended there moves the action on. heartbeats registers agents, collector expires and deletes, periodic marks who is absent. To know what happens to a file
//! in `command/ready`, open `src/flow/command_ready.rs`; every other worker is found the same way.
//!
//! # The map
//!
//! | module | what |
//! |---|---|
//! | `agent` | the endpoint's program, its workers, running modules, handing over to another version; below `agent/os` what depends on the operating system |
//! | `scheduler` | the scheduler's program: the workers of [`mod@flow`] around one spool, store and relay; its id, key and whitelist |
//! | `api` | the REST API: a table of routes, a file for each resource, who asks, actions that are followed live |
//! | `client` | what investigators' programs share |
//! | `flow` | the state diagram: one file per worker of the scheduler |
//! | [`worker`] | the loop, the drains of stages and queues, back-off, refusals, watchdog: for the scheduler and the agent |
//! | [`relay`] `store` | what carries messages and what remembers; one trait each, with one contract suite each; `store::catalog` is what people read |
//! | [`spool`] | the only code that renames, unlinks or syncs in stages |
//! | [`modules`] | what operations run; clients check their parameters |
//! | `targets` | target text to a checked expression, the only place that touches target SQL |
//! | [`signature`] [`acl`] | signed text to distinct signers; weights |
//! | [`action`] [`command`] [`heartbeat`] [`event`] [`investigator`] | the documents that travel |
//! | [`id`] [`json`] [`mod@time`] [`re2`] [`hex`] | ids and file names, bounded JSON, times, regular expressions of RE2's grammar, digits of bytes |
//! | [`cli`] [`config`] [`logging`] [`reload`] [`signals`] [`wake`] [`waiting`] [`io_thread`] [`dial`] [`tls`] | what programs share |
//! | [`failure`] [`error`] [`limits`] | what to do about a failure, exit codes, every limit of the system |
//!
//! Dependencies point downwards in this list: from the programs to the documents. The features `agent`, `server` and
//! `client` build each part alone: an agent links no database. The feature `mutants` plants bugs for the tests.
//!
//! # The words
//!
//! | word | meaning |
//! |---|---|
//! | action | what an investigator signs and drops: a target and operations |
//! | command | an action for one agent; it ends with an answer |
//! | operation | a module and its parameters; it has a result |
//! | stage | a directory of the spool; an [`spool::Entry`] is a file of it that was read |
//! | step | one change of the spool: put, move, clear; a [`spool::Batch`] of them is committed together |
//! | worker | what the loop runs in a thread, with a name and a lock: [`worker::Worker`] |
//! | handler | what a worker does with a file, a message or a round; it returns steps, and moves no file itself |
//! | check | the part of a handler without effects, on all processors |
//! | verdict | a handler's decision on a file: done with these steps, rejected, or not yet |
//! | settlement | a handler's decision on a message: accepted, discarded or rejected |
//! | failure | an error as what to do about it: skip, refuse, retry, end: [`failure::Failure`] |
//! | queue | a queue of the relay |
//! | drop | a file that was put into action/new from outside |
//! | detached signature | a signature in a file of its own beside an action: `NAME.json.asc-X` |
//! | join | add a signature that was dropped to the action that it covers |
//! | adopt | replace a drop by a file of ours, with an id |
//! | claim | the move to `running`, after which an agent's command never runs again |
//!
//! # How to add
//!
//! A **worker**: write its row into `spool-layout/STATES.md`; make `src/flow/NAME.rs` with a struct that implements
//! [`worker::stage::FileHandler`], [`worker::queue::MessageHandler`] or [`worker::clock::ClockHandler`]; add its name to
//! `WORKERS` and its construction to `build` in `src/scheduler.rs`; add it to `Subject` in `tests/faults/subject.rs`, which
//! puts a fault into each of its system calls.
//!
//! A **back-end**: implement [`relay::Relay`] or `store::Store` in a child of that module; add it to the list of
//! implementations in `tests/servers/relay_contract.rs` or `tests/servers/store_contract.rs`; add its configuration to `src/config/` and its
//! construction to `open_real_relay` or `open_store` in `src/scheduler.rs`.
//!
//! A **route** of the API: add it to the table in `src/api/routes.rs`, and its handler to the file of its resource.
//!
//! A **module**: make `src/modules/NAME.rs` with a struct that implements [`modules::Module`], and declares what it may do on the
//! machine; add it to the list and the table in `src/modules.rs`; describe its parameters and results in `spool-layout/FORMAT.md`; test it through `mig-agent -m NAME`.

pub mod acl;
pub mod action;
#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "server")]
pub mod api;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod command;
pub mod config;
#[cfg(feature = "amqp")]
pub mod dial;
pub mod error;
pub mod event;
pub mod failure;
#[cfg(feature = "server")]
pub mod flow;
pub mod heartbeat;
pub mod hex;
pub mod id;
pub mod investigator;
#[cfg(feature = "amqp")]
pub mod io_thread;
pub mod json;
pub mod limits;
pub mod logging;
pub mod modules;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod re2;
pub mod relay;
pub mod reload;
#[cfg(feature = "server")]
pub mod scheduler;
pub mod signals;
pub mod signature;
pub mod spool;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "targets")]
pub mod targets;
pub mod time;
#[cfg(feature = "amqp")]
pub mod tls;
pub mod waiting;
pub mod wake;
pub mod worker;
