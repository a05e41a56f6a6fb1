//! What a network namespace has.

use std::net::{IpAddr, SocketAddr};

/// Something that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// An interface with a hardware address.
    Interface {
        /// `02:00:00:00:00:01`.
        mac: String,
        /// `eth0`.
        name: String,
    },
    /// An address of an interface.
    Address(IpAddr),
    /// A machine on the same network, as the kernel remembers it.
    Neighbour {
        /// Its address.
        address: IpAddr,
        /// Its hardware address; none if it did not answer.
        mac: Option<String>,
    },
    /// A socket.
    Socket(Socket),
}

/// A socket of TCP or UDP. Addresses of IPv4 are IPv4 in sockets of IPv6 too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// This end.
    pub(super) local: SocketAddr,
    /// The other end; without an address and a port if it has none.
    pub(super) remote: SocketAddr,
    /// The kernel's number for it, which is one of TCP for UDP too.
    pub(super) state: u8,
    /// By which a process refers to it; 0 if none does any more.
    pub(super) inode: u64,
}

/// The protocols whose sockets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The names of a socket's states, from 1 up (`include/net/tcp_states.h`).
const STATES: [&str; 13] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
    "BOUND_INACTIVE",
];
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;

impl Protocol {
    /// Both.
    pub(super) const ALL: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl Socket {
    /// It accepts connections, or packets of anybody.
    pub(super) fn is_listening(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.state == LISTEN,
            Protocol::Udp => self.state == CLOSE,
        }
    }

    /// It has, opens or closes a connection.
    pub(super) fn is_connected(&self) -> bool {
        !self.is_listening() && (self.remote.port() != 0 || !self.remote.ip().is_unspecified())
    }

    /// The name of its state.
    pub(super) fn state_name(&self) -> &'static str {
        STATES.get(usize::from(self.state).wrapping_sub(1)).copied().unwrap_or("UNKNOWN")
    }
}

/// Formats a hardware address. None for what is none: the address of a tunnel, as long as that of a machine, or zeros.
pub(super) fn mac(bytes: &[u8]) -> Option<String> {
    if matches!(bytes.len(), 0 | 4 | 16) || bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(digits.join(":"))
}

/// An end of a socket.
pub(super) fn end(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}
