use super::*;
use crate::modules::Module;
use crate::modules::pkg::Pkg;
use crate::modules::pkg::parameters::parse;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

fn here(line: &str) -> ModuleResult {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Pkg.run(&Pkg.parse_arguments(&words).unwrap(), Context::by_hand())
}

fn names(result: &ModuleResult) -> Vec<&str> {
    let packages = &result.elements["packages"];
    assert!(packages.is_array(), "{result:?}");
    packages.as_array().unwrap().iter().map(|element| element["name"].as_str().unwrap()).collect()
}

#[test]
fn the_packages_of_this_machine_are_those_that_dpkg_lists() {
    let format = "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n";
    let listed = Command::new("dpkg-query").args(["-W", "-f", format]).output().expect("dpkg-query");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let expected: BTreeSet<String> =
        listed.lines().filter_map(|line| line.strip_prefix("installed\t")).map(str::to_owned).collect();
    let result = here("-name . -type dpkg");
    let text = |element: &Value| {
        let text = |name: &str| element[name].as_str();
        ["name", "version", "arch", "source"].map(|name| text(name).unwrap()).join("\t")
    };
    let found: BTreeSet<String> = result.elements["packages"].as_array().unwrap().iter().map(text).collect();
    assert!(
        expected.len() > 50 && expected == found,
        "{:?}",
        expected.symmetric_difference(&found).collect::<Vec<_>>()
    );
    assert_eq!(result.errors, None);
    assert!(result.statistics["execruntime"].is_string());
}

#[test]
fn packages_are_found_by_name_source_and_version() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let place = root.join("var/lib/dpkg");
    fs::create_dir_all(&place).unwrap();
    let stanza = |name: &str, version: &str, source: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\nSource: {source}\n\n"
        )
    };
    let status = [
        stanza("libssl3", "3.0.9-1", "openssl"),
        stanza("openssl", "3.0.11-1~deb12u2", "openssl"),
        // Its source has its name.
        stanza("bash", "5.2-3", "").replace("Source: \n", ""),
    ];
    fs::write(place.join("status"), status.concat()).unwrap();
    for (parameters, expected) in [
        (json!({"pkgmatch": {"matches": ["ssl"]}}), &["libssl3", "openssl"][..]),
        (json!({"pkgmatch": {"matches": ["^openssl$", "^bash$"]}}), &["openssl", "bash"]),
        (json!({"sources": ["^openssl$"]}), &["libssl3", "openssl"]),
        (json!({"sources": ["^bash$"]}), &["bash"]),
        (json!({"sources": ["^openssl$"], "version": "<3.0.11-1"}), &["libssl3", "openssl"]),
        (json!({"sources": ["^openssl$"], "version": "<3.0.11"}), &["libssl3"]),
        (json!({"sources": ["^openssl$"], "version": ">3.0.9-1,<4"}), &["openssl"]),
        (json!({"pkgmatch": {"matches": ["!ssl"]}}), &["bash"]),
        (json!({"pkgmatch": {"matches": ["."]}, "vermatch": "^3"}), &["libssl3", "openssl"]),
        (json!({"PkgMatch": {"Matches": ["."]}, "VerMatch": "!^3"}), &["bash"]),
        (json!({"pkgmatch": {"matches": ["nothing"]}, "types": ["dpkg", "dpkg"]}), &[]),
    ] {
        let result = run(&parse(&parameters).unwrap(), root, Context::by_hand());
        assert_eq!(names(&result), expected, "{parameters}");
        assert_eq!((result.foundanything, result.success, result.errors), (!expected.is_empty(), true, None));
    }
    fs::write(place.join("status"), [stanza("a", "\u{e9}", "a"), stanza("b", "1", "b")].concat()).unwrap();
    let parameters = json!({"pkgmatch": {"matches": ["."]}, "version": "<0"});
    let result = run(&parse(&parameters).unwrap(), root, Context::by_hand());
    assert_eq!(result.elements, json!({}), "what cannot be compared is not known to be absent");
    assert!(result.errors.unwrap()[0].contains("compare version \"é\" of a"));
}

#[test]
fn packages_of_python_and_java_are_found_by_the_names_that_people_know() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("x.dist-info")).unwrap();
    fs::write(root.path().join("x.dist-info/METADATA"), "Name: Flask_Login.X\nVersion: 1\n").unwrap();
    let mut jar = Command::new("python3");
    let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1] + '/x.jar', 'w') as jar:\n    \
                  jar.writestr('META-INF/maven/g/a/pom.properties', 'groupId=org.x\\nartifactId=core\\nversion=1\\n')\n\
                  zipfile.ZipFile(sys.argv[1] + '/unknown.jar', 'w').close()";
    assert!(jar.args(["-c", script]).arg(root.path()).status().unwrap().success());
    let search = |pattern: &str, more: (&str, &str)| {
        let paths = [root.path()];
        let mut parameters = json!({"pkgmatch": {"matches": [pattern]}, "types": ["python", "java"], "paths": paths});
        if !more.0.is_empty() {
            parameters[more.0] = json!(more.1);
        }
        run(&parse(&parameters).unwrap(), root.path(), Context::by_hand())
    };
    for (pattern, expected) in [
        ("^Flask_Login.X$", &["Flask_Login.X"][..]),
        ("^flask-login-x$", &["Flask_Login.X"]),
        ("!^flask-login-x$", &["org.x:core", "unknown"]),
        ("^core$", &["org.x:core"]),
        ("^org.x:core$", &["org.x:core"]),
        ("!core", &["Flask_Login.X", "unknown"]),
        ("^unknown$", &["unknown"]),
    ] {
        let result = search(pattern, ("", ""));
        let mut found = names(&result);
        found.sort_unstable();
        assert_eq!((found, &result.errors), (expected.to_vec(), &None), "{pattern}");
    }
    for more in [("version", "<2"), ("vermatch", "^2")] {
        let result = search("^unknown$", more);
        assert_eq!(result.elements, json!({}), "of an unknown version nothing is known");
        assert!(result.errors.unwrap()[0].ends_with("unknown.jar: nothing says which it is"));
    }
}

/// A machine with the package `a` of dpkg, and what has its root.
fn machine(more: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("var/lib/dpkg");
    fs::create_dir_all(&place).unwrap();
    let text = format!("Package: a\nStatus: install ok installed\nVersion: 1\n\n{more}");
    fs::write(place.join("status"), text).unwrap();
    root
}

#[test]
fn what_was_found_before_the_time_was_over_is_returned() {
    let root = machine("");
    let opt = root.path().join("opt");
    for name in ["early.dist-info/METADATA", "late/program"] {
        fs::create_dir_all(opt.join(name).parent().unwrap()).unwrap();
    }
    fs::write(opt.join("early.dist-info/METADATA"), "Name: early\nVersion: 1\n").unwrap();
    for number in 0..40 {
        let path = opt.join(format!("late/program{number}"));
        fs::write(&path, b"\x7fELF").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(500 << 20).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let parameters = json!({"pkgmatch": {"matches": ["."]}, "paths": [opt]});
    let said = std::sync::Mutex::new(Vec::new());
    let progress = |result: &ModuleResult| said.lock().unwrap().push(result.clone());
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(1500);
    let context = Context { deadline: Some(deadline), progress: Some(&progress), ..Context::by_hand() };
    let result = run(&parse(&parameters).unwrap(), root.path(), context);
    assert_eq!(names(&result), ["a", "early"]);
    assert!(result.errors.unwrap()[0].starts_with("partial: stopped at the time limit"));
    let said = said.into_inner().unwrap();
    assert_eq!(names(&said[0]), ["a", "early"]);
}

#[test]
fn a_text_that_would_take_the_room_of_all_others_is_left_out_and_said_so() {
    let long = "x".repeat(2000);
    let root = machine(&format!("Package: b\nStatus: install ok installed\nVersion: {long}\n"));
    let parameters = json!({"pkgmatch": {"matches": ["."]}});
    let result = run(&parse(&parameters).unwrap(), root.path(), Context::by_hand());
    assert_eq!(names(&result), ["a"]);
    assert_eq!(result.errors.unwrap(), ["a package of dpkg has texts of more than 1024 bytes"]);
}

#[test]
fn parameters_that_cannot_be_used_name_their_field() {
    for (parameters, error) in [
        (json!({}), "parameters.pkgmatch.matches: has no expression"),
        (json!({"pkgmatch": {"matches": []}}), "parameters.pkgmatch.matches: has no expression"),
        (json!({"pkgmatch": {"matches": ["("]}}), "parameters.pkgmatch.matches[0]: bad regular expression"),
        (json!({"pkgmatch": {"match": ["a"]}}), "parameters.pkgmatch.match: unknown key; did you mean \"matches\"?"),
        (
            json!({"pkgmatch": {"matches": ["a"]}, "versions": "<1"}),
            "parameters.versions: unknown key; did you mean \"version\"?",
        ),
        (json!({"pkgmatch": {"matches": ["a"]}, "version": "^1"}), "parameters.version: \"^1\" does not begin with"),
        (
            json!({"pkgmatch": {"matches": ["a"]}, "types": ["deb"]}),
            "parameters.types[0]: \"deb\" is none of dpkg, rpm",
        ),
        (
            json!({"pkgmatch": {"matches": ["a"]}, "types": ["npm"]}),
            "parameters.types[0]: \"npm\" is looked for below paths",
        ),
        (json!({"pkgmatch": {"matches": ["a"]}, "paths": ["opt"]}), "parameters.paths[0]: does not begin with /"),
        (
            json!({"pkgmatch": {"matches": ["a"]}, "paths": ["/opt"], "types": ["rpm"]}),
            "parameters.paths: are of no use",
        ),
    ] {
        let found = Pkg.validate(&parameters).unwrap_err().to_string();
        assert!(found.starts_with(error), "{parameters}: {found}");
    }
}

#[test]
fn results_are_printed_as_the_original_does() {
    let result = here("-name ^dpkg$");
    let line = Pkg.print(&result).remove(0);
    assert!(line.starts_with("pkgmatch name=dpkg version=1.") && line.contains(" type=dpkg arch="), "{line}");
}
