//! What is shown of commands, and what is compared.

use super::*;

#[test]
fn values_of_variables_are_hidden() {
    for (text, expected) in [
        ("/bin/a -x --key=v if=/dev/zero", "/bin/a -x --key=v if=/dev/zero"),
        ("PGPASSWORD=secret pg_dump a", "PGPASSWORD=… pg_dump a"),
        ("a=\"sec ret\" b='s e' prog c=d", "a=… b=… prog c=d"),
        ("/usr/bin/env x=secret Y=secret prog", "/usr/bin/env x=… Y=… prog"),
        ("/bin/sh -c 'token=secret; curl -d KEY=secret x'", "/bin/sh -c 'token=…; curl -d KEY=… x'"),
        ("bash -c \"export T='sec ret' && go\"", "bash -c \"export T=… && go\""),
        ("docker run -e TOKEN=se\\ cret x; p=secret q", "docker run -e TOKEN=… x; p=… q"),
        ("  [ -x /a ] && ( b=secret c )", "[ -x /a ] && ( b=… c )"),
        ("A=", "A=…"),
        ("env -i token=secret /bin/x a=b", "env -i token=… /bin/x a=b"),
        ("-/usr/bin/env -u HOME -i token=secret x", "-/usr/bin/env -u HOME -i token=… x"),
        (
            "sh -c 'if true; then tok=secret x; else { a=secret; }; fi'",
            "sh -c 'if true; then tok=… x; else { a=…; }; fi'",
        ),
        ("while :; do a=secret ! b=secret x c=d; done", "while :; do a=… ! b=… x c=d; done"),
        ("\"MY VAR\"=secret3 /bin/x", "\"MY VAR\"=… /bin/x"),
        ("env \"my var=secret 3\" 'b c'=secret x \"d=e\"", "env \"my var=…\" 'b c'=… x \"d=…\""),
        ("prog \"A B\"=secret \"a b\"=c", "prog \"A B\"=… \"a b\"=c"),
        ("PGPASSWORD=$(echo my secret) pg_dump", "PGPASSWORD=… pg_dump"),
        ("PW=${PW:-my secret} A=`a secret` B=\"$(a \"b secret\")\" x", "PW=… A=… B=… x"),
        (r"echo it\'s; TOK='x secret' y", r"echo it\'s; TOK=… y"),
        ("tok+=secret; arr[0]=secret; arr[i]+=secret; list=(a 'b secret') x", "tok+=…; arr[0]=…; arr[i]+=…; list=… x"),
        ("declare -A m=([a]=secret [b]=secret); x", "declare -A m=…; x"),
        (r#"env "A=x\" secret" 'b=\' c"#, r#"env "A=…" 'b=…' c"#),
        (r#"sh -c "A=\"x secret\" go \$B" x"#, r#"sh -c "A=… go \$B" x"#),
        (r#"sh -c "A=\$(a secret) go" x"#, r#"sh -c "A=… go" x"#),
        (r"sh -c 'A='\''x secret'\'' go' x", r"sh -c 'A=… go' x"),
        ("echo `A=secret x`; y", "echo `A=… x`; y"),
        ("A=secret>/tmp/x y", "A=…>/tmp/x y"),
        ("arr[0] x[y z", "arr[0] x[y z"),
        ("docker run --env=PW=secret1 -eTOKEN=secret2 --rm=x i", "docker run --env=PW=… -eTOKEN=… --rm=x i"),
        ("x --env=token=secret --any=t=v --any=T=secret", "x --env=token=… --any=t=v --any=T=…"),
        ("x --env=\"T=a secret\" -e'T=a secret' \"--env=T=a secret\"", "x --env=\"T=…\" -e'T=…' \"--env=T=…\""),
        (
            "systemd-run --setenv=API_KEY=secret5 -DPASS=secret -C=/x a",
            "systemd-run --setenv=API_KEY=… -DPASS=… -C=/x a",
        ),
        ("sudo --user joe token=secret6 x a=b", "sudo --user joe token=… x a=b"),
        ("sudo -E token=secret x; sudo -h a -p b t=secret x", "sudo -E token=… x; sudo -h a -p b t=… x"),
        ("declare -g token=secret; declare -r t=secret", "declare -g token=…; declare -r t=…"),
        ("case x in x) token=secret7 y", "case x in x) token=… y"),
        ("case x in (x) token=secret y", "case x in (x) token=… y"),
        ("dd $(x) if=/a $((1)) of=/b <(y) a=b", "dd $(x) if=/a $((1)) of=/b <(y) a=b"),
        ("A=${ echo my secret; } x", "A=… x"),
        ("sed -e s/a=b/c/ -Ea=b -n=5 --x.Y=5", "sed -e s/a=b/c/ -Ea=b -n=5 --x.Y=5"),
    ] {
        assert_eq!(Command::of(text, Syntax::Shell).shown(), expected, "{text}");
    }
    assert_eq!(Command::of(&"é".repeat(5000), Syntax::Shell).shown().chars().count(), COMMAND_CHARS_MAX + 1);
}

#[test]
fn a_long_line_takes_no_longer_than_its_beginning() {
    let started = std::time::Instant::now();
    for word in [
        "a ",
        "A ",
        "'",
        "\"' ",
        "\"a b\"",
        "=",
        "A= ",
        "é ",
        "A=$(",
        "\"$(",
        "A=`",
        "A=${",
        "a[ ",
        "\\",
        "A='",
        "env \"=$(",
        "`A=",
        "(",
        "$'",
        "-eA=",
        "--env=",
        "--env=A=",
        "-",
        "A=${ ",
        "x a=${ ",
        "x --any=a=${ ",
        "$(",
        ")",
    ] {
        let command = Command::of(&word.repeat(500_000), Syntax::Shell);
        assert!(command.shown().len() <= 4 * COMMAND_CHARS_MAX + 8, "{word}");
        assert!(command.as_ref().len() <= 3 * word.len() * 500_000, "{word}");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn what_runs_is_compared_wherever_it_stands() {
    for line in [
        r"A='\' EVIL | sh",
        "A=$(EVIL|sh) x",
        "A=\"$(EVIL)\"",
        "A=`EVIL`; x",
        "A=${B:-$(EVIL)} x",
        "A=\"${x:-'}\"; EVIL; echo '",
        "A='x EVIL",
        r"A=$'\'' EVIL; echo '",
        r"A=$'\' EVIL; echo '",
        "sh -c \"A='x\"; EVIL; echo '",
        "sh -c \"A='x; EVIL\"",
        "echo `A=x`; EVIL `A=y`",
        "env \"A=$(EVIL)\" x",
        "A=(x $(EVIL))",
        "A=${ EVIL; } x",
        "A=${|EVIL; } x",
        "A=\"${\tEVIL; }\" x",
        "A=${ { x; }; EVIL; } x",
        "ruby -e'A=1; system(\"EVIL\")'",
        "ruby -eA=1;EVIL",
        "ruby -eA=system('EVIL')",
        "docker run --env=A=$(EVIL) x",
        "env --split-string=\"A=x EVIL\"",
        "env \"-SA=x EVIL\"",
        "env -S'A=x EVIL'",
        "case x in x) a=$(EVIL)",
        &format!(": {}; EVIL", "a".repeat(10_000)),
        &format!("A={} EVIL", "a".repeat(10_000)),
    ] {
        assert!(Command::of(line, Syntax::Shell).as_ref().contains("EVIL"), "{line}");
    }
    assert_eq!(Command::of("A='secret' B=\"secret\" x", Syntax::Shell).as_ref(), "A=… B=… x");
}

#[test]
fn lines_of_systemd_have_its_quotes() {
    for (text, expected) in [
        (r"/usr/bin/env A='\' secret' x", "/usr/bin/env A=… x"),
        ("/usr/bin/env A=$(x b=secret ;", "/usr/bin/env A=… b=… ;"),
        (r"/bin/sh -c 'A=\'x secret\' go; b=secret' y", r"/bin/sh -c 'A=… go; b=…' y"),
        ("/bin/sh -c \"A=$(a secret) go\" y", "/bin/sh -c \"A=… go\" y"),
    ] {
        assert_eq!(Command::of(text, Syntax::Systemd).shown(), expected, "{text}");
    }
    for line in [
        "/bin/sh -c 'A=$(EVIL) x'",
        r#"sh -c "A=\x24\x28EVIL\x29 true""#,
        r#"sh -c "A=\044\050EVIL\051 true""#,
        r#"sh -c "A=x\nEVIL""#,
        r#"sh -c "A='\x27\x3bEVIL""#,
        r"sh -c 'A=x\u003bEVIL'",
    ] {
        let command = Command::of(line, Syntax::Systemd);
        assert!(command.as_ref().contains("EVIL") && !command.shown().contains("EVIL"), "{line}");
    }
}

#[test]
fn a_program_is_the_first_word_if_it_is_known() {
    assert_eq!(program("-!/bin/a b"), Some("/bin/a"));
    assert_eq!(program("\"/bin/a\" b"), Some("/bin/a"));
    assert_eq!(program("sh -c x"), None);
    assert_eq!(program("/bin/%i"), None);
    assert_eq!(program(""), None);
}
