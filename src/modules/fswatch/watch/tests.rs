//! What is noticed of real trees.

use super::super::place::open_plain;
use super::super::{FsWatch, parameters};
use super::tell::UNSEEN_MAX;
use super::*;
use crate::modules::persistent::Persistent;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// A watcher in a thread of its own; it ends when it notices a file called `end`.
struct Running {
    events: Receiver<Event>,
    thread: JoinHandle<()>,
}

impl Running {
    fn begin(parameters: Value) -> Running {
        let (sender, events) = channel();
        let thread = std::thread::spawn(move || {
            FsWatch
                .run(&parameters, &mut |event| {
                    let is_end = event["path"].as_str().is_some_and(|path| path.ends_with("/end"));
                    !is_end && sender.send(event).is_ok()
                })
                .unwrap();
        });
        Running { events, thread }
    }

    /// The next event, as `event path`, with the path below `top`.
    fn next(&self, top: &Path) -> String {
        let event = self.events.recv_timeout(Duration::from_secs(60)).unwrap();
        let below = |path: &Value| path.as_str().unwrap().trim_start_matches(top.to_str().unwrap()).to_owned();
        let from = event.get("from").map_or(String::new(), |from| format!("{} ", below(from)));
        format!("{} {from}{}", event["event"].as_str().unwrap(), below(&event["path"]))
    }

    /// Events until this one.
    fn until(&self, top: &Path, last: &str) -> Vec<String> {
        let mut events = Vec::new();
        while events.last().is_none_or(|event| event != last) {
            events.push(self.next(top));
        }
        events
    }

    fn end(self, directory: &Path) {
        fs::write(directory.join("end"), "").unwrap();
        self.thread.join().unwrap();
    }
}

#[test]
fn what_changes_in_a_tree_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::create_dir(top.join("not")).unwrap();
    fs::write(top.join("a/b/old"), "x").unwrap();
    let running = Running::begin(json!({"paths": [top], "exclude": [top.join("not")]}));
    assert_eq!(running.next(top), "watching ");
    // The watches are there once something of the deepest directory is noticed.
    let event = loop {
        fs::write(top.join("a/b/new"), "text").unwrap();
        match running.events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) if event["event"] == "modified" => break event,
            _ => {}
        }
    };
    assert_eq!((&event["size"], &event["type"], &event["mode"]), (&json!(4), &json!("file"), &json!("-rw-r--r--")));
    fs::write(top.join("not/noticed"), "").unwrap();
    fs::rename(top.join("a/b/new"), top.join("a/moved")).unwrap();
    let events = running.until(top, "moved /a/b/new /a/moved");
    assert!(!events.iter().any(|event| event.contains("/not")), "{events:?}");
    fs::remove_file(top.join("a/b/old")).unwrap();
    assert_eq!(running.next(top), "removed /a/b/old");
    // A directory that moves takes its watch along.
    fs::rename(top.join("a/b"), top.join("c")).unwrap();
    assert_eq!(running.next(top), "moved /a/b /c");
    fs::write(top.join("c/x"), "").unwrap();
    assert!(running.until(top, "modified /c/x").contains(&"created /c/x".to_owned()));
    // What is made in a new directory before it is watched is not missed.
    fs::create_dir_all(top.join("d/e/f")).unwrap();
    fs::write(top.join("d/e/f/deep"), "").unwrap();
    assert!(running.until(top, "created /d/e/f/deep").contains(&"created /d/e".to_owned()));
    running.end(top);
}

#[test]
fn a_path_that_goes_is_watched_again_when_it_is_back_and_a_file_is_watched_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::write(top.join("file"), "").unwrap();
    fs::create_dir(top.join("tree")).unwrap();
    let plan = parameters::parse(&json!({"paths": [top.join("file"), top.join("tree")]})).unwrap();
    let mut events: Vec<String> = Vec::new();
    let mut notice = |event: Event| {
        events
            .push(format!("{} {}", event["event"], event["path"]).replace(top.to_str().unwrap(), "").replace('"', ""));
        true
    };
    let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
    watcher.begin();
    // As an editor does it.
    fs::write(top.join("other"), "").unwrap();
    fs::write(top.join(".file"), "").unwrap();
    fs::rename(top.join(".file"), top.join("file")).unwrap();
    watcher.read().unwrap();
    fs::remove_dir(top.join("tree")).unwrap();
    watcher.read().unwrap();
    assert_eq!(watcher.missing[0].path, top.join("tree"));
    fs::create_dir(top.join("tree")).unwrap();
    watcher.begin();
    fs::write(top.join("tree/x"), "").unwrap();
    watcher.read().unwrap();
    drop(watcher);
    let expected =
        ["watching /file", "watching /tree", "created /file", "removed /tree", "watching /tree", "created /tree/x"];
    assert_eq!(events[..6], expected, "{events:?}");
}

/// A watcher over these parameters, what is done, and what it noticed of it, as `event path`.
fn noticed(top: &Path, parameters: &Value, deeds: impl FnOnce(&mut Watcher)) -> Vec<String> {
    let plan = parameters::parse(parameters).unwrap();
    let mut events: Vec<String> = Vec::new();
    let mut notice = |event: Event| {
        events
            .push(format!("{} {}", event["event"], event["path"]).replace(top.to_str().unwrap(), "").replace('"', ""));
        true
    };
    let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
    watcher.begin();
    deeds(&mut watcher);
    watcher.read().unwrap();
    drop(watcher);
    events
}

fn has(events: &[String], event: &str) -> bool {
    count(events, event) > 0
}

fn count(events: &[String], event: &str) -> usize {
    events.iter().filter(|one| *one == event).count()
}

/// Two turns of marks: as if ten seconds were over.
fn turns(watcher: &mut Watcher) {
    watcher.read().unwrap();
    for _ in 0..2 {
        let marks = watcher.marks.turn(Instant::now());
        watcher.settle(marks, true);
    }
}

#[test]
fn a_file_that_stays_open_is_modified_once_for_many_writes() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let mut log = fs::File::create(top.join("log")).unwrap();
    let mut other = fs::File::create(top.join("other")).unwrap();
    let events = noticed(top, &json!({"paths": [top], "names": ["log"]}), |watcher| {
        for _ in 0..1_000 {
            log.write_all(b"line").unwrap();
            other.write_all(b"line").unwrap();
        }
        turns(watcher);
        assert_eq!(watcher.marks.due(), None);
    });
    assert_eq!(events, ["watching ", "modified /log"]);
    // A close reports it, and nothing else does.
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        log.write_all(b"line").unwrap();
        drop(log);
        turns(watcher);
    });
    assert_eq!(events, ["watching ", "modified /log"]);
}

#[test]
fn what_happens_to_the_name_of_an_open_file_tells_first_that_it_was_modified() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("d")).unwrap();
    let mut files = ["log", "gone", "over", "d/in"].map(|name| fs::File::create(top.join(name)).unwrap());
    fs::write(top.join("new"), "").unwrap();
    let events = noticed(top, &json!({"paths": [top.join("d"), top]}), |watcher| {
        files.iter_mut().for_each(|file| file.write_all(b"line").unwrap());
        fs::rename(top.join("log"), top.join("log.1")).unwrap();
        fs::remove_file(top.join("gone")).unwrap();
        fs::rename(top.join("new"), top.join("over")).unwrap();
        fs::rename(top.join("d"), tempfile::tempdir().unwrap().path()).unwrap();
        turns(watcher);
    });
    let place =
        |event: &str| events.iter().position(|one| one == event).unwrap_or_else(|| panic!("{event}: {events:?}"));
    for (first, then) in [
        ("modified /log", "moved /log.1"),
        ("modified /gone", "removed /gone"),
        ("modified /over", "moved /over"),
        ("modified /d/in", "removed /d"),
    ] {
        assert!(place(first) < place(then), "{events:?}");
    }
    assert_eq!(events.iter().filter(|event| event.starts_with("modified")).count(), 4, "{events:?}");
}

/// A program that runs to its end.
fn run(program: &str, arguments: &[&str], at: &Path) {
    assert!(std::process::Command::new(program).args(arguments).current_dir(at).status().unwrap().success());
}

#[test]
fn truncating_by_name_and_setting_times_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("d")).unwrap();
    fs::write(top.join("file"), "text").unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        run("perl", &["-e", "truncate('file', 1) or die"], top);
        turns(watcher);
        // The time of change alone, as one sets it back.
        run("touch", &["-c", "-m", "-d", "2001-01-01", "d"], top);
    });
    assert_eq!(fs::metadata(top.join("file")).unwrap().len(), 1);
    assert_eq!(events, ["watching ", "modified /file", "attributes /d"]);
}

#[test]
fn writing_through_a_mapping_is_noticed_when_the_mapping_ends() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::write(top.join("file"), "text").unwrap();
    let script = "import mmap,sys\nfile=open('file','r+b')\nmapped=mmap.mmap(file.fileno(),4)\nfile.close()\nmapped[0:1]=b'x'\n\
        print(1,flush=True)\nsys.stdin.read()\nmapped.close()\n";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script]).current_dir(top).stdin(Stdio::piped()).stdout(Stdio::piped());
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        let mut python = python.spawn().unwrap();
        python.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
        turns(watcher);
        assert!(python.wait().unwrap().success());
    });
    assert_eq!(events, ["watching ", "modified /file"]);
    assert_eq!(fs::read(top.join("file")).unwrap(), b"xext");
}

#[test]
fn after_events_that_were_lost_all_is_watched_anew() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    fs::create_dir(top.join("d")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        let file = top.join("file");
        for _ in 0..limit / 3 + 1 {
            fs::write(&file, "").unwrap();
            fs::remove_file(&file).unwrap();
        }
        // Not noticed.
        fs::rename(top.join("d"), elsewhere.path().join("d")).unwrap();
        while !watcher.is_lost {
            watcher.read().unwrap();
        }
        watcher.begin_anew().unwrap();
        watcher.begin();
        fs::write(elsewhere.path().join("d/x"), "").unwrap();
        fs::write(top.join("after"), "").unwrap();
    });
    assert_eq!((count(&events, "watching "), count(&events, "unseen /")), (2, 1));
    assert!(has(&events, "created /after") && !events.iter().any(|event| event.contains("/d")));
}

#[test]
fn a_deep_tree_that_is_moved_in_and_out_is_watched_and_not_any_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (top, outside) = (directory.path().join("top"), directory.path().join("outside"));
    let deep: PathBuf = std::iter::repeat_n("deep", 200).collect();
    fs::create_dir_all(outside.join("t").join(&deep)).unwrap();
    fs::create_dir(&top).unwrap();
    let file = top.join("t").join(&deep).join("file");
    let events = noticed(&top, &json!({"paths": [top]}), |watcher| {
        fs::rename(outside.join("t"), top.join("t")).unwrap();
        watcher.read().unwrap();
        fs::write(&file, "").unwrap();
        watcher.read().unwrap();
        fs::rename(top.join("t"), outside.join("t")).unwrap();
        watcher.read().unwrap();
        fs::write(outside.join("t").join(&deep).join("secret"), "").unwrap();
        watcher.read().unwrap();
        assert_eq!(watcher.watches.at_and_below(&top).len(), 1);
    });
    assert!(has(&events, &format!("created /t/{}/file", deep.display())), "{events:?}");
    assert!(has(&events, "removed /t") && !events.iter().any(|event| event.contains("secret")), "{events:?}");
}

#[test]
fn a_directory_whose_path_is_too_long_is_named_as_not_watched() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let name = "x".repeat(250);
    let mut held = open_plain(top).unwrap();
    for _ in 0..20 {
        rustix::fs::mkdirat(&held, &name, rustix::fs::Mode::RWXU).unwrap();
        held = rustix::fs::openat(&held, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    let events = noticed(top, &json!({"paths": [top]}), |_| {});
    assert_eq!(events.iter().filter(|event| event.starts_with("unseen")).count(), 1, "{events:?}");
}

#[test]
fn a_directory_that_is_replaced_by_a_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let other = tempfile::tempdir().unwrap();
    fs::create_dir_all(top.join("d/below")).unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        fs::remove_dir_all(top.join("d")).unwrap();
        std::os::unix::fs::symlink(other.path(), top.join("d")).unwrap();
        watcher.read().unwrap();
        fs::write(other.path().join("file"), "").unwrap();
    });
    assert!(has(&events, "removed /d/below") && has(&events, "removed /d") && has(&events, "created /d"), "{events:?}");
    assert!(!events.iter().any(|event| event.contains("file")), "{events:?}");
}

#[test]
fn a_path_that_is_not_there_is_named_once_and_watched_when_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let events = noticed(top, &json!({"paths": [top.join("later/tree")]}), |watcher| {
        (0..3).for_each(|_| watcher.begin());
        fs::create_dir_all(top.join("later/tree/below")).unwrap();
        watcher.begin();
        fs::write(top.join("later/tree/below/file"), "").unwrap();
    });
    assert_eq!(events[..2], ["unseen /later/tree", "watching /later/tree"]);
    assert!(has(&events, "created /later/tree/below/file"), "{events:?}");
}

#[test]
fn names_of_any_bytes_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let mut told = Vec::new();
    let plan = parameters::parse(&json!({"paths": [top]})).unwrap();
    let mut notice = |event: Event| {
        told.push((event["event"].as_str().unwrap().to_owned(), event["path"].as_str().unwrap().to_owned()));
        true
    };
    let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
    watcher.begin();
    for name in [&b"line\nend"[..], b"\xff\xfe", b"\"quoted\""] {
        let path = top.join(OsStr::from_bytes(name));
        fs::create_dir(&path).unwrap();
        watcher.read().unwrap();
        fs::write(path.join("x"), "").unwrap();
        watcher.read().unwrap();
    }
    drop(watcher);
    for name in ["line\nend", "\u{fffd}\u{fffd}", "\"quoted\""] {
        let path = format!("{}/{name}/x", top.display());
        assert!(told.contains(&("modified".into(), path)), "{told:?}");
    }
}

#[test]
fn a_storm_of_renames_leaves_the_right_paths() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    (0..10).for_each(|n| fs::create_dir_all(top.join(format!("{n}/below"))).unwrap());
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        for round in 0..50 {
            for n in 0..10 {
                fs::rename(top.join(n.to_string()), top.join("spare")).unwrap();
                fs::rename(top.join(((n + 1) % 10).to_string()), top.join(n.to_string())).unwrap();
                fs::rename(top.join("spare"), top.join(((n + 1) % 10).to_string())).unwrap();
            }
            if round % 10 == 0 {
                watcher.read().unwrap();
            }
        }
        watcher.read().unwrap();
        (0..10).for_each(|n| fs::write(top.join(format!("{n}/below/of{n}")), "").unwrap());
    });
    (0..10).for_each(|n| assert!(has(&events, &format!("created /{n}/below/of{n}")), "{n}"));
}

#[test]
fn what_happens_in_a_directory_while_it_moves_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir_all(top.join("d/below")).unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |_| {
        fs::rename(top.join("d"), top.join("e")).unwrap();
        fs::write(top.join("e/evil"), "").unwrap();
        fs::write(top.join("e/below/evil"), "").unwrap();
        fs::rename(top.join("e"), top.join("d")).unwrap();
    });
    assert!(events.iter().any(|event| event.starts_with("modified /") && event.ends_with("below/evil")), "{events:?}");
    assert!(
        events.iter().filter(|event| event.ends_with("/evil") && event.starts_with("created")).count() == 2,
        "{events:?}"
    );
}

#[test]
fn what_is_renamed_to_where_it_is_of_no_interest_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let write = |name: &str| fs::write(top.join(name), "").unwrap();
    ["passwd", "a.conf", "own"].into_iter().for_each(write);
    let rename = |from: &str, to: &str| fs::rename(top.join(from), top.join(to)).unwrap();
    let events = noticed(top, &json!({"paths": [top.join("passwd")]}), |_| rename("passwd", "passwd.bak"));
    assert!(has(&events, "removed /passwd"), "{events:?}");
    let events = noticed(top, &json!({"paths": [top], "exclude": [top.join("mtab")]}), |_| rename("own", "mtab"));
    assert!(has(&events, "removed /own"), "{events:?}");
    let events = noticed(top, &json!({"paths": [top], "names": ["[.]conf$"]}), |_| rename("a.conf", "a.off"));
    assert!(has(&events, "moved /a.off"), "{events:?}");
}

#[test]
fn a_path_that_is_a_link_is_watched_with_what_it_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir_all(top.join("usr/bin")).unwrap();
    fs::create_dir(top.join("other")).unwrap();
    std::os::unix::fs::symlink("usr/bin", top.join("bin")).unwrap();
    let events = noticed(top, &json!({"paths": [top.join("bin")]}), |watcher| {
        fs::write(top.join("usr/bin/evil"), "").unwrap();
        watcher.read().unwrap();
        fs::remove_file(top.join("bin")).unwrap();
        std::os::unix::fs::symlink("other", top.join("bin")).unwrap();
        watcher.read().unwrap();
        watcher.check_places();
        watcher.begin();
        fs::write(top.join("other/evil"), "").unwrap();
    });
    assert!(has(&events, "created /usr/bin/evil") && has(&events, "created /other/evil"), "{events:?}");
    assert!(has(&events, "created /bin") && has(&events, "removed /bin"), "{events:?}");
}

#[test]
fn a_path_whose_parent_is_renamed_is_watched_in_its_new_place() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir_all(top.join("app/data")).unwrap();
    let events = noticed(top, &json!({"paths": [top.join("app/data"), top.join("nowhere")]}), |watcher| {
        fs::rename(top.join("app"), top.join("old")).unwrap();
        fs::create_dir_all(top.join("app/data")).unwrap();
        watcher.check_places();
        watcher.begin();
        fs::write(top.join("app/data/x"), "").unwrap();
    });
    assert!(has(&events, "removed /app/data") && has(&events, "created /app/data/x"), "{events:?}");
}

#[test]
fn a_link_on_the_way_leads_to_no_watch() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().canonicalize().unwrap();
    fs::create_dir_all(top.join("root/cron.d")).unwrap();
    std::os::unix::fs::symlink("root", top.join("d")).unwrap();
    assert_eq!(open_plain(&top.join("d/cron.d")).unwrap_err(), Errno::NOTDIR);
    open_plain(&top.join("root/cron.d")).unwrap();
}

#[test]
fn what_is_not_watched_is_named_a_limited_number_of_times() {
    let directory = tempfile::tempdir().unwrap();
    let plan = parameters::parse(&json!({"paths": [directory.path()]})).unwrap();
    let mut count = 0;
    let mut notice = |event: Event| {
        count += usize::from(event["event"] == "unseen" && event["reason"].as_str().unwrap().contains("no room"));
        true
    };
    let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
    (0..10_000).for_each(|_| watcher.unseen(directory.path(), "no room"));
    drop(watcher);
    assert!((UNSEEN_MAX..UNSEEN_MAX + 10).contains(&count), "{count}");
}
