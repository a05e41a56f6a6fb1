//! Trees that somebody made to be missed.

use super::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn after_events_that_were_lost_all_is_watched_anew() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    fs::create_dir(top.join("d")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        let file = top.join("file");
        // Two events at least: a close is not told if another test has begun a program that held the file longer than its name.
        for _ in 0..limit / 2 + 1 {
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
fn what_a_directory_does_not_tell_of_itself_is_unseen() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let error = |errno: Errno| io::Error::from(errno);
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        let kind = fs::metadata(top).unwrap().file_type();
        let entries = [
            Ok(("below".into(), Ok(kind))),
            Ok(("other".into(), Err(error(Errno::ACCESS)))),
            Ok(("gone".into(), Err(error(Errno::NOENT)))),
            Err(error(Errno::IO)),
        ];
        let mut waiting = Vec::new();
        watcher.enter(top, false, entries.into_iter(), &mut waiting);
        assert_eq!(waiting, [top.join("below")]);
    });
    assert_eq!(events, ["watching ", "unseen /other", "unseen "]);
}
