//! `wtmp` and the files that it was before: `wtmp.1`, `wtmp-20261101`, and `.gz` of them (logrotate(8)).

use super::reach::{Event, Span};
use super::records::{RECORD_BYTES, event, parse};
use super::{Lacks, Logins};
use crate::modules::files::{self, Links, Machine};
use flate2::read::MultiGzDecoder;
use rustix::fs::CWD;
use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// The bytes of records that are read in all, the newest files first: some 170,000 logins, as a machine has in months.
const BYTES_MAX: u64 = 64 << 20;
/// Records that are read at once.
const RECORDS_PER_READ: u64 = 512;
/// The same of a file that is unpacked.
const BYTES_PER_READ: usize = RECORD_BYTES * 512;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Packed {
    No,
    Gzip,
    /// In a way that is not read.
    Otherwise,
}

/// What is read.
struct Series<'l> {
    logins: &'l mut Logins,
    span: Span,
    bytes_left: u64,
    /// A newer file was not read, or not wholly.
    has_gap: bool,
}

/// Reads them. None: there are no such files, or nothing was ever written to them.
pub(super) fn read(logins: &mut Logins, machine: &Machine, lacks: &mut Lacks) -> Option<Span> {
    const DIRECTORY: &str = "/var/log";
    let names = lacks.names(machine, DIRECTORY);
    let mut series = Series { logins, span: Span::EMPTY, bytes_left: BYTES_MAX, has_gap: false };
    for (name, packed) in in_order(names.iter().filter_map(|name| name.to_str())) {
        // Logins before those that are read: how far these go back is known.
        if series.bytes_left < RECORD_BYTES as u64 || lacks.report.is_over() {
            break;
        }
        let path = format!("{DIRECTORY}/{name}");
        match series.read_file(machine, &path, packed, lacks) {
            Ok(()) => {}
            // It was rotated away meanwhile.
            Err(error) if files::is_missing(&error) => {}
            Err(error) => {
                series.has_gap = true;
                lacks.file(&path, name != "wtmp", error);
            }
        }
    }
    series.span.filled()
}

/// The files of the series, the newest first: by number from the smallest, by date from the largest.
fn in_order<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(&'n str, Packed)> {
    let key = |name: &'n str| {
        const OTHERS: [&str; 5] = [".xz", ".bz2", ".zst", ".lz4", ".Z"];
        let (stem, packed) = match name.strip_suffix(".gz") {
            Some(stem) => (stem, Packed::Gzip),
            None => match OTHERS.iter().find_map(|end| name.strip_suffix(end)) {
                Some(stem) => (stem, Packed::Otherwise),
                None => (name, Packed::No),
            },
        };
        let rest = stem.strip_prefix("wtmp")?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let place = match (rest.strip_prefix('.'), rest.strip_prefix('-')) {
            _ if rest.is_empty() && packed == Packed::No => 0,
            (Some(number), _) if is_number(number) => number.parse::<u64>().ok()?.saturating_add(1),
            (_, Some(date)) if date.split(['-', '.', '_']).all(is_number) => u64::MAX,
            _ => return None,
        };
        Some(((place, Reverse(rest), packed), (name, packed)))
    };
    let mut found: Vec<_> = names.filter_map(key).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, file)| file).collect()
}

impl Series<'_> {
    fn read_file(&mut self, machine: &Machine, path: &str, packed: Packed, lacks: &mut Lacks) -> io::Result<()> {
        let (file, metadata) = files::open(CWD, &machine.path(path), Links::Follow)?;
        match packed {
            Packed::No => self.read_plain(&file, metadata.len(), lacks),
            Packed::Gzip => self.read_gzip(&file, lacks),
            Packed::Otherwise => Err(io::Error::other("it is packed in a way that is not read")),
        }
    }

    /// Reads from the end: what is read has no gap, wherever that ends.
    fn read_plain(&mut self, file: &File, bytes: u64, lacks: &mut Lacks) -> io::Result<()> {
        let record_bytes = RECORD_BYTES as u64;
        let mut end = bytes / record_bytes;
        let first = end.saturating_sub(self.bytes_left / record_bytes);
        while end > first && !lacks.report.is_over() {
            let begin = end.saturating_sub(RECORDS_PER_READ).max(first);
            let mut records = vec![0; usize::try_from((end - begin) * record_bytes).unwrap_or(0)];
            file.read_exact_at(&mut records, begin * record_bytes)?;
            let part = self.take(&records);
            self.span.add_older(part, self.has_gap);
            end = begin;
        }
        Ok(())
    }

    /// Reads from the beginning, as it cannot be read otherwise.
    fn read_gzip(&mut self, file: &File, lacks: &mut Lacks) -> io::Result<()> {
        let mut unpacked = MultiGzDecoder::new(file);
        let mut span = Span::EMPTY;
        let mut read = || {
            while !lacks.report.is_over() {
                let bytes_max = self.bytes_left.min(BYTES_PER_READ as u64);
                let mut records = Vec::new();
                unpacked.by_ref().take(bytes_max).read_to_end(&mut records)?;
                span.add_older(self.take(&records), false);
                if records.len() < BYTES_PER_READ {
                    let is_at_end = bytes_max == BYTES_PER_READ as u64 || unpacked.read(&mut [0])? == 0;
                    let limit = || io::Error::other(format!("only its beginning, {BYTES_MAX} bytes in all"));
                    return if is_at_end { Ok(()) } else { Err(limit()) };
                }
            }
            Err(io::Error::other("the time is over"))
        };
        let read = read();
        self.span.add_older(span, self.has_gap || read.is_err());
        read
    }

    /// Takes records, and what is behind the last whole one with them.
    fn take(&mut self, records: &[u8]) -> Span {
        self.bytes_left = self.bytes_left.saturating_sub(records.len() as u64);
        let mut span = Span::EMPTY;
        for record in records.chunks_exact(RECORD_BYTES) {
            let (_, user, login) = parse(record);
            span.add(login.seconds, event(record));
            if event(record) == Event::Login {
                self.logins.keep_last(&user, login);
            }
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_from_the_newest_to_the_oldest() {
        let names = [
            "wtmp-20261001.gz",
            "wtmp.10.gz",
            "wtmp",
            "wtmp.2.gz",
            "wtmp-20261101",
            "wtmp.1",
            "wtmp-20250101.xz",
            "wtmp.db",
            "wtmp.gz",
            "wtmp_20260101.db",
            "wtmpx",
            "wtmp-old",
            "wtmp.1.bak",
            "btmp.1",
            "wtmp-20261101-1790000000.gz",
        ];
        let names: Vec<&str> = in_order(names.into_iter()).into_iter().map(|(name, _)| name).collect();
        let expected = [
            "wtmp",
            "wtmp.1",
            "wtmp.2.gz",
            "wtmp.10.gz",
            "wtmp-20261101-1790000000.gz",
            "wtmp-20261101",
            "wtmp-20261001.gz",
            "wtmp-20250101.xz",
        ];
        assert_eq!(names, expected);
    }
}
