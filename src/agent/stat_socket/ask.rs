//! `mig-agent -q QUESTION`: asks the running agent.

use super::Question;
use super::listen::Place;
use crate::config::agent::StatSocket;
use crate::error::{ExitClass, ProgramError};
use crate::limits::{STAT_ANSWER_BYTES_MAX, STAT_SOCKET_TIMEOUT};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// Reads the question of a command line; `json`: the status as JSON.
pub fn question(words: &str, json: bool) -> Result<Question, ProgramError> {
    let usage = |text: String| ProgramError::new(ExitClass::Usage, text);
    match (Question::parse(words), json) {
        (Some(Question::Status), true) => Ok(Question::StatusJson),
        (Some(question), false) => Ok(question),
        (Some(_), true) => Err(usage("--json is for -q status".into())),
        (None, _) => Err(usage(format!("-q: no question '{words}'; there are help, pid, status and shutdown"))),
    }
}

/// Asks, and prints the answer.
pub fn ask(socket: &StatSocket, question: Question) -> Result<(), ProgramError> {
    let connected = match socket {
        StatSocket::Off => {
            let text = "agent.socket is empty: the agent has no stat socket";
            return Err(ProgramError::new(ExitClass::Unavailable, text));
        }
        StatSocket::Unix(path) => connect_unix(path),
        StatSocket::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            connect_to(family, address)
        }
    };
    let stream = connected.map_err(|error| unreachable(socket, &error))?;
    let answer = talk(stream, question).map_err(|error| unreachable(socket, &error))?;
    crate::cli::print(&answer);
    match question {
        Question::Shutdown if answer.starts_with("refused") => Err(ProgramError::new(ExitClass::NoPermission, "")),
        Question::Pid => {
            crate::cli::print("\n");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn unreachable(place: &StatSocket, error: &io::Error) -> ProgramError {
    let (class, reason) = match error.kind() {
        ErrorKind::PermissionDenied => {
            (ExitClass::NoPermission, format!("{error}; ask as root or as the agent's user"))
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            (ExitClass::Unavailable, format!("no answer within {STAT_SOCKET_TIMEOUT:?}"))
        }
        _ => (ExitClass::Unavailable, format!("{error}; does the agent run?")),
    };
    ProgramError::new(class, format!("ask the agent at {place}: {reason}"))
}

fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    connect_to(AddressFamily::UNIX, &Place::of(path)?.address)
}

/// Connects, with time limits for that and for each request.
fn connect_to(family: AddressFamily, address: &impl SocketAddrArg) -> io::Result<OwnedFd> {
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for timeout in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, timeout, Some(STAT_SOCKET_TIMEOUT))?;
    }
    match connect(&socket, address) {
        Ok(()) => Ok(socket),
        Err(Errno::INPROGRESS) => Err(ErrorKind::TimedOut.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn talk(stream: OwnedFd, question: Question) -> io::Result<String> {
    let mut stream = File::from(stream);
    writeln!(stream, "{}", question.words())?;
    let mut answer = String::new();
    stream.take(STAT_ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    if answer.is_empty() { Err(io::Error::other("it said nothing")) } else { Ok(answer) }
}
