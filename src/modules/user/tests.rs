//! Whole machines below a directory, and this one.

use super::User;
use super::logins::{lastlog_record, record};
use super::parameters::parse;
use super::run::run;
use crate::modules::files::Machine;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// A machine with some accounts.
pub(super) fn machine(directory: &std::path::Path) -> Machine {
    let machine = Machine::below(directory);
    for path in ["/etc/sudoers.d", "/var/log", "/run/systemd/sessions", "/proc/77"] {
        fs::create_dir_all(machine.path(path)).unwrap();
    }
    let files = [
        (
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\njoe:x:1000:1000:Joe Secret:/home/joe:/bin/zsh\n\
          eve::1001:27::/home/eve:\nbin:*:2:2::/:/usr/sbin/nologin\ntoor:x:0:0::/root:/bin/sh\n",
        ),
        ("/etc/group", "root:x:0:\nsudo:x:27:\njoe:x:1000:\nadm:x:4:joe,root\n"),
        ("/etc/shadow", "root:!$6$salt$SECRET:19000:0:99999:7:::\njoe:$y$j9T$SECRET:20000:0:90:7::21000:\n"),
        (
            "/etc/sudoers",
            "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL) ALL, !/bin/su\n@includedir /etc/sudoers.d\n",
        ),
        (
            "/etc/sudoers.d/joe",
            "User_Alias OPS = joe, !nobody\nCmnd_Alias LOG = /bin/tail SECRET, /bin/cat\n\
          OPS web=(root) NOPASSWD: \\\n LOG, /bin/ls SECRET\n",
        ),
        ("/etc/sudoers.d/old.dpkg-old", "ALL ALL=ALL\n"),
        ("/etc/doas.conf", "permit nopass :27 cmd /bin/x args SECRET\npermit root as joe\ndeny bin\n"),
        ("/etc/nsswitch.conf", "passwd: files\n"),
        (
            "/run/systemd/sessions/4",
            "USER=joe\nCLASS=user\nTTY=pts/9\nREMOTE_HOST=h\nREALTIME=1700000000000000\nSTATE=active\n",
        ),
        ("/run/systemd/sessions/5", "USER=root\nCLASS=manager\nSTATE=active\n"),
    ];
    for (path, text) in files {
        fs::write(machine.path(path), text).unwrap();
    }
    let now = u32::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let day = 86_400;
    let wtmp = [
        record(2, 0, "reboot", ("~", "6.1"), now - 50 * day),
        record(7, 5, "joe", ("pts/0", "10.0.0.7"), now - 40 * day),
        record(7, 6, "root", ("tty1", ""), now - 2 * day),
        record(8, 5, "", ("pts/0", ""), now - 39 * day),
    ];
    fs::write(machine.path("/var/log/wtmp"), wtmp.concat()).unwrap();
    let utmp = [record(7, 77, "joe", ("pts/1", "10.0.0.8"), now - 60), record(7, 78, "root", ("pts/2", ""), now - 60)];
    fs::write(machine.path("/run/utmp"), utmp.concat()).unwrap();
    machine
}

pub(super) fn search(machine: &Machine, line: &str) -> ModuleResult {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let parameters = User.parse_arguments(&words).unwrap();
    run(&parse(&parameters).unwrap(), machine, Context::by_hand())
}

pub(super) fn names(result: &ModuleResult) -> Vec<&str> {
    let found = result.elements["s1"].as_array().unwrap_or_else(|| panic!("{result:?}"));
    found.iter().map(|element| element["name"].as_str().unwrap()).collect()
}

#[test]
fn accounts_are_found_by_each_filter() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    for (line, expected) in [
        ("-name .", &["root", "joe", "eve", "bin", "toor"][..]),
        ("-name ^j", &["joe"]),
        ("-uid 0", &["root", "toor"]),
        ("-uid >1 -uid <1001", &["joe", "bin"]),
        ("-group ^adm$", &["root", "joe"]),
        ("-group !^(adm|root)$", &["eve", "bin"]),
        ("-home ^/home", &["joe", "eve"]),
        ("-shell ^$", &["eve"]),
        ("-password empty", &["eve"]),
        ("-password locked -password set", &["root", "joe", "bin"]),
        ("-password unknown", &["toor"]),
        ("-sudo", &["root", "joe", "eve"]),
        ("-nopasswd", &["joe", "eve"]),
        ("-doas", &["root", "eve", "toor"]),
        ("-root", &["root", "joe", "eve", "toor"]),
        ("-root -uid >0 -nopasswd", &["joe", "eve"]),
        ("-lastlogin <7d", &["root", "joe"]),
        ("-lastlogin >30d", &["eve", "bin", "toor"]),
        ("-loggedin", &["joe"]),
        ("-uid 0 -name ^eve -matchany", &["root", "eve", "toor"]),
    ] {
        let result = search(&machine, line);
        assert_eq!(names(&result), expected, "{line}");
        assert_eq!((&result.errors, result.statistics.get("partial")), (&None, None), "{line}");
    }
    let result = search(&machine, "-name . -matchlimit 2");
    assert_eq!(names(&result), ["root", "joe"]);
    assert_eq!(result.errors.unwrap(), ["partial: search s1: stopped at its matchlimit of 2"]);
}

#[test]
fn accounts_are_compared_when_the_time_is_over_without_logins_that_were_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let late = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let parameters = User.parse_arguments(&words).unwrap();
        let context = Context { deadline: Some(std::time::Instant::now()), ..Context::by_hand() };
        run(&parse(&parameters).unwrap(), &machine, context)
    };
    let result = late("-uid 0");
    assert_eq!(names(&result), ["root", "toor"]);
    assert!(result.errors.unwrap()[0].starts_with("partial: stopped at the time limit"));
    let result = late("-lastlogin >30d");
    assert_eq!(result.elements, json!({}), "they may have logged in since");
    let unknown = "partial: search s1: last logins of 4 accounts cannot be compared: they are not known";
    assert!(result.errors.as_ref().unwrap().iter().any(|error| error == unknown), "{:?}", result.errors);
}

#[test]
fn an_element_has_facts_and_nothing_private() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let result = search(&machine, "-name .");
    let all = &result.elements["s1"];
    assert!(!serde_json::to_string(&result).unwrap().to_lowercase().contains("secret"));
    let (root, joe, eve) = (&all[0], &all[1], &all[2]);
    assert_eq!((&joe["groups"], &joe["gid"]), (&json!(["joe", "adm"]), &json!(1000)));
    let expected = json!({
        "state": "set", "algorithm": "yescrypt", "changed": "2024-10-04 00:00:00 +0000 UTC",
        "expires": "2025-01-02 00:00:00 +0000 UTC", "accountexpires": "2027-07-01 00:00:00 +0000 UTC",
    });
    assert_eq!(joe["password"], expected);
    assert_eq!((&root["password"]["state"], &root["password"]["algorithm"]), (&json!("locked"), &json!("sha512")));
    let expected = json!([{
        "source": "/etc/sudoers.d/joe:3", "as": "root", "nopasswd": true,
        "commands": ["/bin/tail", "/bin/cat", "/bin/ls"], "hosts": ["web"],
    }]);
    assert_eq!(joe["sudo"], expected);
    let expected =
        json!([{"source": "/etc/sudoers:3", "as": "ALL", "nopasswd": false, "commands": ["ALL", "!/bin/su"]}]);
    assert_eq!(eve["sudo"], expected);
    let expected = json!([{"source": "/etc/doas.conf:1", "as": "ALL", "nopasswd": true, "commands": ["/bin/x"]}]);
    assert_eq!((&eve["doas"], &joe["doas"]), (&expected, &json!([])));
    let last = (&joe["lastlogin"]["from"], &joe["lastlogin"]["line"]);
    assert_eq!(last, (&json!("10.0.0.8"), &json!("pts/1")), "of those that go on");
    let lines: Vec<&Value> = joe["loggedin"].as_array().unwrap().iter().map(|login| &login["line"]).collect();
    assert_eq!(lines, ["pts/1", "pts/9"]);
    assert_eq!((root["loggedin"].as_array().unwrap().len(), eve.get("lastlogin")), (0, None));
    assert!(result.statistics["loginssince"].as_str().unwrap().ends_with("UTC"));
    let line = User.print(&search(&machine, "-name eve")).remove(0);
    assert!(line.contains("sudo:(ALL) ALL !/bin/su, doas:(ALL) NOPASSWD /bin/x] in"), "{line}");
    let line = User.print(&search(&machine, "-name joe")).remove(0);
    assert!(
        line.starts_with("joe [uid:1000, groups:joe adm, home:/home/joe, shell:/bin/zsh, password:set yescrypt"),
        "{line}"
    );
    assert!(line.ends_with("sudo:(root) NOPASSWD /bin/tail /bin/cat /bin/ls] in search 's1'"), "{line}");
}

#[test]
fn lastlog_has_what_wtmp_lost_and_may_be_sparse() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let path = machine.path("/var/log/lastlog");
    fs::write(&path, lastlog_record(1_600_000_000, "tty1", "")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let record = lastlog_record(1_500_000_000, "pts/3", "example.net");
    std::os::unix::fs::FileExt::write_all_at(&file, &record, 1001 * record.len() as u64).unwrap();
    let result = search(&machine, "-name .");
    let last = |index: usize| result.elements["s1"][index]["lastlogin"].clone();
    assert_eq!(last(2), json!({"time": "2017-07-14 02:40:00 +0000 UTC", "line": "pts/3", "from": "example.net"}));
    assert!(last(0)["time"].as_str().unwrap() > "2020", "the later of two");
    assert!(result.statistics.get("loginssince").is_some(), "it lacks a login that wtmp has");
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 2 * 86_400;
    let record = lastlog_record(u32::try_from(seconds).unwrap(), "tty1", "");
    std::os::unix::fs::FileExt::write_all_at(&file, &record, 0).unwrap();
    let result = search(&machine, "-lastlogin >1000d");
    assert_eq!((names(&result), result.statistics.get("loginssince")), (vec!["eve", "bin"], None));
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_is_called_missing() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    fs::write(machine.path("/etc/nsswitch.conf"), "passwd: files sss\nsudoers: files sss\n").unwrap();
    let others = search(&machine, "-name nothing");
    assert_eq!((&others.elements, &others.statistics["partial"]), (&json!({}), &json!(true)));
    assert_eq!(others.errors.unwrap()[0], "accounts of sss (/etc/nsswitch.conf) are not seen");
    fs::remove_file(machine.path("/etc/nsswitch.conf")).unwrap();
    fs::create_dir(machine.path("/etc/nsswitch.conf")).unwrap();
    let passwd = fs::read_to_string(machine.path("/etc/passwd")).unwrap();
    fs::write(machine.path("/etc/passwd"), passwd + " evil:x:0:0::/root:/bin/bash\n+::::::\n").unwrap();
    let errors = search(&machine, "-name nothing").errors.unwrap();
    let lines = "read /etc/passwd: line 7 is for what a server of names has, which is not seen";
    assert_eq!(errors, [lines, "read /etc/nsswitch.conf: it is not a regular file: other sources are unknown"]);
    assert_eq!(names(&search(&machine, "-name evil")), ["evil"]);
    fs::remove_file(machine.path("/etc/shadow")).unwrap();
    fs::create_dir(machine.path("/etc/shadow")).unwrap();
    fs::write(machine.path("/etc/sudoers.d/a"), "joe ALL=\n+net ALL=ALL\nDefaults>x !authenticate\n").unwrap();
    fs::write(machine.path("/etc/doas.conf"), "permit\n").unwrap();
    fs::create_dir_all(machine.path("/usr/local/etc/doas.conf")).unwrap();
    fs::write(machine.path("/etc/sudoers.d/b"), "@include a\n@include b\n@include /etc/%h\n").unwrap();
    for path in ["/var/log/wtmp", "/run/utmp"] {
        fs::remove_file(machine.path(path)).unwrap();
    }
    fs::remove_dir_all(machine.path("/run/systemd")).unwrap();
    fs::create_dir_all(machine.path("/var/lib/lastlog")).unwrap();
    fs::write(machine.path("/var/lib/lastlog/lastlog2.db"), "").unwrap();
    let result = search(&machine, "-password empty -lastlogin <1d -loggedin");
    assert_eq!(result.elements, json!({}));
    let errors = result.errors.unwrap().join("\n");
    for text in [
        "read /etc/shadow: it is not a regular file: passwords are unknown",
        "/etc/sudoers.d/a:1: is not understood: a word is missing",
        "/etc/sudoers.d/a:2: who is in +net is not known",
        "/etc/sudoers.d/a:3: is not understood: !authenticate for a host",
        "read /etc/sudoers.d/b: too many files include each other",
        "/etc/sudoers.d/b:3: includes what depends on the host's name",
        "read /var/lib/lastlog/lastlog2.db: it is no database of SQLite: last logins in it are unknown",
        "/etc/doas.conf:1: is not understood: it does not say for whom it is",
        "read /usr/local/etc/doas.conf: it is not a regular file: rights to use doas are missing",
        "no /run/utmp and no /run/systemd/sessions: who is logged in is unknown",
    ] {
        assert!(errors.contains(text), "{text}:\n{errors}");
    }
    fs::remove_file(machine.path("/etc/passwd")).unwrap();
    let result = search(&machine, "-name .");
    assert!(result.errors.unwrap()[0].starts_with("read /etc/passwd: No such file"));
    assert_eq!(result.elements, json!({}));
}

#[test]
fn broken_files_of_logins_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    fs::write(machine.path("/var/log/wtmp"), vec![7; 1_000_003]).unwrap();
    fs::write(machine.path("/run/utmp"), vec![0xff; 5 << 20]).unwrap();
    fs::write(machine.path("/var/log/lastlog"), vec![0xff; 100]).unwrap();
    let result = search(&machine, "-loggedin");
    assert_eq!(names(&result), ["joe"], "from its session");
    assert_eq!(result.errors.unwrap(), ["read /run/utmp: only its first 4194304 bytes"]);
}

#[test]
fn this_machine_is_read() {
    let parameters = User.parse_arguments(&["-name".into(), ".".into()]).unwrap();
    let result = User.run(&parameters, Context::by_hand());
    let lines = fs::read_to_string("/etc/passwd").unwrap();
    let expected: Vec<&str> = lines.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names(&result), expected);
    let groups = std::process::Command::new("id").args(["-Gn", "root"]).output().unwrap();
    let mut groups: Vec<String> =
        String::from_utf8(groups.stdout).unwrap().split_whitespace().map(str::to_owned).collect();
    groups.sort_unstable();
    let found =
        &result.elements["s1"].as_array().unwrap().iter().find(|account| account["name"] == "root").unwrap()["groups"];
    let mut found: Vec<String> =
        found.as_array().unwrap().iter().map(|group| group.as_str().unwrap().to_owned()).collect();
    found.sort_unstable();
    assert_eq!(found, groups);
}

#[test]
fn parameters_are_checked() {
    for (search, error) in [
        (json!({}), "searches.a: has no filter; \"names\": [\".\"] is every account"),
        (json!({"passwords": ["none"]}), "searches.a.passwords[0]: is not one of set, locked, empty, unknown"),
        (json!({"lastlogins": ["7d"]}), "searches.a.lastlogins[0]: \"7d\" is not an age like"),
        (json!({"uids": ["x"]}), "searches.a.uids[0]: is not a number like"),
        (json!({"user": ["x"]}), "searches.a.user: unknown key"),
        (json!({"sudo": "yes"}), "searches.a.sudo: is not true or false"),
    ] {
        let found = User.validate(&json!({"searches": {"a": search}})).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn sessions_of_every_class_of_users_count_and_unreadable_ones_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let session = |name: &str| machine.path("/run/systemd/sessions").join(name);
    fs::write(session("5"), "USER=eve\nCLASS=user-early-light\nSTATE=active\n").unwrap();
    fs::write(session("6"), "USER=bin\nCLASS=greeter\nSTATE=active\n").unwrap();
    // One that is closing, and the manager of a user who lingers.
    fs::write(session("8"), "USER=toor\nCLASS=user\nSTATE=closing\nTTY=pts/3\n").unwrap();
    fs::write(session("c1"), "USER=root\nCLASS=manager-early\nSTATE=active\n").unwrap();
    fs::create_dir_all(machine.path("/run/systemd/users")).unwrap();
    fs::write(machine.path("/run/systemd/users/2"), "NAME=bin\nSTATE=lingering\n").unwrap();
    fs::remove_file(machine.path("/run/utmp")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, session("5.ref"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let result = search(&machine, "-loggedin");
    assert_eq!((names(&result), &result.errors), (vec!["joe", "eve"], &None));
    fs::create_dir(session("7")).unwrap();
    let errors = search(&machine, "-loggedin").errors.unwrap();
    assert_eq!(errors, ["read /run/systemd/sessions/7: it is not a regular file"]);
}

#[test]
fn rules_behind_comments_and_exempt_groups_are_rights() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let text = "Defaults exempt_group=adm\n# c \\\nbin ALL=ALL\njoe ALL=PASSWD: /bin/x\n";
    fs::write(machine.path("/etc/sudoers"), text).unwrap();
    assert_eq!(names(&search(&machine, "-sudo")), ["joe", "bin"]);
    assert_eq!(names(&search(&machine, "-nopasswd")), ["joe", "eve"], "the second by doas");
}

#[test]
fn who_may_become_root_is_found_whatever_a_rule_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    fs::remove_file(machine.path("/etc/doas.conf")).unwrap();
    fs::remove_file(machine.path("/etc/sudoers.d/joe")).unwrap();
    for (rule, is_root) in [
        ("joe ALL=/a", true),
        ("joe ALL=(ALL) /a", true),
        ("joe ALL=(bin,#0) /a", true),
        ("joe ALL=(bin) /a, (root:adm) /b", true),
        ("Runas_Alias A = bin, root : B = bin\njoe ALL=(A) /a", true),
        ("Runas_Alias A = bin, root : B = bin\njoe ALL=(B, !A) /a", false),
        ("joe ALL=(ALL, !root, !toor) /a", false),
        ("joe ALL=(%adm) /a", true),
        ("joe ALL=(bin) /a", false),
        ("joe ALL=(:adm) /a", false),
        ("joe ALL=() /a", false),
        ("joe ALL=(root) !/a", false),
    ] {
        fs::write(machine.path("/etc/sudoers"), rule.to_owned() + "\n").unwrap();
        let result = search(&machine, "-root -name joe");
        assert_eq!((names(&result).len() == 1, &result.errors), (is_root, &None), "{rule}");
    }
    fs::remove_file(machine.path("/etc/sudoers")).unwrap();
    for (rules, is_root) in [
        ("permit joe", true),
        ("permit 1000", true),
        ("permit :adm", true),
        ("permit :4 as root", true),
        ("permit joe as toor cmd /a", true),
        ("permit joe as bin", false),
        ("permit :adm\ndeny joe", false),
        ("permit :adm\ndeny joe cmd /a", true),
        ("permit :adm cmd /a args x\ndeny joe cmd /a", false),
        ("permit :adm cmd /a\ndeny joe cmd /a args x", true),
        ("permit joe as root\ndeny joe as bin", true),
        ("deny joe\npermit joe", true),
        ("deny joe", false),
        ("permit bin", false),
    ] {
        fs::write(machine.path("/etc/doas.conf"), rules.to_owned() + "\n").unwrap();
        let result = search(&machine, "-root -name joe");
        assert_eq!((names(&result).len() == 1, &result.errors), (is_root, &None), "{rules}");
        assert_eq!(
            names(&search(&machine, "-doas -name joe")).len() == 1,
            is_root || rules.ends_with("as bin"),
            "{rules}"
        );
    }
    // A later rule of the same file decides on the password; what another file has is not known to come first.
    fs::write(machine.path("/etc/doas.conf"), "permit nopass joe\npermit :adm\n").unwrap();
    assert_eq!(names(&search(&machine, "-nopasswd")), [""; 0]);
    fs::create_dir(machine.path("/etc/doas.d")).unwrap();
    fs::write(machine.path("/etc/doas.d/a.conf"), "permit nopass joe as bin\n").unwrap();
    fs::write(machine.path("/etc/doas.d/b.conf"), "deny joe\n").unwrap();
    fs::write(machine.path("/etc/doas.d/c"), "permit nopass bin\n").unwrap();
    let found = search(&machine, "-nopasswd");
    assert_eq!(names(&found), ["joe"]);
    let sources: Vec<&Value> =
        found.elements["s1"][0]["doas"].as_array().unwrap().iter().map(|right| &right["source"]).collect();
    assert_eq!(sources, ["/etc/doas.conf:2", "/etc/doas.d/a.conf:1"]);
}
