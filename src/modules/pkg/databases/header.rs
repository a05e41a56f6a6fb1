//! The header of a package of rpm: an index of tags, and their data.

/// Bytes of one header: that of a package with some 100,000 files.
pub(super) const HEADER_BYTES_MAX: usize = 64 << 20;
/// Bytes of one entry of the index: tag, type, offset and count.
const ENTRY_BYTES: usize = 16;

/// Types of data.
const INT32: u32 = 4;
const STRING: u32 = 6;
const I18N_STRING: u32 = 9;

/// One header.
pub(super) struct Header<'b> {
    index: &'b [u8],
    data: &'b [u8],
}

impl<'b> Header<'b> {
    /// Splits one; none if it is broken.
    pub(super) fn parse(blob: &'b [u8]) -> Option<Header<'b>> {
        let (entries, bytes) = (number(blob, 0)? as usize, number(blob, 4)? as usize);
        let index_end = entries.checked_mul(ENTRY_BYTES)?.checked_add(8)?;
        let index = blob.get(8..index_end)?;
        let data = blob.get(index_end..index_end.checked_add(bytes)?)?;
        Some(Header { index, data })
    }

    fn find(&self, tag: u32, types: &[u32]) -> Option<&'b [u8]> {
        let entry = self.index.chunks_exact(ENTRY_BYTES).find(|entry| number(entry, 0) == Some(tag))?;
        types.contains(&number(entry, 4)?).then(|| self.data.get(number(entry, 8)? as usize..))?
    }

    /// A text; none if it is missing or none.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        let data = self.find(tag, &[STRING, I18N_STRING])?;
        let text = &data[..data.iter().position(|byte| *byte == 0)?];
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// A number.
    pub(super) fn number(&self, tag: u32) -> Option<u32> {
        number(self.find(tag, &[INT32])?, 0)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
