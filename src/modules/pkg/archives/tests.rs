use super::*;
use crate::modules::pkg::databases::{Found, Gathered};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// What is found below a directory, and what could not be looked at.
fn found_with_places(directory: &Path, kind: Kind) -> Found {
    let paths = [directory.to_str().unwrap().to_owned()];
    let mut gathered = Gathered { found: Found::default(), is_over: || false };
    below(&paths, &[kind], Context::by_hand(), &mut gathered);
    gathered.found
}

/// The same, as texts.
fn found_in(directory: &Path, kind: Kind) -> (Vec<String>, Vec<String>) {
    let found = found_with_places(directory, kind);
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
    assert!(
        unseen.iter().any(|text| text.ends_with("fat.war!/WEB-INF/lib/inner.jar: it is no zip archive")),
        "{unseen:?}"
    );
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
fn the_end_of_a_jar_is_the_one_that_java_takes() {
    let plain = zip(&[POM]);
    let end = plain.len() - 22;
    let empty = [b"PK\x05\x06", &[0; 12][..], &(plain.len() as u32).to_le_bytes(), &[0; 2]].concat();
    let with_comment = |comment: &[u8]| {
        let length = (comment.len() as u16).to_le_bytes();
        [&plain[..plain.len() - 2], &length, comment].concat()
    };
    let found = ["g:a 1"];
    // Its comment has the end of an empty one, or a shorter mark; something is behind it.
    for bytes in [
        with_comment(&[&empty[..], b"x"].concat()),
        with_comment(b"PK\x05\x06 is a mark"),
        with_comment(b"a comment"),
        [&plain[..], b"something"].concat(),
    ] {
        assert_eq!(jar(&bytes), (found.map(str::to_owned).to_vec(), vec![]));
    }
    // In its comment is another whole archive, with something behind it.
    let other = zip(&[("META-INF/maven/g/b/pom.properties", "groupId=g\nartifactId=b\nversion=2\n")]);
    assert_eq!(jar(&with_comment(&[&other[..], b"x"].concat())).0, ["g:b 2"]);
    let (found, unseen) = jar(&[&empty[..], b"x"].concat());
    assert!(found.is_empty() && unseen[0].ends_with("it has no end that fits its length"), "{unseen:?}");
    // The end of a large one says that it is empty; the small one does not.
    let mut large = [&b"PK\x06\x06"[..], &[0; 52], b"PK\x06\x07", &[0; 16]].concat();
    large = [&plain[..end], &large, &plain[end..]].concat();
    let (found, unseen) = jar(&large);
    assert!(found.is_empty() && unseen[0].ends_with("its directory is broken"), "{unseen:?}");
}

#[test]
fn archives_in_a_jar_are_looked_into_and_what_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let script = r##"
import io, sys, zipfile
def archive(files, kind):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as made:
        for path, data in files.items():
            made.writestr(path, data)
    return out.getvalue()
def pom(name, version):
    return {"META-INF/maven/g/%s/pom.properties" % name: "groupId=g\nartifactId=%s\nversion=%s\n" % (name, version)}
stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
log4j = archive({"META-INF/MANIFEST.MF": "Bundle-SymbolicName: org.apache.logging.log4j.core\nBundle-Version: 2.14.1\n"}, deflated)
shaded = archive(pom("one", 1) | pom("two", 2), deflated)
web = archive({"WEB-INF/lib/log4j-core-2.14.1.jar": log4j, "WEB-INF/lib/shaded-9.JAR": shaded}, deflated)
whole = archive({"web.war": web}, deflated)
boot = archive({"BOOT-INF/lib/log4j-1.2-api-2.14.1.jar": archive({"x": "y"}, stored), "BOOT-INF/lib/web.war": web} | pom("boot", 3), stored)
deep = log4j
for number in range(5, 0, -1):
    deep = archive({"%d.jar" % number: deep}, [stored, deflated][number % 2])
for name, data in ("app.ear", whole), ("boot.jar", boot), ("deep-0.jar", deep):
    open(sys.argv[1] + "/" + name, "wb").write(data)
"##;
    run(Command::new("python3").args(["-c", script]).arg(directory.path()));
    let found = found_with_places(directory.path(), Kind::Java);
    let place = |found: &Package| {
        let path = found.path.as_ref().unwrap().strip_prefix(directory.path()).unwrap();
        format!("{} {} {}", path.display(), found.name, found.version).trim_end().to_owned()
    };
    let mut places: Vec<String> = found.packages.iter().map(place).collect();
    places.sort();
    let in_web = |web: &str| {
        let core = format!("{web}!/WEB-INF/lib/log4j-core-2.14.1.jar");
        let shaded = format!("{web}!/WEB-INF/lib/shaded-9.JAR");
        [
            format!("{core} log4j-core 2.14.1"),
            format!("{core} org.apache.logging.log4j.core 2.14.1"),
            format!("{shaded} g:one 1"),
            format!("{shaded} g:two 2"),
            format!("{shaded} shaded 9"),
            format!("{web} web"),
        ]
    };
    let boot = ["boot.jar g:boot 3", "boot.jar!/BOOT-INF/lib/log4j-1.2-api-2.14.1.jar log4j-1.2-api 2.14.1"];
    let deep = ["0.jar deep 0", "0.jar!/1.jar 1", "0.jar!/1.jar!/2.jar 2", "0.jar!/1.jar!/2.jar!/3.jar 3"];
    let deepest = "0.jar!/1.jar!/2.jar!/3.jar!/4.jar 4";
    let mut expected: Vec<String> = ["app.ear app".to_owned()].into();
    expected.extend(in_web("app.ear!/web.war").into_iter().chain(in_web("boot.jar!/BOOT-INF/lib/web.war")));
    expected.extend(boot.map(str::to_owned));
    expected.extend(deep.into_iter().chain([deepest]).map(|text| format!("deep-{text}")));
    expected.sort();
    assert_eq!(places, expected);
    let [unseen] = &found.unseen[..] else { panic!("{:?}", found.unseen) };
    assert!(unseen.ends_with("/3.jar!/4.jar!/5.jar: archives are looked into 4 deep"), "{unseen}");

    let (found, unseen) = jar(&zip(&[POM, ("web.war", ""), ("lib/LOG4J.JAR", ""), ("a.rar", ""), ("e.ear", "")]));
    assert_eq!((found, unseen.len()), (vec!["g:a 1".to_owned()], 4));
    assert!(unseen[1].ends_with("x.jar!/lib/LOG4J.JAR: it is no zip archive"), "{unseen:?}");
    let (found, unseen) = jar(&zip(&[("META-INF/maven/x/y/pom.properties", "version=1\n"), POM]));
    assert_eq!(found, ["g:a 1"]);
    assert!(unseen[0].ends_with("y/pom.properties has no groupId, artifactId or version"), "{unseen:?}");
}

#[test]
fn archives_in_a_jar_are_limited() {
    let inner = zip(&[POM]);
    let inner = std::str::from_utf8(&inner).unwrap();
    let (found, unseen) = jar(&zip(&vec![("i.jar", inner); 10_003]));
    assert_eq!(found.len(), 10_001, "the outer one has no version");
    let [unseen] = &unseen[..] else { panic!("{}", unseen.len()) };
    let expected = "x.jar: 10000 archives inside of the file were looked into, and 3 of its own not";
    assert!(unseen.ends_with(expected), "{unseen}");

    let change = |at: usize, bytes: [u8; 4], method: u8| {
        let mut changed = zip(&[("i.jar", inner), ("j.jar", inner)]);
        // The inner ones have such marks too.
        let header = memchr::memmem::rfind_iter(&changed, b"PK\x01\x02").nth(1).unwrap();
        changed[header + at..header + at + 4].copy_from_slice(&bytes);
        changed[header + 10] = method;
        jar(&changed)
    };
    let flags = [0, 0, 1, 0];
    for (at, bytes, method, reason) in [
        (24, (300_u32 << 20).to_le_bytes(), 8, "it has 314572800 bytes, of which 268435456 would be read"),
        (20, u32::MAX.to_le_bytes(), 0, "unexpected end of file"),
        (42, u32::MAX.to_le_bytes(), 0, "unexpected end of file"),
        (6, flags, 0, "it is encrypted"),
        (24, 7_u32.to_le_bytes(), 9, "it is compressed by method 9, which is not read"),
    ] {
        let (found, unseen) = change(at, bytes, method);
        assert_eq!(found, ["g:a 1", "x "], "{reason}");
        assert!(unseen.len() == 1 && unseen[0].ends_with(&format!("x.jar!/i.jar: {reason}")), "{unseen:?}");
    }
    // A bomb says that it is small.
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
import io, struct, sys, zipfile
out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
    made.writestr("i.jar", b"0" * 10_000_000)
data = bytearray(out.getvalue())
at = data.find(b"PK\x01\x02") + 24
data[at:at + 4] = struct.pack("<I", 100)
open(sys.argv[1] + "/x.jar", "wb").write(data)
"#;
    run(Command::new("python3").args(["-c", script]).arg(directory.path()));
    let (_, unseen) = found_in(directory.path(), Kind::Java);
    assert!(unseen[0].ends_with("it does not have the size that the directory says"), "{unseen:?}");
}

#[test]
fn names_and_versions_in_the_names_of_jars_are_told_apart() {
    let plain = zip(&[("x", "y")]);
    for (name, expected) in [
        ("log4j-core-2.14.1", "log4j-core 2.14.1"),
        ("log4j-1.2-api-2.14.1", "log4j-1.2-api 2.14.1"),
        ("guava-31.1-jre", "guava 31.1-jre"),
        ("a-2.0-beta-9", "a 2.0-beta-9"),
        ("a-1.0-rc1-2", "a 1.0-rc1-2"),
        ("a-1.0-20240101.123456-7", "a 1.0-20240101.123456-7"),
        ("rt", "rt"),
        ("-1", "-1"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(format!("{name}.jar")), &plain).unwrap();
        let (found, unseen) = found_in(directory.path(), Kind::Java);
        assert_eq!((found[0].trim_end(), found.len(), unseen.len()), (expected, 1, 0));
    }
}

#[test]
fn a_jar_of_more_than_65535_files_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/x.jar", "w") as made:
    for number in range(66_000):
        made.writestr("%d" % number, "")
    made.writestr("META-INF/maven/g/a/pom.properties", "groupId=g\nartifactId=a\nversion=1\n")
"#;
    run(Command::new("python3").args(["-c", script]).arg(directory.path()));
    assert_eq!(found_in(directory.path(), Kind::Java), (vec!["g:a 1".to_owned()], vec![]));
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
