//! Whole machines below a directory, and this one as systemctl(1) sees it.

use super::Service;
use super::run::run;
use crate::modules::files::Machine;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn write(machine: &Machine, path: &str, text: &str) {
    let path = machine.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn link(machine: &Machine, path: &str, target: &str) {
    let path = machine.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

/// A machine with something of each kind.
fn machine(directory: &Path) -> Machine {
    let machine = Machine::below(directory);
    let of_packages = "/usr/lib/systemd/system";
    let service = "[Service]\nExecStart=/bin/prog -x\nEnvironment=KEY=secret\n[Install]\nWantedBy=multi-user.target\n";
    for (path, text) in [
        ("/etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("/bin/prog", ""),
        (&format!("{of_packages}/web.service"), service),
        (&format!("{of_packages}/off.service"), &service.replace("/bin/prog", "-/bin/gone")),
        (&format!("{of_packages}/getty@.service"), service),
        (&format!("{of_packages}/static.service"), "[Service]\nExecStart=/bin/sh -c 'T=secret prog'\nUser=joe\n"),
        (&format!("{of_packages}/masked.service"), service),
        (&format!("{of_packages}/empty.service"), ""),
        (&format!("{of_packages}/job.timer"), "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"),
        (&format!("{of_packages}/x.target"), ""),
        ("/run/systemd/transient/run-1.service", "[Service]\nExecStart=/tmp/evil\n"),
        ("/run/systemd/generator/old.service", "[Service]\nExecStart=/etc/init.d/old start\n"),
        ("/etc/systemd/system/getty@tty2.service.d/x.conf", "[Service]\nExecStop=/bin/prog two\n"),
        ("/etc/systemd/system/getty@tty3.service.d/x.conf", "[Service]\nExecStop=/bin/prog three\n"),
        ("/srv/app.service", service),
        ("/etc/systemd/system/web.service.d/10-a.conf", "[Service]\nExecStart=\nExecStart=/bin/other\n"),
        ("/usr/lib/systemd/system/web.service.d/10-a.conf", "[Service]\nExecStart=/bin/not\n"),
        ("/usr/lib/systemd/system/service.d/90-all.conf", "[Service]\nUser=web\n"),
        ("/etc/init.d/old", ""),
        ("/etc/init.d/README", ""),
        ("/etc/rc2.d/S99evil", ""),
        ("/etc/rc2.d/S99README", ""),
        (
            "/etc/crontab",
            "SHELL=/bin/sh\nMAILTO = \"secret\"\n# c\n17 *\t* * *\troot  cd / && run\nbad\n@reboot root KEY=secret x%secret\n",
        ),
        ("/etc/cron.d/pkg", "*/5 * * * * joe /bin/a\n"),
        ("/etc/cron.d/pkg.dpkg-old", "* * * * * root /bin/b\n"),
        ("/etc/cron.daily/clean", ""),
        ("/etc/cron.daily/.placeholder", ""),
        ("/var/spool/cron/crontabs/eve", "@hourly curl example.net\n"),
        ("/etc/debian_version", "13\n"),
        ("/etc/cron.d/pkg.rpmsave", "* * * * * root /bin/b\n"),
        ("/etc/anacrontab", "START_HOURS_RANGE=3\n7 10 weekly run-parts /etc/cron.weekly\n"),
        ("/var/spool/cron/atjobs/a0000301bcd5f0", "#!/bin/sh\nKEY=secret\n"),
        ("/var/spool/cron/atjobs/.SEQ", "1"),
        ("/sys/fs/cgroup/cgroup.procs", "1\n"),
        ("/sys/fs/cgroup/system.slice/cgroup.procs", ""),
        ("/sys/fs/cgroup/system.slice/web.service/cgroup.procs", ""),
        ("/sys/fs/cgroup/system.slice/web.service/below/cgroup.procs", "7\n"),
        ("/sys/fs/cgroup/system.slice/off.service/cgroup.procs", ""),
        ("/sys/fs/cgroup/system.slice/ghost.service/cgroup.procs", "8\n"),
        ("/sys/fs/cgroup/system.slice/system-getty.slice/getty@tty2.service/cgroup.procs", "9\n"),
        ("/sys/fs/cgroup/user.slice/user@0.service/app.slice/own.service/cgroup.procs", "10\n"),
    ] {
        write(&machine, path, text);
    }
    fs::create_dir_all(machine.path("/run/systemd/system")).unwrap();
    for (path, target) in [
        ("/etc/systemd/system/multi-user.target.wants/web.service", "/usr/lib/systemd/system/web.service"),
        ("/etc/systemd/system/getty.target.wants/getty@tty1.service", "/usr/lib/systemd/system/getty@.service"),
        ("/usr/lib/systemd/system/basic.target.wants/static.service", "../static.service"),
        ("/etc/systemd/system/masked.service", "/dev/null"),
        ("/etc/systemd/system/www.service", "/usr/lib/systemd/system/web.service"),
        ("/etc/systemd/system/app.service", "/srv/app.service"),
        ("/etc/systemd/system/lost.service", "/srv/lost.service"),
        ("/etc/systemd/system/off.service.d/x.conf", "/dev/null"),
        ("/etc/rc3.d/S01old", "../init.d/old"),
    ] {
        link(&machine, path, target);
    }
    for path in ["/etc/init.d/old", "/etc/cron.daily/clean"] {
        fs::set_permissions(machine.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    machine
}

fn search(machine: &Machine, line: &str) -> ModuleResult {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let parameters = Service.parse_arguments(&words).unwrap();
    run(&super::parameters::parse(&parameters).unwrap(), machine, Context::by_hand())
}

fn entries(result: &ModuleResult) -> &[Value] {
    result.elements["s1"].as_array().unwrap_or_else(|| panic!("{result:?}"))
}

fn names(result: &ModuleResult) -> Vec<&str> {
    entries(result).iter().map(|element| element["name"].as_str().unwrap()).collect()
}

#[test]
fn units_are_read_with_drop_ins_states_and_processes() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let result = search(&machine, "-kind service -name .");
    let said = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("name"), text("state"), entry["running"])
    };
    let found: Vec<String> = entries(&result).iter().map(said).collect();
    let expected = [
        "app.service linked false",
        "empty.service masked false",
        "getty@.service enabled false",
        "getty@tty1.service enabled false",
        "getty@tty2.service disabled true",
        "getty@tty3.service disabled false",
        "lost.service linked false",
        "masked.service masked false",
        "off.service disabled false",
        "old.service generated false",
        "run-1.service transient false",
        "static.service static false",
        "web.service enabled true",
        "www.service alias false",
        "ghost.service nofile true",
        "user@0.service nofile true",
    ];
    assert_eq!(found, expected);
    let of = |name: &str| entries(&result).iter().find(|entry| entry["name"] == name).unwrap().clone();
    let web = of("web.service");
    assert_eq!((&web["commands"], &web["user"]), (&json!(["/bin/other"]), &json!("web")));
    assert_eq!(
        web["dropins"],
        json!(["/etc/systemd/system/web.service.d/10-a.conf", "/usr/lib/systemd/system/service.d/90-all.conf"])
    );
    assert_eq!((&web["wantedby"], &web["missing"]), (&json!(["multi-user.target"]), &json!(["/bin/other"])));
    assert_eq!((&web["file"], &web["owner"]), (&json!("/usr/lib/systemd/system/web.service"), &json!("root")));
    assert_eq!(of("www.service")["unit"], "web.service");
    assert_eq!(of("getty@tty1.service")["commands"], json!(["/bin/prog -x"]));
    assert_eq!(of("getty@tty2.service")["commands"], json!(["/bin/prog -x", "/bin/prog two"]));
    assert_eq!(of("getty@tty3.service")["commands"], json!(["/bin/prog -x", "/bin/prog three"]));
    assert_eq!(of("static.service")["commands"], json!(["/bin/sh -c 'T=… prog'"]));
    assert_eq!(of("off.service")["missing"], json!(["/bin/gone"]));
    assert_eq!(of("lost.service")["missing"], json!(["/srv/lost.service"]));
    let timer = search(&machine, "-kind timer -schedule OnCalendar");
    assert_eq!(
        (&entries(&timer)[0]["unit"], &entries(&timer)[0]["state"]),
        (&json!("job.service"), &json!("disabled"))
    );
}

#[test]
fn tables_scripts_and_jobs_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let result = search(&machine, "-kind cron -kind anacron -kind at -kind sysv -name .");
    let said = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        format!(
            "{}:{} {} {} {} {}",
            text("file"),
            entry["line"],
            text("state"),
            text("user"),
            entry["schedules"],
            entry["commands"]
        )
    };
    let found: Vec<String> = entries(&result).iter().map(said).collect();
    let expected = [
        r#"/etc/init.d/old:null enabled root ["rc3"] ["/etc/init.d/old"]"#,
        r#"/etc/rc2.d/S99README:null ignored root ["rc2"] ["/etc/rc2.d/S99README"]"#,
        r#"/etc/rc2.d/S99evil:null ignored root ["rc2"] ["/etc/rc2.d/S99evil"]"#,
        r#"/etc/crontab:4 enabled root ["17 * * * *"] ["cd / && run"]"#,
        r#"/etc/crontab:6 enabled root ["@reboot"] ["KEY=… x"]"#,
        r#"/etc/anacrontab:2 enabled root ["7 10"] ["run-parts /etc/cron.weekly"]"#,
        r#"/etc/cron.d/pkg:1 enabled joe ["*/5 * * * *"] ["/bin/a"]"#,
        r#"/etc/cron.d/pkg.dpkg-old:1 ignored root ["* * * * *"] ["/bin/b"]"#,
        r#"/etc/cron.d/pkg.rpmsave:1 ignored root ["* * * * *"] ["/bin/b"]"#,
        r#"/var/spool/cron/crontabs/eve:1 enabled eve ["@hourly"] ["curl example.net"]"#,
        r#"/etc/cron.daily/clean:null enabled root ["daily"] ["/etc/cron.daily/clean"]"#,
    ];
    assert_eq!(found[..11], expected[..11]);
    assert!(
        found[11]
            .starts_with("/var/spool/cron/atjobs/a0000301bcd5f0:null enabled root [\"2025-06-05 23:12:00 +0000 UTC"),
        "{}",
        found[11]
    );
    assert_eq!(result.errors.unwrap(), ["read /etc/crontab: line 5 is not understood"]);
}

#[test]
fn entries_are_found_by_each_filter_and_nothing_private_is_returned() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let result = search(&machine, "-name .");
    assert!(!serde_json::to_string(&result).unwrap().contains("secret"), "{result:?}");
    for (line, expected) in [
        ("-command secret", &[][..]),
        ("-command curl", &["eve"]),
        ("-user ^joe$", &["pkg"]),
        ("-user ^web$ -running", &["getty@tty2.service", "web.service"]),
        ("-schedule ^@", &["crontab", "eve"]),
        ("-state masked", &["empty.service", "masked.service"]),
        ("-kind cron -state ignored", &["pkg.dpkg-old", "pkg.rpmsave"]),
        ("-file ^$", &["ghost.service", "user@0.service"]),
        ("-missing -kind service -state disabled", &["off.service"]),
        ("-running -state enabled", &["web.service"]),
        ("-command /tmp/ -schedule ^@hourly -matchany", &["run-1.service", "eve"]),
    ] {
        assert_eq!(names(&search_quiet(&machine, line)), expected, "{line}");
    }
    assert_eq!(names(&search_quiet(&machine, "-name . -matchlimit 1")).len(), 1);
    fs::remove_file(machine.path("/etc/debian_version")).unwrap();
    assert_eq!(
        names(&search_quiet(&machine, "-kind cron -state ignored")),
        ["pkg.rpmsave"],
        "cron of others takes any name"
    );
    let line = Service.print(&search_quiet(&machine, "-command curl")).remove(0);
    let expected = "eve [cron enabled, file:/var/spool/cron/crontabs/eve:1, user:eve, schedules:@hourly, commands:curl example.net]";
    assert!(line.starts_with(expected), "{line}");
}

/// A search on the machine without the line of its table that is not understood, so that empty results are seen.
fn search_quiet(machine: &Machine, line: &str) -> ModuleResult {
    let text = fs::read_to_string(machine.path("/etc/crontab")).unwrap().replace("bad\n", "");
    fs::write(machine.path("/etc/crontab"), text).unwrap();
    search(machine, line)
}

#[test]
fn what_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    symlink("/etc/shadow", machine.path("/var/spool/cron/crontabs/mallory")).unwrap();
    link(&machine, "/etc/systemd/system/loop.service", "loop.service");
    write(&machine, "/usr/lib/systemd/system/large.service", &"#".repeat((1 << 20) + 1));
    write(&machine, "/etc/systemd/system/web.service.d/large.conf", &"#".repeat((1 << 20) + 1));
    let many = "[Service]\n".to_owned() + &"ExecStartPre=/bin/a\n".repeat(1001);
    write(&machine, "/etc/systemd/system/many.service", &many);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        machine.path("/etc/cron.d/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let result = search(&machine, "-name nothing");
    assert_eq!(result.elements, json!({}));
    let errors = result.errors.unwrap().join("\n");
    for text in [
        "read /var/spool/cron/crontabs/mallory: it is a link, which is not followed",
        "read /etc/systemd/system/loop.service: ",
        "read /usr/lib/systemd/system/large.service: only its first 1048576 bytes",
        "read /etc/systemd/system/web.service.d/large.conf: only its first 1048576 bytes",
        "read /etc/systemd/system/many.service: only its first 1000 commands or times",
        "read /etc/cron.d/fifo: it is not a regular file",
    ] {
        assert!(errors.contains(text), "{text}:\n{errors}");
    }
    fs::remove_dir_all(machine.path("/sys")).unwrap();
    let result = search(&machine, "-running");
    assert!(result.errors.unwrap().contains(&"which units run is unknown".to_owned()));
    fs::create_dir_all(machine.path("/run/systemd/units")).unwrap();
    symlink("x", machine.path("/run/systemd/units/invocation:web.service")).unwrap();
    assert_eq!(names(&search(&machine, "-running")), ["web.service"]);
    fs::remove_dir_all(machine.path("/run/systemd/system")).unwrap();
    assert_eq!(search(&machine, "-running").elements, json!({}), "systemd has not started this machine");
}

#[test]
fn this_machine_is_as_systemctl_says() {
    let mut command = std::process::Command::new("systemctl");
    let output = command.args(["--root=/", "list-unit-files", "--no-legend", "--no-pager", "--full"]).output();
    let output = output.expect("systemctl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let parameters = Service.parse_arguments(&["-name".into(), ".".into()]).unwrap();
    let result = Service.run(&parameters, Context::by_hand());
    let found = entries(&result);
    let mut compared = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(state)) = (words.first(), words.get(1)) else { continue };
        if super::units::kind(name).is_none() {
            continue;
        }
        let entry = found.iter().find(|entry| entry["name"] == *name).unwrap_or_else(|| panic!("{line}"));
        let expected = match *state {
            "enabled-runtime" => "enabled",
            "masked-runtime" => "masked",
            "indirect" => "disabled",
            state => state,
        };
        assert_eq!(entry["state"], expected, "{line}: {entry}");
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn parameters_are_checked() {
    for (search, error) in [
        (json!({}), "searches.a: has no filter; \"names\": [\".\"] is everything"),
        (json!({"kinds": ["crontab"]}), "searches.a.kinds[0]: is not one of service, timer,"),
        (json!({"states": ["on"]}), "searches.a.states[0]: is not one of enabled, disabled,"),
        (json!({"command": ["x"]}), "searches.a.command: unknown key; did you mean \"commands\"?"),
    ] {
        let found = Service.validate(&json!({"searches": {"a": search}})).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn units_of_containers_are_not_those_of_the_machine() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    let deep = "below/".repeat(40);
    for path in [
        "system.slice/docker-0123.scope/system.slice/inner.service",
        "system.slice/docker-0123.scope/system.slice/off.service",
        "lxc/payload/system.slice/off.service",
        &format!("system.slice/getty@tty3.service/{deep}"),
        "root.service",
    ] {
        write(&machine, &format!("/sys/fs/cgroup/{path}/cgroup.procs"), "11\n");
    }
    let found = search_quiet(&machine, "-running");
    assert_eq!(
        names(&found),
        ["getty@tty2.service", "getty@tty3.service", "web.service", "ghost.service", "root.service", "user@0.service"]
    );
    assert_eq!(found.errors, None);
    let long = format!("/sys/fs/cgroup/system.slice/off.service/{}", "a".repeat(200));
    fs::create_dir_all(machine.path(&long)).unwrap();
    let mut at = fs::File::open(machine.path(&long)).unwrap();
    for _ in 0..20 {
        let name = "b".repeat(250);
        rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        at = rustix::fs::openat(&at, &name, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    let errors = search_quiet(&machine, "-running").errors.unwrap().join("\n");
    assert!(errors.contains("read the control groups of off.service: File name too long"), "{errors}");
}

#[test]
fn a_unit_of_which_only_a_link_is_left_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    write(&machine, "/srv/evil.service", "[Service]\nExecStart=/tmp/evil\n");
    write(&machine, "/srv/base.service", "[Service]\nExecStart=/tmp/base\n");
    write(&machine, "/etc/systemd/system/with.service", ".include /srv/base.service\n");
    link(&machine, "/etc/systemd/system/multi-user.target.wants/evil.service", "/srv/evil.service");
    let found = search_quiet(&machine, "-command ^/tmp/evil$ -name evil");
    assert_eq!(names(&found), ["evil.service"]);
    assert_eq!(entries(&found)[0]["file"], "/etc/systemd/system/multi-user.target.wants/evil.service");
    assert_eq!(names(&search_quiet(&machine, "-command ^/tmp/base$ -name with")), ["with.service"]);
}

#[test]
fn names_and_places_that_others_use_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    fs::remove_file(machine.path("/etc/debian_version")).unwrap();
    let name = |directory: &str, bytes: &[u8]| machine.path(directory).join(OsStr::from_bytes(bytes));
    fs::create_dir_all(machine.path("/etc/rc3.d")).unwrap();
    for path in [name("/etc/cron.daily", b"evil1\xff"), name("/etc/rc3.d", b"S99evil2\xff")] {
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(name("/etc/cron.d", b"evil3\xff"), "* * * * * root evil\n").unwrap();
    for path in ["/var/spool/atjobs/a0000401bcd5f0", "/var/spool/atd/a0000501bcd5f0"] {
        write(&machine, path, "");
    }
    write(&machine, "/etc/rc6.d/S99evil6", "");
    write(&machine, "/etc/local.d/evil7.start", "");
    symlink("/etc/cron.daily/loop", machine.path("/etc/cron.daily/loop")).unwrap();
    symlink("loop2", machine.path("/etc/cron.daily/loop2")).unwrap();
    let found = search_quiet(&machine, "-name evil[0-9]|^a000");
    let mut all: Vec<String> = entries(&found)
        .iter()
        .map(|entry| {
            format!("{} {} {}", entry["name"].as_str().unwrap(), entry["state"].as_str().unwrap(), entry["schedules"])
        })
        .collect();
    all.retain(|text| !text.starts_with("a0000301"));
    let expected = [
        "evil7.start ignored [\"boot\"]",
        "evil2\u{fffd} enabled [\"rc3\"]",
        "evil6 ignored [\"rc6\"]",
        "evil3\u{fffd} enabled [\"* * * * *\"]",
        "evil1\u{fffd} enabled [\"daily\"]",
    ];
    assert_eq!(all[..5], expected);
    assert!(all[5].starts_with("a0000401bcd5f0 enabled") && all[6].starts_with("a0000501bcd5f0 enabled"), "{all:?}");
    assert!(found.errors.unwrap()[0].contains("read /etc/cron.daily/loop2: "));
}

#[test]
fn a_spool_that_is_a_link_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    fs::remove_dir_all(machine.path("/var/spool/cron/crontabs")).unwrap();
    write(&machine, "/etc/crontabs/eve", "@hourly curl example.net\n");
    link(&machine, "/var/spool/cron/crontabs", "../../../etc/crontabs");
    assert_eq!(names(&search_quiet(&machine, "-user ^eve$")), ["eve"]);
}

#[test]
fn a_link_over_another_directory_leads_where_the_kernel_goes() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    write(&machine, "/tmp/ev/x.service", "[Service]\nExecStart=/tmp/evil-linked\n");
    write(&machine, "/tmp/ev/x.conf", "[Service]\nExecStop=/tmp/evil-dropin\n");
    write(&machine, "/tmp/ev/script", "");
    write(&machine, "/dev/null", "");
    fs::create_dir(machine.path("/tmp/ev/dd")).unwrap();
    write(&machine, "/etc/systemd/system/x.service", "[Service]\nExecStart=/bin/true\n");
    write(&machine, "/usr/local/real/of-link.service", "[Service]\nExecStart=/bin/true\n");
    for (path, target) in [
        ("/etc/systemd/system/d", "../../../tmp/ev/dd"),
        ("/etc/systemd/system/a.service", "d/../x.service"),
        ("/etc/systemd/system/web.service.d/d", "../../../../tmp/ev/dd"),
        ("/etc/systemd/system/web.service.d/y.conf", "d/../x.conf"),
        ("/etc/rc2.d/d", "../../tmp/ev/dd"),
        ("/etc/rc2.d/S98script", "d/../script"),
        ("/etc/systemd/system/null.service", "../../../dev/null"),
        ("/usr/local/lib/systemd/system", "../../real"),
    ] {
        link(&machine, path, target);
    }
    for (line, expected) in [
        ("-command evil-linked", &["a.service"][..]),
        ("-command evil-dropin", &["web.service"]),
        ("-kind sysv -name ^script$", &["script"]),
        ("-name ^null -state masked", &["null.service"]),
        ("-name ^of-link -state static", &["of-link.service"]),
    ] {
        assert_eq!(names(&search_quiet(&machine, line)), expected, "{line}");
    }
}

#[test]
fn what_was_read_is_compared_when_the_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    write(&machine, "/etc/systemd/system/aaa.service", "[Service]\nExecStart=/tmp/evil\n");
    write(&machine, "/srv/large", &"[Service]\nExecStop=\n".repeat((1 << 20) / 20));
    // Each takes about a second.
    for number in 0..60 {
        let path = format!("/etc/systemd/system/bbb{number}.service");
        write(&machine, &path, &".include /srv/large\n".repeat(100));
    }
    let started = std::time::Instant::now();
    let time = std::time::Duration::from_secs(2);
    let parameters = Service.parse_arguments(&["-command".into(), "/tmp/evil".into()]).unwrap();
    let context = Context { deadline: Some(started + time), ..Context::by_hand() };
    let result = run(&super::parameters::parse(&parameters).unwrap(), &machine, context);
    assert_eq!(names(&result), ["aaa.service"]);
    assert!(result.errors.unwrap()[0].starts_with("partial: stopped at the time limit"));
    assert!(started.elapsed() < time * 3, "{:?}", started.elapsed());
}

#[test]
fn a_unit_includes_so_many_files() {
    let directory = tempfile::tempdir().unwrap();
    let machine = machine(directory.path());
    for number in 0..=100 {
        write(&machine, &format!("/srv/{number}"), &format!("[Service]\nExecStop=/bin/of-{number}.\n"));
    }
    let lines =
        |numbers: std::ops::RangeInclusive<u32>| numbers.map(|n| format!(".include /srv/{n}\n")).collect::<String>();
    write(&machine, "/etc/systemd/system/aaa.service", &lines(0..=49));
    write(&machine, "/etc/systemd/system/aaa.service.d/x.conf", &lines(50..=99));
    let found = search_quiet(&machine, "-command of-0[.] -command of-99[.]");
    assert_eq!((names(&found), found.errors.as_ref()), (vec!["aaa.service"], None));
    write(&machine, "/etc/systemd/system/aaa.service.d/y.conf", &lines(100..=100));
    let found = search_quiet(&machine, "-command of-100[.]");
    assert_eq!(found.elements, json!({}));
    let expected =
        "read /etc/systemd/system/aaa.service.d/y.conf: only the first 100 files that the unit includes, not /srv/100";
    assert_eq!(found.errors.unwrap(), [expected]);
}
