//! The programs and scripts as they are used: nothing here needs a server, or root.

mod agent;
mod api;
mod backup;
mod client_programs;
#[path = "../common/mod.rs"]
mod common;
mod confine;
mod duplicates;
mod ending;
mod formats;
#[path = "../gnupg/mod.rs"]
mod gnupg;
mod hostile;
mod journey;
mod keys;
mod logging;
mod mig;
mod mig_apart;
mod mixed_fleet;
mod openapi;
mod operations;
mod places;
mod quickstart;
mod scripts;
mod short_signatures;
mod signers;
mod stamp;
mod systemd;
mod upgrade;
mod upgrade_hostile;
