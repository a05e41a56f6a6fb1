//! Links that are looked at themselves.

use super::{File, Module, Tree, run, run_once, strings};
use crate::modules::file::mounts::Mounts;
use crate::modules::file::{parameters, search};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;

/// Links of every kind in a directory with a file, beside a directory to which one leads.
fn tree() -> Tree {
    let tree = Tree::new(&[("in/file", b"needle\n"), ("out/inner", b"needle\n")]);
    for (target, name) in [("file", "near"), ("../out", "directory"), ("/nowhere/evil", "dangling"), ("loop", "loop")] {
        tree.link(target, &format!("in/{name}"));
    }
    tree
}

/// What a search of links below `in` finds.
fn find(tree: &Tree, mut of: Value) -> Vec<String> {
    if of.get("paths").is_none() {
        of["paths"] = json!([tree.at("in")]);
    }
    if of.get("options").is_none() {
        of["options"] = json!({});
    }
    of["options"]["links"] = json!(true);
    tree.find(true, of)
}

#[test]
fn each_link_is_found_once_whatever_it_leads_to() {
    let tree = tree();
    assert_eq!(find(&tree, json!({"names": ["."]})), ["in/dangling", "in/directory", "in/file", "in/loop", "in/near"]);
    for (filters, files) in [
        (json!({"modes": ["^L"]}), &["in/dangling", "in/directory", "in/loop", "in/near"][..]),
        (json!({"modes": ["^Lrwxrwxrwx$"], "names": ["^d", "!ing$"]}), &["in/directory"]),
        (json!({"names": ["^(near|file)$"], "modes": ["^-"]}), &["in/file"]),
        (json!({"sizes": ["4"]}), &["in/loop", "in/near"]),
        (json!({"targets": ["evil$"]}), &["in/dangling"]),
        (json!({"targets": ["^[^/]", "!out"]}), &["in/loop", "in/near"]),
        (json!({"targets": ["^/"], "options": {"mismatch": ["target"]}}), &["in/directory", "in/loop", "in/near"]),
        (json!({"targets": ["!^/nowhere"], "names": ["file"]}), &[]),
    ] {
        assert_eq!(find(&tree, filters.clone()), strings(files), "{filters}");
    }
    let any = json!({"paths": [tree.at("in")], "names": ["^near$"], "targets": ["out"], "options": {"links": true}});
    assert_eq!(tree.find(false, any), ["in/near", "in/directory"]);
}

#[test]
fn a_result_says_where_a_link_leads_and_what_the_link_is() {
    let tree = tree();
    symlink(OsStr::from_bytes(b"a\xffb\n"), tree.path().join("in/bytes")).unwrap();
    let options =
        json!({"links": true, "matchall": true, "returninode": true, "returnowner": true, "returnsha256": true});
    let of = |name: &str| {
        let result = run(&json!({"searches": {"s": {"paths": [tree.at("in")], "names": [name], "options": options}}}));
        assert_eq!(result.errors, None);
        (result.elements["s"][0].clone(), File.print(&result)[0].clone())
    };
    let (entry, line) = of("^near$");
    let (info, link) = (&entry["fileinfo"], fs::symlink_metadata(tree.at("in/near")).unwrap());
    assert_eq!((&info["linkto"], &info["mode"]), (&json!("file"), &json!("Lrwxrwxrwx")));
    assert_eq!((&info["size"], &info["inode"], &info["uid"]), (&json!(4), &json!(link.ino()), &json!(link.uid())));
    assert_eq!(info["sha256"], "", "a link has no contents");
    assert_eq!(entry["search"]["options"]["links"], true);
    assert!(line.contains(", linkto:file] in search 's'"), "{line}");
    assert_eq!(of("^file$").0["fileinfo"].get("linkto"), None);
    let (entry, line) = of("^bytes$");
    assert_eq!(entry["fileinfo"]["linkto"], "a\u{fffd}b\n");
    assert!(!line.contains('\n'), "{line}");
    assert_eq!(find(&tree, json!({"targets": ["^a.b\\n$"]})), ["in/bytes"]);
}

#[test]
fn times_owners_and_attributes_are_those_of_the_link() {
    let tree = tree();
    let (old, link) = (Timespec { tv_sec: 86_400, tv_nsec: 0 }, tree.at("in/dangling"));
    let times = Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    lchown(&link, Some(54_321), Some(54_322)).unwrap();
    rustix::fs::lsetxattr(&link, "security.note", b"of the link", XattrFlags::empty()).unwrap();
    // What a link leads to has other values.
    chown(tree.at("in/file"), Some(54_323), Some(54_323)).unwrap();
    rustix::fs::setxattr(tree.at("in/file"), "security.note", b"of the file", XattrFlags::empty()).unwrap();
    for (filters, files) in [
        (json!({"mtimes": [">9999d"]}), &["in/dangling"][..]),
        (json!({"mtimes": [">9999d"], "ctimes": ["<60m"], "birthtimes": ["<60m"]}), &["in/dangling"]),
        (json!({"birthtimes": ["<60m"], "names": ["^(near|loop)$"]}), &["in/loop", "in/near"]),
        (json!({"owners": ["54321"]}), &["in/dangling"]),
        (json!({"groups": ["54322"]}), &["in/dangling"]),
        (json!({"owners": ["54323"]}), &["in/file"]),
        (json!({"xattrs": ["^security\\.note=of the link$"]}), &["in/dangling"]),
        (json!({"xattrs": ["^security\\.note="]}), &["in/dangling", "in/file"]),
        (json!({"xattrs": ["!^security\\.note="], "names": ["near"]}), &["in/near"]),
        (json!({"capabilities": ["."]}), &[]),
    ] {
        assert_eq!(find(&tree, filters.clone()), strings(files), "{filters}");
    }
}

#[test]
fn a_link_has_no_contents() {
    let tree = tree();
    let sum = "00".repeat(16);
    assert_eq!(find(&tree, json!({"contents": ["needle"]})), ["in/file"]);
    assert_eq!(find(&tree, json!({"contents": ["!absent"], "options": {"decompress": true}})), ["in/file"]);
    assert_eq!(find(&tree, json!({"md5": [sum], "options": {"mismatch": ["md5"]}})), ["in/file"]);
    let any =
        json!({"paths": [tree.at("in")], "names": ["^near$"], "contents": ["needle"], "options": {"links": true}});
    assert_eq!(tree.find(false, any), ["in/near", "in/file"]);
}

#[test]
fn one_walk_serves_searches_that_follow_and_searches_that_do_not() {
    let tree = tree();
    let (at, all) = (tree.at("in"), json!({"matchall": true}));
    let links = json!({"matchall": true, "links": true});
    let result = run(&json!({"searches": {
        "read": {"paths": [at], "contents": ["needle"], "options": all},
        "followed": {"paths": [at], "names": ["^near$"], "sizes": ["7"], "options": all},
        "itself": {"paths": [at], "names": ["^near$"], "sizes": ["4"], "options": links},
        "sum": {"paths": [at], "names": ["."], "options": {"matchall": true, "links": true, "returnsha256": true}},
        "without": {"paths": [at], "names": ["."], "exclude": [tree.at("in/near"), tree.at("in/loop")], "options": links},
    }}));
    assert_eq!(result.errors, None);
    for (label, files) in [
        ("read", &["in/file", "in/near"][..]),
        ("followed", &["in/near"]),
        ("itself", &["in/near"]),
        ("sum", &["in/dangling", "in/directory", "in/file", "in/loop", "in/near"]),
        ("without", &["in/dangling", "in/directory", "in/file"]),
    ] {
        assert_eq!(tree.files(&result, label), files, "{label}");
    }
    assert_eq!(result.statistics["filescount"], 5, "each entry is one, however it is looked at");
    assert_eq!(result.elements["followed"][0]["fileinfo"].get("linkto"), None);
}

#[test]
fn a_path_that_is_a_link_is_the_link_and_is_walked_if_it_leads_to_a_directory() {
    let tree = tree();
    // Alone, and when the walk of another path comes to it.
    for beside in [&[][..], &["in"]] {
        let search = |path: &str, links: bool| {
            let of = |path: &str| tree.at(path);
            let options = json!({"matchall": true, "links": links});
            let mut searches = json!({"s1": {"paths": [of(path)], "names": ["."], "options": options}});
            for path in beside {
                searches["beside"] = json!({"paths": [of(path)], "names": ["."], "options": {"links": true}});
            }
            let result = run(&json!({"searches": searches}));
            (tree.files(&result, "s1"), result.errors.unwrap_or_default())
        };
        assert_eq!(search("in/directory", true), (strings(&["in/directory", "in/directory/inner"]), vec![]));
        assert_eq!(search("in/directory", false), (strings(&["in/directory/inner"]), vec![]));
        for path in ["in/near", "in/dangling", "in/loop", "in/file"] {
            assert_eq!(search(path, true), (strings(&[path]), vec![]), "{beside:?}");
        }
        assert_eq!(search("in/near", false), (strings(&["in/near"]), vec![]));
        let (files, errors) = search("in/dangling", false);
        assert!(files.is_empty() && errors.len() == 1, "{files:?} {errors:?}");
        assert!(errors[0].contains("in/dangling: No such file"), "{errors:?}");
    }
    let both = find(
        &tree,
        json!({"names": ["^(near|dangling)$"],
        "paths": [tree.at("in"), tree.at("in/dangling"), tree.at("in/near"), tree.at("in/near")]}),
    );
    assert_eq!(both, ["in/dangling", "in/near"], "each once");
    let wild = json!({"paths": [tree.at("i?/d*"), tree.at("in/ne*")], "targets": ["."], "options": {"glob": true}});
    assert_eq!(find(&tree, wild), ["in/dangling", "in/directory", "in/near"]);
}

#[test]
fn a_link_into_a_network_mount_is_found_without_following_it() {
    let tree = tree();
    let real = fs::canonicalize(tree.path()).unwrap();
    tree.link("../out/inner", "in/remote");
    let mountinfo = format!("36 35 98:0 / {} rw - nfs4 server:/export rw\n", real.join("out").display());
    let find = |paths: &[String]| {
        let plan = parameters::parse(&json!({"searches": {"s1": {"paths": paths, "targets": ["out"],
            "options": {"matchall": true, "links": true}}}}));
        let mounts = Ok(Mounts::parse(mountinfo.as_bytes()));
        let result = search(&plan.unwrap(), mounts, super::context(2), super::super::To::Findings);
        (tree.files(&result, "s1"), result.errors.unwrap_or_default())
    };
    assert_eq!(find(&[tree.at("in")]), (strings(&["in/directory", "in/remote"]), vec![]));
    // As a path it may be a directory, and that is not known.
    let (files, errors) = find(&[tree.at("in/remote")]);
    assert!(files.is_empty() && errors.len() == 1, "{files:?} {errors:?}");
    assert!(errors[0].contains("it is on the network mount"), "{errors:?}");
}

#[test]
fn links_of_processes_say_what_they_are() {
    let tree = Tree::new(&[("gone", b"x")]);
    let file = fs::File::open(tree.at("gone")).unwrap();
    fs::remove_file(tree.at("gone")).unwrap();
    let deleted = format!("^{}/gone \\(deleted\\)$", fs::canonicalize(tree.path()).unwrap().display());
    let result = run_once(&json!({"searches": {"s1": {"paths": ["/proc/self/fd"], "targets": [deleted],
        "options": {"matchall": true, "links": true}}}}));
    drop(file);
    let entries = result.elements["s1"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{result:?}");
    assert!(entries[0]["file"].as_str().is_some_and(|path| Path::new(path).starts_with("/proc/self/fd")));
}

#[test]
fn a_filter_on_targets_that_nothing_can_pass_is_refused() {
    let of = |search: Value| {
        let doubts = File.validate(&json!({"searches": {"s": search}})).unwrap();
        doubts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let links = json!({"links": true, "matchall": true});
    assert_eq!(
        of(json!({"paths": ["/etc"], "targets": ["x"]})),
        ["searches.s.targets: needs the option links: without it, links are followed"]
    );
    assert_eq!(
        of(json!({"paths": ["/etc"], "targets": ["x"], "contents": ["y"], "options": links})),
        ["searches.s.targets: with a filter on contents or sums nothing passes, as a link has no contents"]
    );
    for good in [
        json!({"paths": ["/etc"], "targets": ["x/y"], "options": links}),
        json!({"paths": ["/etc"], "contents": ["x"], "options": links}),
        json!({"paths": ["/etc"], "targets": ["x"], "contents": ["y"], "options": {"links": true}}),
    ] {
        assert_eq!(of(good.clone()), strings(&[]), "{good}");
    }
    let error = File.validate(&json!({"searches": {"s": {"paths": ["/"], "targets": ["("], "options": links}}}));
    assert!(error.unwrap_err().to_string().starts_with("searches.s.targets[0]: "));
}
