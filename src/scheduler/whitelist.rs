//! The whitelist: which agents may register.
//!
//! One queueloc per line; a line that begins with `re:` is a regular expression of RE2's grammar that must match the whole
//! queueloc, as the original's must. Empty lines and lines that begin with `#` are ignored. A bad expression is logged
//! with its line number, and the rest stays in force.

use crate::limits;
use crate::re2::{self, Expression};
use regex::RegexSet;
use std::collections::HashSet;
use std::path::Path;

/// A parsed whitelist; the default one allows no agent.
#[derive(Default)]
pub struct Whitelist {
    plain: HashSet<String>,
    expressions: Vec<RegexSet>,
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
                Some(expression) => match anchored(expression) {
                    Ok(anchored) => expressions.push(anchored),
                    Err(reason) => log::error!(
                        "{}:{number}: '{expression}' is no regular expression ({reason}); the other lines are in force",
                        path.display()
                    ),
                },
            }
        }
        let expressions =
            sets(&expressions).map_err(|e| format!("its regular expressions are too large together: {e}"))?;
        Ok(Whitelist { plain, expressions })
    }

    /// Whether an agent with this queueloc may register.
    pub fn allows(&self, queueloc: &str) -> bool {
        self.plain.contains(queueloc) || self.expressions.iter().any(|set| set.is_match(queueloc))
    }
}

fn sets(expressions: &[String]) -> Result<Vec<RegexSet>, regex::Error> {
    let share_bytes = limits::WHITELIST_REGEX_SIZE_BYTES_MAX / re2::sets_count(expressions.len()).max(1);
    re2::compile_sets(expressions, share_bytes, share_bytes.min(limits::REGEX_CACHE_BYTES_MAX))
}

/// The expression for a whole queueloc.
fn anchored(expression: &str) -> Result<String, String> {
    let anchored = Expression::parse(expression).map_err(|error| error.to_string())?.to_whole_pattern();
    let size_bytes_max = limits::whitelist_expression_size_bytes_max(expression);
    match re2::compile(&anchored, size_bytes_max, limits::REGEX_CACHE_BYTES_MAX) {
        Ok(_) => Ok(anchored),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_match_whole_and_a_bad_expression_leaves_the_rest_in_force() {
        let text = "linux.agent123.example.net.58b3mndjmbb00\n\n# comment\nre:linux.server[0-9]{1,4}.example.net.[a-z0-9]{13}\nre:([\nre:(.{1000}){1000}\nre:\\pL\nre:darwin\\.\\w{60}\\.1\nre:^windows\\.db.*\n";
        let long = format!("darwin.{}.1", "x".repeat(60));
        let list = Whitelist::parse(text.as_bytes(), Path::new("w")).unwrap();
        for (queueloc, allowed) in [
            ("linux.agent123.example.net.58b3mndjmbb00", true),
            ("linux.agent123.example.net.58b3mndjmbb001", false),
            ("linux.server12.example.net.abcdefghijklm", true),
            ("linux.server12345.example.net.abcdefghijklm", false),
            ("windows.db4.x.1", true),
            ("linux.windows.db.1", false),
            (&long, true),
            ("darwin.x.1", false),
            ("# comment", false),
        ] {
            assert_eq!(list.allows(queueloc), allowed, "{queueloc}");
        }
        assert!(!Whitelist::default().allows("linux.a.b"));
    }

    #[test]
    fn an_expression_matches_the_whole_queueloc_whatever_is_in_it() {
        let text = "re:linux\\.a\\.1|linux\\.b\\.2\nre:^linux\\.c\\.3$\nre:(?i)LINUX\\.d\\.4\nre:linux\\.e)|(?:.*\nre:(?x)linux\\.f\\.6 # six\n";
        let list = Whitelist::parse(text.as_bytes(), Path::new("w")).unwrap();
        for (queueloc, allowed) in [
            ("linux.a.1", true),
            ("linux.b.2", true),
            ("linux.c.3", true),
            ("linux.d.4", true),
            ("linux.a.1.evil", false),
            ("linux.evil.linux.b.2", false),
            ("linux.c.3.evil", false),
            ("linux.d.4.evil", false),
            ("linux.e.5", false),
            ("linux.f.6", false),
        ] {
            assert_eq!(list.allows(queueloc), allowed, "{queueloc}");
        }
    }

    #[test]
    fn thousands_of_expressions_are_prepared_before_heartbeats_are_missed() {
        const COUNT: usize = 10_000;
        let text: String = (0..COUNT).map(|number| format!("re:(?i)windows\\.x{number}\\.a\n")).collect();
        let started = std::time::Instant::now();
        let list = Whitelist::parse(text.as_bytes(), Path::new("w")).unwrap();
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        for number in [0, 99, 100, COUNT - 1] {
            assert!(list.allows(&format!("windows.X{number}.a")));
        }
        assert!(!list.allows(&format!("windows.x{COUNT}.a")));
    }
}
