//! What is noticed of real trees.

mod hostile;
mod links;
mod open_files;
mod renamed;

use super::super::place::open_plain;
use super::super::watches::DIRECTORIES_MAX;
use super::super::{FsWatch, parameters};
use super::tell::{UNSEEN_MAX, UNSEEN_PAUSE};
use super::*;
use crate::modules::persistent::Persistent;
use serde_json::Value;
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
            // One may be looked at while the next one empties the file.
            Ok(event) if event["event"] == "modified" && event["size"] != 0 => break event,
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
fn a_file_below_a_link_that_is_deleted_is_still_watched_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("real")).unwrap();
    std::os::unix::fs::symlink("real", top.join("link")).unwrap();
    fs::write(top.join("real/file"), "").unwrap();
    let events = noticed(top, &json!({"paths": [top.join("link/file")]}), |watcher| {
        fs::remove_file(top.join("real/file")).unwrap();
        watcher.read().unwrap();
        watcher.check_places();
        watcher.begin();
        fs::write(top.join("real/file"), "").unwrap();
    });
    assert_eq!(events, ["watching /link/file", "removed /real/file", "created /real/file", "modified /real/file"]);
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
fn what_is_not_watched_is_named_a_limited_number_of_times_in_a_while_and_the_rest_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let plan = parameters::parse(&json!({"paths": [directory.path()]})).unwrap();
    let mut told = Vec::new();
    let mut notice = |event: Event| {
        told.push(format!("{} {}", event["path"].as_str().unwrap(), event["reason"].as_str().unwrap()));
        true
    };
    let mut watcher = Watcher::new(&plan, &mut notice).unwrap();
    let later = Instant::now() + UNSEEN_PAUSE;
    for round in 0..2 {
        (0..1_000).for_each(|n| watcher.unseen(Path::new(&format!("/{round}/{n}")), "no room"));
        watcher.tell_more_unseen(Instant::now());
        watcher.tell_more_unseen(later + round * UNSEEN_PAUSE * 2);
    }
    watcher.tell_more_unseen(later + UNSEEN_PAUSE * 10);
    drop(watcher);
    assert_eq!(told.len(), 2 * (UNSEEN_MAX + 1), "{told:?}");
    assert_eq!(told[UNSEEN_MAX], "/0/999 980 more times in about 10 seconds, the last time: no room");
    assert_eq!(told[UNSEEN_MAX + 1], "/1/0 no room");
}

#[test]
fn a_path_without_room_for_its_watch_is_not_said_to_be_watched_until_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("tree")).unwrap();
    fs::write(top.join("file"), "").unwrap();
    let events = noticed(top, &json!({"paths": [top.join("tree"), top.join("file")]}), |watcher| {
        watcher.begin_anew().unwrap();
        for wd in 0..DIRECTORIES_MAX {
            watcher.watches.add(-1 - i32::try_from(wd).unwrap(), Path::new("/a"), |_| true);
        }
        (0..3).for_each(|_| watcher.begin());
        watcher.watches = Watches::default();
        watcher.begin();
        fs::write(top.join("tree/new"), "").unwrap();
    });
    let expected =
        ["watching /tree", "watching /file", "unseen /tree", "unseen /file", "watching /tree", "watching /file"];
    assert_eq!(events[..6], expected, "{events:?}");
    assert!(has(&events, "created /tree/new"), "{events:?}");
}

#[test]
fn a_path_of_the_plan_is_of_interest_whatever_names_are() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    ["passwd", "other", "target"].iter().for_each(|name| fs::write(top.join(name), "").unwrap());
    std::os::unix::fs::symlink("target", top.join("link")).unwrap();
    let paths = [top.join("passwd"), top.join("link"), top.to_owned()];
    for paths in [&paths[..2], &paths[..]] {
        let events = noticed(top, &json!({"paths": paths, "names": ["[.]conf$"]}), |_| {
            ["passwd", "target", "other"].iter().for_each(|name| fs::write(top.join(name), "text").unwrap());
            fs::remove_file(top.join("link")).unwrap();
            std::os::unix::fs::symlink("target", top.join("link")).unwrap();
        });
        let expected = ["modified /passwd", "modified /target", "removed /link", "created /link"];
        assert_eq!(events[paths.len()..], expected, "{events:?}");
    }
}
