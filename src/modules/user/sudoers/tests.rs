//! Files with rules, on whole machines.

use super::super::tests::{machine, names, search};
use crate::modules::files::Machine;
use serde_json::{Value, json};
use std::fs;

/// A machine with these rules of sudo, and none of doas.
fn with_rules(directory: &tempfile::TempDir, rules: &str) -> Machine {
    let machine = machine(directory.path());
    fs::remove_file(machine.path("/etc/doas.conf")).unwrap();
    fs::remove_file(machine.path("/etc/sudoers.d/joe")).unwrap();
    fs::write(machine.path("/etc/sudoers"), rules).unwrap();
    machine
}

#[test]
fn rights_behind_deep_aliases_are_found_and_cycles_are_named() {
    let chain = |kind: &str, last: &str| {
        let others = (1..40).map(|n| format!("{kind} A{n} = A{}\n", n - 1));
        others.chain([format!("{kind} A0 = {last}\n")]).collect::<String>()
    };
    let deep = chain("User_Alias", "joe") + &chain("Runas_Alias", "root") + &chain("Cmnd_Alias", "/bin/x");
    let directory = tempfile::tempdir().unwrap();
    let machine = with_rules(&directory, &(deep + "A39 ALL=(A39) A39\n"));
    let found = search(&machine, "-root -name joe");
    assert_eq!((&found.elements["s1"][0]["sudo"][0]["commands"], &found.errors), (&json!(["/bin/x"]), &None));
    let cyclic = "User_Alias A = joe,A,A,A,A,A,A,A,A\nCmnd_Alias C = C,C,C,C,C,C,C,C,/bin/x\nA ALL=C\n";
    fs::write(machine.path("/etc/sudoers"), cyclic).unwrap();
    let found = search(&machine, "-sudo");
    assert_eq!(names(&found), ["joe"]);
    let named = |kind: &str| format!("the {kind} of sudo is made of itself: what it stands for is unknown");
    assert_eq!(found.errors.unwrap(), [named("User_Alias A"), named("Cmnd_Alias C")]);
}

#[test]
fn who_may_become_any_account_with_the_id_of_root_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let machine = with_rules(&directory, "");
    for (rules, is_root) in [
        ("joe ALL=(toor) /a", true),
        ("joe ALL=(#00) /a", true),
        ("Runas_Alias A = toor\njoe ALL=(A) /a", true),
        ("joe ALL=(ALL, !root) /a", true),
        ("joe ALL=(ALL, !root, !toor) /a", false),
        ("joe ALL=(ALL, !%adm) /a", true),
        ("joe ALL=/a\nDefaults runas_default=toor", true),
        ("joe ALL=/a\nDefaults runas_default=bin", false),
        ("joe ALL=(root) /a\nDefaults runas_default=bin", true),
        ("Defaults runas_default=\"#0\", env_reset\njoe ALL=/a", true),
    ] {
        fs::write(machine.path("/etc/sudoers"), rules.to_owned() + "\n").unwrap();
        let result = search(&machine, "-root -name joe");
        assert_eq!((names(&result).len() == 1, &result.errors), (is_root, &None), "{rules}");
    }
    fs::write(machine.path("/etc/sudoers"), "Defaults runas_default=bin\njoe ALL=/a\n").unwrap();
    assert_eq!(search(&machine, "-sudo").elements["s1"][0]["sudo"][0]["as"], "bin");
}

#[test]
fn one_account_with_many_rights_leaves_room_for_others() {
    let rules: String = (0..60_000).map(|n| format!("root ALL=(u{n}) PASSWD: /bin/x{n}\n")).collect();
    let late = "root ALL=(bin) NOPASSWD: !/bin/y\nroot ALL=(toor) NOPASSWD: /bin/z\njoe ALL=NOPASSWD: ALL\n";
    let directory = tempfile::tempdir().unwrap();
    let machine = with_rules(&directory, &(rules + late));
    let permits: String = (0..30_000).map(|n| format!("permit root as u cmd a{n}\n")).collect();
    fs::write(machine.path("/etc/doas.conf"), permits + "deny root as u cmd a0\npermit nopass joe\n").unwrap();
    let count = |found: &Value, by: &str| found[by].as_array().unwrap().len();
    let found = search(&machine, "-sudo -doas");
    assert_eq!(names(&found), ["root", "joe"]);
    let root = &found.elements["s1"][0];
    assert!((100..=201).contains(&count(root, "sudo")) && (100..=200).contains(&count(root, "doas")), "{root}");
    assert_eq!(root["doas"][0]["source"], "/etc/doas.conf:2", "what a later rule takes away is no right");
    let last = &root["sudo"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["as"], &last["commands"]), (&json!("toor"), &json!(["/bin/z"])), "filters look at all rules");
    let errors = found.errors.unwrap();
    assert!(errors.len() == 3 && errors[0].starts_with("root has more than the "), "{errors:?}");
    assert_eq!(found.statistics.get("partial"), None);
    assert_eq!(names(&search(&machine, "-nopasswd")), ["root", "joe"]);
    // Nor does one right.
    let words: Vec<String> = (0..100_000).map(|n| format!("w{n}")).collect();
    let words = words.join(",");
    fs::write(machine.path("/etc/sudoers"), format!("root {words}=({words}) {words}\njoe ALL=ALL\n")).unwrap();
    let found = search(&machine, "-sudo");
    assert_eq!(names(&found), ["root", "joe"]);
    assert!(found.elements["s1"][0].to_string().len() < 32 << 10, "{}", found.elements["s1"][0]);
}

#[test]
fn whom_files_of_the_machine_do_not_name_is_said_also_behind_aliases() {
    let directory = tempfile::tempdir().unwrap();
    let machine = with_rules(&directory, "");
    for (rules, word) in [
        ("+net ALL=ALL", "+net"),
        ("User_Alias A = B : B = joe, +net\nbin, A ALL=ALL", "+net"),
        ("User_Alias A = %:group\nA ALL=ALL", "%:group"),
        ("Defaults:+net !authenticate", "+net"),
    ] {
        fs::write(machine.path("/etc/sudoers"), rules.to_owned() + "\n").unwrap();
        let result = search(&machine, "-sudo -name eve");
        let line = rules.lines().count();
        let error = format!("/etc/sudoers:{line}: who is in {word} is not known");
        assert_eq!((&result.elements, result.errors.unwrap()), (&json!({}), vec![error]), "{rules}");
    }
    fs::write(machine.path("/etc/sudoers"), "User_Alias A = +net\njoe ALL=ALL\n").unwrap();
    assert_eq!(search(&machine, "-sudo").errors, None, "no rule has it");
}

#[test]
fn files_of_sudo_rs_and_of_sudo_conf_are_not_overlooked() {
    let directory = tempfile::tempdir().unwrap();
    let machine = with_rules(&directory, "");
    fs::write(machine.path("/etc/sudoers.d/a"), "eve ALL=ALL\n").unwrap();
    let rules = |name: &str| format!("User_Alias A = {name}\nA ALL=ALL\n@includedir /etc/sudoers.d\n");
    fs::write(machine.path("/etc/sudoers"), rules("joe")).unwrap();
    fs::write(machine.path("/etc/sudoers-rs"), rules("bin")).unwrap();
    fs::write(machine.path("/etc/sudo.conf"), "# sudoers_file=/x\nPlugin p sudoers.so sudoers_file=/etc/sudoers\n")
        .unwrap();
    let found = search(&machine, "-sudo");
    assert_eq!((names(&found), &found.errors), (vec!["joe", "eve", "bin"], &None));
    assert_eq!(found.elements["s1"][1]["sudo"].as_array().unwrap().len(), 1, "a right is there once");
    fs::write(machine.path("/etc/sudo.conf"), "Plugin p sudoers.so sudoers_file=/etc/other mode=1\n").unwrap();
    let errors = search(&machine, "-sudo").errors.unwrap();
    assert_eq!(errors, ["rights to use sudo in /etc/other (/etc/sudo.conf) are not seen"]);
}
