//! Downloading, checking and installing a release.

use super::parameters::{self, Release};
use crate::agent::os::facts::architecture;
use crate::agent::{installed, stamp};
use crate::limits;
use crate::modules::{Context, ModuleResult};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempPath;

/// Runs the operation.
pub(super) fn run(parameters: &Value, context: Context) -> ModuleResult {
    let agent = context.agent;
    match upgrade(parameters, context) {
        Ok((version, size_bytes)) => ModuleResult {
            foundanything: true,
            success: true,
            elements: match agent {
                Some(pid) => json!({"oldpid": pid, "newversion": version}),
                None => json!({"newversion": version}),
            },
            statistics: json!({"size": size_bytes}),
            errors: None,
        },
        Err(reason) => ModuleResult::failed(reason),
    }
}

/// Returns the new version and the size of its program.
fn upgrade(parameters: &Value, context: Context) -> Result<(String, u64), String> {
    let plan = parameters::parse(parameters).map_err(|error| error.to_string())?;
    if let Some(doubt) = plan.doubts.first() {
        return Err(format!("nothing is installed: {doubt}"));
    }
    let platform = format!("{}/{}", std::env::consts::OS, architecture());
    let release = plan.releases.get(&platform).ok_or_else(|| {
        let there: Vec<&str> = plan.releases.keys().map(String::as_str).collect();
        format!("there is no release for {platform}, only for {}", there.join(", "))
    })?;
    let own = File::open("/proc/self/exe").map_err(|e| format!("open the program that runs: {e}"))?;
    let own_version = stamp::identify(&own).map_err(|e| format!("the program that runs {e}"))?;
    if own_version.as_ref() == Some(&release.to_version) {
        return Err(format!("version {} runs here already; nothing is installed", release.to_version));
    }
    let path = installed::path().map_err(|e| format!("find the program that runs: {e}"))?;
    let size_bytes = install(release, &path, context)?;
    Ok((release.to_version.clone(), size_bytes))
}

/// Puts a release in the place of the program at `path`. Returns its size.
fn install(release: &Release, path: &Path, context: Context) -> Result<u64, String> {
    let is_by_hand = context.agent.is_none();
    let (draft, size_bytes) = download(release, path, context)?;
    check(&draft, release)?;
    installed::install(&draft, path).map_err(|e| format!("install {}: {e}", path.display()))?;
    if is_by_hand {
        // No agent hands over, and waits whether it works.
        installed::settle(path).map_err(|e| format!("remove the program that was at {}: {e}", path.display()))?;
    }
    Ok(size_bytes)
}

/// Writes the release into a file beside the program, executable and on the disk.
fn download(release: &Release, path: &Path, context: Context) -> Result<(TempPath, u64), String> {
    let network = context.network.ok_or("there is no network for it; let an agent run it")?;
    let beside = |e: io::Error| {
        let cure = "the agent's user, or its service's ReadWritePaths=, must permit to write there";
        format!("make a file beside {}: {e}; {cure}", path.display())
    };
    let draft = installed::draft(path).map_err(beside)?;
    let mut writer = Hashing { file: draft.as_file(), hasher: Sha256::new() };
    let deadline = context.deadline.unwrap_or_else(|| Instant::now() + limits::UPGRADE_TIME_MAX);
    let fetched = network.get(&release.location, limits::PROGRAM_BYTES_MAX, deadline, &mut writer);
    let fetched = fetched.map_err(|error| error.to_string())?;
    let found = crate::hex::encode(&writer.hasher.finalize());
    if found != release.checksum {
        let Release { location, checksum, .. } = release;
        return Err(format!("{location} has the SHA-256 {found}, not {checksum}; nothing is installed"));
    }
    let finished = installed::finish(draft, installed::mode(path));
    Ok((finished.map_err(|e| format!("write a file beside {}: {e}", path.display()))?, fetched.size_bytes))
}

/// A file, and the sum of what is written into it.
struct Hashing<'a> {
    file: &'a File,
    hasher: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether it is an agent of this version: by what is in its file first, so that nothing else is started.
fn check(program: &Path, release: &Release) -> Result<(), String> {
    let Release { to_version, location, .. } = release;
    let identified = File::open(program).map_err(|e| format!("open {}: {e}", program.display()));
    let inside = stamp::identify(&identified?).map_err(|e| format!("{location} {e}; nothing is installed"))?;
    let inside = inside.ok_or_else(|| format!("{location} is not an agent of this kind; nothing is installed"))?;
    if inside != *to_version {
        return Err(format!("{location} is version {inside}, not {to_version}; nothing is installed"));
    }
    let said = asked_version(program, limits::PROGRAM_VERSION_TIME_MAX);
    match said.map_err(|e| format!("run {location} with -V: {e}; nothing is installed"))? {
        said if said == *to_version => Ok(()),
        said => Err(format!("{location} says that it is version {said:?}, not {to_version}; nothing is installed")),
    }
}

/// What a program says when it is asked for its version.
fn asked_version(program: &Path, time_max: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("-V").env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let said = listen(&mut child, Instant::now() + time_max);
    // It has said all that counts. A confined module sends no signals: the agent ends it with the operation then.
    if child.kill().is_ok() {
        let _ = child.wait();
    }
    let said = said?;
    Ok(said.strip_suffix('\n').unwrap_or(&said).to_owned())
}

/// Reads what a child prints until it closes its output.
fn listen(child: &mut Child, deadline: Instant) -> Result<String, String> {
    let mut output = child.stdout.take().ok_or("it has no output")?;
    let mut said = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return Err("it does not end".into()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.to_string()),
        }
        let mut buffer = [0; limits::AGENT_VERSION_BYTES_MAX + 2];
        match output.read(&mut buffer).map_err(|e| e.to_string())? {
            0 => return String::from_utf8(said).map_err(|_| "what it says is no text".into()),
            read => said.extend_from_slice(&buffer[..read]),
        }
        if said.len() > limits::AGENT_VERSION_BYTES_MAX + 1 {
            return Err("it says more than a version".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::network::{Fetch, FetchError, Fetched};
    use std::os::unix::fs::PermissionsExt;

    /// A server of one file.
    struct Serves(Vec<u8>);

    impl Fetch for Serves {
        fn get(&self, url: &str, _max: u64, _deadline: Instant, to: &mut dyn Write) -> Result<Fetched, FetchError> {
            to.write_all(&self.0).unwrap();
            Ok(Fetched { size_bytes: self.0.len() as u64, url: url.into(), proxy: None })
        }
    }

    fn sum(bytes: &[u8]) -> String {
        crate::hex::encode(&Sha256::digest(bytes))
    }

    #[test]
    fn what_is_not_the_release_is_not_installed_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mig-agent");
        std::fs::write(&path, "old").unwrap();
        let script = b"#!/bin/sh\ntouch started; echo 2\n".to_vec();
        let foreign = std::fs::read("/bin/true").unwrap();
        for (bytes, checksum, error) in [
            (script.clone(), sum(b"other"), "https://example.net/agent has the SHA-256"),
            (script.clone(), sum(&script), "https://example.net/agent is not a whole program"),
            (foreign.clone(), sum(&foreign), "https://example.net/agent is not an agent of this kind"),
            (foreign[..1000].to_vec(), sum(&foreign[..1000]), "https://example.net/agent is not a whole program"),
            (Vec::new(), sum(b""), "https://example.net/agent is not a whole program"),
        ] {
            let location = "https://example.net/agent".to_owned();
            let release = Release { to_version: "2".into(), location, checksum };
            let context = Context { network: Some(&Serves(bytes)), ..Context::by_hand() };
            let found = install(&release, &path, context).unwrap_err();
            assert!(found.starts_with(error) && found.contains("nothing is installed"), "{found}");
            let found = install(&release, &path, Context::by_hand()).unwrap_err();
            assert_eq!(found, "there is no network for it; let an agent run it");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_release_for_other_platforms_is_named() {
        let release = json!({"to_version": "2", "location": "https://example.net/a", "checksum": sum(b"")});
        let parameters = json!({"windows/amd64": release, "darwin/arm64": release});
        let result = run(&parameters, Context::by_hand());
        let error = &result.errors.unwrap()[0];
        assert!(error.ends_with("only for darwin/arm64, windows/amd64") && !result.success, "{error}");
        let error =
            run(&json!({"linux/amd64": release, "linux/x/y": {}}), Context::by_hand()).errors.unwrap().remove(0);
        assert!(error.starts_with("nothing is installed: linux/x/y: is not a platform"), "{error}");
    }

    #[test]
    fn a_program_has_a_limited_time_to_say_a_version() {
        let directory = tempfile::tempdir().unwrap();
        let ask = |script: &str| {
            let path = directory.path().join("program");
            // Another test may be starting a program, which has this file open for writing until it runs.
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            let is_busy = |said: &Result<String, String>| said.as_ref().is_err_and(|e| e.contains("Text file busy"));
            let begun = Instant::now();
            loop {
                match asked_version(&path, Duration::from_millis(500)) {
                    said if is_busy(&said) && begun.elapsed() < Duration::from_secs(10) => {}
                    said => return said,
                }
            }
        };
        assert_eq!(ask("[ \"$*\" = -V ] && [ -z \"$HOME\" ] && echo 2.prod"), Ok("2.prod".into()));
        assert_eq!(ask("echo 2; echo 3"), Ok("2\n3".into()));
        assert_eq!(ask("exit 1"), Ok(String::new()));
        assert_eq!(ask("exec sleep 1000"), Err("it does not end".into()));
        assert_eq!(ask("while :; do echo x; done"), Err("it says more than a version".into()));
        assert_eq!(ask("printf '\\377'"), Err("what it says is no text".into()));
        assert!(asked_version(Path::new("/etc/passwd"), Duration::from_secs(1)).unwrap_err().contains("denied"));
    }
}
