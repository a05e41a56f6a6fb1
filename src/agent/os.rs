//! What the agent asks of the operating system that another one would answer otherwise. All of it is here and below; Linux is
//! the only one filled in.
//!
//! | module | what |
//! |---|---|
//! | [`confine`] | a module's process: its limits, and the layers that take away what its module does not need |
//! | [`facts`] | what the system is: distribution, architecture, what starts its services |
//! | [`groups`] | a control group for each operation: memory, processors, processes |
//! | `landlock` `system_calls` | two of the layers: files and network; system calls |
//! | [`memory`] | whether the kernel ended a process for memory |
//! | [`service`] | the agent as a service of systemd |

pub mod confine;
pub mod facts;
pub mod groups;
mod landlock;
pub mod memory;
pub mod service;
mod system_calls;
