//! What the modules `upgrade` and `agentdestroy` refuse, tried with the real program: it runs them by hand, on its own file.

use crate::common::https::Https;
use crate::common::stamped::{configuration, stamp};
use crate::common::{Background, Sandbox, mounts, names, score::Score, text};
use mig::limits::PROGRAM_BYTES_MAX;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mig-agent");
const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };

fn version(environment: &str) -> String {
    format!("{}.{environment}", env!("CARGO_PKG_VERSION"))
}

/// An agent of a version, in a directory of its own.
fn installed(sandbox: &Sandbox, directory: &str, environment: &str) -> PathBuf {
    let (program, output) = stamp(sandbox, PROGRAM, &configuration(sandbox), &["--buildenv", environment]);
    assert!(output.status.success(), "{}", text(&output));
    std::fs::create_dir_all(sandbox.path(directory)).unwrap();
    let path = sandbox.path(directory).join("mig-agent");
    std::fs::rename(program, &path).unwrap();
    path
}

/// Runs a module; returns its result.
fn module(command: &mut Command, module: &str, parameters: &Value) -> Value {
    let output = command.args(["-m", module, &parameters.to_string()]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{module} {parameters}: {e}: {}", text(&output)))
}

/// Why a result is none.
fn refusal(result: &Value) -> String {
    assert_eq!(result["success"], false, "{result}");
    result["errors"][0].as_str().unwrap().to_owned()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `upgrade` on a program, with the server's authority among the system's.
fn upgrade(program: &Path, https: &Https, to_version: &str, location: &str, checksum: &str) -> Value {
    let release = json!({"to_version": to_version, "location": location, "checksum": checksum});
    module(Command::new(program).env("SSL_CERT_FILE", &https.ca), "upgrade", &json!({(PLATFORM): release}))
}

#[test]
fn what_is_not_the_signed_release_is_not_installed() {
    let sandbox = Sandbox::new();
    let program = installed(&sandbox, "bin", "v1");
    let before = std::fs::read(&program).unwrap();
    let https = Https::start(&sandbox.path("certs"));
    let [first, second] = ["v1", "v2"].map(|environment| {
        std::fs::read(installed(&sandbox, &format!("releases/{environment}"), environment)).unwrap()
    });
    let cut = second[..second.len() - 1].to_vec();
    let other = std::fs::read("/bin/true").unwrap();
    let good = https.offer("v2", second.clone());
    let plain = good.replace("https://", "http://");
    let long = https.announce("long", second.clone(), PROGRAM_BYTES_MAX + 1);
    let nowhere = "https://127.0.0.1:1/agent".to_owned();
    for (location, checksum, error) in [
        (good.clone(), sum(&first), "has the SHA-256"),
        (
            https.offer("v1", first.clone()),
            sum(&first),
            &*format!("is version {}, not {}", version("v1"), version("v2")),
        ),
        (https.offer("true", other.clone()), sum(&other), "is not an agent of this kind"),
        (https.offer("cut", cut.clone()), sum(&cut), "its stamp is damaged"),
        (https.offer("empty", Vec::new()), sum(b""), "is not a whole program"),
        (format!("{}missing", https.base), sum(&second), "404"),
        (plain, sum(&second), "is not a URL that begins with https://"),
        (long, sum(&second), "it has more than"),
        (nowhere, sum(&second), "127.0.0.1:1"),
    ] {
        let error_found = refusal(&upgrade(&program, &https, &version("v2"), &location, &checksum));
        assert!(error_found.contains(error), "{location}: {error_found}");
        assert_eq!(names(&sandbox.path("bin")), ["mig-agent"], "{location}");
    }
    let distrusted = json!({"to_version": version("v2"), "location": good, "checksum": sum(&second)});
    let distrusted = module(&mut Command::new(&program), "upgrade", &json!({(PLATFORM): distrusted}));
    assert!(refusal(&distrusted).contains("certificate"), "{distrusted}");
    let error = refusal(&upgrade(&program, &https, &version("v1"), &good, &sum(&second)));
    assert_eq!(error, format!("version {} runs here already; nothing is installed", version("v1")));
    assert!(std::fs::read(&program).unwrap() == before);

    let done = upgrade(&program, &https, &version("v2"), &good, &sum(&second));
    assert_eq!(done["elements"], json!({"newversion": version("v2")}), "{done}");
    assert!(std::fs::read(&program).unwrap() == second);
    assert_eq!(names(&sandbox.path("bin")), ["mig-agent"]);
}

#[test]
fn a_full_disk_leaves_the_program_and_no_litter() {
    let sandbox = Sandbox::new();
    let original = installed(&sandbox, "original", "v1");
    let second = std::fs::read(installed(&sandbox, "second", "v2")).unwrap();
    let directory = sandbox.path("bin");
    std::fs::create_dir(&directory).unwrap();
    let size = format!("size={}", second.len() as u64 * 3 / 2);
    if let Err(why) = mounts::mount(&["-t", "tmpfs", "-o", &size], Path::new("tmpfs"), &directory) {
        return Score::begin("upgrade on a full disk").skip(&why);
    }
    let program = directory.join("mig-agent");
    std::fs::copy(&original, &program).unwrap();
    let https = Https::start(&sandbox.path("certs"));
    let location = https.offer("v2", second.clone());
    let error = refusal(&upgrade(&program, &https, &version("v2"), &location, &sum(&second)));
    assert!(error.contains("No space left on device"), "{error}");
    assert_eq!(names(&directory), ["mig-agent"]);
    assert!(std::fs::read(&program).unwrap() == std::fs::read(&original).unwrap());
    mounts::detach(&directory);
}

/// An agent that runs, with a run directory of its own.
fn start(sandbox: &Sandbox, program: &Path, number: usize) -> Background {
    let cfg = std::fs::read_to_string(sandbox.agent_cfg(number)).unwrap();
    let keys = ["keyring", "acl"].map(|key| cfg.lines().find(|line| line.starts_with(key)).unwrap());
    let cfg = keys.iter().fold(cfg.clone(), |cfg, line| cfg.replace(&format!("{line}\n"), ""));
    let path = sandbox.path(&format!("inside-{number}.cfg"));
    std::fs::write(&path, cfg).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new(program);
    command.arg("-f").arg("-c").arg(&path);
    let agent = Background::start(command, sandbox.path(&format!("agent-{number}.log")));
    sandbox.wait("running", |sandbox| {
        let log = std::fs::read_to_string(sandbox.path(&format!("agent-{number}.log"))).unwrap();
        log.contains(" is linux.")
    });
    agent
}

fn destroy(program: &Path, pid: impl Into<Value>, version: &str) -> Value {
    module(&mut Command::new(program), "agentdestroy", &json!({"pid": pid.into(), "version": version}))
}

#[test]
fn only_an_agent_of_that_version_is_destroyed() {
    let sandbox = Sandbox::new();
    let new = installed(&sandbox, "bin", "v2");
    let old = sandbox.path("bin/older");
    std::fs::rename(installed(&sandbox, "v1", "v1"), &old).unwrap();
    let mut agent = start(&sandbox, &old, 1);
    let pid = agent.0.id();
    let mut sleep = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let thread = || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().file_name());
        threads.map(|name| name.into_string().unwrap().parse::<u32>().unwrap()).find(|thread| *thread != pid)
    };
    sandbox.wait("at work", |_| thread().is_some());
    let thread = thread().unwrap();
    for (id, of, error) in [
        (json!(std::process::id()), "v1", "the agent that received this"),
        (json!(pid), "v2", "runs version"),
        (json!(pid), "v", "runs version"),
        (json!(sleep.id()), "v1", "runs no agent of this kind; one of the original's is to be ended by hand"),
        (json!(thread), "v1", "is no process that can be ended"),
        (json!(4_194_304), "v1", "there is no process 4194304"),
        (json!(1), "v1", "parameters.pid: is 1"),
        (json!(0), "v1", "parameters.pid: is 0"),
        (json!(-i64::from(pid)), "v1", "parameters.pid: is -"),
        (json!(f64::from(pid) + 0.5), "v1", "is not a whole number"),
        (json!((1u64 << 32) + u64::from(pid)), "v1", "parameters.pid: is 42949"),
        (json!(pid.to_string()), "v1", "is not a number"),
    ] {
        let found = refusal(&destroy(&new, id.clone(), &version(of)));
        assert!(found.contains(error), "{id} {of}: {found}");
        assert!(agent.0.try_wait().unwrap().is_none() && sleep.try_wait().unwrap().is_none(), "{id}");
    }
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    let done = destroy(&new, pid, &version("v1"));
    assert_eq!(done["elements"], json!({"pid": pid, "version": version("v1"), "removed": [old]}), "{done}");
    assert_eq!((agent.0.wait().unwrap().code(), old.exists()), (Some(0), false));
    assert!(refusal(&destroy(&new, pid, &version("v1"))).contains("there is no process"));
}

#[test]
fn a_program_that_is_needed_stays_and_one_that_is_gone_already_is_no_failure() {
    let sandbox = Sandbox::new();
    let program = installed(&sandbox, "bin", "v1");
    let mut agent = start(&sandbox, &program, 1);
    let done = destroy(&program, agent.0.id(), &version("v1"));
    assert_eq!((&done["success"], &done["elements"]["removed"]), (&json!(true), &json!([])), "{done}");
    assert!(done["errors"][0].as_str().unwrap().ends_with("stays: the agent that received this runs it too"));
    agent.0.wait().unwrap();

    let other = installed(&sandbox, "other", "v2");
    let mut agent = start(&sandbox, &program, 1);
    // Somebody has installed another one in its place.
    std::fs::rename(installed(&sandbox, "third", "v3"), &program).unwrap();
    let done = destroy(&other, agent.0.id(), &version("v1"));
    assert_eq!((&done["success"], &done["elements"]["removed"]), (&json!(true), &json!([])), "{done}");
    assert_eq!((agent.0.wait().unwrap().code(), program.exists()), (Some(0), true));

    // In another directory, other users may decide what is there.
    let elsewhere = installed(&sandbox, "elsewhere", "v1");
    let mut agent = start(&sandbox, &elsewhere, 1);
    let done = destroy(&other, agent.0.id(), &version("v1"));
    assert!(done["errors"][0].as_str().unwrap().contains("stays: it is not in "), "{done}");
    assert_eq!((agent.0.wait().unwrap().code(), elsewhere.exists()), (Some(0), true));
}

#[test]
fn an_agent_of_another_user_is_not_destroyed() {
    if !rustix::process::geteuid().is_root() {
        return Score::begin("agentdestroy by another user").skip("this needs root");
    }
    let sandbox = Sandbox::new();
    let old = installed(&sandbox, "bin", "v1");
    let mut agent = start(&sandbox, &old, 1);
    let public = tempfile::tempdir().unwrap();
    std::fs::set_permissions(public.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = public.path().join("mig-agent");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let parameters = json!({"pid": agent.0.id(), "version": version("v1")});
    let result = module(Command::new(&program).uid(65534).gid(65534).current_dir("/"), "agentdestroy", &parameters);
    assert!(refusal(&result).contains("is of user 0, the agent is of user 65534"), "{result}");
    assert!(agent.0.try_wait().unwrap().is_none());
}
