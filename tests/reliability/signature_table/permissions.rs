//! Which signers may have what run, and when.

use super::certificates::*;
use super::tell;
use crate::gnupg::signed_text;
use mig::agent::{Refusal, Trust};
use mig::command::CommandStatus;
use mig::time::Timestamp;
use openpgp::Cert;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::types::ReasonForRevocation;
use sequoia_openpgp as openpgp;
use serde_json::{Value, json};

/// What an agent says of an action.
enum Verdict {
    Runs,
    Cancelled(&'static str),
    Expired,
    Waits(&'static str),
}

use Verdict::{Cancelled, Expired, Runs, Waits};

impl Verdict {
    fn is(&self, found: &Result<(), Refusal>) -> bool {
        match (self, found) {
            (Runs, Ok(())) => true,
            (Cancelled(reason), Err(Refusal::Final(CommandStatus::Cancelled, text))) => text.contains(reason),
            (Expired, Err(Refusal::Final(CommandStatus::Expired, text))) => text.contains("expired at"),
            (Waits(until), Err(Refusal::NotBefore(time))) => time.to_string() == *until,
            _ => false,
        }
    }
}

/// Writes a fingerprint as `gpg --fingerprint` does, in groups, and in lower case.
fn typed_by_hand(fingerprint: &str) -> String {
    let groups: Vec<&str> = (0..fingerprint.len()).step_by(4).map(|start| &fingerprint[start..start + 4]).collect();
    groups.join(" ").to_lowercase()
}

#[test]
fn every_signer_counts_once_and_every_operation_is_weighed() {
    let (alice, bob, stranger) = (alice(), bob(), person("stranger", |b| b));
    let [alice_id, bob_id, stranger_id] = [&alice, &bob, &stranger].map(|cert| cert.fingerprint().to_hex());
    let subkey_id = alice.keys().nth(1).unwrap().key().fingerprint().to_hex();
    let signed_for = |modules: &str| {
        let operations = modules.split(' ').map(|module| json!({"module": module, "parameters": {}}));
        let mut action = action_with(&[]);
        action["operations"] = operations.collect();
        action
    };
    // a0 is alice's primary key, a1 and a2 are her subkeys; x is a bad signature that claims to be bob's.
    let signatures = |action: &Value, who: &str| -> Value {
        let text = signed_text(action);
        let make = |who| match who {
            "a0" => signature(&alice, 0, &text, Ok),
            "a1" => signature(&alice, 1, &text, Ok),
            "a2" => signature(&alice, 2, &text, Ok),
            "b" => signature(&bob, 0, &text, Ok),
            "stranger" => signature(&stranger, 0, &text, Ok),
            _ => signature(&bob, 0, "another text", Ok),
        };
        who.split(' ').map(|who| strip(&[make(who).into()])).collect()
    };
    let (a, b) = (|weight| (alice_id.clone(), weight), |weight| (bob_id.clone(), weight));
    let default = |minimum| permission("default", minimum, &[a(2), b(1)]);
    let file = |minimum, listed: &[(String, u64)]| permission("file", minimum, listed);
    let one = |minimum| vec![default(minimum)];
    let lax = || vec![default(2), file(1, &[b(1)])];
    let strict = || vec![default(2), file(3, &[a(2), b(1)])];
    let only_file = || vec![file(1, &[a(1)])];
    let by_hand = vec![permission("default", 2, &[(typed_by_hand(&alice_id), 2)])];
    let subkey = vec![permission("default", 1, &[(subkey_id, 1)])];
    let for_stranger = vec![permission("default", 1, &[(stranger_id, 1)])];
    let huge = vec![permission("default", 1 << 53, &[a(1 << 53), b(1 << 53)])];
    let short = "needs weight 3, the signers that its permission lists weigh 2";
    // Name, who signed, access list, modules of the operations, what the agent says.
    let rows = [
        ("weight below", "b", one(2), "file", Cancelled("needs weight 2")),
        ("weight equal", "a0", one(2), "file", Runs),
        ("weight above", "a0 b", one(2), "file", Runs),
        ("two reach it together", "a0 b", one(3), "file", Runs),
        ("two in the other order", "b a0", one(3), "file", Runs),
        ("the same key twice", "a0 a0", one(3), "file", Cancelled(short)),
        ("primary key and subkey", "a0 a1", one(3), "file", Cancelled(short)),
        ("two subkeys", "a1 a2", one(3), "file", Cancelled(short)),
        ("three keys of one and another's", "a0 a1 a2 b", one(4), "file", Cancelled("weigh 3")),
        ("one valid, one not", "a0 x", one(2), "file", Runs),
        ("one not, one valid", "x a0", one(2), "file", Runs),
        ("no weight for a bad one", "a0 x", one(3), "file", Cancelled("pgpsignatures[1] claims to be by bob")),
        ("known and not listed", "stranger", one(1), "file", Cancelled("weigh 0")),
        ("second operation", "b", lax(), "file netstat", Cancelled("module 'netstat'")),
        ("first operation", "b", lax(), "netstat file", Cancelled("module 'netstat'")),
        ("both operations", "a0 b", lax(), "file netstat", Runs),
        ("the module is laxer than default", "b", lax(), "file", Runs),
        ("the module is stricter than default", "a0", strict(), "file", Cancelled(short)),
        ("the module lists others", "a0", lax(), "file", Cancelled("weigh 0")),
        ("no permission", "a0 b", only_file(), "netstat", Cancelled("no permission for module 'netstat'")),
        ("module names are exact", "a0", only_file(), "File", Cancelled("no permission for module 'File'")),
        ("fingerprint in lower case and with spaces", "a0", by_hand, "file", Runs),
        ("a subkey's fingerprint is nobody's", "a1", subkey, "file", Cancelled("weigh 0")),
        ("a module called default", "stranger", for_stranger, "default", Runs),
        ("weights do not overflow", "a0 b", huge, "file", Runs),
    ];
    let (mut faults, count) = (Vec::new(), rows.len());
    for (name, who, permissions, modules, expected) in rows {
        let mut action = signed_for(modules);
        action["pgpsignatures"] = signatures(&action, who);
        let trust = Trust { keyring: &keyring(&[&alice, &bob, &stranger]), acl: &acl(&permissions) };
        let found = trust.judge(&command(&action), now());
        if !expected.is(&found) {
            faults.push(format!("{name}: {found:?}"));
        }
    }
    tell("weights", count, &faults);
}

#[test]
fn an_agent_runs_an_action_inside_its_window_only() {
    let alice = alice();
    let rows = [
        ("inside", "2026-11-22T08:00:00Z", "2026-11-22T10:00:00Z", Runs),
        ("begins now", "2026-11-22T09:00:00Z", "2026-11-22T10:00:00Z", Runs),
        ("begins in a second", "2026-11-22T09:00:01Z", "2026-11-22T10:00:00Z", Waits("2026-11-22T09:00:01Z")),
        ("begins in half a second", "2026-11-22T09:00:00.5Z", "2026-11-22T10:00:00Z", Waits("2026-11-22T09:00:00.5Z")),
        ("began half a second ago", "2026-11-22T08:59:59.5Z", "2026-11-22T10:00:00Z", Runs),
        ("ends now", "2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z", Expired),
        ("ends in half a second", "2026-11-22T08:00:00Z", "2026-11-22T09:00:00.5Z", Runs),
        ("ended", "2026-11-22T08:00:00Z", "2026-11-22T08:59:59Z", Expired),
        (
            "ends before it begins",
            "2026-11-22T11:00:00Z",
            "2026-11-22T10:00:00Z",
            Cancelled("validfrom is not before expireafter"),
        ),
        ("has no end", "2026-11-22T08:00:00Z", "0001-01-01T00:00:00Z", Expired),
    ];
    let (mut faults, count) = (Vec::new(), rows.len());
    for (name, from, until, expected) in rows {
        let mut action = action_with(&[]);
        (action["validfrom"], action["expireafter"]) = (from.into(), until.into());
        action["pgpsignatures"] = json!([strip(&[signature(&alice, 0, &signed_text(&action), Ok).into()])]);
        let found = judged_by_all(&[&alice], &action);
        if !expected.is(&found) {
            faults.push(format!("{name}: {found:?}"));
        }
    }
    tell("windows", count, &faults);
    let mut unsigned = action_with(&[]);
    unsigned["pgpsignatures"] = json!([]);
    assert!(Cancelled("weigh 0").is(&judged_by_all(&[&alice], &unsigned)));
}

#[test]
fn an_agent_whose_clock_is_behind_waits_for_what_was_just_signed() {
    let (alice, bob) = (alice(), bob());
    let young = person("young", |b| b.set_creation_time(at(-10 * MINUTE)));
    let never = person("never", |b| b.set_validity_period(days(600)));
    let time = |seconds: i64| Timestamp::try_from(at(seconds)).unwrap();
    // Signed now, while the agent's clock shows an hour less.
    let signed = |cert: &Cert, from: i64, until: i64, as_whom: &Cert| {
        let mut action = action_with(&[]);
        (action["validfrom"], action["expireafter"]) = (time(from).to_string().into(), time(until).to_string().into());
        let how =
            |b: SignatureBuilder| b.set_signature_creation_time(at(0))?.set_issuer_fingerprint(as_whom.fingerprint());
        action["pgpsignatures"] = json!([strip(&[signature(cert, 0, &signed_text(&action), how).into()])]);
        action
    };
    let mut altered = signed(&alice, -60, HOUR, &alice);
    altered["target"] = "1=1".into();
    for (name, cert, action, expected) in [
        ("valid from now on", &alice, signed(&alice, -MINUTE, HOUR, &alice), Waits("2026-11-22T08:59:00Z")),
        ("valid since two hours", &alice, signed(&alice, -2 * HOUR, HOUR, &alice), Waits("2026-11-22T08:55:00Z")),
        ("by a new key", &young, signed(&young, -2 * HOUR, HOUR, &young), Waits("2026-11-22T08:55:00Z")),
        ("valid from tomorrow on", &alice, signed(&alice, DAY, 2 * DAY, &alice), Waits("2026-11-23T09:00:00Z")),
        (
            "it ends before it can be valid",
            &alice,
            signed(&alice, -2 * HOUR, -6 * MINUTE, &alice),
            Cancelled("is from the future"),
        ),
        ("altered", &alice, altered, Cancelled("does not verify")),
        ("by another one", &alice, signed(&bob, -MINUTE, HOUR, &alice), Cancelled("does not verify")),
        ("by an unknown one", &alice, signed(&bob, -MINUTE, HOUR, &bob), Cancelled("not in the keyring")),
        ("by an expired key", &never, signed(&never, -MINUTE, HOUR, &never), Cancelled("expired at")),
    ] {
        let found = judged_at(time(-HOUR), &[cert], &action);
        assert!(expected.is(&found), "{name}: {found:?}");
        // Judged again when its time has come, in full.
        if let Err(Refusal::NotBefore(time)) = found {
            assert_eq!(judged_at(time, &[cert], &action), Ok(()), "{name}");
            let stolen = revoked(cert, ReasonForRevocation::KeyCompromised, -2 * MINUTE);
            assert!(Cancelled("is revoked").is(&judged_at(time, &[&stolen], &action)), "{name}");
        }
    }
}
