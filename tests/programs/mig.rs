//! `mig` with the real API, scheduler and agents: from the investigator's machine to the answers and back.

use crate::common::api::Api;
use crate::common::{Background, Sandbox};
use crate::gnupg::GnuPg;
use crate::keys::{gpg, make};
use mig::signature;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// An investigator's machine: a home with a migrc and a key.
pub struct Laptop<'a> {
    sandbox: &'a Sandbox,
}

/// How a program ended.
pub struct Ran {
    output: Output,
    line: String,
}

impl<'a> Laptop<'a> {
    /// With the API at this address.
    pub fn new(sandbox: &'a Sandbox, url: &str) -> Laptop<'a> {
        let laptop = Laptop { sandbox };
        std::fs::create_dir_all(laptop.home()).unwrap();
        laptop.write_migrc(&format!("[api]\nurl = \"{url}\"\n[targets]\nmacro = first:tags->>'number' = '1'\n"));
        laptop
    }

    fn home(&self) -> PathBuf {
        self.sandbox.path("home")
    }

    fn write_migrc(&self, text: &str) {
        std::fs::write(self.home().join(".migrc"), text).unwrap();
    }

    /// `mig` with nothing of this machine's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home());
        command.current_dir(self.sandbox.path("")).stdin(Stdio::null());
        command
    }

    /// `mig` with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran { output: self.command(arguments).output().unwrap(), line: arguments.join(" ") }
    }

    /// `mig file -k KEY ...` that looks for the needle in the sandbox's tree.
    pub fn find(&self, options: &[&str], name: &str) -> Ran {
        let tree = self.sandbox.path("tree");
        let search = ["-path", tree.to_str().unwrap(), "-name", name];
        self.run(&[&["file", "-k", "key"], options, &search].concat())
    }
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Ran {
        assert_eq!(self.output.status.code(), Some(code), "{}: {:?}", self.line, self.output);
        self
    }

    /// Asserts what is in the messages.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.stderr().contains(text), "{}: '{text}' is not in {:?}", self.line, self.output);
        self
    }

    pub fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    /// The id of the action that was launched.
    fn action(&self) -> String {
        let stderr = self.stderr();
        let after = stderr.split("action ").nth(1).unwrap_or_else(|| panic!("{stderr}"));
        after.split(' ').next().unwrap().to_owned()
    }
}

/// A fleet: the API, the scheduler and agents.
fn fleet(sandbox: &Sandbox, agents: usize) -> (Api, Vec<Background>) {
    sandbox.register(agents);
    let api = sandbox.start_api();
    let running = std::iter::once(sandbox.start_scheduler());
    (api, running.chain((1..=agents).map(|number| sandbox.start_agent(number))).collect())
}

#[test]
fn a_question_is_asked_and_its_answers_are_read_in_every_form() {
    let sandbox = Sandbox::new();
    let (api, _running) = fleet(&sandbox, 2);
    let laptop = Laptop::new(&sandbox, &api.url);
    let ran = laptop.find(&[], "^needle$").code(0).says("the target selects 2 agents").says("2 of 2 agents found");
    let needle = sandbox.path("tree/needle").display().to_string();
    assert_eq!(ran.stdout().matches(&needle).count(), 2, "{}", ran.stdout());
    assert!(!ran.stdout().contains('\u{1b}') && !ran.stderr().contains('\u{1b}'), "no colour and no bar in a pipe");
    let id = ran.action();

    let csv = laptop.run(&["results", &id, "-k", "key", "--format", "csv"]).code(0).stdout();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("agent,action,command,") && lines.len() == 3, "{csv}");
    let json: Value =
        serde_json::from_str(&laptop.run(&["results", &id, "-k", "key", "--format", "json"]).code(0).stdout()).unwrap();
    assert_eq!((json[1]["path"].as_str(), json[1]["size"].as_u64()), (Some(needle.as_str()), Some(9)));
    assert_eq!(laptop.run(&["results", &id, "-k", "key", "--show", "notfound"]).code(0).stdout(), "");
    let again = laptop.run(&["action", &id, "-k", "key", "--follow", "--format", "jsonl"]).code(0);
    assert_eq!(again.stdout().lines().count(), 2);

    let action = laptop.run(&["action", &id, "-k", "key"]).code(0).stdout();
    assert_eq!(serde_json::from_str::<Value>(&action).unwrap()["counters"]["success"], 2);
    let agents = laptop.run(&["agents", "-k", "key", "-t", "first"]).code(0).stdout();
    assert_eq!(agents.lines().count(), 1, "{agents}");
    assert!(laptop.run(&["status", "-k", "key"]).code(0).stdout().contains("online agents"));
    assert!(laptop.run(&["search", "action", "-k", "key"]).code(0).stdout().contains(&id));
    laptop
        .run(&["search", "command", &format!("actionid={id}"), "-k", "key", "--limit", "1"])
        .code(0)
        .says("more than 1");
    laptop.run(&["explain", "first", "-k", "key"]).code(0).says("the macro first is").says("it selects 1 agents");

    let missing = laptop.find(&["--of", &id, "notfound"], "^needle$").code(68);
    missing.says("no agent is targeted");
    laptop.find(&["--of", &id, "found", "-t", "first"], "^needle$").code(0).says("1 of 1 agents found");
}

#[test]
fn what_would_be_ignored_or_not_looked_at_is_said() {
    let sandbox = Sandbox::new();
    let (api, _running) = fleet(&sandbox, 1);
    let laptop = Laptop::new(&sandbox, &api.url);
    for option in [&["-p"][..], &["-s"], &["-e", "5m"], &["--acl", "x"], &["--of", "5", "found"], &["-n", "x"]] {
        let words = [&["file", "-t", "local"][..], option, &["-path", "/etc", "-name", "x"]].concat();
        laptop.run(&words).code(64).says(&format!("-t local launches no action: it excludes {}", option[0]));
    }
    let words = ["file", "-path", "/etc", "-name", "x", "--format", "csv"];
    laptop.run(&words).code(64).says("--format is mig's: it stands before them");
    laptop
        .run(&["file", "-k", "/nosuch/key", "-path", "/etc", "-name", "x"])
        .code(66)
        .says("there is no key file /nosuch/key");
    laptop.find(&["--of", "12", "found"], "x").says("Action ID '12' not found");
    // Where the search did not look, a script must see it.
    let nowhere = ["file", "-k", "key", "--format", "jsonl", "-path", "/nosuch/place", "-name", "x"];
    let row: Value = serde_json::from_str(laptop.run(&nowhere).stdout().lines().next().unwrap()).unwrap();
    assert!(row["error"].as_str().unwrap().contains("/nosuch/place"), "{row}");
    let named = api.get("search").named("action").remove(0);
    assert_eq!(named["name"], "file -path /nosuch/place -name x", "without what is of this machine alone");
    let id = named["id"].to_string();
    laptop.find(&["--of", &id, "notfound", "-t", "all"], "^needle$").code(0).says("1 of 1 agents found");
    let key = sandbox.path("key.pub").display().to_string();
    let investigators = api.get("search?type=investigator").named("investigator");
    let own = investigators.iter().find(|one| one["name"] == "Test").unwrap()["id"].to_string();
    laptop
        .run(&["investigator", "-k", "key", "add", "Again", &key])
        .code(65)
        .says(&format!("is that of investigator {own}"));
}

#[test]
fn who_could_not_look_has_not_found_nothing() {
    let sandbox = Sandbox::new();
    // The agent's access list names somebody else: it refuses.
    let acl = std::fs::read_to_string(sandbox.path("acl.json")).unwrap();
    let other = serde_json::json!([{"default": {"minimumweight": 1, "investigators": {"x": {"fingerprint": "AB".repeat(20), "weight": 1}}}}]);
    std::fs::write(sandbox.path("acl.json"), other.to_string()).unwrap();
    let (api, _running) = fleet(&sandbox, 1);
    let laptop = Laptop::new(&sandbox, &api.url);
    let refused =
        laptop.find(&["--show", "all"], "^nothing has this name$").code(75).says("1 could not run it to its end");
    let id = refused.action();
    laptop.run(&["results", &id, "-k", "key"]).code(75).says("1 could not run it to its end");
    assert_eq!(
        laptop
            .run(&["results", &id, "-k", "key", "--show", "notfound", "--format", "csv"])
            .stdout()
            .matches("cancelled")
            .count(),
        1,
        "its error"
    );
    laptop.find(&["--of", &id, "notfound"], "^needle$").code(68).says("no agent is targeted");
    std::fs::write(sandbox.path("acl.json"), acl).unwrap();
    laptop.find(&["--of", &id, "missing"], "^needle$").code(0).says("1 of 1 agents found");
    let looked = laptop.find(&[], "^nothing has this name$").code(0).says("found nothing").action();
    laptop.find(&["--of", &looked, "missing"], "^needle$").code(68);
    laptop.find(&["--of", &looked, "notfound"], "^needle$").code(0).says("1 of 1 agents found");
}

#[test]
fn a_signed_action_that_cannot_be_written_is_an_error() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox, "http://127.0.0.1:1");
    std::fs::write(sandbox.path("draft.json"), sandbox.draft("lost").to_string()).unwrap();
    let into_full = |command: &mut Command| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    into_full(&mut laptop.command(&["sign", "draft.json", "-k", "key"]));
    into_full(&mut laptop.command(&["file", "-k", "key", "-s", "-path", "/etc", "-name", "x"]));
    into_full(&mut laptop.command(&["file", "-p", "-path", "/etc", "-name", "x"]));
    let mut generator = Command::new(env!("CARGO_BIN_EXE_mig-action-generator"));
    into_full(generator.args(["-nolaunch", "-i", "draft.json", "-k", "key"]).current_dir(sandbox.path("")));
}

#[test]
fn the_endings_differ_in_words_and_codes() {
    let sandbox = Sandbox::new();
    let (api, mut running) = fleet(&sandbox, 2);
    let laptop = Laptop::new(&sandbox, &api.url);
    laptop.find(&[], "^nothing$").code(0).says("found nothing");
    laptop.find(&["--exit-status"], "^nothing$").code(1).says("found nothing");
    laptop.find(&["-t", "name = 'nobody'"], "^needle$").code(68).says("no agent is targeted");
    drop(running.pop());
    let ran = laptop.find(&["-e", "3s", "--show", "all"], "^needle$").code(75);
    let ran = ran.says("1 of 2 agents found something, 1 have not answered").says("mig results ");
    let missing = laptop.run(&["results", &ran.action(), "-k", "key", "--show", "missing"]).code(0);
    let waits = missing.stdout().lines().count();
    assert!(waits <= 1, "the collector may have ended it meanwhile: {}", missing.stdout());
}

#[test]
fn what_is_wrong_is_said_before_anything_is_launched() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let laptop = Laptop::new(&sandbox, &api.url);
    laptop.run(&["file", "-path", "/etc", "-name", "x"]).code(64).says("no key to sign with").says("-k");
    laptop.run(&["file", "-k", "key", "-path", "/e*c", "-name", "x"]).code(65).says("--force");
    laptop.run(&["file", "-k", "key", "-nome", "x"]).code(64).says("-nome");
    laptop.find(&["-t", "name = ; drop"], "x").code(65).says("macros of").says("first");
    laptop.find(&["--show", "some"], "x").code(64).says("'some' is none of found");
    laptop.run(&["status"]).code(77).says("a key is needed");
    laptop.run(&["results", "12", "-k", "key"]).code(65).says("12");
    let stranger = signature::generate_key("Stranger <s@example.net>").unwrap();
    std::fs::write(sandbox.path("stranger"), &stranger.1).unwrap();
    laptop.run(&["status", "-k", "stranger"]).code(77).says("mig investigator add");
    let acl = r#"{"default": {"minimumweight": 1, "investigators": {}}}"#;
    std::fs::write(sandbox.path("empty.json"), acl).unwrap();
    laptop.find(&["--acl", "empty.json"], "x").code(65).says("no agent would run it");
    assert!(sandbox.names("action/new").is_empty());
    drop(api);
    laptop.run(&["status", "-k", "stranger"]).code(75).says("127.0.0.1");
}

#[test]
fn a_session_is_kept_private_and_used_again() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let laptop = Laptop::new(&sandbox, &api.url);
    laptop.run(&["status", "-k", "key"]).code(0);
    let cache = laptop.home().join(".cache/mig");
    let files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(&cache)), (0o600, 0o700));
    let before = std::fs::read_to_string(file).unwrap();
    laptop.run(&["status", "-k", "key"]).code(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
    // One that the API does not know any more is replaced.
    std::fs::write(file, before.replace("\"token\":\"", "\"token\":\"x")).unwrap();
    laptop.run(&["status", "-k", "key"]).code(0);
    assert_ne!(std::fs::read_to_string(file).unwrap(), before.replace("\"token\":\"", "\"token\":\"x"));
}

#[test]
fn an_investigator_is_added_disabled_and_enabled() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let laptop = Laptop::new(&sandbox, &api.url);
    let (public, secret) = signature::generate_key("Bob <bob@example.net>").unwrap();
    std::fs::write(sandbox.path("bob"), secret).unwrap();
    std::fs::write(sandbox.path("bob.pub"), public).unwrap();
    laptop.run(&["investigator", "add", "Bob", "bob", "-k", "key"]).code(65).says("has a secret key");
    laptop.run(&["investigator", "add", "Bob", "bob.pub", "-k", "key"]).code(0).says("Bob");
    laptop.run(&["status", "-k", "bob"]).code(0);
    let list = laptop.run(&["investigator", "list", "-k", "key"]).code(0).stdout();
    let bob = list.lines().find(|line| line.contains("Bob")).unwrap_or_else(|| panic!("{list}"));
    let id = bob.split('\t').next().unwrap();
    laptop.run(&["investigator", "disable", id, "-k", "key"]).code(0);
    laptop.run(&["status", "-k", "bob"]).code(77);
    laptop.run(&["investigator", "enable", id, "-k", "key"]).code(0);
    laptop.run(&["status", "-k", "bob"]).code(0);
}

#[test]
fn two_sign_by_hand_and_one_launches() {
    let sandbox = Sandbox::new();
    let (api, _running) = fleet(&sandbox, 1);
    let laptop = Laptop::new(&sandbox, &api.url);
    std::fs::write(sandbox.path("draft.json"), sandbox.draft("by hand").to_string()).unwrap();
    laptop.run(&["sign", "draft.json", "-k", "key", "-o", "signed.json"]).code(0);
    laptop.run(&["sign", "signed.json", "-k", "key"]).code(65).says("--keep-dates adds a signature");
    laptop.run(&["sign", "signed.json", "-k", "key", "--keep-dates"]).code(65).says("by this key already");
    laptop.run(&["launch", "signed.json", "-k", "key", "-t", "all"]).code(64).says("excludes -t");
    laptop.run(&["launch", "signed.json", "-k", "key"]).code(0).says("1 of 1 agents found");
    laptop.run(&["-i", "draft.json", "-k", "key", "--format", "jsonl"]).code(0).says("1 of 1 agents found");
    let printed = laptop.find(&["-p"], "^needle$").code(0).stdout();
    assert!(printed.contains("\"pgpsignatures\": []"), "{printed}");
    let signed = laptop.find(&["-s"], "^needle$").code(0).stdout();
    assert!(mig::action::Action::parse(signed.as_bytes()).is_ok(), "{signed}");
}

/// Takes the secret primary key out of a GnuPG home; its subkeys stay.
fn take_primary_offline(home: &GnuPg, fingerprint: &str) {
    let subkeys = gpg(home, &["--export-secret-subkeys", fingerprint], "");
    gpg(home, &["--yes", "--delete-secret-keys", fingerprint], "");
    let file = home.home().join("subkeys");
    std::fs::write(&file, subkeys).unwrap();
    gpg(home, &["--import", file.to_str().unwrap()], "");
}

#[test]
fn keys_of_every_kind_sign_through_gpg() {
    let Some(home) = GnuPg::new() else { return };
    let sandbox = Sandbox::new();
    let rsa = make(&home, "rsa", "rsa2048", "sign,cert");
    let offline = make(&home, "offline", "ed25519", "cert");
    gpg(&home, &["--quick-add-key", &offline, "ed25519", "sign", "never"], "");
    let mut listed = serde_json::Map::new();
    let mut keys = sandbox.keys.0.clone();
    for (name, fingerprint) in [("rsa", &rsa), ("offline", &offline)] {
        let public = String::from_utf8(gpg(&home, &["--armor", "--export", fingerprint], "")).unwrap();
        std::fs::write(sandbox.path(&format!("{name}.pub")), &public).unwrap();
        let added = sandbox.api(&["--add-investigator", name, sandbox.path(&format!("{name}.pub")).to_str().unwrap()]);
        assert!(added.status.success(), "{added:?}");
        listed.insert(name.into(), serde_json::json!({"fingerprint": fingerprint, "weight": 1}));
        keys.push_str(&public);
    }
    std::fs::write(sandbox.path("key.pub"), keys).unwrap();
    let acl = serde_json::json!([{"default": {"minimumweight": 1, "investigators": listed}}]);
    std::fs::write(sandbox.path("acl.json"), acl.to_string()).unwrap();
    take_primary_offline(&home, &offline);

    sandbox.register(1);
    let api = sandbox.start_api_with("");
    let _running = [sandbox.start_scheduler(), sandbox.start_agent(1)];
    let laptop = Laptop::new(&sandbox, &api.url);
    let tree = sandbox.path("tree").display().to_string();
    for key in [&rsa, &offline] {
        let gpg_home = home.home().display();
        laptop.write_migrc(&format!("[api]\nurl = \"{}\"\n[gpg]\nhome = \"{gpg_home}\"\nkeyid = \"{key}\"\n", api.url));
        laptop.run(&["file", "-path", &tree, "-name", "^needle$"]).code(0).says("1 of 1 agents found");
    }
}

#[test]
fn the_generator_launches_through_the_api_unless_it_is_told_otherwise() {
    let sandbox = Sandbox::new();
    let (api, _running) = fleet(&sandbox, 1);
    let laptop = Laptop::new(&sandbox, &api.url);
    let draft = sandbox.path("draft.json");
    std::fs::write(&draft, sandbox.draft("by the generator").to_string()).unwrap();
    let generate = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-action-generator"));
        let output = command
            .args(["-i", draft.to_str().unwrap(), "-k", sandbox.path("key").to_str().unwrap()])
            .args(options)
            .env("HOME", laptop.home())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(mig::action::Action::parse(generate(&["-nolaunch"]).as_bytes()).is_ok());
    assert_eq!(api.get("search").named("action").len(), 0);
    let launched = generate(&[]);
    let id = launched.trim().rsplit_once("action?actionid=").unwrap().1.to_owned();
    let events = api.events(id.parse().unwrap(), None);
    assert_eq!(events.iter().filter(|(name, ..)| name == "command").count(), 1);
    assert_eq!(api.get("search").named("action")[0]["name"], "by the generator");
}

#[test]
fn gpg_signs_and_a_missing_key_is_told_first() {
    let Some(gpg) = GnuPg::new() else { return };
    let sandbox = Sandbox::new();
    let (api, _running) = fleet(&sandbox, 1);
    let laptop = Laptop::new(&sandbox, &api.url);
    gpg.import(&sandbox.keys.1);
    let migrc = |key: &str| {
        let home = gpg.home().display();
        laptop.write_migrc(&format!("[api]\nurl = \"{}\"\n[gpg]\nhome = \"{home}\"\nkeyid = \"{key}\"\n", api.url));
    };
    let tree = sandbox.path("tree").display().to_string();
    let find = ["file", "-path", &tree, "-name", "^needle$"];
    migrc("test@example.net");
    laptop.run(&find).code(0).says("1 of 1 agents found");
    migrc("nobody@example.net");
    let ran = laptop.run(&find).code(65).says("nobody@example.net");
    assert!(!ran.stderr().contains("selects"), "before anything is asked: {}", ran.stderr());

    // A key with a passphrase, where nobody can type it.
    let made = gpg.command(&[
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "secret",
        "--quick-gen-key",
        "Locked <l@example.net>",
        "ed25519",
        "sign",
        "0",
    ]);
    assert!({ made }.output().unwrap().status.success());
    let _ = Command::new("gpgconf").arg("--homedir").arg(gpg.home()).args(["--kill", "gpg-agent"]).status();
    migrc("l@example.net");
    laptop.run(&find).code(65).says("sign: gpg --detach-sign with key 'l@example.net'");
}
