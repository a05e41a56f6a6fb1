//! Against keys that ssh-keygen(1) and openssl(1) make, and what ssh-keygen says of them.

use super::SshKey;
use super::run::run;
use crate::modules::files::Machine;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

fn program(name: &str, arguments: &[&str], directory: &Path) -> String {
    let mut command = Command::new(name);
    let output = command.args(arguments).current_dir(directory).stdin(Stdio::null()).output().expect(name);
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn generate(directory: &Path, name: &str, more: &[&str]) {
    program("ssh-keygen", &[&["-q", "-f", name, "-C", name], more].concat(), directory);
}

fn search(machine: &Machine, line: &str) -> ModuleResult {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let parameters = SshKey.parse_arguments(&words).unwrap();
    run(&super::parameters::parse(&parameters).unwrap(), machine, Context::by_hand())
}

fn keys(result: &ModuleResult) -> Vec<Value> {
    result.elements["keys"].as_array().cloned().unwrap_or_default()
}

/// The names of the files of what was found.
fn files(result: &ModuleResult) -> Vec<String> {
    let name = |key: &Value| key["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    keys(result).iter().map(name).collect()
}

#[test]
fn keys_of_every_kind_are_shown_as_ssh_keygen_shows_them() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (name, more) in [
        ("rsa", &["-t", "rsa", "-b", "1024", "-N", ""][..]),
        ("rsa-pem", &["-t", "rsa", "-b", "1024", "-N", "", "-m", "PEM"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "1024", "-N", "", "-m", "PKCS8"]),
        ("p256", &["-t", "ecdsa", "-b", "256", "-N", "", "-m", "PEM"]),
        ("p384", &["-t", "ecdsa", "-b", "384", "-N", "", "-m", "PKCS8"]),
        ("p521", &["-t", "ecdsa", "-b", "521", "-N", ""]),
        ("ed", &["-t", "ed25519", "-N", ""]),
        ("secret", &["-t", "ed25519", "-N", "a passphrase"]),
    ] {
        generate(at, name, more);
    }
    program("ssh-keygen", &["-q", "-s", "ed", "-I", "me", "-n", "root", "rsa.pub"], at);
    let result = search(&Machine::this(), &format!("-path {}", at.display()));
    let found = keys(&result);
    assert_eq!(found.len(), 17, "{found:?}");
    assert_eq!((&result.errors, result.statistics.get("partial")), (&None, None));
    for key in &found {
        let path = key["path"].as_str().unwrap();
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        let is_pem = fs::read_to_string(path).unwrap().contains("BEGIN RSA") || path.ends_with("p256");
        let comment = if text("comment").is_empty() { "no comment".to_owned() } else { text("comment") };
        let line = |fingerprint: String| format!("{} {fingerprint} {comment} ({})", key["bits"], text("algorithm"));
        // For a file without a comment ssh-keygen takes that of the public key beside it.
        let alone = tempfile::tempdir().unwrap();
        fs::copy(path, alone.path().join("key")).unwrap();
        fs::set_permissions(alone.path().join("key"), fs::Permissions::from_mode(0o600)).unwrap();
        if !path.ends_with("/secret") {
            assert_eq!(program("ssh-keygen", &["-lf", "key"], alone.path()).trim(), line(text("fingerprint_sha256")));
            let md5 = program("ssh-keygen", &["-E", "md5", "-lf", "key"], alone.path());
            assert_eq!(md5.trim(), line(format!("MD5:{}", text("fingerprint_md5"))));
        }
        let is_private = !path.ends_with(".pub");
        assert_eq!(text("type"), if is_private { "private" } else { "public" });
        assert_eq!(key["encrypted"], path.ends_with("/secret"));
        assert_eq!(
            (&key["owner"], &key["mode"]),
            (&json!("root"), &json!(if is_private { "-rw-------" } else { "-rw-r--r--" }))
        );
        assert!(is_private || !is_pem);
    }
    let of_secret: Vec<&Value> = found.iter().filter(|key| key["path"].as_str().unwrap().contains("/secret")).collect();
    assert_eq!(of_secret[0]["fingerprint_sha256"], of_secret[1]["fingerprint_sha256"], "encrypted, yet public");
    let all = serde_json::to_string(&result).unwrap();
    for name in ["rsa", "ed", "p256"] {
        let text = fs::read_to_string(at.join(name)).unwrap();
        assert!(text.lines().filter(|line| line.len() > 30).all(|line| !all.contains(line)), "{name}");
    }
    let only = |filters: &str| files(&search(&Machine::this(), &format!("-path {} {filters}", at.display())));
    assert_eq!(only("-algorithm rsa-cert"), ["rsa-cert.pub"]);
    assert_eq!(only("-bits <400 -bits >300"), ["p384", "p384.pub"]);
    assert_eq!(only("-type private -algorithm ed25519 -unencrypted"), ["ed"]);
    assert_eq!(only("-comment ^secret$"), ["secret.pub"]);
    assert_eq!(only("-file /p5 -type public"), ["p521.pub"]);
    let ed = found.iter().find(|key| key["comment"] == "ed").unwrap();
    for fingerprint in ["fingerprint_sha256", "fingerprint_md5"] {
        assert_eq!(only(&format!("-fingerprint {}", ed[fingerprint].as_str().unwrap())), ["ed", "ed.pub"]);
    }
    assert_eq!(only("-fingerprint MD5:00112233445566778899aabbccddeeff"), [""; 0]);
}

#[test]
fn an_encrypted_key_that_hides_what_it_is_is_named_by_searches_for_that() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    generate(at, "pem", &["-t", "rsa", "-b", "1024", "-N", "a passphrase", "-m", "PEM"]);
    generate(at, "pkcs8", &["-t", "ecdsa", "-N", "a passphrase", "-m", "PKCS8"]);
    program("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "seed"], at);
    let line = format!("-path {} -type private", at.display());
    let result = search(&Machine::this(), &line);
    let found = keys(&result);
    let shown: Vec<_> = found.iter().map(|key| (&key["encrypted"], &key["fingerprint_sha256"], &key["bits"])).collect();
    let (yes, no, nothing, zero) = (json!(true), json!(false), json!(""), json!(0));
    assert_eq!(shown, [(&yes, &nothing, &zero), (&yes, &nothing, &zero), (&no, &nothing, &zero)]);
    let result = search(&Machine::this(), &format!("{line} -bits <2048"));
    assert_eq!((keys(&result).len(), result.elements.get("keys")), (0, None));
    assert_eq!(result.errors.unwrap().len(), 3);
    assert!(
        SshKey.print(&search(&Machine::this(), &line))[0].contains("[private] encrypted=true md5fp=unknown sha256fp=")
    );
}

#[test]
fn a_comment_that_is_not_shown_is_named_by_searches_for_comments() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    generate(at, "alice", &["-t", "ed25519", "-N", "a passphrase"]);
    fs::remove_file(at.join("alice.pub")).unwrap();
    let result = |filters: &str| search(&Machine::this(), &format!("-path {} {filters}", at.display()));
    let expected = format!("read {}: the private key at line 1 does not show its comment", at.join("alice").display());
    for filters in ["-comment alice", "-comment !alice"] {
        let result = result(filters);
        assert_eq!((&result.elements, result.errors), (&json!({}), Some(vec![expected.clone()])), "{filters}");
    }
    for (filters, count) in [("", 1), ("-comment alice -bits >256", 0), ("-comment alice -unencrypted", 0)] {
        let result = result(filters);
        assert_eq!((keys(&result).len(), result.errors), (count, None), "{filters}");
    }
}

#[test]
fn comments_are_compared_whole() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let comment = format!("{}EVIL", "x".repeat(300));
    program("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "k", "-C", &comment], at);
    let public = fs::read_to_string(at.join("k.pub")).unwrap();
    let text = public.split(' ').nth(1).unwrap();
    let rfc = format!(
        "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"x\\\nx EV\\\nIL\"\n{text}\n---- END SSH2 PUBLIC KEY ----\n"
    );
    fs::write(at.join("rfc"), rfc).unwrap();
    let result = search(&Machine::this(), &format!("-path {} -comment EVIL$", at.display()));
    assert_eq!(files(&result), ["k", "k.pub", "rfc"], "{:?}", result.errors);
    let returned: Vec<usize> = keys(&result).iter().map(|key| key["comment"].as_str().unwrap().len()).collect();
    assert_eq!(returned, [256, 256, "xx EVIL".len()]);
}

#[test]
fn authorized_keys_have_options_and_what_is_no_key_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    generate(at, "k", &["-t", "ed25519", "-N", ""]);
    let public = fs::read_to_string(at.join("k.pub")).unwrap();
    let public = public.trim();
    fs::create_dir(at.join(".ssh")).unwrap();
    let options = r#"no-pty,from="10.0.0.0/8,!10.1.*",command="echo \"p,q\" secret",environment="A=secret",expiry-time="20300101""#;
    let text = format!(
        "# c\n\n{options} {public} here\n{public}\nnonsense secret\nssh-ed25519 AAAA\nrestrict, {public}\n\t{public}\r\n"
    );
    fs::write(at.join(".ssh/authorized_keys"), &text).unwrap();
    let known = format!("example.net {public}\nlocalhost {public}\n# {public}\n- {public}\n");
    fs::write(at.join("known_hosts"), &known).unwrap();
    let result = search(&Machine::this(), &format!("-path {} -type authorizedkeys", at.display()));
    let found = keys(&result);
    let shown: Vec<_> =
        found.iter().map(|key| (key["line"].as_u64().unwrap(), key["comment"].as_str().unwrap())).collect();
    assert_eq!(shown, [(3, "k here"), (4, "k"), (8, "k")]);
    let expected = json!(["no-pty", "from=10.0.0.0/8,!10.1.*", "command=…", "environment=…", "expiry-time=20300101"]);
    assert_eq!(found[0]["options"], expected);
    assert!(!serde_json::to_string(&result).unwrap().contains("secret"));
    let errors = result.errors.unwrap();
    assert!(errors[0].ends_with("authorized_keys: line 5 and 2 more is no key that is understood"), "{errors:?}");
    let everything = search(&Machine::this(), &format!("-path {}", at.display()));
    assert_eq!(files(&everything), ["k", "k.pub", "authorized_keys", "authorized_keys", "authorized_keys"]);
    fs::create_dir(at.join("keys")).unwrap();
    fs::write(at.join("keys/joe"), format!("{options} {public}\nno-pty nonsense\n")).unwrap();
    let elsewhere = search(&Machine::this(), &format!("-path {}/keys", at.display()));
    assert_eq!((&keys(&elsewhere)[0]["options"], &elsewhere.errors), (&expected, &None), "AuthorizedKeysFile");
}

#[test]
fn what_stands_behind_a_certificate_in_a_private_key_is_not_its_comment() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    generate(at, "k", &["-t", "ed25519", "-N", ""]);
    program("ssh-keygen", &["-q", "-s", "k", "-I", "me", "-n", "root", "k.pub"], at);
    let certificate = fs::read_to_string(at.join("k-cert.pub")).unwrap();
    let engine = base64::prelude::BASE64_STANDARD;
    let certificate = base64::Engine::decode(&engine, certificate.split(' ').nth(1).unwrap()).unwrap();
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let secret = [
        vec![0; 8],
        string(b"ssh-ed25519-cert-v01@openssh.com"),
        string(&certificate),
        string(&[7; 32]),
        string(&b"SECRET".repeat(10)),
        string(b"comment"),
    ];
    let head = [&b"openssh-key-v1\0"[..], &string(b"none"), &string(b"none"), &string(b""), &[0, 0, 0, 1]].concat();
    let bytes = [head, string(&certificate), string(&secret.concat())].concat();
    let text = base64::Engine::encode(&engine, bytes);
    let begin = "-----BEGIN OPENSSH PRIVATE KEY-----";
    fs::write(at.join("with"), format!("{begin}\n{text}\n-----END OPENSSH PRIVATE KEY-----\n")).unwrap();
    let found = keys(&search(&Machine::this(), &format!("-path {}", at.join("with").display())));
    assert_eq!((found.len(), &found[0]["type"], &found[0]["comment"]), (1, &json!("private"), &json!("")));
}

#[test]
fn home_directories_are_those_of_the_accounts() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::below(directory.path());
    for path in ["/etc", "/srv/joe/.ssh", "/srv/joe/other", "/usr/sbin"] {
        fs::create_dir_all(machine.path(path)).unwrap();
    }
    let accounts = "joe:x:0:0::/srv/joe:/bin/sh\nd:x:1:1::/usr/sbin:\ngone:x:9:9::/gone:\nrelative:x:8:8::x:\n";
    fs::write(machine.path("/etc/passwd"), accounts).unwrap();
    generate(&machine.path("/srv/joe/.ssh"), "id", &["-t", "ed25519", "-N", ""]);
    generate(&machine.path("/srv/joe/other"), "id2", &["-t", "ed25519", "-N", ""]);
    let result = search(&machine, "-homes");
    assert_eq!((files(&result), &result.errors), (vec!["id".into(), "id.pub".into()], &None));
    assert_eq!(keys(&result)[0]["owner"], "joe");
    let both = format!("-homes -path {}", machine.path("/srv").display());
    assert_eq!(files(&search(&machine, &both)), ["id", "id.pub", "id2", "id2.pub"], "each once");
    fs::remove_file(machine.path("/etc/passwd")).unwrap();
    let result = search(&machine, "-homes");
    assert_eq!((result.elements.get("keys"), result.errors.unwrap().len()), (None, 1));
}

#[test]
fn root_is_not_led_to_files_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::below(directory.path());
    for path in ["/root", "/home/joe/.ssh", "/home/joe/mine", "/home/eve", "/etc"] {
        fs::create_dir_all(machine.path(path)).unwrap();
    }
    fs::write(machine.path("/etc/passwd"), "eve:x:1001:0::/home/eve:\njoe:x:1000:0::/home/joe:\n").unwrap();
    generate(&machine.path("/root"), "id", &["-t", "ed25519", "-N", ""]);
    generate(&machine.path("/home/joe/mine"), "id", &["-t", "ed25519", "-N", ""]);
    symlink(machine.path("/root/id"), machine.path("/home/joe/.ssh/stolen")).unwrap();
    symlink(machine.path("/root/id"), machine.path("/home/joe/stolen")).unwrap();
    symlink("../mine/id", machine.path("/home/joe/.ssh/linked")).unwrap();
    symlink(machine.path("/root"), machine.path("/home/eve/.ssh")).unwrap();
    for path in
        ["/home/joe/.ssh", "/home/joe/mine/id", "/home/joe/.ssh/linked", "/home/joe/.ssh/stolen", "/home/joe/stolen"]
    {
        if let Err(error) = std::os::unix::fs::lchown(machine.path(path), Some(1000), None) {
            println!("SKIPPED: needs root: {error}");
            return;
        }
    }
    chown(machine.path("/home/joe"), Some(1000), None).unwrap();
    let result = search(&machine, "-homes");
    assert_eq!(files(&result), ["linked"], "{result:?}");
    let errors = result.errors.unwrap();
    assert!(errors.iter().any(|error| error.ends_with("/eve/.ssh: it is a link, which is not followed")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("/stolen: a link to what is not its owner's")), "{errors:?}");
    let result = search(&machine, &format!("-path {} -type private", machine.path("/home").display()));
    assert_eq!(files(&result), ["linked", "id"], "{result:?}");
}

#[test]
fn links_to_directories_where_keys_may_be_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for path in ["home/u", "home/other/x", "elsewhere/ssh", "elsewhere/v"] {
        fs::create_dir_all(at.join(path)).unwrap();
    }
    generate(&at.join("elsewhere/ssh"), "id", &["-t", "ed25519", "-N", ""]);
    symlink(at.join("elsewhere/ssh"), at.join("home/u/.ssh")).unwrap();
    symlink(at.join("elsewhere/v"), at.join("home/v")).unwrap();
    symlink(at.join("elsewhere/v"), at.join("home/other/x/link")).unwrap();
    let result = search(&Machine::this(), &format!("-path {}/home", at.display()));
    assert_eq!(result.elements.get("keys"), None);
    let of = |path: &str| format!("walk {}/home/{path}: a link to a directory is not followed", at.display());
    assert_eq!(result.errors.unwrap(), [of("v"), of("u/.ssh")]);
}

#[test]
fn homes_of_other_sources_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::below(directory.path());
    fs::create_dir(machine.path("/etc")).unwrap();
    fs::write(machine.path("/etc/passwd"), "joe:x:0:0::/srv/joe:/bin/sh\n+::::::\nbad\n").unwrap();
    fs::write(machine.path("/etc/nsswitch.conf"), "passwd: files systemd sss\n").unwrap();
    let result = search(&machine, "-homes");
    assert_eq!(result.elements.get("keys"), None);
    let expected = [
        "read /etc/passwd: line 3 is not understood",
        "read /etc/passwd: line 2 stands for accounts of a server, which are not seen",
        "homes of accounts of sss (/etc/nsswitch.conf) are not seen",
    ];
    assert_eq!(result.errors.unwrap(), expected);
    let elsewhere = search(&machine, &format!("-path {}", directory.path().display()));
    assert_eq!((&elsewhere.elements, &elsewhere.errors), (&json!({"keys": []}), &None));
}

#[test]
fn what_is_deeper_than_the_default_depth_is_not_seen() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::create_dir_all(at.join("1/2/3/4/5/6/7/8")).unwrap();
    let result = |more: &str| search(&Machine::this(), &format!("-path {}{more}", at.display()));
    let cut = result("");
    let expected =
        format!("partial: search keys: walk {}: what is more than 8 levels down was not looked at", at.display());
    assert_eq!((&cut.elements, &cut.statistics["partial"]), (&json!({}), &json!(true)));
    assert_eq!(cut.errors, Some(vec![expected]));
    for more in [" -maxdepth 8", "/1"] {
        let whole = result(more);
        assert_eq!((&whole.elements, whole.errors), (&json!({"keys": []}), None), "{more}");
    }
}

#[test]
fn hostile_files_are_bounded_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let armour =
        |text: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n");
    let base64 = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes);
    let long = [&b"openssh-key-v1\0\xff\xff\xff\xff"[..], b"none"].concat();
    let many = [&b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\xff\xff\xff\xff"[..], &[0; 64]].concat();
    let hostile = [
        ("long", armour(&base64(&long))),
        ("many", armour(&base64(&many))),
        ("text", armour("no base64")),
        ("empty", armour("")),
        ("der", "-----BEGIN RSA PRIVATE KEY-----\nMIT/////\n-----END RSA PRIVATE KEY-----\n".into()),
        ("putty", "PuTTY-User-Key-File-3: ssh-rsa\nPublic-Lines: 18446744073709551615\n".into()),
        ("rfc", "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \\\n".into()),
    ];
    for (name, text) in &hostile {
        fs::write(at.join(name), text).unwrap();
    }
    fs::write(at.join("begins"), "---- BEGIN SSH2 PUBLIC KEY ----\n".repeat(30_000)).unwrap();
    fs::write(at.join("cut"), "-----BEGIN RSA PRIVATE KEY-----\nabc\n").unwrap();
    fs::write(at.join("binary"), [&b"\0\xff-----BEGIN x PRIVATE KEY-----\nssh-rsa "[..], &[b'A'; 100_000]].concat())
        .unwrap();
    fs::write(at.join("authorized_keys"), vec![b'x'; 5 << 20]).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let result = search(&Machine::this(), &format!("-path {}", at.display()));
    assert_eq!((keys(&result).len(), result.elements.get("keys")), (0, None));
    let errors = result.errors.unwrap();
    for (name, _) in &hostile {
        let said = |error: &&String| error.contains(&format!("/{name}: line 1 is no key that is understood"));
        assert_eq!(errors.iter().filter(said).count(), 1, "{name}: {errors:?}");
    }
    assert!(errors.iter().any(|error| error.ends_with("authorized_keys: only its first 4194304 bytes")), "{errors:?}");
    let begins = "/begins: line 1 and 29999 more is no key";
    assert!(errors.iter().any(|error| error.contains(begins)), "{errors:?}");
    assert_eq!(errors.len(), hostile.len() + 3, "{errors:?}");
}

#[test]
fn files_of_putty_and_of_rfc_4716_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    generate(at, "k", &["-t", "rsa", "-b", "1024", "-N", ""]);
    let public = fs::read_to_string(at.join("k.pub")).unwrap();
    let blob = public.split(' ').nth(1).unwrap();
    let (first, second) = blob.split_at(64);
    for encryption in ["none", "aes256-cbc"] {
        let text = format!(
            "PuTTY-User-Key-File-3: ssh-rsa\r\nEncryption: {encryption}\r\nComment: of joe\r\nPublic-Lines: 2\r\n{first}\r\n\
             {second}\r\nPrivate-Lines: 1\r\nAAAA\r\nPrivate-MAC: 00\r\n"
        );
        fs::write(at.join(format!("{encryption}.ppk")), text).unwrap();
    }
    fs::write(at.join("rfc"), program("ssh-keygen", &["-e", "-f", "k.pub"], at)).unwrap();
    fs::write(at.join("key.yaml"), fs::read_to_string(at.join("k")).unwrap().replace('\n', "\n    ")).unwrap();
    let found = keys(&search(&Machine::this(), &format!("-path {}", at.display())));
    let first = &found[0]["fingerprint_sha256"];
    let shown: Vec<_> = found
        .iter()
        .map(|key| (key["type"].as_str().unwrap(), key["encrypted"] == true, &key["fingerprint_sha256"] == first))
        .collect();
    let (private, public) = (("private", false, true), ("public", false, true));
    assert_eq!(shown, [("private", true, true), private, public, private, private, public]);
    assert_eq!(found[0]["comment"], "of joe");
}

#[test]
fn depth_is_that_of_the_parameters_and_a_path_may_be_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::create_dir_all(at.join("a/b")).unwrap();
    generate(&at.join("a/b"), "k", &["-t", "ed25519", "-N", ""]);
    let path = at.display();
    for (line, found) in [
        (format!("-path {path} -maxdepth 2"), 0),
        (format!("-path {path} -maxdepth 3"), 2),
        (format!("-path {path}"), 2),
        (format!("-path {path}/a/b/k"), 1),
        (format!("-path {path}/a/b/k -path {path} -path {path}/a"), 2),
    ] {
        assert_eq!(keys(&search(&Machine::this(), &line)).len(), found, "{line}");
    }
    let result = search(&Machine::this(), &format!("-path {path}/missing"));
    assert_eq!((&result.elements, result.errors.unwrap().len()), (&json!({"keys": []}), 1));
}

#[test]
fn parameters_are_those_of_the_original_and_more() {
    for parameters in [json!({}), json!({"paths": null, "maxdepth": 0}), json!({"paths": ["/root"], "maxdepth": 1000})]
    {
        assert_eq!(SshKey.validate(&parameters), Ok(vec![]), "{parameters}");
    }
    for (parameters, error) in [
        (json!({"maxdepth": 1001}), "parameters.maxdepth: is 1001, the limit is 1000"),
        (json!({"maxdepth": -1}), "parameters.maxdepth: is -1, which is out of range"),
        (json!({"path": ["/"]}), "parameters.path: unknown key; did you mean \"paths\"?"),
        (json!({"paths": ["x"]}), "parameters.paths[0]: is not an absolute path"),
        (json!({"algorithms": ["rsa1"]}), "parameters.algorithms[0]: is not one of rsa, rsa-cert, dsa,"),
        (json!({"types": ["public", "secret"]}), "parameters.types[1]: is not one of private, public, authorizedkeys"),
        (json!({"bits": ["2k"]}), "parameters.bits[0]: is not a number like"),
        (json!({"fingerprints": ["SHA256:x"]}), "parameters.fingerprints[0]: is not a fingerprint"),
        (json!({"searches": {}}), "parameters.searches: unknown key"),
    ] {
        let found = SshKey.validate(&parameters).unwrap_err().to_string();
        assert!(found.starts_with(error), "{parameters}: {found}");
    }
}
