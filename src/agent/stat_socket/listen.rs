//! Making the socket.

use crate::config::agent::StatSocket;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Connections that wait in the kernel.
const BACKLOG: i32 = 64;

/// The address of a socket file. A path that is too long for one is reached through its directory, which is open as long as
/// this lives.
pub(super) struct Place {
    pub(super) address: SocketAddrUnix,
    _directory: Option<OwnedFd>,
}

impl Place {
    pub(super) fn of(path: &Path) -> io::Result<Place> {
        match SocketAddrUnix::new(path) {
            Ok(address) => return Ok(Place { address, _directory: None }),
            Err(Errno::NAMETOOLONG) => {}
            Err(error) => return Err(error.into()),
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::NAMETOOLONG.into());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let mut short = OsString::from(format!("/proc/self/fd/{}/", directory.as_raw_fd()));
        short.push(name);
        Ok(Place { address: SocketAddrUnix::new(PathBuf::from(short))?, _directory: Some(directory) })
    }
}

/// The socket in this place; None for none. `AddrInUse` is that another program has it.
pub(super) fn on(socket: &StatSocket) -> io::Result<Option<OwnedFd>> {
    match socket {
        StatSocket::Off => Ok(None),
        StatSocket::Unix(path) => unix(path).map(Some),
        StatSocket::Tcp(address) => tcp(*address).map(Some),
    }
}

/// A Unix socket for its user and root. One that an agent left behind is replaced: this agent has the lock of its run
/// directory. One that answers is another program's.
pub(super) fn unix(path: &Path) -> io::Result<OwnedFd> {
    let place = Place::of(path)?;
    match rustix::fs::lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            return Err(io::Error::other("a file that is no socket has its name; move it away"));
        }
        Ok(_) if is_listened_to(&place)? => {
            let reason = "another program listens there; end it, or choose another agent.socket";
            return Err(io::Error::new(ErrorKind::AddrInUse, reason));
        }
        Ok(_) => rustix::fs::unlink(path)?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = stream(AddressFamily::UNIX)?;
    // The file gets the mode of the socket: there is no moment in which others may connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &place.address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn is_listened_to(place: &Place) -> io::Result<bool> {
    match rustix::net::connect(&stream(AddressFamily::UNIX)?, &place.address) {
        // Its queue is full.
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// A TCP socket.
fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_one_that_answers_is_not() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["short".to_owned(), "x".repeat(90)] {
            let directory = directory.path().join(&name).join(&name);
            std::fs::create_dir_all(&directory).unwrap();
            let path = directory.join("agent.sock");
            drop(unix(&path).unwrap());
            assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let listening = unix(&path).unwrap();
            assert!(unix(&path).unwrap_err().to_string().contains("another program listens there"));
            drop(listening);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "mine").unwrap();
            assert!(unix(&path).unwrap_err().to_string().contains("no socket"));
            assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        }
        assert!(unix(&directory.path().join("no/agent.sock")).is_err());
    }
}
