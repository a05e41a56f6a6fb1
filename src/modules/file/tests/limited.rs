//! Limits return partial results, and an unprivileged user cannot hide files from the search of root.

use super::super::next_pause;
use super::contents::gzip;
use super::{File, Module, Tree, context, run, run_once, strings};
use crate::modules::limits::PROGRESS_PAUSE_FIRST;
use crate::modules::{Context, ModuleResult};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn bounded(parameters: &Value, result_bytes_max: usize) -> ModuleResult {
    let result = File.run(parameters, Context { result_bytes_max, ..context(2) });
    let bytes = serde_json::to_string(&result).unwrap().len();
    assert!(bytes <= result_bytes_max, "{bytes} of {result_bytes_max}");
    result
}

fn hits(result: &ModuleResult, label: &str) -> usize {
    result.elements[label].as_array().unwrap().iter().filter(|entry| entry["file"] != "").count()
}

#[test]
fn a_long_list_of_sums_is_not_repeated_in_each_entry() {
    let tree = Tree::new(&[]);
    for number in 0..50 {
        tree.write(&format!("copy-{number}"), b"abc");
    }
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut sums: Vec<String> = (0..9_999).map(|number| format!("{number:064x}")).collect();
    sums.push(sum.to_owned());
    let search = json!({"paths": [tree.at("")], "sha256": sums, "names": ["copy"], "options": {"matchall": true}});
    let result = bounded(&json!({"searches": {"feed": search}}), 4 << 20);
    assert_eq!(hits(&result, "feed"), 50);
    assert_eq!(result.errors, None);
    let short = &result.elements["feed"][0]["search"];
    assert_eq!(short["sha256"], json!([sum]), "the sum that the file has");
    assert_eq!((&short["names"], &short["paths"]), (&json!(["copy"]), &json!([tree.at("")])));
    assert_eq!(short["options"]["matchall"], true);
    // Without matches an empty entry per sum would not fit.
    let search = json!({"paths": [tree.at("")], "sha256": sums[..9_999], "options": {"matchall": false}});
    let result = bounded(&json!({"searches": {"feed": search}}), 1 << 20);
    assert_eq!(result.elements["feed"].as_array().unwrap().len(), 1, "one empty entry for the search");
}

#[test]
fn a_full_result_has_matches_of_every_search() {
    let tree = Tree::new(&[]);
    for number in 0..2_000 {
        tree.write(&format!("d/a-file-of-some-length-{number}.conf"), b"");
    }
    tree.write("rare-evil", b"");
    let mut searches = serde_json::Map::new();
    for number in 0..10 {
        let search =
            json!({"paths": [tree.at("")], "names": ["conf$"], "options": {"matchall": true, "matchlimit": 5_000}});
        searches.insert(format!("s{number}"), search);
    }
    searches.insert(
        "rare".into(),
        json!({"paths": [tree.at("")], "names": ["^rare-evil$"], "options": {"matchall": true}}),
    );
    let result = bounded(&json!({"searches": searches}), 1 << 20);
    assert!(result.success && result.statistics["partial"] == true);
    assert_eq!(hits(&result, "rare"), 1);
    for number in 0..10 {
        assert!(hits(&result, &format!("s{number}")) > 50);
    }
    let errors = result.errors.unwrap();
    assert!(
        errors.iter().any(|error| error.starts_with("partial: search s") && error.ends_with("no space for more")),
        "{errors:?}"
    );
}

#[test]
fn names_are_counted_by_their_length_as_json() {
    let tree = Tree::new(&[]);
    for number in 0..500 {
        tree.write(&format!("{}{number}", "\u{1}".repeat(200)), b"");
    }
    let search = json!({"paths": [tree.at("")], "names": ["."], "options": {"matchall": true}});
    let result = bounded(&json!({"searches": {"s1": search}}), 200 << 10);
    assert!(hits(&result, "s1") > 20);
}

#[test]
fn the_time_limit_returns_a_partial_result() {
    let tree = Tree::new(&[("found", b"needle\n"), ("z/found", b"needle\n")]);
    let huge = std::fs::File::create(tree.at("huge")).unwrap();
    huge.set_len(8 << 40).unwrap();
    let sum = "00".repeat(32);
    let parameters = json!({"searches": {
        "hit": {"paths": [tree.at("")], "contents": ["^needle$"], "options": {"matchall": true}},
        "miss": {"paths": [tree.at("")], "sha256": [sum], "options": {"matchall": true}},
    }});
    let reports = Mutex::new(Vec::new());
    let report = |result: &ModuleResult| reports.lock().unwrap().push(result.clone());
    let started = Instant::now();
    let deadline = Some(started + Duration::from_millis(1_500));
    let result = File.run(&parameters, Context { deadline, progress: Some(&report), ..context(2) });
    assert!(started.elapsed() < Duration::from_secs(60), "8 TB of NULs are not hashed to the end");
    assert_eq!(tree.files(&result, "hit"), ["found", "z/found"], "the large file comes last");
    assert_eq!(result.elements.get("miss"), None, "incomplete");
    assert!(result.success && result.statistics["partial"] == true);
    let errors = result.errors.unwrap();
    assert!(errors.len() == 1 && errors[0].starts_with("partial: stopped at the time limit, after "), "{errors:?}");
    let reports = reports.into_inner().unwrap();
    assert!(reports.len() >= 2, "after a second, and at the limit");
    assert_eq!(tree.files(&reports[0], "hit"), ["found", "z/found"]);
    assert!(reports[0].errors.as_ref().unwrap()[0].starts_with("partial: "));
}

#[test]
fn sparse_files_are_read_by_their_data() {
    let tree = Tree::new(&[("end", b"first\n"), ("sums", b"abc")]);
    let file = std::fs::OpenOptions::new().write(true).open(tree.at("end")).unwrap();
    file.write_at(b"\nneedle\n", 10 << 40).unwrap();
    let holes = std::fs::OpenOptions::new().write(true).open(tree.at("sums")).unwrap();
    holes.write_at(b"xyz", 1 << 20).unwrap();
    let find = |contents: &str| tree.find(true, json!({"contents": [contents]}));
    assert_eq!(find("^needle$"), ["end"]);
    assert_eq!(find("^first$"), ["end"]);
    assert_eq!(find("^abc\\x00+xyz$"), ["sums"]);
    let plain = std::fs::read(tree.at("sums")).unwrap();
    tree.write("plain", &plain);
    let result = run(&json!({"searches": {"s1": {"paths": [tree.at("")], "sizes": ["<1g"],
        "options": {"matchall": true, "returnsha256": true}}}}));
    let sum = |index: usize| &result.elements["s1"][index]["fileinfo"]["sha256"];
    assert_eq!(sum(0), sum(1), "sums include every NUL");
}

#[test]
fn directories_deeper_than_path_max_are_entered() {
    let tree = Tree::new(&[]);
    let name = "d".repeat(200);
    let mut at = rustix::fs::open(tree.path(), rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..60 {
        rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::openat(&at, "evil", flags, rustix::fs::Mode::RUSR).unwrap();
    rustix::io::write(&file, b"needle\n").unwrap();
    let found = tree.find(true, json!({"names": ["^evil$"], "contents": ["^needle$"]}));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].len(), 60 * 201 + 4);
    // TempDir may not remove so deep a tree.
    let removed = std::process::Command::new("rm").arg("-rf").arg(tree.path()).status().unwrap();
    assert!(removed.success());
}

#[test]
fn a_search_with_skipped_directories_has_no_empty_entry() {
    let tree = Tree::new(&[("f", b"")]);
    let mut at = rustix::fs::open(tree.path(), rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..4_200 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    let search = |name: &str| json!({"paths": [tree.at("")], "names": [name], "options": {"matchall": true}});
    let result = run(&json!({"searches": {"hit": search("^f$"), "miss": search("^absent$")}}));
    assert_eq!(tree.files(&result, "hit"), ["f"]);
    assert_eq!((result.elements.get("miss"), &result.statistics["partial"]), (None, &json!(true)));
    let errors = result.errors.unwrap();
    assert!(errors.len() == 1 && errors[0].contains("skipped, deeper than 4096 levels"), "{errors:?}");
    assert!(errors[0].len() < 2_000, "a long path is shortened");
    let removed = std::process::Command::new("rm").arg("-rf").arg(tree.path()).status().unwrap();
    assert!(removed.success());
}

#[test]
fn a_directory_with_many_others_is_walked_to_its_end() {
    let tree = Tree::new(&[]);
    for number in 0..12_000 {
        std::fs::create_dir(tree.path().join(format!("{number}"))).unwrap();
    }
    tree.write("11999/evil", b"needle\n");
    tree.write("5/evil", b"needle\n");
    assert_eq!(tree.find(true, json!({"contents": ["needle"]})), ["11999/evil", "5/evil"]);
}

#[test]
fn a_tree_that_is_renamed_is_walked_or_reported() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let tree = Tree::new(&[]);
    for number in 0..1_000 {
        tree.write(&format!("a/d{number}/e/f"), b"needle\n");
    }
    let (one, other, is_over) = (tree.path().join("a"), tree.path().join("b"), AtomicBool::new(false));
    let parameters = json!({"searches": {"s1": {"paths": [tree.at("")], "contents": ["needle"],
        "options": {"matchall": true, "matchlimit": 5000}}}});
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                std::fs::rename(&one, &other).unwrap();
                std::fs::rename(&other, &one).unwrap();
            }
        });
        for _ in 0..5 {
            let result = run_once(&parameters);
            let found = hits(&result, "s1");
            let errors = result.errors.unwrap_or_default();
            // The tree itself may be missed, if it is renamed before it is opened.
            assert!(found == 1_000 || (found == 0 && errors[0].contains("removed or renamed")), "{found} {errors:?}");
        }
        is_over.store(true, Relaxed);
    });
}

#[test]
fn long_paths_and_many_errors_leave_room_for_the_others() {
    let tree = Tree::new(&[("z", b"\xff\xfe\0\0 cannot be read")]);
    let mut at = rustix::fs::open(tree.path(), rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..100 {
        let name = "\u{1}".repeat(250);
        rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    for number in 0..50 {
        rustix::fs::symlinkat("/proc/self/mem", &at, format!("m{number}")).unwrap();
        rustix::fs::symlinkat("/proc/kmsg", &at, format!("k{number}")).unwrap();
    }
    let search = json!({"paths": [tree.at("")], "contents": ["needle"], "options": {"matchall": true, "maxerrors": 0}});
    let result = bounded(&json!({"searches": {"s1": search}}), 100 << 10);
    let errors = result.errors.unwrap();
    let has = |part: &str| errors.iter().any(|error| error.contains(part));
    assert!(has("/z: it begins with a UTF-32") || has("more errors, see option maxerrors"), "{errors:?}");
    assert!(has("and 49 others: ") || has("kmsg"), "{errors:?}");
    let removed = std::process::Command::new("rm").arg("-rf").arg(tree.path()).status().unwrap();
    assert!(removed.success());
}

#[test]
fn errors_and_progress_at_once_do_not_wait_for_each_other() {
    let tree = Tree::new(&[]);
    let plan = super::super::parameters::parse(&json!({"searches": {"s1": {"paths": [tree.at("")], "names": ["."],
        "options": {"maxerrors": 0}}}}))
    .unwrap();
    let accounts = super::super::accounts::Accounts::read(&plan);
    let findings = super::super::results::Findings::new(&plan, &[None], &accounts, 16 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20_000).for_each(|_| findings.unreadable("open", tree.path(), &"no")));
        scope.spawn(|| (0..200).for_each(|_| drop(findings.result(Duration::ZERO, false))));
    });
    assert!(findings.result(Duration::ZERO, true).errors.unwrap().len() > 5_000);
}

#[test]
fn a_bomb_with_many_names_is_unpacked_once() {
    let packed = gzip(&vec![0; 64 << 20]);
    let mut broken = packed.clone();
    broken.truncate(packed.len() - 1);
    assert!(broken.len() > 32 << 10);
    let tree = Tree::new(&[("bomb", &broken)]);
    for number in 0..500 {
        tree.link("bomb", &format!("l{number}"));
    }
    let search = json!({"paths": [tree.at("")], "contents": ["needle"], "md5": ["00".repeat(16)],
        "options": {"decompress": true}});
    let started = Instant::now();
    let result = run_once(&json!({"searches": {"s1": search}}));
    assert!(started.elapsed() < Duration::from_secs(60), "500 times 64 MB");
    assert!(result.errors.unwrap().iter().any(|error| error.contains("could not be read under another name")));
}

#[test]
fn data_that_only_begins_like_gzip_is_searched_as_it_is() {
    let tree = Tree::new(&[("text", b"\x1f\x8bneedle\n"), ("z", b"needle\n")]);
    let find = |pattern: &str| tree.find(true, json!({"contents": [pattern], "options": {"decompress": true}}));
    assert_eq!(find("needle"), ["text", "z"]);
    assert_eq!(find("!needle"), strings(&[]));
    assert_eq!(find("!absent"), ["z"]);
}

#[test]
fn a_lease_does_not_hide_a_file() {
    let tree = Tree::new(&[("leased", b"needle\n"), ("other", b"needle\n")]);
    let script = "open my $f, '+<', $ARGV[0] or die; $SIG{IO} = sub { sleep 1; fcntl $f, 1024, 2; exit };\
        fcntl $f, 1024, 1 or exit 77; syswrite STDOUT, \"ready\\n\"; sleep 100";
    let mut owner = std::process::Command::new("perl");
    owner.args(["-e", script, &tree.at("leased")]).stdout(std::process::Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    let mut line = String::new();
    let stdout = owner.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    if line == "ready\n" {
        let search = json!({"paths": [tree.at("")], "contents": ["needle"], "options": {"matchall": true}});
        let result = run_once(&json!({"searches": {"s1": search}}));
        assert_eq!(tree.files(&result, "s1"), ["leased", "other"]);
        assert_eq!(result.errors, None);
    }
    let _ = owner.kill();
    owner.wait().unwrap();
}

#[test]
fn padding_after_gzip_is_skipped_and_other_data_is_reported() {
    let mut padded = gzip(b"hello\nneedle\n");
    padded.resize(padded.len() + 200_000, 0);
    let two = [gzip(b"one\n"), vec![0; 512], gzip(b"needle\n")].concat();
    let tail = [gzip(b"needle\n"), b"tail".to_vec()].concat();
    let mut broken = gzip(b"needle\n");
    let crc = broken.len() - 8;
    broken[crc] ^= 1;
    let tree = Tree::new(&[("padded", &padded), ("two", &two), ("tail", &tail), ("broken", &broken)]);
    let result = run(&json!({"searches": {"s1": {"paths": [tree.at("")], "contents": ["^needle$"],
        "options": {"matchall": true, "decompress": true, "returnsha256": true}}}}));
    assert_eq!(tree.files(&result, "s1"), ["broken", "padded", "tail", "two"]);
    let sum = |index: usize| result.elements["s1"][index]["fileinfo"]["sha256"].as_str().unwrap().len();
    assert_eq!([sum(0), sum(1), sum(2), sum(3)], [0, 64, 64, 64], "no sum of an unreadable file");
    let errors = result.errors.unwrap();
    assert!(errors.iter().any(|error| error.contains("/tail: data after the last gzip member")), "{errors:?}");
    assert!(errors.iter().any(|error| error.starts_with("read ") && error.contains("/broken: ")), "{errors:?}");
    let absent = tree.find(true, json!({"contents": ["!absent"], "options": {"decompress": true}}));
    assert_eq!(absent, strings(&["padded", "tail", "two"]), "the contents of an unreadable file are unknown");
}

#[test]
fn a_search_that_is_killed_loses_a_small_part_of_its_time() {
    for seconds in [1, 10, 60, 300, 3_600, 86_400, 10 * 365 * 86_400] {
        let time_max = Duration::from_secs(seconds);
        let (mut pause, mut at, mut results) = (PROGRESS_PAUSE_FIRST, PROGRESS_PAUSE_FIRST, 0);
        while at < time_max {
            results += 1;
            pause = next_pause(pause, time_max);
            assert!(pause <= (time_max / 20).max(Duration::from_secs(1)), "{pause:?} of {time_max:?}");
            at += pause;
        }
        // At the time limit and at the end there is one more.
        assert!(results + 2 <= crate::limits::MODULE_RESULTS_MAX, "{results} in {time_max:?}");
    }
}
