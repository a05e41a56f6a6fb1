use super::*;
use crate::modules::file::mounts::Mounts;
use std::fs;
use std::path::PathBuf;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Place {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        place
    }

    fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    /// Runs a document with the variable `root`, on the machine that is below it.
    fn run(&self, objects: Value, tests: Value) -> ModuleResult {
        self.run_within(Context::by_hand(), objects, tests)
    }

    fn run_within(&self, context: Context, objects: Value, tests: Value) -> ModuleResult {
        let variables = json!([{"key": "root", "value": self.path()}]);
        let parameters = json!({"scribedoc": {"variables": variables, "objects": objects, "tests": tests}});
        let order = document::parse(&parameters).unwrap_or_else(|error| panic!("{error}"));
        evaluate::run(&order, &self.path(), context)
    }
}

/// The ids of the tests with their results.
fn states(result: &ModuleResult) -> Vec<(&str, &str)> {
    let tests = result.elements["results"].as_array().unwrap();
    let state = |test: &'_ Value| match (&test["iserror"], &test["masterresult"]) {
        (Value::Bool(true), _) => "error",
        (_, Value::Bool(true)) => "true",
        _ => "false",
    };
    tests.iter().map(|test| (test["testid"].as_str().unwrap(), state(test))).collect()
}

/// Tests with an expected result each, as the original's own documents have them.
fn expect(place: &Place, objects: Value, tests: Value) {
    let result = place.run(objects, tests.clone());
    let expected: Vec<(&str, &str)> = tests
        .as_array()
        .unwrap()
        .iter()
        .map(|test| (test["test"].as_str().unwrap(), if test["expectedresult"] == true { "true" } else { "false" }))
        .collect();
    assert_eq!(states(&result), expected, "{:?}", result.errors);
    assert_eq!(result.errors, None);
}

#[test]
fn contents_names_and_lines_of_files_are_tested() {
    let place = Place::new(&[
        ("testfile0", "Test\n"),
        ("a/file1", "x\nVersion = 0.5\n"),
        ("names/file-1.2.3.txt", ""),
        ("names/file-1.5.3.txt", ""),
        ("lines/sshd_config", "PermitRootLogin no\r\n"),
    ]);
    let objects = json!([
        {"object": "none", "filecontent": {"path": "${root}", "file": "nosuchfile", "expression": "(.*)"}},
        {"object": "test", "filecontent": {"path": "${root}", "file": "testfile0", "expression": ".*(Test).*"}},
        {"object": "version", "filecontent": {"path": "${root}", "file": ".*file1", "expression": "^Version = (\\S+)"}},
        {"object": "any", "filename": {"path": "${root}/names", "file": "(.*)"}},
        {"object": "name", "filename": {"path": "${root}", "file": "file-(\\S+).txt"}},
        {"object": "line", "hasline": {"path": "${root}", "file": "^sshd_config$", "expression": "^PermitRootLogin no$"}},
        {"object": "raw", "raw": {"identifiers": [{"identifier": "a", "value": "2.6.32-504.el6"}]}},
        {"object": "missing", "filecontent": {"path": "/no/such/directory", "file": "x", "expression": "(.)"}},
    ]);
    expect(
        &place,
        objects,
        json!([
            {"test": "none", "object": "none"},
            {"test": "exists", "object": "test", "expectedresult": true},
            {"test": "regex", "object": "test", "regexp": {"value": "^T"}, "expectedresult": true},
            {"test": "exact", "object": "test", "exactmatch": {"value": "Test"}, "expectedresult": true},
            {"test": "not exact", "object": "test", "exactmatch": {"value": "test"}},
            {"test": "old", "object": "version", "evr": {"operation": "<", "value": "0.6"}, "expectedresult": true},
            {"test": "new", "object": "version", "evr": {"operation": "<", "value": "0.4z"}},
            {"test": "any", "object": "any", "expectedresult": true},
            {"test": "one of two", "object": "name", "evr": {"operation": "<", "value": "1.3"}, "expectedresult": true},
            {"test": "none of two", "object": "name", "evr": {"operation": "<", "value": "1.1.0"}},
            {"test": "line", "object": "line", "exactmatch": {"value": "true"}, "expectedresult": true},
            {"test": "raw", "object": "raw", "evr": {"operation": "<", "value": "0:2.6.32-504.8.1.el6"}, "expectedresult": true},
            {"test": "missing", "object": "missing"},
        ]),
    );
}

#[test]
fn tests_depend_on_others_in_any_order() {
    let place = Place::new(&[]);
    let objects = json!([{"object": "one", "raw": {"identifiers": [{"identifier": "a", "value": "1"}]}}]);
    let result = place.run(
        objects,
        json!([
            {"test": "behind", "object": "one", "if": ["ahead", "true"]},
            {"test": "ahead", "object": "one", "exactmatch": {"value": "2"}},
            {"test": "true", "object": "one", "name": "a name", "tags": [{"key": "k", "value": "v"}]},
            {"test": "also", "object": "one", "if": ["true"]},
        ]),
    );
    assert_eq!(states(&result), [("behind", "false"), ("ahead", "false"), ("true", "true"), ("also", "true")]);
    let tests = result.elements["results"].as_array().unwrap();
    assert_eq!((&tests[0]["hastrueresults"], &tests[2]["tags"][0]["key"]), (&json!(true), &json!("k")));
    assert_eq!(tests[3]["results"], json!([{"result": true, "identifier": "a"}]));
    let lines = Scribe.print(&result);
    assert_eq!(lines[0], "master [false] name:\"behind\" id:\"behind\" hastrue:true error:\"\"");
    assert_eq!(lines[5], "sub [true] name:\"a name\" id:\"true\" identifier:\"a\"");
    let mut human = result.clone();
    human.elements["humanoutput"] = json!(true);
    let text = Scribe.print(&human).join("\n");
    assert!(
        text.starts_with("result for \"behind\"\n    master result: false, has true results, failure caused"),
        "{text}"
    );
    assert!(text.contains(
        "result for \"a name\" (true)\n    master result: true\n    tag: k: v\n    [true] identifier: \"a\""
    ));
}

#[test]
fn values_are_joined_and_chains_look_beside_what_was_found() {
    let place = Place::new(&[
        ("a/testfile0", "var = (1, 4)\n"),
        ("a/testfile1", "minor = 7\n"),
        ("b/testfile1", "minor = 9\n"),
    ]);
    let objects = json!([
        {"object": "combined", "filecontent": {
            "path": "${root}", "file": "testfile0", "expression": "var = \\((\\S+), (\\S+)\\)", "concat": ".",
            "import-chain": ["minor"]}},
        {"object": "minor", "filecontent": {"path": "${chain_root}", "file": "testfile1", "expression": "minor = (\\S+)"}},
    ]);
    let result =
        place.run(objects, json!([{"test": "joined", "object": "combined", "exactmatch": {"value": "1.4.7"}}]));
    assert_eq!(states(&result), [("joined", "true")], "{:?}", result.errors);
    let identifier = result.elements["results"][0]["results"][0]["identifier"].as_str().unwrap();
    assert!(identifier.starts_with("concat:/") && identifier.matches("testfile0").count() == 3, "{identifier}");
    assert!(!result.elements.to_string().contains("1.4.7"), "contents are not returned");
}

#[test]
fn versions_of_packages_are_tested_by_their_own_rules() {
    let stanza = |name: &str, version: &str| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\n\n")
    };
    let status = [
        stanza("openssl", "1.0.1e"),
        stanza("libbind", "1:9.9.5.dfsg-4.3"),
        stanza("grub-common", "2.02-beta2"),
        stanza("linux-image-1-generic", "2.6.32-504.12.2"),
        stanza("linux-image-2-generic", "2.6.32-573.8.1"),
    ];
    let place = Place::new(&[("var/lib/dpkg/status", &status.concat())]);
    let objects = json!([
        // As programs of the original write it.
        {"object": "openssl", "package": {"name": "openssl"}, "filecontent": {}, "filename": {"path": ""}, "raw": {"identifiers": null}},
        {"object": "bind", "package": {"name": "libbind"}},
        {"object": "grub", "package": {"name": "grub-common"}},
        {"object": "newest", "package": {"name": "linux-image", "collectmatch": "^linux-image-.*-generic$", "onlynewest": true}},
        {"object": "all", "package": {"name": "linux-image", "collectmatch": "^linux-image-.*-generic$"}},
        {"object": "absent", "package": {"name": "ssl"}},
    ]);
    expect(
        &place,
        objects,
        json!([
            {"test": "0", "object": "openssl", "evr": {}, "regexp": {"value": ""}, "expectedresult": true},
            {"test": "1", "object": "bind", "evr": {"operation": "=", "value": "1:9.9.5.dfsg-4.3"}, "expectedresult": true},
            {"test": "2", "object": "grub", "evr": {"operation": "<", "value": "2.02-beta1"}},
            {"test": "3", "object": "grub", "evr": {"operation": "<", "value": "2.02-beta3"}, "expectedresult": true},
            {"test": "4", "object": "grub", "evr": {"operation": "<", "value": "2.02-beta3"}, "if": ["2"]},
            {"test": "5", "object": "openssl", "evr": {"operation": ">", "value": "1.0.1d"}, "expectedresult": true},
            {"test": "6", "object": "newest", "evr": {"operation": "<", "value": "2.6.32-573.8.1"}},
            {"test": "7", "object": "all", "evr": {"operation": "<", "value": "2.6.32-573.8.1"}, "expectedresult": true},
            {"test": "8", "object": "absent"},
        ]),
    );
}

#[test]
fn a_test_is_not_false_because_something_could_not_be_read() {
    let place =
        Place::new(&[("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1\n\nrubbish\n")]);
    let objects = json!([{"object": "a", "package": {"name": "a"}}, {"object": "b", "package": {"name": "b"}}]);
    let result = place.run(
        objects,
        json!([
            {"test": "there", "object": "a"},
            {"test": "not there", "object": "b"},
            {"test": "waits for it", "object": "a", "if": ["not there"]},
        ]),
    );
    assert_eq!(states(&result), [("there", "true"), ("not there", "error"), ("waits for it", "error")]);
    assert_eq!(result.statistics["partial"], json!(true));
    let errors = result.errors.unwrap();
    assert!(
        errors.iter().any(|error| error.starts_with("Error: object \"b\" was not looked at completely")),
        "{errors:?}"
    );
}

#[test]
fn a_file_is_found_and_none_is_missing_where_the_mounts_are_unknown() {
    let place = Place::new(&[("passwd", "root:x\n")]);
    let object = |name: &str, path: PathBuf| json!({"object": name, "filecontent": {"path": path, "file": "^passwd$", "expression": "^(root):"}});
    let objects = [object("there", place.path()), object("missing", place.path().join("no"))];
    let parameters = json!({"scribedoc": {"objects": objects, "tests": [{"test": "t", "object": "there"}]}});
    let document = document::parse(&parameters).unwrap().document;
    let root = place.path();
    let collect = |mounts: std::io::Result<Mounts>| {
        let mut collector = objects::Collector::new(&document, &root, Context::by_hand(), mounts);
        [0, 1].map(|object| collector.collect(object, &mut || false))
    };
    let [there, missing] = collect(Mounts::read());
    assert_eq!((there.candidates.len(), there.unseen.len(), missing.unseen.len()), (1, 0, 0));
    let [there, missing] = collect(Err(std::io::ErrorKind::NotFound.into()));
    assert_eq!(there.candidates.len(), 1);
    for unseen in [there.unseen, missing.unseen] {
        assert!(unseen[0].starts_with("read /proc/self/mountinfo: "), "{unseen:?}");
    }
}

#[test]
fn a_value_that_is_no_version_hides_no_other() {
    let raw = |values: &[&str]| {
        let values: Vec<Value> = values.iter().map(|value| json!({"identifier": "i", "value": value})).collect();
        json!({"object": "o", "raw": {"identifiers": values}})
    };
    for (values, state) in [(&["\u{e9}", "1"], "true"), (&["\u{e9}", "3"], "error"), (&["4", "3"], "false")] {
        let test = json!({"test": "t", "object": "o", "evr": {"operation": "<", "value": "2"}});
        let result = Place::new(&[]).run(json!([raw(values)]), json!([test]));
        assert_eq!(states(&result), [("t", state)], "{values:?}");
    }
}

#[test]
fn files_below_a_path_that_is_no_utf_8_are_looked_at_and_chains_there_are_named() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new(&[]);
    let directory = place.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("config"), "PermitRootLogin yes\n").unwrap();
    let objects = json!([
        {"object": "line", "hasline": {"path": "${root}", "file": "^config$", "expression": "Root"}},
        {"object": "value", "filecontent": {"path": "${root}", "file": "^config$", "expression": "Login (.*)"}},
        {"object": "chained", "filecontent": {
            "path": "${root}", "file": "^config$", "expression": "Login (.*)", "import-chain": ["beside"]}},
        {"object": "beside", "filecontent": {"path": "${chain_root}", "file": "^config$", "expression": "(Root)"}},
    ]);
    let tests = json!([
        {"test": "line", "object": "line", "exactmatch": {"value": "true"}},
        {"test": "value", "object": "value", "exactmatch": {"value": "yes"}},
        {"test": "chained", "object": "chained", "exactmatch": {"value": "Root"}},
    ]);
    let result = place.run(objects, tests);
    assert_eq!(states(&result), [("line", "true"), ("value", "true"), ("chained", "error")]);
}

#[test]
fn a_special_file_is_not_one_without_a_match() {
    let place = Place::new(&[]);
    let fifo = place.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let object = json!({"object": "o", "hasline": {"path": "${root}", "file": "^fifo$", "expression": "x"}});
    let result = place.run(json!([object]), json!([{"test": "t", "object": "o", "exactmatch": {"value": "true"}}]));
    assert_eq!(states(&result), [("t", "error")]);
}

#[test]
fn tests_that_were_run_before_the_time_was_over_are_returned() {
    let place = Place::new(&[("large", "")]);
    fs::File::options().write(true).open(place.path().join("large")).unwrap().set_len(1 << 40).unwrap();
    let objects = json!([
        {"object": "one", "raw": {"identifiers": [{"identifier": "a", "value": "1"}]}},
        {"object": "large", "hasline": {"path": "${root}", "file": "^large$", "expression": "x"}},
    ]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(1500);
    let said = std::sync::Mutex::new(Vec::new());
    let progress = |result: &ModuleResult| said.lock().unwrap().push(result.clone());
    let context = Context { deadline: Some(deadline), progress: Some(&progress), ..Context::by_hand() };
    let tests = json!([{"test": "early", "object": "one"}, {"test": "late", "object": "large"},
                       {"test": "later", "object": "one"}]);
    let result = place.run_within(context, objects, tests);
    assert_eq!(states(&result), [("early", "true"), ("late", "error")]);
    assert!(result.errors.unwrap().contains(&"test \"later\" was not run".to_owned()));
    assert_eq!(states(&said.into_inner().unwrap()[0]), [("early", "true")]);
}

#[test]
fn results_of_one_test_leave_room_for_others() {
    let values = |count: usize| -> Vec<Value> {
        let value =
            |n: usize| json!({"identifier": format!("i{n}"), "value": if n + 1 == count { "yes" } else { "no" }});
        (0..count).map(value).collect()
    };
    let raw = json!([{"object": "o", "raw": {"identifiers": values(1500)}}]);
    let test = json!([{"test": "t", "object": "o", "exactmatch": {"value": "yes"}}]);
    let result = Place::new(&[]).run(raw, test);
    assert_eq!(states(&result), [("t", "true")]);
    let results = &result.elements["results"][0]["results"];
    assert_eq!((results.as_array().unwrap().len(), &results[0]["identifier"]), (1000, &json!("i1499")));
    assert_eq!(result.errors.unwrap(), ["test \"t\": 500 of its results are left out"]);
}

#[test]
fn only_true_tests_are_returned_when_that_is_asked_for() {
    let raw = json!({"object": "one", "raw": {"identifiers": [{"identifier": "a", "value": "1"}]}});
    let document = json!({"objects": [raw], "tests": [
        {"test": "yes", "object": "one"}, {"test": "no", "object": "one", "exactmatch": {"value": "2"}}]});
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("document.json");
    fs::write(&path, document.to_string()).unwrap();
    let words = ["-path", path.to_str().unwrap(), "-onlytrue", "-json"].map(str::to_owned);
    let parameters = Scribe.parse_arguments(&words).unwrap();
    assert_eq!(parameters, json!({"scribedoc": document, "onlytrue": true, "jsonoutput": true}));
    let result = Scribe.run(&parameters, Context::by_hand());
    assert_eq!(states(&result), [("yes", "true")]);
    assert!(result.foundanything && result.elements["jsonoutput"] == true && result.elements["humanoutput"] == false);
    assert!(Scribe.print(&result)[0].starts_with("{\"description\""));
    assert!(Scribe.parse_arguments(&[]).unwrap_err().to_string().starts_with("-path: is missing"));
}

#[test]
fn documents_that_cannot_mean_what_was_intended_name_their_field() {
    let object = json!({"object": "o", "raw": {"identifiers": [{"identifier": "a", "value": "1"}]}});
    let content = |path: &str, file: &str| json!({"object": "o", "filecontent": {"path": path, "file": file, "expression": "(x)"}});
    let test = json!({"test": "t", "object": "o"});
    for (objects, tests, error) in [
        (json!([object]), json!([]), "tests: holds no test"),
        (json!([{"object": "o"}]), json!([test]), "objects[0].object: has none of package"),
        (json!([object, object]), json!([test]), "objects[1]: \"o\" is there twice"),
        (json!([content("tmp", "x")]), json!([test]), "objects[0].filecontent.path: does not begin with /"),
        (json!([content("/tmp", "a/b")]), json!([test]), "objects[0].filecontent.file: an expression on names"),
        (json!([content("/tmp", "(")]), json!([test]), "objects[0].filecontent.file: bad regular expression"),
        (
            json!([{"object": "o", "filecontent": {"path": "/tmp", "file": "x", "expression": "(?:x)"}}]),
            json!([test]),
            "objects[0].filecontent.expression: has no group",
        ),
        (
            json!([{"object": "o", "filename": {"path": "/tmp", "file": "x"}}]),
            json!([test]),
            "objects[0].filename.file: has no group",
        ),
        (json!([content("${chain_root}", "x")]), json!([test]), "tests: ${chain_root} in the path of test \"t\""),
        (json!([object]), json!([{"test": "t", "object": "p"}]), "tests[0].object: there is no object \"p\""),
        (json!([object]), json!([{"test": "t", "object": "o", "if": ["u"]}]), "tests[0].if: there is no test \"u\""),
        (
            json!([object]),
            json!([{"test": "t", "object": "o", "if": ["t"]}]),
            "tests[0].if: the test depends on itself",
        ),
        (
            json!([object]),
            json!([{"test": "t", "object": "o", "evr": {"operation": "badop", "value": "1"}}]),
            "tests[0].evr.operation: is none of <",
        ),
        (
            json!([object]),
            json!([{"test": "t", "object": "o", "regexp": {"value": "("}}]),
            "tests[0].regexp.value: bad regular expression",
        ),
        (json!([object]), json!([{"test": "t", "object": "o", "tests": []}]), "tests[0].tests: unknown key"),
    ] {
        let parameters = json!({"scribedoc": {"objects": objects, "tests": tests}});
        let found = Scribe.validate(&parameters).unwrap_err().to_string();
        assert!(found.starts_with(&format!("parameters.scribedoc.{error}")), "{parameters}: {found}");
    }
    assert_eq!(Scribe.validate(&json!({})).unwrap_err().to_string(), "parameters.scribedoc: is missing");
}

#[test]
fn a_variable_that_is_not_replaced_is_an_error() {
    let variables = json!([
        {"key": "late", "value": "x${v}"}, {"key": "v", "value": "6"}, {"key": "early", "value": "${v}"},
        {"key": "long", "value": "y".repeat(9000)},
    ]);
    let content = |name: &str, value: &str| {
        let mut content = json!({"path": "/tmp", "file": "^x$", "expression": "(x)"});
        content[name] = json!(value);
        json!({"filecontent": content})
    };
    let package = |name: &str| json!({"package": {"name": name}});
    let collect = |text: &str| json!({"package": {"name": "a", "collectmatch": text}});
    let check = |variables: &Value, mut object: Value, test: Value| {
        object["object"] = json!("o");
        let mut tests = json!([{"test": "t", "object": "o"}]);
        tests[0]["regexp"] = test;
        let document = json!({"variables": variables, "objects": [object], "tests": tests});
        Scribe.validate(&json!({"scribedoc": document})).map_err(|error| error.to_string())
    };
    for (object, field) in [
        (package("${vv}"), "package.name: no variable replaces ${vv}"),
        (package("${early}"), "package.name: no variable replaces ${v}"),
        (package("${long}${long}"), "package.name: is longer than 16384 bytes"),
        (content("file", "^${vv}$"), "filecontent.file: no variable replaces ${vv}"),
        (content("file", "^app\\[${vv}\\](x)?$"), "filecontent.file: no variable replaces ${vv}"),
        (content("file", "^[]a[:alpha:]\\]]${vv}$"), "filecontent.file: no variable replaces ${vv}"),
        (content("file", "^[^]]\\Q[\\E${vv}$"), "filecontent.file: no variable replaces ${vv}"),
        (content("path", "/${vv}"), "filecontent.path: no variable replaces ${vv}"),
        (content("path", "/a$b"), "filecontent.path: "),
        (content("expression", "(x)${v}"), "filecontent.expression: variables are not replaced here, and ${v}"),
        (collect("^lib${vv}c6$"), "package.collectmatch: no variable replaces ${vv}"),
    ] {
        let found = check(&variables, object, json!(null)).unwrap_err();
        assert!(found.starts_with(&format!("parameters.scribedoc.objects[0].{field}")), "{found}");
    }
    for object in [
        package("lib${late}"),
        collect("^lib${v}c6$"),
        content("path", "/${late}"),
        content("expression", "(\\${v}|[${v}])$"),
        content("file", "^\\${vv}$"),
        content("file", "^\\Qa${vv}\\E[^][:alpha:]\\]${vv}]$"),
    ] {
        assert_eq!(check(&variables, object.clone(), json!(null)), Ok(vec![]), "{object}");
    }
    let found = check(&variables, package("a"), json!({"value": "^${v}$"})).unwrap_err();
    assert!(found.starts_with("parameters.scribedoc.tests[0].regexp.value: variables are not"), "{found}");
    let twice = json!([{"key": "v", "value": "1"}, {"key": "v", "value": "2"}]);
    let found = check(&twice, package("a"), json!(null)).unwrap_err();
    assert!(found.starts_with("parameters.scribedoc.variables[1]: \"v\" is there twice"), "{found}");
}

#[test]
fn a_pattern_of_packages_has_the_values_of_variables() {
    let parameters = json!({"scribedoc": {
        "variables": [{"key": "v", "value": "6"}],
        "objects": [{"object": "o", "package": {"name": "a", "collectmatch": "^libc${v}$"}}],
        "tests": [{"test": "t", "object": "o"}],
    }});
    let place = Place::new(&[(
        "var/lib/dpkg/status",
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36\n\n",
    )]);
    let result = evaluate::run(&document::parse(&parameters).unwrap(), &place.path(), Context::by_hand());
    assert_eq!(states(&result), [("t", "true")]);
}
