//! What tells this machine from others.
//!
//! [`Marks`] stay the same over restarts, reboots, new host names and new addresses, and a copy of the disk in another
//! machine meets others: the machine's id (which many images have in common) and the hardware's (which a new virtual machine
//! gets; containers of one host have it in common). They are kept beside the agent's id, hashed, for a machine's id is not to
//! be shown to others.
//!
//! [`running`] is another one for heartbeats: it is the same for the processes of one running system only.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Characters of a hash that are kept.
const HASH_CHARACTERS: usize = 32;

fn hash(texts: &[&str]) -> String {
    let digest = Sha256::digest(texts.join("\n").as_bytes());
    crate::hex::encode(&digest[..HASH_CHARACTERS / 2])
}

/// The text of a file that says something.
fn text(path: &str) -> Option<String> {
    let bytes = crate::config::read_bounded(Path::new(path), 4096).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// See the module docs. A mark that cannot be read (no root, no such file) is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<String, String>);

impl Marks {
    /// Those of this machine.
    pub fn here() -> Marks {
        // A system whose /etc cannot be written to has an id for this boot only.
        let is_kept = |id: &String| id != "uninitialized" && text("/run/machine-id").as_ref() != Some(id);
        let hardware = ["/sys/class/dmi/id/product_uuid", "/sys/firmware/devicetree/base/serial-number"];
        Marks::of(text("/etc/machine-id").filter(is_kept), hardware.into_iter().find_map(text))
    }

    fn of(machine_id: Option<String>, hardware: Option<String>) -> Marks {
        let named = [("machine-id", machine_id), ("hardware", hardware)];
        let marks = named.into_iter().filter_map(|(name, value)| {
            let value = value?;
            Some((name.to_owned(), hash(&["mig-agent", name, &value])))
        });
        Marks(marks.collect())
    }

    /// Reads a note of [`Marks::note`]. What is no mark is left out.
    pub fn parse(note: &[u8]) -> Marks {
        let text = String::from_utf8_lossy(note);
        Marks(text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect())
    }

    /// `machine-id` and `hardware`, each with its hash, a line each.
    pub fn note(&self) -> String {
        self.0.iter().map(|(name, hash)| format!("{name} {hash}\n")).collect()
    }

    /// The marks that are different in a record of an earlier time: if there are any, it was made on another machine.
    pub fn other_than(&self, recorded: &Marks) -> Vec<&str> {
        let is_other = |(name, hash): &(&String, &String)| recorded.0.get(*name).is_some_and(|known| known != *hash);
        self.0.iter().filter(is_other).map(|(name, _)| name.as_str()).collect()
    }

    /// Adds those that a record has and that cannot be read now.
    pub fn with(mut self, recorded: Marks) -> Marks {
        for (name, hash) in recorded.0 {
            self.0.entry(name).or_insert(hash);
        }
        self
    }
}

/// The name of the running system, until its next boot; none if there is no /proc. Process ids are unique below it.
pub fn running() -> Option<String> {
    let boot = text("/proc/sys/kernel/random/boot_id")?;
    let processes = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(hash(&["mig-agent running", &boot, &processes.to_string_lossy()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(machine_id: &str, hardware: &str) -> Marks {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Marks::of(known(machine_id), known(hardware))
    }

    #[test]
    fn a_mark_that_is_known_to_be_another_one_makes_another_machine() {
        for (recorded, here, other) in [
            (marks("a", "1"), marks("a", "1"), vec![]),
            (marks("a", "1"), marks("a", "2"), vec!["hardware"]),
            (marks("a", "1"), marks("b", "1"), vec!["machine-id"]),
            (marks("a", "1"), marks("", "1"), vec![]),
            (marks("a", "1"), marks("", ""), vec![]),
            (marks("a", ""), marks("a", "1"), vec![]),
            (marks("a", ""), marks("b", "1"), vec!["machine-id"]),
            (marks("", ""), marks("b", "1"), vec![]),
        ] {
            assert_eq!(here.other_than(&Marks::parse(recorded.note().as_bytes())), other, "{recorded:?} {here:?}");
        }
        assert_eq!(marks("a", "").with(marks("b", "1")), marks("a", "1"), "what is known now counts");
        assert_eq!(Marks::parse(b"\xff\0 x\nnonsense\n").other_than(&marks("a", "1")), Vec::<&str>::new());
    }

    #[test]
    fn the_running_system_has_one_name_and_no_id_is_shown() {
        assert_eq!(running(), running());
        let note = Marks::here().with(marks("secret", "secret")).note();
        assert!(!note.contains("secret"), "{note}");
        if let Some(id) = text("/etc/machine-id") {
            assert!(!note.contains(&id) && running().unwrap() != id, "{note}");
        }
    }
}
