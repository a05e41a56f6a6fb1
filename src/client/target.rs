//! Which agents are asked: `-t`, and `--of` an earlier action.

use super::migrc::Migrc;
use crate::error::{ExitClass, ProgramError};
use crate::id::ActionId;
use crate::targets::Target;

/// The target without `-t`.
const ONLINE: &str = "status='online'";

/// The target of `-t` and `--of`.
pub fn target(given: Option<&str>, of: Option<&(String, String)>, migrc: &Migrc) -> Result<String, ProgramError> {
    let given = given.map(|text| migrc.target(text));
    let target = match (of, given) {
        (None, given) => given.unwrap_or_else(|| ONLINE.to_owned()),
        (Some((id, kind)), given) => {
            let of = follow_up(id, kind)
                .map_err(|e| ProgramError::new(ExitClass::Usage, format!("--of: {e}; try mig help")))?;
            let narrower = given.filter(|target| !target.trim().eq_ignore_ascii_case("all"));
            narrower.map_or(of.clone(), |target| format!("({target}) AND {of}"))
        }
    };
    Target::parse(&target).map_err(|e| {
        let macros = match migrc.macro_names() {
            names if names.is_empty() => String::new(),
            names => format!("; macros of {} are {names}", migrc.file.display()),
        };
        ProgramError::new(ExitClass::Data, format!("-t: {e}{macros}"))
    })?;
    Ok(target)
}

/// A target that selects agents by their answers to an earlier action. An agent that was started again has another row, so
/// its queue counts.
fn follow_up(id: &str, kind: &str) -> Result<String, String> {
    let id = ActionId::from_digits(id).map_err(|e| e.to_string())?;
    let with = |field: &str, value: &str| {
        format!(", json_array_elements(commands.results) AS r WHERE r->>'{field}' = '{value}' AND")
    };
    let of_commands = |from: &str, condition: &str| {
        format!(
            "(queueloc IN (SELECT queueloc FROM agents WHERE id IN (SELECT agentid FROM commands{from} actionid = {id}{condition})))"
        )
    };
    let found = of_commands(&with("foundanything", "true"), "");
    // Only who ran everything to its end has looked.
    let (ran, failed) =
        (of_commands(&with("success", "true"), " AND status = 'success'"), of_commands(&with("success", "false"), ""));
    match kind {
        "found" => Ok(found),
        "notfound" => Ok(format!("({ran} AND NOT {failed} AND NOT {found})")),
        "missing" => {
            let asked = of_commands(" WHERE", "");
            Ok(format!("({asked} AND NOT ({ran} AND NOT {failed}) AND NOT {found})"))
        }
        _ => Err(format!("'{kind}' is none of found, notfound and missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_up_targets_are_accepted() {
        for kind in ["found", "notfound", "missing"] {
            let target = follow_up("12", kind).unwrap();
            Target::parse(&target).unwrap_or_else(|e| panic!("{target}: {e}"));
            Target::parse(&format!("(mode='daemon') AND {target}")).unwrap();
        }
        assert!(follow_up("x", "found").is_err() && follow_up("1", "x").is_err());
    }
}
