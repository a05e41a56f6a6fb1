//! Reads the kernel's texts below `/proc/PID/net`: those of the network namespace that the process is in.
//!
//! They are all opened before one is read: what is open belongs to the namespace, whatever becomes of the process.

use super::facts::{Fact, Protocol, Socket, end};
use crate::modules::processes::{Process, has_ended};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of one line; the kernel's have 200 at most.
const LINE_BYTES_MAX: u64 = 4 << 10;

/// A kind of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Interfaces: they have no file.
    Interfaces,
    /// Addresses of interfaces.
    Addresses,
    /// Machines on the same network: those of IPv6 have no file.
    Neighbours,
    /// Sockets.
    Sockets,
}

/// The files of one namespace that are read.
pub(super) struct NetFiles {
    files: Vec<(Text, File)>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Arp,
    Ipv6Addresses,
    Ipv4Routes,
    Sockets(Protocol),
}

impl Table {
    /// Its files, and whether a kernel without IPv6 lacks them.
    fn files(self) -> &'static [(&'static str, Text, bool)] {
        match self {
            Table::Interfaces => &[],
            Table::Addresses => {
                &[("net/fib_trie", Text::Ipv4Routes, false), ("net/if_inet6", Text::Ipv6Addresses, true)]
            }
            Table::Neighbours => &[("net/arp", Text::Arp, false)],
            Table::Sockets => &[
                ("net/tcp", Text::Sockets(Protocol::Tcp), false),
                ("net/tcp6", Text::Sockets(Protocol::Tcp), true),
                ("net/udp", Text::Sockets(Protocol::Udp), false),
                ("net/udp6", Text::Sockets(Protocol::Udp), true),
            ],
        }
    }
}

impl NetFiles {
    /// Opens those of a table, of the namespace that a process is in. `check` is asked after each.
    pub(super) fn open(process: &Process, table: Table, check: impl Fn() -> io::Result<()>) -> io::Result<NetFiles> {
        let mut files = Vec::new();
        for (name, text, is_of_ipv6) in table.files() {
            match process.open(name) {
                Ok(file) => files.push((*text, file)),
                Err(error) if *is_of_ipv6 && has_ended(&error) => {}
                Err(error) => return Err(error),
            }
            check()?;
        }
        // What was not there was missing, and did not end with the process.
        process.stat().map(|_| NetFiles { files })
    }

    /// Calls `each` with every fact, until it returns false.
    pub(super) fn read(self, each: &mut dyn FnMut(Fact) -> bool) -> io::Result<()> {
        // An address is in several tables of routes.
        let mut addresses = BTreeSet::new();
        for (text, file) in self.files {
            let mut previous = String::new();
            for line in Lines::of(file) {
                let line = line?;
                let fact = match text {
                    Text::Arp => arp(&line),
                    Text::Ipv6Addresses => ipv6_address(&line),
                    Text::Ipv4Routes => ipv4_address(&previous, &line),
                    Text::Sockets(protocol) => socket(protocol, &line),
                };
                match fact {
                    Line::Fact(Fact::Address(address)) if text == Text::Ipv4Routes && !addresses.insert(address) => {}
                    Line::Fact(fact) => {
                        if !each(fact) {
                            return Ok(());
                        }
                    }
                    Line::Other => {}
                    Line::Broken => {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the line {line:?}")));
                    }
                }
                previous = line;
            }
        }
        Ok(())
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Fact(Fact),
    /// A heading, or another thing.
    Other,
    /// It cannot be read.
    Broken,
}

impl From<Option<Fact>> for Line {
    fn from(fact: Option<Fact>) -> Line {
        fact.map_or(Line::Broken, Line::Fact)
    }
}

/// Lines of a text, each bounded.
struct Lines(BufReader<File>);

impl Lines {
    fn of(file: File) -> Lines {
        Lines(BufReader::with_capacity(BUFFER_BYTES, file))
    }
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        let mut bytes = Vec::new();
        match (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => Some(Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Reads `10.0.0.1  0x1  0x2  02:fc:00:00:00:05  *  eth0`.
fn arp(line: &str) -> Line {
    if line.starts_with("IP address") {
        return Line::Other;
    }
    let neighbour = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next()?.parse().ok()?;
        let mac = fields.nth(2)?;
        let is_known = mac.chars().any(|digit| !matches!(digit, '0' | ':'));
        Some(Fact::Neighbour { address, mac: is_known.then(|| mac.to_owned()) })
    };
    neighbour(line).into()
}

/// Reads `fe80000000000000020000fffe000001 02 40 20 80 eth0`.
fn ipv6_address(line: &str) -> Line {
    let address = || {
        let digits = line.split_ascii_whitespace().next().filter(|digits| digits.len() == 32)?;
        Some(Fact::Address(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?).into()))
    };
    address().into()
}

/// Reads two lines of the routes: `|-- 127.0.0.1` and `/32 host LOCAL` are an address of the machine.
fn ipv4_address(previous: &str, line: &str) -> Line {
    if line.trim_start() != "/32 host LOCAL" {
        return Line::Other;
    }
    // Further lines on the same address are on other tables.
    let Some(address) = previous.trim_start().strip_prefix("|-- ") else { return Line::Other };
    address.parse::<Ipv4Addr>().ok().map(|address| Fact::Address(address.into())).into()
}

/// Reads `0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 …`.
fn socket(protocol: Protocol, line: &str) -> Line {
    if line.trim_start().starts_with("sl ") {
        return Line::Other;
    }
    let socket = || {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        let [_, local, remote, state, _, _, _, _, _, inode] = fields[..] else { return None };
        let at = |text: &str| {
            let (address, port) = text.split_once(':')?;
            Some(end(words(address)?, u16::from_str_radix(port, 16).ok()?))
        };
        Some(Fact::Socket(Socket {
            protocol,
            local: at(local)?,
            remote: at(remote)?,
            state: u8::from_str_radix(state, 16).ok()?,
            inode: inode.parse().ok()?,
        }))
    };
    socket().into()
}

/// Reads an address of one word or four, each written as this machine's number.
fn words(digits: &str) -> Option<IpAddr> {
    if !digits.is_ascii() {
        return None;
    }
    let word = |start: usize| Some(u32::from_str_radix(digits.get(start..start + 8)?, 16).ok()?.to_ne_bytes());
    match digits.len() {
        8 => Some(word(0)?.into()),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(<[u8; 16]>::try_from(bytes).ok()?.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel_are_read_and_others_are_an_error() {
        let line =
            "   1: 0100007F:0016 0200000A:C001 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 x";
        let found = Socket {
            protocol: Protocol::Tcp,
            local: "127.0.0.1:22".parse().unwrap(),
            remote: "10.0.0.2:49153".parse().unwrap(),
            state: 1,
            inode: 12345,
        };
        assert_eq!(socket(Protocol::Tcp, line), Line::Fact(Fact::Socket(found.clone())));
        let mapped = line.replace("0100007F", "0000000000000000FFFF00000100007F").replace("0200000A", &"0".repeat(32));
        let remote = "[::]:49153".parse().unwrap();
        assert_eq!(socket(Protocol::Tcp, &mapped), Line::Fact(Fact::Socket(Socket { remote, ..found })));
        assert_eq!(socket(Protocol::Udp, "  sl  local_address rem_address   st"), Line::Other);
        for broken in ["", "1: 2", &line.replace("0016", "10016"), &line.replace("0100007F", "010000é"), &line[..60]] {
            assert_eq!(socket(Protocol::Tcp, broken), Line::Broken, "{broken}");
        }
        let neighbour = |address: &str, mac: Option<&str>| {
            Line::Fact(Fact::Neighbour { address: address.parse().unwrap(), mac: mac.map(str::to_owned) })
        };
        assert_eq!(arp("10.0.0.1 0x1 0x2 02:fc:00:00:00:05 * eth0"), neighbour("10.0.0.1", Some("02:fc:00:00:00:05")));
        assert_eq!(arp("10.0.0.9 0x1 0x0 00:00:00:00:00:00 * eth0"), neighbour("10.0.0.9", None));
        assert_eq!((arp("IP address  HW type"), arp("x")), (Line::Other, Line::Broken));
        let local = |address: &str| Line::Fact(Fact::Address(address.parse().unwrap()));
        assert_eq!(ipv6_address("00000000000000000000000000000001 01 80 10 80       lo"), local("::1"));
        assert_eq!(ipv6_address("0001 01"), Line::Broken);
        assert_eq!(ipv4_address("           |-- 127.0.0.1", "              /32 host LOCAL"), local("127.0.0.1"));
        assert_eq!(ipv4_address("           |-- 127.0.0.0", "              /8 host LOCAL"), Line::Other);
        assert_eq!(ipv4_address("              /32 host LOCAL", "              /32 host LOCAL"), Line::Other);
    }
}
