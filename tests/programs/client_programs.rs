//! What investigators type: make a key, sign, add a second signature, verify; with key files and through gpg.

use crate::gnupg::{GnuPg, SIGNED_BY_TWO, signed_text};
use mig::signature::{Keyring, generate_key, sign_with_gpg, sign_with_key};
use mig::time;
use openpgp::cert::CertBuilder;
use openpgp::serialize::SerializeInto;
use sequoia_openpgp as openpgp;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A directory to work in, with keys of two investigators and an action to sign.
struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { directory: tempfile::tempdir().unwrap() };
        for name in ["alice", "bob"] {
            let user_id = format!("{name} <{name}@example.net>");
            desk.sign(&["--make-key", &user_id, "--key-file", name]).code(0);
        }
        desk.write("both.pub", &(desk.read("alice.pub") + &desk.read("bob.pub")));
        let mut draft: Value = serde_json::from_str(SIGNED_BY_TWO).unwrap();
        draft.as_object_mut().unwrap().remove("pgpsignatures");
        desk.write("draft.json", &draft.to_string());
        desk
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).env("HOME", self.path()).stdin(Stdio::null());
        Ran { output: command.output().unwrap(), line: arguments.join(" ") }
    }

    /// `mig-action-generator`
    fn sign(&self, arguments: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_mig-action-generator"), arguments)
    }

    /// `mig-action-verifier`
    fn verify(&self, arguments: &[&str]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_mig-action-verifier"), arguments)
    }

    /// Signs the draft into `file`, by each of `keys` in turn.
    fn sign_into(&self, file: &str, keys: &[&str]) -> Value {
        for (index, key) in keys.iter().enumerate() {
            let arguments = if index == 0 {
                ["-i", "draft.json", "-k", key, "-p"]
            } else {
                ["-i", file, "-k", key, "--keep-dates"]
            };
            let signed = self.sign(&arguments).code(0).stdout();
            self.write(file, &signed);
        }
        serde_json::from_str(&self.read(file)).unwrap()
    }
}

/// How a program ended.
struct Ran {
    output: Output,
    line: String,
}

impl Ran {
    #[track_caller]
    fn code(self, code: i32) -> Ran {
        assert_eq!(self.output.status.code(), Some(code), "{}: {:?}", self.line, self.output);
        self
    }

    /// Asserts what is in the error message, and that it is one line.
    #[track_caller]
    fn says(self, text: &str) -> Ran {
        let stderr = String::from_utf8_lossy(&self.output.stderr);
        assert!(stderr.contains(text) && stderr.lines().count() == 1, "{}: {:?}", self.line, self.output);
        self
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap()
    }
}

#[test]
fn a_made_key_is_private_and_not_overwritten() {
    let desk = Desk::new();
    let mode =
        |name: &str| File::open(desk.path().join(name)).unwrap().metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("alice"), mode("alice.pub") & !0o044), (0o600, 0o600));
    assert!(desk.read("alice").starts_with("-----BEGIN PGP PRIVATE KEY BLOCK-----"));
    assert!(desk.read("alice.pub").starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
    let before = desk.read("alice");
    desk.sign(&["--make-key", "eve", "--key-file", "alice"]).code(74).says("write alice: File exists");
    assert_eq!(desk.read("alice"), before);
    desk.sign(&["--make-key", "eve"]).code(64).says("--make-key requires --key-file");
}

#[test]
fn an_rsa_key_for_fleets_with_agents_of_the_original_signs_and_verifies() {
    let desk = Desk::new();
    desk.sign(&["--make-key", "old <old@example.net>", "--rsa", "--key-file", "old"]).code(0);
    desk.write("signed.json", &desk.sign(&["-i", "draft.json", "-k", "old"]).code(0).stdout());
    let ran = desk.verify(&["-a", "signed.json", "--keyring", "old.pub"]).code(0);
    assert!(ran.stdout().contains("valid, by old ("), "{}", ran.stdout());
    desk.sign(&["-i", "draft.json", "-k", "old", "--rsa"]).code(64).says("--rsa requires --make-key");
    let Some(gpg) = GnuPg::new() else { return };
    gpg.import(&desk.read("old.pub"));
    let action: Value = serde_json::from_str(&desk.read("signed.json")).unwrap();
    let signature = action["pgpsignatures"][0].as_str().unwrap();
    let answer = gpg.verify(&signed_text(&action), signature, time::now());
    assert!(answer.accepted && answer.output.contains("GOODSIG"), "{answer:?}");
}

#[test]
fn two_investigators_sign_one_action() {
    let desk = Desk::new();
    let one = desk.sign_into("signed.json", &["alice"]);
    let two = desk.sign_into("both.json", &["alice", "bob"]);
    assert_eq!(one["pgpsignatures"].as_array().unwrap().len(), 1);
    assert_eq!(two["pgpsignatures"].as_array().unwrap().len(), 2);
    let second = desk.sign(&["-i", "signed.json", "-k", "bob", "--keep-dates"]).code(0).json();
    assert_eq!(signed_text(&second), signed_text(&one));
    assert_eq!(second["pgpsignatures"][0], one["pgpsignatures"][0]);
    let again = desk.sign(&["-i", "both.json", "-k", "bob", "--keep-dates"]).code(65);
    again.says("both.json: pgpsignatures[1] is by this key already; ");

    let ran = desk.verify(&["-a", "both.json", "--keyring", "both.pub"]).code(0);
    let (names, lines): (Vec<_>, Vec<_>) = (vec!["alice", "bob"], ran.stdout().lines().map(str::to_owned).collect());
    for (index, name) in names.iter().enumerate() {
        assert!(lines[index].starts_with(&format!("pgpsignatures[{index}]: valid, by {name} (")), "{lines:?}");
    }
    assert!(lines[2].starts_with("may run now: "), "{lines:?}");

    let answer = desk.verify(&["-a", "both.json", "--keyring", "both.pub", "--json"]).code(0).json();
    let keyring = Keyring::parse(desk.read("both.pub").as_bytes()).unwrap();
    let signers: Vec<Value> = keyring
        .investigators()
        .map(|one| json!({"valid": true, "fingerprint": one.fingerprint, "name": one.name}))
        .collect();
    assert_eq!(answer, json!({"signatures": signers, "valid": true, "window": "inside"}));
}

#[test]
fn an_access_list_says_what_each_signer_weighs_and_what_is_missing() {
    let desk = Desk::new();
    desk.sign_into("signed.json", &["alice"]);
    desk.sign_into("both.json", &["alice", "bob"]);
    let fingerprint =
        |name: &str| desk.sign(&["--fingerprint", &format!("{name}.pub")]).code(0).stdout().trim().to_owned();
    let (alice, bob) = (fingerprint("alice"), fingerprint("bob"));
    let module = desk.sign_into("signed.json", &["alice"])["operations"][0]["module"].as_str().unwrap().to_owned();
    let list = |name: &str, needed: u64| {
        let both = json!({"Alice": {"fingerprint": alice, "weight": 2}, "Bob": {"fingerprint": bob, "weight": 1}});
        json!([{name: {"minimumweight": needed, "investigators": both}}]).to_string()
    };
    let verify = |action: &str, code: i32| {
        desk.verify(&["-a", action, "--keyring", "both.pub", "--acl", "acl.json"]).code(code).stdout()
    };
    desk.write("acl.json", &list("default", 3));
    let needs = "permission default needs weight 3, the signers weigh";
    let found = verify("signed.json", 1);
    let expected = format!("module {module}: NOT permitted: weight 1 is missing; {needs} 2 (alice 2)\n");
    assert!(found.ends_with(&expected), "{found}");
    let found = verify("both.json", 0);
    let expected = format!("module {module}: permitted; {needs} 3 (");
    assert!(found.contains(&expected) && found.contains("alice 2") && found.contains("bob 1"), "{found}");
    let arguments = ["-a", "signed.json", "--keyring", "both.pub", "--acl", "acl.json", "--json"];
    let answer = desk.verify(&arguments).code(1).json();
    let expected = json!([{"module": module, "permission": "default", "minimumweight": 3, "weight": 2, "missing": 1,
        "signers": [{"fingerprint": alice, "weight": 2}], "satisfied": false}]);
    assert_eq!((&answer["permissions"], &answer["valid"]), (&expected, &json!(true)));
    desk.write("acl.json", &list(&module, 4));
    assert!(verify("both.json", 1).contains("all that it lists weigh only 3"));
    desk.write("acl.json", &list("another", 1));
    assert!(verify("both.json", 1).contains("has no permission for it, and no default"));
    desk.write("acl.json", "[");
    assert_eq!(verify("both.json", 65), "");
}

#[test]
fn the_text_of_an_action_without_signatures_is_printed_to_be_signed() {
    let desk = Desk::new();
    let unsigned = serde_json::from_str::<Value>(&desk.read("draft.json")).unwrap();
    let ran = desk.verify(&["-a", "draft.json", "--text"]).code(0);
    assert_eq!(ran.stdout(), signed_text(&unsigned), "no newline at its end");
}

#[test]
fn a_signature_that_does_not_count_ends_with_1_and_says_why() {
    let desk = Desk::new();
    let signed = desk.sign_into("signed.json", &["alice", "bob"]);
    let unknown = desk.verify(&["-a", "signed.json", "--keyring", "alice.pub", "--json"]).code(1).json();
    assert_eq!((&unknown["valid"], &unknown["signatures"][0]["valid"]), (&json!(false), &json!(true)));
    assert!(unknown["signatures"][1]["error"].as_str().unwrap().contains("not in the keyring"), "{unknown}");

    let mut altered = signed.clone();
    altered["target"] = "1=1".into();
    desk.write("altered.json", &altered.to_string());
    let ran = desk.verify(&["-a", "altered.json", "--keyring", "both.pub"]).code(1);
    assert_eq!(ran.stdout().matches("NOT valid: it claims to be by").count(), 2, "{}", ran.stdout());

    for (valid_from, expire_after, window) in [("1h", "1h", "before"), ("-2h", "2020-01-01T00:00:00Z", "")] {
        let arguments =
            ["-i", "draft.json", "-k", "alice", "-validfrom", valid_from, "-expireafter", expire_after, "-nolaunch"];
        let ran = desk.sign(&arguments);
        if window.is_empty() {
            ran.code(65).says("field 'expireafter'");
            continue;
        }
        desk.write("window.json", &ran.code(0).stdout());
        let answer = desk.verify(&["-a", "window.json", "--keyring", "both.pub", "--json"]).code(1).json();
        assert_eq!((&answer["window"], &answer["valid"]), (&json!(window), &json!(true)));
    }
}

#[test]
fn a_command_file_is_verified_like_an_action() {
    let desk = Desk::new();
    let mut action = desk.sign_into("signed.json", &["alice"]);
    action["id"] = 7.into();
    let agent = json!({"name": "vm", "queueloc": "linux.vm.1", "pid": 1, "version": "1"});
    let mut command = json!({"id": 9, "action": action, "agent": agent, "status": "sent"});
    desk.write("command.json", &command.to_string());
    desk.verify(&["-c", "command.json", "--keyring", "alice.pub"]).code(0);
    desk.verify(&["-c", "command.json", "--keyring", "bob.pub"]).code(1);
    desk.verify(&["-a", "command.json", "--keyring", "alice.pub"])
        .code(65)
        .says("command.json: field 'name': is missing");
    command["action"]["name"] = "other".into();
    desk.write("command.json", &command.to_string());
    desk.verify(&["-c", "command.json", "--keyring", "alice.pub"]).code(1);
}

#[test]
fn each_mistake_has_its_exit_code() {
    let desk = Desk::new();
    desk.sign_into("signed.json", &["alice"]);
    desk.write("half.json", &desk.read("signed.json")[..100]);
    desk.write("text", "hello");
    let (locked, _) =
        CertBuilder::new().add_userid("x").add_signing_subkey().set_password(Some("p".into())).generate().unwrap();
    desk.write("locked", &String::from_utf8(locked.as_tsk().armored().to_vec().unwrap()).unwrap());
    for (arguments, code, says) in [
        (&[][..], 64, "one of -a and -c is required"),
        (&["-a", "signed.json", "-c", "signed.json"], 64, "one of -a and -c is required"),
        (&["-a", "signed.json", "--armor", "1"], 64, "--armor 1: the action has 1 signatures"),
        (&["-a", "signed.json", "--colour"], 64, "--colour"),
        (&["-a", "half.json"], 65, "half.json: the JSON text ends in the middle"),
        (&["-a", "draft.json"], 65, "draft.json: field 'pgpsignatures': is missing"),
        (&["-a", "signed.json", "--keyring", "text"], 65, "--keyring text: "),
        (&["-a", "gone.json"], 66, "read gone.json: "),
        (&["-a", "signed.json", "--keyring", "gone"], 66, "read gone: "),
    ] {
        desk.verify(arguments).code(code).says(says);
    }
    const KEEP: &str = "--keep-dates keeps the signed fields";
    for (arguments, code, says) in [
        (&["-k", "alice"][..], 64, "-i is missing"),
        (&["-i", "draft.json"], 64, "no -k, and no "),
        (&["-i", "signed.json", "-k", "bob", "--keep-dates", "-t", "1=1"], 64, KEEP),
        (&["-i", "signed.json", "-k", "bob", "--keep-dates", "-validfrom", "now"], 64, KEEP),
        (&["-i", "signed.json", "-k", "bob", "--keep-dates", "-expireafter", "1h"], 64, KEEP),
        (&["-i", "draft.json", "-k", "alice", "-validfrom", "soon"], 64, "-validfrom: 'soon' is neither"),
        (&["-i", "half.json", "-k", "alice"], 65, "half.json: the JSON text ends in the middle"),
        (&["-i", "draft.json", "-k", "alice.pub"], 65, "holds no secret key that may sign now"),
        (&["-i", "draft.json", "-k", "text"], 65, "text: not an OpenPGP key"),
        (&["-i", "draft.json", "-k", "locked"], 65, "locked: "),
        (&["-i", "draft.json", "-k", "alice", "-t", "drop table agents"], 65, "field 'target'"),
        (&["-i", "gone.json", "-k", "alice"], 66, "read gone.json: "),
    ] {
        desk.sign(arguments).code(code).says(says);
    }
}

#[test]
fn what_no_agent_would_run_is_not_signed() {
    let desk = Desk::new();
    let sign = |module: &str, search: Value, force: bool| {
        let mut action: Value = desk.read("draft.json").parse().unwrap();
        action["operations"] = json!([{"module": module, "parameters": {"searches": {"s": search}}}]);
        desk.write("doubtful.json", &action.to_string());
        let all = ["-i", "doubtful.json", "-k", "alice", "--force"];
        desk.sign(if force { &all } else { &all[..4] })
    };
    for (search, expected) in [
        (json!({"paths": ["/etc"], "contents": ["(unclosed"]}), "operations[0]: searches.s.contents[0]: bad regular"),
        (json!({"names": ["x"]}), "operations[0]: searches.s.paths: at least one path is needed"),
        (json!({"paths": ["/etc"], "sha256": ["abc"]}), "searches.s.sha256[0]: \"abc\" is not hexadecimal"),
        (json!({"paths": ["/etc"], "sizes": ["big"]}), "searches.s.sizes[0]: \"big\" is not a size"),
    ] {
        for force in [false, true] {
            sign("file", search.clone(), force).code(65).says(expected);
        }
    }
    let doubtful = json!({"paths": ["/etc/*"], "regexes": ["x"], "names": ["a/b"]});
    for part in
        ["did you mean \"contents\"?", "/etc/*: a path is taken literally", "no slash", "(--force signs it anyway)"]
    {
        sign("file", doubtful.clone(), false).code(65).says(part);
    }
    sign("file", doubtful, true).code(0);
    let anything = json!({"paths": ["/etc"], "regexes": ["x"]});
    sign("example", anything.clone(), false).code(0);
    sign("flie", anything, false)
        .code(65)
        .says("operations[0]: unknown module 'flie'; known modules are agentdestroy, ");
}

#[test]
fn new_dates_leave_old_signatures_out() {
    let desk = Desk::new();
    desk.sign_into("signed.json", &["alice"]);
    let ran = desk.sign(&["-i", "signed.json", "-k", "bob"]).code(0).says("the 1 signatures in the file are removed");
    assert_eq!(ran.json()["pgpsignatures"].as_array().unwrap().len(), 1);
    desk.write("again.json", &ran.stdout());
    desk.verify(&["-a", "again.json", "--keyring", "bob.pub"]).code(0);
}

#[test]
fn a_signed_action_is_dropped_where_the_scheduler_looks() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path().join("spool/action/new")).unwrap();
    let ran = desk.sign(&["-i", "draft.json", "-k", "alice", "--spool", "spool"]).code(0);
    let file = ran.stdout().trim_end().to_owned();
    assert!(file.starts_with("spool/action/new/draft-") && file.ends_with(".json"), "{file}");
    desk.verify(&["-a", &file, "--keyring", "alice.pub"]).code(0);
    assert_eq!(std::fs::read_dir(desk.path().join("spool/action/new")).unwrap().count(), 1);
    desk.sign(&["-i", "draft.json", "-k", "alice", "--spool", "nowhere"]).code(74).says("nowhere/action/new");
}

#[test]
fn the_recipe_in_the_help_text_verifies_with_gpg() {
    let desk = Desk::new();
    let signed = desk.sign_into("signed.json", &["alice", "bob"]);
    let text = desk.verify(&["-a", "signed.json", "--text"]).code(0).stdout();
    assert_eq!(text, signed_text(&signed));
    let Some(gpg) = GnuPg::new() else { return };
    gpg.import(&desk.read("both.pub"));
    desk.write("text", &text);
    for (index, name) in ["alice", "bob"].iter().enumerate() {
        desk.write("text.asc", &desk.verify(&["-a", "signed.json", "--armor", &index.to_string()]).code(0).stdout());
        let output = gpg.command(&["--verify", "text.asc", "text"]).current_dir(desk.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(&format!("Good signature from \"{name}")), "{said}");
    }
}

#[test]
fn what_a_made_key_signs_verifies_with_gpg_and_ends_with_its_checksum() {
    let (public, secret) = generate_key("alice <alice@example.net>").unwrap();
    let text = signed_text(&serde_json::from_str(SIGNED_BY_TWO).unwrap());
    let signed = sign_with_key(&text, secret.as_bytes(), time::now()).unwrap();
    // The original splits at the last '=', whatever stands behind it.
    assert_eq!(signed.rsplit_once('=').unwrap().1.len(), 4, "{signed}");
    assert!(Keyring::parse(public.as_bytes()).unwrap().verify(&text, &signed, time::now()).is_ok());
    let Some(gpg) = GnuPg::new() else { return };
    gpg.import(&public);
    let answer = gpg.verify(&text, &signed, time::now());
    assert!(answer.accepted && answer.output.contains("GOODSIG"), "{answer:?}");
    assert!(!gpg.verify("another text", &signed, time::now()).accepted);
}

/// Makes a key in a GnuPG home whose agent has no one to ask; returns its public half.
fn key_in_agent(gpg: &GnuPg, passphrase: &str) -> String {
    std::fs::write(gpg.home().join("gpg-agent.conf"), "allow-preset-passphrase\npinentry-program /bin/false\n")
        .unwrap();
    let file = gpg.home().join("passphrase");
    std::fs::write(&file, passphrase).unwrap();
    let mut command = gpg.command(&["--pinentry-mode", "loopback", "--passphrase-file"]);
    command.arg(file).args(["--quick-generate-key", "agent <agent@example.net>", "rsa2048", "sign", "never"]);
    assert!(command.status().unwrap().success());
    let output = gpg.command(&["--armor", "--export"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Ends the agent, so that it forgets passphrases.
fn forget(gpg: &GnuPg) {
    let ended = Command::new("gpgconf").arg("--homedir").arg(gpg.home()).args(["--kill", "gpg-agent"]).status();
    assert!(ended.unwrap().success());
}

/// Tells the agent a passphrase, over standard input.
fn preset(gpg: &GnuPg, passphrase: &Path) {
    let listed = gpg.command(&["--with-colons", "--with-keygrip", "--list-secret-keys"]).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let keygrip = listed.lines().find_map(|line| line.strip_prefix("grp:::::::::")).unwrap().trim_end_matches(':');
    let started = Command::new("gpg-connect-agent").arg("--homedir").arg(gpg.home()).arg("/bye").status();
    assert!(started.unwrap().success());
    let tools = Command::new("gpgconf").args(["--list-dirs", "libexecdir"]).output().unwrap().stdout;
    let told = Command::new(Path::new(String::from_utf8(tools).unwrap().trim()).join("gpg-preset-passphrase"))
        .args(["--preset", keygrip])
        .env("GNUPGHOME", gpg.home())
        .stdin(File::open(passphrase).unwrap())
        .status();
    assert!(told.unwrap().success());
}

#[test]
fn gpg_signs_with_a_key_that_has_no_passphrase() {
    let Some(gpg) = GnuPg::new() else { return };
    let public = key_in_agent(&gpg, "");
    forget(&gpg);
    let signed = sign_with_gpg("text", "agent@example.net", Some(gpg.home())).unwrap();
    assert_eq!(Keyring::parse(public.as_bytes()).unwrap().verify("text", &signed, time::now()).unwrap().name, "agent");
    let unknown = sign_with_gpg("text", "nobody@example.net", Some(gpg.home())).unwrap_err().to_string();
    assert!(
        unknown.starts_with("gpg --detach-sign with key 'nobody@example.net': it ended with exit status: 2"),
        "{unknown}"
    );
}

#[test]
fn gpg_signs_with_a_passphrase_that_only_its_agent_knows() {
    let Some(gpg) = GnuPg::new() else { return };
    let public = key_in_agent(&gpg, "correct horse");
    let passphrase = gpg.home().join("passphrase");
    forget(&gpg);
    let locked = sign_with_gpg("text", "agent@example.net", Some(gpg.home())).unwrap_err().to_string();
    assert!(locked.contains("it ended with exit status: 2"), "{locked}");
    preset(&gpg, &passphrase);
    std::fs::remove_file(&passphrase).unwrap();
    let signed = sign_with_gpg("text", "agent@example.net", Some(gpg.home())).unwrap();
    assert_eq!(Keyring::parse(public.as_bytes()).unwrap().verify("text", &signed, time::now()).unwrap().name, "agent");

    let desk = Desk::new();
    desk.write("agent.pub", &public);
    desk.write("migrc", &format!("[gpg]\nhome = \"{}\"\nkeyid = \"agent@example.net\"\n", gpg.home().display()));
    desk.write("signed.json", &desk.sign(&["-i", "draft.json", "-c", "migrc"]).code(0).stdout());
    desk.verify(&["-a", "signed.json", "--keyring", "agent.pub"]).code(0);
    desk.write("migrc", "[gpg]\nhome = \"/nowhere\"\n");
    desk.sign(&["-i", "draft.json", "-c", "migrc"]).code(78).says("gpg.keyid: is missing");
}
