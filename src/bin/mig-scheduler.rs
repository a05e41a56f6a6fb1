//! `mig-scheduler`: see [`mig::scheduler`].

fn main() -> std::process::ExitCode {
    mig::cli::main(&mig::scheduler::PROGRAM, mig::scheduler::main)
}
