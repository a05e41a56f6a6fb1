//! The connection to syslog, facility local3: UDP, TCP or the local socket, in the format of RFC 3164, times in UTC.
//!
//! Guarantees: a line takes at most one second, even if syslog is unavailable or does not read. During an outage the
//! connection is retried every few seconds; lines go to standard error in the meantime, and after the reconnect a line
//! says how many. Lines that TCP had buffered when the server ended are lost, as with every syslog over TCP.

use crate::config::SyslogServer;
use crate::limits::{SYSLOG_PAUSE, SYSLOG_TIMEOUT};
use crate::names;
use log::Level;
use std::io::{self, BufWriter, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Instant;
use syslog::{Facility, Formatter3164, LoggerBackend};

type Logger = syslog::Logger<LoggerBackend, Formatter3164>;

/// See the module docs.
pub struct Connection {
    server: SyslogServer,
    /// Addresses of the server's host; empty until resolved.
    addresses: Vec<SocketAddr>,
    formatter: Formatter3164,
    open: Option<Logger>,
    not_before: Option<Instant>,
    missed: u64,
}

impl Connection {
    /// Creates a connection that is opened with the first line.
    pub fn new(program: &str, server: SyslogServer) -> Connection {
        // The local socket's reader knows this machine's name.
        let hostname = (!matches!(server, SyslogServer::Unix(_)))
            .then(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let (facility, pid) = (Facility::LOG_LOCAL3, std::process::id());
        let formatter = Formatter3164 { facility, hostname, process: program.to_owned(), pid };
        Connection { server, addresses: Vec::new(), formatter, open: None, not_before: None, missed: 0 }
    }

    /// Sends a line; reconnects if the connection was closed.
    pub fn send(&mut self, level: Level, line: &str) -> io::Result<()> {
        let sent = self.try_send(level, line);
        if sent.is_err() {
            self.missed += 1;
        }
        sent
    }

    fn try_send(&mut self, level: Level, line: &str) -> io::Result<()> {
        if let Some(logger) = self.open.as_mut().filter(|logger| !is_closed(&logger.backend)) {
            match write(logger, level, line) {
                Ok(()) => return Ok(()),
                // After a timeout there is no immediate retry.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(self.fail(error));
                }
                Err(_) => {}
            }
        }
        self.open = None;
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Err(ErrorKind::NotConnected.into());
        }
        let backend = self.connect().map_err(|error| self.fail(error))?;
        let mut logger = Logger::new(backend, self.formatter.clone());
        if self.missed > 0 {
            let text = format!("- - - [warning] syslog was unavailable; {} lines are on standard error", self.missed);
            write(&mut logger, Level::Warn, &text).map_err(|error| self.fail(error))?;
        }
        write(&mut logger, level, line).map_err(|error| self.fail(error))?;
        (self.open, self.not_before, self.missed) = (Some(logger), None, 0);
        Ok(())
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        (self.open, self.not_before) = (None, Some(Instant::now() + SYSLOG_PAUSE));
        error
    }

    fn connect(&mut self) -> io::Result<LoggerBackend> {
        if let SyslogServer::Udp(host, port) | SyslogServer::Tcp(host, port) = &self.server
            && self.addresses.is_empty()
        {
            self.addresses = (host.as_str(), *port).to_socket_addrs()?.collect();
        }
        let first = self.addresses.first().copied();
        match &self.server {
            SyslogServer::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
                Ok(LoggerBackend::Unix(socket))
            }
            SyslogServer::Udp(..) => {
                let server = first.ok_or(ErrorKind::NotFound)?;
                Ok(LoggerBackend::Udp(UdpSocket::bind(names::unspecified(server))?, server))
            }
            SyslogServer::Tcp(..) => {
                let server = first.ok_or(ErrorKind::NotFound)?;
                let connected = TcpStream::connect_timeout(&server, SYSLOG_TIMEOUT);
                // Another of its addresses may work; one address per attempt, so that no line waits for all.
                let stream = connected.inspect_err(|_| self.addresses.rotate_left(1))?;
                stream.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
                Ok(LoggerBackend::Tcp(BufWriter::new(stream)))
            }
        }
    }
}

/// Whether the server has closed the connection: TCP would accept the next line, and lose it. Servers send nothing.
fn is_closed(backend: &LoggerBackend) -> bool {
    let LoggerBackend::Tcp(writer) = backend else { return false };
    let stream = writer.get_ref();
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let is_open = matches!(&peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
    !is_open || stream.set_nonblocking(false).is_err()
}

fn write(logger: &mut Logger, level: Level, line: &str) -> io::Result<()> {
    // Over TCP a newline ends each message (RFC 6587, 3.4.2).
    let end = if matches!(logger.backend, LoggerBackend::Tcp(_)) { "\n" } else { "" };
    let message = format!("{line}{end}");
    let sent = match level {
        Level::Error => logger.err(message),
        Level::Warn => logger.warning(message),
        Level::Info => logger.info(message),
        Level::Debug | Level::Trace => logger.debug(message),
    };
    sent.map_err(|error| match error {
        syslog::Error::Write(cause) | syslog::Error::Io(cause) => cause,
        other => io::Error::other(other.to_string()),
    })
}
