//! An RSA signature whose number begins with a zero byte is refused by agents of the original. gpg makes one in 256 of them,
//! the same again for the same text in the same second: here it is led to such a second, and what it signs is not short.

#[allow(dead_code, reason = "shared with tests that need more of it")]
use crate::common::write_program;
use crate::gnupg::GnuPg;
use mig::action::Action;
use mig::signature::Keyring;
use mig::time::{self, Timestamp};
use openpgp::crypto::{KeyPair, Signer, mpi};
use openpgp::packet::Signature;
use openpgp::parse::Parse;
use openpgp::serialize::MarshalInto;
use openpgp::types::HashAlgorithm;
use openpgp::{Cert, Packet, PacketPile};
use sequoia_openpgp as openpgp;
use std::path::Path;
use std::process::{Command, Stdio};

const USER: &str = "old fleet <old@example.net>";
const DRAFT: &str = r#"{"name": "n", "target": "status='online'", "operations": [{"module": "file", "parameters": {"searches": {"s": {"paths": ["/etc"], "names": ["."]}}}}],
    "validfrom": "2026-01-01T00:00:00Z", "expireafter": "2036-01-01T00:00:00Z", "syntaxversion": 2}"#;

/// gpg at a second of its own choice.
fn gpg_at(gpg: &GnuPg, second: i64, arguments: &[&str]) -> Command {
    let clock = Timestamp::from_second(second).unwrap().strftime("%Y%m%dT%H%M%S!").to_string();
    let mut command = gpg.command(&["--faked-system-time", &clock, "--quiet"]);
    command.args(arguments);
    command
}

fn signature_of(armored: &str) -> Signature {
    match PacketPile::from_bytes(armored.as_bytes()).unwrap().into_children().next().unwrap() {
        Packet::Signature(signature) => signature,
        other => panic!("{other:?}"),
    }
}

fn size_bytes(number: &mpi::Signature) -> usize {
    match number {
        mpi::Signature::RSA { s } => s.value().len(),
        other => panic!("{other:?}"),
    }
}

/// How large the number is of the signature that gpg makes of this text in another second than `like`.
fn size_at(second: i64, text: &str, like: &Signature, pair: &mut KeyPair) -> usize {
    let mut hashed = MarshalInto::to_vec(like.hashed_area()).unwrap();
    let at = hashed.windows(2).position(|two| two == [5, 2]).unwrap() + 2;
    hashed[at..at + 4].copy_from_slice(&u32::try_from(second).unwrap().to_be_bytes());
    // RFC 4880, 5.2.4: version, type, algorithms and the hashed area; then version and length of that.
    let mut trailer = vec![4, 0, 1, 8];
    trailer.extend(u16::try_from(hashed.len()).unwrap().to_be_bytes());
    trailer.extend(&hashed);
    let length = u32::try_from(trailer.len()).unwrap();
    trailer.extend([4, 0xff]);
    trailer.extend(length.to_be_bytes());
    let mut context = HashAlgorithm::SHA256.context().unwrap().for_digest();
    context.update(text.as_bytes());
    context.update(&trailer);
    size_bytes(&pair.sign(HashAlgorithm::SHA256, &context.into_digest().unwrap()).unwrap())
}

/// A program called gpg that is gpg at that second, and notes that it was asked to sign.
fn write_wrapper(directory: &Path, second: i64) {
    let found = Command::new("sh").args(["-c", "command -v gpg"]).output().unwrap().stdout;
    let (real, log) = (String::from_utf8(found).unwrap(), directory.join("log"));
    let clock = Timestamp::from_second(second).unwrap().strftime("%Y%m%dT%H%M%S!").to_string();
    let script = format!(
        "case \"$*\" in *--detach-sign*) echo \"$*\" >>'{}' ;; esac\nexec '{}' --faked-system-time '{clock}' \"$@\"",
        log.display(),
        real.trim()
    );
    write_program(&directory.join("gpg"), &script);
}

#[test]
fn gpg_signs_again_when_its_signature_is_short() {
    let Some(gpg) = GnuPg::new() else { return };
    let (born, first) = (1_600_000_000, 1_700_000_000);
    let make =
        ["--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", USER, "rsa2048", "sign", "never"];
    assert!(gpg_at(&gpg, born, &make).status().unwrap().success());
    let exported = |what: &str| {
        let arguments = ["--pinentry-mode", "loopback", "--passphrase", "", "--armor", what];
        gpg_at(&gpg, first, &arguments).output().unwrap().stdout
    };
    let secret = Cert::from_bytes(&exported("--export-secret-keys")).unwrap();
    let key = secret.primary_key().key().clone().parts_into_secret().unwrap();
    let mut pair = key.into_keypair().unwrap();
    let text = Action::parse_draft(DRAFT.as_bytes()).unwrap().signed_text();

    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("text"), &text).unwrap();
    std::fs::write(path("draft.json"), DRAFT).unwrap();
    // Whom it was asked for by name it puts into the signature.
    let user = ["--local-user", "old@example.net"];
    let sign = ["--armor", "--digest-algo", "SHA256", "--detach-sign", "--output", "-"];
    let signed_at = |second| {
        let output = gpg_at(&gpg, second, &user).args(sign).arg(path("text")).output().unwrap();
        signature_of(&String::from_utf8(output.stdout).unwrap())
    };
    let like = signed_at(first);
    let short = (first..).find(|second| size_at(*second, &text, &like, &mut pair) < 256).unwrap();
    assert!(size_bytes(signed_at(short).mpis()) < 256, "what was found is what gpg makes");

    write_wrapper(directory.path(), short);
    let search = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let mut program = Command::new(env!("CARGO_BIN_EXE_mig-action-generator"));
    program.args(["-i", "draft.json", "--keep-dates", "-k", "old@example.net"]).current_dir(directory.path());
    program.env("PATH", search).env("GNUPGHOME", gpg.home()).stdin(Stdio::null());
    let output = program.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let action = Action::parse(&output.stdout).unwrap();
    let armored = mig::signature::restore_armor(&action.signatures[0]).unwrap();
    assert_eq!(size_bytes(signature_of(&armored).mpis()), 256);
    let keyring = Keyring::parse(&exported("--export")).unwrap();
    assert_eq!(keyring.verify(&text, &action.signatures[0], time::now()).unwrap().name, "old fleet");
    let log = std::fs::read_to_string(path("log")).unwrap();
    assert!(log.lines().count() == 2 && !log.lines().next().unwrap().contains("--sig-notation"), "{log}");
}
