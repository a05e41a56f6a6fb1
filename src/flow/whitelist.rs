//! The whitelist: which agents may register.
//!
//! One queueloc per line; a line that begins with `re:` is a regular expression that must match somewhere in the
//! queueloc. Empty lines and lines that begin with `#` are passed over. A bad expression is logged with its line number,
//! and the rest stays in force.

use crate::limits;
use regex::{Regex, RegexSet, RegexSetBuilder};
use std::collections::HashSet;
use std::path::Path;

/// A parsed whitelist; the default one lets nobody in.
#[derive(Default)]
pub struct Whitelist {
    plain: HashSet<String>,
    expressions: RegexSet,
}

impl Whitelist {
    /// Parses the text of `path`, for [`crate::reload::Reloaded`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Whitelist, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        let mut plain = HashSet::new();
        let mut expressions = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            match line.strip_prefix("re:") {
                _ if line.is_empty() || line.starts_with('#') => {}
                None => drop(plain.insert(line.to_owned())),
                Some(expression) => match Regex::new(expression) {
                    Ok(_) => expressions.push(expression),
                    Err(error) => {
                        let error = error.to_string();
                        let reason = error.lines().last().unwrap_or_default();
                        log::error!(
                            "{}:{number}: '{expression}' is no regular expression ({reason}); the other lines are in force",
                            path.display()
                        );
                    }
                },
            }
        }
        let expressions = RegexSetBuilder::new(expressions).size_limit(limits::WHITELIST_REGEX_SIZE_BYTES_MAX).build();
        let expressions = expressions.map_err(|e| format!("its regular expressions are too large together: {e}"))?;
        Ok(Whitelist { plain, expressions })
    }

    /// Whether an agent with this queueloc may register.
    pub fn allows(&self, queueloc: &str) -> bool {
        self.plain.contains(queueloc) || self.expressions.is_match(queueloc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_match_whole_and_a_bad_expression_leaves_the_rest_in_force() {
        let text = "linux.agent123.example.net.58b3mndjmbb00\n\n# comment\nre:linux.server[0-9]{1,4}.example.net.[a-z0-9]{13}\nre:([\nre:^windows\\.db\n";
        let list = Whitelist::parse(text.as_bytes(), Path::new("w")).unwrap();
        for (queueloc, allowed) in [
            ("linux.agent123.example.net.58b3mndjmbb00", true),
            ("linux.agent123.example.net.58b3mndjmbb001", false),
            ("linux.server12.example.net.abcdefghijklm", true),
            ("linux.server12345.example.net.abcdefghijklm", false),
            ("windows.db4.x.1", true),
            ("linux.windows.db.1", false),
            ("# comment", false),
        ] {
            assert_eq!(list.allows(queueloc), allowed, "{queueloc}");
        }
        assert!(!Whitelist::default().allows("linux.a.b"));
    }
}
