//! A file's text as pieces of whole lines.
//!
//! A line ends in `\n` or `\r\n`, or at the end of the file, where a `\r` is dropped as well; none of them is part of it.
//! A byte order mark of UTF-8 is no part of the first line. Any other byte may be in a line, NUL included.
//!
//! A line longer than [`limits::LINE_BYTES_MAX`] comes in parts that overlap, and is marked as cut.
//!
//! A mark of UTF-16 or UTF-32 changes nothing: a file that begins with two such bytes may all the same be a script. It is
//! told ([`Mark`]), so that the text can be looked at once more, decoded ([`Decoding`]).

use super::limits;
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};
use memchr::memmem;
use std::io::{self, Read};

/// Room that a reader is given at least: a decoder writes whole characters.
const CHARACTER_BYTES_MAX: usize = 16;

/// Some whole lines, without the newline of the last.
pub(super) struct Piece<'a> {
    /// The lines.
    pub(super) bytes: &'a [u8],
    /// It holds a part of a line that is too long: where that begins or ends is not known here.
    pub(super) is_cut: bool,
    /// What NULs separate in a line may be lines of their own: not in UTF-16, which has one in each Latin letter.
    pub(super) nuls_separate: bool,
}

/// What the first bytes of a text tell.
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
    /// Where the lines not handed out yet begin.
    start: usize,
    /// Where the bytes that were read end.
    end: usize,
    /// The line at `start` began before it.
    goes_on: bool,
    mark: Mark,
}

impl Buffer {
    /// Forgets the last file, and frees the memory that a long line took.
    fn clear(&mut self) {
        if self.bytes.len() < limits::READ_BYTES || self.bytes.len() > limits::KEPT_BUFFER_BYTES_MAX {
            self.bytes = vec![0; limits::READ_BYTES];
        }
        (self.start, self.end, self.goes_on) = (0, 0, false);
    }

    /// Room for one reading, for those who don't care for lines.
    pub(super) fn as_block(&mut self) -> &mut [u8] {
        self.clear();
        &mut self.bytes[..limits::READ_BYTES]
    }

    /// Hands the lines of a text to `take`, piece by piece, until it returns false.
    pub(super) fn lines(&mut self, reader: &mut dyn Read, mut take: impl FnMut(Piece) -> bool) -> io::Result<Mark> {
        self.clear();
        // As many as the longest mark has; fewer only at the end.
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
            let message = format!("a line is longer than {limit} bytes and was looked at in parts only");
            return Err(io::Error::other(message));
        }
        Ok(mark)
    }

    fn next_piece(&mut self, reader: &mut dyn Read) -> io::Result<Option<Piece<'_>>> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // What was read with the mark, or is left of a cut line.
        let mut seen = 0;
        let goes_on = std::mem::take(&mut self.goes_on);
        loop {
            if let Some(newline) = memchr::memrchr(b'\n', &self.bytes[seen..self.end]) {
                let newline = seen + newline;
                self.start = newline + 1;
                return Ok(Some(self.piece(newline, true, goes_on)));
            }
            seen = self.end;
            if self.end + CHARACTER_BYTES_MAX > limits::LINE_BYTES_MAX {
                self.start = self.end - limits::LINE_OVERLAP_BYTES;
                self.goes_on = true;
                return Ok(Some(self.piece(seen, false, true)));
            }
            if self.fill(reader)? == 0 {
                (self.start, self.end) = (0, 0);
                return Ok((seen > 0).then(|| self.piece(seen, true, goes_on)));
            }
        }
    }

    fn piece(&mut self, end: usize, ends_line: bool, is_cut: bool) -> Piece<'_> {
        let length = drop_carriage_returns(&mut self.bytes[..end], ends_line);
        Piece { bytes: &self.bytes[..length], is_cut, nuls_separate: self.mark == Mark::None }
    }

    /// Reads once, and returns how many bytes came.
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

/// Reads once, again after a signal.
fn read(reader: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Takes out the `\r` before each `\n`, and one at the end if a line ends there. Returns the length of what is left.
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

/// A text in another encoding, as UTF-8. Its mark is dropped; what is no text becomes U+FFFD.
pub(super) struct Decoding<R> {
    reader: R,
    /// None at the end.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    /// Where the bytes in `raw` begin that are not decoded yet.
    start: usize,
    end: usize,
}

impl<R: Read> Decoding<R> {
    /// Of a text that begins with its mark.
    pub(super) fn new(encoding: &'static Encoding, reader: R) -> Self {
        let raw = vec![0; limits::READ_BYTES];
        Decoding { reader, decoder: Some(encoding.new_decoder_with_bom_removal()), raw, start: 0, end: 0 }
    }
}

impl<R: Read> Read for Decoding<R> {
    /// `into` has room for [`CHARACTER_BYTES_MAX`] at least.
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
