//! Looking into a file line by line: all patterns in one reading.
//!
//! The file goes through one buffer in pieces that end at a line's end, and every pattern that is not decided yet looks
//! at the whole piece at once. A line is what ends in `\n` (not part of it; a `\r` before it is) or at the end of the
//! file; any byte may be in it, NUL included, and its length is limited only by [`limits::LINE_BYTES_MAX`]. A pattern
//! never matches across lines. Reading stops as soon as everything is decided.

use super::limits;
use super::patterns::{self, Alphabet};
use grep_matcher::{LineMatchKind, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use std::io::{self, Read};

/// Which lines a pattern must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// At least one.
    Some,
    /// Every one (the option `macroal`); a file without lines passes.
    Every,
}

/// What is known of one pattern and one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not looked for, or the file could not be read to its end.
    Unknown,
    /// It matches.
    Yes,
    /// It doesn't.
    No,
}

#[derive(Debug, Clone)]
struct Pattern {
    matcher: RegexMatcher,
    lines: Lines,
    /// The pattern asks for the beginning or end of the text, so it must be given one line at a time.
    one_line: bool,
}

/// All content patterns of all searches.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    patterns: Vec<Pattern>,
    /// All `Lines::Some` patterns as alternatives of one: when it finds nothing in a piece, none of them would. Absent
    /// when there are too few to gain by it, or when they can't be put together.
    any: Option<RegexMatcher>,
}

impl Contents {
    /// How many patterns there are.
    pub(super) fn count(&self) -> usize {
        self.patterns.len()
    }

    /// Reads `reader` and sets the verdicts of the patterns `wanted`, numbered as [`ContentsBuilder::add`] did.
    ///
    /// After an error, what was decided before it stands and the rest is [`Verdict::Unknown`].
    pub(super) fn scan(
        &self,
        reader: &mut dyn Read,
        wanted: &[usize],
        buffer: &mut Buffer,
        verdicts: &mut [Verdict],
    ) -> io::Result<()> {
        let mut pending = wanted.to_vec();
        for &number in wanted {
            verdicts[number] = Verdict::Unknown;
        }
        let use_any = wanted.len() > 1 && wanted.iter().all(|&number| self.patterns[number].lines == Lines::Some);
        let mut any = self.any.as_ref().filter(|_| use_any);
        buffer.clear();
        while let Some(piece) = buffer.next_lines(reader)? {
            if any.is_some_and(|any| !has_match(any, false, piece)) {
                continue;
            }
            pending.retain(|&number| {
                let verdict = self.patterns[number].decide(piece);
                verdicts[number] = verdict;
                verdict == Verdict::Unknown
            });
            if pending.is_empty() {
                return Ok(());
            }
            if pending.len() < wanted.len() {
                // What was found would be found again and again, and `any` save nothing.
                any = None;
            }
        }
        for number in pending {
            verdicts[number] = match self.patterns[number].lines {
                Lines::Some => Verdict::No,
                Lines::Every => Verdict::Yes,
            };
        }
        Ok(())
    }
}

impl Pattern {
    /// The verdict after whole lines `piece`; unknown while later lines can change it.
    fn decide(&self, piece: &[u8]) -> Verdict {
        match self.lines {
            Lines::Some if has_match(&self.matcher, self.one_line, piece) => Verdict::Yes,
            Lines::Every if !piece.split(|&byte| byte == b'\n').all(|line| is_match(&self.matcher, line)) => {
                Verdict::No
            }
            _ => Verdict::Unknown,
        }
    }
}

fn is_match(matcher: &RegexMatcher, line: &[u8]) -> bool {
    matches!(matcher.is_match(line), Ok(true))
}

/// Whether a line of `piece` matches.
fn has_match(matcher: &RegexMatcher, one_line: bool, piece: &[u8]) -> bool {
    if one_line {
        return piece.split(|&byte| byte == b'\n').any(|line| is_match(matcher, line));
    }
    let mut start = 0;
    // `start == len` is the empty line after the last newline of the piece, which has lost its own.
    while start <= piece.len() {
        match matcher.find_candidate_line(&piece[start..]) {
            Ok(Some(LineMatchKind::Confirmed(_))) => return true,
            Ok(Some(LineMatchKind::Candidate(offset))) => {
                let (from, to) = line_around(piece, start + offset);
                if is_match(matcher, &piece[from..to]) {
                    return true;
                }
                start = to + 1;
            }
            Ok(None) | Err(_) => return false,
        }
    }
    false
}

/// Where the last newline is. In blocks, whose test for "any" the compiler makes from vector instructions: binary files
/// have long stretches without.
fn last_newline(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    for block in bytes.rchunks(64) {
        let start = end - block.len();
        if block.iter().fold(false, |any, &byte| any | (byte == b'\n')) {
            return block.iter().rposition(|&byte| byte == b'\n').map(|newline| start + newline);
        }
        end = start;
    }
    None
}

/// The bounds of the line that holds the byte at `position`.
fn line_around(piece: &[u8], position: usize) -> (usize, usize) {
    let from = last_newline(&piece[..position]).map_or(0, |newline| newline + 1);
    let to = piece[position..].iter().position(|&byte| byte == b'\n').map_or(piece.len(), |length| position + length);
    (from, to)
}

/// Collects content patterns into [`Contents`].
#[derive(Debug, Default)]
pub(super) struct ContentsBuilder {
    patterns: Vec<(Pattern, String, Alphabet)>,
}

impl ContentsBuilder {
    /// Adds a pattern and gives its number; the same pattern has the same number.
    pub(super) fn add(&mut self, text: &str, lines: Lines) -> Result<usize, String> {
        let known = self.patterns.iter().position(|(pattern, of, _)| pattern.lines == lines && of == text);
        if let Some(number) = known {
            return Ok(number);
        }
        let (matcher, alphabet) = patterns::first_alphabet(|alphabet| {
            builder(alphabet).size_limit(limits::PATTERN_COMPILED_BYTES_MAX).build(text)
        })?;
        let one_line = matcher.line_terminator().is_none();
        self.patterns.push((Pattern { matcher, lines, one_line }, text.to_owned(), alphabet));
        Ok(self.patterns.len() - 1)
    }

    /// Puts the patterns together.
    pub(super) fn build(self) -> Contents {
        let any = self.build_any();
        Contents { patterns: self.patterns.into_iter().map(|(pattern, _, _)| pattern).collect(), any }
    }

    fn build_any(&self) -> Option<RegexMatcher> {
        let mut texts = Vec::new();
        let mut alphabets = Vec::new();
        for (pattern, text, alphabet) in self.patterns.iter().filter(|(pattern, _, _)| pattern.lines == Lines::Some) {
            if pattern.one_line {
                return None;
            }
            texts.push(text);
            alphabets.push(*alphabet);
        }
        let first = *alphabets.first()?;
        if alphabets.len() < 2 || alphabets.iter().any(|alphabet| *alphabet != first) {
            return None;
        }
        builder(first).size_limit(limits::PATTERNS_COMPILED_BYTES_MAX).build_many(&texts).ok()
    }
}

fn builder(alphabet: Alphabet) -> RegexMatcherBuilder {
    let mut builder = RegexMatcherBuilder::new();
    builder
        .multi_line(true)
        .line_terminator(Some(b'\n'))
        .unicode(alphabet.is_unicode())
        .dfa_size_limit(limits::PATTERN_CACHE_BYTES_MAX);
    builder
}

/// A thread's read buffer, which gives a file in pieces of whole lines.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the lines not given out yet begin.
    start: usize,
    /// Where the bytes that were read end.
    end: usize,
}

impl Buffer {
    /// Forgets the last file, and gives back the memory that a long line took.
    fn clear(&mut self) {
        if self.bytes.len() < limits::READ_BYTES || self.bytes.len() > limits::KEPT_BUFFER_BYTES_MAX {
            self.bytes = vec![0; limits::READ_BYTES];
        }
        (self.start, self.end) = (0, 0);
    }

    /// Room for one reading, for those who don't care for lines.
    pub(super) fn as_block(&mut self) -> &mut [u8] {
        self.clear();
        &mut self.bytes[..limits::READ_BYTES]
    }

    /// The next lines, without the newline of the last. At the end of the file the last line may lack it.
    fn next_lines(&mut self, reader: &mut dyn Read) -> io::Result<Option<&[u8]>> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            if self.end == self.bytes.len() {
                self.grow()?;
            }
            let room = self.bytes.len().min(self.end + limits::READ_BYTES);
            let count = match reader.read(&mut self.bytes[self.end..room]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 {
                let last = 0..self.end;
                (self.start, self.end) = (0, 0);
                return Ok(if last.is_empty() { None } else { Some(&self.bytes[last]) });
            }
            let fresh = self.end..self.end + count;
            self.end = fresh.end;
            if let Some(newline) = last_newline(&self.bytes[fresh.clone()]) {
                let newline = fresh.start + newline;
                self.start = newline + 1;
                return Ok(Some(&self.bytes[..newline]));
            }
        }
    }

    fn grow(&mut self) -> io::Result<()> {
        if self.bytes.len() >= limits::LINE_BYTES_MAX {
            let message = format!("a line is longer than {} bytes", limits::LINE_BYTES_MAX);
            return Err(io::Error::other(message));
        }
        self.bytes.resize((self.bytes.len() * 2).min(limits::LINE_BYTES_MAX), 0);
        Ok(())
    }
}
