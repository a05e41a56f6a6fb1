//! Keys as gpg's users have them, and what running programs do when keyrings and access lists change.

use crate::agent::deliver;
use crate::common::{self, Background, Sandbox, names, text};
use crate::gnupg::GnuPg;
use mig::signature::{Keyring, generate_key, sign_with_gpg, sign_with_key, strip_armor};
use mig::time;
use openpgp::Cert;
use openpgp::cert::CertRevocationBuilder;
use openpgp::parse::Parse;
use openpgp::serialize::SerializeInto;
use openpgp::types::ReasonForRevocation;
use rustix::process::{Pid, Signal, kill_process};
use sequoia_openpgp as openpgp;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// A key of version 3, as PGP made them until 1998.
const VERSION_3: &str =
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQAKAwAAAAAAAAEAAQ==\n-----END PGP PUBLIC KEY BLOCK-----\n";

/// gpg, with words that have it ask nobody; its output.
pub fn gpg(gpg: &GnuPg, arguments: &[&str], input: &str) -> Vec<u8> {
    let mut command = gpg.command(&["--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "gpg {arguments:?}");
    output.stdout
}

/// Makes a key in a GnuPG home; returns its fingerprint.
pub fn make(home: &GnuPg, name: &str, algorithm: &str, uses: &str) -> String {
    gpg(home, &["--quick-generate-key", name, algorithm, uses, "never"], "");
    let listed = String::from_utf8(gpg(home, &["--with-colons", "--list-keys", name], "")).unwrap();
    listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':').into()
}

/// gpg's public keys.
fn keyring(home: &GnuPg) -> Keyring {
    Keyring::parse(&gpg(home, &["--export"], "")).unwrap()
}

#[test]
fn exported_subkeys_sign_without_their_primary_key() {
    let Some(home) = GnuPg::new() else { return };
    let owner = make(&home, "offline", "ed25519", "sign,cert");
    let placeholder = gpg(&home, &["--export-secret-subkeys"], "");
    let error = sign_with_key("text", &placeholder, time::now()).unwrap_err().to_string();
    assert!(error.starts_with("the secret key is not in the file, which has a placeholder for it"), "{error}");
    gpg(&home, &["--quick-add-key", &owner, "ed25519", "sign", "never"], "");
    for arguments in [&["--export-secret-subkeys"][..], &["--armor", "--export-secret-subkeys"]] {
        let signed = sign_with_key("text", &gpg(&home, arguments, ""), time::now()).unwrap();
        assert_eq!(keyring(&home).verify("text", &signed, time::now()).unwrap().name, "offline");
    }
    make(&home, "second", "ed25519", "sign,cert");
    let error = sign_with_key("text", &gpg(&home, &["--export-secret-keys"], ""), time::now()).unwrap_err();
    assert!(error.to_string().starts_with("holds secret keys of "), "{error}");
}

#[test]
fn what_gpg_is_configured_for_and_verifiers_refuse_is_not_signed() {
    let Some(home) = GnuPg::new() else { return };
    let owner = make(&home, "owner", "rsa2048", "sign,cert");
    let configure = |line: &str| std::fs::write(home.home().join("gpg.conf"), line).unwrap();
    for line in ["", "textmode\n", "sig-notation x@example.net=y\n", "digest-algo SHA1\n", "default-sig-expire 1d\n"] {
        configure(line);
        let signed = sign_with_gpg("one\ntwo \n", &owner, Some(home.home())).unwrap();
        keyring(&home).verify("one\ntwo \n", &signed, time::now()).unwrap();
    }
    let second = make(&home, "second", "rsa2048", "sign,cert");
    for (line, expected) in [
        (
            "sig-notation !x@example.net=y\n".to_owned(),
            "agents and schedulers would refuse the signature, which claims to be by owner (OWNER) and does not verify: it has \
            the critical notation 'x@example.net', which verifiers must refuse because they do not know it; sign the action \
            again, without the sig-notation with ! in gpg.conf",
        ),
        (format!("local-user {second}\n"), "it contains more than one signature"),
    ] {
        configure(&line);
        let error = sign_with_gpg("text", &owner, Some(home.home())).unwrap_err().to_string();
        assert!(error.contains(&expected.replace("OWNER", &owner)), "{error}");
    }
    configure("");
    // A key whose own signatures are too weak for every verifier.
    configure("cert-digest-algo SHA1\nallow-weak-key-signatures\n");
    let weak = make(&home, "weak", "rsa2048", "sign,cert");
    configure("");
    let error = sign_with_gpg("text", &weak, Some(home.home())).unwrap_err().to_string();
    assert!(error.contains("relies on SHA1, which is too weak; its owner renews it"), "{error}");
    gpg(&home, &["--quick-set-expire", &weak, "1y"], "");
    sign_with_gpg("text", &weak, Some(home.home())).unwrap();
}

#[test]
fn text_signatures_of_gpg_count_and_cover_the_whole_text() {
    let Some(home) = GnuPg::new() else { return };
    make(&home, "owner", "ed25519", "sign,cert");
    let keyring = keyring(&home);
    for text in ["one", "one\ntwo\n", "one \t\ntwo ", "one\r\ntwo", "one\r\r\ntwo", "one\rtwo", "\n\n", "één\n"] {
        let armored = gpg(&home, &["--textmode", "--armor", "--detach-sign"], text);
        let signed = strip_armor(&String::from_utf8(armored).unwrap()).unwrap();
        keyring.verify(text, &signed, time::now()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        assert!(keyring.verify(&format!("{text}x"), &signed, time::now()).is_err(), "{text:?}");
    }
}

#[test]
fn a_legacy_keyring_of_gpg_counts_and_a_keybox_is_named() {
    let Some(home) = GnuPg::new() else { return };
    make(&home, "owner", "ed25519", "sign,cert");
    let armored = String::from_utf8(gpg(&home, &["--armor", "--export"], "")).unwrap();
    let legacy = home.home().join("legacy.gpg");
    std::fs::write(&legacy, "").unwrap();
    let name = format!("gnupg-ring:{}", legacy.display());
    gpg(&home, &["--no-default-keyring", "--keyring", &name, "--import"], &armored);
    let keyring = Keyring::parse(&std::fs::read(&legacy).unwrap()).unwrap();
    assert_eq!((keyring.investigators().count(), keyring.left_out()), (1, &[][..]));
    let keybox = Keyring::parse(&std::fs::read(home.home().join("pubring.kbx")).unwrap()).err().unwrap();
    assert!(
        keybox.to_string().contains("is a keybox") && keybox.to_string().contains("gpg --armor --export"),
        "{keybox}"
    );
}

#[test]
fn a_certificate_that_cannot_be_read_is_named_in_the_log_and_the_others_count() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("key.pub"), format!("{VERSION_3}{}", sandbox.keys.0)).unwrap();
    sandbox.register(1);
    sandbox.drop_action("a.json");
    let scheduler = text(&sandbox.scheduler(&["--once"]));
    let agent = text(&sandbox.agent_once(1));
    sandbox.scheduler(&["--once"]);
    assert_eq!(sandbox.only("command/done")["status"], "success");
    for log in [scheduler, agent] {
        assert!(
            log.contains("key.pub: certificate 1: ") && log.contains("; it does not count, the others do"),
            "{log}"
        );
    }
}

/// An agent that runs, and what becomes of commands that it gets.
struct Running {
    sandbox: Sandbox,
    agent: Background,
    asked: std::cell::Cell<u64>,
}

impl Running {
    fn new() -> Running {
        let sandbox = Sandbox::new();
        sandbox.register(1);
        let agent = sandbox.start_agent(1);
        let running = Running { sandbox, agent, asked: 1000.into() };
        running.sandbox.wait("started", |_| running.log().contains(" is linux."));
        running
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.sandbox.path("agent-1.log")).unwrap()
    }

    /// Replaces a file, as an operator who takes care.
    fn replace(&self, file: &str, content: &str) {
        std::fs::write(self.sandbox.path("new"), content).unwrap();
        std::fs::rename(self.sandbox.path("new"), self.sandbox.path(file)).unwrap();
    }

    fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
        let id = self.asked.get();
        deliver(&self.sandbox, 1, "c.json", self.sandbox.draft("asked"), |command| {
            command["id"] = id.into();
            command["action"]["id"] = id.into();
        });
    }

    /// The status and the first error of the only answer.
    fn answered(&self) -> (String, String) {
        let results = self.sandbox.path("relay/mig.agt.results");
        self.sandbox.wait("answered", |_| names(&results).iter().any(|name| name.ends_with(".json")));
        let file = results.join(&names(&results)[0]);
        let answer: Value = common::json_file(&file);
        std::fs::remove_file(file).unwrap();
        let word = |at: &str| answer.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        (word("/status"), word("/results/0/errors/0"))
    }

    #[track_caller]
    fn runs(&self) {
        self.ask();
        assert_eq!(self.answered().0, "success");
    }

    #[track_caller]
    fn refuses(&self, reason: &str) {
        self.ask();
        let (status, error) = self.answered();
        assert!(status == "cancelled" && error.contains(reason), "{status}: {error}");
    }

    /// Sends a signal, and waits for what the log says then.
    fn signal(&self, signal: Signal, line: &str) {
        let before = self.log().matches(line).count();
        kill_process(Pid::from_child(&self.agent.0), signal).unwrap();
        self.sandbox.wait(line, |_| self.log().matches(line).count() > before);
    }
}

#[test]
fn a_running_agent_follows_its_keyring() {
    let running = Running::new();
    let own = running.sandbox.keys.0.clone();
    let (other, _) = generate_key("Other <other@example.net>").unwrap();
    running.runs();
    running.replace("key.pub", &other);
    running.refuses("which is not in the keyring");
    running.replace("key.pub", &(other + &own));
    running.runs();
    let cert = Cert::from_bytes(running.sandbox.keys.1.as_bytes()).unwrap();
    let mut pair = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = CertRevocationBuilder::new().set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"");
    let revocation = revocation.unwrap().build(&mut pair, &cert, None).unwrap();
    let revoked = cert.insert_packets([revocation]).unwrap().0.armored().to_vec().unwrap();
    running.replace("key.pub", &String::from_utf8(revoked).unwrap());
    running.refuses("the certificate is revoked");
    running.replace("key.pub", &own);
    running.runs();
}

#[test]
fn a_keyring_that_cannot_be_used_leaves_the_one_before_in_force_and_is_logged_once() {
    let running = Running::new();
    running.replace("key.pub", "garbage\n");
    running.runs();
    running.runs();
    let complaint = "key.pub: holds no OpenPGP certificate; what was read before stays in force";
    assert_eq!(running.log().matches(complaint).count(), 1, "{}", running.log());
}

#[test]
fn while_the_keyring_is_missing_or_empty_commands_wait() {
    let running = Running::new();
    let (key, hidden) = (running.sandbox.path("key.pub"), running.sandbox.path("hidden"));
    for (hide, reason) in [
        (&(|key: &Path| std::fs::remove_file(key).unwrap()) as &dyn Fn(&Path), "key.pub: No such file"),
        (&|key: &Path| std::fs::write(key, "").unwrap(), "key.pub: is empty"),
    ] {
        std::fs::copy(&key, &hidden).unwrap();
        hide(&key);
        running.ask();
        running.sandbox.wait(reason, |_| running.log().contains(reason));
        assert!(names(&running.sandbox.path("relay/mig.agt.results")).is_empty());
        std::fs::rename(&hidden, &key).unwrap();
        assert_eq!(running.answered().0, "success");
    }
}

#[test]
fn a_running_agent_follows_its_access_list() {
    let running = Running::new();
    let good = std::fs::read_to_string(running.sandbox.path("acl.json")).unwrap();
    running.runs();
    let mut strict: Value = serde_json::from_str(&good).unwrap();
    strict[0]["default"]["minimumweight"] = json!(2);
    running.replace("acl.json", &strict.to_string());
    running.refuses("needs weight 2");
    running.replace("acl.json", &good);
    running.runs();
    running.replace("acl.json", "[]");
    running.refuses("no permission for module 'file'");
    running.replace("acl.json", "[{");
    running.refuses("no permission for module 'file'");
    running.replace("acl.json", &good);
    running.runs();
}

#[test]
fn sighup_has_the_files_read_again() {
    let running = Running::new();
    running.runs();
    let count = || running.log().matches("key.pub").count();
    let before = count();
    running.runs();
    assert_eq!(count(), before, "unchanged files are not read");
    running.signal(Signal::HUP, "SIGHUP: keys and lists are read again");
    running.runs();
    assert_eq!(count(), before + 1, "{}", running.log());
    assert_eq!(running.agent.terminate(), Some(0));

    let sandbox = running.sandbox;
    let scheduler = sandbox.start_scheduler();
    let log = || std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap_or_default();
    sandbox.wait("started", |_| log().contains("works on"));
    sandbox.drop_action("a.json");
    sandbox.wait("taken", |s| !s.names("action/inflight").is_empty());
    assert!(!log().contains("key.pub"), "{}", log());
    kill_process(Pid::from_child(&scheduler.0), Signal::HUP).unwrap();
    sandbox.wait("told", |_| log().contains("SIGHUP: keys and lists are read again"));
    sandbox.drop_action("b.json");
    sandbox.wait("read", |_| log().contains("key.pub"));
    assert_eq!(scheduler.terminate(), Some(0));
}
