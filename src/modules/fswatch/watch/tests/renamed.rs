//! Directories that get other names.

use super::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn directories_that_are_renamed_before_they_are_watched_are_watched_by_their_new_names() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("p")).unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        for n in 0..50 {
            fs::create_dir_all(top.join("new/below")).unwrap();
            fs::write(top.join("new/below/early"), "").unwrap();
            fs::rename(top.join("new"), top.join(n.to_string())).unwrap();
        }
        // One above it is renamed, and that is watched.
        fs::create_dir_all(top.join("p/x/below")).unwrap();
        fs::rename(top.join("p"), top.join("q")).unwrap();
        watcher.read().unwrap();
        (0..50).for_each(|n| fs::write(top.join(format!("{n}/below/late")), "").unwrap());
        fs::write(top.join("q/x/below/late"), "").unwrap();
    });
    for n in 0..50 {
        let file = |name: &str| format!("created /{n}/below/{name}");
        assert_eq!((count(&events, &file("early")), count(&events, &file("late"))), (1, 1), "{n} {events:?}");
    }
    assert!(has(&events, "created /q/x/below") && has(&events, "created /q/x/below/late"), "{events:?}");
}

#[test]
fn directories_that_are_exchanged_exchange_their_paths_and_miss_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (top, outside) = (directory.path().join("top"), directory.path().join("outside"));
    ["a/of_a", "b/of_b"].iter().for_each(|path| fs::create_dir_all(top.join(path)).unwrap());
    fs::write(top.join("a/of_a/old"), "").unwrap();
    fs::create_dir(&outside).unwrap();
    let events = noticed(&top, &json!({"paths": [top]}), |watcher| {
        exchange(&top.join("a"), &top.join("b"));
        // Before and after it was noticed.
        fs::write(top.join("b/of_a/early"), "").unwrap();
        watcher.read().unwrap();
        fs::write(top.join("b/of_a/late"), "").unwrap();
        fs::write(top.join("a/of_b/late"), "").unwrap();
        watcher.read().unwrap();
        fs::rename(top.join("a"), outside.join("a")).unwrap();
        watcher.read().unwrap();
        fs::write(top.join("b/of_a/later"), "").unwrap();
        fs::write(outside.join("a/of_b/secret"), "").unwrap();
        watcher.read().unwrap();
        // One is elsewhere before the exchange is noticed.
        fs::create_dir(top.join("c")).unwrap();
        watcher.read().unwrap();
        exchange(&top.join("b"), &top.join("c"));
        fs::rename(top.join("c"), outside.join("c")).unwrap();
        watcher.read().unwrap();
        fs::write(outside.join("c/of_a/secret"), "").unwrap();
        fs::write(top.join("b/last"), "").unwrap();
    });
    for event in ["/b/of_a/early", "/b/of_a/late", "/a/of_b/late", "/b/of_a/later", "/b/last"] {
        assert!(has(&events, &format!("created {event}")) && has(&events, &format!("modified {event}")), "{events:?}");
    }
    for event in ["moved /a", "moved /b"] {
        assert!(has(&events, event), "{events:?}");
    }
    // What was known is not new.
    assert!(!events.iter().any(|event| event.contains("/old") || event.contains("secret")), "{events:?}");
}

#[test]
fn an_empty_directory_that_is_replaced_by_another_one_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    ["full/below", "empty"].iter().for_each(|path| fs::create_dir_all(top.join(path)).unwrap());
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        fs::rename(top.join("full"), top.join("empty")).unwrap();
        watcher.read().unwrap();
        assert_eq!(watcher.watches.at_and_below(top).len(), 3);
        fs::write(top.join("empty/below/file"), "").unwrap();
    });
    assert!(has(&events, "moved /empty") && has(&events, "created /empty/below/file"), "{events:?}");
}
