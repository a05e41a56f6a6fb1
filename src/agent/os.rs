//! What differs between operating systems. Linux is the only one that is filled in.
//!
//! | file | what |
//! |---|---|
//! | `os/service.rs` | making the agent a service: systemd |

pub mod service;
