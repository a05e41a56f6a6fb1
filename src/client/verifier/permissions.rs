//! What the signers of an action weigh by an agent's access list.

use crate::acl::{Acl, Weighed};
use crate::action::Action;
use crate::client::printable;
use crate::investigator::Fingerprint;
use crate::signature::{SignatureError, Signer};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What applies to a module of the action.
pub(super) struct Permission {
    module: String,
    /// None if no permission applies.
    weighed: Option<Weighed>,
}

/// Weighs the signers for each module of an action.
pub(super) fn weigh(acl: &Acl, action: &Action, signers: &BTreeSet<Fingerprint>) -> Vec<Permission> {
    let modules: BTreeSet<&str> = action.operations.iter().map(|operation| operation.module.as_str()).collect();
    let weigh = |module: &str| Permission { module: module.into(), weighed: acl.weigh(module, signers) };
    modules.into_iter().map(weigh).collect()
}

impl Permission {
    /// Whether an agent with this list runs the module.
    pub(super) fn is_satisfied(&self) -> bool {
        self.weighed.as_ref().is_some_and(|weighed| weighed.reached >= weighed.needed)
    }

    pub(super) fn to_json(&self) -> Value {
        let Some(weighed) = &self.weighed else {
            return json!({"module": self.module, "permission": null, "satisfied": false});
        };
        let signer = |(fingerprint, weight): &(Fingerprint, u64)| json!({"fingerprint": fingerprint, "weight": weight});
        json!({
            "module": self.module,
            "permission": weighed.permission,
            "minimumweight": weighed.needed,
            "weight": weighed.reached,
            "missing": weighed.needed.saturating_sub(weighed.reached),
            "signers": weighed.weights.iter().map(signer).collect::<Vec<_>>(),
            "satisfied": self.is_satisfied()
        })
    }
}

/// A line for each module.
pub(super) fn as_text(permissions: &[Permission], verified: &[Result<Signer, SignatureError>]) -> String {
    permissions.iter().map(|permission| line(permission, verified)).collect()
}

fn line(permission: &Permission, verified: &[Result<Signer, SignatureError>]) -> String {
    let module = &permission.module;
    let Some(Weighed { permission: name, needed, reached, possible, weights }) = &permission.weighed else {
        return format!("module {module}: NOT permitted: the access list has no permission for it, and no default\n");
    };
    let name_of = |fingerprint: &Fingerprint| {
        let signer = verified.iter().flatten().find(|signer| signer.fingerprint == *fingerprint);
        signer.map_or_else(|| fingerprint.to_string(), |signer| printable(&signer.name))
    };
    let weights: Vec<String> = weights.iter().map(|(signer, weight)| format!("{} {weight}", name_of(signer))).collect();
    let signers = if weights.is_empty() { "no signer".into() } else { weights.join(", ") };
    let verdict = match needed.saturating_sub(*reached) {
        0 => "permitted".to_owned(),
        missing if possible < needed => {
            format!("NOT permitted: weight {missing} is missing, and all that it lists weigh only {possible}")
        }
        missing => format!("NOT permitted: weight {missing} is missing"),
    };
    format!(
        "module {module}: {verdict}; permission {} needs weight {needed}, the signers weigh {reached} ({signers})\n",
        printable(name)
    )
}
