//! One thread for all clients. It waits for none of them: what a client has not sent is not waited for, and an answer fits into
//! the kernel's buffer. A client has a time limit; when there are too many, the oldest one is closed, so that silent ones do
//! not keep others away.

use super::{Status, answer};
use crate::limits::{RETRY_PAUSE_MIN, STAT_CLIENTS_MAX, STAT_LINE_BYTES_MAX, STAT_SOCKET_TIMEOUT};
use crate::waiting::waiting_for;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, UCred, accept_with};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// See the module docs.
pub(super) struct Clients {
    listener: Arc<OwnedFd>,
    /// Whether the kernel says who they are.
    has_peers: bool,
    status: Status,
    /// The oldest first.
    connected: VecDeque<Client>,
}

struct Client {
    stream: File,
    peer: Option<UCred>,
    since: Instant,
    line: Vec<u8>,
}

/// What was read from a client.
enum Heard {
    /// Not all of its line yet.
    Part,
    Line(String),
    /// It has gone.
    Nothing,
}

impl Client {
    fn read(&mut self) -> Heard {
        let mut buffer = [0; STAT_LINE_BYTES_MAX];
        let read = match self.stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Heard::Part,
            Err(_) => return Heard::Nothing,
        };
        self.line.extend_from_slice(&buffer[..read]);
        let is_whole = read == 0 || self.line.contains(&b'\n') || self.line.len() > STAT_LINE_BYTES_MAX;
        match is_whole {
            _ if self.line.is_empty() => Heard::Nothing,
            false => Heard::Part,
            true => {
                let line = self.line.split(|byte| *byte == b'\n').next().unwrap_or_default();
                Heard::Line(String::from_utf8_lossy(line).into_owned())
            }
        }
    }
}

/// A socket that answers, until this is dropped: then its place is free.
pub struct Listening {
    listener: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // What wakes its thread, and has the kernel refuse new connections.
        if rustix::net::shutdown(&*self.listener, Shutdown::Both).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

impl Clients {
    /// Answers in a thread of their own.
    pub(super) fn start(listener: OwnedFd, has_peers: bool, status: Status) -> Listening {
        let listener = Arc::new(listener);
        let mut clients = Clients { listener: Arc::clone(&listener), has_peers, status, connected: VecDeque::new() };
        let thread = std::thread::spawn(move || {
            loop {
                match clients.round() {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        log::debug!("stat socket: {error}");
                        std::thread::sleep(RETRY_PAUSE_MIN);
                    }
                }
            }
        });
        Listening { listener, thread: Some(thread) }
    }

    /// Waits for something to do, and does it. Returns whether there may be more.
    fn round(&mut self) -> Result<bool, Errno> {
        let Some(ready) = self.wait()? else { return Ok(false) };
        let status = &self.status;
        let mut is_ready = ready.iter().skip(1);
        // Those that have said something first: they make room.
        self.connected.retain_mut(|client| match is_ready.next().is_some_and(|ready| *ready).then(|| client.read()) {
            None | Some(Heard::Part) => client.since.elapsed() < STAT_SOCKET_TIMEOUT,
            Some(Heard::Nothing) => false,
            Some(Heard::Line(line)) => {
                let text = waiting_for("the run directory", || answer(&line, client.peer, status));
                let _ = client.stream.write_all(text.as_bytes());
                false
            }
        });
        if ready.first() == Some(&true) {
            self.accept()?;
        }
        Ok(true)
    }

    /// Waits until something happens. Returns whether somebody connects, then whether each client has sent something; None
    /// when the socket was shut down.
    fn wait(&self) -> Result<Option<Vec<bool>>, Errno> {
        let oldest = self.connected.front();
        let left = oldest.map(|client| STAT_SOCKET_TIMEOUT.saturating_sub(client.since.elapsed()));
        // A moment more, so that its time is over then.
        let timeout = left.map(|left| left + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let streams = self.connected.iter().map(|client| client.stream.as_fd());
        let all = std::iter::once(self.listener.as_fd()).chain(streams);
        let mut fds: Vec<PollFd> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) if fds.first().is_some_and(|fd| fd.revents().contains(PollFlags::HUP)) => Ok(None),
            Ok(_) | Err(Errno::INTR) => Ok(Some(fds.iter().map(|fd| !fd.revents().is_empty()).collect())),
            Err(errno) => Err(errno),
        }
    }

    fn accept(&mut self) -> Result<(), Errno> {
        let stream = match accept_with(&*self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(stream) => stream,
            // It has gone again.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let peer = self.has_peers.then(|| rustix::net::sockopt::socket_peercred(&stream)).transpose()?;
        if self.connected.len() >= STAT_CLIENTS_MAX {
            self.connected.pop_front();
        }
        let (since, line) = (Instant::now(), Vec::new());
        self.connected.push_back(Client { stream: stream.into(), peer, since, line });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::listen;
    use super::*;
    use crate::heartbeat::QueueLoc;
    use crate::spool::{Mover, stages};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_socket_that_is_dropped_makes_room_for_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        stages::make(directory.path(), &stages::AGENT).unwrap();
        let mover = Mover::open(directory.path(), &stages::AGENT, "agent").unwrap();
        let queueloc = QueueLoc::parse("linux.host.example.net.1").unwrap();
        let status = Status::new(queueloc, crate::time::now(), Arc::clone(mover.spool()));
        let path = directory.path().join("agent.sock");
        for _ in 0..3 {
            let listening = Clients::start(listen::unix(&path).unwrap(), true, status.clone());
            let silent = UnixStream::connect(&path).unwrap();
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(b"pid\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, std::process::id().to_string());
            drop(listening);
            assert!(UnixStream::connect(&path).is_err());
            drop(silent);
        }
    }
}
