//! Lines as sudo reads them.

use super::*;

/// The rules of a line: `users hosts (as) nopasswd commands`.
fn rules(line: &str) -> Result<Vec<String>, &'static str> {
    let Statement::Rules(rules) = parse(line, &mut Aliases::default())? else { return Ok(vec![]) };
    let join = |list: &[Item]| list.iter().map(Item::text).collect::<Vec<_>>().join(",");
    let of = |(users, hosts, grants): &Rule| {
        let grant = |grant: &Grant| {
            let run_as = grant.run_as.as_ref().map_or("default".to_owned(), |run_as| run_as.text());
            format!("({run_as}) {:?} {}", grant.nopasswd, join(&grant.commands))
        };
        let grants: Vec<String> = grants.iter().map(grant).collect();
        format!("{} {} {}", join(users), join(hosts), grants.join("; "))
    };
    Ok(rules.iter().map(of).collect())
}

#[test]
fn rules_are_read_as_sudo_reads_them() {
    for (line, expected) in [
        ("root ALL=(ALL:ALL) ALL", &["root ALL (ALL:ALL) None ALL"][..]),
        ("%sudo\tALL = ALL # all", &["%sudo ALL (default) None ALL"]),
        ("#1000, !joe , %#27 ALL=NOPASSWD:/bin/ls -l \\, x=1", &["#1000,!joe,%#27 ALL (default) Some(true) /bin/ls"]),
        (
            "a h1,h2=(x) /1, NOPASSWD: SETENV: /2, (:adm) PASSWD: !/3 : h3 = ()/4",
            &["a h1,h2 (x) None /1; (x) Some(true) /2; (:adm) Some(false) !/3", "a h3 () None /4"],
        ),
        ("\"a b\" ALL=sha256:abc=, sha512:d /bin/x, TIMEOUT=5m CWD=/tmp /y", &["a b ALL (default) None /bin/x,/y"]),
        ("a\\:b ALL=^/bin/(a|b)$ ^x(y)$, sudoedit /etc/x", &["a:b ALL (default) None ^/bin/(a|b)$,sudoedit"]),
        ("%:group,+net ALL=ALL", &["%:group,+net ALL (default) None ALL"]),
        ("# comment", &[]),
        ("", &[]),
        ("Defaults env_reset, mail_badpass", &[]),
        ("Host_Alias A = b", &[]),
    ] {
        assert_eq!(rules(line).unwrap(), expected, "{line}");
    }
    for line in ["root", "root ALL", "root ALL=", "root ALL=(", "root ALL=ALL,", "root ALL=\"x", "= = =", "a b=c ) : ,"]
    {
        assert!(rules(line).is_err(), "{line}");
    }
}

#[test]
fn other_statements_are_read() {
    let mut aliases = Aliases::default();
    let mut read = |line| parse(line, &mut aliases).unwrap();
    assert_eq!(
        read("@includedir /etc/sudoers.d"),
        Statement::Include { path: "/etc/sudoers.d".into(), is_directory: true }
    );
    assert_eq!(read("#include /etc/a\\ b"), Statement::Include { path: "/etc/a b".into(), is_directory: false });
    assert_eq!(read("User_Alias A = joe, %x : B=A,!y"), Statement::Nothing);
    assert_eq!(read("Cmnd_Alias C = /bin/a secret, !/bin/b"), Statement::Nothing);
    let item = |word: &str, is_negated| Item { is_negated, word: word.into() };
    let defaults = |without_password, exempt_group: Option<&str>, runas_default: Option<&str>| {
        let (exempt_group, runas_default) = (exempt_group.map(str::to_owned), runas_default.map(str::to_owned));
        Statement::Defaults(Defaults { without_password, exempt_group, runas_default })
    };
    let all = || Some(vec![item("ALL", false)]);
    assert_eq!(read("Defaults !authenticate"), defaults(all(), None, None));
    let two = vec![item("a", false), item("B", false)];
    assert_eq!(read("Defaults:a,B !authenticate"), defaults(Some(two), None, None));
    assert_eq!(read("Defaults x, exempt_group = \"adm\""), defaults(None, Some("adm"), None));
    assert_eq!(read("Defaults runas_default=x"), defaults(None, None, Some("x")));
    assert_eq!(read("Defaults runas_default=x, !authenticate, exempt_group=y"), defaults(all(), Some("y"), Some("x")));
    assert_eq!(aliases.users["B"], [item("A", false), item("y", true)]);
    assert_eq!(aliases.commands["C"], [item("/bin/a", false), item("/bin/b", true)]);
    assert!(parse("Defaults@host !authenticate", &mut aliases).is_err());
    let joined = statements(b"a \\\n b\\\\\nc\\\n");
    assert_eq!(joined, [(1, "a  b\\\\".into()), (3, "c".into())]);
    for line in
        ["Defaults !exempt_group", "Defaults:a exempt_group=b", "Defaults runas_default", "Defaults>a runas_default=b"]
    {
        assert!(parse(line, &mut aliases).is_err(), "{line}");
    }
}

#[test]
fn a_comment_does_not_hide_the_next_line() {
    for (text, lines) in [
        ("# c \\\nx", &["# c \\", "x"][..]),
        ("a b=c # d \\\nx", &["a b=c # d \\", "x"]),
        ("a b=/c#d \\\nx", &["a b=/c#d \\", "x"]),
        ("a \\\n# d \\\nx", &["a # d \\", "x"]),
        ("#include /c \\\nx", &["#include /c \\", "x"]),
        ("a \\\n#include /c\nx", &["a ", "#include /c", "x"]),
        ("#1 b=c, \\\nx", &["#1 b=c, x"]),
        ("#-1 b=c, \\\nx", &["#-1 b=c, x"]),
        ("a b=\"#\" \\\nx", &["a b=\"#\" x"]),
        ("a b=\\# \\\nx", &["a b=\\# x"]),
    ] {
        let found: Vec<String> = statements(text.as_bytes()).into_iter().map(|(_, line)| line).collect();
        assert_eq!(found, lines, "{text}");
    }
    assert_eq!(rules("joe ALL=/bin/a#c").unwrap(), ["joe ALL (default) None /bin/a"]);
}
