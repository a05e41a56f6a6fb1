//! An operation in its process, as the agent starts it: its layers in different kernels, its memory, its control group.

use crate::common::https::Https;
use crate::common::mounts;
use crate::common::score::Score;
use mig::agent::execute::Executor;
use mig::agent::os::{confine, groups};
use mig::command::CommandStatus;
use mig::modules::Needs;
use serde_json::json;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The module `file` as the agent runs it, on one path.
fn limited(path: &Path) -> serde_json::Value {
    search(&json!({"paths": [path], "contents": ["^text$"], "options": {"maxdepth": 1}}))
}

/// One search, as the agent runs it.
fn search(search: &serde_json::Value) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig-agent"));
    let output = command.args(["--limited", "-m", "file", &json!({"searches": {"s": search}}).to_string()]).output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

#[test]
fn a_link_into_another_process_is_followed_or_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let process = format!("/proc/{}", other.id());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(format!("{process}/exe"), &link).unwrap();
    for checks in ["names", "contents"] {
        let of = |paths: serde_json::Value| {
            search(&json!({"paths": paths, (checks): ["n"], "options": {"maxdepth": 1, "matchall": true}}))
        };
        let result = of(json!([directory.path()]));
        if confine::facts()["landlock"].as_i64() > Some(0) {
            let error = format!("follow {}: it leads into another process; ", link.display());
            assert!(result["errors"][0].as_str().is_some_and(|text| text.starts_with(&error)), "{result}");
            let statistics = &result["statistics"];
            assert_eq!((&statistics["openfailed"], &statistics["partial"]), (&json!(1), &json!(true)), "{result}");
            assert_eq!(result["elements"].get("s"), None, "not that there is none: {result}");
        }
        let result = of(json!([directory.path(), process]));
        let mut entries = result["elements"]["s"].as_array().unwrap().iter();
        assert!(entries.any(|entry| entry["file"] == json!(link)), "{checks}: {result}");
    }
    other.kill().and_then(|()| other.wait()).unwrap();
}

#[test]
fn a_mount_that_hangs_costs_nothing_of_what_is_found_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (mount, tree) = (directory.path().join("mount"), directory.path().join("tree"));
    for made in [&mount, &tree] {
        std::fs::create_dir(made).unwrap();
    }
    std::fs::write(tree.join("file"), "text").unwrap();
    let server = match mounts::mount_hanging("fuse", &mount) {
        Ok(server) => server,
        Err(why) => return Score::begin("a mount that hangs").skip(&why),
    };
    let parameters = json!({"searches": {
        "hangs": {"paths": [mount.join("x")], "names": ["x"]},
        "doubtful": {"paths": [mount.join("*")], "names": ["x"]},
        "found": {"paths": [tree], "names": ["^file$"]},
    }});
    let executor =
        Executor { program: env!("CARGO_BIN_EXE_mig-agent").into(), ..Executor::new(Duration::from_secs(3)) };
    let (status, results) = executor.run(&action(&parameters), mig::time::now());
    drop(server);
    mounts::detach(&mount);
    let result = &results[0];
    assert_eq!((status, result.foundanything), (CommandStatus::Timeout, true), "{result:?}");
    assert_eq!(result.elements["found"][0]["file"], json!(tree.join("file")), "{result:?}");
}

#[test]
fn authorities_are_trusted_wherever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let https = Https::start(&at("certs"));
    let hash = Command::new("openssl").args(["x509", "-noout", "-hash", "-in"]).arg(&https.ca).output().unwrap();
    std::fs::create_dir(at("trusted")).unwrap();
    let name = format!("trusted/{}.0", String::from_utf8(hash.stdout).unwrap().trim());
    std::os::unix::fs::symlink(&https.ca, at(&name)).unwrap();
    // Beside the program a download begins.
    std::fs::create_dir(at("bin")).unwrap();
    crate::confine::copy_of_the_agent(&at("bin/mig-agent"));
    let release =
        json!({"to_version": "9", "location": https.offer("agent", b"x".to_vec()), "checksum": "0".repeat(64)});
    let platform = format!("{}/{}", std::env::consts::OS, mig::agent::os::facts::architecture());
    let upgrade = |variable: &str, value: &Path| {
        let mut command = Command::new(at("bin/mig-agent"));
        command.args(["--limited", "-m", "upgrade", &json!({(&platform): release}).to_string()]).env(variable, value);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for (variable, value) in [("SSL_CERT_FILE", https.ca.clone()), ("SSL_CERT_DIR", at("trusted"))] {
        let said = upgrade(variable, &value);
        assert!(said.contains("has the SHA-256"), "{variable}: {said}");
    }
    let said = upgrade("SSL_CERT_FILE", &at("none"));
    assert!(said.contains("TLS with 127.0.0.1"), "{said}");
}

#[test]
fn a_confined_module_finds_what_it_found_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "text\n").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    }
    let result = limited(directory.path());
    assert_eq!((&result["foundanything"], &result["errors"]), (&json!(true), &json!(null)), "{result}");
    // What another process has open, and no one can name any more.
    let mut reader = Command::new("sleep").arg("1000").stdin(file).spawn().unwrap();
    std::fs::remove_file(path).unwrap();
    let result = limited(&PathBuf::from(format!("/proc/{}/fd", reader.id())));
    reader.kill().and_then(|()| reader.wait()).unwrap();
    assert_eq!(result["foundanything"], true, "{result}");
}

#[test]
fn a_confined_module_reads_owners_attributes_and_wildcards() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    for name in ["file", "other"] {
        std::fs::write(below.join(name), "text\n").unwrap();
    }
    let file = below.join("file");
    rustix::fs::setxattr(&file, "user.note", b"here", rustix::fs::XattrFlags::empty()).unwrap();
    let mut checks = json!({"xattrs": ["^user\\.note=here$"], "ctimes": ["<60m"], "birthtimes": ["<60m"]});
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(1), Some(1)).unwrap();
        // cap_net_raw, permitted and effective.
        let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
        let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        rustix::fs::setxattr(&file, "security.capability", &value, rustix::fs::XattrFlags::empty()).unwrap();
        checks["capabilities"] = json!(["^cap_net_raw\\+ep$"]);
        checks["owners"] = json!(["daemon"]);
    }
    checks["options"] = json!({"matchall": true, "glob": true, "returnowner": true, "maxtime": "60s"});
    for (paths, exclude) in [("*/b", "a/c"), ("a/**/f*", "a/b/other")] {
        checks["paths"] = json!([directory.path().join(paths)]);
        checks["exclude"] = json!([directory.path().join(exclude)]);
        let result = search(&checks);
        assert_eq!(result["errors"], json!(null), "{result}");
        let entries = result["elements"]["s"].as_array().unwrap();
        assert_eq!((entries.len(), &entries[0]["file"]), (1, &json!(file)), "{result}");
        assert_eq!(
            entries[0]["fileinfo"]["uid"],
            json!(std::os::unix::fs::MetadataExt::uid(&file.metadata().unwrap()))
        );
    }
}

/// The module `file` as the agent runs it, in a kernel that answers these system calls otherwise: `seccomp:error=EINVAL`.
fn in_kernel(injected: &[&str]) -> Option<std::process::Output> {
    let parameters = json!({"searches": {"s": {"paths": ["/etc/passwd"], "contents": ["^root:"]}}}).to_string();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]);
    for injected in injected {
        command.arg("-e").arg(format!("inject={injected}"));
    }
    let output = command.args([env!("CARGO_BIN_EXE_mig-agent"), "--limited", "-m", "file", &parameters]).output();
    output.ok().filter(|output| !String::from_utf8_lossy(&output.stderr).contains("PTRACE_TRACEME"))
}

#[test]
fn an_operation_runs_with_the_layers_that_a_kernel_has_and_fails_if_one_of_them_fails() {
    for lacking in [
        &["seccomp:error=EINVAL"][..],
        &["seccomp:error=EPERM", "landlock_create_ruleset:error=EPERM", "capset:error=EPERM"],
        &["landlock_create_ruleset:error=ENOSYS"],
        &["landlock_create_ruleset:error=EOPNOTSUPP"],
        &[],
    ] {
        let Some(output) = in_kernel(lacking) else { return Score::begin("kernels without layers").skip("no strace") };
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(result["foundanything"], true, "{lacking:?}: {output:?}");
    }
    for failing in
        ["landlock_restrict_self:error=ENOMEM", "seccomp:error=ENOMEM", "landlock_create_ruleset:error=ENOMEM:when=2"]
    {
        let output = in_kernel(&[failing]).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty() && error.contains("confine this process: "), "{failing}: {output:?}");
        assert_eq!(output.status.code(), Some(mig::error::ExitClass::Io as i32), "{failing}");
    }
}

#[test]
fn a_module_of_an_agent_that_is_not_root_is_confined_too() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = directory.path().join("mig-agent");
    crate::confine::copy_of_the_agent(&agent);
    let contents = ["^NoNewPrivs:\\s1$", "^Seccomp:\\s2$", "^CapPrm:\\s0+$"];
    let search = json!({"paths": ["/proc/self/status"], "contents": contents, "options": {"matchall": true}});
    // What its user may have of processes.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nproc).maximum.unwrap_or(u64::MAX).min(4096);
    let processes = json!({"paths": ["/proc/self/limits"], "contents": [format!("^Max processes\\s+{most}\\s")]});
    let mut command = Command::new(agent);
    let searches = json!({"searches": {"s": search, "processes": processes}});
    command.args(["--limited", "-m", "file", &searches.to_string()]);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    for found in ["s", "processes"] {
        let file = result["elements"][found][0]["file"].as_str();
        assert!(file.is_some_and(|file| file.starts_with("/proc/")), "{found}: {output:?}");
    }
}

/// An action of one operation, of the module `file`.
fn action(parameters: &serde_json::Value) -> mig::action::Action {
    let operations = json!([{"module": "file", "parameters": parameters}]);
    let draft = json!({"name": "n", "target": "all", "operations": operations, "syntaxversion": 2});
    let mut action = mig::action::Action::parse_draft(draft.to_string().as_bytes()).unwrap();
    action.expire_after = mig::time::after(mig::time::now(), Duration::from_secs(3600));
    action
}

/// An operation whose module is a script.
fn run(script: &str) -> (CommandStatus, mig::modules::ModuleResult) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("module.sh");
    crate::common::write_program(&program, script);
    let executor = Executor { program, ..Executor::new(Duration::from_secs(60)) };
    let (status, mut results) = executor.run(&action(&json!({})), mig::time::now());
    (status, results.remove(0))
}

/// Prints a result.
const GOOD: &str = r#"echo '{"foundanything":true,"success":true,"elements":["hit"],"statistics":null,"errors":null}'"#;

#[test]
fn processor_time_is_limited_to_that_of_the_threads() {
    let (_, result) = run(&format!("cat >/dev/null; {}", GOOD.replace("\"hit\"", "'$(ulimit -t)'")));
    let threads = mig::modules::Context::by_hand().threads;
    assert_eq!(result.elements, json!([threads * 60]), "{result:?}");
    let (_, result) = run(&format!("cat >/dev/null; {GOOD}; ulimit -St 1; while :; do :; done"));
    assert_eq!((&result.elements, result.success), (&json!(["hit"]), false));
    let error = &result.errors.unwrap()[0];
    assert!(error.contains("more processor time"), "{error}");
}

/// Not a test: the process of [`memory_that_a_module_may_not_have_is_named`], which a script starts.
#[test]
fn eats_memory() {
    if std::env::var_os("MIG_TEST_EATS").is_none() {
        return;
    }
    confine::enter(Needs { reads_files: true, ..Needs::default() }).unwrap();
    println!(
        "\n{}",
        json!({"foundanything": true, "success": true, "elements": ["hit"], "statistics": null, "errors": null})
    );
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(Vec::with_capacity(64 << 20));
    }
}

#[test]
fn memory_that_a_module_may_not_have_is_named() {
    let test = std::env::current_exe().unwrap();
    let arguments = "--exact operations::eats_memory --nocapture";
    let (status, result) = run(&format!("MIG_TEST_EATS=1 exec '{}' {arguments}", test.display()));
    assert_eq!((status, &result.elements, result.success), (CommandStatus::Failed, &json!(["hit"]), false));
    let error = &result.errors.unwrap()[0];
    assert!(error.starts_with("partial: ") && error.contains("2048 MiB of address space"), "{error}");
}

#[test]
fn what_a_module_has_started_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let is_running = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    // More output than it may have: it is ended. Or it ends itself, well or not.
    for (ending, success) in [("exec yes", false), ("exit 0", true), ("kill -KILL $$", false)] {
        let (_, result) = run(&format!("{GOOD}; sleep 1000 >/dev/null & echo $! > {}; {ending}", pid.display()));
        assert_eq!(result.success, success, "{ending}: {result:?}");
        let pid = std::fs::read_to_string(&pid).unwrap();
        let started = std::time::Instant::now();
        while is_running(&pid) {
            assert!(started.elapsed() < Duration::from_secs(20), "{ending}: it still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn the_heartbeat_says_what_the_kernel_has() {
    let facts = mig::agent::environment::collect()["confinement"].clone();
    assert!(
        facts["landlock"].is_u64() && facts["seccomp"].is_boolean() && facts["capabilities"].is_boolean(),
        "{facts}"
    );
    assert!(facts["cgroup"].as_str().is_some_and(|group| group == "v2" || group.starts_with("none")), "{facts}");
    // The thread that tried it out was another one.
    assert!(!rustix::thread::no_new_privs().unwrap());
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(status.contains("Seccomp:\t0"), "{status}");
}

/// Not a test: the process of [`an_operations_group_ends_all_of_its_processes`], which is alone in a group.
#[test]
fn uses_groups() {
    let Some(base) = std::env::var_os("MIG_TEST_GROUP").map(PathBuf::from) else { return };
    let own = std::process::id().to_string();
    std::fs::write(base.join("cgroup.procs"), &own).unwrap();
    // What an agent that was killed left.
    std::fs::create_dir(base.join("mig-operation-1-1")).unwrap();
    let controllers = std::fs::read_to_string(base.join("cgroup.controllers")).unwrap();
    let controller = controllers.split_whitespace().next().unwrap();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let error = groups::Groups::below(&base, controller).err().unwrap();
    assert!(error.ends_with("has other processes than the agent"), "{error}");
    // Nor is a group of others taken over, or shared.
    std::fs::create_dir(base.join("mig-agent.self")).unwrap();
    std::fs::write(base.join("mig-agent.self/cgroup.procs"), other.id().to_string()).unwrap();
    let error = groups::Groups::below(&base, controller).err().unwrap();
    assert!(error.ends_with("has other processes than the agent"), "{error}");
    other.kill().and_then(|()| other.wait()).unwrap();
    std::fs::create_dir(base.join("agent")).unwrap();
    let error = groups::Groups::below(&base, controller).err().unwrap();
    assert!(error.ends_with("has the group agent, which is not the agent's"), "{error}");
    std::fs::remove_dir(base.join("agent")).unwrap();
    let error = groups::Groups::below(&base, "nosuch").err().unwrap();
    assert!(error.contains("has no controller nosuch"), "{error}");
    let groups = groups::Groups::below(&base, controller).unwrap();
    assert_eq!(std::fs::read_to_string(base.join("mig-agent.self/cgroup.procs")).unwrap().trim(), own);
    assert!(!base.join("mig-operation-1-1").exists());
    let group = groups.begin().unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", "read x; setsid sleep 1000 & echo $!; wait"])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    group.add(shell.id()).unwrap();
    io::Write::write_all(shell.stdin.as_mut().unwrap(), b"\n").unwrap();
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
    let there = base.join(format!("mig-operation-{own}-0/cgroup.procs"));
    assert_eq!(std::fs::read_to_string(&there).unwrap().lines().count(), 2, "the shell and what it started");
    assert_eq!(group.killed_for_memory(), None);
    drop(group);
    assert!(!shell.wait().unwrap().success());
    assert!(!there.parent().unwrap().exists());
    println!("groups work");
}

#[test]
fn an_operations_group_ends_all_of_its_processes() {
    let skip = |why: &str| Score::begin("control groups of operations").skip(why);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(root) = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4))
    else {
        return skip("no version 2 of control groups");
    };
    let base = Path::new(root).join(format!("mig-test-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir(&base) {
        return skip(&format!("make a control group: {error}"));
    }
    let controllers = std::fs::read_to_string(base.join("cgroup.controllers")).unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "operations::uses_groups", "--nocapture"]).env("MIG_TEST_GROUP", &base);
    let output = (!controllers.trim().is_empty() && base.join("cgroup.kill").exists()).then(|| test.output().unwrap());
    for group in [base.join("mig-agent.self"), base.clone()] {
        let _ = std::fs::remove_dir(group);
    }
    match output {
        None => skip("no controller, or no cgroup.kill, in version 2 of control groups"),
        Some(output) => assert!(crate::common::text(&output).contains("groups work"), "{output:?}"),
    }
}
