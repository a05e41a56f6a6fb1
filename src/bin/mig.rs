//! `mig`: see [`mig::client::program`].

fn main() -> std::process::ExitCode {
    mig::client::program::main()
}
