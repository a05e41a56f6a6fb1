//! MIG
pub mod acl;
pub mod action;
pub mod command;
pub mod heartbeat;
pub mod id;
pub mod investigator;
pub mod json;
pub mod limits;
pub mod modules;
pub mod signature;
pub mod time;
