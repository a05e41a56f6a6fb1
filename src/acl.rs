//! The access list of an agent: per module, the permitted investigators and the required weight.
//!
//! A list of objects `{"<module>|default": {"minimumweight": n, "investigators": {"<name>": {"fingerprint": "…",
//! "weight": n}}}}`. A module's own permission takes precedence over `default`; without either, the module is denied.

use crate::action::Action;
use crate::investigator::Fingerprint;
use crate::json::{self, Fields, JsonError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why an action may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No permission names the module, and there is no default.
    #[error("no permission for module '{module}' and no default permission")]
    NoPermission {
        /// The module of the operation.
        module: String,
    },
    /// The weights of the listed signers do not reach the minimum.
    #[error("module '{module}' needs weight {needed}, the signers that its permission lists weigh {reached}")]
    TooLight {
        /// The module of the operation.
        module: String,
        /// `minimumweight`.
        needed: u64,
        /// Sum of the weights of the distinct signers.
        reached: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Permission {
    minimum_weight: u64,
    weights: BTreeMap<Fingerprint, u64>,
}

/// A parsed access list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    permissions: BTreeMap<String, Permission>,
}

/// What the signers of an action weigh for a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// The permission that applies: of the module, or `default`.
    pub permission: String,
    /// `minimumweight`.
    pub needed: u64,
    /// Sum of the weights of the distinct signers.
    pub reached: u64,
    /// Sum of the weights of all that the permission lists.
    pub possible: u64,
    /// Each signer's weight, 0 for one that is not listed.
    pub weights: Vec<(Fingerprint, u64)>,
}

/// The permission for modules without one of their own.
const DEFAULT: &str = "default";

impl Acl {
    /// Parses the list. Refuses a module with two permissions, a weight below 1 or a bad fingerprint, by name.
    pub fn parse(bytes: &[u8]) -> Result<Acl, JsonError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Syntax("not UTF-8".into()))?;
        let objects = match json::value(text)? {
            Value::Array(objects) => objects,
            object @ Value::Object(_) => vec![object],
            _ => return Err(JsonError::Syntax("an access list is an array of objects".into())),
        };
        let mut permissions = BTreeMap::new();
        for object in objects {
            let Value::Object(object) = object else {
                return Err(JsonError::Syntax("an access list holds objects only".into()));
            };
            for (module, permission) in object {
                let parsed = parse_permission(&module, &permission)?;
                if permissions.insert(module.clone(), parsed).is_some() {
                    return Err(JsonError::field(module, "has two permissions"));
                }
            }
        }
        Ok(Acl { permissions })
    }

    /// Whether every module is denied.
    pub fn is_empty(&self) -> bool {
        self.permissions.is_empty()
    }

    /// Refuses a permission that no signatures can satisfy: what it requires is more than all weigh that it lists, of
    /// those who can sign, if they are known.
    pub fn check_satisfiable(&self, signers: Option<&BTreeSet<Fingerprint>>) -> Result<(), String> {
        for (module, Permission { minimum_weight, weights }) in &self.permissions {
            let counts = |signer: &Fingerprint| signers.is_none_or(|signers| signers.contains(signer));
            let counted = weights.iter().filter(|(signer, _)| counts(signer)).map(|(_, weight)| *weight);
            let possible = counted.fold(0, u64::saturating_add);
            if possible < *minimum_weight {
                let others: Vec<&str> = weights.keys().filter(|one| !counts(one)).map(Fingerprint::as_str).collect();
                let without = match others.as_slice() {
                    [] => String::new(),
                    others => format!("; these have no key here that can sign now: {}", others.join(", ")),
                };
                return Err(format!(
                    "{module}.minimumweight is {minimum_weight}, but those that it lists and that can sign weigh {possible}{without}"
                ));
            }
        }
        Ok(())
    }

    /// Checks that the signers are permitted to run every operation of the action.
    pub fn check(&self, action: &Action, signers: &BTreeSet<Fingerprint>) -> Result<(), Denied> {
        action.operations.iter().try_for_each(|operation| self.check_module(&operation.module, signers))
    }

    fn check_module(&self, module: &str, signers: &BTreeSet<Fingerprint>) -> Result<(), Denied> {
        let Weighed { needed, reached, .. } =
            self.weigh(module, signers).ok_or_else(|| Denied::NoPermission { module: module.into() })?;
        if reached < needed {
            return Err(Denied::TooLight { module: module.into(), needed, reached });
        }
        Ok(())
    }

    /// Weighs the signers for a module; None if no permission applies to it.
    pub fn weigh(&self, module: &str, signers: &BTreeSet<Fingerprint>) -> Option<Weighed> {
        let own = self.permissions.get_key_value(module).filter(|_| module != DEFAULT);
        let (name, permission) = own.or_else(|| self.permissions.get_key_value(DEFAULT))?;
        let weights = signers.iter().map(|signer| {
            let weight = permission.weights.get(signer).copied().unwrap_or(0);
            (signer.clone(), weight)
        });
        let weights: Vec<(Fingerprint, u64)> = weights.collect();
        let sum = |weights: &mut dyn Iterator<Item = u64>| weights.fold(0, u64::saturating_add);
        let reached = sum(&mut weights.iter().map(|(_, weight)| *weight));
        let possible = sum(&mut permission.weights.values().copied());
        Some(Weighed { permission: name.clone(), needed: permission.minimum_weight, reached, possible, weights })
    }

    /// Why the action may not run yet: once for each module that is denied.
    pub fn missing(&self, action: &Action, signers: &BTreeSet<Fingerprint>) -> Vec<Denied> {
        let modules: BTreeSet<&str> = action.operations.iter().map(|operation| operation.module.as_str()).collect();
        modules.into_iter().filter_map(|module| self.check_module(module, signers).err()).collect()
    }
}

fn parse_permission(module: &str, value: &Value) -> Result<Permission, JsonError> {
    let text = value.to_string();
    let fields = Fields::at(module, &text)?;
    let minimum_weight = weight(&fields, "minimumweight")?.ok_or_else(|| fields.missing("minimumweight"))?;
    let mut weights = BTreeMap::new();
    for (name, entry) in fields.object("investigators")? {
        let path = fields.path(&format!("investigators.{name}"));
        let text = entry.to_string();
        let entry = Fields::at(&path, &text)?;
        let fingerprint = entry.text_required("fingerprint", 256)?;
        let fingerprint = Fingerprint::parse(&fingerprint).map_err(|reason| entry.error("fingerprint", reason))?;
        let weight = weight(&entry, "weight")?.ok_or_else(|| entry.missing("weight"))?;
        // A key that is listed under two names would count twice.
        if weights.insert(fingerprint, weight).is_some() {
            return Err(JsonError::field(path, "has a fingerprint that is listed twice"));
        }
    }
    Ok(Permission { minimum_weight, weights })
}

fn weight(fields: &Fields, name: &str) -> Result<Option<u64>, JsonError> {
    match fields.integer(name)? {
        Some(number) if number < 1 => Err(fields.error(name, format!("is {number}, the minimum is 1"))),
        weight => Ok(weight.map(i64::cast_unsigned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "72CF055B1F355A4EB05CF92A67B6EBC9A657BAE4";
    const BOB: &str = "114741BE7B46CE1B373F73C429924A15DD82634B";

    fn acl() -> Acl {
        let text = format!(
            r#"[{{"default": {{"minimumweight": 2, "investigators": {{"Alice": {{"fingerprint": "{}", "weight": 2}}, "Bob": {{"fingerprint": "{BOB}", "weight": 1}}}}}}}},
                {{"agentdestroy": {{"minimumweight": 1, "investigators": {{"Bob": {{"fingerprint": "{BOB}", "weight": 1}}}}}}}}]"#,
            ALICE.to_lowercase()
        );
        Acl::parse(text.as_bytes()).unwrap()
    }

    fn signers(names: &[&str]) -> BTreeSet<Fingerprint> {
        names.iter().map(|name| Fingerprint::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_permission_that_cannot_be_satisfied_is_found() {
        let all = signers(&[ALICE, BOB]);
        assert_eq!(acl().check_satisfiable(None), Ok(()));
        assert_eq!(acl().check_satisfiable(Some(&all)), Ok(()));
        let error = acl().check_satisfiable(Some(&signers(&[BOB]))).unwrap_err();
        assert!(
            error.starts_with("default.minimumweight is 2, but those that it lists and that can sign weigh 1; these"),
            "{error}"
        );
        let error = acl().check_satisfiable(Some(&signers(&[ALICE]))).unwrap_err();
        assert!(error.starts_with("agentdestroy.minimumweight is 1, "), "{error}");
    }

    #[test]
    fn weights_add_up_and_a_modules_own_permission_takes_precedence() {
        let acl = acl();
        for (module, names, allowed) in [
            ("file", &[ALICE][..], true),
            ("file", &[BOB], false),
            ("file", &[ALICE, BOB], true),
            ("file", &[], false),
            ("agentdestroy", &[BOB], true),
            ("agentdestroy", &[ALICE], false),
            ("default", &[BOB], false),
        ] {
            assert_eq!(acl.check_module(module, &signers(names)).is_ok(), allowed, "{module} by {names:?}");
        }
    }

    #[test]
    fn a_module_without_permission_is_denied() {
        let acl = Acl::parse(format!(r#"{{"file": {{"minimumweight": 1, "investigators": {{"A": {{"fingerprint": "{ALICE}", "weight": 1}}}}}}}}"#).as_bytes()).unwrap();
        let denied = acl.check_module("netstat", &signers(&[ALICE])).unwrap_err();
        assert_eq!(denied, Denied::NoPermission { module: "netstat".into() });
    }

    #[test]
    fn a_bad_access_list_is_refused_by_field() {
        for (text, error) in [
            ("5", "an array of objects"),
            (r#"{"default": {"investigators": {}}}"#, "'default.minimumweight': is missing"),
            (r#"{"default": {"minimumweight": 0, "investigators": {}}}"#, "'default.minimumweight': is 0"),
            (
                r#"{"default": {"minimumweight": 1, "investigators": {"X": {"fingerprint": "12", "weight": 1}}}}"#,
                "'default.investigators.X.fingerprint'",
            ),
            (r#"{"default": {"minimumweight": 1}, "default": {"minimumweight": 1}}"#, "stands twice"),
            (r#"[{"default": {"minimumweight": 1}}, {"default": {"minimumweight": 1}}]"#, "two permissions"),
        ] {
            let found = Acl::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{text}: {found}");
        }
    }
}
