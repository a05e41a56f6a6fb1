//! Signatures in files of their own beside the good action.

use super::bench::Outcome::{Discarded, LeftAlone};
use super::bench::{Bench, Outcome, Row, in_words, made, old, pipe, refused, text};
use mig::action::Action;
use mig::limits::DETACHED_SIGNATURE_SIZE_BYTES_MAX;
use mig::signature::{Keyring, generate_key, restore_armor, sign_with_key};
use mig::time;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

/// Suffixes that are as good as any other.
const ODD: [&[u8]; 7] =
    [b"two\nlines", b"\x1b[31mred\x1b]0;title\x07", b"\xff\xfe", b"$(touch canary)", b"'\"", b"-rf *", b"x.json.asc"];

/// Names that belong to no action.
const NONE: [&[u8]; 6] = [
    b".json.asc-x",
    b".hidden.json.asc-x",
    b"a good one.json.asc-",
    b"a good one.json.asc",
    b"a good one.JSON.asc-x",
    b"a good one.json.asc-x.reason",
];

fn beside(row: Row) -> Row {
    row.named("a good one.json.asc-x")
}

fn not_one(why: &str) -> Outcome {
    refused(format!("as a signature of a good one.json, it {why}"))
}

fn detached(text: &str, secret: &str) -> String {
    restore_armor(&sign_with_key(text, secret.as_bytes(), time::now()).unwrap()).unwrap()
}

/// All of them.
pub fn rows(bench: &Bench) -> Vec<Row> {
    let good = Action::parse(bench.good().as_bytes()).unwrap().signed_text();
    let (_, stranger) = generate_key("Stranger <stranger@example.net>").unwrap();
    let signature = sign_with_key(&good, stranger.as_bytes(), time::now()).unwrap();
    let unlisted = Keyring::default().verify(&good, &signature, time::now()).unwrap_err();
    let unknown = || refused(format!("the signature of a good one.json {unlisted}"));
    let foreign = restore_armor(&signature).unwrap();
    let whole = "is not a whole armored signature; make it with gpg --armor --detach-sign, and drop it again";
    let rubbish = "-----BEGIN PGP SIGNATURE-----\n\n!!!!\n-----END PGP SIGNATURE-----\n";
    let limit = DETACHED_SIGNATURE_SIZE_BYTES_MAX;
    let mut rows = vec![
        beside(text(
            "the good one's own signature",
            detached(&good, &bench.sandbox.keys.1),
            Discarded("already; this one is removed".into()),
        )),
        beside(text("signature by a key that is not in the keyring", foreign.as_str(), unknown())),
        beside(made("empty, and not written for minutes", old(""), not_one(whole))),
        beside(made("half, and not written for minutes", old(&foreign.as_bytes()[..90]), not_one(whole))),
        beside(text("armor around rubbish", rubbish, not_one("is malformed: it is not base64; sign the action again"))),
        beside(text(
            "too large",
            vec![b'x'; limit as usize + 1],
            not_one(&format!("has {} bytes, the limit is {limit}", limit + 1)),
        )),
        beside(made(
            "link",
            |bench, path| in_words(symlink(bench.path("outside/shadow"), path)),
            not_one("is a symbolic link; drop the file itself"),
        )),
        beside(made(
            "directory",
            |_, path| in_words(std::fs::create_dir(path)),
            not_one("is a directory; drop a regular file"),
        )),
        beside(made("pipe", |_, path| pipe(path), not_one("is a pipe; drop a regular file"))),
        beside(made(
            "socket",
            |_, path| in_words(UnixListener::bind(path)),
            not_one("is a socket, or a device that is missing; drop a regular file"),
        )),
        text("signature without an action", foreign.as_str(), LeftAlone).named("hostile.json.asc-x"),
    ];
    for suffix in ODD {
        let name = [b"a good one.json.asc-", suffix].concat();
        let what = format!("signature called {}", name.escape_ascii());
        rows.push(text(what, foreign.as_str(), unknown()).named(OsStr::from_bytes(&name)));
    }
    for name in NONE {
        let what = format!("signature called {}", name.escape_ascii());
        rows.push(text(what, foreign.as_str(), LeftAlone).named(OsStr::from_bytes(name)));
    }
    let long = format!("a good one.json.asc-{}", "n".repeat(255 - 20));
    let cut = format!("{}.json", &long[..220]);
    rows.push(text("signature with a name of 255 bytes", foreign.as_str(), unknown()).named(long).kept_as(cut));
    rows
}
