//! Reads a file's text as pieces of whole lines.
//!
//! A line ends in `\n` or `\r\n`, or at the end of the file, where a `\r` is dropped as well; none of them is part of
//! it. A UTF-8 byte order mark is not part of the first line. Any other byte may be in a line, NUL included.
//!
//! A line longer than [`limits::LINE_BYTES_MAX`] is returned in overlapping parts that are marked as cut.
//!
//! A UTF-16 or UTF-32 mark changes nothing: a file that begins with these bytes may still be a script. It is returned
//! ([`Mark`]), so that the text can be searched a second time, decoded ([`Decoding`]).

use super::limits;
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};
use memchr::memmem;
use std::io::{self, Read};

/// Minimum space that a reader is passed: a decoder writes whole characters.
const CHARACTER_BYTES_MAX: usize = 16;

/// Some whole lines, without the newline of the last.
pub(super) struct Piece<'a> {
    /// The lines.
    pub(super) bytes: &'a [u8],
    /// It is a part of a line that is too long: the bounds of the line are unknown.
    pub(super) is_cut: bool,
    /// NUL-separated parts of a line are matched as lines: not in UTF-16, which has a NUL in each Latin letter.
    pub(super) nuls_separate: bool,
}

/// The byte order mark of a text.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing, or UTF-8.
    #[default]
    None,
    /// It may be in this encoding.
    Utf16(&'static Encoding),
    /// It may be UTF-32.
    Utf32,
}

impl Mark {
    fn of(bytes: &[u8]) -> Mark {
        match bytes {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Mark::Utf32,
            [0xff, 0xfe, ..] => Mark::Utf16(UTF_16LE),
            [0xfe, 0xff, ..] => Mark::Utf16(UTF_16BE),
            _ => Mark::None,
        }
    }
}

/// A thread's read buffer.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Start of the lines that are not returned yet.
    start: usize,
    /// End of the bytes that were read.
    end: usize,
    /// The line at `start` began before it.
    continues: bool,
    mark: Mark,
}

impl Buffer {
    /// Discards the last file, and frees the memory of a long line.
    fn clear(&mut self) {
        if self.bytes.len() < limits::READ_BYTES || self.bytes.len() > limits::KEPT_BUFFER_BYTES_MAX {
            self.bytes = vec![0; limits::READ_BYTES];
        }
        (self.start, self.end, self.continues) = (0, 0, false);
    }

    /// Returns the buffer for reading without regard to lines.
    pub(super) fn as_block(&mut self) -> &mut [u8] {
        self.clear();
        &mut self.bytes[..limits::READ_BYTES]
    }

    /// Passes the lines of a text to `take`, piece by piece, until it returns false.
    pub(super) fn lines(&mut self, reader: &mut dyn Read, mut take: impl FnMut(Piece) -> bool) -> io::Result<Mark> {
        self.clear();
        // The length of the longest mark; less only at the end of the file.
        while self.end < 4 && self.fill(reader)? > 0 {}
        let mark = Mark::of(&self.bytes[..self.end]);
        self.mark = mark;
        if self.bytes[..self.end].starts_with(b"\xef\xbb\xbf") {
            self.start = 3;
        }
        let mut cut = false;
        while let Some(piece) = self.next_piece(reader)? {
            cut |= piece.is_cut;
            if !take(piece) {
                return Ok(mark);
            }
        }
        if cut {
            let limit = limits::LINE_BYTES_MAX;
            let message = format!("a line is longer than {limit} bytes and was searched in parts only");
            return Err(io::Error::other(message));
        }
        Ok(mark)
    }

    fn next_piece(&mut self, reader: &mut dyn Read) -> io::Result<Option<Piece<'_>>> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // Skips nothing at first: bytes read with the mark, or left of a cut line, may contain a newline.
        let mut seen = 0;
        let continues = std::mem::take(&mut self.continues);
        loop {
            if let Some(newline) = memchr::memrchr(b'\n', &self.bytes[seen..self.end]) {
                let newline = seen + newline;
                self.start = newline + 1;
                return Ok(Some(self.piece(newline, true, continues)));
            }
            seen = self.end;
            if self.end + CHARACTER_BYTES_MAX > limits::LINE_BYTES_MAX {
                self.start = self.end - limits::LINE_OVERLAP_BYTES;
                self.continues = true;
                return Ok(Some(self.piece(seen, false, true)));
            }
            if self.fill(reader)? == 0 {
                (self.start, self.end) = (0, 0);
                return Ok((seen > 0).then(|| self.piece(seen, true, continues)));
            }
        }
    }

    fn piece(&mut self, end: usize, ends_line: bool, is_cut: bool) -> Piece<'_> {
        let length = drop_carriage_returns(&mut self.bytes[..end], ends_line);
        Piece { bytes: &self.bytes[..length], is_cut, nuls_separate: self.mark == Mark::None }
    }

    /// Reads once, and returns the number of bytes.
    fn fill(&mut self, reader: &mut dyn Read) -> io::Result<usize> {
        if self.end + CHARACTER_BYTES_MAX > self.bytes.len() {
            self.bytes.resize((self.bytes.len() * 2).min(limits::LINE_BYTES_MAX), 0);
        }
        let room = self.bytes.len().min(self.end + limits::READ_BYTES);
        let count = read(reader, &mut self.bytes[self.end..room])?;
        self.end += count;
        Ok(count)
    }
}

/// Reads once; retries after a signal.
fn read(reader: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Removes the `\r` before each `\n`, and one at the end if a line ends there. Returns the remaining length.
fn drop_carriage_returns(bytes: &mut [u8], ends_line: bool) -> usize {
    let mut length = bytes.len();
    if let Some(first) = memmem::find(bytes, b"\r\n") {
        let (mut to, mut from) = (first, first + 1);
        while let Some(kept) = memmem::find(&bytes[from..], b"\r\n") {
            bytes.copy_within(from..from + kept, to);
            to += kept;
            from += kept + 1;
        }
        bytes.copy_within(from.., to);
        length = to + bytes.len() - from;
    }
    if ends_line && bytes[..length].last() == Some(&b'\r') {
        length -= 1;
    }
    length
}

/// Converts a text in another encoding to UTF-8. Its mark is dropped; invalid sequences become U+FFFD.
pub(super) struct Decoding<R> {
    reader: R,
    /// `None` at the end.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    /// Start of the bytes in `raw` that are not decoded yet.
    start: usize,
    end: usize,
}

impl<R: Read> Decoding<R> {
    /// Creates a decoder for a text that begins with its mark.
    pub(super) fn new(encoding: &'static Encoding, reader: R) -> Self {
        let raw = vec![0; limits::READ_BYTES];
        Decoding { reader, decoder: Some(encoding.new_decoder_with_bom_removal()), raw, start: 0, end: 0 }
    }
}

impl<R: Read> Read for Decoding<R> {
    /// `into` must have space for at least [`CHARACTER_BYTES_MAX`].
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            if self.start == self.end {
                self.start = 0;
                self.end = read(&mut self.reader, &mut self.raw)?;
            }
            let is_last = self.end == 0;
            let (result, taken, written, _) = decoder.decode_to_utf8(&self.raw[self.start..self.end], into, is_last);
            self.start += taken;
            if is_last && result == CoderResult::InputEmpty {
                self.decoder = None;
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}
