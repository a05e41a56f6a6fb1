//! Which pages of a process there are: what `/proc/PID/pagemap` says, and for shared memory the file that it is.

use crate::modules::processes::Process;
use crate::modules::processes::regions::Region;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Pages that are asked for at once: half a MiB of `pagemap`.
const PAGES: usize = 1 << 16;
/// Bytes of `pagemap` for each page.
const ENTRY_BYTES: u64 = 8;
/// Bits of an entry: the page is in memory, or in swap.
const HELD: u64 = 3 << 62;
/// Bytes of a region that is read where the kernel does not say which pages there are.
const UNKNOWN_REGION_BYTES_MAX: u64 = 256 << 20;
/// Pages are this large, if the kernel does not say how large.
const PAGE_BYTES_DEFAULT: u64 = 4 << 10;

/// Which pages of a process there are, and what is in them.
#[derive(Debug)]
pub(super) struct Pages<'p> {
    process: &'p Process,
    /// How large each is.
    pub(super) page_bytes: u64,
    memory: File,
    pagemap: io::Result<File>,
    /// Entries of `pagemap`, how many, and of which page the first one is.
    entries: Vec<u8>,
    count: u64,
    first: u64,
    /// The file of a region, if it is shared memory, by the start of the region.
    shared: Option<(u64, Option<io::Result<File>>)>,
}

/// What is at an address and behind it.
pub(super) enum Next {
    /// Memory, up to there.
    Held { end: u64, is_shared: bool },
    /// Nothing, up to there.
    Nothing(u64),
    /// It is not known, up to there.
    Unknown(u64, io::Error),
    /// Nothing any more: the process has ended, or replaced its program.
    Gone,
}

impl<'p> Pages<'p> {
    /// Those of a process.
    pub(super) fn of(process: &'p Process) -> io::Result<Pages<'p>> {
        Ok(Pages {
            process,
            page_bytes: page_bytes().unwrap_or(PAGE_BYTES_DEFAULT),
            memory: process.open("mem")?,
            pagemap: process.open("pagemap"),
            entries: vec![0; PAGES * ENTRY_BYTES as usize],
            count: 0,
            first: 0,
            shared: None,
        })
    }

    /// What is at an address of a region, as far as one look says.
    pub(super) fn next(&mut self, region: &Region, at: u64) -> io::Result<Next> {
        let end = region.end;
        let pagemap = match &self.pagemap {
            Ok(pagemap) => pagemap,
            Err(_) if end - at <= UNKNOWN_REGION_BYTES_MAX => return Ok(Next::Held { end, is_shared: false }),
            Err(error) => return Ok(Next::Unknown(end, io::Error::new(error.kind(), format!("pagemap: {error}")))),
        };
        let page = at / self.page_bytes;
        if page < self.first || page >= self.first + self.count {
            let count = usize::try_from(end.div_ceil(self.page_bytes) - page).unwrap_or(PAGES).min(PAGES);
            let read = pagemap.read_at(&mut self.entries[..count * ENTRY_BYTES as usize], page * ENTRY_BYTES)?;
            (self.first, self.count) = (page, read as u64 / ENTRY_BYTES);
            if self.count == 0 {
                return Ok(Next::Gone);
            }
        }
        let known = &self.entries[((page - self.first) * ENTRY_BYTES) as usize..(self.count * ENTRY_BYTES) as usize];
        let (known, _) = known.as_chunks::<{ ENTRY_BYTES as usize }>();
        let is_held = |entry: &[u8; ENTRY_BYTES as usize]| u64::from_ne_bytes(*entry) & HELD != 0;
        let is_first_held = known.first().is_some_and(is_held);
        let alike = known.iter().take_while(|entry| is_held(entry) == is_first_held).count() as u64;
        let stop = ((page + alike) * self.page_bytes).min(end);
        if is_first_held {
            return Ok(Next::Held { end: stop, is_shared: false });
        }
        let page_bytes = self.page_bytes;
        let file = match self.shared(region) {
            None => return Ok(Next::Nothing(stop)),
            Some(Err(error)) => {
                let reason = format!("shared memory that it does not have at the moment: {error}");
                return Ok(Next::Unknown(stop, io::Error::new(error.kind(), reason)));
            }
            Some(Ok(file)) => file,
        };
        let offset = region.file_offset(at);
        let address = |place: u64| at.saturating_add(place.saturating_sub(offset)).min(stop);
        let data = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) => address(data) / page_bytes * page_bytes,
            Err(Errno::NXIO) => stop,
            Err(error) => return Ok(Next::Unknown(stop, error.into())),
        };
        if data > at {
            return Ok(Next::Nothing(data));
        }
        let hole = rustix::fs::seek(file, SeekFrom::Hole(offset)).map_or(stop, address);
        Ok(Next::Held { end: hole.next_multiple_of(page_bytes).clamp(at + 1, stop), is_shared: true })
    }

    /// The file of a region, if it is shared memory.
    fn shared(&mut self, region: &Region) -> Option<&io::Result<File>> {
        if self.shared.as_ref().is_none_or(|(start, _)| *start != region.start) {
            self.shared = Some((region.start, region.shared_memory(self.process)));
        }
        self.shared.as_ref()?.1.as_ref()
    }

    /// Reads memory of a region.
    pub(super) fn read(&mut self, region: &Region, is_shared: bool, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if !is_shared {
            return self.memory.read_at(buffer, at);
        }
        match self.shared(region) {
            Some(Ok(file)) => match file.read_at(buffer, region.file_offset(at)) {
                Ok(0) => Err(io::Error::other("the shared memory is shorter now")),
                read => read,
            },
            _ => Err(io::Error::other("the shared memory is not there any more")),
        }
    }

    /// Behind the page of an address.
    pub(super) fn behind(&self, at: u64) -> u64 {
        (at / self.page_bytes + 1) * self.page_bytes
    }
}

/// How large this machine's pages are: the kernel says that to each process when it starts.
fn page_bytes() -> Option<u64> {
    const PAGE_SIZE: usize = 6;
    let text = std::fs::read("/proc/self/auxv").ok()?;
    let (words, _) = text.as_chunks::<{ size_of::<usize>() }>();
    let words: Vec<usize> = words.iter().map(|word| usize::from_ne_bytes(*word)).collect();
    let (pairs, _) = words.as_chunks::<2>();
    pairs
        .iter()
        .find(|[kind, _]| *kind == PAGE_SIZE)
        .and_then(|[_, bytes]| u64::try_from(*bytes).ok())
        .filter(|bytes| *bytes > 0)
}
