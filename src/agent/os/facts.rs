//! What the machine says about its operating system.

use std::collections::BTreeMap;
use std::path::Path;

/// The word of the original, which queuelocs begin with.
pub const NAME: &str = "linux";

/// Bytes of a file that describes the system; a real one has a few hundred.
const DESCRIPTION_BYTES_MAX: u64 = 64 << 10;
/// Characters of one fact: longer ones are of a hostile or broken file, and the heartbeat has limits of its own.
const FACT_CHARACTERS_MAX: usize = 100;

/// `amd64`, `arm64`, `386`: the words of the original.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}

/// The distribution: `Debian 12 bookworm`, `Red Hat Enterprise 9.4`.
pub fn identification() -> String {
    identification_below(Path::new("/"))
}

fn identification_below(root: &Path) -> String {
    // os-release(5): the second is the distribution's own, the first may replace it.
    let texts = ["etc/os-release", "usr/lib/os-release"].map(|file| read(&root.join(file)));
    let fields = texts.into_iter().flatten().next().map(|text| fields(&text)).unwrap_or_default();
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    // `Debian GNU/Linux`, `Fedora Linux`; Linux is what a file without a name means.
    let name = Some(field("NAME").trim()).filter(|name| !name.is_empty()).unwrap_or("Linux");
    let name = [" GNU/Linux", " Linux"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let parts = [name, field("VERSION_ID"), field("VERSION_CODENAME")];
    bounded(parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" "))
}

/// The assignments of a file in the format of os-release(5): a shell's, without expansions. What is none is left out.
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), unquoted(value))).collect()
}

/// The text of a shell's word: quotes of both kinds, and backslashes outside of single quotes.
fn unquoted(word: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            // In double quotes, a backslash before another character stands for itself.
            ('\\', Some('"')) => match characters.next() {
                Some(escaped) if "$\"\\`".contains(escaped) => text.push(escaped),
                other => text.extend(['\\'].into_iter().chain(other)),
            },
            ('\\', None) => text.extend(characters.next()),
            (' ' | '\t', None) => break,
            _ => text.push(character),
        }
    }
    text
}

/// What started the machine's services: `systemd`, `upstart`, `openrc`, `sysvinit`, or the name of the first process.
pub fn init() -> String {
    init_below(Path::new("/"))
}

/// Judges by what each leaves while it runs; that it is installed says nothing.
fn init_below(root: &Path) -> String {
    let is_there = |place: &str| root.join(place).exists();
    let first = read(&root.join("proc/1/comm")).unwrap_or_default();
    let sockets = || read(&root.join("proc/net/unix")).unwrap_or_default();
    match first.trim() {
        // sd_booted(3)
        _ if is_there("run/systemd/system") => "systemd".into(),
        _ if is_there("run/openrc/softlevel") => "openrc".into(),
        _ if sockets().lines().any(|line| line.ends_with(" @/com/ubuntu/upstart")) => "upstart".into(),
        // Its control pipe, in the place of today or before.
        "init" if is_there("run/initctl") || is_there("dev/initctl") => "sysvinit".into(),
        "" => "unknown".into(),
        other => bounded(other.to_owned()),
    }
}

/// The beginning of a file. /proc/net/unix of a large machine is longer than what is read; upstart's socket is an early one.
fn read(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(DESCRIPTION_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn bounded(text: String) -> String {
    text.chars().filter(|character| !character.is_control()).take(FACT_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (place, text) in files {
            let path = root.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_distribution_is_read_with_the_quotes_and_escapes_of_its_format() {
        for (text, found) in [
            ("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n", "Debian 12 bookworm"),
            ("NAME='Alpine Linux'\nVERSION_ID=3.20.1\n", "Alpine 3.20.1"),
            ("NAME=Ubuntu\nVERSION_ID=24.04\nVERSION_CODENAME=noble\n", "Ubuntu 24.04 noble"),
            ("NAME=\"Red Hat Enterprise Linux\"\nVERSION_ID=\"9.4\"\n", "Red Hat Enterprise 9.4"),
            ("NAME=\"Linux Mint\"\nVERSION_ID=\"21.3\"\nVERSION_CODENAME=virginia\n", "Linux Mint 21.3 virginia"),
            ("NAME=\"CentOS Stream\"\nVERSION_ID=\"9\"\n", "CentOS Stream 9"),
            ("NAME=\"VMware Photon OS\"\nVERSION_ID=5.0\n", "VMware Photon OS 5.0"),
            ("NAME=\" \"\n", "Linux"),
            ("# NAME=no\n  NAME=Fedora\\ Linux\nVERSION_ID=40\nVERSION_CODENAME=\"\"\n", "Fedora 40"),
            ("NAME=\"a\\\"b\\$c\\\\d\\`e\\f\"\n", "a\"b$c\\d`e\\f"),
            ("NAME='a\\b'\"c\"d \n", "a\\bcd"),
            ("NAME=\"unclosed\nVERSION_ID=1", "unclosed 1"),
            ("NAME=x\u{1b}[1m\nnonsense\n=\n", "x[1m"),
            ("", "Linux"),
        ] {
            assert_eq!(identification_below(root(&[("etc/os-release", text)]).path()), found, "{text}");
        }
        let both = root(&[("etc/os-release", "NAME=Mine\n"), ("usr/lib/os-release", "NAME=Theirs\n")]);
        assert_eq!(identification_below(both.path()), "Mine");
        std::fs::remove_file(both.path().join("etc/os-release")).unwrap();
        assert_eq!(identification_below(both.path()), "Theirs");
        let long = format!("NAME={}\n", "x".repeat(10_000));
        assert_eq!(identification_below(root(&[("etc/os-release", &long)]).path()).len(), FACT_CHARACTERS_MAX);
    }

    #[test]
    fn the_init_system_is_the_one_that_runs() {
        let upstart = "Num RefCount Protocol Flags Type St Inode Path\nffff: 2 0 0 1 01 70 @/com/ubuntu/upstart\n";
        for (files, found) in [
            (&[("run/systemd/system/x", ""), ("run/initctl", ""), ("proc/1/comm", "systemd\n")][..], "systemd"),
            (&[("run/openrc/softlevel", "default"), ("run/initctl", ""), ("proc/1/comm", "init\n")], "openrc"),
            (&[("proc/net/unix", upstart), ("proc/1/comm", "init\n")], "upstart"),
            (&[("proc/net/unix", "x /run/upstart\n"), ("run/initctl", ""), ("proc/1/comm", "init\n")], "sysvinit"),
            (&[("dev/initctl", ""), ("proc/1/comm", "init\n")], "sysvinit"),
            (&[("sbin/upstart", ""), ("etc/inittab", ""), ("proc/1/comm", "tini\n")], "tini"),
            (&[], "unknown"),
        ] {
            assert_eq!(init_below(root(files).path()), found, "{files:?}");
        }
    }
}
