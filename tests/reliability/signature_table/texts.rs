//! What is signed and how it is written: base64, packets, altered actions, JSON that could be read in two ways.

use super::Expect::{Counts, Refused};
use super::Gpg::{Agrees, NotAsked};
use super::certificates::*;
use super::{Expect, Row, assert_all, row, tell};
use crate::gnupg::{SIGNED_BY_TWO, signed_text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mig::action::Action;
use mig::signature::{restore_armor, strip_armor};
use openpgp::Packet;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::types::SignatureType;
use sequoia_openpgp as openpgp;
use serde_json::{Value, json};

#[test]
fn only_one_whole_signature_over_a_document_is_read() {
    let alice = alice();
    let good = signature(&alice, 0, &signed_text(&action_with(&[])), Ok);
    // The end of a good one, so that the base64 forms below differ in padding.
    let plain = strip(&[good.clone().into()]);
    let data = plain.trim_end_matches('=');
    let certification = alice.userids().next().unwrap().self_signatures().next().unwrap().clone();
    let user = Packet::from(alice.userids().next().unwrap().userid().clone());
    let cut = STANDARD.encode(&STANDARD.decode(&plain).unwrap()[..60]);
    let with_newline = format!("{}\n{}", &plain[..64], &plain[64..]);
    let with_space = format!("{} {}", &plain[..64], &plain[64..]);
    let mut broken = STANDARD.decode(&plain).unwrap();
    *broken.last_mut().unwrap() ^= 1;
    let malformed = |name, stripped: &str, reason| row(name, &[&alice], stripped, Refused(reason), NotAsked);
    let counts = |name, stripped: &str| row(name, &[&alice], stripped, Counts("alice"), Agrees);
    assert_all(
        "forms",
        &[
            counts("without checksum", &plain),
            // RFC 9580, 6.1: an implementation must not refuse it for its checksum.
            counts("with a wrong checksum", &format!("{plain}=AAAA")),
            counts("with the right checksum", &strip_armor(&restore_armor(&plain).unwrap()).unwrap()),
            row("one bit changed", &[&alice], &STANDARD.encode(&broken), Refused("does not verify"), Agrees),
            malformed("cut base64", &data[..data.len() - 5], "is malformed"),
            malformed("cut packet", &cut, "is malformed"),
            malformed("two padding characters more", &format!("{plain}=="), "it is not base64"),
            malformed("not base64", "!!!!", "it is not base64"),
            malformed("only a checksum", "=AAAA", "is malformed"),
            malformed("a newline inside", &with_newline, "it is not base64"),
            malformed("a space inside", &with_space, "it is not base64"),
            malformed("a newline at the end", &format!("{plain}\n"), "it is not base64"),
            malformed("armored", &restore_armor(&plain).unwrap(), "it is not base64"),
            malformed("the same signature twice", &strip(&[good.clone().into(), good.clone().into()]), "more than one"),
            malformed("a signature and a user id", &strip(&[good.into(), user.clone()]), "not a signature"),
            malformed("a user id", &strip(&[user]), "not a signature"),
            malformed("a certification", &strip(&[certification.into()]), "not a signature over a document"),
            malformed("random bytes", &STANDARD.encode([0u8; 64]), "is malformed"),
        ],
    );
}

#[test]
fn a_text_signature_covers_what_gpg_says() {
    let bob = bob();
    // A name, and the lines that are signed in its place.
    let row = |name: &'static str, written: &str, signed: &str, expect: Expect| {
        let mut action = action_with(&[]);
        action["name"] = written.into();
        let text = signed_text(&action).replacen(written, signed, 1);
        let how = |b: SignatureBuilder| Ok(b.set_type(SignatureType::Text));
        action["pgpsignatures"] = json!([strip(&[signature(&bob, 0, &text, how).into()])]);
        Row { name, certs: vec![bob.clone()], action, expect, gpg: Agrees }
    };
    let counts = || Counts("bob");
    let refused = || Refused("it covers another text");
    assert_all(
        "text signatures",
        &[
            row("one line", "one", "one", counts()),
            row("LF", "one\ntwo", "one\r\ntwo", counts()),
            row("CRLF", "one\r\ntwo", "one\r\ntwo", counts()),
            row("CR before CRLF", "one\r\r\ntwo", "one\r\ntwo", counts()),
            row("CR inside", "one\rtwo", "one\rtwo", counts()),
            row("CR inside is no line end", "one\rtwo", "one\r\ntwo", refused()),
            row("white space before the line end", "one \t\n\n two", "one \t\r\n\r\n two", counts()),
            row("white space left out", "one \t\ntwo", "one\r\ntwo", refused()),
            row("LF as it is", "one\ntwo", "one\ntwo", refused()),
            row("a line left out", "one\n\ntwo", "one\r\ntwo", refused()),
        ],
    );
}

#[test]
fn padding_may_not_be_left_out() {
    let alice = alice();
    let text = signed_text(&action_with(&[]));
    // One in three signatures needs no padding, so a user id of growing length is signed along.
    let padded = (0..3).map(|length| {
        let how = |b: SignatureBuilder| b.set_signers_user_id("x".repeat(length + 1));
        strip(&[signature(&alice, 0, &text, how).into()])
    });
    let padded = padded.filter(|stripped| stripped.ends_with('=')).collect::<Vec<_>>();
    assert!(!padded.is_empty());
    let row = |name, stripped: &str, expect| row(name, &[&alice], stripped, expect, NotAsked);
    let rows = padded.iter().flat_map(|stripped| {
        [
            row("padded", stripped, Counts("alice")),
            row("padded, with checksum", &format!("{stripped}=AAAA"), Counts("alice")),
            row("not padded", stripped.trim_end_matches('='), Refused("it is not base64")),
        ]
    });
    assert_all("padding", &rows.collect::<Vec<_>>());
}

#[test]
fn what_is_signed_cannot_be_altered_and_the_rest_can() {
    let alice = alice();
    let signed = || {
        let mut action = action_with(&[]);
        action["operations"] = json!([
            {"module": "file", "parameters": {"searches": {"s": {"paths": ["/etc"], "options": {"maxdepth": 1}}}}},
            {"module": "netstat", "parameters": {"localip": ["10.0.0.1"]}}
        ]);
        action
    };
    let stripped = strip(&[signature(&alice, 0, &signed_text(&signed()), Ok).into()]);
    let altered = |name: &'static str, at: &str, to: Value, expect: Expect| {
        let mut action = signed();
        *action.pointer_mut(at).unwrap() = to;
        action["pgpsignatures"] = json!([stripped]);
        Row { name, certs: vec![alice.clone()], action, expect, gpg: Agrees }
    };
    let bad = |name, at, to| altered(name, at, to, Refused("does not verify"));
    let same = |name, at, to| altered(name, at, to, Counts("alice"));
    let operation = |index: usize| signed()["operations"][index].clone();
    const MAXDEPTH: &str = "/operations/0/parameters/searches/s/options/maxdepth";
    assert_all(
        "altered actions",
        &[
            same("nothing", "/syntaxversion", 2.into()),
            bad("name", "/name", "find <root> & c0".into()),
            bad("name in another case", "/name", "Find <root> & co".into()),
            bad("space after the name", "/name", "find <root> & co ".into()),
            bad("target", "/target", "1=1".into()),
            bad("validfrom", "/validfrom", "2026-11-22T07:59:59Z".into()),
            bad("expireafter", "/expireafter", "2036-11-19T08:00:01Z".into()),
            bad("module", "/operations/1/module", "agentdestroy".into()),
            bad("module in another case", "/operations/0/module", "File".into()),
            bad("a value", "/operations/1/parameters/localip/0", "10.0.0.2".into()),
            bad("a value's type", "/operations/1/parameters/localip", "10.0.0.1".into()),
            bad("a number", MAXDEPTH, 2.into()),
            bad("a number for a text", MAXDEPTH, "1".into()),
            bad("a parameter more", "/operations/1/parameters", json!({"localip": ["10.0.0.1"], "x": null})),
            bad("a parameter less", "/operations/1/parameters", json!({})),
            bad("an operation less", "/operations", json!([operation(0)])),
            bad("an operation more", "/operations", json!([operation(0), operation(1), operation(1)])),
            bad("the order", "/operations", json!([operation(1), operation(0)])),
            same("the same number, written otherwise", MAXDEPTH, 1.0.into()),
            same("the same time, elsewhere on earth", "/validfrom", "2026-11-22T09:00:00+01:00".into()),
            same("a fraction of a second", "/validfrom", "2026-11-22T08:00:00.75Z".into()),
            same("the description", "/description", json!({"author": "somebody else"})),
            same("the threat", "/threat", json!({})),
            same("counters", "/counters", json!({"sent": 3})),
            same("the start time", "/starttime", "2026-11-22T08:30:00Z".into()),
        ],
    );
}

#[test]
fn what_would_be_ambiguous_is_refused_by_field() {
    const DUPLICATE: &str = "stands twice in one object";
    let sample: Value = serde_json::from_str(SIGNED_BY_TWO).unwrap();
    let text = sample.to_string();
    let add = |at: &str, what: &str| text.replacen(at, &format!("{what}{at}"), 1);
    let name = |piece: &str| text.replacen("\"name\":\"", &format!("\"name\":\"x{piece}1"), 1);
    let target = |piece: &str| text.replacen("\"target\":\"", &format!("\"target\":\"x{piece}1"), 1);
    let signatures = |many: &[String]| {
        let mut action = sample.clone();
        action["pgpsignatures"] = many.into();
        action.to_string()
    };
    let rows = [
        ("target in the name", name(";target="), "field 'name': contains ';target='"),
        ("validfrom in the name", name(";validfrom="), "field 'name': contains ';validfrom='"),
        ("expireafter in the name", name(";expireafter="), "field 'name': contains ';expireafter='"),
        ("operations in the name", name(";operations="), "field 'name': contains ';operations='"),
        ("escaped in the name", name("\\u003btarget\\u003d"), "field 'name': contains ';target='"),
        ("target in the target", target(";target="), "field 'target': contains ';target='"),
        ("validfrom in the target", target(";validfrom="), "field 'target': contains ';validfrom='"),
        ("expireafter in the target", target(";expireafter="), "field 'target': contains ';expireafter='"),
        ("operations in the target", target(";operations="), "field 'target': contains ';operations='"),
        ("a name twice", add("\"name\":", "\"name\":\"x\","), DUPLICATE),
        ("a name in two cases", add("\"name\":", "\"Name\":\"x\","), DUPLICATE),
        ("an escaped name twice", add("\"name\":", "\"n\\u0061me\":\"x\","), DUPLICATE),
        ("an unknown field twice", add("\"name\":", "\"q\":1,\"q\":2,"), DUPLICATE),
        ("signatures twice", add("\"pgpsignatures\":", "\"PGPSignatures\":[],"), DUPLICATE),
        ("a module twice", add("\"module\":", "\"module\":\"x\","), DUPLICATE),
        ("a module in two cases", add("\"module\":", "\"Module\":\"x\","), DUPLICATE),
        ("a parameter twice", add("\"maxdepth\":", "\"maxdepth\":9,"), DUPLICATE),
        ("an escaped parameter twice", add("\"maxdepth\":", "\"m\\u0061xdepth\":9,"), DUPLICATE),
        ("in the description", add("\"author\":", "\"author\":9,"), DUPLICATE),
        (
            "33 signatures",
            signatures(&vec!["AAAA".into(); 33]),
            "field 'pgpsignatures': has 33 elements, the limit is 32",
        ),
        ("an empty signature", signatures(&[String::new()]), "field 'pgpsignatures[0]': has 0 bytes"),
        ("a huge signature", signatures(&["A".repeat(16385)]), "field 'pgpsignatures[0]': has 16385 bytes"),
        ("no signature", signatures(&[]), "field 'pgpsignatures': is missing: the action is not signed"),
    ];
    let (mut faults, count) = (Vec::new(), rows.len());
    for (row, altered, reason) in rows {
        assert_ne!(altered, text, "{row} changes nothing");
        let found = Action::parse(altered.as_bytes()).map(|action| action.signed_text()).map_err(|e| e.to_string());
        if !found.as_ref().is_err_and(|error| error.contains(reason)) {
            faults.push(format!("{row}: {found:?}"));
        }
    }
    tell("ambiguous texts", count, &faults);
    let parameters_differ_in_case = add("\"maxdepth\":", "\"MaxDepth\":9,");
    assert!(Action::parse(parameters_differ_in_case.as_bytes()).is_ok(), "labels may differ in case only");
    assert!(Action::parse(signatures(&vec!["AAAA".into(); 32]).as_bytes()).is_ok());
}
