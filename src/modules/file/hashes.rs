//! Hash sums: all that are needed of a file, in one pass.

use super::lines::Buffer;
use sha2::Digest;
use std::io::{self, Read};

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Algorithm {
    /// MD5, RFC 1321.
    Md5,
    /// SHA-1, FIPS 180-4.
    Sha1,
    /// SHA-256, FIPS 180-4.
    Sha256,
    /// SHA-384, FIPS 180-4.
    Sha384,
    /// SHA-512, FIPS 180-4.
    Sha512,
    /// SHA3-224, FIPS 202.
    Sha3_224,
    /// SHA3-256, FIPS 202.
    Sha3_256,
    /// SHA3-384, FIPS 202.
    Sha3_384,
    /// SHA3-512, FIPS 202.
    Sha3_512,
}

impl Algorithm {
    /// Length of a digest.
    pub(super) fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha3_224 => 28,
            Algorithm::Sha256 | Algorithm::Sha3_256 => 32,
            Algorithm::Sha384 | Algorithm::Sha3_384 => 48,
            Algorithm::Sha512 | Algorithm::Sha3_512 => 64,
        }
    }
}

/// The known digests of one file.
#[derive(Debug, Default)]
pub(super) struct Digests(Vec<(Algorithm, Vec<u8>)>);

impl Digests {
    /// Wraps known digests.
    pub(super) fn new(known: Vec<(Algorithm, Vec<u8>)>) -> Self {
        Digests(known)
    }

    /// Returns all of them.
    pub(super) fn all(&self) -> &[(Algorithm, Vec<u8>)] {
        &self.0
    }

    /// Returns the digest of `algorithm`, if it is known.
    pub(super) fn get(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.0.iter().find(|(of, _)| *of == algorithm).map(|(_, digest)| digest.as_slice())
    }
}

/// Reads `reader` to its end and returns the digests.
pub(super) fn read(algorithms: &[Algorithm], reader: &mut dyn Read, buffer: &mut Buffer) -> io::Result<Digests> {
    let mut states: Vec<(Algorithm, State)> = algorithms.iter().map(|&of| (of, State::new(of))).collect();
    let block = buffer.as_block();
    loop {
        let count = match reader.read(block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for (_, state) in &mut states {
            state.update(&block[..count]);
        }
    }
    Ok(Digests(states.into_iter().map(|(of, state)| (of, state.finish())).collect()))
}

/// A running hash. Boxed where the state is large, so that a set of them is small.
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha384(Box<sha2::Sha384>),
    Sha512(Box<sha2::Sha512>),
    Sha3_224(Box<sha3::Sha3_224>),
    Sha3_256(Box<sha3::Sha3_256>),
    Sha3_384(Box<sha3::Sha3_384>),
    Sha3_512(Box<sha3::Sha3_512>),
}

impl State {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => State::Md5(Default::default()),
            Algorithm::Sha1 => State::Sha1(Default::default()),
            Algorithm::Sha256 => State::Sha256(Default::default()),
            Algorithm::Sha384 => State::Sha384(Default::default()),
            Algorithm::Sha512 => State::Sha512(Default::default()),
            Algorithm::Sha3_224 => State::Sha3_224(Default::default()),
            Algorithm::Sha3_256 => State::Sha3_256(Default::default()),
            Algorithm::Sha3_384 => State::Sha3_384(Default::default()),
            Algorithm::Sha3_512 => State::Sha3_512(Default::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            State::Md5(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Sha3_224(state) => state.update(bytes),
            State::Sha3_256(state) => state.update(bytes),
            State::Sha3_384(state) => state.update(bytes),
            State::Sha3_512(state) => state.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            State::Md5(state) => state.finalize().to_vec(),
            State::Sha1(state) => state.finalize().to_vec(),
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha384(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
            State::Sha3_224(state) => state.finalize().to_vec(),
            State::Sha3_256(state) => state.finalize().to_vec(),
            State::Sha3_384(state) => state.finalize().to_vec(),
            State::Sha3_512(state) => state.finalize().to_vec(),
        }
    }
}
