//! `mig-agent`: see [`mig::agent`].

use mig::agent::build::Build;

/// Of `scripts/build-agent.sh`; else the package's.
const VERSION: &str = match option_env!("MIG_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

static BUILD: Build = Build::new(VERSION, option_env!("MIG_STAMP_KEY"));

fn main() -> std::process::ExitCode {
    mig::agent::program::start(&BUILD)
}
