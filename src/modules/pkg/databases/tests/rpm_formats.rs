//! The older formats of rpm's database, made of headers that rpm wrote: Berkeley DB's by its own tool, and read by rpm too.

use super::*;
use crate::modules::pkg::databases::ndb::sum;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

/// What the headers of [`headers`] are.
const PACKAGES: [&str; 2] = ["one 1.0~rc1-1 noarch one", "two 3:2.0-1 noarch two"];

/// Headers that rpm wrote.
fn headers() -> Vec<Vec<u8>> {
    let root = tempfile::tempdir().unwrap();
    rpm(root.path(), &[("one", "", "1.0~rc1"), ("two", "3", "2.0")]);
    let database = rusqlite::Connection::open(root.path().join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    let mut statement = database.prepare("SELECT blob FROM Packages ORDER BY hnum").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn root_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("var/lib/rpm")).unwrap();
    fs::write(root.path().join("var/lib/rpm").join(name), bytes).unwrap();
    root
}

/// A hash file that Berkeley DB's own tool makes; `settings` are lines of its input.
fn berkeley(headers: &[Vec<u8>], is_big: bool, settings: &str) -> Vec<u8> {
    let number = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
    let line = |bytes: &[u8]| format!(" {}\n", crate::hex::encode(bytes));
    let order = if is_big { 4321 } else { 1234 };
    let mut text = format!("VERSION=3\nformat=bytevalue\ntype=hash\ndb_lorder={order}\n{settings}HEADER=END\n");
    text += &[line(&number(0)), line(&number(headers.len() as u32))].concat();
    for (header, index) in headers.iter().zip(1..) {
        text += &[line(&number(index)), line(header)].concat();
    }
    text += "DATA=END\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Packages");
    let mut load = Command::new("db5.3_load").arg(&path).stdin(Stdio::piped()).spawn().expect("package db5.3-util");
    load.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(load.wait().unwrap().success());
    fs::read(path).unwrap()
}

/// A file as rpm's own format has it, with a free slot between those in use.
fn ndb(headers: &[Vec<u8>]) -> Vec<u8> {
    let word = |number: usize| (number as u32).to_le_bytes();
    let pages = (2 + 2 * headers.len()).div_ceil(256);
    let mut file = [&b"RpmP"[..], &word(0), &word(1), &word(pages), &word(headers.len() + 1), &[0; 12]].concat();
    let mut blobs = Vec::new();
    for (header, index) in headers.iter().zip(1..) {
        let mut blob = [&b"BlbS"[..], &word(index), &word(7), &word(header.len()), header].concat();
        blob.resize((blob.len() + 12).next_multiple_of(16) - 12, 0);
        blob.extend([sum(&blob).to_le_bytes(), word(header.len()), *b"BlbE"].concat());
        let block = (pages * 4096 + blobs.len()) / 16;
        file.extend([&b"Slot"[..], &[0; 12], b"Slot", &word(index), &word(block), &word(blob.len() / 16)].concat());
        blobs.extend(blob);
    }
    while file.len() < pages * 4096 {
        file.extend([&b"Slot"[..], &[0; 12]].concat());
    }
    [file, blobs].concat()
}

#[test]
fn packages_in_a_hash_file_of_berkeley_db_are_those_that_rpm_lists() {
    let headers = headers();
    let many: Vec<Vec<u8>> = headers.iter().cycle().take(300).cloned().collect();
    for (settings, is_big, headers) in [
        ("", false, &headers),
        ("", true, &headers),
        // All on other pages, in buckets of several pages; then on the pages of the buckets.
        ("db_pagesize=512\nh_ffactor=100\n", false, &many),
        ("db_pagesize=65536\n", true, &many),
        ("db_pagesize=65536\n", false, &many),
    ] {
        let root = root_with("Packages", &berkeley(headers, is_big, settings));
        let found = read(root.path(), Kind::Rpm);
        assert_eq!((found.packages.len(), &found.unseen), (headers.len(), &vec![]), "{settings} {is_big}");
        let mut names = texts(&found);
        names.dedup();
        assert_eq!(names, PACKAGES);
        let mut query = Command::new("rpm");
        let listed = query.arg("-qa").arg("--dbpath").arg(root.path().join("var/lib/rpm")).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), headers.len(), "{settings} {is_big}");
    }
    // Buckets that were never used, for keys that were expected, and are counted.
    let file = berkeley(&headers, false, "h_nelem=10000\nh_ffactor=10\n");
    let found = read(root_with("Packages", &file).path(), Kind::Rpm);
    assert_eq!((texts(&found).len(), found.unseen.len()), (2, 1));
    assert!(found.unseen[0].ends_with("it says that it has 10003 keys, and 3 were found; packages may be missing"));
}

#[test]
fn packages_in_a_database_of_ndb_are_read() {
    let headers = headers();
    let many: Vec<Vec<u8>> = headers.iter().cycle().take(300).cloned().collect();
    for headers in [&headers, &many] {
        let found = read(root_with("Packages.db", &ndb(headers)).path(), Kind::Rpm);
        assert_eq!((found.packages.len(), &found.unseen), (headers.len(), &vec![]));
        let mut names = texts(&found);
        names.dedup();
        assert_eq!(names, PACKAGES);
    }
}

/// What is found in a file whose bytes `at` were changed.
fn changed(name: &str, file: &[u8], at: usize, bytes: &[u8]) -> Found {
    let mut changed = file.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    read(root_with(name, &changed).path(), Kind::Rpm)
}

#[test]
fn a_hash_file_of_berkeley_db_that_is_broken_is_said_so() {
    let file = berkeley(&headers(), false, "");
    let number = |number: u32| number.to_le_bytes();
    let page = |kind: u8| (1..file.len() / 4096).map(|page| page * 4096).find(|at| file[at + 25] == kind).unwrap();
    let (bucket, value) = (page(13), page(7));
    for (at, bytes, reason) in [
        (12, number(7), "it is no hash file of Berkeley DB"),
        (16, number(7), "version 7 of Berkeley DB's hash files is not read"),
        (20, number(0), "its pages have 0 bytes"),
        (20, number(1 << 31), "its pages have 2147483648 bytes"),
        (20, number(4097), "its pages have 4097 bytes"),
        (24, [1, 8, 0, 0], "it is encrypted"),
        (24, [0, 8, 1, 0], "has sums"),
        (72, number(u32::MAX), "it has 4294967295 buckets on"),
        (72, number(0), "it says that it has 3 keys, and "),
        (88, number(4), "it says that it has 4 keys, and 3 were found; packages may be missing"),
        // A bucket that leads to itself, and to a page that is not there.
        (bucket + 16, number((bucket / 4096) as u32), "a page belongs to two chains"),
        (bucket + 16, number(1 << 30), "it has no page 1073741824"),
        (bucket + 24, [0, 14, 0, 0], "is of type 14"),
        (bucket + 20, [0xff, 0xff, 0xff, 0xff], "of its entries could not be read"),
        // A value that leads to itself, and one whose part is longer than all of it.
        (value + 16, number((value / 4096) as u32), "of its entries could not be read"),
        (value + 20, [0, 0, 0xff, 0xff], "has no part of a value"),
        (value + 20, [0, 0, 0, 0], "has no part of a value"),
    ] {
        let found = changed("Packages", &file, at, &bytes);
        assert!(found.unseen.iter().any(|text| text.contains(reason)), "{reason}: {:?}", found.unseen);
    }
    let found = read(root_with("Packages", &file[..file.len() - 4096]).path(), Kind::Rpm);
    assert!(found.packages.len() < 2 && !found.unseen.is_empty(), "{:?}", found.unseen);
    assert!(read(root_with("Packages", b"").path(), Kind::Rpm).unseen[0].contains("no hash file"));
}

#[test]
fn a_database_of_ndb_that_is_broken_is_said_so_and_the_rest_is_read() {
    let file = ndb(&headers());
    let number = |number: u32| number.to_le_bytes();
    // The second slots of each package; the first is free.
    let (one, two) = (32 + 16, 32 + 48);
    for (at, bytes, packages, reason) in [
        (0, number(7), 0, "it is no database of rpm's NDB"),
        (4, number(1), 0, "version 1 of NDB is not read"),
        (12, number(0), 0, "it has 0 pages of slots"),
        (12, number(u32::MAX), 0, "it has 4294967295 pages of slots"),
        (one, number(0), 1, "a slot has no mark"),
        (one + 4, number(9), 1, "package 9: what its slot leads to is broken"),
        (one + 8, number(0), 1, "package 1: its slot leads nowhere"),
        (one + 8, number(1 << 30), 1, "package 1: failed to fill whole buffer"),
        (one + 12, number(1), 1, "package 1: what its slot leads to is broken"),
        (one + 12, number(0), 1, "package 1: what its slot leads to is broken"),
        (one + 12, number(u32::MAX), 1, "more than 67108864"),
        (two + 8, file[one + 8..one + 12].try_into().unwrap(), 1, "package 2: "),
        (4096 + 100, number(0xffff_ffff), 1, "package 1: its sum is wrong"),
        (4096 + 12, number(u32::MAX), 1, "package 1: what its slot leads to is broken"),
    ] {
        let found = changed("Packages.db", &file, at, &bytes);
        assert_eq!(found.packages.len(), packages, "{reason}");
        assert!(found.unseen.iter().any(|text| text.contains(reason)), "{reason}: {:?}", found.unseen);
    }
    let many = ndb(&vec![headers().remove(0); 200]);
    // Each of them leads to the same.
    let mut same = many.clone();
    for slot in 2..200 {
        same.copy_within(48..64, 16 + slot * 32);
    }
    let found = read(root_with("Packages.db", &same[..same.len() / 2]).path(), Kind::Rpm);
    assert!(found.packages.len() <= 100 && found.unseen[0].contains("it lies in other ones"), "{:?}", found.unseen);
}

#[test]
fn no_byte_that_changes_hides_a_package_silently() {
    let headers = headers();
    for (name, file) in [
        ("Packages", berkeley(&headers, false, "")),
        ("Packages", berkeley(&headers, true, "db_pagesize=65536\n")),
        ("Packages.db", ndb(&headers)),
    ] {
        let root = root_with(name, &file);
        let path = fs::File::options().write(true).open(root.path().join("var/lib/rpm").join(name)).unwrap();
        // What is said of pages, slots and values, and some of all others.
        let places = (0..file.len()).filter(|at| at % 4096 < 128 || at % 97 == 0 || at % 4096 > 4080);
        for (at, bits) in places.zip([1, 0x80, 0xff, 0x10].into_iter().cycle()) {
            path.write_all_at(&[file[at] ^ bits], at as u64).unwrap();
            let found = read(root.path(), Kind::Rpm);
            assert!(found.packages.len() == 2 || !found.unseen.is_empty(), "{name} {at}");
            path.write_all_at(&file[at..=at], at as u64).unwrap();
        }
    }
}

#[test]
fn of_several_formats_all_are_read_as_a_newer_one_may_not_be_in_use() {
    let headers = headers();
    let root = root_with("Packages", &berkeley(&headers[..1], false, ""));
    let place = root.path().join("var/lib/rpm");
    // The second is newer, and then has nothing, as `rpm --initdb` makes it.
    for (newer, expected) in [(&headers[1..], &PACKAGES[..]), (&[], &PACKAGES[..1])] {
        fs::write(place.join("Packages.db"), ndb(newer)).unwrap();
        let found = read(root.path(), Kind::Rpm);
        assert_eq!(texts(&found), expected);
        let [unseen] = &found.unseen[..] else { panic!("{:?}", found.unseen) };
        assert!(unseen.contains("Packages.db") && unseen.contains("not known which of them"), "{unseen}");
        let paths: Vec<_> = found.packages.iter().map(|package| package.path.clone().unwrap()).collect();
        let names = if newer.is_empty() { &["Packages"][..] } else { &["Packages.db", "Packages"] };
        assert_eq!(paths, names.iter().map(|name| place.join(name)).collect::<Vec<_>>());
    }
}

#[test]
fn a_database_of_rpm_that_is_being_changed_is_said_so() {
    let root = root_with("Packages.db", &ndb(&headers()));
    let place = root.path().join("var/lib/rpm");
    fs::write(place.join(".rpm.lock"), "").unwrap();
    assert_eq!(read(root.path(), Kind::Rpm).unseen, [""; 0]);
    let script = "import fcntl, sys\nlock = open(sys.argv[1], 'r+')\nfcntl.lockf(lock, fcntl.LOCK_EX)\n\
                  print('.', end='', flush=True)\nsys.stdin.read()";
    let mut holder = Command::new("python3");
    holder.args(["-c", script]).arg(place.join(".rpm.lock")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    holder.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let found = read(root.path(), Kind::Rpm);
    let expected = format!("process {} holds {}/.rpm.lock: packages are being changed", holder.id(), place.display());
    assert!(found.packages.len() == 2 && found.unseen[0].starts_with(&expected), "{:?}", found.unseen);
    drop(holder.stdin.take());
    holder.wait().unwrap();

    let file = fs::File::options().append(true).open(place.join("Packages.db")).unwrap();
    let is_over = || {
        (&file).write_all(&[0; 16]).unwrap();
        false
    };
    let mut gathered = Gathered { found: Found::default(), is_over };
    installed(root.path(), &[Kind::Rpm], &mut gathered);
    let Found { packages, unseen } = gathered.found;
    assert_eq!(packages.len(), 2);
    assert!(
        unseen[0].ends_with("Packages.db: it was changed while it was read; packages may be missing"),
        "{unseen:?}"
    );
}
