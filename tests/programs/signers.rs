//! Actions that several investigators must sign, and whose signatures count: by the keyring, by the store.

use crate::common::{Sandbox, text};
use mig::action::Action;
use mig::config::scheduler::SchedulerConfig;
use mig::investigator::Investigator;
use mig::limits::{DETACHED_SIGNATURE_KEPT, HALF_WRITTEN_GRACE};
use mig::scheduler;
use mig::signature::{Keyring, generate_key, restore_armor, sign_with_key};
use mig::time::{self, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// An investigator with a key.
pub struct Signer {
    public: String,
    secret: String,
}

impl Signer {
    fn new(name: &str) -> Signer {
        let (public, secret) = generate_key(&format!("{name} <{name}@example.net>")).unwrap();
        Signer { public, secret }
    }

    fn investigator(&self) -> Investigator {
        Keyring::parse(self.public.as_bytes()).unwrap().investigators().next().unwrap().clone()
    }

    /// A stripped signature of an action.
    fn sign(&self, action: &Value) -> String {
        let text = Action::parse_draft(action.to_string().as_bytes()).unwrap().signed_text();
        sign_with_key(&text, self.secret.as_bytes(), time::now()).unwrap()
    }

    /// The same, as gpg writes it.
    fn detached(&self, action: &Value) -> String {
        restore_armor(&self.sign(action)).unwrap()
    }
}

/// An embedded installation with a second investigator, and settings for both.
struct Team {
    sandbox: Sandbox,
    bob: Signer,
}

impl Team {
    /// With these lines in `[investigators]` of the scheduler.
    fn new(settings: &str) -> Team {
        let team = Team { sandbox: Sandbox::new(), bob: Signer::new("Bob") };
        let keys = team.sandbox.keys.0.clone() + &team.bob.public;
        std::fs::write(team.sandbox.path("key.pub"), keys).unwrap();
        team.configure("[investigators]\n", &format!("[investigators]\n{settings}"));
        team
    }

    fn configure(&self, from: &str, to: &str) {
        let file = self.sandbox.scheduler_cfg();
        let before = std::fs::read_to_string(&file).unwrap();
        assert!(before.contains(from), "{before}");
        std::fs::write(&file, before.replace(from, to)).unwrap();
    }

    /// Signed by the first investigator.
    fn action(&self, name: &str) -> Value {
        self.sandbox.sign(self.sandbox.draft(name))
    }

    fn drop(&self, name: &str, action: &Value) {
        self.sandbox.drop_bytes(name, action.to_string().as_bytes());
    }

    /// The fingerprints of those who signed the only action of a stage, which all count.
    fn signers(&self, stage: &str) -> Vec<String> {
        let keys = std::fs::read(self.sandbox.path("key.pub")).unwrap();
        let (keyring, action) = (Keyring::parse(&keys).unwrap(), self.sandbox.only(stage));
        let action = Action::parse(action.to_string().as_bytes()).unwrap();
        let verify = |one: &String| keyring.verify(&action.signed_text(), one, time::now()).unwrap().name;
        action.signatures.iter().map(verify).collect()
    }

    /// One pass of action-new at another time. Returns nothing: the spool shows what it did.
    fn pass_at(&self, now: Timestamp) {
        let config = SchedulerConfig::read(Path::new(&self.sandbox.scheduler_cfg())).unwrap();
        let (_lock, mut worker) = scheduler::build("action-new", &config).unwrap();
        worker.recover(now).unwrap();
        worker.pass(now).unwrap();
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.sandbox.path("mig.db")).unwrap()
    }

    /// Has an investigator in the store, as the API does.
    fn store(&self, investigator: &Investigator, status: &str) {
        let sql = "INSERT INTO investigators (id, name, pgpfingerprint, publickey, status, createdat, lastmodified)
            VALUES ((SELECT ifnull(max(id), 0) + 1000 FROM investigators), ?1, ?2, ?3, ?4, 1, 1)";
        let Investigator { name, fingerprint, public_key } = investigator;
        self.database().execute(sql, (name, fingerprint.as_str(), public_key, status)).unwrap();
    }

    fn set_status(&self, investigator: &Investigator, status: &str) {
        let sql = "UPDATE investigators SET status = ?2, lastmodified = lastmodified + 1 WHERE pgpfingerprint = ?1";
        assert_eq!(self.database().execute(sql, (investigator.fingerprint.as_str(), status)).unwrap(), 1);
    }
}

const TWO: &str = "minimumsigners = 2\n";
const BOTH: [&str; 2] = ["Test Investigator", "Bob"];

#[test]
fn an_action_waits_in_pending_until_a_second_investigator_has_signed() {
    let team = Team::new(TWO);
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let scheduler = sandbox.start_scheduler();
    let _agent = sandbox.start_agent(1);
    let action = team.action("a");
    team.drop("a.json", &action);
    sandbox.wait("pending", |sandbox| sandbox.names("action/pending") == ["a.json"]);
    let waits = "action/pending/a.json waits for signatures; signed by Test Investigator (";
    let log = || std::fs::read_to_string(sandbox.path("scheduler.log")).unwrap();
    sandbox.wait("logged", |_| log().contains(waits));
    assert!(log().contains("missing: it needs 2 signers and has 1 (minimumsigners)"), "{}", log());
    // The same signature does not count twice.
    team.drop("again.json", &action);
    sandbox
        .drop_bytes("a.json.asc-test", restore_armor(action["pgpsignatures"][0].as_str().unwrap()).unwrap().as_bytes());
    sandbox.wait("joined", |sandbox| sandbox.names("action/new").is_empty());
    assert_eq!(team.signers("action/pending"), ["Test Investigator"]);
    sandbox.drop_bytes("a.json.asc-bob", team.bob.detached(&action).as_bytes());
    sandbox.wait("done", |sandbox| sandbox.names("action/done").len() == 1);
    assert_eq!(team.signers("action/done"), BOTH);
    assert_eq!(sandbox.only("command/done")["status"], "success");
    assert!(sandbox.names("action/pending").is_empty() && sandbox.names("action/invalid").is_empty());
    assert_eq!(log().matches(waits).count(), 1, "{}", log());
    drop(scheduler);
}

#[test]
fn signatures_count_in_every_order_and_from_every_place() {
    let team = Team::new(TWO);
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let begun = |what: &str| {
        assert_eq!(team.signers("action/inflight"), BOTH, "{what}");
        for stage in ["action/new", "action/pending", "action/invalid"] {
            assert!(sandbox.names(stage).is_empty(), "{what}: {stage}: {:?}", sandbox.names(stage));
        }
        assert_eq!(sandbox.names("command/ready").len(), 1, "{what}");
        for stage in ["action/inflight", "command/ready"] {
            let directory = sandbox.spool().join(stage);
            sandbox.names(stage).iter().for_each(|name| std::fs::remove_file(directory.join(name)).unwrap());
        }
    };
    let mut both = team.action("in one file");
    let second = team.bob.sign(&both);
    both["pgpsignatures"].as_array_mut().unwrap().push(second.into());
    team.drop("both.json", &both);
    sandbox.once("action-new");
    begun("two in the action");

    let action = team.action("before");
    sandbox.drop_bytes("before.json.asc-bob", team.bob.detached(&action).as_bytes());
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/new"), ["before.json.asc-bob"], "it waits for its action");
    team.drop("before.json", &action);
    sandbox.once("action-new");
    begun("the signature came first");

    let action = team.action("after");
    team.drop("after.json", &action);
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/pending"), ["after.json"]);
    sandbox.drop_bytes("after.json.asc-bob", team.bob.detached(&action).as_bytes());
    sandbox.once("action-new");
    begun("the signature came last");

    let mut action = team.action("unsigned");
    let first = restore_armor(action["pgpsignatures"][0].as_str().unwrap()).unwrap();
    action.as_object_mut().unwrap().remove("pgpsignatures");
    sandbox.drop_bytes("unsigned.json.asc-1", first.as_bytes());
    sandbox.drop_bytes("unsigned.json.asc-2", team.bob.detached(&action).as_bytes());
    team.drop("unsigned.json", &action);
    sandbox.once("action-new");
    begun("both are beside it");

    for second in ["copy.json", "another.json"] {
        let action = team.action(second);
        team.drop("copy.json", &action);
        sandbox.once("action-new");
        let mut other = action.clone();
        other["pgpsignatures"] = json!([team.bob.sign(&action)]);
        team.drop(second, &other);
        sandbox.once("action-new");
        begun("signed by one each");
        // All at once: one of the two is begun.
        let action = team.action(&format!("{second} at once"));
        other = action.clone();
        other["pgpsignatures"].as_array_mut().unwrap().push(team.bob.sign(&action).into());
        team.drop("a.json", &action);
        sandbox.once("action-new");
        team.drop(second, &other);
        sandbox.once("action-new");
        begun("one has all");
    }
}

#[test]
fn without_a_minimum_signatures_beside_an_action_are_joined_before_it_begins() {
    let team = Team::new("");
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let action = team.action("a");
    team.drop("a.json", &action);
    sandbox.drop_bytes("a.json.asc-bob", team.bob.detached(&action).as_bytes());
    sandbox.once("action-new");
    assert_eq!(team.signers("action/inflight"), BOTH);
    assert!(sandbox.names("action/new").is_empty());
}

#[test]
fn the_access_list_of_the_scheduler_decides_as_an_agents() {
    let team = Team::new("");
    let sandbox = &team.sandbox;
    let acl = sandbox.path("scheduler acl.json");
    team.configure("[investigators]\n", &format!("[investigators]\nacl = \"{}\"\n", acl.display()));
    let own = Keyring::parse(sandbox.keys.0.as_bytes()).unwrap();
    let own = &own.investigators().next().unwrap().fingerprint;
    let investigators = json!({
        "Test": {"fingerprint": own, "weight": 1},
        "Bob": {"fingerprint": team.bob.investigator().fingerprint, "weight": 1}
    });
    let permission =
        |module: &str, weight: u64| json!({module: {"minimumweight": weight, "investigators": investigators}});
    let write = |list: Value| std::fs::write(&acl, list.to_string()).unwrap();
    write(json!([permission("file", 2)]));
    sandbox.register(1);
    let action = team.action("a");
    team.drop("a.json", &action);
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/pending"), ["a.json"]);
    sandbox.drop_bytes("a.json.asc-bob", team.bob.detached(&action).as_bytes());
    sandbox.once("action-new");
    assert_eq!(team.signers("action/inflight"), BOTH);

    let draft = |name: &str, module: &str| {
        let mut draft = sandbox.draft(name);
        draft["operations"] = json!([{"module": module, "parameters": {}}]);
        sandbox.sign(draft)
    };
    team.drop("denied.json", &draft("denied", "ping"));
    write(json!([permission("file", 2), permission("pkg", 3)]));
    team.drop("heavy.json", &draft("heavy", "pkg"));
    sandbox.once("action-new");
    let reason = sandbox.reason("denied.json");
    assert_eq!(
        reason,
        "[investigators] acl: no permission for module 'ping' and no default permission; no signature can change that"
    );
    assert!(sandbox.reason("heavy.json").contains("module 'pkg' needs weight 3"), "{}", sandbox.reason("heavy.json"));

    // A change of the list is in force for what waits.
    let action = team.action("b");
    team.drop("b.json", &action);
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/pending"), ["b.json"]);
    write(json!([permission("default", 1)]));
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/inflight").len(), 2);
}

#[test]
fn what_expires_in_pending_says_who_had_signed_and_what_was_missing() {
    let team = Team::new(TWO);
    let sandbox = &team.sandbox;
    sandbox.register(1);
    team.drop("a.json", &team.action("a"));
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/pending"), ["a.json"]);
    team.pass_at(time::after(time::now(), Duration::from_secs(3600)));
    assert!(sandbox.names("action/pending").is_empty());
    let reason = sandbox.reason("a.json");
    for part in [
        "field 'expireafter': the action expired at ",
        "while it waited in action/pending; signed by Test Investigator (",
        "missing: it needs 2 signers and has 1 (minimumsigners)",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn a_signature_that_does_not_count_is_refused_and_does_not_harm_the_action() {
    let team = Team::new(TWO);
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let (action, other) = (team.action("a"), team.action("other"));
    let stranger = Signer::new("Stranger");
    team.drop("a.json", &action);
    let bad = [
        ("foreign", stranger.detached(&action), "the signature of a.json was made by key "),
        ("of-another", team.bob.detached(&other), "the signature of a.json claims to be by Bob ("),
        ("rubbish", "-----BEGIN PGP SIGNATURE-----\n\n!\n-----END PGP SIGNATURE-----\n".into(), "it is malformed: "),
        ("large", "x".repeat(40_000), "as a signature of a.json, it has 40000 bytes, the limit is 32768"),
    ];
    for (suffix, text, _) in &bad {
        sandbox.drop_bytes(&format!("a.json.asc-{suffix}"), text.as_bytes());
    }
    let at = |name: &str| sandbox.spool().join("action/new").join(name);
    std::os::unix::fs::symlink("/etc/passwd", at("a.json.asc-link")).unwrap();
    std::fs::create_dir(at("a.json.asc-directory")).unwrap();
    sandbox.once("action-new");
    for (suffix, _, reason) in &bad {
        let found = sandbox.reason(&format!("a.json.asc-{suffix}"));
        assert!(found.contains(reason), "{suffix}: {found}");
    }
    assert!(sandbox.reason("a.json.asc-link").contains("it is a symbolic link"));
    assert!(sandbox.reason("a.json.asc-directory").contains("it is a directory"));
    assert_eq!((sandbox.names("action/new").len(), sandbox.names("action/pending").len()), (0, 1));
    sandbox.drop_bytes("a.json.asc-bob", team.bob.detached(&action).as_bytes());
    sandbox.once("action-new");
    assert_eq!(team.signers("action/inflight"), BOTH);
}

#[test]
fn half_a_signature_holds_its_action_and_one_without_an_action_is_refused_later() {
    let team = Team::new("");
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let action = team.action("a");
    let whole = team.bob.detached(&action);
    sandbox.drop_bytes("a.json.asc-bob", &whole.as_bytes()[..100]);
    team.drop("a.json", &action);
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/new"), ["a.json", "a.json.asc-bob"]);
    team.pass_at(time::after(time::now(), HALF_WRITTEN_GRACE + Duration::from_secs(2)));
    assert!(sandbox.reason("a.json.asc-bob").contains("it is not a whole armored signature"));
    assert_eq!(team.signers("action/inflight"), ["Test Investigator"]);

    sandbox.drop_bytes("gone.json.asc-bob", whole.as_bytes());
    team.pass_at(time::after(time::now(), DETACHED_SIGNATURE_KEPT - Duration::from_secs(60)));
    assert_eq!(sandbox.names("action/new"), ["gone.json.asc-bob"]);
    team.pass_at(time::after(time::now(), DETACHED_SIGNATURE_KEPT + Duration::from_secs(2)));
    let reason = sandbox.reason("gone.json.asc-bob");
    assert!(reason.starts_with("no action gone.json was in action/new or action/pending for 10 minutes"), "{reason}");
}

#[test]
fn after_a_kill_between_two_steps_an_action_runs_once_with_all_signatures() {
    let pictures: [(&str, &[&str], &[&str]); 5] = [
        ("joined in new, the signature is still beside it", &["both.json"], &[]),
        ("joined in pending, the signature is still in new", &[], &["both.json"]),
        ("adopted, and not in pending yet", &["one.json"], &[]),
        ("a copy was joined in pending, and is still in new", &["copy.json"], &["both.json"]),
        ("a move back was cut off by a power cut", &["both.json"], &["both.json"]),
    ];
    for (picture, new, pending) in pictures {
        let team = Team::new(TWO);
        let sandbox = &team.sandbox;
        sandbox.register(1);
        sandbox.once("action-new");
        let action = team.action("a");
        let mut both = action.clone();
        both["pgpsignatures"].as_array_mut().unwrap().push(team.bob.sign(&action).into());
        for (stage, files) in [("action/new", new), ("action/pending", pending)] {
            for file in files {
                let content = if *file == "one.json" { &action } else { &both };
                std::fs::write(sandbox.spool().join(stage).join(file), content.to_string()).unwrap();
            }
        }
        let name = if new.contains(&"one.json") { "one.json.asc-bob" } else { "both.json.asc-bob" };
        sandbox.drop_bytes(name, team.bob.detached(&action).as_bytes());
        sandbox.once("action-new");
        assert_eq!(team.signers("action/inflight"), BOTH, "{picture}");
        assert_eq!(sandbox.names("command/ready").len(), 1, "{picture}");
        assert!(sandbox.names("action/pending").is_empty(), "{picture}");
        assert!(sandbox.names("action/new").is_empty(), "{picture}: {:?}", sandbox.names("action/new"));
    }
}

#[test]
fn investigators_in_the_store_count_and_disabled_ones_do_not_wherever_their_key_is_from() {
    let team = Team::new("");
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let (carol, bob) = (Signer::new("Carol"), team.bob.investigator());
    let signed_by = |signer: &Signer, name: &str| {
        let mut action = team.action(name);
        action["pgpsignatures"] = json!([signer.sign(&action)]);
        action
    };
    team.drop("unknown.json", &signed_by(&carol, "unknown"));
    sandbox.once("action-new");
    assert!(sandbox.reason("unknown.json").contains("which is not in the keyring"));
    team.store(&carol.investigator(), "active");
    team.drop("carol.json", &signed_by(&carol, "carol"));
    team.drop("bob.json", &signed_by(&team.bob, "bob"));
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/inflight").len(), 2);

    let scheduler = sandbox.start_scheduler();
    for (number, (signer, investigator)) in [(&carol, carol.investigator()), (&team.bob, bob)].into_iter().enumerate() {
        team.set_status(&investigator, "disabled");
        let name = format!("disabled-{number}.json");
        team.drop(&name, &signed_by(signer, &name));
        sandbox.wait("refused", |sandbox| sandbox.names("action/invalid").contains(&format!("{name}.reason")));
        sandbox.wait("moved", |sandbox| sandbox.names("action/invalid").contains(&name));
        let (name_of, fingerprint) = (investigator.name.clone(), investigator.fingerprint.clone());
        assert_eq!(
            sandbox.reason(&name),
            format!(
                "pgpsignatures[0] was made by {name_of} ({fingerprint}), who is disabled in the store; mig-api enables it again"
            )
        );
        team.set_status(&investigator, "active");
        let name = format!("enabled-{number}.json");
        team.drop(&name, &signed_by(signer, &name));
        sandbox.wait("begun", |sandbox| sandbox.names("action/inflight").len() == 3 + number);
    }
    drop(scheduler);
}

#[test]
fn a_keyring_is_not_needed_where_the_store_has_investigators() {
    let team = Team::new("");
    let sandbox = &team.sandbox;
    sandbox.register(1);
    team.configure(&format!("keyring = \"{}\"\n", sandbox.path("key.pub").display()), "");
    let output = sandbox.scheduler(&["--only", "action-new", "--once"]);
    assert!(output.status.success() && text(&output).contains("there is no investigator: every action is refused"));
    let mut broken = team.bob.investigator();
    broken.public_key = "no key".into();
    team.store(&broken, "active");
    let own = Keyring::parse(sandbox.keys.0.as_bytes()).unwrap();
    team.store(own.investigators().next().unwrap(), "active");
    team.drop("a.json", &team.action("a"));
    let output = sandbox.scheduler(&["--only", "action-new", "--once"]);
    assert_eq!(sandbox.names("action/inflight").len(), 1, "{}", text(&output));
    assert_eq!(text(&output).matches("investigator 'Bob' (").count(), 1, "{}", text(&output));
}

#[test]
fn an_investigator_of_whom_the_store_cannot_be_asked_is_not_unknown() {
    let team = Team::new("");
    let sandbox = &team.sandbox;
    sandbox.register(1);
    team.store(&team.bob.investigator(), "active");
    team.database().execute_batch("ALTER TABLE investigators RENAME TO away").unwrap();
    team.drop("a.json", &team.action("a"));
    let output = sandbox.scheduler(&["--only", "action-new", "--once"]);
    assert!(text(&output).contains("look up the investigators' keys"), "{}", text(&output));
    assert_eq!((sandbox.names("action/new").len(), sandbox.names("action/invalid").len()), (1, 0));
    team.database().execute_batch("ALTER TABLE away RENAME TO investigators").unwrap();
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/inflight").len(), 1);
}

#[test]
fn a_backup_has_what_waits_and_the_signatures_that_wait_for_it() {
    let team = Team::new(TWO);
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let action = team.action("a");
    team.drop("a.json", &action);
    sandbox.once("action-new");
    sandbox.drop_bytes("a.json.asc-bob", team.bob.detached(&action).as_bytes());
    let script = |name: &str, arguments: &[&Path]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
        let output = Command::new(script).arg("-s").arg(sandbox.spool()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output));
    };
    let backup = sandbox.path("backup");
    script("spool-backup", &[&backup]);
    std::fs::rename(sandbox.spool(), sandbox.path("old")).unwrap();
    script("install-spool.sh", &[]);
    script("spool-restore", &[&backup]);
    assert_eq!(sandbox.names("action/pending"), ["a.json"]);
    sandbox.once("action-new");
    assert_eq!(team.signers("action/inflight"), BOTH);
}

/// The lines of a block of commands in README.md, after the line that begins with `mark`.
fn recipe(mark: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let after = readme.lines().skip_while(|line| !line.starts_with(mark)).skip(1).skip_while(|line| line.is_empty());
    let block: Vec<&str> = after.map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!block.is_empty(), "README.md has no commands after '{mark}'");
    block.join("\n")
}

#[test]
fn the_recipe_for_two_signers_works_as_it_is_written() {
    use crate::gnupg::GnuPg;
    let (Some(alice), Some(bob)) = (GnuPg::new(), GnuPg::new()) else { return };
    let team = Team::new(TWO);
    let sandbox = &team.sandbox;
    sandbox.register(1);
    let mut keys = String::new();
    for (home, name) in [(&alice, "alice"), (&bob, "bob")] {
        let user = format!("{name} <{name}@example.net>");
        let made =
            ["--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", &user, "ed25519", "sign"];
        assert!(home.command(&made).output().unwrap().status.success());
        keys += &String::from_utf8(home.command(&["--armor", "--export"]).output().unwrap().stdout).unwrap();
    }
    std::fs::write(sandbox.path("key.pub"), keys).unwrap();
    std::fs::write(sandbox.path("action.json"), sandbox.draft("recipe").to_string()).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_mig-scheduler")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let run = |home: &GnuPg, mark: &str| {
        let spool = format!("'{}'", sandbox.spool().display());
        let commands = recipe(mark).replace("/var/cache/mig", &spool);
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &commands]).current_dir(sandbox.path("")).env("PATH", &path);
        let output = shell.env("GNUPGHOME", home.home()).output().unwrap();
        assert!(output.status.success(), "{commands}: {}", text(&output));
    };
    run(&alice, "Alice signs it");
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/pending"), ["signed.json"]);
    run(&bob, "Bob reads it");
    sandbox.once("action-new");
    assert_eq!(team.signers("action/inflight"), ["alice", "bob"]);
}
