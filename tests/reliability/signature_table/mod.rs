//! Whose signature counts, and for what: one row per case, from a certificate to the agent's verdict.
//!
//! Every row about a signature is judged three times: by the keyring, by an agent that obeys exactly the row's
//! certificates, and, where gpg has an opinion, by `gpg --verify` with its clock at the same time.

mod certificates;
mod keys;
mod permissions;
mod texts;

use crate::common::score::Score;
use crate::gnupg::GnuPg;
use certificates::{action_with, armored, judged_by_all, keyring, now};
use mig::action::Action;
use mig::agent::Refusal;
use mig::command::CommandStatus;
use mig::signature::SignatureError;
use sequoia_openpgp::Cert;
use serde_json::Value;

/// What is expected of a signature.
enum Expect {
    /// It counts, and is this investigator's.
    Counts(&'static str),
    /// It does not; the reason holds this.
    Refused(&'static str),
}

/// What is expected of gpg.
enum Gpg {
    /// The same as of us.
    Agrees,
    /// It accepts what we refuse; its output holds this.
    Laxer(&'static str),
    /// It has no opinion: what it is given by the recipe does not exist, or it cannot read the key.
    NotAsked,
}

use Expect::{Counts, Refused};
use Gpg::{Agrees, Laxer, NotAsked};

struct Row {
    name: &'static str,
    certs: Vec<Cert>,
    action: Value,
    expect: Expect,
    gpg: Gpg,
}

/// A row about a signature over the original's action.
fn row(name: &'static str, certs: &[&Cert], stripped: &str, expect: Expect, gpg: Gpg) -> Row {
    Row { name, certs: certs.iter().copied().cloned().collect(), action: action_with(&[stripped]), expect, gpg }
}

impl Row {
    /// What is wrong with how we judge, or with how gpg does; empty when all is as expected.
    fn faults(&self) -> Vec<String> {
        let certs: Vec<&Cert> = self.certs.iter().collect();
        let action = Action::parse(self.action.to_string().as_bytes()).unwrap();
        let (text, stripped) = (action.signed_text(), &action.signatures[0]);
        let verified = keyring(&certs).verify(&text, stripped, now());
        let verdict = judged_by_all(&certs, &self.action);
        let mut faults = Vec::new();
        match (&self.expect, &verified) {
            (Counts(name), Ok(signer)) if signer.name == *name => {}
            (Refused(reason), Err(error)) if error.to_string().contains(reason) => {}
            _ => faults.push(format!("the keyring says {verified:?}")),
        }
        let agent_agrees = match (&verified, &verdict) {
            (Ok(_), Ok(())) => true,
            (Err(SignatureError::Early { from, .. }), Err(Refusal::NotBefore(time))) => from == time,
            (Err(error), Err(Refusal::Final(CommandStatus::Cancelled, text))) => {
                text.contains(&format!("pgpsignatures[0] {error}"))
            }
            _ => false,
        };
        if !agent_agrees {
            faults.push(format!("the agent says {verdict:?}"));
        }
        faults.extend(self.gpg_fault(&text, stripped));
        faults.iter().map(|fault| format!("{}: {fault}", self.name)).collect()
    }

    fn gpg_fault(&self, text: &str, stripped: &str) -> Option<String> {
        let counts = matches!(self.expect, Counts(_));
        let (accepts, words) = match self.gpg {
            Agrees => (counts, ""),
            Laxer(words) => (true, words),
            NotAsked => return None,
        };
        let gpg = GnuPg::new()?;
        self.certs.iter().for_each(|cert| gpg.import(&armored(cert)));
        let answer = gpg.verify(text, stripped, now());
        (answer.accepted != accepts || !answer.output.contains(words)).then(|| format!("gpg says {answer:?}"))
    }
}

fn assert_all(table: &str, rows: &[Row]) {
    let mut score = Score::begin(format!("signature table: {table}"));
    let faults: Vec<String> = rows.iter().flat_map(Row::faults).collect();
    score.add_runs(rows.len());
    score.end(&faults, if GnuPg::new().is_some() { "" } else { "SKIPPED: gpg, which is not installed, was not asked" });
}

/// Tells what a table about which gpg has no opinion found.
fn tell(table: &str, rows: usize, faults: &[String]) {
    let mut score = Score::begin(format!("signature table: {table}"));
    score.add_runs(rows);
    score.end(faults, "");
}
