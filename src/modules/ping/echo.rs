//! Echo requests of ICMP.

use super::run::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Bytes behind the header, by which an answer is known to be ours.
const TOKEN_BYTES: usize = 32;
const HEADER_BYTES: usize = 8;
/// Bytes of an answer that are looked at: its own, behind a header of IPv4 of any length.
const ANSWER_BYTES: usize = 60 + HEADER_BYTES + TOKEN_BYTES;

/// Words of four bytes of a header of IPv4, without options.
const IPV4_WORDS_MIN: usize = 5;

/// Types of messages: a request, and its answer.
const TYPES_V4: (u8, u8) = (8, 0);
const TYPES_V6: (u8, u8) = (128, 129);

/// A socket for echo requests to one address.
pub(super) struct Echo {
    socket: OwnedFd,
    address: IpAddr,
    /// Answers stand behind a header of IPv4, and those to others are received too.
    is_raw: bool,
    identifier: u16,
    token: [u8; TOKEN_BYTES],
}

impl Echo {
    /// The kernel's own for them, or a raw one.
    pub(super) fn open(address: IpAddr) -> io::Result<Echo> {
        let (family, protocol) = match address {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let open = |kind| rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol));
        let (socket, is_raw) = match open(SocketType::DGRAM) {
            Ok(socket) => (socket, false),
            Err(_) => match open(SocketType::RAW) {
                Ok(socket) => (socket, true),
                Err(Errno::PERM | Errno::ACCESS) => {
                    return Err(io::Error::other(
                        "no permission for echo requests: neither root nor in a group of net.ipv4.ping_group_range",
                    ));
                }
                Err(errno) => return Err(errno.into()),
            },
        };
        rustix::net::connect(&socket, &SocketAddr::new(address, 0))?;
        // Of the standard library: a confined process has no device of random numbers.
        let random = RandomState::new();
        let mut token = [0; TOKEN_BYTES];
        for (number, part) in token.chunks_mut(8).enumerate() {
            part.copy_from_slice(&random.hash_one(number).to_ne_bytes()[..part.len()]);
        }
        Ok(Echo { socket, address, is_raw, identifier: random.hash_one(TOKEN_BYTES) as u16, token })
    }

    /// Sends a request, and waits for its answer.
    pub(super) fn ping(&self, sequence: u16, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let asked = rustix::net::send(&self.socket, &self.request(sequence), SendFlags::empty());
        if let Err(errno) = asked {
            return Outcome::of(&errno.into());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Outcome::TimedOut;
            }
            let wait = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], wait.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Outcome::of(&errno.into()),
            }
            let mut answer = [0; ANSWER_BYTES];
            match rustix::net::recv(&self.socket, &mut answer[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) if self.is_answer(&answer[..length.min(ANSWER_BYTES)], sequence) => {
                    return Outcome::Answered;
                }
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Outcome::of(&errno.into()),
            }
        }
    }

    fn types(&self) -> (u8, u8) {
        if self.address.is_ipv4() { TYPES_V4 } else { TYPES_V6 }
    }

    fn request(&self, sequence: u16) -> Vec<u8> {
        let mut packet = vec![self.types().0, 0, 0, 0];
        packet.extend(self.identifier.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend(self.token);
        // Of IPv6, it covers addresses too: the kernel computes it.
        if self.address.is_ipv4() {
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
        }
        packet
    }

    /// Whether a packet is the answer to this request. The kernel's own sockets have an identifier of their own.
    fn is_answer(&self, packet: &[u8], sequence: u16) -> bool {
        let header = match packet.first() {
            Some(first) if self.is_raw && self.address.is_ipv4() => usize::from(first & 0xf).max(IPV4_WORDS_MIN) * 4,
            _ => 0,
        };
        let Some(message) = packet.get(header..) else { return false };
        let expected = [&sequence.to_be_bytes()[..], &self.token[..]].concat();
        let is_ours = !self.is_raw || message.get(4..6) == Some(&self.identifier.to_be_bytes()[..]);
        message.starts_with(&[self.types().1, 0]) && is_ours && message.get(6..) == Some(&expected[..])
    }
}

/// The checksum of the internet protocols (RFC 1071), of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_the_rfc() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff; 4]), 0);
    }

    #[test]
    fn only_the_answer_to_a_request_is_one() {
        let (socket, _other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
        let address = "127.0.0.1".parse().unwrap();
        let mut echo = Echo { socket, address, is_raw: false, identifier: 7, token: [3; TOKEN_BYTES] };
        let request = echo.request(1);
        assert_eq!(checksum(&request), 0);
        assert!(!echo.is_answer(&request, 1), "a request");
        let mut answer = request;
        answer[0] = 0;
        assert!(echo.is_answer(&answer, 1) && !echo.is_answer(&answer, 2));
        for (position, value) in [(0, 3), (1, 1), (8, 4)] {
            let mut other = answer.clone();
            other[position] = value;
            assert!(!echo.is_answer(&other, 1), "{position}");
        }
        assert!(!echo.is_answer(&answer[..20], 1) && !echo.is_answer(&[], 1));
        echo.is_raw = true;
        assert!(!echo.is_answer(&answer, 1), "without a header");
        let behind_header = [&[0x45][..], &[0; 19], &answer].concat();
        assert!(echo.is_answer(&behind_header, 1));
        echo.identifier = 8;
        assert!(!echo.is_answer(&behind_header, 1), "another program's");
        assert!(!echo.is_answer(&[0x4f], 1));
    }
}
