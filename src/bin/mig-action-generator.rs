//! `mig-action-generator`: see [`mig::client::generator`].

fn main() -> std::process::ExitCode {
    mig::cli::main(&mig::client::generator::PROGRAM, mig::client::generator::main)
}
