//! `mig-agent`: the command line.

use super::execute::Executor;
use super::fetch::Network;
use super::{local, start};
use crate::cli::{Common, Program};
use crate::config::agent::AgentConfig;
use crate::error::{ExitClass, ProgramError};
use gumdrop::Options;
use std::path::Path;

/// What `mig-agent --help` says.
pub const PROGRAM: Program = Program {
    name: start::NAME,
    about: "mig-agent - runs signed investigations on this machine\n\n\
        Usage: mig-agent [-c FILE] [--once]\n       mig-agent -m MODULE help | PARAMETERS | - | MODULE'S OPTIONS\n       mig-agent -i ACTION",
    details: "Files: /etc/mig/mig-agent.cfg (see conf/mig-agent.cfg.inc), and the keyring, access list and run directory it names.\n\
        Keyring and access list are read again when they change, and after SIGHUP.\n\
        Examples: mig-agent -m file -path /etc -name '^passwd$' -content '^root:'\n          mig-agent -m file '{\"searches\":{\"s1\":{\"paths\":[\"/etc\"],\"names\":[\"^passwd$\"]}}}'\n\n\
        Exit codes: 0 done; 1 an operation failed (-i); 64 command line; 65 bad parameters or action; 66 unreadable file;\n\
        69 another agent uses the run directory; 74 a sync failed, check the disk; 75 the relay or the run directory cannot\n\
        be used at the moment, or is not mounted, or an operation did not end within 6 s after SIGTERM: start it again;\n\
        78 configuration.",
    rest_after: Some("-m"),
};

/// Options:
#[derive(Debug, Options)]
pub struct AgentOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// configuration file
    #[options(short = "c", meta = "FILE", default = "/etc/mig/mig-agent.cfg", no_long)]
    config: String,
    /// run in the foreground (it always does; a supervisor such as systemd keeps it running)
    #[options(short = "f", no_long)]
    foreground: bool,
    /// run a module here and print its result
    #[options(short = "m", meta = "MODULE", no_long)]
    module: Option<String>,
    /// run the operations of an action file here and print the results; signatures are not verified
    #[options(short = "i", meta = "ACTION", no_long)]
    action: Option<String>,
    /// register, handle what is there now, then exit
    #[options(no_short)]
    once: bool,
    /// with -m: limit address space and priority, and end with the parent, as the agent does
    #[options(no_short)]
    limited: bool,
    /// with -m: help, parameters as JSON, - for standard input, or the module's own options
    #[options(free)]
    words: Vec<String>,
}

impl Common for AgentOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

/// `mig-agent`.
pub fn main(options: AgentOptions) -> Result<(), ProgramError> {
    if let Some(module) = &options.module {
        return local::run_module(module, &options.words, options.limited);
    }
    if let Some(word) = options.words.first() {
        return Err(ProgramError::new(ExitClass::Usage, format!("unexpected '{word}'; try mig-agent --help")));
    }
    if let Some(action) = &options.action {
        return local::run_action(Path::new(action));
    }
    let config = AgentConfig::read(Path::new(&options.config))?;
    crate::cli::set_umask();
    let network = Network { proxies: config.proxies.clone(), ca: config.ca.clone() };
    start::run(&config, Executor::new(config.module_timeout).with_network(network), options.once)
}
