//! The stat socket: a TCP socket on this machine for queries about the running agent. One line in, one answer out.

use crate::limits::STAT_SOCKET_TIMEOUT;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const HELP: &str = "Welcome to the MIG agent socket. The commands are:\npid\treturns the PID of the running agent\nhelp\treturns this text\n";

/// Listens and answers until the process ends.
pub fn start(address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = answer(stream) {
                log::debug!("stat socket: {error}");
            }
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(STAT_SOCKET_TIMEOUT))?;
    stream.set_write_timeout(Some(STAT_SOCKET_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new((&stream).take(64)).read_line(&mut line)?;
    match line.trim() {
        "pid" => write!(stream, "{}", std::process::id()),
        _ => stream.write_all(HELP.as_bytes()),
    }
}
