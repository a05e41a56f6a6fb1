//! Paths of the plan that are links.

use super::*;
use std::os::unix::fs::symlink;

/// Lets a link lead elsewhere.
fn repoint(watcher: &mut Watcher, link: &Path, to: &Path) {
    let new = link.with_extension("new");
    symlink(to, &new).unwrap();
    fs::rename(&new, link).unwrap();
    watcher.read().unwrap();
    watcher.check_places();
    watcher.begin();
}

#[test]
fn what_a_link_leads_to_no_longer_is_not_watched_any_longer() {
    let directory = tempfile::tempdir().unwrap();
    let top = &directory.path().canonicalize().unwrap();
    let path = |text: &str| top.join(text);
    for tree in ["t0", "t1", "t2"] {
        (0..5).for_each(|n| fs::create_dir_all(top.join(tree).join(n.to_string())).unwrap());
        fs::create_dir(path(&format!("files{tree}"))).unwrap();
        fs::write(path(&format!("files{tree}/f")), "").unwrap();
    }
    fs::create_dir(path("links")).unwrap();
    symlink("../t0", path("links/tree")).unwrap();
    symlink("../filest0/f", path("links/file")).unwrap();
    let plan = json!({"paths": [path("links/tree"), path("links/file"), path("t0/3"), path("filest1/f")]});
    let events = noticed(top, &plan, |watcher| {
        // `links`; `t0` and five; `filest0`; `filest1`.
        let counts = |watcher: &Watcher| watcher.watches.at_and_below(top).len();
        assert_eq!(counts(watcher), 9);
        repoint(watcher, &path("links/tree"), &path("t1"));
        repoint(watcher, &path("links/file"), &path("filest1/f"));
        // `t0/3` remains, which is a path of the plan.
        assert_eq!(counts(watcher), 9);
        repoint(watcher, &path("links/tree"), &path("t2"));
        repoint(watcher, &path("links/file"), &path("filest2/f"));
        assert_eq!(counts(watcher), 10);
        for file in ["t0/3/yes", "t0/4/not", "t1/4/not", "t2/4/yes", "filest0/f", "filest1/f", "filest2/f"] {
            fs::write(path(file), "").unwrap();
        }
        // A link that is gone is noticed at once when it comes.
        watcher.read().unwrap();
        fs::remove_file(path("links/tree")).unwrap();
        watcher.read().unwrap();
        watcher.check_places();
        watcher.begin();
        symlink("../t2", path("links/tree")).unwrap();
        watcher.read().unwrap();
        watcher.begin();
        assert_eq!(counts(watcher), 10);
        // In another directory of this name, too.
        for n in 0..3 {
            let old = path(&format!("old{n}"));
            fs::rename(path("links"), &old).unwrap();
            if n == 0 {
                watcher.check_places();
            }
            fs::create_dir(path("links")).unwrap();
            symlink("../t2", path("links/tree")).unwrap();
            symlink("../t0", path("links/file")).unwrap();
            watcher.check_places();
            watcher.begin();
            symlink("../filest2/f", path("links/file.new")).unwrap();
            fs::rename(path("links/file.new"), path("links/file")).unwrap();
            watcher.check_places();
            watcher.begin();
            assert_eq!(counts(watcher), 10);
            watcher.read().unwrap();
            fs::remove_file(old.join("file")).unwrap();
        }
    });
    for event in ["created /t0/3/yes", "created /t2/4/yes", "modified /filest1/f", "modified /filest2/f"] {
        assert!(has(&events, event), "{event} {events:?}");
    }
    assert!(!events.iter().any(|event| event.ends_with("/not") || event.contains("/filest0")), "{events:?}");
    assert_eq!(count(&events, "created /links/tree"), 3, "{events:?}");
    // When it was looked at: not what happened in directories that had this path.
    assert_eq!(count(&events, "removed /links/file"), 8, "{events:?}");
}
