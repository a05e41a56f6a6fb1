//! Drops that are no plain files, or whose size or age is what matters.

use super::bench::Outcome::{Accepted, LeftAlone};
use super::bench::{Bench, Outcome, Row, in_words, made, pipe, refused, text};
use rustix::fs::{CWD, FileType, Mode};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// Bytes of an action file at most.
const LIMIT: u64 = 1 << 20;

/// A link to a path; a relative one begins where the link lies.
fn link(what: &str, target: impl Fn(&Bench) -> std::path::PathBuf + 'static) -> Row {
    let refusal = refused("is a symbolic link; drop the file itself");
    made(what, move |bench, path| in_words(symlink(target(bench), path)), refusal)
}

fn device(what: &str, kind: FileType, major: u32, minor: u32, reason: &str) -> Row {
    let make = move |_: &Bench, path: &Path| {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, number).map_err(|e| format!("mknod: {e}"))
    };
    made(what, make, refused(reason))
}

/// Half an action, last written some time ago.
fn half(what: &str, age: Duration, cut: fn(&str) -> &[u8], outcome: Outcome) -> Row {
    let make = move |bench: &Bench, path: &Path| {
        in_words(std::fs::write(path, cut(&bench.signed().to_string())))?;
        in_words(File::open(path).and_then(|file| file.set_modified(SystemTime::now() - age)))
    };
    made(what, make, outcome)
}

/// An action of exactly this size: white space fills it up.
fn sized(what: &str, size_bytes: u64, outcome: Outcome) -> Row {
    let make = move |bench: &Bench, path: &Path| {
        let mut action = bench.signed().to_string().into_bytes();
        action.resize(size_bytes as usize, b' ');
        in_words(std::fs::write(path, action))
    };
    made(what, make, outcome)
}

/// Ends a helper when the row is done.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file under a write lease: to open it takes waiting for its holder. 1024 is F_SETLEASE, 1 F_WRLCK.
fn leased(bench: &Bench, path: &Path) -> Result<Helper, String> {
    in_words(std::fs::write(path, bench.signed().to_string()))?;
    let script = "$SIG{IO} = 'IGNORE'; open(my $file, '+<', $ARGV[0]) or die; fcntl($file, 1024, 1) or die; \
        $| = 1; print qq(held\n); sleep 60";
    let mut child = in_words(Command::new("perl").args(["-e", script]).arg(path).stdout(Stdio::piped()).spawn())?;
    let mut line = String::new();
    in_words(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line))?;
    let helper = Helper(child);
    if line == "held\n" { Ok(helper) } else { Err("no lease can be had".into()) }
}

fn links() -> Vec<Row> {
    vec![
        link("link to a secret", |b| b.outside("shadow")),
        link("link to a secret, relative", |_| "../../../outside/shadow".into()),
        link("link to the system's own", |_| "/etc/shadow".into()),
        link("link to a directory", |b| b.outside("directory")),
        link("link to the stage", |_| ".".into()),
        link("link to itself", |_| "hostile.json".into()),
        link("link to nothing", |b| b.outside("missing")),
        link("link to a pipe", |b| b.outside("pipe")),
        link("link to an endless device", |_| "/dev/zero".into()),
        link("link to what a process has open", |_| "/proc/self/fd/0".into()),
        link("link to a signed action", |b| b.outside("signed.json")),
        link("link to the drop beside it", |_| "a good one.json".into()),
        made(
            "second name of a secret",
            |bench, path| in_words(std::fs::hard_link(bench.outside("shadow"), path)),
            refused("not acceptable JSON: expected value at line 1 column 1"),
        ),
        made(
            "second name of a signed action",
            |bench, path| in_words(std::fs::hard_link(bench.outside("signed.json"), path)),
            Accepted,
        ),
    ]
}

fn special_files() -> Vec<Row> {
    const PIPE: &str = "is a pipe; drop a regular file";
    const DIRECTORY: &str = "is a directory; drop a regular file";
    const DEVICE: &str = "is a device; drop a regular file";
    const NOBODY_THERE: &str = "is a socket, or a device that is missing; drop a regular file";
    // Who is not root cannot move a directory that is closed to everybody (rename(2)): its ".." would change.
    let is_root = rustix::process::geteuid().is_root();
    let closed_directory = if is_root { refused(DIRECTORY) } else { LeftAlone };
    let with_writer = |_: &Bench, path: &Path| {
        pipe(path)?;
        // Open for both, so that it does not wait for a reader.
        let mut writer = in_words(OpenOptions::new().read(true).write(true).open(path))?;
        in_words(writer.write_all(b"{\"name\": "))?;
        Ok(writer)
    };
    vec![
        made("pipe", |_, path| pipe(path), refused(PIPE)),
        made("pipe that somebody writes into", with_writer, refused(PIPE)),
        made("socket", |_, path| in_words(UnixListener::bind(path)), refused(NOBODY_THERE)),
        device("device that swallows", FileType::CharacterDevice, 1, 3, DEVICE),
        device("device without an end", FileType::CharacterDevice, 1, 5, DEVICE),
        device("the terminal", FileType::CharacterDevice, 5, 0, NOBODY_THERE),
        device("device that is not there", FileType::CharacterDevice, 239, 77, NOBODY_THERE),
        device("disk that is not there", FileType::BlockDevice, 239, 77, NOBODY_THERE),
        made("directory", |_, path| in_words(std::fs::create_dir(path)), refused(DIRECTORY)),
        made(
            "directory with something in it",
            |_, path| {
                in_words(std::fs::create_dir(path))?;
                in_words(std::fs::write(path.join("inner.json"), "{}"))
            },
            refused(DIRECTORY),
        ),
        made(
            "directory that is closed",
            |_, path| {
                in_words(std::fs::create_dir(path))?;
                in_words(std::fs::set_permissions(path, Permissions::from_mode(0o000)))
            },
            closed_directory,
        ),
        made("leased", leased, LeftAlone),
        made(
            "program that runs as its owner",
            |bench, path| {
                in_words(std::fs::write(path, bench.signed().to_string()))?;
                in_words(std::fs::set_permissions(path, Permissions::from_mode(0o6755)))
            },
            Accepted,
        ),
    ]
}

fn sizes_and_ages() -> Vec<Row> {
    const MINUTES: Duration = Duration::from_secs(180);
    const WAITED: &str = "the JSON text ends in the middle (empty or half-written) and did not grow for a minute; drop the whole file again";
    let nothing_yet: fn(&str) -> &[u8] = |action| &action.as_bytes()[..0];
    let first_part: fn(&str) -> &[u8] = |action| &action.as_bytes()[..300];
    let all_but_one: fn(&str) -> &[u8] = |action| &action.as_bytes()[..action.len() - 1];
    let sparse = |_: &Bench, path: &Path| in_words(File::create(path).and_then(|file| file.set_len(1 << 40)));
    let tomorrow = |bench: &Bench, path: &Path| {
        in_words(std::fs::write(path, &bench.signed().to_string()[..300]))?;
        let time = SystemTime::now() + Duration::from_secs(86400);
        in_words(File::open(path).and_then(|file| file.set_modified(time)))
    };
    vec![
        half("empty, just made", Duration::ZERO, nothing_yet, LeftAlone),
        half("empty for minutes", MINUTES, nothing_yet, refused(WAITED)),
        half("half-written, just now", Duration::ZERO, first_part, LeftAlone),
        half("half-written, minutes ago", MINUTES, first_part, refused(WAITED)),
        half("one byte is missing, just now", Duration::ZERO, all_but_one, LeftAlone),
        half("one byte is missing, for minutes", MINUTES, all_but_one, refused(WAITED)),
        made("half-written, by its date tomorrow", tomorrow, refused(WAITED)),
        text("cut in a character, just now", b"{\"name\": \"caf\xc3".to_vec(), LeftAlone),
        text("spaces, just now", " ".repeat(1000), LeftAlone),
        made("terabyte with nothing in it", sparse, refused("has 1099511627776 bytes, the limit is 1048576")),
        sized("as large as allowed", LIMIT, Accepted),
        sized("one byte too large", LIMIT + 1, refused("has 1048577 bytes, the limit is 1048576")),
        text("spaces, as many as allowed", " ".repeat(LIMIT as usize), LeftAlone),
    ]
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [links(), special_files(), sizes_and_ages()].into_iter().flatten().collect()
}
