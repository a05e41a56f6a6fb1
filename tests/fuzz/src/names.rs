//! Names of files, ours and other people's, and the ids in them.

use mig::id::{ActionId, CommandId, CommandRef};
use mig::relay::directory::MessageName;
use mig::spool::FileName;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A name as it may stand in a directory of the spool or the relay: what it tells is written the same way again.
pub fn file_name(data: &[u8]) {
    let Some(name) = FileName::new(OsString::from_vec(data.to_vec())) else { return };
    assert!(!data.contains(&b'/') && !data.contains(&0) && !data.is_empty());
    assert!(!name.to_string().contains(char::is_control), "{name:?} in a log");
    if name.is_drop() {
        let reason = name.partner().expect("a file has a reason");
        assert_eq!(reason.partner(), Some(name.clone()), "a file and its reason belong together");
        assert!(!reason.is_drop());
    }
    let Some(text) = name.as_str() else { return };
    if let Ok(id) = ActionId::from_file_name(text) {
        assert_eq!(FileName::from(id), name);
        assert!(name.is_drop());
    }
    if let Ok(reference) = CommandRef::from_file_name(text) {
        assert_eq!(FileName::from(reference), name);
        assert!(name.is_drop() && ActionId::from_file_name(text).is_err());
    }
    if let Some(message) = MessageName::parse(text) {
        assert_eq!(MessageName::parse(&message.format("sender", 1)), Some(message));
    }
    id(text);
}

/// An id as JSON has it: whatever its spelling, its digits are the same id.
fn id(text: &str) {
    if let Ok(Some(id)) = CommandId::from_json_number(text) {
        assert_eq!(CommandId::from_digits(&id.to_string()), Ok(id));
        assert_eq!(CommandId::from_json_number(&id.to_string()), Ok(Some(id)));
    }
    if let Ok(id) = CommandId::from_digits(text) {
        assert_eq!(CommandId::from_json_number(text), Ok(Some(id)));
    }
}
