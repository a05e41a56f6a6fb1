use super::stages::*;
use super::*;
use crate::id::CommandRef;
use crate::spool::stages::PREPARED;
use std::os::unix::fs::symlink;

struct Fixture {
    directory: tempfile::TempDir,
    mover: Mover,
}

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &SCHEDULER).unwrap();
        let mover = Mover::open(directory.path(), &SCHEDULER, "test").unwrap();
        Fixture { directory, mover }
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.directory.path().join(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(path)).unwrap_or_else(|e| format!("{e}"))
    }

    fn adopt(&self, entry: &Entry) -> Placed {
        self.mover.drafts().adopt(&[(entry, b"adopted".to_vec())]).unwrap().remove(0).unwrap()
    }

    fn apply(&self, steps: &[Step]) -> Vec<Placed> {
        self.mover.apply(steps).unwrap().into_iter().map(Result::unwrap).collect()
    }

    fn read(&self, file: &str) -> Entry {
        self.mover.spool().read(ACTION_NEW, &name(file), 100).unwrap().unwrap()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join(path)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

#[test]
fn a_file_appears_whole_and_nothing_is_overwritten() {
    let fixture = Fixture::new();
    let put = |text: &str| fixture.apply(&[Step::put(COMMAND_READY, name("1-2.json"), text.into())])[0];
    assert_eq!(put("one"), Placed::New);
    assert_eq!(put("one"), Placed::Same, "there already, with the same content: done");
    assert_eq!(put("two"), Placed::Taken);
    assert_eq!(fixture.text("command/ready/1-2.json"), "one");
    assert_eq!(fixture.names("tmp"), Vec::<String>::new(), "nothing is left in tmp");
}

#[test]
fn an_answer_takes_the_place_of_its_command() {
    let fixture = Fixture::new();
    fixture.write("command/inflight/1-2.json", "sent");
    let put = Step::put(COMMAND_RETURNED, name("1-2.json"), b"answer".to_vec());
    let clears = [COMMAND_READY, COMMAND_INFLIGHT].map(|stage| Step::clear(stage, &name("1-2.json")));
    let steps: Vec<Step> = [put].into_iter().chain(clears).collect();
    assert_eq!(fixture.apply(&steps)[0], Placed::New);
    assert_eq!(fixture.apply(&steps)[0], Placed::Same, "done again after a crash: nothing changes");
    assert_eq!(
        (fixture.names("command/inflight").len(), fixture.text("command/returned/1-2.json")),
        (0, "answer".into())
    );
}

#[test]
fn moves_are_idempotent_and_report_what_they_met() {
    let fixture = Fixture::new();
    for file in ["1-1", "1-2", "1-3"] {
        fixture.write(&format!("command/ready/{file}.json"), "x");
    }
    fixture.write("command/inflight/1-2.json", "x");
    fixture.write("command/inflight/1-3.json", "y");
    let moves = ["1-1.json", "1-2.json", "1-3.json", "1-4.json"]
        .map(|file| Step::forward(COMMAND_READY, &name(file), COMMAND_INFLIGHT));
    assert_eq!(fixture.apply(&moves), [Placed::New, Placed::Same, Placed::Taken, Placed::Gone]);
    assert_eq!(fixture.names("command/ready"), Vec::<String>::new(), "the first stays, the second is removed");
    assert_eq!(fixture.text("command/inflight/1-3.json"), "y");
}

#[test]
fn a_drop_that_was_exchanged_since_it_was_read_is_kept() {
    let fixture = Fixture::new();
    fixture.write("action/new/a.json", "read");
    let entry = fixture.read("a.json");
    // Another file takes its name, as mv does.
    fixture.write("action/new/.b", "newer");
    std::fs::rename(fixture.directory.path().join("action/new/.b"), fixture.directory.path().join("action/new/a.json"))
        .unwrap();
    assert_eq!(fixture.adopt(&entry), Placed::New);
    assert_eq!(fixture.text("action/new/a.json"), "adopted");
    assert_eq!(fixture.text("action/new/a~1.json"), "newer");
    // One that was taken away was withdrawn.
    std::fs::remove_file(fixture.directory.path().join("action/new/a.json")).unwrap();
    assert_eq!(fixture.adopt(&entry), Placed::Gone);
    assert_eq!(fixture.names("action/new"), ["a~1.json"]);
    assert_eq!(fixture.names("tmp"), Vec::<String>::new());
}

#[test]
fn a_process_that_holds_a_drop_open_cannot_change_the_adopted_file() {
    use std::io::Write;
    let fixture = Fixture::new();
    let mut held = std::fs::File::create(fixture.directory.path().join("action/new/a.json")).unwrap();
    held.write_all(b"signed").unwrap();
    let entry = fixture.read("a.json");
    fixture.mover.drafts().adopt(&[(&entry, entry.bytes.clone())]).unwrap();
    held.write_all(b" and more").unwrap();
    held.set_len(0).unwrap();
    assert_eq!(fixture.text("action/new/a.json"), "signed");
}

#[test]
fn prepared_commands_are_released_after_the_commit_point_only() {
    let fixture = Fixture::new();
    let commands = ["7-1.json", "7-2.json"].map(|name| CommandRef::from_file_name(name).unwrap());
    let prepare = |text: &str| {
        let drafts = fixture.mover.drafts();
        let mut preparation = drafts.prepare();
        commands.iter().for_each(|command| preparation.add(*command, text.as_bytes()).unwrap());
        preparation.finish().unwrap();
    };
    prepare("one");
    let prepared = || fixture.mover.spool().list(PREPARED).unwrap();
    assert_eq!(prepared(), commands.map(FileName::from));
    assert_eq!(fixture.names("command/ready").len(), 0);
    prepare("two");
    fixture.write("command/ready/7-1.json", "released before");
    let release = commands.map(|command| Step::forward(PREPARED, &command.into(), COMMAND_READY));
    assert_eq!(fixture.apply(&release), [Placed::Taken, Placed::New]);
    assert_eq!(fixture.apply(&release), [Placed::Gone, Placed::Gone]);
    assert_eq!(fixture.text("command/ready/7-1.json"), "released before");
    assert_eq!(fixture.text("command/ready/7-2.json"), "two");
    assert_eq!(prepared(), []);
    prepare("three");
    fixture.apply(&release.map(Step::undone));
    assert_eq!(fixture.names("tmp"), Vec::<String>::new());
}

#[test]
fn reading_meets_no_link_no_pipe_nothing_large_and_nothing_outside() {
    let fixture = Fixture::new();
    fixture.write("action/new/large.json", "12345");
    symlink("/etc/passwd", fixture.directory.path().join("action/new/link.json")).unwrap();
    std::fs::create_dir(fixture.directory.path().join("action/new/directory.json")).unwrap();
    let socket =
        std::os::unix::net::UnixListener::bind(fixture.directory.path().join("action/new/socket.json")).unwrap();
    for (file, reason) in [
        ("large.json", "has 5 bytes, the limit is 4"),
        ("link.json", "is a symbolic link; drop the file itself"),
        ("directory.json", "is a directory; drop a regular file"),
        ("socket.json", "is a socket, or a device that is missing; drop a regular file"),
    ] {
        let refused = fixture.mover.spool().read(ACTION_NEW, &name(file), 4).unwrap_err();
        assert_eq!(refused, Failure::Refuse(reason.into()), "{file}");
    }
    drop(socket);
    assert!(fixture.mover.spool().read(ACTION_NEW, &name("gone.json"), 4).unwrap().is_none());
    for path in ["../action/new/large.json", "a/b", "..", ".", "", "a\0b"] {
        assert!(FileName::new(path).is_none(), "{path}");
    }
}

#[test]
fn only_old_leftovers_of_this_worker_are_cleaned() {
    let fixture = Fixture::new();
    for file in ["test.1", "test.22", "tester.1", "other.1"] {
        fixture.write(&format!("tmp/{file}"), "x");
    }
    fixture.mover.recover().unwrap();
    assert_eq!(fixture.names("tmp"), ["other.1", "tester.1"]);
}

#[test]
fn age_counts_from_the_move_not_from_the_last_write() {
    let fixture = Fixture::new();
    fixture.write("command/returned/1-1.json", "x");
    let file =
        std::fs::File::options().write(true).open(fixture.directory.path().join("command/returned/1-1.json")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    fixture.apply(&[Step::forward(COMMAND_RETURNED, &name("1-1.json"), COMMAND_DONE)]);
    let hour = Duration::from_secs(3600);
    let now = crate::time::now();
    assert_eq!(fixture.mover.spool().older_than(COMMAND_DONE, hour, now).unwrap(), []);
    assert_eq!(
        fixture.mover.spool().older_than(COMMAND_DONE, hour, crate::time::after(now, 2 * hour)).unwrap(),
        [name("1-1.json")]
    );
}

#[test]
fn names_are_shown_on_one_line_and_sorted_bytewise() {
    let fixture = Fixture::new();
    for file in ["b.json", "a\nb.json", ".hidden.json", "notes.txt", "é.json"] {
        fixture.write(&format!("action/new/{file}"), "x");
    }
    let names: Vec<String> = fixture.mover.spool().list(ACTION_NEW).unwrap().iter().map(FileName::to_string).collect();
    assert_eq!(names, ["a\\nb.json", "b.json", "é.json"]);
}

#[test]
fn a_stage_on_another_file_system_is_refused() {
    let fixture = Fixture::new();
    let root = fixture.directory.path();
    std::fs::remove_dir(root.join("command/done")).unwrap();
    symlink("/proc/self", root.join("command/done")).unwrap();
    let error = Mover::open(root, &SCHEDULER, "test").err().unwrap();
    assert!(matches!(error, Failure::Refuse(_)) && error.to_string().contains("is not on the mount of"), "{error}");
    std::fs::remove_file(root.join("command/done")).unwrap();
    let error = Mover::open(root, &SCHEDULER, "test").err().unwrap().to_string();
    assert!(error.starts_with("open directory") && error.contains("command/done: it is missing; mount"), "{error}");
    std::fs::write(root.join("command/done"), "").unwrap();
    let error = Mover::open(root, &SCHEDULER, "test").err().unwrap();
    assert!(matches!(error, Failure::Refuse(_)) && error.to_string().contains("Not a directory"), "{error}");
}

/// Puts another directory in the place of one: returns what the spool did meanwhile.
fn replaced(fixture: &Fixture, stage: Stage, take_away: impl Fn(&Path)) -> Vec<Result<bool, Failure>> {
    let (spool, path) = (fixture.mover.spool(), fixture.directory.path().join(stage.path()));
    let touch = || {
        let put = Step::put(COMMAND_RETURNED, name("1-1.json"), b"x".to_vec());
        let moved = Step::forward(stage, &name("1-2.json"), COMMAND_RETURNED);
        vec![
            spool.has(stage, &name("1-2.json")),
            spool.read(stage, &name("1-2.json"), 9).map(|entry| entry.is_some()),
            spool.list(stage).map(|names| !names.is_empty()),
            spool.older_than(stage, Duration::ZERO, crate::time::now()).map(|names| !names.is_empty()),
            fixture.mover.apply(&[put, moved, Step::clear(stage, &name("1-3.json"))]).map(|_| true),
        ]
    };
    take_away(&path);
    let mut answers = touch();
    answers.push(fixture.mover.recover().map(|()| true));
    std::fs::create_dir(&path).unwrap();
    answers.extend(touch());
    answers
}

#[test]
fn a_directory_that_was_made_again_is_opened_again_and_no_file_counts_as_gone_meanwhile() {
    for stage in [COMMAND_INFLIGHT, COMMAND_DONE] {
        for moves in [false, true] {
            let fixture = Fixture::new();
            let take_away = |path: &Path| match moves {
                true => std::fs::rename(path, path.with_extension("old")).unwrap(),
                false => std::fs::remove_dir(path).unwrap(),
            };
            let answers = replaced(&fixture, stage, take_away);
            // A directory that was only moved away still has its files.
            let is_told =
                |answer: &Result<bool, Failure>| matches!(answer, Err(Failure::Retry { .. } | Failure::Skip(_)));
            assert!(answers.iter().all(is_told), "{stage} {moves}: {answers:?}");
            assert_eq!(
                fixture.names("command/returned").len() + fixture.names("tmp").len(),
                0,
                "nothing was done by half"
            );
            fixture.mover.recover().unwrap();
            fixture.write(&format!("{stage}/1-2.json"), "x");
            let moved = [Step::forward(stage, &name("1-2.json"), COMMAND_RETURNED)];
            assert_eq!(fixture.apply(&moved), [Placed::New]);
        }
    }
}

#[test]
fn a_spool_whose_locks_were_removed_ends_the_program() {
    let fixture = Fixture::new();
    for directory in ["lock", "command/done"] {
        std::fs::remove_dir(fixture.directory.path().join(directory)).unwrap();
        std::fs::create_dir(fixture.directory.path().join(directory)).unwrap();
    }
    let error = fixture.mover.recover().unwrap_err();
    assert!(matches!(error, Failure::End(_)) && error.to_string().contains("may have taken the lock"), "{error}");
}

#[test]
fn a_batch_of_many_files_and_directories_is_committed_like_a_small_one() {
    let fixture = Fixture::new();
    let stages =
        [ACTION_NEW, ACTION_INFLIGHT, ACTION_DONE, COMMAND_READY, COMMAND_INFLIGHT, COMMAND_RETURNED, COMMAND_DONE];
    for number in 0..70 {
        fixture.write(&format!("action/invalid/{number}.json"), "moves");
    }
    let put =
        |number: usize| Step::put(stages[number % stages.len()], name(&format!("put{number}.json")), b"x".to_vec());
    let move_to =
        |number: usize| Step::forward(ACTION_INVALID, &name(&format!("{number}.json")), stages[number % stages.len()]);
    let steps: Vec<Step> = (0..70).flat_map(|number| [put(number), move_to(number)]).collect();
    assert!(fixture.apply(&steps).iter().all(|placed| *placed == Placed::New));
    let files = stages.iter().map(|stage| fixture.names(stage.path()).len());
    assert_eq!(files.sum::<usize>(), 140);
    assert_eq!((fixture.names("tmp").len(), fixture.names("action/invalid").len()), (0, 0));
}

#[test]
fn a_batch_that_is_dropped_leaves_nothing() {
    let fixture = Fixture::new();
    let drafts = fixture.mover.drafts();
    let mut preparation = drafts.prepare();
    preparation.add(CommandRef::from_file_name("7-1.json").unwrap(), b"x").unwrap();
    assert_eq!(fixture.names("tmp").len(), 1);
    drop(preparation);
    assert_eq!(fixture.names("tmp"), Vec::<String>::new());
}
