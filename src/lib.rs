//! MIG, Mozilla InvestiGator: signed investigations of many endpoints.
//!
//! An investigator writes an *action*, signs it, and drops the file into a *spool*. A *scheduler* turns it into one
//! *command* per targeted *agent* and sends them over a *relay*. Agents verify the signatures against keys and an access
//! list of their own, run the *operations* in *modules*, and return *results*, which the scheduler puts into a *store*.
//! Whoever owns the servers can order nothing: only signatures count.
//!
//! # The journey
//!
//! Every stage is a directory, every unit of work a file in it, and a file's place says all about its state.
//!
//! ```text
//! investigator          scheduler                                     relay            agent
//!
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
//! heartbeats registers agents, collector expires and deletes, periodic marks who is away. To know what happens to
//! a file in `command/ready`, open `src/flow/command_ready.rs`; every other worker is found the same way.
//!
//! # The map
//!
//! | module | what |
//! |---|---|
//! | [`action`] [`command`] [`heartbeat`] [`investigator`] | the things that travel |
//! | [`id`] [`json`] [`time`] | ids and file names, bounded JSON, times |
//! | [`signature`] [`acl`] | signed text to distinct signers; weights |
//! | `targets` | target text to a checked expression, the only place that touches target SQL |
//! | [`limits`] | every limit of the system, with unit and reason |
//! | [`re2`] | regular expressions of RE2's grammar, for searches and whitelists |
//! | `parallel` | two processors for a large batch |
//! | [`error`] [`cli`] [`config`] [`logging`] [`reload`] [`signals`] | what programs share |
//! | [`spool`] | the only code that renames, unlinks or syncs in stages |
//! | [`flow`] | workers and the loop around them |
//! | [`relay`] `store` | what brings messages and what remembers; one trait each, with one contract suite each |
//! | `scheduler` | the workers around one spool, store and relay |
//! | [`modules`] | what operations run; clients check their parameters |
//! | `agent` | the endpoint |
//! | `client` | what investigators' programs share |
//!
//! Dependencies point upwards in this list: from the programs to the things that travel. The features `agent`, `server`
//! and `client` build each part alone: an agent links no database.

pub mod acl;
pub mod action;
#[cfg(feature = "agent")]
pub mod agent;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod command;
pub mod config;
pub mod error;
pub mod failure;
#[cfg(feature = "server")]
pub mod flow;
pub mod heartbeat;
pub mod id;
pub mod investigator;
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
#[cfg(feature = "server")]
pub mod targets;
pub mod time;
#[cfg(feature = "amqp")]
pub mod tls;
pub mod wake;
pub mod worker;
