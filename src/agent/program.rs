//! `mig-agent`: the command line.

use super::execute::Executor;
use super::os::service::{Service, Wish, is_supervised};
use super::stat_socket::ask;
use super::{Mode, immortal, local, start};
use crate::cli::{Common, Program};
use crate::config::LoggingMode;
use crate::config::agent::AgentConfig;
use crate::error::{ExitClass, ProgramError};
use gumdrop::Options;
use std::path::{Path, PathBuf};

/// What `mig-agent --help` says.
pub const PROGRAM: Program = Program {
    name: start::NAME,
    about: "mig-agent - runs signed investigations on this machine\n\n\
        Usage: mig-agent [-c FILE] [-f | -d | --checkin | --once]\n       mig-agent [-c FILE] -q help | pid | status | shutdown\n       \
        mig-agent [-c FILE] --install | --uninstall [--root DIR]\n       mig-agent -m MODULE help | PARAMETERS | - | MODULE'S OPTIONS\n       mig-agent -i ACTION",
    details: "Files: /etc/mig/mig-agent.cfg (see conf/mig-agent.cfg.inc), and the keyring, access list and run directory it names.\n\
        Keyring and access list are read again when they change, and after SIGHUP.\n\
        Without -f it makes itself a service (agent.installservice), or starts itself again when it ends unasked\n\
        (agent.isimmortal), unless systemd started it.\n\
        Examples: mig-agent -m file -path /etc -name '^passwd$' -content '^root:'\n          mig-agent -m file '{\"searches\":{\"s1\":{\"paths\":[\"/etc\"],\"names\":[\"^passwd$\"]}}}'\n\n\
        Exit codes: 0 done; 1 an operation failed (-i); 64 command line; 65 bad parameters or action; 66 unreadable file;\n\
        69 another agent uses the run directory, or none answers (-q), or there is no systemd (--install); 74 a sync failed, check the disk; 75 the relay or the run directory cannot\n\
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
    /// configuration file (default: /etc/mig/mig-agent.cfg)
    #[options(short = "c", meta = "FILE", no_long)]
    config: Option<String>,
    /// only run: neither become a service nor start itself again; a supervisor keeps it running
    #[options(short = "f", no_long)]
    foreground: bool,
    /// as -f, and log everything to standard output
    #[options(short = "d", no_long)]
    debug: bool,
    /// ask the running agent: help, pid, status, shutdown
    #[options(short = "q", meta = "QUESTION", no_long)]
    query: Option<String>,
    /// with -q status: as JSON
    #[options(no_short)]
    json: bool,
    /// run what waits, for a limited time, then exit: for cron; does nothing while another agent runs
    #[options(no_short)]
    checkin: bool,
    /// make the agent a service of systemd, and start it
    #[options(no_short)]
    install: bool,
    /// stop and remove that service
    #[options(no_short)]
    uninstall: bool,
    /// with --install or --uninstall: in the image of a machine, whose files FILE and all others are
    #[options(no_short, meta = "DIR")]
    root: Option<String>,
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
    let question = options.query.as_deref().map(|words| ask::question(words, options.json)).transpose()?;
    let place = Place::of(&options)?;
    let mut config = AgentConfig::read(&place.configuration())?;
    if let Some(question) = question {
        return ask::ask(&config.socket, question);
    }
    if options.install || options.uninstall {
        let service = place.service(&config);
        return if options.install { service.install(Wish::Request) } else { service.uninstall() };
    }
    if options.debug {
        (config.logging.mode, config.logging.level) = (LoggingMode::Stdout, log::LevelFilter::Debug);
    }
    crate::cli::set_umask();
    crate::logging::start(start::NAME, &config.logging)?;
    let mode = match options.once {
        true => Mode::Once,
        false if options.checkin || config.check_in => Mode::CheckIn,
        false => Mode::Daemon,
    };
    let is_alone = mode == Mode::Daemon && !options.foreground && !options.debug && !is_supervised();
    if is_alone && config.install_service && becomes_service(&place.service(&config))? {
        return Ok(());
    }
    if is_alone && config.is_immortal {
        return immortal::keep_running();
    }
    start::run(&config, Executor::new(config.module_timeout), mode)
}

/// Whether the service has the agent now. Where there can be none, the agent runs here.
fn becomes_service(service: &Service) -> Result<bool, ProgramError> {
    match service.check_place() {
        Ok(()) => service.install(Wish::FirstStart).map(|()| true),
        Err(error) => {
            log::warn!("agent.installservice: {error}; the agent runs here");
            Ok(false)
        }
    }
}

/// Where the files are.
struct Place {
    root: PathBuf,
    /// As named with -c, absolute.
    file: Option<PathBuf>,
}

impl Place {
    fn of(options: &AgentOptions) -> Result<Place, ProgramError> {
        let usage = |text: &str| ProgramError::new(ExitClass::Usage, text);
        let is_for_service = options.install || options.uninstall;
        let root = match &options.root {
            Some(_) if !is_for_service => return Err(usage("--root needs --install or --uninstall")),
            Some(root) => std::fs::canonicalize(root)
                .map_err(|e| ProgramError::new(ExitClass::NoInput, format!("--root {root}: {e}")))?,
            None => PathBuf::from("/"),
        };
        if options.install && options.uninstall {
            return Err(usage("--install and --uninstall exclude each other"));
        }
        let absolute = |file: &String| {
            std::path::absolute(file).map_err(|e| ProgramError::new(ExitClass::NoInput, format!("-c {file}: {e}")))
        };
        Ok(Place { root, file: options.config.as_ref().map(absolute).transpose()? })
    }

    fn configuration(&self) -> PathBuf {
        let named = self.file.as_deref().unwrap_or(Path::new("/etc/mig/mig-agent.cfg"));
        self.root.join(named.strip_prefix("/").unwrap_or(named))
    }

    fn service<'a>(&'a self, config: &'a AgentConfig) -> Service<'a> {
        Service { root: &self.root, config, file: self.file.as_deref() }
    }
}
