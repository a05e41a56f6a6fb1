//! Looks for keys in the files of a machine.

use super::keys::{self, Key, Type};
use super::parameters::Search;
use super::tree::{self, Root};
use crate::modules::accounts::{self, Account, Names, Sources};
use crate::modules::file::mounts::Mounts;
use crate::modules::files::{self, Machine};
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult, notation};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The list of the result, as the original has it.
pub(super) const LABEL: &str = "keys";
/// The beginning of a file in which there is a mark if it has keys.
const BEGINNING_BYTES: u64 = 64 << 10;
/// A file with keys: as in the original.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// `authorized_keys`: some ten thousand keys of 100 bytes, some thousand of RSA.
const AUTHORIZED_BYTES_MAX: u64 = 4 << 20;
/// Characters of a comment that are returned.
const COMMENT_CHARS_MAX: usize = 256;
/// Where sshd looks for keys below a home directory.
pub(super) const OF_SSH: &str = ".ssh";

/// Whether every file there is one of SSH's: `authorized_keys`, and what is in `.ssh`.
pub(super) fn is_of_ssh(path: &Path) -> bool {
    is_authorized_keys(path) || path.parent().and_then(Path::file_name).is_some_and(|name| name == OF_SSH)
}

/// Whether the lines of a file are keys that may log in.
fn is_authorized_keys(path: &Path) -> bool {
    let names = [path.file_name(), path.parent().and_then(Path::file_name)];
    names.into_iter().flatten().any(|name| name.as_encoded_bytes().starts_with(b"authorized_keys"))
}

/// Runs a search on a machine.
pub(super) fn run(search: &Search, machine: &Machine, context: Context) -> ModuleResult {
    let mut report = Report::new(context, [LABEL]);
    let accounts = match accounts::accounts(machine) {
        Ok(read) => {
            if search.homes {
                name_other_sources(machine, &read, &mut report);
            }
            read.entries
        }
        Err(error) => {
            let text = format!("read /etc/passwd: {error}");
            if search.homes {
                report.unseen(format_args!("{text}: home directories are unknown"));
            } else {
                report.note(format_args!("{text}: names of owners are unknown"));
            }
            Vec::new()
        }
    };
    let mounts = match Mounts::read() {
        Ok(mounts) => mounts,
        Err(error) => {
            report.unseen(format_args!("read /proc/self/mountinfo: {error}: network mounts are unknown"));
            return report.finish(&json!({}));
        }
    };
    let mut files = Files { search, names: Names::of_accounts(&accounts), seen: BTreeSet::new(), keys: 0 };
    for root in roots(search, machine, &accounts) {
        tree::walk(&root, &mounts, &mut report, &mut |file, metadata, path, report| {
            files.visit(file, metadata, path, report);
        });
    }
    report.finish(&json!({"examined": files.keys, "files": files.seen.len()}))
}

/// Accounts that are not in `/etc/passwd` have homes that are not looked into.
fn name_other_sources(machine: &Machine, read: &accounts::Read<Account>, report: &mut Report) {
    if let Some(lines) = files::line_numbers(&read.not_understood) {
        report.unseen(format_args!("read /etc/passwd: {lines} is not understood"));
    }
    if let Some(lines) = files::line_numbers(&read.elsewhere) {
        report.unseen(format_args!("read /etc/passwd: {lines} stands for accounts of a server, which are not seen"));
    }
    match Sources::read(machine) {
        Ok(sources) => {
            let mut others = sources.others("passwd");
            others.retain(|source| *source != "systemd" || accounts::has_records_of_systemd(machine));
            if !others.is_empty() {
                let others = others.join(", ");
                report.unseen(format_args!("homes of accounts of {others} (/etc/nsswitch.conf) are not seen"));
            }
        }
        Err(error) => report.unseen(format_args!("read /etc/nsswitch.conf: {error}: other sources are unknown")),
    }
}

/// Where is looked: each path once.
fn roots(search: &Search, machine: &Machine, accounts: &[Account]) -> Vec<Root> {
    let path = |path: &PathBuf| Root {
        path: path.clone(),
        below: PathBuf::new(),
        levels: search.levels,
        are_levels_asked_for: search.has_levels,
        is_asked_for: search.has_paths,
    };
    let mut roots: Vec<Root> = search.paths.iter().map(path).collect();
    let homes = accounts.iter().filter(|_| search.homes).map(|account| Path::new(&account.home));
    let homes: BTreeSet<&Path> = homes.filter(|home| home.is_absolute()).collect();
    roots.extend(homes.into_iter().map(|home| Root {
        path: machine.path(home),
        below: OF_SSH.into(),
        levels: search.levels,
        are_levels_asked_for: search.has_levels,
        is_asked_for: false,
    }));
    roots
}

/// What is done with files.
struct Files<'s> {
    search: &'s Search,
    names: Names,
    /// Files with keys: paths of searches may overlap.
    seen: BTreeSet<PathBuf>,
    keys: u64,
}

impl Files<'_> {
    fn visit(&mut self, file: &File, metadata: &Metadata, path: &Path, report: &mut Report) {
        if !self.search.files.iter().all(|pattern| pattern.is_met_by(path.as_os_str().as_encoded_bytes())) {
            return;
        }
        let bytes = match read(file, path) {
            Ok((bytes, _)) if bytes.is_empty() => return,
            Ok((bytes, is_whole)) => {
                if !is_whole {
                    report.unseen(format_args!("read {}: only its first {} bytes", path.display(), bytes.len()));
                }
                bytes
            }
            Err(error) => return report.unseen(format_args!("read {}: {error}", path.display())),
        };
        let keys = keys::read(&bytes, is_authorized_keys(path));
        let has_any = !keys.found.is_empty() || !keys.not_understood.is_empty();
        if has_any && !self.seen.insert(path.to_owned()) {
            return;
        }
        if let Some(lines) = files::line_numbers(&keys.not_understood) {
            report.unseen(format_args!("read {}: {lines} is no key that is understood", path.display()));
        }
        for key in &keys.found {
            self.keys += 1;
            if self.is_met_by(key, path, report) && !report.add(LABEL, self.element(key, metadata, path)) {
                return;
            }
        }
    }

    /// Whether a key passes all filters. A filter on what the key does not show decides nothing, and is named.
    fn is_met_by(&self, key: &Key, path: &Path, report: &mut Report) -> bool {
        let search = self.search;
        let is_one_of = |words: &[String], word: &str| words.is_empty() || words.iter().any(|one| one == word);
        let is_plain = key.kind == Type::Private && !key.is_encrypted;
        if !is_one_of(&search.types, key.kind.word()) || (search.unencrypted && !is_plain) {
            return false;
        }
        let of_public = match &key.public {
            Some(public) => Some(
                is_one_of(&search.algorithms, &public.kind().to_lowercase())
                    && search.bits.iter().all(|bits| bits.is_met_by(u64::from(public.bits)))
                    && (search.fingerprints.is_empty()
                        || search.fingerprints.contains(&public.sha256())
                        || search.fingerprints.contains(&public.md5())),
            ),
            None if search.algorithms.is_empty() && search.fingerprints.is_empty() && search.bits.is_empty() => {
                Some(true)
            }
            None => None,
        };
        let of_comment = match &key.comment {
            Some(comment) => Some(search.comments.iter().all(|pattern| pattern.is_met_by(comment.as_bytes()))),
            None if search.comments.is_empty() => Some(true),
            None => None,
        };
        let hidden = match (of_public, of_comment) {
            (Some(false), _) | (_, Some(false)) => return false,
            (Some(true), Some(true)) => return true,
            (None, _) => "what key it is",
            (_, None) => "its comment",
        };
        let (path, line) = (path.display(), key.line);
        report.unseen(format_args!("read {path}: the private key at line {line} does not show {hidden}"));
        false
    }

    fn element(&self, key: &Key, metadata: &Metadata, path: &Path) -> Value {
        let (md5, sha256, algorithm, bits) = match &key.public {
            Some(public) => (public.md5(), public.sha256(), public.kind(), public.bits),
            None => (String::new(), String::new(), String::new(), 0),
        };
        let comment: String = key.comment.iter().flat_map(|comment| comment.chars()).take(COMMENT_CHARS_MAX).collect();
        let seconds = metadata.mtime();
        let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        json!({
            "fingerprint_md5": md5, "fingerprint_sha256": sha256, "path": path.to_string_lossy(),
            "encrypted": key.is_encrypted, "type": key.kind.word(), "algorithm": algorithm, "bits": bits,
            "comment": comment, "line": key.line, "options": key.options,
            "owner": self.names.name_or_digits(files::owner(metadata)), "mode": notation::mode(metadata.mode()),
            "lastmodified": notation::time(seconds, nanoseconds),
        })
    }
}

/// Reads a file that may have keys, and whether to its end; nothing of one that has none.
fn read(file: &File, path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let (mut bytes, is_whole) = files::read_open(file, BEGINNING_BYTES)?;
    let is_of_ssh = is_of_ssh(path);
    if !is_of_ssh && !keys::may_have_keys(&bytes) {
        return Ok((Vec::new(), true));
    }
    if is_whole {
        return Ok((bytes, true));
    }
    let bytes_max = if is_authorized_keys(path) { AUTHORIZED_BYTES_MAX } else { FILE_BYTES_MAX };
    if !is_of_ssh && file.metadata()?.len() > bytes_max {
        // A file that is larger has no keys, or is about them.
        return Ok((Vec::new(), true));
    }
    // One byte was read to see that there are more.
    io::Seek::seek(&mut &*file, io::SeekFrom::Start(BEGINNING_BYTES))?;
    let (rest, is_whole) = files::read_open(file, bytes_max - BEGINNING_BYTES)?;
    bytes.extend(rest);
    Ok((bytes, is_whole))
}
