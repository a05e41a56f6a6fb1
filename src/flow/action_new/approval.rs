//! Whether enough investigators have signed an action: `[investigators] minimumsigners` and `acl`.

use super::investigators::Trusted;
use crate::acl::{Acl, Denied};
use crate::action::Action;
use crate::failure::Failure;
use crate::investigator::{Fingerprint, Investigator};
use crate::reload::Reloaded;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is required, as configured.
pub struct Approval {
    minimum_signers: usize,
    acl: Option<Reloaded<Acl>>,
}

impl Approval {
    /// Requires so many signers, and those that an access list requires.
    pub fn new(minimum_signers: usize, acl: Option<Reloaded<Acl>>) -> Approval {
        Approval { minimum_signers, acl }
    }

    /// What is required now. Nothing is decided while the access list is missing.
    pub fn rules(&mut self) -> Result<Rules, Failure> {
        let acl = self.acl.as_mut().map(|acl| acl.require().cloned()).transpose()?;
        Ok(Rules { minimum_signers: self.minimum_signers, acl })
    }
}

/// What is required at one moment.
#[derive(Clone)]
pub struct Rules {
    minimum_signers: usize,
    acl: Option<Arc<Acl>>,
}

impl Rules {
    /// Whether one signer may not be enough.
    pub fn may_hold(&self) -> bool {
        self.minimum_signers > 1 || self.acl.is_some()
    }

    /// Whether these are the same.
    pub fn is(&self, other: &Rules) -> bool {
        match (&self.acl, &other.acl) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// What is missing until the action may begin, as text; none if nothing is. An action that no signatures permit is a
    /// [`Failure::Refuse`].
    pub fn missing(
        &self,
        trusted: &Trusted,
        action: &Action,
        signers: &[Investigator],
    ) -> Result<Option<String>, Failure> {
        let signers: BTreeSet<Fingerprint> = signers.iter().map(|signer| signer.fingerprint.clone()).collect();
        // The actions with which schedulers end duplicate agents have no other signer; the agents' access lists decide on them.
        if trusted.are_own(&signers) {
            return Ok(None);
        }
        let mut missing = Vec::new();
        if signers.len() < self.minimum_signers {
            let (needed, found) = (self.minimum_signers, signers.len());
            missing.push(format!("it needs {needed} signers and has {found} (minimumsigners)"));
        }
        let Some(acl) = &self.acl else { return Ok(join(missing)) };
        for denied in acl.missing(action, &signers) {
            let reaches = |module: &str| acl.weigh(module, &signers).is_some_and(|one| one.possible >= one.needed);
            match &denied {
                Denied::TooLight { module, .. } if reaches(module) => missing.push(denied.to_string()),
                _ => {
                    return Err(Failure::Refuse(format!(
                        "[investigators] acl: {denied}; no signature can change that"
                    )));
                }
            }
        }
        Ok(join(missing))
    }
}

fn join(missing: Vec<String>) -> Option<String> {
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// The signers, for a log line or a reason.
pub fn named(signers: &[Investigator]) -> String {
    if signers.is_empty() {
        return "no investigator whose signature counts".into();
    }
    let name = |signer: &Investigator| format!("{} ({})", signer.name, signer.fingerprint);
    signers.iter().map(name).collect::<Vec<_>>().join(", ")
}
