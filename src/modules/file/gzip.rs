//! Unpacks a gzip file (RFC 1952): all its members, one after the other.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// See the module docs.
pub(super) struct Members<R> {
    member: Option<GzDecoder<R>>,
    /// There is data after the last member that is neither a member nor padding.
    pub(super) has_tail: bool,
}

impl<R: BufRead> Members<R> {
    /// Creates a reader for data that begins with a member.
    pub(super) fn new(packed: R) -> Self {
        Members { member: Some(GzDecoder::new(packed)), has_tail: false }
    }

    /// Advances to the next member, if there is one. Tapes and images are padded with zeros.
    fn next_member(&mut self) -> io::Result<()> {
        let Some(mut packed) = self.member.take().map(GzDecoder::into_inner) else { return Ok(()) };
        loop {
            let bytes = packed.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            match bytes.get(zeros) {
                None if bytes.is_empty() => return Ok(()),
                None => packed.consume(zeros),
                Some(0x1f) => {
                    packed.consume(zeros);
                    self.member = Some(GzDecoder::new(packed));
                    return Ok(());
                }
                Some(_) => {
                    self.has_tail = true;
                    return Ok(());
                }
            }
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            self.next_member()?;
        }
        Ok(0)
    }
}
