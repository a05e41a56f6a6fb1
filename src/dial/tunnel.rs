//! HTTP CONNECT: has a proxy connect to the host, and pass on what both send from then on.

use super::{Bounded, Target};
use crate::config::Secret;
use crate::config::proxy::Proxy;
use crate::limits;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Header lines that are looked at.
const HEADERS_MAX: usize = 64;

/// Opens a tunnel over a connection to the proxy. What the host sends first is left in the connection.
pub fn open(
    stream: TcpStream,
    proxy: &Proxy,
    named_by: &str,
    target: &Target,
    deadline: Instant,
) -> Result<TcpStream, String> {
    let request = request(proxy, target)?;
    let mut bounded = Bounded::new(stream, deadline);
    bounded.write_all(request.as_bytes()).map_err(|e| format!("ask it for a tunnel: {e}"))?;
    let answer = read_answer(&mut bounded)?;
    check(&answer, proxy, named_by, target)?;
    bounded.into_stream().map_err(|e| e.to_string())
}

fn request(proxy: &Proxy, target: &Target) -> Result<String, String> {
    if !target.host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the host's name cannot be in a request".into());
    }
    let authorization = proxy.user.as_ref().map(|user| {
        let password = proxy.password.as_ref().map_or("", Secret::expose);
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Proxy-Authorization: Basic {credentials}\r\n")
    });
    let authorization = authorization.unwrap_or_default();
    Ok(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: mig-agent\r\n{authorization}\r\n"))
}

/// What a proxy answered.
struct Answer {
    status: u16,
    /// As the proxy words it.
    reason: String,
}

/// Reads the head of the answer, and not a byte more: what follows is the host's.
fn read_answer(connection: &mut impl Read) -> Result<Answer, String> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        match connection.read(&mut byte) {
            Ok(0) => return Err("it closed the connection".into()),
            Ok(_) => head.push(byte[0]),
            Err(e) => return Err(format!("wait for its answer: {e}")),
        }
        // Only whole lines are worth a look.
        if byte == *b"\n"
            && let Some(answer) = parse(&head)?
        {
            return Ok(answer);
        }
        if head.len() >= limits::PROXY_ANSWER_BYTES_MAX {
            return Err(format!("its answer has no end within {} bytes", limits::PROXY_ANSWER_BYTES_MAX));
        }
    }
}

fn parse(head: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|e| format!("it does not answer as a proxy: {e}"))?;
    let reason = response.reason.unwrap_or_default().chars().take(80).collect::<String>().escape_default().to_string();
    Ok(parsed.is_complete().then(|| Answer { status: response.code.unwrap_or_default(), reason }))
}

fn check(answer: &Answer, proxy: &Proxy, named_by: &str, target: &Target) -> Result<(), String> {
    let Answer { status, reason } = answer;
    let cure = match status {
        200..300 => return Ok(()),
        // 401 is for servers; tinyproxy says so of a wrong password.
        401 | 407 if proxy.user.is_some() => format!("; it does not accept the user and the password in {named_by}"),
        407 => format!("; it wants a user and a password: write http://user:password@{proxy} into {named_by}"),
        403 | 405 => format!("; its rules must permit CONNECT to port {}", target.port),
        502..=504 => "; it does not reach the host".to_owned(),
        _ => String::new(),
    };
    Err(format!("it answers {status} {reason}{cure}"))
}
