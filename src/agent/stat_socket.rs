//! The stat socket: questions about the running agent. One line in, one answer out.
//!
//! By default it is a Unix socket in the run directory, for the agent's user and root; the original's TCP socket on loopback,
//! where each user of the machine may ask, is there when it is configured.
//!
//! | file | what |
//! |---|---|
//! | `stat_socket/listen.rs` | makes the socket |
//! | `stat_socket/clients.rs` | one thread that reads lines and answers; no client can hold it up |
//! | `stat_socket/ask.rs` | `mig-agent -q` |

pub mod ask;
mod clients;
mod listen;

use super::status::Status;
use crate::config::agent::{AgentConfig, StatSocket};
use crate::error::{ExitClass, ProgramError};
use crate::limits::{RETRY_PAUSE_MIN, STAT_SOCKET_PAUSE_MAX};
use clients::Clients;
pub use clients::Listening;
use rustix::fd::OwnedFd;
use rustix::net::UCred;
use rustix::process::{Signal, getpid, kill_process};
use std::io::ErrorKind;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which questions there are.
    Help,
    /// The process id.
    Pid,
    /// What the agent does, as `key: value` in lines.
    Status,
    /// The same as JSON.
    StatusJson,
    /// The agent shall end.
    Shutdown,
}

impl Question {
    /// All of them.
    const ALL: [Question; 5] =
        [Question::Help, Question::Pid, Question::Status, Question::StatusJson, Question::Shutdown];

    /// Reads a line.
    pub fn parse(line: &str) -> Option<Question> {
        Question::ALL.into_iter().find(|question| question.words().split(' ').eq(line.split_whitespace()))
    }

    /// Its line.
    pub fn words(self) -> &'static str {
        match self {
            Question::Help => "help",
            Question::Pid => "pid",
            Question::Status => "status",
            Question::StatusJson => "status json",
            Question::Shutdown => "shutdown",
        }
    }
}

const HELP: &str = "Welcome to the MIG agent socket. The commands are:\n\
    pid\treturns the PID of the running agent\n\
    status\treturns what the agent does; status json: as JSON\n\
    shutdown\tends the agent; for root and the agent's user, over the Unix socket\n\
    help\treturns this text\n";

/// The socket, until this is dropped.
pub enum Socket {
    /// It answers.
    Listening(Listening),
    /// Another program has its place.
    Waiting(Waiting),
}

/// Listens, and answers as long as the result lives. A place that another program has, for example any user of this machine,
/// is no reason to end: the agent works without the socket until it is free. Besides that, the default socket that cannot be
/// made is logged, and a configured one is an error.
pub fn start(config: &AgentConfig, status: &Status) -> Result<Option<Socket>, ProgramError> {
    let socket = &config.socket;
    match listen::on(socket) {
        Ok(listener) => Ok(listener.map(|listener| Socket::Listening(answering(listener, socket, status)))),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            log::warn!("no stat socket yet: listen on {socket}: {error}; it is tried again until that is free");
            Ok(Some(Socket::Waiting(Waiting::start(socket.clone(), status.clone()))))
        }
        Err(error) if *socket == StatSocket::in_run_directory(&config.run_directory) => {
            log::warn!("no stat socket: listen on {socket}: {error}; agent.socket names another place");
            Ok(None)
        }
        Err(error) => Err(ProgramError::new(ExitClass::Config, format!("agent.socket: listen on {socket}: {error}"))),
    }
}

fn answering(listener: OwnedFd, socket: &StatSocket, status: &Status) -> Listening {
    Clients::start(listener, matches!(socket, StatSocket::Unix(_)), status.clone())
}

/// A thread that listens once the place is free, until this is dropped.
pub struct Waiting {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    fn start(socket: StatSocket, status: Status) -> Waiting {
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut pause = RETRY_PAUSE_MIN;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                if let Ok(Some(listener)) = listen::on(&socket) {
                    log::info!("stat socket: {socket} is free, and the agent answers there");
                    let _listening = answering(listener, &socket, &status);
                    let _ = ended.recv();
                    return;
                }
                pause = (pause * 2).min(STAT_SOCKET_PAUSE_MAX);
            }
        });
        Waiting { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The answer to a line. `peer` is who asks, over a Unix socket.
fn answer(line: &str, peer: Option<UCred>, status: &Status) -> String {
    match Question::parse(line) {
        Some(Question::Pid) => std::process::id().to_string(),
        Some(Question::Status) => status.text(),
        Some(Question::StatusJson) => status.json(),
        Some(Question::Shutdown) => shutdown(peer),
        Some(Question::Help) | None => HELP.into(),
    }
}

/// Ends the agent as SIGTERM does, if the peer may do so.
fn shutdown(peer: Option<UCred>) -> String {
    let Some(peer) = peer else {
        return "refused: shutdown needs the Unix socket\n".into();
    };
    if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
        log::warn!("stat socket: shutdown by the user {} is refused", peer.uid.as_raw());
        return "refused: shutdown is for root and the agent's user\n".into();
    }
    log::info!("stat socket: shutdown, by process {} of the user {}", peer.pid, peer.uid.as_raw());
    match kill_process(getpid(), Signal::TERM) {
        Ok(()) => "the agent ends\n".into(),
        Err(error) => format!("not ended: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_question_however_it_ends() {
        for question in Question::ALL {
            for line in [question.words().to_owned(), format!("{}\r\n", question.words())] {
                assert_eq!(Question::parse(&line), Some(question));
            }
        }
        for line in ["", "\n", "PID", "status  yaml", "pid pid", "shutdown now"] {
            assert_eq!(Question::parse(line), None, "{line}");
        }
    }

    #[test]
    fn only_root_and_the_agents_user_may_end_it() {
        let other = rustix::process::Uid::from_raw(rustix::process::geteuid().as_raw() ^ 54_321);
        let peer = UCred { pid: getpid(), uid: other, gid: rustix::process::getegid() };
        assert_eq!(shutdown(Some(peer)), "refused: shutdown is for root and the agent's user\n");
        assert_eq!(shutdown(None), "refused: shutdown needs the Unix socket\n");
    }
}
