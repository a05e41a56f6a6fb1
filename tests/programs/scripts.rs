//! The operator scripts, driven on temporary spools.

use crate::common::mounts;
use crate::common::score::Score;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SCHEMA: &str = include_str!("../../src/store/schema.sql");

/// What a script did.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a script from a directory that is not its own.
fn script<S: AsRef<OsStr>>(name: &str, arguments: &[S]) -> Ran {
    let path = Path::new(ROOT).join("scripts").join(name);
    ran(Command::new(path).args(arguments).current_dir("/").output().unwrap())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A spool of the script's making.
struct Spool {
    root: tempfile::TempDir,
}

impl Spool {
    fn new() -> Spool {
        let spool = Spool { root: tempfile::tempdir().unwrap() };
        let made = spool.run("install-spool.sh", &[]);
        assert_eq!((made.code, made.err.as_str()), (0, ""));
        spool
    }

    /// Its name holds what shells stumble over.
    fn path(&self) -> PathBuf {
        self.root.path().join("-a spool\n$(x)")
    }

    fn file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path().join(Path::new(name.as_ref()))
    }

    fn put(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        fs::write(self.file(name), bytes).unwrap();
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        let mut all = vec![OsStr::new("-s").to_owned(), self.path().into()];
        all.extend(arguments.iter().map(|text| OsStr::new(text).to_owned()));
        script(name, &all)
    }

    fn json(&self, name: &str, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let ran = self.run(name, &all);
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err))
    }

    /// The violations as "file: what".
    fn violations(&self, arguments: &[&str]) -> Vec<String> {
        let ran = self.run("spool-check", arguments);
        let lines: Vec<String> =
            ran.out.lines().filter_map(|line| Some(line.strip_prefix("VIOLATION ")?.to_owned())).collect();
        assert_eq!((ran.code, ran.err.as_str()), (i32::from(!lines.is_empty()), ""), "{}", ran.out);
        lines
    }
}

fn action(id: u64, status: &str, counters: Value) -> Value {
    json!({
        "id": id, "name": "find \u{1b}[31mroot", "target": "all", "description": {}, "threat": {},
        "validfrom": "2026-01-01T00:00:00Z", "expireafter": "2096-01-01T00:00:00Z",
        "operations": [{"module": "file", "parameters": {"x": 0.1}}], "pgpsignatures": ["x"], "status": status,
        "starttime": "2026-01-01T00:00:01Z", "finishtime": "2026-01-01T00:00:09.5Z",
        "lastupdatetime": "2026-01-01T00:00:10Z", "counters": counters, "syntaxversion": 2,
    })
}

fn command(action_id: u64, id: u64, status: &str) -> Value {
    let errors = if status == "failed" { json!(["first", "second"]) } else { json!(null) };
    json!({
        "id": id, "action": action(action_id, "inflight", json!({})), "status": status,
        "agent": {"name": "h", "queueloc": format!("linux.h.{id}"), "pid": 1, "version": "1"},
        "results": [{"foundanything": false, "success": true, "elements": null, "statistics": null, "errors": errors}],
        "starttime": "2026-01-01T00:00:01Z", "finishtime": "2026-01-01T00:00:03.25Z",
    })
}

fn text(value: Value) -> String {
    format!("{value}\n")
}

/// Two actions: 12 has ended, with one command each way; 13 is in flight, with a command in each stage.
fn populated() -> Spool {
    let spool = Spool::new();
    let counters = json!({"sent": 2, "done": 2, "success": 1, "failed": 1});
    spool.put("action/done/12.json", text(action(12, "completed", counters)));
    spool.put("command/done/12-1.json", text(command(12, 1, "success")));
    spool.put("command/done/12-2.json", text(command(12, 2, "failed")));
    spool.put("action/inflight/13.json", text(action(13, "inflight", json!({}))));
    spool.put("command/ready/13-3.json", text(command(13, 3, "sent")));
    spool.put("command/inflight/13-4.json", text(command(13, 4, "sent")));
    spool.put("command/returned/13-5.json", text(command(13, 5, "expired")));
    spool.put("command/done/13-6.json", text(command(13, 6, "timeout")));
    spool
}

/// Only what has ended.
fn settled() -> Spool {
    let spool = populated();
    for name in ["action/inflight/13", "command/ready/13-3", "command/inflight/13-4", "command/returned/13-5"] {
        fs::remove_file(spool.file(format!("{name}.json"))).unwrap();
    }
    spool
}

fn store(spool: &Spool, rows: &[(u64, u64, &str)]) -> String {
    let path = spool.root.path().join("-store '.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    let now = 1_000_000 * std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    for (action, id, status) in rows {
        let sql = "INSERT INTO commands VALUES (?1, ?2, ?1, 'linux.h.' || ?1, ?3, '[]', 0, ?4)";
        database.execute(sql, (*id as i64, *action as i64, status, now)).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_script_explains_itself_and_refuses_what_it_does_not_know() {
    for name in [
        "install-spool.sh",
        "spool-status",
        "spool-check",
        "spool-trace",
        "spool-replay",
        "spool-backup",
        "spool-restore",
    ] {
        for option in ["-h", "--help"] {
            let help = script(name, &[option]);
            assert_eq!((help.code, help.err.as_str()), (0, ""), "{name}");
            for part in ["Usage: ", "Example", "Exit codes: 0 "] {
                assert!(help.out.contains(part), "{name}: {part}");
            }
        }
        assert_eq!(script(name, &["--no-such-option"]).code, 64, "{name}");
        assert_eq!(script(name, &["-s"]).code, 64, "{name}");
    }
    for name in ["spool-status", "spool-check"] {
        assert_eq!(script(name, &["-s", "/nowhere"]).code, 66, "{name}");
    }
    for name in ["setup-rabbitmq.sh", "make-certs.sh", "delete-queues.sh"] {
        let help = script(name, &["--help"]);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{name}");
        for part in ["Usage: ", "Example", "Exit codes: 0 "] {
            assert!(help.out.contains(part), "{name}: {part}");
        }
        assert_eq!(script(name, &["--no-such-option"]).code, 64, "{name}");
    }
    for wrong in [["--policy", "often"], ["--agent", "linux.a b"], ["--agent", "plan9.a"], ["--vhost", ""]] {
        assert_eq!(script("setup-rabbitmq.sh", &wrong).code, 64, "{wrong:?}");
    }
    assert_eq!(script("make-certs.sh", &["--host", "a,DNS:b", "x"]).code, 64);
    assert_eq!(script::<&str>("make-certs.sh", &[]).code, 64);
    assert_eq!(script("spool-trace", &["-s", "/nowhere", "1"]).code, 66);
    assert_eq!(script("spool-replay", &["-s", "/nowhere", "1"]).code, 66);
}

#[test]
fn shellcheck_finds_nothing() {
    let Ok(version) = Command::new("shellcheck").arg("--version").output() else {
        return Score::begin("shellcheck").skip("it is not installed");
    };
    assert!(version.status.success());
    let directory = Path::new(ROOT).join("scripts");
    let ours = |path: &PathBuf| path.extension().is_none_or(|extension| extension == "sh");
    let files: Vec<PathBuf> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).filter(ours).collect();
    assert!(files.len() >= 6, "{files:?}");
    let checked = ran(Command::new("shellcheck").arg("-x").args(files).current_dir(ROOT).output().unwrap());
    assert_eq!((checked.code, checked.out.as_str()), (0, ""));
}

#[test]
fn where_openssl_cannot_be_built_is_told_before_anything_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let scripts = directory.path().join("somebody's mig/scripts");
    fs::create_dir_all(&scripts).unwrap();
    for name in ["lib.sh", "bench.sh"] {
        fs::copy(Path::new(ROOT).join("scripts").join(name), scripts.join(name)).unwrap();
    }
    let refused = ran(Command::new(scripts.join("bench.sh")).output().unwrap());
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("an apostrophe in its name"), "{}", refused.err);
}

/// Path below the spool, and mode.
fn modes(spool: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut waiting = vec![spool.to_owned()];
    while let Some(path) = waiting.pop() {
        let name = path.strip_prefix(spool).unwrap().to_str().unwrap().to_owned();
        let metadata = fs::symlink_metadata(&path).unwrap();
        found.push((name, metadata.permissions().mode() & 0o7777));
        if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

#[test]
fn install_spool_and_the_tmpfiles_fragment_make_the_same() {
    let spool = Spool::new();
    let fragment = fs::read_to_string(Path::new(ROOT).join("spool-layout/mig-spool.conf")).unwrap();
    let mut expected = Vec::new();
    for line in fragment.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[1].strip_prefix("/var/cache/mig").unwrap().trim_start_matches('/');
        assert_eq!(words[3..], ["mig", "mig-drop", "-"], "{line}");
        assert_eq!(words[0] == "f", name == "agents_whitelist.txt", "{line}");
        expected.push((name.to_owned(), u32::from_str_radix(words[2], 8).unwrap()));
    }
    expected.sort();
    assert_eq!(modes(&spool.path()), expected);
    assert_eq!(expected.iter().find(|(name, _)| name == "action/new").unwrap().1, 0o3770);
}

#[test]
fn install_spool_again_repairs_directories_and_leaves_files_alone() {
    let spool = populated();
    spool.put("agents_whitelist.txt", "linux.h.1\n");
    fs::set_permissions(spool.file("agents_whitelist.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(spool.file("action/new"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir(spool.file("lock")).unwrap();
    let before = modes(&spool.path());
    let arguments: &[&str] = if is_root() { &["-o", "0", "-g", "0"] } else { &[] };
    for _ in 0..2 {
        let again = spool.run("install-spool.sh", arguments);
        assert_eq!((again.code, again.out.as_str(), again.err.as_str()), (0, "", ""));
    }
    let after = modes(&spool.path());
    let changed: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
    assert_eq!(changed, [&("action/new".to_owned(), 0o3770), &("lock".to_owned(), 0o2750)]);
    assert_eq!(fs::read(spool.file("agents_whitelist.txt")).unwrap(), b"linux.h.1\n");
}

#[test]
fn install_spool_refuses_what_it_cannot_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let owner: &[&str] = if is_root() { &["-o", "0", "-g", "0"] } else { &[] };
    let install = |spool: &str| {
        let mut arguments = vec!["-s", spool];
        arguments.extend(owner);
        script("install-spool.sh", &arguments)
    };
    assert_eq!(install(&path("missing/spool")).code, 73);
    fs::write(path("file"), "").unwrap();
    assert_eq!(install(&path("file")).code, 73);
    fs::create_dir_all(path("linked/action")).unwrap();
    fs::create_dir(path("elsewhere")).unwrap();
    symlink(path("elsewhere"), path("linked/action/new")).unwrap();
    let linked = install(&path("linked"));
    assert_eq!(linked.code, 73);
    assert!(linked.err.contains("symbolic link"), "{}", linked.err);
    assert_eq!(fs::read_dir(path("elsewhere")).unwrap().count(), 0);
    if is_root() {
        let unknown = script("install-spool.sh", &["-s", &path("x"), "-o", "no-such-user"]);
        assert_eq!(unknown.code, 64);
        assert!(!Path::new(&path("x")).exists());
        let unknown = script("install-spool.sh", &["-s", &path("x"), "-o", "0", "-g", "no-such-group"]);
        assert_eq!(unknown.code, 64);
    } else {
        assert_eq!(script("install-spool.sh", &["-s", &path("x"), "-o", "root"]).code, 77);
    }
}

#[test]
fn an_ordinary_user_gets_a_spool_of_their_own() {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return Score::begin("a spool of an ordinary user").skip("becoming one needs root and setpriv");
    }
    let directory = tempfile::tempdir().unwrap();
    // The source tree may be closed to others.
    let copy = directory.path().join("source");
    for name in ["scripts", "spool-layout"] {
        let to = copy.join(name);
        fs::create_dir_all(&to).unwrap();
        let copied = Command::new("cp").arg("-rT").arg(Path::new(ROOT).join(name)).arg(&to).status().unwrap();
        assert!(copied.success());
    }
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    for path in [directory.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let install = |arguments: &[&OsStr]| {
        let mut all = Command::new("setpriv");
        all.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy.join("scripts/install-spool.sh"));
        ran(all.args(arguments).current_dir("/").output().unwrap())
    };
    let spool = home.join("spool");
    for _ in 0..2 {
        let made = install(&[OsStr::new("-s"), spool.as_os_str()]);
        assert_eq!((made.code, made.err.as_str()), (0, ""));
    }
    assert_eq!(modes(&spool), modes(&Spool::new().path()));
    assert_eq!(install(&[OsStr::new("-s"), spool.as_os_str(), OsStr::new("-g"), OsStr::new("root")]).code, 77);
    assert_eq!(install(&[OsStr::new("-s"), directory.path().join("x").as_os_str()]).code, 73);
}

#[test]
fn the_trees_directories_are_those_of_the_code() {
    let tree = Path::new(ROOT).join("spool-layout/tree");
    let made = [mig::spool::stages::ACTION_PENDING];
    let stages = mig::spool::stages::SCHEDULER.iter().chain(&made);
    let mut expected: Vec<String> = stages.map(|stage| stage.path().to_owned()).collect();
    expected.extend(["tmp".into(), "lock".into()]);
    for name in &expected {
        assert!(tree.join(name).join(".gitkeep").is_file(), "{name}");
    }
}

#[test]
fn status_counts_by_stage() {
    let spool = populated();
    spool.put("action/new/.hidden.json", "");
    spool.put("action/new/no-drop", "");
    spool.put("action/new/a.json.asc-bob", "");
    spool.put("action/pending/waiting.json", "{}");
    spool.put("action/new/a\n\tb.json", "");
    spool.put(OsStr::from_bytes(b"action/new/-\xff.json"), "");
    spool.put("action/invalid/x.json", "");
    spool.put("action/invalid/x.json.reason", "2026-01-01T00:00:00Z\nbad\n");
    spool.put("tmp/14-1.json", "{");
    spool.put("tmp/results.0", "");
    let status = spool.json("spool-status", &[]);
    let expected = [
        ("action/new", 2),
        ("action/pending", 1),
        ("action/inflight", 1),
        ("action/done", 1),
        ("action/invalid", 1),
        ("command/ready", 1),
        ("command/inflight", 1),
        ("command/returned", 1),
        ("command/done", 3),
    ];
    assert_eq!((&status["others"], &status["signatures"]), (&json!(1), &json!(1)));
    let table = spool.run("spool-status", &[]).out;
    assert!(table.contains("action/new has 1 files that are no actions: their names do not end in .json"), "{table}");
    for (stage, count) in expected {
        assert_eq!(status["stages"][stage]["count"], count, "{stage}");
        assert!(status["stages"][stage]["oldest_seconds"].as_u64().unwrap() < 60, "{stage}");
    }
    assert_eq!((&status["reasons"], &status["prepared"], &status["leftovers"]), (&json!(1), &json!(1), &json!(1)));
    let table = spool.run("spool-status", &[]);
    assert_eq!(table.code, 0);
    assert!(table.out.contains("command/done              3  "), "{}", table.out);
    assert_eq!(Spool::new().json("spool-status", &[])["stages"]["action/new"]["oldest_seconds"], Value::Null);
}

#[test]
fn legal_pictures_are_clean() {
    let spool = populated();
    assert_eq!(spool.violations(&[]), [""; 0]);
    assert_eq!(settled().violations(&["--settled"]), [""; 0]);
    assert_eq!(spool.json("spool-check", &[])["clean"], true);
    // What a crash may leave.
    spool.put("command/returned/13-3.json", text(command(13, 3, "success")));
    spool.put("command/returned/13-4.json", text(command(13, 4, "success")));
    spool.put("command/done/13-5.json", text(command(13, 5, "success")));
    spool.put("command/ready/13-6.json", text(command(13, 6, "sent")));
    spool.put("command/inflight/12-1.json", text(command(12, 1, "sent")));
    spool.put("command/returned/12-1.json", text(command(12, 1, "expired")));
    let counters = json!({"sent": 1, "done": 1, "expired": 1});
    spool.put("action/done/13.json", text(action(13, "completed", counters)));
    spool.put("tmp/13-7.json", "{");
    spool.put("tmp/action-new.17", "{");
    spool.put("action/invalid/gone.json.reason", "2026-01-01T00:00:00Z\nbad\n");
    // Replayed after its action was deleted.
    spool.put("command/ready/99-1.json", text(command(99, 1, "success")));
    spool.put("action/pending/a.json", "{}");
    spool.put("action/new/a.json.asc-bob", "");
    spool.put("action/invalid/b.json.asc-bob", "");
    spool.put("action/invalid/b.json.asc-bob.reason", "2026-01-01T00:00:00Z\nbad\n");
    // Drops may be anything.
    spool.put("action/new/half.json", "{");
    symlink("/dev/null", spool.file("action/new/link.json")).unwrap();
    assert_eq!(spool.violations(&[]), [""; 0]);
}

#[test]
fn each_kind_of_violation_is_found() {
    type Plant = fn(&Spool);
    let cases: [(&str, Plant); 32] = [
        ("action/pending/a.json.asc-bob: is not a file with the name of an action", |s| {
            s.put("action/pending/a.json.asc-bob", "")
        }),
        ("action/inflight/x.json: is not named after an action, such as 12.json", |s| {
            s.put("action/inflight/x.json", "")
        }),
        ("action/done/012.json: is not named after an action, such as 12.json", |s| s.put("action/done/012.json", "")),
        ("action/done/.x: is not named after an action, such as 12.json", |s| s.put("action/done/.x", "")),
        ("action/done/9223372036854775808.json: is not named after an action, such as 12.json", |s| {
            s.put("action/done/9223372036854775808.json", "")
        }),
        ("command/ready/12.json: is not named after a command, such as 12-34.json", |s| {
            s.put("command/ready/12.json", "")
        }),
        ("command/inflight/a?b-?.json: is not named after a command, such as 12-34.json", |s| {
            s.put("command/inflight/a\nb-\t.json", "")
        }),
        ("command/done/13-6.json.reason: is not named after a command, such as 12-34.json", |s| {
            s.put("command/done/13-6.json.reason", "")
        }),
        ("command/returned/13-9.json: is not a regular file", |s| {
            symlink("13-5.json", s.file("command/returned/13-9.json")).unwrap()
        }),
        ("command/done/13-9.json: is not a regular file", |s| {
            fs::create_dir(s.file("command/done/13-9.json")).unwrap()
        }),
        ("command/done/13-9.json: is not one JSON object of its kind", |s| s.put("command/done/13-9.json", "{\"id\":")),
        ("command/ready/13-9.json: is not one JSON object of its kind", |s| s.put("command/ready/13-9.json", "")),
        ("action/inflight/13.json: is not one JSON object of its kind", |s| s.put("action/inflight/13.json", "[]")),
        ("command/done/13-9.json: is not one JSON object of its kind", |s| {
            s.put("command/done/13-9.json", text(command(13, 9, "failed")).repeat(2))
        }),
        ("action/inflight/13.json: its id is not that of its name", |s| {
            s.put("action/inflight/13.json", text(action(14, "inflight", json!({}))))
        }),
        ("command/done/13-9.json: its id is not that of its name", |s| {
            s.put("command/done/13-9.json", text(command(13, 8, "failed")))
        }),
        ("command/done/13-9.json: its action.id is not that of its name", |s| {
            s.put("command/done/13-9.json", text(command(12, 9, "failed")))
        }),
        ("action/inflight/13.json: its status is completed, not inflight", |s| {
            s.put("action/inflight/13.json", text(action(13, "completed", json!({}))))
        }),
        ("action/done/12.json: its status is inflight, not completed", |s| {
            let counters = json!({"sent": 2, "done": 2, "success": 2});
            s.put("action/done/12.json", text(action(12, "inflight", counters)))
        }),
        ("action/done/12.json: its counters do not add up: 3 sent, 2 done, 2 by status", |s| {
            let counters = json!({"sent": 3, "done": 2, "success": 1, "timeout": 1});
            s.put("action/done/12.json", text(action(12, "completed", counters)))
        }),
        ("command/returned/13-5.json: its status is sent, which is not final", |s| {
            s.put("command/returned/13-5.json", text(command(13, 5, "sent")))
        }),
        ("command/done/13-9.json: its status is prepared, which is not final", |s| {
            s.put("command/done/13-9.json", text(command(13, 9, "prepared")))
        }),
        ("command/inflight/13-4.json: its status is prepared, not sent", |s| {
            s.put("command/inflight/13-4.json", text(command(13, 4, "prepared")))
        }),
        ("command/ready/14-1.json: its action is neither in action/inflight nor in action/done", |s| {
            s.put("command/ready/14-1.json", text(command(14, 1, "sent")))
        }),
        ("command/ready/13-4.json: is in command/inflight too", |s| {
            s.put("command/ready/13-4.json", text(command(13, 4, "sent")))
        }),
        ("action/invalid/x.json: has no reason beside it", |s| s.put("action/invalid/x.json", "")),
        ("action/invalid/x.json.reason: is not two lines, time and cause", |s| {
            s.put("action/invalid/x.json", "");
            s.put("action/invalid/x.json.reason", "2026-01-01T00:00:00Z\n")
        }),
        ("action/invalid/y=z ?.json.reason: is not two lines, time and cause", |s| {
            s.put("action/invalid/y=z \n.json", "");
            s.put("action/invalid/y=z \n.json.reason", "")
        }),
        ("action/invalid/x: is neither a refused file nor a reason", |s| s.put("action/invalid/x", "")),
        ("tmp/x.0: is nothing that a worker writes in tmp", |s| s.put("tmp/x.0", "")),
        ("tmp/13-.json: is nothing that a worker writes in tmp", |s| s.put("tmp/13-.json", "")),
        ("tmp/13-1.json: is nothing that a worker writes in tmp", |s| fs::create_dir(s.file("tmp/13-1.json")).unwrap()),
    ];
    for (violation, plant) in cases {
        let spool = populated();
        plant(&spool);
        assert_eq!(spool.violations(&[]), [violation]);
        let json = spool.json("spool-check", &[]);
        assert_eq!(json["clean"], false);
        let (file, what) = violation.split_once(": ").unwrap();
        assert_eq!(json["violations"], json!([{"file": file, "what": what}]));
    }
}

#[test]
fn a_stage_that_was_made_again_in_another_way_is_found() {
    if !is_root() {
        return Score::begin("stages of another owner").skip("only root can give directories away");
    }
    let spool = populated();
    std::os::unix::fs::chown(spool.file("command/done"), Some(4001), None).unwrap();
    let found = ["command/done: belongs to user 4001, the spool to user 0: run install-spool.sh again"];
    assert_eq!(spool.violations(&[]), found);
    std::os::unix::fs::chown(spool.file("command/done"), Some(0), None).unwrap();
    let elsewhere = spool.root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    if let Err(why) = mounts::mount(&["--bind"], &elsewhere, &spool.file("action/done")) {
        return Score::begin("stages on another mount").skip(&why);
    }
    let found = spool.violations(&[]);
    mounts::unmount(&spool.file("action/done")).unwrap();
    let expected = "action/done: is not on the mount of the spool: no file can be renamed into it";
    assert!(found.iter().any(|one| one == expected), "{found:?}");
}

#[test]
fn install_spool_warns_of_groups_that_are_not_two() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool").display().to_string();
    if !is_root() {
        return Score::begin("groups of a spool").skip("only root can give directories away");
    }
    // daemon is a user and a group of every Debian; it is in no other group.
    let install = |group: &str| script("install-spool.sh", &["-s", &spool, "-o", "daemon", "-g", group]);
    let same = install("daemon");
    assert!(same.code == 0 && same.err.contains("daemon is the group of daemon: its members may read"), "{}", same.err);
    let other = install("games");
    assert!(other.code == 0 && other.err.contains("daemon is not in the drop group"), "{}", other.err);
    assert_eq!(install("4003").code, 0);
    assert_eq!(
        fs::metadata(Path::new(&spool).join("action/new")).unwrap().gid(),
        4003,
        "run again, it changes the group"
    );
}

#[test]
fn each_kind_of_leftover_is_found_when_settled() {
    type Plant = fn(&Spool);
    let cases: [(&[&str], Plant); 11] = [
        (&["action/pending/a.json: waits for signatures"], |s| s.put("action/pending/a.json", "{}")),
        (&["action/new/a.json.asc-bob: is still to be joined with its action"], |s| {
            s.put("action/new/a.json.asc-bob", "")
        }),
        (&["action/new/-x ?.json: is still to be scheduled"], |s| s.put("action/new/-x \n.json", "")),
        (&["action/inflight/13.json: has not ended"], |s| {
            s.put("action/inflight/13.json", text(action(13, "inflight", json!({}))))
        }),
        (&["action/done/12.json: is in action/inflight too", "action/inflight/12.json: has not ended"], |s| {
            s.put("action/inflight/12.json", text(action(12, "inflight", json!({}))))
        }),
        (&["command/12-1.json: is in more than one stage", "command/ready/12-1.json: is still to be sent"], |s| {
            s.put("command/ready/12-1.json", text(command(12, 1, "sent")))
        }),
        (
            &["command/12-1.json: is in more than one stage", "command/inflight/12-1.json: is still without an answer"],
            |s| s.put("command/inflight/12-1.json", text(command(12, 1, "sent"))),
        ),
        (&["command/returned/12-9.json: is still to be stored"], |s| {
            s.put("command/returned/12-9.json", text(command(12, 9, "expired")))
        }),
        (&["tmp/collector.3: is left over"], |s| s.put("tmp/collector.3", "")),
        (&["tmp/13-1.json: was not released"], |s| s.put("tmp/13-1.json", "")),
        (&["action/invalid/x.json.reason: is a reason without its file"], |s| {
            s.put("action/invalid/x.json.reason", "2026-01-01T00:00:00Z\nbad\n")
        }),
    ];
    for (violations, plant) in cases {
        let spool = settled();
        plant(&spool);
        assert_eq!(spool.violations(&[]), [""; 0]);
        assert_eq!(spool.violations(&["--settled"]), violations);
    }
}

#[test]
fn the_store_is_compared_with_the_spool() {
    const GOOD: [(u64, u64, &str); 3] = [(12, 1, "success"), (12, 2, "failed"), (13, 6, "timeout")];
    let check = |spool: &Spool, rows: &[(u64, u64, &str)], arguments: &[&str]| {
        let db = store(spool, rows);
        let mut all = vec!["--db", db.as_str()];
        all.extend(arguments);
        spool.violations(&all)
    };
    assert_eq!(check(&settled(), &GOOD, &["--settled"]), [""; 0]);
    assert_eq!(check(&settled(), &GOOD[..2], &[]), ["command/done/13-6.json: is not in the store"]);
    assert_eq!(
        check(&settled(), &[GOOD[0], GOOD[1], (13, 6, "expired")], &[]),
        ["command/done/13-6.json: its status is timeout, the store has expired"]
    );
    // One whose file is gone though it ended now, and so changes the counters.
    let more = [GOOD[0], GOOD[1], GOOD[2], (12, 9, "success")];
    let counters = [
        "action/done/12.json: its counter done is 2, the store has 3",
        "action/done/12.json: its counter sent is 2, the store has 3",
        "action/done/12.json: its counter success is 1, the store has 2",
    ];
    let mut expected = counters.to_vec();
    expected.push("command/done/12-9.json: is missing, the store has it as success");
    assert_eq!(check(&settled(), &more, &[]), expected);
    assert_eq!(check(&settled(), &more, &["--deleteafter", "0"]), counters);
    // Forgotten: its action is in flight, and its file nowhere.
    let spool = settled();
    spool.put("action/inflight/13.json", text(action(13, "inflight", json!({}))));
    let forgotten = [GOOD[0], GOOD[1], GOOD[2], (13, 9, "prepared")];
    assert_eq!(check(&spool, &forgotten, &[]), ["command/ready/13-9.json: is missing, the store has it as prepared"]);
    spool.put("tmp/13-9.json", "{");
    fs::remove_file(spool.root.path().join("-store '.db")).unwrap();
    assert_eq!(check(&spool, &forgotten, &[]), [""; 0]);
    // Nowhere at all, and nothing left that could end it.
    assert_eq!(
        check(&settled(), &[GOOD[0], GOOD[1], GOOD[2], (14, 9, "sent")], &["--settled"]),
        ["command/ready/14-9.json: is missing, the store has it as sent"]
    );
    assert_eq!(settled().run("spool-check", &["--db", "/nowhere"]).code, 66);
    let spool = settled();
    spool.put("no.db", "this is no database, but long enough to be looked at as one");
    assert_eq!(spool.run("spool-check", &["--db", spool.file("no.db").to_str().unwrap()]).code, 66);
}

#[test]
fn trace_shows_an_actions_way() {
    let spool = populated();
    let trace = spool.json("spool-trace", &["13"]);
    assert_eq!(trace["places"][0]["file"], "action/inflight/13.json");
    assert_eq!(trace["name"], "find ?[31mroot");
    let rows: Vec<String> = trace["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {} {}", c["command"], c["stage"], c["status"]))
        .collect();
    assert_eq!(
        rows,
        [
            r#""3" "command/ready" "sent""#,
            r#""4" "command/inflight" "sent""#,
            r#""5" "command/returned" "expired""#,
            r#""6" "command/done" "timeout""#
        ]
    );
    assert_eq!(trace["totals"]["statuses"], json!({"sent": 2, "expired": 1, "timeout": 1}));
    let text_of = spool.run("spool-trace", &["12"]);
    assert_eq!(text_of.code, 0);
    assert!(
        text_of.out.contains(
            "  2  linux.h.2  command/done  failed  2026-01-01T00:00:01Z  2026-01-01T00:00:03.25Z  2.25 s  first\n"
        ),
        "{}",
        text_of.out
    );
    assert!(!text_of.out.contains('\u{1b}'));
    // A broken file is shown, and hides no other.
    spool.put("command/done/12-3.json", "{");
    let trace = spool.json("spool-trace", &["12"]);
    assert_eq!(trace["commands"].as_array().unwrap().len(), 3);
    assert_eq!(trace["commands"][2]["error"], "this file is not JSON");
    assert_eq!(spool.run("spool-trace", &["99"]).code, 1);
    // Its drop was withdrawn while its commands were prepared.
    spool.put("tmp/99-1.json", "{");
    assert_eq!(spool.run("spool-trace", &["99"]).code, 0);
}

#[test]
fn trace_finds_drops_by_the_beginning_of_their_name() {
    let spool = populated();
    spool.put("action/new/-odd \n*.json", "{");
    spool.put("action/invalid/other.json", text(action(77, "x", json!({}))));
    spool.put("action/invalid/other.json.reason", "2026-01-01T00:00:00Z\nfield 'target': \u{1b}bad\n");
    let trace = spool.json("spool-trace", &["--", "-o"]);
    assert_eq!(trace["places"][0]["file"], "action/new/-odd ?*.json");
    assert_eq!(spool.json("spool-trace", &["oth"])["reason"], "2026-01-01T00:00:00Z field 'target': ?bad");
    spool.put("action/new/others.json", "{");
    assert_eq!(spool.run("spool-trace", &["oth"]).code, 1);
    assert_eq!(spool.json("spool-trace", &["others"])["places"][0]["file"], "action/new/others.json");
    spool.put("action/pending/waiting.json", "{}");
    assert_eq!(spool.json("spool-trace", &["wait"])["places"][0]["file"], "action/pending/waiting.json");
    assert_eq!(spool.run("spool-trace", &["*"]).code, 1);
    assert_eq!(spool.run("spool-trace", &["../x"]).code, 64);
}

#[test]
fn replay_moves_and_says_why_not() {
    let spool = settled();
    let plan = spool.run("spool-replay", &["12-1", "-n"]);
    assert_eq!((plan.code, plan.out.as_str()), (0, "would move command/done/12-1.json to command/ready/12-1.json\n"));
    assert!(spool.file("command/done/12-1.json").exists());
    let bytes = fs::read(spool.file("command/done/12-1.json")).unwrap();
    let moved = spool.run("spool-replay", &["12-1"]);
    assert_eq!((moved.code, moved.err.as_str()), (0, ""));
    assert_eq!(fs::read(spool.file("command/ready/12-1.json")).unwrap(), bytes);
    assert_eq!(spool.violations(&[]), [""; 0], "a replayed command is a legal picture");
    let again = spool.run("spool-replay", &["12-1"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("but here: command/ready/12-1.json"), "{}", again.err);
    // And back by hand: the way is the same.
    fs::rename(spool.file("command/ready/12-1.json"), spool.file("command/done/12-1.json")).unwrap();
    assert_eq!(spool.violations(&["--settled"]), [""; 0]);

    assert_eq!(spool.run("spool-replay", &["12"]).code, 0);
    assert!(spool.file("action/new/12.json").exists() && !spool.file("action/done/12.json").exists());
    assert!(spool.run("spool-replay", &["12"]).err.contains("but here: action/new/12.json"));
    assert_eq!(spool.run("spool-replay", &["77"]).code, 1);
    for wrong in ["x", "012", "1-2-3", "1-", "-1", "../1", "1/2", ""] {
        assert_eq!(spool.run("spool-replay", &[wrong]).code, 64, "{wrong}");
    }
    assert_eq!(spool.run("spool-replay", &["12-1", "--fresh"]).code, 64);
}

#[test]
fn replay_fresh_drops_a_copy_without_what_the_scheduler_added() {
    let spool = settled();
    assert_eq!(spool.run("spool-replay", &["12", "--fresh", "-n"]).code, 0);
    assert_eq!(fs::read_dir(spool.file("action/new")).unwrap().count(), 0);
    let dropped = spool.run("spool-replay", &["12", "--fresh"]);
    assert_eq!((dropped.code, dropped.err.as_str()), (0, ""));
    let names: Vec<_> = fs::read_dir(spool.file("action/new")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["12-fresh.json"]);
    let copy: Value = serde_json::from_slice(&fs::read(spool.file("action/new/12-fresh.json")).unwrap()).unwrap();
    let mut expected = action(12, "completed", json!({}));
    for field in ["id", "status", "counters", "starttime", "finishtime", "lastupdatetime"] {
        expected.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(copy, expected);
    assert!(spool.file("action/done/12.json").exists());
    assert_eq!(spool.run("spool-replay", &["12", "--fresh"]).code, 1, "it is waiting already");
}

#[test]
fn what_ran_out_is_not_replayed() {
    let spool = settled();
    let mut old = command(12, 1, "success");
    old["action"]["expireafter"] = json!("2020-01-01T00:00:00.123Z");
    spool.put("command/done/12-1.json", text(old.clone()));
    spool.put("action/done/12.json", text(old["action"].clone()));
    for arguments in [&["12-1"] as &[&str], &["12"], &["12", "--fresh"]] {
        let refused = spool.run("spool-replay", arguments);
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("expired at"), "{}", refused.err);
    }
}

#[test]
fn many_files_are_no_trouble() {
    const COUNT: u64 = 20_000;
    let spool = Spool::new();
    let sample = text(command(7, 1_111_111, "success"));
    let (before, after) = sample.split_once("\"id\":1111111").unwrap();
    for id in 1..=COUNT {
        spool.put(format!("command/done/7-{id}.json"), format!("{before}\"id\":{id}{after}"));
        spool.put(format!("action/new/{id} -\n.json"), "");
    }
    let counters = json!({"sent": COUNT, "done": COUNT, "success": COUNT});
    spool.put("action/done/7.json", text(action(7, "completed", counters)));
    assert_eq!(spool.json("spool-status", &[])["stages"]["action/new"]["count"], COUNT);
    assert_eq!(spool.violations(&[]), [""; 0]);
    assert_eq!(spool.violations(&["--settled"]).len() as u64, COUNT);
    let trace = spool.json("spool-trace", &["7"]);
    assert_eq!(trace["totals"], json!({"stages": {"command/done": COUNT}, "statuses": {"success": COUNT}}));
    // One broken file among many is found by halving.
    spool.put("command/done/7-9999.json", "{\"id\":");
    assert_eq!(spool.violations(&[]), ["command/done/7-9999.json: is not one JSON object of its kind"]);
}
