//! `mig-agent`: the command line.

use super::build::{self, Build};
use super::execute::Executor;
use super::fetch::Network;
use super::os::service::{self, Root, Service, Wish, is_supervised};
use super::stamp::Stamp;
use super::stamping::{self, Stamping};
use super::stat_socket::ask;
use super::{Mode, immortal, installed, local, show, start, successor};
use crate::cli::{Common, Program, print};
use crate::config::agent::{AgentConfig, DEFAULT_FILE};
use crate::config::{ConfigError, Ini, LoggingMode};
use crate::error::{ExitClass, ProgramError};
use gumdrop::Options;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
        69 another agent uses the run directory, or none answers (-q), or there is no systemd, its systemctl fails, or a unit\n\
        is there that is not the agent's (--install, --uninstall); 74 a sync failed, check the disk; 75 the relay or the run\n\
        directory cannot be used at the moment, or is not mounted, or an operation did not end within 6 s after SIGTERM:\n\
        start it again; 77 not permitted: root or the agent's user may (-q), root may (--install, --uninstall);\n\
        78 configuration.",
    rest_after: &["-m", "-P"],
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
    /// configuration file (default: /etc/mig/mig-agent.cfg, if it is there; "" for none)
    #[options(short = "c", meta = "FILE", no_long)]
    config: Option<String>,
    /// only run: neither become a service, start itself again nor check in; a supervisor keeps it running
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
    /// run a persistent module here, and print what it notices
    #[options(short = "P", meta = "MODULE", no_long)]
    persistent: Option<String>,
    /// run the operations of an action file here and print the results; signatures are not verified
    #[options(short = "i", meta = "ACTION", no_long)]
    action: Option<String>,
    /// register, handle what is there now, then exit
    #[options(no_short)]
    once: bool,
    /// wait for the run directory, which another version hands over after an upgrade
    #[options(no_short)]
    takeover: bool,
    /// put this program back where an upgrade was cut short that had replaced it
    #[options(no_short)]
    undo_upgrade: bool,
    /// with -m or -P: limit and confine the module, and end it with the parent, as the agent does
    #[options(no_short)]
    limited: bool,
    /// print the settings in force, and where each comes from, without secrets
    #[options(no_short)]
    show_config: bool,
    /// make an agent with this configuration inside; needs --output
    #[options(no_short, meta = "TOML")]
    stamp: Option<String>,
    /// with --stamp: the program to make
    #[options(no_short, meta = "FILE")]
    output: Option<String>,
    /// with --stamp: last part of the agent's version
    #[options(no_short, meta = "NAME")]
    buildenv: Option<String>,
    /// with --stamp: detached signature of the configuration, as gpg --armor --detach-sign makes it
    #[options(no_short, meta = "FILE")]
    signature: Option<String>,
    /// with --signature: the signer's public key
    #[options(no_short, meta = "FILE")]
    signer: Option<String>,
    /// with -m or -P: help, parameters as JSON, - for standard input, or the module's own options
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

/// `mig-agent`: the whole program.
pub fn start(build: &'static Build) -> ExitCode {
    build::set(build);
    if let Some((program, arguments)) = successor::asked() {
        return crate::cli::exit(start::NAME, successor::start_for_parent(&program, &arguments));
    }
    // A module's process is started often, and needs nothing of it.
    let is_module = std::env::args_os().any(|argument| argument == "--limited");
    let stamp = if is_module { None } else { Stamp::own().ok().flatten() };
    let environment = stamp.and_then(|stamp| stamp.environment.as_deref());
    crate::cli::set_version(build::full_version(build::version(), environment));
    crate::cli::main(&PROGRAM, main)
}

/// `mig-agent` with these options.
pub fn main(options: AgentOptions) -> Result<(), ProgramError> {
    if let Some(module) = &options.module {
        return local::run_module(module, &options.words, options.limited);
    }
    if let Some(module) = &options.persistent {
        return local::run_persistent(module, &options.words, options.limited);
    }
    if let Some(word) = options.words.first() {
        return Err(ProgramError::new(ExitClass::Usage, format!("unexpected '{word}'; try mig-agent --help")));
    }
    if let Some(action) = &options.action {
        return local::run_action(Path::new(action));
    }
    if options.undo_upgrade {
        return undo_upgrade();
    }
    if let Some(configuration) = &options.stamp {
        return stamp(&options, Path::new(configuration));
    }
    check_stamp_options(&options)?;
    check_one_job(&options)?;
    let question = options.query.as_deref().map(|words| ask::question(words, options.json)).transpose()?;
    let place = Place::of(&options)?;
    if options.uninstall {
        return service::uninstall(&place.root);
    }
    let stamp = Stamp::own().map_err(stamping::own_stamp_error)?;
    if let (None, Some(key)) = (stamp, build::stamp_key()) {
        let text =
            format!("this program has no configuration inside, and takes none but those that key {key} has signed");
        return Err(ProgramError::new(ExitClass::Config, text));
    }
    let file = place.configuration_file(stamp.is_some())?;
    if options.show_config {
        print(&show::settings(stamp, file)?);
        return Ok(());
    }
    let config = AgentConfig::resolve(stamp.map(|stamp| stamp.configuration.as_str()), file)?;
    if let Some(question) = question {
        return ask::ask(&config.socket, question);
    }
    if options.install {
        return place.service(&config).install(Wish::Request);
    }
    work(&options, &place, config)
}

/// Before each start of the service: it is run as the previous program, which is there while an upgrade is on probation.
fn undo_upgrade() -> Result<(), ProgramError> {
    let undone = installed::undo().map_err(|e| ProgramError::new(ExitClass::Io, format!("--undo-upgrade: {e}")))?;
    print(&match undone {
        Some(path) => {
            format!("an upgrade was cut short; {} is version {} again\n", path.display(), crate::cli::version())
        }
        None => "no upgrade of this program was cut short\n".to_owned(),
    });
    Ok(())
}

/// Runs the agent, or has it run by its service or by a child.
fn work(options: &AgentOptions, place: &Place, mut config: AgentConfig) -> Result<(), ProgramError> {
    if options.debug {
        (config.logging.mode, config.logging.level) = (LoggingMode::Stdout, log::LevelFilter::Debug);
    }
    crate::cli::set_umask();
    crate::logging::start(start::NAME, &config.logging)?;
    // A supervisor would start what checks in again and again.
    let stays = options.foreground || options.debug || options.takeover;
    let mode = match options.once {
        true => Mode::Once,
        false if options.checkin || (config.check_in && !stays) => Mode::CheckIn,
        false => Mode::Daemon,
    };
    if mode == Mode::Daemon && !stays {
        let is_supervised = is_supervised();
        if config.install_service && becomes_service(&place.service(&config), is_supervised) {
            return Ok(());
        }
        if config.is_immortal && !is_supervised {
            return immortal::keep_running(&config.run_directory);
        }
    }
    let executor = Executor::new(config.module_timeout).with_network(Network::of(&config));
    start::run(&config, executor, mode, options.takeover)
}

/// Whether the service has the agent now. Where there can be none, for whatever reason, the agent runs here.
fn becomes_service(service: &Service, is_supervised: bool) -> bool {
    if is_supervised {
        log::info!("agent.installservice: a service manager runs this process already; the agent runs here");
        return false;
    }
    match service.install(Wish::FirstStart) {
        Ok(()) => true,
        Err(error) => {
            log::warn!("agent.installservice: {error}; the agent runs here");
            false
        }
    }
}

/// Where the files are.
struct Place {
    root: Root,
    /// As named with -c, absolute; empty for none.
    named: Option<PathBuf>,
}

impl Place {
    fn of(options: &AgentOptions) -> Result<Place, ProgramError> {
        let usage = |text: &str| ProgramError::new(ExitClass::Usage, text);
        let unusable = |what: &str, e| ProgramError::new(ExitClass::NoInput, format!("{what}: {e}"));
        let root = match &options.root {
            Some(_) if !options.install && !options.uninstall => {
                return Err(usage("--root needs --install or --uninstall"));
            }
            root => {
                let root = root.as_deref().unwrap_or("/");
                Root::new(Path::new(root)).map_err(|e| unusable(&format!("--root {root}"), e))?
            }
        };
        let named = match options.config.as_deref() {
            Some("") => Some(PathBuf::new()),
            Some(file) => Some(std::path::absolute(file).map_err(|e| unusable(&format!("-c {file}"), e))?),
            None => None,
        };
        Ok(Place { root, named })
    }

    /// The configuration file. The default one may be missing when there is a configuration inside.
    fn configuration_file(&self, is_inside: bool) -> Result<Option<Ini>, ProgramError> {
        let file = self.named.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let path = self.root.inside(file)?;
        match &self.named {
            Some(named) if named.as_os_str().is_empty() => Ok(None),
            None if is_inside && is_missing(&path) => Ok(None),
            None if is_missing(&path) => {
                let text = "is missing, and this program has no configuration inside; name a file with -c, or make an agent \
                    with --stamp";
                let (file, text) = (path.display().to_string(), text.to_owned());
                Err(ConfigError { file, line: None, text, is_temporary: false }.into())
            }
            _ => Ok(Some(Ini::read(&path)?)),
        }
    }

    fn service<'a>(&'a self, config: &'a AgentConfig) -> Service<'a> {
        Service { root: &self.root, config, file: self.named.as_deref() }
    }
}

/// Whether nothing is there; what may not be looked at is there.
fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Refuses more than one of the options of which each is all that is done.
fn check_one_job(options: &AgentOptions) -> Result<(), ProgramError> {
    let jobs = [
        (options.query.is_some(), "-q"),
        (options.install, "--install"),
        (options.uninstall, "--uninstall"),
        (options.checkin, "--checkin"),
        (options.once, "--once"),
    ];
    let mut named = jobs.into_iter().filter(|(is_named, _)| *is_named);
    match (named.next(), named.next()) {
        (Some((_, one)), Some((_, other))) => {
            Err(ProgramError::new(ExitClass::Usage, format!("{one} and {other} exclude each other")))
        }
        _ => Ok(()),
    }
}

/// Refuses options of --stamp without it.
fn check_stamp_options(options: &AgentOptions) -> Result<(), ProgramError> {
    let named = [
        (options.output.is_some(), "--output"),
        (options.buildenv.is_some(), "--buildenv"),
        (options.signature.is_some(), "--signature"),
        (options.signer.is_some(), "--signer"),
    ];
    match named.into_iter().find(|(is_named, _)| *is_named) {
        Some((_, name)) => Err(ProgramError::new(ExitClass::Usage, format!("{name} needs --stamp"))),
        None => Ok(()),
    }
}

fn stamp(options: &AgentOptions, configuration: &Path) -> Result<(), ProgramError> {
    let usage = |text: &str| ProgramError::new(ExitClass::Usage, text);
    let output = options.output.as_deref().ok_or_else(|| usage("--stamp: --output is missing: the program to make"))?;
    let signature = match (&options.signature, &options.signer) {
        (Some(signature), Some(signer)) => Some((Path::new(signature), Path::new(signer))),
        (None, None) => None,
        _ => return Err(usage("--signature and --signer belong together")),
    };
    let stamping =
        Stamping { configuration, output: Path::new(output), environment: options.buildenv.as_deref(), signature };
    let version = stamping::make(&stamping)?;
    print(&format!("{output}: mig-agent {version}\n"));
    Ok(())
}
