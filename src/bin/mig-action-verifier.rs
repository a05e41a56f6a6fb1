//! `mig-action-verifier`: see [`mig::client::verifier`].

fn main() -> std::process::ExitCode {
    mig::cli::main(&mig::client::verifier::PROGRAM, mig::client::verifier::main)
}
