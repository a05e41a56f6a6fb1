//! Asks the kernel through netlink: sock_diag(7) for sockets, rtnetlink(7) for the rest.
//!
//! Of the answers about interfaces, addresses and neighbours only fixed fields and two or three attributes are read, whatever
//! else a newer kernel adds to them.

use super::facts::{Fact, Protocol, Socket, end, mac};
use super::files::Table;
use netlink_packet_core::{Emitable, ErrorBuffer, NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator, Parseable};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_sock_diag::SOCK_DIAG_BY_FAMILY;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use std::io;
use std::net::IpAddr;

/// What one receive takes: the kernel answers in pieces of up to 32 KiB when it is asked for as much.
const ANSWER_BYTES: usize = 64 << 10;
/// A dump during which something changed is made again so often.
const ATTEMPTS_MAX: usize = 5;

/// `NETLINK_ROUTE` is 0.
const ROUTE: Option<rustix::net::Protocol> = None;
/// Types of messages (`linux/netlink.h`, `linux/rtnetlink.h`).
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETNEIGH: u16 = 30;
/// The fixed part of an answer, behind which attributes begin: `ifinfomsg`, `ifaddrmsg`, `ndmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const NEIGHBOUR_BYTES: usize = 12;
/// Length and kind of an attribute, before its value.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Attributes (`linux/if_link.h`, `linux/if_addr.h`, `linux/neighbour.h`).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// The state of a neighbour that needs no finding: groups, the machine itself. `/proc/net/arp` leaves them out.
const NUD_NOARP: u16 = 0x40;

/// Calls `each` with every fact of one kind of this network namespace, until it returns false.
pub(super) fn read(table: Table, each: &mut dyn FnMut(Fact) -> bool) -> io::Result<()> {
    match table {
        Table::Interfaces => route(RTM_GETLINK, 0, LINK_BYTES, interface, each),
        Table::Addresses => route(RTM_GETADDR, 0, ADDRESS_BYTES, address, each),
        Table::Neighbours => {
            for family in [AF_INET, AF_INET6] {
                route(RTM_GETNEIGH, family, NEIGHBOUR_BYTES, neighbour, each)?;
            }
            Ok(())
        }
        Table::Sockets => {
            for protocol in Protocol::ALL {
                for family in [AF_INET, AF_INET6] {
                    sockets(protocol, family, each)?;
                }
            }
            Ok(())
        }
    }
}

fn sockets(protocol: Protocol, family: u8, each: &mut dyn FnMut(Fact) -> bool) -> io::Result<()> {
    let request = InetRequest {
        family,
        protocol: match protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
        },
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let mut body = vec![0; request.buffer_len()];
    request.emit(&mut body);
    let socket = |payload: &[u8]| {
        let found = InetResponseHeader::parse(payload).map_err(invalid)?;
        let id = found.socket_id;
        Ok(Some(Fact::Socket(Socket {
            protocol,
            local: end(id.source_address, id.source_port),
            remote: end(id.destination_address, id.destination_port),
            state: found.state,
            inode: found.inode.into(),
        })))
    };
    // Sockets come and go at any time: there is no consistent dump of them.
    dump(Some(netlink::SOCK_DIAG), SOCK_DIAG_BY_FAMILY, &body, &socket, each).map(drop)
}

/// A dump of rtnetlink; it is complete, or an error.
fn route(
    kind: u16,
    family: u8,
    body_bytes: usize,
    fact: fn(&[u8]) -> io::Result<Option<Fact>>,
    each: &mut dyn FnMut(Fact) -> bool,
) -> io::Result<()> {
    let mut body = vec![0; body_bytes];
    body[0] = family;
    for _ in 0..ATTEMPTS_MAX {
        let mut facts = Vec::new();
        let mut keep = |fact| {
            facts.push(fact);
            true
        };
        if dump(ROUTE, kind, &body, &fact, &mut keep)? == Dump::Whole {
            let _ = facts.into_iter().all(each);
            return Ok(());
        }
    }
    Err(io::Error::other(format!("what the kernel has changes while it is read, {ATTEMPTS_MAX} times")))
}

/// How a dump ended.
#[derive(Debug, PartialEq, Eq)]
enum Dump {
    /// With everything, or when no more was wanted.
    Whole,
    /// Something changed meanwhile.
    Interrupted,
}

/// Asks for everything of one kind.
fn dump(
    protocol: Option<rustix::net::Protocol>,
    kind: u16,
    body: &[u8],
    fact: &dyn Fn(&[u8]) -> io::Result<Option<Fact>>,
    each: &mut dyn FnMut(Fact) -> bool,
) -> io::Result<Dump> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    rustix::net::send(&socket, &request(kind, body)?, SendFlags::empty())?;
    let mut buffer = vec![0; ANSWER_BYTES];
    let mut ended = Dump::Whole;
    loop {
        // The kernel has put its next piece there before it takes the last one away: there is nothing to wait for.
        let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        let (_, length) = rustix::net::recv(&socket, &mut buffer[..], flags)?;
        let mut rest = buffer.get(..length).ok_or_else(|| {
            io::Error::other(format!("the kernel's answer has {length} bytes, more than the {ANSWER_BYTES} expected"))
        })?;
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(invalid)?;
            let payload = message.payload();
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                ended = Dump::Interrupted;
            }
            match message.message_type() {
                NLMSG_NOOP => {}
                NLMSG_DONE => return result(payload).map(|()| ended),
                NLMSG_ERROR => {
                    result(payload)?;
                    return Err(io::Error::other("the kernel ends without an answer"));
                }
                NLMSG_OVERRUN => return Err(io::Error::other("the kernel has lost a part of its answer")),
                _ => {
                    if fact(payload)?.is_some_and(|fact| !each(fact)) {
                        return Ok(ended);
                    }
                }
            }
            let next = (message.length() as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[next..];
        }
    }
}

/// A request for everything.
fn request(kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = NetlinkHeader::default();
    let length = header.buffer_len() + body.len();
    header.length = u32::try_from(length).map_err(invalid)?;
    header.message_type = kind;
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut bytes = vec![0; header.buffer_len()];
    header.emit(&mut bytes);
    bytes.extend(body);
    Ok(bytes)
}

/// What the end of a dump says: an error of the kernel, or none.
fn result(payload: &[u8]) -> io::Result<()> {
    let code = match payload {
        [] => None,
        payload => ErrorBuffer::new_checked(payload).map_err(invalid)?.code(),
    };
    code.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code.get().saturating_abs())))
}

fn interface(payload: &[u8]) -> io::Result<Option<Fact>> {
    let (mut address, mut name) = (None, String::new());
    for (kind, value) in attributes(payload, LINK_BYTES)? {
        match kind {
            IFLA_ADDRESS => address = mac(value),
            IFLA_IFNAME => {
                name = String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned();
            }
            _ => {}
        }
    }
    Ok(address.map(|mac| Fact::Interface { mac, name }))
}

fn address(payload: &[u8]) -> io::Result<Option<Fact>> {
    let mut found = None;
    for (kind, value) in attributes(payload, ADDRESS_BYTES)? {
        match kind {
            // Between two machines only, the other attribute is the other one's.
            IFA_LOCAL => {
                found = ip(value);
                break;
            }
            IFA_ADDRESS => found = ip(value),
            _ => {}
        }
    }
    Ok(found.map(Fact::Address))
}

fn neighbour(payload: &[u8]) -> io::Result<Option<Fact>> {
    let (mut found, mut hardware) = (None, None);
    let state = payload.get(8..10).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes);
    for (kind, value) in attributes(payload, NEIGHBOUR_BYTES)? {
        match kind {
            NDA_DST => found = ip(value),
            NDA_LLADDR => hardware = mac(value),
            _ => {}
        }
    }
    let is_found = state & NUD_NOARP == 0;
    Ok(found.filter(|_| is_found).map(|address| Fact::Neighbour { address, mac: hardware }))
}

/// The attributes behind the fixed part of an answer.
fn attributes(payload: &[u8], fixed_bytes: usize) -> io::Result<Vec<(u16, &[u8])>> {
    let rest = payload.get(fixed_bytes..).ok_or_else(|| invalid("the kernel's answer is too short"))?;
    NlasIterator::new(rest).map(|attribute| attribute.map(value).map_err(invalid)).collect()
}

/// The kind and the value of an attribute.
fn value(attribute: NlaBuffer<&[u8]>) -> (u16, &[u8]) {
    let value = ATTRIBUTE_HEADER_BYTES..usize::from(attribute.length());
    (attribute.kind(), attribute.into_inner().get(value).unwrap_or_default())
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok()
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
