//! The agent's queueloc: `<os>.<hostname>.<random id>`. The random part is made once and kept in the run directory, so that
//! the host name does not reveal the queue.

use crate::heartbeat::QueueLoc;
use crate::spool::{FileName, drop_file};
use std::path::Path;

const ID_FILE: &str = "agent.id";

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}

/// The host's name, as far as it can stand in a queueloc.
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().to_lowercase();
    let clean: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' })
        .take(180)
        .collect();
    let labels: Vec<&str> = clean.split('.').filter(|label| !label.is_empty()).collect();
    if labels.is_empty() { "unknown".into() } else { labels.join(".") }
}

/// Reads the random id, or makes one.
pub fn queueloc(run_directory: &Path) -> Result<QueueLoc, String> {
    let path = run_directory.join(ID_FILE);
    if !path.exists() {
        let random = getrandom::u64().map_err(|e| format!("no random numbers: {e}"))?;
        let name = FileName::new(ID_FILE).ok_or("an empty name")?;
        drop_file(run_directory, &name, format!("{}\n", base36(random | 1 << 63)).as_bytes())
            .map_err(|e| e.to_string())?;
    }
    let id = std::fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    let id = id.trim();
    if id.is_empty() || id.len() > 32 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!(
            "{}: '{}' is not an id; remove the file to have one made",
            path.display(),
            id.escape_default()
        ));
    }
    QueueLoc::parse(&format!("linux.{}.{id}", host_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = queueloc(directory.path()).unwrap();
        assert_eq!(queueloc(directory.path()).unwrap(), first);
        assert!(first.as_str().rsplit('.').next().unwrap().len() >= 12);
        std::fs::write(directory.path().join(ID_FILE), "../x").unwrap();
        assert!(queueloc(directory.path()).unwrap_err().contains("is not an id"));
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
    }
}
