//! Files that are written to and stay open.

use super::*;
use std::io::{Read, Write};
use std::process::Stdio;

/// Two turns of marks: as if ten seconds were over.
fn turns(watcher: &mut Watcher) {
    watcher.read().unwrap();
    for _ in 0..2 {
        let marks = watcher.marks.turn(Instant::now());
        watcher.settle(marks, true);
    }
}

#[test]
fn a_file_that_stays_open_is_modified_once_for_many_writes() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let mut log = fs::File::create(top.join("log")).unwrap();
    let mut other = fs::File::create(top.join("other")).unwrap();
    let events = noticed(top, &json!({"paths": [top], "names": ["log"]}), |watcher| {
        for _ in 0..1_000 {
            log.write_all(b"line").unwrap();
            other.write_all(b"line").unwrap();
        }
        turns(watcher);
        assert_eq!(watcher.marks.due(), None);
    });
    assert_eq!(events, ["watching ", "modified /log"]);
    // A close reports it, and nothing else does.
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        log.write_all(b"line").unwrap();
        drop(log);
        turns(watcher);
    });
    assert_eq!(events, ["watching ", "modified /log"]);
}

#[test]
fn what_happens_to_the_name_of_an_open_file_tells_first_that_it_was_modified() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("d")).unwrap();
    let mut files = ["log", "gone", "over", "d/in"].map(|name| fs::File::create(top.join(name)).unwrap());
    fs::write(top.join("new"), "").unwrap();
    let events = noticed(top, &json!({"paths": [top.join("d"), top]}), |watcher| {
        files.iter_mut().for_each(|file| file.write_all(b"line").unwrap());
        fs::rename(top.join("log"), top.join("log.1")).unwrap();
        fs::remove_file(top.join("gone")).unwrap();
        fs::rename(top.join("new"), top.join("over")).unwrap();
        fs::rename(top.join("d"), tempfile::tempdir().unwrap().path()).unwrap();
        turns(watcher);
    });
    let place =
        |event: &str| events.iter().position(|one| one == event).unwrap_or_else(|| panic!("{event}: {events:?}"));
    for (first, then) in [
        ("modified /log", "moved /log.1"),
        ("modified /gone", "removed /gone"),
        ("modified /over", "moved /over"),
        ("modified /d/in", "removed /d"),
    ] {
        assert!(place(first) < place(then), "{events:?}");
    }
    assert_eq!(events.iter().filter(|event| event.starts_with("modified")).count(), 4, "{events:?}");
}

/// A program that runs to its end.
fn run(program: &str, arguments: &[&str], at: &Path) {
    assert!(std::process::Command::new(program).args(arguments).current_dir(at).status().unwrap().success());
}

#[test]
fn truncating_by_name_and_setting_times_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::create_dir(top.join("d")).unwrap();
    fs::write(top.join("file"), "text").unwrap();
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        run("perl", &["-e", "truncate('file', 1) or die"], top);
        turns(watcher);
        // The time of change alone, as one sets it back.
        run("touch", &["-c", "-m", "-d", "2001-01-01", "d"], top);
    });
    assert_eq!(fs::metadata(top.join("file")).unwrap().len(), 1);
    assert_eq!(events, ["watching ", "modified /file", "attributes /d"]);
}

#[test]
fn writing_through_a_mapping_is_noticed_when_the_mapping_ends() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    fs::write(top.join("file"), "text").unwrap();
    let script = "import mmap,sys\nfile=open('file','r+b')\nmapped=mmap.mmap(file.fileno(),4)\nfile.close()\nmapped[0:1]=b'x'\n\
        print(1,flush=True)\nsys.stdin.read()\nmapped.close()\n";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script]).current_dir(top).stdin(Stdio::piped()).stdout(Stdio::piped());
    let events = noticed(top, &json!({"paths": [top]}), |watcher| {
        let mut python = python.spawn().unwrap();
        python.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
        turns(watcher);
        assert!(python.wait().unwrap().success());
    });
    assert_eq!(events, ["watching ", "modified /file"]);
    assert_eq!(fs::read(top.join("file")).unwrap(), b"xext");
}
