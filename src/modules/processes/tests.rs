//! Processes that the tests start.

use super::*;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[test]
fn a_process_is_read_and_not_mistaken_for_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a) b (c");
    crate::modules::copy_program("/bin/sleep", &path);
    let file = File::open("/etc/passwd").unwrap();
    let mut command = Command::new(&path);
    let mut child = crate::modules::start(command.arg0("other").arg("60").stdin(Stdio::from(file)));
    let processes = Processes::open().unwrap();
    let pid = child.id().cast_signed();
    assert!(processes.ids().unwrap().contains(&pid));
    let process = processes.process(pid).unwrap();
    let stat = process.stat().unwrap();
    assert_eq!((stat.name.as_slice(), stat.parent), (b"a) b (c".as_slice(), std::process::id().cast_signed()));
    assert!(stat.started_ticks > 0 && !stat.is_kernel);
    assert_eq!(process.read("cmdline", 100).unwrap(), b"other\x0060\0");
    assert_eq!(process.link("exe").unwrap(), path.canonicalize().unwrap());
    assert!(process.descriptors().unwrap().list.contains(&(0, PathBuf::from("/etc/passwd"))));
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(has_ended(&process.stat().unwrap_err()));
    assert!(has_ended(&process.descriptors().unwrap_err()));
    assert!(has_ended(&processes.process(pid).unwrap_err()));
}

#[test]
fn a_program_without_a_name_is_known_by_what_it_is_and_not_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open().unwrap();
    let started = |path: &std::path::Path| {
        let child = Command::new(path).arg("60").spawn().unwrap();
        let process = processes.process(child.id().cast_signed()).unwrap();
        (child, process)
    };
    let mut memfd = File::from(rustix::fs::memfd_create("x y", rustix::fs::MemfdFlags::empty()).unwrap());
    io::copy(&mut File::open("/bin/sleep").unwrap(), &mut memfd).unwrap();
    let memfd = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memfd.as_raw_fd()));
    let [plain, marked] = ["plain", "marked (deleted)"].map(|name| directory.path().join(name));
    for path in [&plain, &marked] {
        crate::modules::copy_program("/bin/sleep", path);
    }
    let path = |path: &std::path::Path| path.canonicalize().unwrap();
    let (plain_path, marked_path) = (path(&plain), path(&marked));
    let mut children = [started(&plain), started(&marked), started(&memfd)];
    let found = |process: &Process| {
        let Executable { path, is_deleted, is_memfd } = process.executable().unwrap().unwrap();
        (path, is_deleted, is_memfd)
    };
    assert_eq!(found(&children[0].1), (plain_path.clone(), false, false));
    assert_eq!(found(&children[1].1), (marked_path.clone(), false, false));
    assert_eq!(found(&children[2].1), ("/memfd:x y".into(), true, true));
    crate::modules::copy_program("/bin/true", directory.path().join("other"));
    std::fs::rename(directory.path().join("other"), &plain).unwrap();
    std::fs::remove_file(&marked).unwrap();
    assert_eq!(found(&children[0].1), (plain_path, true, false));
    assert_eq!(found(&children[1].1), (marked_path, true, false));
    for (child, _) in &mut children {
        child.kill().and_then(|()| child.wait()).unwrap();
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_is_seen_through_another_one() {
    // exit(2) ends one thread only.
    let program =
        r#"use threads; $| = 1; $t = async { sleep 1 while 1 }; print "ready\n"; require "syscall.ph"; syscall(60, 0)"#;
    let program = if cfg!(target_arch = "x86_64") { program.to_owned() } else { program.replace("60", "93") };
    let program = program.replace(r#"require "syscall.ph"; "#, "");
    let file = File::open("/etc/passwd").unwrap();
    let mut command = Command::new("/usr/bin/perl");
    let mut child = command.args(["-e", &program]).stdin(Stdio::from(file)).stdout(Stdio::null()).spawn().unwrap();
    let processes = Processes::open().unwrap();
    let pid = child.id().cast_signed();
    while processes.process(pid).unwrap().stat().unwrap().state != 'Z' {
        std::thread::yield_now();
    }
    let process = processes.process(pid).unwrap();
    let executable = process.executable().unwrap().unwrap();
    assert_eq!(executable.path, std::fs::canonicalize("/usr/bin/perl").unwrap());
    assert!(process.descriptors().unwrap().list.contains(&(0, PathBuf::from("/etc/passwd"))));
    assert!(!process.regions(&mut || false).unwrap().list.is_empty() && processes.has_memory(&process));
    let name = process.stat().unwrap().name;
    assert_eq!(
        (name.as_slice(), process.read("cmdline", 13).unwrap().as_slice()),
        (&b"perl"[..], &b"/usr/bin/perl"[..])
    );
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(has_ended(&process.executable().unwrap_err()) && !processes.has_memory(&process));
}

#[test]
fn a_path_that_is_too_long_hides_no_other_open_file() {
    let directory = tempfile::tempdir().unwrap();
    // Each one is opened in the one before: as a whole no path is that long.
    let mut deepest = open(CWD, directory.path().to_str().unwrap(), OFlags::DIRECTORY).unwrap();
    for _ in 0..20 {
        let name = "d".repeat(250);
        rustix::fs::mkdirat(&deepest, name.as_str(), Mode::RWXU).unwrap();
        deepest = open(&deepest, &name, OFlags::DIRECTORY).unwrap();
    }
    let mut command = Command::new("sleep");
    let file = File::open("/etc/passwd").unwrap();
    let mut child = command.arg("60").stdin(deepest).stdout(Stdio::from(file)).spawn().unwrap();
    let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
    let found = process.descriptors().unwrap();
    assert!(found.list.contains(&(1, PathBuf::from("/etc/passwd"))), "{found:?}");
    assert_eq!(Errno::from_io_error(&found.error.unwrap()), Some(Errno::NAMETOOLONG));
    child.kill().and_then(|()| child.wait()).unwrap();
}

#[test]
fn a_stat_is_read_whatever_the_name_is() {
    let line = b"7 (\xff) R 1 ()) S 3 7 7 0 -1 2129984 0 0 0 0 1 2 3 4 20 0 1 0 99 5 6 7";
    let stat = Stat::parse(line).unwrap();
    assert_eq!(stat.name, b"\xff) R 1 ()");
    assert_eq!((stat.state, stat.parent, stat.is_kernel, stat.started_ticks), ('S', 3, true, 99));
    for broken in
        [&b""[..], b"7 (a", b"7 a) S 1", b"7 (a) S", b")(", b"7 (a) S x 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99"]
    {
        assert_eq!(Stat::parse(broken), None, "{broken:?}");
    }
}

#[test]
fn a_name_is_not_looked_for_through_a_link_that_was_put_in_its_way() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let [own, other] = ["own", "other"].map(|name| root.join(name));
    std::fs::create_dir(&own).and_then(|()| std::fs::create_dir(&other)).unwrap();
    crate::modules::copy_program("/bin/sleep", own.join("program"));
    std::fs::hard_link(own.join("program"), other.join("program (deleted)")).unwrap();
    let mut child = crate::modules::start(Command::new(own.join("program")).arg("60"));
    std::fs::remove_file(own.join("program")).and_then(|()| std::fs::remove_dir(&own)).unwrap();
    std::os::unix::fs::symlink(&other, &own).unwrap();
    let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
    let executable = process.executable().unwrap().unwrap();
    assert_eq!((executable.path, executable.is_deleted), (own.join("program"), true));
    child.kill().and_then(|()| child.wait()).unwrap();
}

#[test]
fn a_thread_with_descriptors_of_its_own_hides_no_file() {
    let program = r#"
import ctypes, sys, threading
def work():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    file = open("/etc/hostname")
    print("ready", flush=True)
    sys.stdin.read()
threading.Thread(target=work).start()
"#;
    let mut command = Command::new("python3");
    let mut child = command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let process = Processes::open().unwrap().process(child.id().cast_signed()).unwrap();
    let file = PathBuf::from("/etc/hostname");
    assert!(!process.descriptors().unwrap().list.iter().any(|(_, path)| *path == file));
    assert!(process.count_descriptors().unwrap() >= 6, "three of two threads");
    let (paths, error) = process.open_files(&|| false).unwrap();
    assert!(paths.contains(&file) && error.is_none(), "{paths:?} {error:?}");
    assert!(process.open_files(&|| true).unwrap().1.is_some(), "there was no time for the other thread");
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_process_without_memory_has_ended_and_is_none_of_which_everything_was_seen() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let processes = Processes::open().unwrap();
    let pid = child.id().cast_signed();
    child.kill().unwrap();
    while processes.process(pid).unwrap().stat().unwrap().state != 'Z' {
        std::thread::yield_now();
    }
    assert!(has_ended(&processes.process(pid).unwrap().regions(&mut || false).unwrap_err()));
    child.wait().unwrap();
}
