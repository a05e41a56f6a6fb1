//! `mig-agent`: see [`mig::agent`].

fn main() -> std::process::ExitCode {
    mig::cli::main(&mig::agent::program::PROGRAM, mig::agent::program::main)
}
