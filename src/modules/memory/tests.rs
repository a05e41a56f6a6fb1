//! Searches over the memory of processes that the tests start.

use super::examine::Examiner;
use super::{Memory, parameters};
use crate::modules::processes::{PIECE_BYTES, Processes};
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What the secret looks like; it is not in the command line of the process that has it.
const SECRET: &str = "xyzzy-3141592653-plugh";

/// A process that has the secret in memory, once, at a place that lies across pieces or not.
struct Holder {
    _directory: tempfile::TempDir,
    child: Child,
    /// A filter that only it passes.
    name: String,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Holder {
    /// With so many bytes of other text before the secret.
    fn start(before_bytes: usize) -> Holder {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("holder");
        crate::modules::copy_program("/usr/bin/perl", &path);
        // The whole secret is nowhere but in its place.
        let program = r#"$| = 1; $at = $ARGV[0]; $t = "." x ($at + 64); substr($t, $at, 6) = "xyzzy-";
            substr($t, $at + 6, 10) = "3141592653"; substr($t, $at + 16, 6) = "-plugh"; substr($t, 1, 4) = "\xff\0\xd1\xab";
            print "ready\n"; sleep 1000"#;
        let mut command = Command::new(&path);
        let mut child =
            command.args(["-e", program, &before_bytes.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Holder { name: format!("^{}$", path.display()), _directory: directory, child }
    }

    fn search(&self, mut search: Value) -> ModuleResult {
        search["names"] = json!([self.name]);
        if search["options"].is_null() {
            search["options"] = json!({});
        }
        search["options"]["matchall"] = json!(true);
        Memory.run(&json!({"searches": {"s": search}}), Context::by_hand())
    }

    /// Of the secret.
    fn address(&self) -> u64 {
        let result = self.search(json!({"contents": [SECRET]}));
        let place = result.elements["s"][0]["matches"][0]["address"].as_str().unwrap_or_else(|| panic!("{result:?}"));
        u64::from_str_radix(place.trim_start_matches("0x"), 16).unwrap()
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Some machines have processes that not even root may look into: a label without elements is missing then.
fn errors(result: &ModuleResult) -> Vec<&String> {
    result.errors.iter().flatten().filter(|error| !error.contains("Permission denied")).collect()
}

fn elements<'r>(result: &'r ModuleResult, label: &str) -> &'r [Value] {
    result.elements[label].as_array().map_or(&[][..], Vec::as_slice)
}

#[test]
fn a_secret_in_memory_is_found_and_not_returned() {
    let holder = Holder::start(1000);
    let pattern = "xyzzy-[0-9]{10}-plugh";
    let result = holder.search(json!({"contents": [pattern], "bytes": ["ff00d1ab"]}));
    assert!(result.success && result.foundanything);
    assert_eq!(errors(&result), [""; 0]);
    let [element] = elements(&result, "s") else { panic!("{result:?}") };
    let name = holder.name.trim_matches(['^', '$']);
    assert_eq!(element["process"], json!({"name": name, "pid": holder.pid()}));
    let expected =
        json!({"names": [holder.name], "contents": [pattern], "bytes": ["ff00d1ab"], "options": {"matchall": true}});
    assert_eq!(element["search"], expected);
    let [contents, bytes] = &element["matches"].as_array().unwrap()[..] else { panic!("{element}") };
    assert_eq!((&contents["field"], &contents["value"]), (&json!("contents"), &json!(pattern)));
    assert_eq!((&bytes["field"], &bytes["value"]), (&json!("bytes"), &json!("ff00d1ab")));
    assert_eq!(contents["permissions"], "rw-p");
    assert!(!serde_json::to_string(&result).unwrap().contains(SECRET));
    let line = Memory.print(&result).remove(0);
    let expected = format!("{name} [pid:{}] contents='{pattern}' at 0x", holder.pid());
    assert!(line.starts_with(&expected) && line.ends_with(" in search 's'"), "{line}");
    assert!(result.statistics["memoryread"].as_u64().unwrap() > 100_000);

    for absent in [json!({"contents": ["xyzzy-[0-9]{11}-plugh"]}), json!({"contents": [format!("!{SECRET}")]})] {
        let result = holder.search(absent);
        assert_eq!((elements(&result, "s").len(), errors(&result).len()), (0, 0), "{result:?}");
    }
    let result =
        holder.search(json!({"contents": ["!xyzzy-[0-9]{11}-plugh", SECRET], "libraries": ["libc\\.so", "!holder"]}));
    assert_eq!(result.elements["s"][0]["process"]["pid"], json!(holder.pid()));
    assert_eq!(result.elements["s"][0]["matches"].as_array().unwrap().len(), 1);
}

#[test]
fn a_secret_at_the_end_of_a_piece_is_found() {
    let holder = Holder::start(2 << 20);
    let address = holder.address();
    for behind in 0..=SECRET.len() + 1 {
        // The first piece ends so many bytes behind the beginning of the secret.
        let offset = address - PIECE_BYTES as u64 + behind as u64;
        let result = holder.search(json!({"contents": [format!("\\.{SECRET}\\.")], "options": {"offset": offset}}));
        let found = &result.elements["s"][0]["matches"][0]["address"];
        assert_eq!(*found, json!(format!("{:#x}", address - 1)), "{behind}");
    }
}

#[test]
fn searches_share_a_pass_and_each_has_its_own_part() {
    let holder = Holder::start(3 << 20);
    let address = holder.address();
    let at = |options: Value| json!({"names": [holder.name], "contents": [SECRET], "options": options});
    let searches = json!({
        "all": at(json!({"matchall": true})),
        "here": at(json!({"matchall": true, "offset": address, "maxlength": SECRET.len()})),
        "behind": at(json!({"matchall": true, "offset": address + 1, "maxlength": 1000.0})),
        "short": at(json!({"matchall": true, "offset": address, "maxlength": SECRET.len() - 1})),
        "any": {"names": [holder.name], "contents": ["not anywhere at all"], "libraries": ["no library"]},
    });
    let result = Memory.run(&json!({"searches": searches}), Context { threads: 2, ..Context::by_hand() });
    let count = |label: &str| elements(&result, label).len();
    assert_eq!(["all", "here", "behind", "short"].map(count), [1, 1, 0, 0]);
    let any = &result.elements["any"].as_array().unwrap()[..];
    assert!(any.iter().any(|element| element["process"]["pid"] == holder.pid()), "one filter is enough: {any:?}");
    assert_eq!(any[0]["search"]["options"], json!({}));
}

#[test]
fn our_own_process_and_the_agent_are_left_out() {
    let holder = Holder::start(0);
    let parameters =
        json!({"searches": {"s": {"contents": [SECRET], "names": [holder.name], "options": {"matchall": true}}}});
    let agent = Context { agent: Some(holder.pid()), ..Context::by_hand() };
    assert_eq!(elements(&Memory.run(&parameters, agent), "s").len(), 0);
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let parameters = json!({"searches": {"s": {"contents": [SECRET], "names": [format!("^{}$", own.display())]}}});
    let result = Memory.run(&parameters, Context { deadline: None, ..Context::by_hand() });
    let is_other = |element: &Value| element["process"]["pid"] != std::process::id();
    assert!(elements(&result, "s").iter().all(is_other), "{result:?}");
}

#[test]
fn processes_without_memory_are_no_errors_and_time_is_limited() {
    let all = json!({"searches": {"s": {"names": ["."], "libraries": ["!^/no/such/library$"], "options": {"matchall": true, "matchlimit": 1e6}}}});
    let result = Memory.run(&all, Context::by_hand());
    assert!(result.foundanything);
    assert_eq!(errors(&result), [""; 0]);
    let late = Context { deadline: Some(Instant::now()), ..Context::by_hand() };
    let result = Memory.run(&all, late);
    assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)));
}

#[test]
fn parameters_of_the_original_are_read_and_others_refused_by_their_field() {
    let refused = |search: Value| Memory.validate(&json!({"searches": {"s": search}})).unwrap_err().to_string();
    for (search, error) in [
        (json!({"description": "x"}), "searches.s: has no filter"),
        (json!({"content": ["x"]}), "searches.s.content: unknown key; did you mean \"contents\"?"),
        (json!({"bytes": ["xx"]}), "searches.s.bytes[0]: is not 1 to 8192 bytes"),
        (json!({"contents": ["a", "("]}), "searches.s.contents[1]: bad regular expression"),
        (json!({"contents": ["!"]}), "searches.s.contents[0]: the regular expression is empty"),
        (json!({"names": ["x"], "options": {"offset": -1}}), "searches.s.options.offset: "),
        (json!({"names": ["x"], "options": {"length": 1}}), "searches.s.options.length: unknown key"),
    ] {
        let found = refused(search);
        assert!(found.starts_with(error), "{found}");
    }
    let original = json!({"searches": {"s1": {
        "description": "d", "names": ["^/usr/sbin/sshd$"], "libraries": ["libc"], "bytes": ["6d6967"], "contents": ["mig"],
        "options": {"offset": 1.0, "maxlength": 1e9, "logfailures": true, "matchall": true},
    }}});
    assert_eq!(Memory.validate(&original).unwrap(), []);
    let words = "-name x -lib y -bytes 00 -content z -matchany -offset 1 -maxlength 2 -logfailures";
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let search = &Memory.parse_arguments(&words).unwrap()["searches"]["s1"];
    assert_eq!(search["options"], json!({"offset": 1, "maxlength": 2, "logfailures": true, "matchall": false}));
    let old = json!({"s1": [{"process": {"name": "", "pid": 0}, "search": {}}]});
    let lines = Memory.print(&ModuleResult { elements: old, ..ModuleResult::default() });
    assert_eq!(lines, ["0 match found in search 's1'"]);
}

#[test]
fn a_process_with_terabytes_of_address_space_waits_for_the_others() {
    let program = r#"
import mmap, sys
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
large = mmap.mmap(-1, 2 << 40, flags=flags)
print("ready", flush=True)
sys.stdin.read()
"#;
    let mut command = Command::new("python3");
    let mut child = command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let processes = Processes::open().unwrap();
    let examine = |search: Value, pid: u32, may_wait: bool| {
        let plan = parameters::parse(&json!({"searches": {"s": search}})).unwrap();
        let is_late = std::cell::Cell::new(0);
        // Enough for the list of its regions.
        let mut is_over = || is_late.replace(is_late.get() + 1) > 2;
        Examiner::new(&plan).examine(&processes, pid.cast_signed(), may_wait, &mut is_over).unwrap()
    };
    let by_contents = || json!({"contents": [SECRET]});
    assert!(examine(by_contents(), child.id(), true).is_none());
    assert!(examine(by_contents(), child.id(), false).is_some(), "it has waited");
    assert!(examine(json!({"libraries": ["libc"]}), child.id(), true).is_some(), "its memory is not looked at");
    let small = Holder::start(0);
    assert!(examine(by_contents(), small.pid(), true).is_some());
    drop(child.stdin.take());
    child.wait().unwrap();
}
