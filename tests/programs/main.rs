//! The programs and scripts as they are used: nothing here needs a server, or root.

mod agent;
mod api;
mod backup;
mod checkin;
mod client_programs;
#[path = "../common/mod.rs"]
mod common;
mod confine;
mod console;
mod duplicates;
mod ending;
mod events;
mod formats;
#[path = "../gnupg/mod.rs"]
mod gnupg;
mod hostile;
mod immortal;
mod journey;
mod keys;
mod logging;
mod mig;
mod mig_apart;
mod mixed_fleet;
mod modules;
mod openapi;
mod operations;
mod places;
mod process_memory;
mod proxies;
mod quickstart;
mod scripts;
mod service;
mod service_machine;
mod short_signatures;
mod signers;
mod stamp;
mod stat_socket;
mod systemd;
mod upgrade;
mod upgrade_hostile;
