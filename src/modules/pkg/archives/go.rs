//! What a program of Go was built of: its linker leaves the version of Go and the modules in the program (Go 1.18 and later).

use super::broken;
use crate::modules::pkg::databases::{Kind, Package, Sink};
use std::fs::File;
use std::io::{self, Read};

/// Bytes of a program that are looked at.
const PROGRAM_BYTES_MAX: usize = 512 << 20;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of the list of modules.
const INFO_BYTES_MAX: usize = 1 << 20;
/// How the information begins, at a multiple of 16 bytes.
const MAGIC: &[u8] = b"\xff Go buildinf:";
const ALIGNMENT: usize = 16;
/// Bytes between the beginning and the texts.
const HEADER_BYTES: usize = 32;
/// Bytes of the marks before and behind the list of modules.
const MARK_BYTES: usize = 16;

/// Reads the information of a program; nothing if it is none of Go.
pub(super) fn read(mut file: &File, found: &mut dyn Sink) -> io::Result<Vec<Package>> {
    let (mut window, mut is_broken) = (Vec::new(), false);
    let mut add = |window: &mut Vec<u8>, bytes: usize| file.by_ref().take(bytes as u64).read_to_end(window);
    add(&mut window, 4)?;
    if window != b"\x7fELF" {
        return Ok(Vec::new());
    }
    // Where the window begins in the file, and from where in the window the beginning is looked for.
    let (mut begin, mut from) = (0, 0);
    loop {
        let more = add(&mut window, CHUNK_BYTES)?;
        while let Some(at) = memchr::memmem::find(&window[from..], MAGIC).map(|at| from + at) {
            from = at + 1;
            // Elsewhere it is a text of a program that looks for it.
            if (begin + at).is_multiple_of(ALIGNMENT) {
                let missing = (at + INFO_BYTES_MAX).saturating_sub(window.len());
                add(&mut window, missing)?;
                match packages(&window[at..]) {
                    Some(packages) => return Ok(packages),
                    None => is_broken = true,
                }
            }
        }
        if more == 0 && is_broken {
            return Err(broken("what it says of its build is broken, or from before Go 1.18"));
        }
        if more == 0 {
            return Ok(Vec::new());
        }
        if begin > PROGRAM_BYTES_MAX {
            return Err(broken(&format!("it has more than {PROGRAM_BYTES_MAX} bytes")));
        }
        if found.is_over() {
            return Err(broken("the time is over"));
        }
        let done = window.len().saturating_sub(MAGIC.len()).max(from);
        window.drain(..done);
        (begin, from) = (begin + done, 0);
    }
}

/// The packages of the information; none if it is broken, or of Go before 1.18, which has pointers there.
fn packages(info: &[u8]) -> Option<Vec<Package>> {
    const IS_INLINE: u8 = 2;
    if info.get(15)? & IS_INLINE == 0 {
        return None;
    }
    let (version, rest) = text(info.get(HEADER_BYTES..)?)?;
    let (modules, _) = text(rest)?;
    // The toolchain may add experiments behind a space.
    let version = String::from_utf8_lossy(version);
    let mut packages = vec![Package::new(Kind::Go, "stdlib", version.split(' ').next().unwrap_or_default())];
    let modules = modules.get(MARK_BYTES..modules.len().saturating_sub(MARK_BYTES)).unwrap_or_default();
    for line in String::from_utf8_lossy(modules).lines() {
        let mut words = line.split('\t');
        let (kind, name, version) = (words.next(), words.next(), words.next());
        let (Some(name), Some(version)) = (name, version.filter(|version| !version.is_empty())) else { continue };
        match kind {
            Some("mod" | "dep") => packages.push(Package::new(Kind::Go, name, version)),
            // It stands for the one ahead.
            Some("=>") if packages.len() > 1 => {
                packages.pop();
                packages.push(Package::new(Kind::Go, name, version));
            }
            _ => {}
        }
    }
    Some(packages)
}

/// A text with its length ahead, and what is behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0_usize, 0);
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(length);
        }
    }
    None
}
