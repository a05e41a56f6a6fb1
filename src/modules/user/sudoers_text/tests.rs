//! Lines as sudo reads them.

use super::*;

/// The rules of a line: `users hosts (as) nopasswd commands`.
fn rules(line: &str) -> Result<Vec<String>, &'static str> {
    let Statement::Rules(rules) = parse(line, &mut Aliases::default())? else { return Ok(vec![]) };
    let join = |list: &[Item]| list.iter().map(Item::text).collect::<Vec<_>>().join(",");
    let of = |(users, hosts, grants): &Rule| {
        let grant = |grant: &Grant| format!("({}) {:?} {}", grant.run_as.text(), grant.nopasswd, join(&grant.commands));
        let grants: Vec<String> = grants.iter().map(grant).collect();
        format!("{} {} {}", join(users), join(hosts), grants.join("; "))
    };
    Ok(rules.iter().map(of).collect())
}

#[test]
fn rules_are_read_as_sudo_reads_them() {
    for (line, expected) in [
        ("root ALL=(ALL:ALL) ALL", &["root ALL (ALL:ALL) None ALL"][..]),
        ("%sudo\tALL = ALL # all", &["%sudo ALL (root) None ALL"]),
        ("#1000, !joe , %#27 ALL=NOPASSWD:/bin/ls -l \\, x=1", &["#1000,!joe,%#27 ALL (root) Some(true) /bin/ls"]),
        (
            "a h1,h2=(x) /1, NOPASSWD: SETENV: /2, (:adm) PASSWD: !/3 : h3 = ()/4",
            &["a h1,h2 (x) None /1; (x) Some(true) /2; (:adm) Some(false) !/3", "a h3 () None /4"],
        ),
        ("\"a b\" ALL=sha256:abc=, sha512:d /bin/x, TIMEOUT=5m CWD=/tmp /y", &["a b ALL (root) None /bin/x,/y"]),
        ("a\\:b ALL=^/bin/(a|b)$ ^x(y)$, sudoedit /etc/x", &["a:b ALL (root) None ^/bin/(a|b)$,sudoedit"]),
        ("%:group,+net ALL=ALL", &["%:group,+net ALL (root) None ALL"]),
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
    assert_eq!(read("@includedir /etc/sudoers.d"), Statement::IncludeDirectory("/etc/sudoers.d".into()));
    assert_eq!(read("#include /etc/a\\ b"), Statement::Include("/etc/a b".into()));
    assert_eq!(read("User_Alias A = joe, %x : B=A,!y"), Statement::Nothing);
    assert_eq!(read("Cmnd_Alias C = /bin/a secret, !/bin/b"), Statement::Nothing);
    let item = |word: &str, is_negated| Item { is_negated, word: word.into() };
    assert_eq!(read("Defaults !authenticate"), Statement::WithoutPassword(vec![item("ALL", false)]));
    let two = vec![item("a", false), item("B", false)];
    assert_eq!(read("Defaults:a,B !authenticate"), Statement::WithoutPassword(two));
    assert_eq!(aliases.users["B"], [item("A", false), item("y", true)]);
    assert_eq!(aliases.commands["C"], [item("/bin/a", false), item("/bin/b", true)]);
    assert!(parse("Defaults@host !authenticate", &mut aliases).is_err());
    let joined = statements(b"a \\\n b\\\\\nc\\\n");
    assert_eq!(joined, [(1, "a  b\\\\".into()), (3, "c".into())]);
    let exempt = parse("Defaults x, exempt_group = \"adm\"", &mut aliases);
    assert_eq!(exempt, Ok(Statement::ExemptGroup("adm".into())));
    for line in ["Defaults !exempt_group", "Defaults:a exempt_group=b", "Defaults !authenticate, exempt_group=b"] {
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
    assert_eq!(rules("joe ALL=/bin/a#c").unwrap(), ["joe ALL (root) None /bin/a"]);
}
