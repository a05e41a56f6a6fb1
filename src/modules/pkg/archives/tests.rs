use super::*;
use crate::modules::pkg::databases::{Found, Gathered};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// What is found below a directory, and what could not be looked at.
fn found_in(directory: &Path, kind: Kind) -> (Vec<String>, Vec<String>) {
    let paths = [directory.to_str().unwrap().to_owned()];
    let mut gathered = Gathered { found: Found::default(), is_over: || false };
    below(&paths, &[kind], Context::by_hand(), &mut gathered);
    let found = gathered.found;
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
    let (found, unseen) = found_in(&place, Kind::Python);
    assert_eq!((found, unseen), (expected, vec![]));

    let egg = directory.path().join("old.egg-info");
    fs::write(&egg, "Metadata-Version: 1.0\nName: old\n\nVersion: 1\n").unwrap();
    let (_, unseen) = found_in(&egg, Kind::Python);
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
    let (found, unseen) = found_in(directory.path(), Kind::Npm);
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
    // A program that looks for it has it elsewhere, or with other things behind it.
    bytes.resize(4096 + 8, 0);
    bytes.extend(b"\xff Go buildinf:\x08\x02");
    bytes.resize(8192, 0);
    bytes.extend(b"\xff Go buildinf: is looked for");
    // It begins across two reads.
    bytes.resize(1 << 20, 0);
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
    assert_eq!(found_in(directory.path(), Kind::Go), (expected.map(str::to_owned).to_vec(), vec![]));
    executable(&bytes[..bytes.len() - 20]);
    assert!(found_in(directory.path(), Kind::Go).1[0].contains("is broken"));
    executable(&bytes[..8192]);
    assert_eq!(found_in(directory.path(), Kind::Go), (vec![], vec![]));
    executable(b"#!/bin/sh\n");
    assert_eq!(found_in(directory.path(), Kind::Go), (vec![], vec![]));
}

#[test]
fn artifacts_in_jars_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let script = r##"
import io, os, sys, zipfile
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
    let (found, unseen) = found_in(directory.path(), Kind::Java);
    assert_eq!(found, ["b 1.2", "commons-io 2.4", "fat 3", "org.apache:log4j-core 2.14.1"]);
    assert_eq!(unseen.len(), 2, "{unseen:?}");
    assert!(unseen.iter().any(|text| text.ends_with("1 archives inside of it are not looked into")), "{unseen:?}");
    assert!(unseen.iter().any(|text| text.ends_with("no zip archive")), "{unseen:?}");
}

/// A zip archive of stored files.
fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let [name_bytes, text_bytes] = [name, text].map(|text| (text.len() as u32).to_le_bytes());
        directory.extend([&b"PK\x01\x02"[..], &[0; 16], &text_bytes, &text_bytes, &name_bytes[..2], &[0; 12]].concat());
        directory.extend((bytes.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        bytes.extend([&b"PK\x03\x04"[..], &[0; 14], &text_bytes, &text_bytes, &name_bytes[..2], &[0; 2]].concat());
        bytes.extend([name.as_bytes(), text.as_bytes()].concat());
    }
    let [size, offset] = [directory.len(), bytes.len()].map(|number| (number as u32).to_le_bytes());
    let count = (files.len() as u16).to_le_bytes();
    [&bytes[..], &directory, b"PK\x05\x06", &[0; 4], &count, &count, &size, &offset, &[0; 2]].concat()
}

const POM: (&str, &str) = ("META-INF/maven/g/a/pom.properties", "groupId=g\nartifactId=a\nversion=1\n");

/// What is found in a jar, and what could not be looked at there.
fn jar(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("x.jar"), bytes).unwrap();
    found_in(directory.path(), Kind::Java)
}

#[test]
fn a_jar_behind_a_script_is_read() {
    let plain = zip(&[POM]);
    for bytes in [plain.clone(), [b"#!/bin/sh\nexec java -jar \"$0\"\n", &plain[..]].concat()] {
        assert_eq!(jar(&bytes), (vec!["g:a 1".to_owned()], vec![]));
    }
}

#[test]
fn a_jar_whose_directory_is_broken_is_said_so() {
    let plain = zip(&[("x", ""), POM, ("y", "")]);
    let header = memchr::memmem::rfind(&plain, b"PK\x01\x02").unwrap();
    let end = memchr::memmem::rfind(&plain, b"PK\x05\x06").unwrap();
    for (at, byte) in [(header, 0), (end + 10, 4), (end + 16, 0xff)] {
        let mut broken = plain.clone();
        broken[at] = byte;
        let (found, unseen) = jar(&broken);
        assert!(found.is_empty() && unseen[0].ends_with("its directory is broken"), "{at} {found:?} {unseen:?}");
    }
}

#[test]
fn archives_in_a_jar_are_named_and_what_else_it_has_is_found() {
    let (found, unseen) = jar(&zip(&[POM, ("web.war", ""), ("lib/LOG4J.JAR", ""), ("a.rar", ""), ("e.ear", "")]));
    assert_eq!(found, ["g:a 1"]);
    assert!(unseen[0].ends_with("x.jar: 4 archives inside of it are not looked into"), "{unseen:?}");
    let (found, unseen) = jar(&zip(&[("META-INF/maven/x/y/pom.properties", "version=1\n"), POM]));
    assert_eq!(found, ["g:a 1"]);
    assert!(unseen[0].ends_with("y/pom.properties has no groupId, artifactId or version"), "{unseen:?}");
}

#[test]
fn entries_of_a_jar_are_limited_and_the_time_is_asked_for_between_them() {
    let (found, unseen) = jar(&zip(&vec![POM; 10_001]));
    assert_eq!(found.len(), 10_000);
    assert!(unseen[0].contains("more than 10000 artifacts"), "{unseen:?}");
    let long = format!("{}{}", POM.1, "#".repeat(1_000_000));
    let (found, unseen) = jar(&zip(&vec![(POM.0, &*long); 80]));
    assert!((60..80).contains(&found.len()), "{}", found.len());
    assert!(unseen[0].contains("67108864 bytes"), "{unseen:?}");

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), zip(&[POM; 9])).unwrap();
    let mut asked = 0;
    let mut is_over = || {
        asked += 1;
        asked > 3
    };
    let mut gathered = Gathered { found: Found::default(), is_over: &mut is_over };
    java::read(file.path(), file.as_file(), &mut gathered).unwrap_err();
    assert_eq!(gathered.found.packages.len(), 3);
}

#[test]
fn what_is_below_a_path_that_is_no_utf_8_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join(OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir_all(place.join("x.dist-info")).unwrap();
    fs::write(place.join("x.dist-info/METADATA"), "Name: x\nVersion: 1\n").unwrap();
    fs::write(place.join("x.jar"), zip(&[POM])).unwrap();
    assert_eq!(found_in(directory.path(), Kind::Python), (vec!["x 1".to_owned()], vec![]));
    assert_eq!(found_in(directory.path(), Kind::Java), (vec!["g:a 1".to_owned()], vec![]));
}
