//! `mig-api`: the REST API, by which investigators launch actions and read results from their own machines.
//!
//! It reads the store, and drops actions into action/new as anybody in the drop group may: it cannot write an action or a
//! command into the store, and an action that it made up itself would be signed by no investigator.
//!
//! | module | what |
//! |---|---|
//! | [`routes`] | every route once, with its parameters; `openapi.json` is made from it |
//! | [`serve`] | connections, and the way of a request to its handler |
//! | [`authenticate`] | who asks |
//! | [`parameters`] [`call`] | what was asked, checked |
//! | [`actions`] [`agents`] [`investigators`] [`sessions`] [`search`] [`events`] | the handlers, a file for each resource |
//! | [`follow`] [`news`] | actions that are followed live; what the relay tells of them |
//! | [`answer`] [`error`] [`compliance`] | what is said |
//! | [`stores`] | the store behind the reactor |

pub mod actions;
pub mod agents;
pub mod answer;
pub mod authenticate;
pub mod call;
pub mod compliance;
pub mod error;
pub mod events;
pub mod follow;
pub mod investigators;
pub mod news;
pub mod openapi;
pub mod parameters;
pub mod route;
pub mod routes;
pub mod search;
pub mod serve;
pub mod sessions;
pub mod stores;

use crate::cli::{Common, Program, print};
use crate::config::api::ApiConfig;
use crate::config::read_bounded;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::signals;
use crate::store::accounts::{Added, InvestigatorStatus};
use crate::time;
use crate::wake::Stop;
use gumdrop::Options;
use std::path::Path;
use std::sync::Arc;

/// What `mig-api --help` says.
pub const PROGRAM: Program = Program {
    name: "mig-api",
    about: "mig-api - the REST API: investigators launch actions and read results over HTTP\n\n\
        Usage: mig-api [-c FILE]\n       mig-api [-c FILE] --check\n       \
        mig-api [-c FILE] --add-investigator NAME KEYFILE      (the public key, armored or binary)",
    details: "Investigators authenticate with signatures of their keys; the first one is added with --add-investigator, others by\n\
        any investigator (mig investigator add NAME FILE). Until there is one, only this machine is answered.\n\n\
        Files: /etc/mig/mig-api.cfg (see conf/mig-api.cfg.inc). GET openapi.json describes every route.\n\n\
        Exit codes: 0 done; 64 command line; 65 unusable key, or that of a disabled investigator; 66 unreadable file; 75 the store or the address cannot be used at the\n\
        moment: start it again; 78 configuration.",
    rest_after: &[],
};

/// Options:
#[derive(Debug, Options)]
pub struct ApiOptions {
    /// this text
    #[options(short = "h")]
    help: bool,
    /// the version
    #[options(short = "V", long = "version")]
    version: bool,
    /// configuration file
    #[options(short = "c", meta = "FILE", default = "/etc/mig/mig-api.cfg", no_long)]
    config: String,
    /// validate the configuration and exit
    #[options(no_short)]
    check: bool,
    /// add an investigator with this name, whose public key is in KEYFILE
    #[options(no_short, meta = "NAME")]
    add_investigator: Option<String>,
    /// the file with the public key
    #[options(free)]
    key_file: Vec<String>,
}

impl Common for ApiOptions {
    fn help(&self) -> bool {
        self.help
    }
    fn version(&self) -> bool {
        self.version
    }
}

fn usage(text: &str) -> ProgramError {
    ProgramError::new(ExitClass::Usage, format!("{text}; try mig-api --help"))
}

/// `mig-api`.
pub fn main(options: ApiOptions) -> Result<(), ProgramError> {
    let config = ApiConfig::read(Path::new(&options.config))?;
    match (&options.add_investigator, options.key_file.as_slice()) {
        (Some(name), [file]) => return add_investigator(&config, name, file),
        (Some(_), _) => return Err(usage("--add-investigator NAME is followed by one file")),
        (None, []) => {}
        (None, [other, ..]) => return Err(usage(&format!("'{other}' is not an option"))),
    }
    if options.check {
        print(&format!("{}: ok\n", options.config));
        return Ok(());
    }
    crate::cli::set_umask();
    crate::logging::start(PROGRAM.name, &config.logging)?;
    let investigators = Arc::new(authenticate::Investigators::default());
    let stores =
        stores::Stores::open(&config.store, |store| warn_without_investigator(&config, &investigators, store))?;
    let stop = Stop::default();
    signals::stop_on_signals(&stop)?;
    let followers = Arc::default();
    news::start(&config, Arc::clone(&followers), &stop);
    let api = call::Api { config, stores, investigators, routes: routes::ROUTES, followers };
    serve::serve(api, &stop)
}

fn warn_without_investigator(
    config: &ApiConfig,
    investigators: &authenticate::Investigators,
    store: &mut dyn stores::ApiStore,
) -> Result<(), ProgramError> {
    let known = investigators.now(store);
    let known = known.map_err(|e| ProgramError::new(ExitClass::TemporaryFailure, e.cause.unwrap_or(e.message)))?;
    if known.is_empty() && config.authentication.is_enabled {
        log::warn!(
            "there is no investigator yet: only this machine is answered; add one with mig-api --add-investigator NAME FILE"
        );
    }
    Ok(())
}

fn add_investigator(config: &ApiConfig, name: &str, file: &str) -> Result<(), ProgramError> {
    let key = read_bounded(Path::new(file), limits::KEYRING_SIZE_BYTES_MAX)
        .map_err(|e| ProgramError::new(ExitClass::NoInput, format!("read {file}: {e}")))?;
    let investigator = investigators::parse(name, &key)
        .map_err(|reason| ProgramError::new(ExitClass::Data, format!("add investigator: {file}: {reason}")))?;
    let mut store = stores::open(&config.store)?;
    let text = match store.add_investigator(&investigator, time::now())? {
        Added::New(id) => format!("investigator {id} '{name}' added, key {}\n", investigator.fingerprint),
        Added::Known(id) => match store.investigator(id)? {
            Some(known) if known.status == InvestigatorStatus::Active => {
                format!(
                    "investigator {id} '{}' has this key already, {}
",
                    known.name, investigator.fingerprint
                )
            }
            known => {
                let text = format!("add investigator: {file}: {}", investigators::already(id, known.as_ref()));
                return Err(ProgramError::new(ExitClass::Data, text));
            }
        },
    };
    print(&text);
    Ok(())
}
