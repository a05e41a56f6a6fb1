//! Public keys: lines of OpenSSH, with options in `authorized_keys`, and the format of RFC 4716.

use super::blob::{self, PublicKey};
use super::keys::{Key, Keys, Type};

/// The first line of a public key in the format of RFC 4716.
pub(super) const RFC4716_BEGIN: &str = "---- BEGIN SSH2 PUBLIC KEY ----";
/// Its last line.
const RFC4716_END: &str = "---- END SSH2 PUBLIC KEY ----";
/// Options whose values are returned: they say from where and until when a key is good. Others may be private: a command, a
/// variable of the environment.
const WITH_VALUE: [&str; 4] = ["from", "expiry-time", "principals", "tunnel"];
/// Options of `authorized_keys` (sshd(8)); other words in front of a key are names of hosts, or text.
const OPTIONS: [&str; 22] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "tunnel",
    "user-rc",
    "verify-required",
    "x11-forwarding",
];
/// Bytes of an option that is returned.
const OPTION_BYTES_MAX: usize = 512;
/// Options of one line.
const OPTIONS_MAX: usize = 64;

/// Reads lines that are keys; options may stand in front of one. In `authorized_keys` what is not a key, a comment or empty is not
/// understood.
pub(super) fn read_lines(lines: &[&str], is_authorized_keys: bool, keys: &mut Keys) {
    let kind = if is_authorized_keys { Type::AuthorizedKeys } else { Type::Public };
    for (index, line) in lines.iter().enumerate() {
        let (first, _) = word(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (options, key) = if blob::is_name(first) { (Some(Vec::new()), *line) } else { split_options(line) };
        let are_known = |options: &Vec<String>| {
            is_authorized_keys
                || options.iter().all(|option| OPTIONS.contains(&option.split('=').next().unwrap_or(option)))
        };
        match options.filter(are_known).and_then(|options| Some((options, read_key(key)?))) {
            Some((options, (public, comment))) => {
                keys.found.push(Key { options, ..Key::new(kind, index + 1, Some(public), Some(comment)) });
            }
            None if is_authorized_keys => keys.not_understood.push(index + 1),
            // A text about keys.
            None => {}
        }
    }
}

/// Reads `ssh-ed25519 AAAA… comment`.
fn read_key(line: &str) -> Option<(PublicKey, &str)> {
    let (name, rest) = word(line);
    let (text, comment) = word(rest);
    let public = PublicKey::parse_text(text)?;
    // The name in front is that of the key.
    let is_same = blob::is_name(name)
        && name.contains("-cert-v01@") == public.is_certificate
        && name.starts_with(public.algorithm.name.trim_end_matches("@openssh.com"));
    is_same.then_some((public, comment))
}

/// Splits the first word from the rest of a line.
fn word(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    (&line[..end], line[end..].trim_start())
}

/// Splits options from the key behind them. The options are none if they are not understood.
fn split_options(line: &str) -> (Option<Vec<String>>, &str) {
    let mut options = Vec::new();
    let (mut is_quoted, mut is_escaped, mut begin) = (false, false, 0);
    for (at, letter) in line.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' | ' ' | '\t' if !is_quoted => {
                options.push(option(&line[begin..at]));
                begin = at + 1;
                if letter != ',' || options.len() > OPTIONS_MAX {
                    return (options.into_iter().collect(), line[begin..].trim_start());
                }
            }
            _ => {}
        }
    }
    (None, "")
}

/// An option as it is returned: its name, and its value if that is not private.
fn option(text: &str) -> Option<String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let is_name =
        !name.is_empty() && name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name = is_name.then(|| name.to_ascii_lowercase())?;
    Some(match value {
        None => name,
        Some(value) if WITH_VALUE.contains(&name.as_str()) => {
            let end = value.floor_char_boundary(OPTION_BYTES_MAX);
            format!("{name}={}", value[..end].trim_matches('"'))
        }
        Some(_) => format!("{name}=…"),
    })
}

/// Reads keys in the format of RFC 4716: headers, and base64 in lines.
pub(super) fn read_rfc4716(lines: &[&str], keys: &mut Keys) {
    for (index, _) in lines.iter().enumerate().filter(|(_, line)| **line == RFC4716_BEGIN) {
        let body: Vec<&str> = lines[index + 1..]
            .iter()
            .copied()
            .take_while(|line| ![RFC4716_BEGIN, RFC4716_END].contains(line))
            .collect();
        let (mut comment, mut text, mut is_header, mut is_comment) = (String::new(), String::new(), false, false);
        for line in body {
            let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
            if is_header {
                if is_comment {
                    comment.push_str(part);
                }
                is_header = goes_on;
            } else if let Some((name, value)) = part.split_once(": ") {
                (is_header, is_comment) = (goes_on, name.eq_ignore_ascii_case("comment"));
                if is_comment {
                    value.clone_into(&mut comment);
                }
            } else {
                text.push_str(line);
            }
        }
        let comment = comment.trim_matches('"');
        match PublicKey::parse_text(&text) {
            Some(public) => keys.found.push(Key::new(Type::Public, index + 1, Some(public), Some(comment))),
            None => keys.not_understood.push(index + 1),
        }
    }
}
