//! Searches that cannot mean what was intended.

use super::{File, Module, Tree, run, strings};
use serde_json::{Value, json};

/// Asserts that a search of a tree with a file in it is not run, and returns its doubt.
fn doubt(mut search: Value) -> String {
    let tree = Tree::new(&[("passwd", b"root:x\n"), ("d/ls", b"x\n")]);
    if search.get("paths").is_none() {
        search["paths"] = json!([tree.at("")]);
    }
    let good = json!({"paths": [tree.at("")], "names": ["^passwd$"]});
    let parameters = json!({"searches": {"bad": search, "good": good}});
    let doubts = File.validate(&parameters).unwrap();
    assert!(!doubts.is_empty(), "{parameters}");
    let result = run(&parameters);
    assert!(result.success, "the other search is run");
    assert_eq!(result.elements.get("bad"), None, "neither a file nor that there is none: {parameters}");
    assert_eq!(tree.files(&result, "good"), ["passwd"]);
    assert_eq!(result.errors.unwrap(), [format!("not searched: {}", doubts[0])]);
    let alone = run(&json!({"searches": {"bad": search}}));
    assert!(!alone.success && !alone.foundanything);
    doubts[0].to_string()
}

#[test]
fn a_doubtful_search_is_not_run() {
    for (search, expected) in [
        (json!({"regexes": ["^root"]}), "searches.bad.regexes: unknown key; did you mean \"contents\"?"),
        (json!({"names": ["p"], "filenames": ["x"]}), "searches.bad.filenames: unknown key; did you mean \"names\"?"),
        (json!({"name": ["passwd"]}), "searches.bad.name: unknown key; did you mean \"names\"?"),
        (json!({"names": ["p"], "Mtime": ["<1d"]}), "searches.bad.mtime: unknown key; did you mean \"mtimes\"?"),
        (json!({"names": ["p"], "sha": ["00"]}), "searches.bad.sha: unknown key; did you mean \"sha1\"?"),
        (
            json!({"names": ["p"], "bytes": ["00"]}),
            "searches.bad.bytes: unknown key; known keys are description, paths,",
        ),
        (json!({"names": ["p"], "maxdepth": 1}), "searches.bad.maxdepth: is an option; move it into \"options\""),
        (
            json!({"names": ["p"], "options": {"matchAny": true}}),
            "searches.bad.options.matchany: unknown key; did you mean \"matchall\"?",
        ),
        (json!({}), "searches.bad: has no filter"),
        (json!({"names": [], "contents": null}), "searches.bad: has no filter"),
        (json!({"options": {"returnsha256": true}}), "searches.bad: has no filter"),
        (
            json!({"names": ["p"], "options": {"mismatch": ["content"]}}),
            "searches.bad.options.mismatch: \"content\" inverts a filter that the search does not have",
        ),
        (json!({"names": ["^\\./QQ$"]}), "searches.bad.names[0]: an expression on names is matched against the name"),
        (json!({"names": ["passwd", "!d/ls"]}), "searches.bad.names[1]: an expression on names"),
        (json!({"contents": ["root\\nbin"]}), "searches.bad.contents[0]: contents are matched line by line"),
        (json!({"names": ["."], "paths": ["/etc/*"]}), "searches.bad.paths[0]: /etc/*: a path is taken literally"),
        (json!({"names": ["."], "paths": ["/", "/e?c"]}), "searches.bad.paths[1]: /e?c: a path is taken literally"),
        (json!({"names": ["."], "paths": ["/etc/[a-c]"]}), "searches.bad.paths[0]: /etc/[a-c]: a path is taken"),
        (json!({"names": ["."], "paths": ["~/x"]}), "searches.bad.paths[0]: ~/x: a path is taken literally: ~"),
        (json!({"names": ["."], "paths": ["$HOME/x"]}), "searches.bad.paths[0]: $HOME/x: a path is taken literally: ~"),
        (json!({"names": ["."], "paths": ["/home/{a,b}"]}), "searches.bad.paths[0]: /home/{a,b}: a path is taken"),
        (json!({"names": ["[/\\\\]evil$"]}), "searches.bad.names[0]: an expression on names"),
        (json!({"modes": ["!x"]}), "searches.bad.modes[0]: an expression on modes is not inverted by a !"),
        (json!({"modes": ["^L"]}), "searches.bad.modes[0]: only links or directories have this mode"),
        (json!({"modes": ["^drwxr-xr-x$"]}), "searches.bad.modes[0]: only links or directories have this mode"),
        (json!({"modes": ["Lrwx"]}), "searches.bad.modes[0]: only links or directories have this mode"),
        (
            json!({"modes": ["^dt?rwx"], "options": {"links": true}}),
            "searches.bad.modes[0]: only links or directories have this mode",
        ),
    ] {
        let got = doubt(search.clone());
        assert!(got.starts_with(expected), "{search}\n said {got}\n not  {expected}");
    }
    let beside =
        File.validate(&json!({"searches": {"s": {"paths": ["/etc"], "names": ["."]}}, "options": {}})).unwrap();
    assert_eq!(beside[0].to_string(), "parameters.options: unknown key; known keys are searches");
}

#[test]
fn an_unusual_but_meaningful_search_is_run() {
    let tree = Tree::new(&[("!important", b"a/b\n"), ("[old]/x*", b"y\n"), ("~/x", b"y\n")]);
    for (search, files) in [
        (json!({"names": ["^\\!imp"]}), &["!important"][..]),
        (json!({"names": ["[!]imp"]}), &["!important"]),
        (json!({"names": ["!^[!]", "^[^/]*$"]}), &["[old]/x*", "~/x"]),
        (json!({"contents": ["a/b"]}), &["!important"]),
        (json!({"contents": ["a/b"], "modes": ["^[Lu-]", "^(L|[^L])"]}), &["!important"]),
        (json!({"contents": ["a/b"], "modes": ["^L"], "options": {"mismatch": ["mode"]}}), &["!important"]),
        (json!({"names": ["."], "paths": [tree.at("[old]")]}), &["[old]/x*"]),
        (json!({"names": ["."], "paths": [tree.at("[old]/x*")]}), &["[old]/x*"]),
    ] {
        assert_eq!(tree.find(true, search.clone()), strings(files), "{search}");
    }
}
