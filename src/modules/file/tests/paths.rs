//! Paths with wildcards, and paths that are excluded.

use super::{File, Module, Tree, run, strings};
use serde_json::json;

fn homes() -> Tree {
    let tree = Tree::new(&[
        ("home/a/.ssh/key", b"x\n"),
        ("home/b/.ssh/key", b"x\n"),
        ("home/b/.cache/deep/key", b"x\n"),
        ("home/c/[x]/key", b"x\n"),
        ("srv/key", b"x\n"),
    ]);
    tree.link("a", "home/link");
    tree
}

#[test]
fn wildcards_are_expanded_with_glob() {
    let tree = homes();
    for (paths, files) in [
        (&["home/*/.ssh"][..], &["home/a/.ssh/key", "home/b/.ssh/key", "home/link/.ssh/key"][..]),
        (&["home/[ab]/.ssh/k?y"], &["home/a/.ssh/key", "home/b/.ssh/key"]),
        (&["home/[!a-b]/.ssh", "home/?/.ss[g-i]"], &["home/a/.ssh/key", "home/b/.ssh/key"]),
        (&["home/**/.ssh", "home/*/.ssh/key"], &["home/a/.ssh/key", "home/b/.ssh/key", "home/link/.ssh/key"]),
        (&["**/deep"], &["home/b/.cache/deep/key"]),
        (&["home/c/[[]x]"], &["home/c/[x]/key"]),
        (&["srv", "s*"], &["srv/key"]),
        (&["home/*/nothing", "srv"], &["srv/key"]),
    ] {
        let paths: Vec<String> = paths.iter().map(|path| tree.at(path)).collect();
        let search = json!({"paths": paths, "names": ["^key$"], "options": {"glob": true}});
        assert_eq!(tree.find(true, search), strings(files), "{paths:?}");
    }
}

#[test]
fn a_wildcard_without_a_match_is_said_and_one_that_could_not_be_read_is_no_absence() {
    let tree = homes();
    let of = |path: &str| {
        let path = tree.at(path);
        let result = run(&json!({"searches": {"s": {"paths": [path], "names": ["."], "options": {"glob": true}}}}));
        (result.elements["s"].as_array().map_or(0, Vec::len), result.errors.unwrap())
    };
    let (entries, errors) = of("home/*/none");
    assert_eq!(
        (entries, errors),
        (1, vec![format!("search {}: the wildcard matches nothing", tree.at("home/*/none"))])
    );
    let (entries, errors) = of(&format!("{}/*", "x".repeat(300)));
    assert_eq!(entries, 0, "it was not looked at");
    assert!(errors.len() == 1 && errors[0].starts_with("expand "), "{errors:?}");
    for path in ["/home/**", "/a/[z-a]"] {
        let options = json!({"glob": true});
        let parameters = json!({"searches": {"s": {"paths": [path], "names": ["."], "options": options}}});
        assert!(File.validate(&parameters).unwrap_err().to_string().starts_with("searches.s.paths[0]: "));
    }
}

#[test]
fn what_is_excluded_is_not_walked_by_the_search_that_excludes_it() {
    let tree = homes();
    let all = ["home/a/.ssh/key", "home/b/.cache/deep/key", "home/b/.ssh/key", "home/c/[x]/key", "srv/key"];
    for (exclude, glob, left) in [
        (&["home"][..], false, &[4][..]),
        (&["home/b", "srv/key"], false, &[0, 3]),
        (&["home/*/.ssh"], true, &[1, 3, 4]),
        (&["home/**/key"], true, &[4]),
        (&["home/c/[[]x]", "home/b/.*"], true, &[0, 4]),
        (&["hom"], false, &[0, 1, 2, 3, 4]),
    ] {
        let exclude: Vec<String> = exclude.iter().map(|path| tree.at(path)).collect();
        let files: Vec<&str> = left.iter().map(|number| all[*number]).collect();
        let search = json!({"exclude": exclude, "names": ["^key$"], "options": {"glob": glob}});
        assert_eq!(tree.find(true, search), strings(&files), "{exclude:?}");
    }
    let result = run(&json!({"searches": {
        "all": {"paths": [tree.at("")], "contents": ["^x$"]},
        "part": {"paths": [tree.at("")], "contents": ["^x$"], "exclude": [tree.at("home"), tree.at("srv/key")]},
        "inner": {"paths": [tree.at("home/b")], "names": ["^key$"], "exclude": [tree.at("home/b/.cache")]}}}));
    assert_eq!(tree.files(&result, "all"), all);
    assert_eq!(tree.files(&result, "part"), [""; 0]);
    assert_eq!(tree.files(&result, "inner"), ["home/b/.ssh/key"]);
}

#[test]
fn an_exclude_that_leaves_nothing_is_no_absence() {
    let tree = homes();
    let doubt = |paths: &str, exclude: &str, glob: bool| {
        let search = json!({"paths": [tree.at(paths)], "exclude": [tree.at(exclude)], "names": ["."],
            "options": {"glob": glob}});
        let parameters = json!({"searches": {"s": search}});
        let result = run(&parameters);
        assert_eq!(result.elements, json!({}), "{parameters}");
        (File.validate(&parameters).unwrap().len(), result.errors.unwrap().join("\n"))
    };
    for (paths, exclude, glob) in [("home/a", "home", false), ("home", "home", false), ("home/a/.ssh", "home/?", true)]
    {
        let (doubts, error) = doubt(paths, exclude, glob);
        assert_eq!(doubts, 1);
        assert!(error.starts_with("not searched: searches.s.exclude: excludes the whole path "), "{error}");
    }
    for (paths, exclude) in [("home", "home/*"), ("home", "home/**"), ("home/a", "home/?/**/*"), ("srv", "*/*")] {
        let (doubts, error) = doubt(paths, exclude, true);
        assert!(doubts == 1 && error.contains("excludes everything in the path "), "{exclude}: {error}");
    }
    let (doubts, error) = doubt("srv", "home/*", false);
    assert!(doubts == 1 && error.contains("searches.s.exclude[0]: ") && error.contains("taken literally"), "{error}");
    let (doubts, error) = doubt("home/link", "home/a", false);
    assert!(doubts == 0 && error.contains("it leads to a path that is excluded"), "{error}");
    let (doubts, error) = doubt("home/[ab]", "home/?", true);
    assert!(doubts == 0 && error.contains("everything that it matches is excluded"), "{error}");
}
