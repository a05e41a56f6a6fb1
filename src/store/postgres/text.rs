//! Replaces text that PostgreSQL cannot store, or cannot convert from json to text. One agent's answer must not break
//! every target that reads answers, nor one heartbeat its batch.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// Returns the value for a text column, which cannot contain NUL.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Returns the value for a json column, from an unsigned object.
pub(super) fn object(object: &Map<String, Value>) -> String {
    let text = serde_json::to_string(object).unwrap_or_default();
    match readable(&text) {
        Cow::Owned(readable) => readable,
        Cow::Borrowed(_) => text,
    }
}

/// Returns JSON text on which `->>` always works: U+FFFD replaces each `\u0000` and each unpaired surrogate. Borrowed
/// if there is none.
pub(super) fn readable(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut readable = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += offset;
        let unit = escaped_unit(bytes, at);
        let length = match unit {
            None => 2,
            Some(0xd800..=0xdbff) if matches!(escaped_unit(bytes, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(_) => 6,
        };
        if length == 6 && matches!(unit, Some(0 | 0xd800..=0xdfff)) {
            readable.push_str(&json[copied..at]);
            readable.push_str("\\ufffd");
            copied = at + length;
        }
        at = (at + length).min(bytes.len());
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    readable.push_str(&json[copied..]);
    Cow::Owned(readable)
}

/// Returns the code unit of the `\uXXXX` at `at`; None if there is none.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_text_is_replaced() {
        for same in [r#"{"a":"b"}"#, r#"["\\u0000","\"\\","\u00e9\ud83d\ude00\n"]"#, "", "\"ü\"", "\"\\\\\""] {
            assert!(matches!(readable(same), Cow::Borrowed(text) if text == same), "{same}");
        }
        for (json, expected) in [
            (r#"["\u0000"]"#, r#"["\ufffd"]"#),
            (r#"["\\\u0000x\u0000"]"#, r#"["\\\ufffdx\ufffd"]"#),
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#"["\ude00\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\uD83D\u0041ü"]"#, r#"["\ufffd\u0041ü"]"#),
            (r#"{"\udfff":1}"#, r#"{"\ufffd":1}"#),
        ] {
            assert_eq!(readable(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_json_does_no_harm() {
        for broken in ["\\", "\\u", "\\u00", "\\u000", "\\ud83d\\", "\\uü00", "\\\u{fffd}", "\\ü\\u0000"] {
            readable(broken);
        }
    }
}
