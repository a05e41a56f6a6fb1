use super::*;
use std::fs;
use std::process::Command;

/// What is found below a directory, and what could not be looked at.
fn look(directory: &Path, kind: Kind) -> (Vec<String>, Vec<String>) {
    let paths = [directory.to_str().unwrap().to_owned()];
    let found = below(&paths, &[kind], Context::by_hand(), &mut || false);
    let mut texts: Vec<String> =
        found.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    texts.sort();
    (texts, found.unseen)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn packages_of_a_python_environment_are_those_that_pip_lists() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&place));
    let listed = run(Command::new(place.join("bin/python")).args(["-m", "pip", "list", "--format", "freeze"]));
    let mut expected: Vec<String> = listed.lines().map(|line| line.replace("==", " ")).collect();
    expected.sort();
    let (found, unseen) = look(&place, Kind::Python);
    assert_eq!((found, unseen), (expected, vec![]));

    let egg = directory.path().join("old.egg-info");
    fs::write(&egg, "Metadata-Version: 1.0\nName: old\n\nVersion: 1\n").unwrap();
    let (_, unseen) = look(&egg, Kind::Python);
    assert!(unseen[0].ends_with("old.egg-info: it has no name or no version"), "{unseen:?}");
}

#[test]
fn packages_of_npm_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let modules = directory.path().join("node_modules");
    for (place, text) in [
        ("left-pad/package.json", r#"{"name": "left-pad", "version": "1.3.0"}"#),
        ("@scope/inner/node_modules/x/package.json", r#"{"version": "0.1.0-beta", "name": "x"}"#),
        ("left-pad/dist/package.json", r#"{"type": "module"}"#),
        ("broken/package.json", r#"{"name": "broken""#),
    ] {
        fs::create_dir_all(modules.join(place).parent().unwrap()).unwrap();
        fs::write(modules.join(place), text).unwrap();
    }
    let (found, unseen) = look(directory.path(), Kind::Npm);
    assert_eq!(found, ["left-pad 1.3.0", "x 0.1.0-beta"]);
    assert!(unseen.len() == 1 && unseen[0].contains("broken/package.json"), "{unseen:?}");
}

#[test]
fn modules_of_a_program_of_go_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let modules = "path\tx\nmod\texample.com/x\tv1.2.3\th1:a=\ndep\tgolang.org/x/net\tv0.1.0\th1:b=\n\
                   dep\tgithub.com/a/b\tv1.0.0\n=>\tgithub.com/c/b\tv1.1.0\th1:c=\n";
    let mut bytes = b"\x7fELF".to_vec();
    // It begins across two reads.
    bytes.resize((1 << 20) - 4, 0);
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    for text in ["go1.22.1", &format!("{0}{modules}{0}", "0123456789abcdef")] {
        let length = text.len();
        info.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        info.extend(text.as_bytes());
    }
    bytes.extend(&info);
    let executable = |bytes: &[u8]| {
        fs::write(&program, bytes).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    executable(&bytes);
    let expected = ["example.com/x v1.2.3", "github.com/c/b v1.1.0", "golang.org/x/net v0.1.0", "stdlib go1.22.1"];
    assert_eq!(look(directory.path(), Kind::Go), (expected.map(str::to_owned).to_vec(), vec![]));
    executable(&bytes[..bytes.len() - 20]);
    assert!(look(directory.path(), Kind::Go).1[0].contains("is broken"));
    executable(b"#!/bin/sh\n");
    assert_eq!(look(directory.path(), Kind::Go), (vec![], vec![]));
}

#[test]
fn artifacts_in_jars_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let script = r##"
import sys, zipfile
def jar(name, files, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(sys.argv[1] + "/" + name, "w", kind) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
pom = "#c\r\ngroupId=org.apache\nartifactId=log4j-core\nversion=2.14.1\n"
jar("a.jar", {"META-INF/maven/org.apache/log4j-core/pom.properties": pom, "META-INF/MANIFEST.MF": "Bundle-Version: 9\n"})
jar("b.jar", {"META-INF/MANIFEST.MF": "Implementation-Ti\r\n tle: b\r\nImplementation-Version: 1.2\r\n"}, zipfile.ZIP_STORED)
jar("commons-io-2.4.jar", {"x": "y"})
jar("fat.war", {"WEB-INF/lib/inner.jar": "x", "META-INF/MANIFEST.MF": "Bundle-SymbolicName: fat;x\nBundle-Version: 3\n"})
open(sys.argv[1] + "/no.jar", "w").write("no jar")
"##;
    run(Command::new("python3").args(["-c", script]).arg(directory.path()));
    let (found, unseen) = look(directory.path(), Kind::Java);
    assert_eq!(found, ["b 1.2", "commons-io 2.4", "fat 3", "org.apache:log4j-core 2.14.1"]);
    assert_eq!(unseen.len(), 2, "{unseen:?}");
    assert!(unseen[0].ends_with("1 jars inside of it are not looked into") && unseen[1].ends_with("no zip archive"));
}
