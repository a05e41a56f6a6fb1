mod rpm_formats;

use super::*;
use std::fs;
use std::process::Command;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(root: &Path, kind: Kind) -> Found {
    installed_of(root, &[kind])
}

fn installed_of(root: &Path, kinds: &[Kind]) -> Found {
    let mut gathered = Gathered { found: Found::default(), is_over: || false };
    installed(root, kinds, &mut gathered);
    gathered.found
}

/// What was found, as short texts.
fn texts(found: &Found) -> Vec<String> {
    let text = |package: &Package| {
        let Package { name, version, arch, source, status, .. } = package;
        format!("{name} {version} {arch} {source} {status}").trim_end().to_owned()
    };
    let mut texts: Vec<String> = found.packages.iter().map(text).collect();
    texts.sort();
    texts
}

#[test]
fn packages_of_dpkg_are_read_with_their_states_and_what_a_running_dpkg_has_added() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let status = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nSource: src (1.0)\nVersion: 1.0-1\n\
        Description: x\n Version: 9\n\nPackage: held\nStatus: hold ok installed\nArchitecture: all\nVersion: 2\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\n\n\
        Package: half\nStatus: install ok half-configured\nArchitecture: all\nVersion: 4\n\n\
        Package: c\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5\n";
    write(root, "var/lib/dpkg/status", status);
    let found = read(root, Kind::Dpkg);
    let expected = ["a 1.0-1 amd64 src", "c 5 amd64 c", "half 4 all half half-configured", "held 2 all held"];
    assert_eq!((texts(&found), &found.unseen), (expected.map(str::to_owned).to_vec(), &vec![]));

    let update = "Package: c\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 5\n";
    write(root, "var/lib/dpkg/updates/0001", update);
    write(root, "var/lib/dpkg/updates/tmp.i", "broken");
    write(root, "var/lib/dpkg/status.d/tzdata", "Package: tzdata\nArchitecture: all\nVersion: 2024a\n");
    write(root, "var/lib/dpkg/status.d/tzdata.md5sums", "0 x\n");
    let found = read(root, Kind::Dpkg);
    let expected =
        ["a 1.0-1 amd64 src", "half 4 all half half-configured", "held 2 all held", "tzdata 2024a all tzdata"];
    assert_eq!((texts(&found), &found.unseen), (expected.map(str::to_owned).to_vec(), &vec![]));
}

#[test]
fn a_database_of_dpkg_that_is_broken_is_said_so_and_the_rest_is_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (status, packages, reason) in [
        ("", 0, "it is empty"),
        ("Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nVersion", 1, "middle of a line"),
        (
            "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n",
            1,
            "of a, ahead of line 3, is broken",
        ),
        ("Package: a\nVersion: 1\n", 0, "what it says of a"),
        ("rubbish\n", 0, "what it says of a package"),
    ] {
        write(root, "var/lib/dpkg/status", status);
        let found = read(root, Kind::Dpkg);
        assert_eq!(found.packages.len(), packages, "{status}");
        assert!(found.unseen.iter().any(|text| text.contains(reason)), "{status} {:?}", found.unseen);
    }
    fs::remove_file(root.join("var/lib/dpkg/status")).unwrap();
    assert!(read(root, Kind::Dpkg).unseen[0].contains("No such file"));
    rustix::fs::mknodat(rustix::fs::CWD, root.join("var/lib/dpkg/status"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(read(root, Kind::Dpkg).unseen[0].contains("not a regular file"));
}

#[test]
fn a_machine_without_a_database_is_not_a_machine_without_packages() {
    let root = tempfile::tempdir().unwrap();
    let found = installed_of(root.path(), &Kind::ALL);
    assert_eq!(found.unseen, ["no database of packages was found; looked for those of dpkg, rpm, apk, pacman"]);
}

#[test]
fn packages_of_apk_are_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let text = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nF:lib\nR:ld\n\nP:ssl_client\nV:1.36.1-r5\nA:x86_64\no:busybox\n\n";
    write(root, "lib/apk/db/installed", text);
    let found = read(root, Kind::Apk);
    assert_eq!(texts(&found), ["musl 1.2.4-r2 x86_64 musl", "ssl_client 1.36.1-r5 x86_64 busybox"]);
    assert_eq!(found.unseen, [""; 0]);
    write(root, "lib/apk/db/installed", &text[..text.len() - 30]);
    let found = read(root, Kind::Apk);
    assert!(found.unseen[0].contains("in the middle of a line"), "{:?}", found.unseen);
    write(root, "lib/apk/db/installed", "P:a\n\nP:b\nV:1\n\n");
    let found = read(root, Kind::Apk);
    assert_eq!(found.packages.len(), 1);
    assert!(found.unseen[0].contains("has no name or no version"), "{:?}", found.unseen);
}

#[test]
fn packages_of_pacman_are_read_and_a_lock_is_named() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(root, "var/lib/pacman/local/ALPM_DB_VERSION", "9\n");
    let text = "%NAME%\nopenssl\n\n%VERSION%\n3.1.4-1\n\n%BASE%\nopenssl\n\n%ARCH%\nx86_64\n\n";
    write(root, "var/lib/pacman/local/openssl-3.1.4-1/desc", text);
    let found = read(root, Kind::Pacman);
    assert_eq!((texts(&found), &found.unseen), (vec!["openssl 3.1.4-1 x86_64 openssl".to_owned()], &vec![]));
    write(root, "var/lib/pacman/db.lck", "");
    fs::create_dir(root.join("var/lib/pacman/local/zlib-1-1")).unwrap();
    let found = read(root, Kind::Pacman);
    assert_eq!(found.packages.len(), 1);
    assert!(found.unseen[0].contains("db.lck exists"));
    assert!(found.unseen[1].contains("zlib-1-1/desc: No such file"));
}

/// Builds packages and installs them into a database of rpm below `root`.
fn rpm(root: &Path, packages: &[(&str, &str, &str)]) {
    let build = tempfile::tempdir().unwrap();
    let run = |command: &mut Command| {
        let output = command.env("HOME", build.path()).output().expect("package rpm");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for (name, epoch, version) in packages {
        let spec = build.path().join(format!("{name}.spec"));
        let epoch = if epoch.is_empty() { String::new() } else { format!("Epoch: {epoch}\n") };
        // So long that its header goes on on other pages.
        let provides: String = (0..400).map(|n| format!("Provides: a-long-name-that-fills-pages({n})\n")).collect();
        let text = format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\n{epoch}{provides}Summary: x\nLicense: x\nBuildArch: noarch\n\
             %description\nx\n%files\n"
        );
        fs::write(&spec, text).unwrap();
        let define = format!("_topdir {}", build.path().display());
        run(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &define]).arg(&spec));
        let file = build.path().join(format!("RPMS/noarch/{name}-{version}-1.noarch.rpm"));
        let database = root.join("var/lib/rpm");
        run(Command::new("rpm").args(["-i", "--justdb", "--nodeps", "--dbpath"]).arg(database).arg(file));
    }
}

#[test]
fn packages_of_rpm_are_read_as_rpm_lists_them() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    rpm(root, &[("one", "", "1.0~rc1"), ("two", "3", "2.0^git1"), ("three", "0", "3.0")]);
    let database = root.join("var/lib/rpm");
    let found = read(root, Kind::Rpm);
    let expected = ["one 1.0~rc1-1 noarch one", "three 0:3.0-1 noarch three", "two 3:2.0^git1-1 noarch two"];
    assert_eq!((texts(&found), &found.unseen), (expected.map(str::to_owned).to_vec(), &vec![]));
    let listed = Command::new("rpm").arg("-qa").arg("--dbpath").arg(&database).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 3);

    // A torn write, and one that is no database.
    let file = database.join("rpmdb.sqlite");
    let bytes = fs::read(&file).unwrap();
    let _ = fs::remove_file(database.join("rpmdb.sqlite-wal"));
    for broken in [&bytes[..bytes.len() / 2], &bytes[..10], b"rubbish"] {
        fs::write(&file, broken).unwrap();
        let found = read(root, Kind::Rpm);
        assert!(found.unseen[0].contains("rpmdb.sqlite: "), "{:?}", found.unseen);
    }
}

#[test]
fn packages_of_rpm_that_were_read_before_an_error_are_found() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    rpm(root, &[("one", "", "1.0"), ("two", "", "2.0"), ("three", "", "3.0")]);
    let file = root.join("var/lib/rpm/rpmdb.sqlite");
    rusqlite::Connection::open(&file).unwrap().execute_batch("VACUUM").unwrap();
    let bytes = fs::read(&file).unwrap();
    let _ = fs::remove_file(root.join("var/lib/rpm/rpmdb.sqlite-wal"));
    let mut counts: Vec<usize> = Vec::new();
    for page in 2..bytes.len() / 4096 {
        let mut broken = bytes.clone();
        broken[page * 4096..(page + 1) * 4096].fill(0xff);
        fs::write(&file, broken).unwrap();
        let found = read(root, Kind::Rpm);
        if !found.unseen.is_empty() {
            counts.push(found.packages.len());
        }
    }
    assert!(counts.contains(&1) || counts.contains(&2), "{counts:?}");
}

#[test]
fn what_is_only_in_the_log_of_a_database_of_rpm_is_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    rpm(root, &[("one", "", "1.0")]);
    let file = root.join("var/lib/rpm/rpmdb.sqlite");
    // A connection that stays open keeps the log, with what it has committed and what it has not.
    let connection = rusqlite::Connection::open(&file).unwrap();
    let _: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    let before = fs::metadata(&file).unwrap().len();
    connection.execute_batch("INSERT INTO Packages (blob) SELECT blob FROM Packages").unwrap();
    assert!(fs::metadata(root.join("var/lib/rpm/rpmdb.sqlite-wal")).unwrap().len() > 0);
    let found = read(root, Kind::Rpm);
    assert_eq!((found.packages.len(), &found.unseen), (2, &vec![]));
    connection
        .execute_batch("PRAGMA cache_size = 1; BEGIN; INSERT INTO Packages (blob) SELECT blob FROM Packages")
        .unwrap();
    let found = read(root, Kind::Rpm);
    assert_eq!(found.packages.len(), 2, "of a change that is not committed nothing is read");
    assert_eq!(fs::metadata(&file).unwrap().len(), before);
}

#[test]
fn a_database_of_rpm_whose_change_has_not_ended_is_said_so() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    rpm(root, &[("one", "", "1.0")]);
    let file = root.join("var/lib/rpm/rpmdb.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    let _: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).unwrap();
    assert_eq!(read(root, Kind::Rpm).unseen, [""; 0]);
    // Its journal is as after a crash, and some pages are already in the file.
    let change = "PRAGMA cache_size = 1; BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
                  INSERT INTO Packages (blob) SELECT blob FROM n, Packages";
    connection.execute_batch(change).unwrap();
    let found = read(root, Kind::Rpm);
    let [unseen] = &found.unseen[..] else { panic!("{:?}", found.unseen) };
    assert!(unseen.contains("rpmdb.sqlite: a change of it has begun and not ended"), "{unseen}");
}

#[test]
fn bytes_of_a_database_of_rpm_that_were_changed_never_make_it_panic() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    rpm(root, &[("one", "", "1.0")]);
    let file = root.join("var/lib/rpm/rpmdb.sqlite");
    let bytes = fs::read(&file).unwrap();
    for seed in 0..400_usize {
        let mut changed = bytes.clone();
        for step in 0..8 {
            let at = (seed * 7_919 + step * 104_729) % if seed % 2 == 0 { 4096 } else { changed.len() };
            changed[at] = (seed * 31 + step * 17) as u8;
        }
        fs::write(&file, changed).unwrap();
        read(root, Kind::Rpm);
    }
}
