//! An agent with its configuration inside: one file that needs no other, made of a program and a configuration.

use crate::common::stamped::{configuration, run, stamp};
use crate::common::{Background, Sandbox, text, write_private};
use serde_json::json;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mig-agent");

fn stamped(sandbox: &Sandbox) -> PathBuf {
    let (program, output) = stamp(sandbox, PROGRAM, &configuration(sandbox), &["--buildenv", "fleet1"]);
    assert!(output.status.success(), "{}", text(&output));
    program
}

/// Starts an agent. No file at the default place counts, if this machine has one.
fn start(sandbox: &Sandbox, program: &Path) -> Background {
    let mut command = Command::new(program);
    command.args(["-c", ""]);
    Background::start(command, sandbox.path("agent-1.log"))
}

fn selects_one(sandbox: &Sandbox, target: &str) -> bool {
    text(&sandbox.scheduler(&["--explain-target", target])).contains("\n1 agents")
}

#[test]
fn a_stamped_agent_needs_no_other_file() {
    let sandbox = Sandbox::new();
    let program = stamped(&sandbox);
    for file in ["fleet.toml", "key.pub", "acl.json"] {
        let _ = std::fs::rename(sandbox.path(file), sandbox.path(&format!("{file}.away")));
    }
    assert_eq!(std::fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o700, "it holds secrets");
    let version = String::from_utf8(run(&program, &["-V"]).stdout).unwrap();
    assert_eq!(version, format!("{}.fleet1\n", env!("CARGO_PKG_VERSION")));
    std::fs::rename(sandbox.path("key.pub.away"), sandbox.path("key.pub")).unwrap();
    let _scheduler = sandbox.start_scheduler();
    let _agent = start(&sandbox, &program);
    sandbox.wait("registered", |sandbox| selects_one(sandbox, "tags #>> '{a,b,0}' = 'true'"));
    sandbox.drop_action("a.json");
    sandbox.wait("answered", |sandbox| sandbox.names("action/done").len() == 1);
    let (_, command) = sandbox.commands("command/done").remove(0);
    assert_eq!((&command["status"], &command["results"][0]["foundanything"]), (&json!("success"), &json!(true)));
    assert_eq!(command["agent"]["version"], version.trim());
}

#[test]
fn what_is_inside_is_shown_without_secrets_and_a_file_replaces_parts_of_it() {
    let sandbox = Sandbox::new();
    let secret = configuration(&sandbox).replace(
        &json!(format!("dir://{}", sandbox.path("relay").display())).to_string(),
        "'amqps://agent:tiger@relay.example.net/mig'\nproxies = ['http://me:tiger@proxy:1']",
    );
    let (program, output) = stamp(&sandbox, PROGRAM, &secret, &[]);
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8(run(&program, &["--show-config", "-c", ""]).stdout).unwrap();
    assert!(!shown.contains("tiger"), "{shown}");
    for line in [
        "amqpbroker = \"amqps://agent:(hidden)@relay.example.net:5671 vhost mig\" # (inside):1",
        "proxies = [\"me:(hidden)@proxy:1\"] # (inside):2",
        " Test Investigator\"] # (inside):",
        "heartbeatfreq = \"30s\"",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let file = sandbox.path("part.cfg");
    write_private(&file, "[agent]\nheartbeatfreq = 7s\n");
    let merged = String::from_utf8(run(&program, &["--show-config", "-c", file.to_str().unwrap()]).stdout).unwrap();
    assert!(merged.contains(&format!("agent.heartbeatfreq = \"7s\" # {}:2", file.display())), "{merged}");
    assert!(!merged.contains("30s") && merged.contains("amqpbroker"), "{merged}");
    for key in ["keyring = /k", "acl = /a", "proxies = q:1"] {
        write_private(&file, &format!("[agent]\n{key}\n"));
        let refused = run(&program, &["-c", file.to_str().unwrap(), "--once"]);
        let key = key.split(' ').next().unwrap();
        let expected = format!("{}:2: agent.{key}: is inside this program", file.display());
        assert!(refused.status.code() == Some(78) && text(&refused).contains(&expected), "{}", text(&refused));
    }
}

#[test]
fn a_damaged_stamp_is_refused_whatever_the_command_line_says() {
    let sandbox = Sandbox::new();
    let program = stamped(&sandbox);
    let whole = std::fs::read(&program).unwrap();
    let end = std::fs::metadata(PROGRAM).unwrap().len();
    let refused = |bytes: &[u8], reason: &str| {
        let damaged = sandbox.path("damaged");
        std::fs::write(&damaged, bytes).unwrap();
        std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o700)).unwrap();
        let file = sandbox.agent_cfg(1);
        for arguments in [&["--once", "-c", ""][..], &["--once", "-c", &file], &["--show-config", "-c", ""]] {
            let output = run(&damaged, arguments);
            let is_refused = output.status.code() == Some(78) && text(&output).contains(reason);
            assert!(is_refused, "{reason}: {:?} {}", output.status, text(&output));
        }
        assert!(!sandbox.path("agent-1").exists(), "nothing was begun");
    };
    refused(&whole[..whole.len() - 1], "its stamp is damaged: it is cut off");
    refused(&whole[..end as usize + 10], "its stamp is damaged: it is cut off");
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    refused(&changed, "its stamp is damaged: its checksum is wrong");
    let stamp = &whole[end as usize..];
    refused(&[&whole, stamp].concat(), "its stamp is damaged: there is more behind it; it was stamped twice");
    let text_of = String::from_utf8_lossy(stamp).into_owned();
    assert!(text_of.contains("\"version\""), "the payload is JSON");
    // Written behind the end by something else.
    refused(&[&whole[..end as usize], &b"x".repeat(100)[..]].concat(), "something else is behind the program");
}

#[test]
fn a_configuration_with_an_error_makes_no_agent() {
    let sandbox = Sandbox::new();
    let good = configuration(&sandbox);
    let kept = sandbox.path("mig-agent-fleet");
    std::fs::write(&kept, "an older one").unwrap();
    let toml = sandbox.path("fleet.toml");
    for (configuration, code, reason) in [
        (good.replace("amqpbroker", "amqpbrokr"), 78, format!("{}:1: amqpbrokr: unknown key", toml.display())),
        (good.replace("'30s'", "'soon'"), 78, format!("{}:3: heartbeatfreq: ", toml.display())),
        (good.replace("\"weight\":1", "\"weight\":0"), 78, ": agentacl: ".into()),
        (good.replace("\"minimumweight\":1", "\"minimumweight\":9"), 78, "agentacl: default.minimumweight is 9".into()),
        (good.replace("BEGIN PGP", "BEGIN PG"), 78, ": publicpgpkeys: ".into()),
        (format!("{good}cacert = '-----BEGIN CERTIFICATE-----'\n"), 78, ": cacert: ".into()),
        ("=".into(), 78, format!("{}:1: is not TOML", toml.display())),
    ] {
        let (_, output) = stamp(&sandbox, PROGRAM, &configuration, &[]);
        let said = text(&output);
        assert!(output.status.code() == Some(code) && said.contains(&reason), "{reason}: {said}");
    }
    for (arguments, code, reason) in [
        (&["--buildenv", "a b"][..], 64, "--buildenv: 'a b' is not"),
        (&["--signature", "/x"], 64, "belong together"),
        (&["--signature", "/nothing", "--signer", "/nothing"], 66, "read /nothing"),
    ] {
        let (_, output) = stamp(&sandbox, PROGRAM, &good, arguments);
        assert!(output.status.code() == Some(code) && text(&output).contains(reason), "{}", text(&output));
    }
    let missing = run(PROGRAM, &["--stamp", toml.to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(64), "{}", text(&missing));
    let lone = run(PROGRAM, &["--buildenv", "x", "-c", "", "--once"]);
    assert!(lone.status.code() == Some(64) && text(&lone).contains("--buildenv needs --stamp"), "{}", text(&lone));
    let itself = run(PROGRAM, &["--stamp", toml.to_str().unwrap(), "--output", toml.to_str().unwrap()]);
    assert!(itself.status.code() == Some(64) && text(&itself).contains("would be overwritten"), "{}", text(&itself));
    let secret = good.replace("amqpbroker = ", "amqpbroker = 'amqp://u:tiger@h/v' #");
    write_private(&toml, &secret);
    std::fs::set_permissions(&toml, std::fs::Permissions::from_mode(0o644)).unwrap();
    let public = run(PROGRAM, &["--stamp", toml.to_str().unwrap(), "--output", kept.to_str().unwrap()]);
    assert!(public.status.code() == Some(78) && text(&public).contains("chmod o-r"), "{}", text(&public));
    write_private(&toml, &good);
    std::fs::set_permissions(&toml, std::fs::Permissions::from_mode(0o600)).unwrap();
    let nowhere = run(PROGRAM, &["--stamp", toml.to_str().unwrap(), "--output", "/nowhere/agent"]);
    assert_eq!(nowhere.status.code(), Some(74), "{}", text(&nowhere));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "an older one");
    let left = |path: &Path| {
        let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".mig-agent")).collect::<Vec<_>>()
    };
    assert_eq!(left(kept.parent().unwrap()), Vec::<String>::new());
    // A stamped agent is not stamped again.
    let program = stamped(&sandbox);
    let copy = sandbox.path("copy");
    std::fs::copy(&program, &copy).unwrap();
    let (_, output) = stamp(&sandbox, &copy, &good, &[]);
    assert!(output.status.code() == Some(65) && text(&output).contains("stamped already"), "{}", text(&output));
}

#[test]
fn a_configuration_may_be_signed_and_a_bad_signature_is_never_taken() {
    let sandbox = Sandbox::new();
    let good = configuration(&sandbox);
    let stripped = mig::signature::sign_with_key(&good, sandbox.keys.1.as_bytes(), mig::time::now()).unwrap();
    let signature = sandbox.path("fleet.toml.asc");
    std::fs::write(&signature, mig::signature::restore_armor(&stripped).unwrap()).unwrap();
    let key = sandbox.path("key.pub");
    let arguments = ["--signature", signature.to_str().unwrap(), "--signer", key.to_str().unwrap()];
    let (program, output) = stamp(&sandbox, PROGRAM, &good, &arguments);
    assert!(output.status.success(), "{}", text(&output));
    let shown = run(&program, &["--show-config", "-c", ""]);
    assert!(text(&shown).contains("signed by"), "{}", text(&shown));
    let (_, output) = stamp(&sandbox, PROGRAM, &good.replace("30s", "31s"), &arguments);
    assert!(output.status.code() == Some(77) && text(&output).contains("has a bad signature"), "{}", text(&output));
}

#[test]
fn without_a_configuration_it_says_what_is_missing() {
    let output = run(PROGRAM, &["-c", "", "--once"]);
    assert!(output.status.code() == Some(78), "{}", text(&output));
    assert!(text(&output).contains("(inside): agent.relay: is missing"), "{}", text(&output));
    let output = run(PROGRAM, &["-c", "/nowhere.cfg", "--once"]);
    assert!(output.status.code() == Some(78) && text(&output).contains("/nowhere.cfg"), "{}", text(&output));
}

#[test]
fn a_stamp_changed_under_a_running_agent_does_not_change_it() {
    let sandbox = Sandbox::new();
    let program = stamped(&sandbox);
    // A program that runs cannot be written to; replacing it leaves the running one as it was.
    let _scheduler = sandbox.start_scheduler();
    let _agent = start(&sandbox, &program);
    sandbox.wait("started", |sandbox| sandbox.path("agent-1/received").exists());
    assert!(OpenOptions::new().write(true).open(&program).is_err(), "it runs");
    let replaced = sandbox.path("replaced");
    std::fs::write(&replaced, "something else").unwrap();
    std::fs::rename(&replaced, &program).unwrap();
    sandbox.wait("registered", |sandbox| selects_one(sandbox, "all"));
    sandbox.drop_action("a.json");
    sandbox.wait("answered", |sandbox| sandbox.names("action/done").len() == 1);
    assert_eq!(sandbox.commands("command/done")[0].1["status"], "success");
}
