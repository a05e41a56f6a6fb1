//! JSON itself, and the parameters of operations.

use mig::json::{self, Fields, JsonError};
use mig::modules;

/// Prefixes of a text that are tried beside the short ones.
const PREFIXES_MAX: usize = 64;

/// JSON: the signed form is stable, what is written is the same value, and half of a file is known to be half of one.
pub fn json(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(value) = json::value(text)
    {
        let mut signed = String::new();
        json::canonical(&value, &mut signed);
        let again = json::value(&signed).expect("the signed form is JSON");
        let mut signed_again = String::new();
        json::canonical(&again, &mut signed_again);
        assert_eq!(signed_again, signed);
        assert_eq!(json::value(&value.to_string()).expect("what was written is read again"), value);
    }
    if Fields::parse(data).is_ok() {
        assert_incomplete_until_the_end(data.trim_ascii_end());
    }
}

/// Somebody may still be writing the file: every beginning of a good one is to be waited for.
fn assert_incomplete_until_the_end(whole: &[u8]) {
    let step = (whole.len() / PREFIXES_MAX).max(1);
    for end in (0..whole.len()).step_by(step) {
        let half = Fields::parse(&whole[..end]).err();
        assert_eq!(half, Some(JsonError::Incomplete), "{}", String::from_utf8_lossy(&whole[..end]));
    }
}

/// Parameters of a module, of each: what is accepted is accepted again when it has travelled.
pub fn parameters(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(parameters) = json::value(text) else { return };
    let travelled = json::value(&parameters.to_string()).expect("what was written is read again");
    for module in modules::all() {
        assert_eq!(module.validate(&travelled), module.validate(&parameters), "{}", module.name());
    }
}
