//! `mig-api`: see [`mig::api`].

fn main() -> std::process::ExitCode {
    mig::cli::main(&mig::api::PROGRAM, mig::api::main)
}
