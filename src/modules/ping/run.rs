//! Pings.

use super::echo::Echo;
use super::parameters::{Protocol, Wanted};
use crate::modules::{Context, ModuleResult, notation};
use crate::names;
use serde_json::json;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Between two pings.
const PAUSE: Duration = Duration::from_millis(100);
/// Until a name is found.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(20);
/// What a packet of UDP has, as in the original.
const PACKET: &[u8] = b"Ping!Ping!Ping!";

/// What the original writes in place of the milliseconds of an answer.
const TIMED_OUT: f64 = 9_999_999.0;
const UNREACHABLE: f64 = -1.0;
const FAILED: f64 = 0.0;

/// How one ping ended.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The other machine was heard of.
    Answered,
    /// Nothing was.
    TimedOut,
    /// It, or a machine on the way, refuses.
    Unreachable(String),
    /// It could not be tried.
    Failed(String),
}

impl Outcome {
    /// What an error means.
    pub(super) fn of(error: &io::Error) -> Outcome {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Outcome::TimedOut,
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Outcome::Unreachable(error.to_string())
            }
            _ => Outcome::Failed(error.to_string()),
        }
    }
}

impl From<io::Result<()>> for Outcome {
    fn from(result: io::Result<()>) -> Outcome {
        result.map_or_else(|error| Outcome::of(&error), |()| Outcome::Answered)
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    latencies: Vec<f64>,
    failures: Vec<String>,
    is_answered: bool,
    is_silent: bool,
    is_refused: bool,
    errors: Vec<String>,
}

/// Runs an operation.
pub(super) fn run(wanted: &Wanted, context: Context) -> ModuleResult {
    let started = Instant::now();
    let lookup = started + LOOKUP_TIME_MAX;
    let lookup = context.deadline.map_or(lookup, |deadline| lookup.min(deadline));
    let Wanted { destination, protocol, port, count, timeout, .. } = wanted;
    let address = match names::addresses(destination, *port, lookup).map(|found| found.first().copied()) {
        Ok(Some(address)) => address,
        Ok(None) => return ModuleResult::failed(format!("destination: {destination} has no address")),
        Err(reason) => return ModuleResult::failed(format!("destination: the address of {destination}: {reason}")),
    };
    let host = match protocol {
        Protocol::Icmp => format!("{destination} ({})", address.ip()),
        Protocol::Tcp | Protocol::Udp => format!("{destination}:{port} ({})", address.ip()),
    };
    let result = |found: &Found| ModuleResult {
        foundanything: found.is_reachable(*protocol),
        success: true,
        elements: json!({
            "latencies": found.latencies, "protocol": protocol.name(), "resolvedhost": host, "failures": found.failures,
        }),
        statistics: match found.errors.is_empty() {
            true => json!({"exectime": notation::duration(started.elapsed())}),
            false => json!({"exectime": notation::duration(started.elapsed()), "partial": true}),
        },
        errors: (!found.errors.is_empty()).then(|| found.errors.clone()),
    };
    let echo = match protocol {
        Protocol::Icmp => match Echo::open(address.ip()) {
            Ok(echo) => Some(echo),
            Err(error) => return ModuleResult::failed(format!("a socket for echo requests: {error}")),
        },
        Protocol::Tcp | Protocol::Udp => None,
    };
    let mut found = Found::default();
    for number in 1..=*count {
        let left =
            context.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        let outcome = match (left.is_zero(), &echo) {
            (true, _) => Outcome::TimedOut,
            (false, Some(echo)) => echo.ping(u16::try_from(number).unwrap_or(u16::MAX), left.min(*timeout)),
            (false, None) if *protocol == Protocol::Tcp => tcp(address, left.min(*timeout)).into(),
            (false, None) => udp(address, left.min(*timeout)).into(),
        };
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        if outcome == Outcome::TimedOut && left < *timeout {
            let text = format!("partial: stopped at the time limit, after {} of {count} pings", number - 1);
            found.errors.push(text);
            break;
        }
        found.add(number, outcome, milliseconds);
        if number < *count {
            if let Some(progress) = context.progress {
                let mut so_far = result(&found);
                so_far.errors = Some(vec![format!("partial: {number} of {count} pings")]);
                so_far.statistics["partial"] = json!(true);
                progress(&so_far);
            }
            std::thread::sleep(PAUSE.min(left));
        }
    }
    result(&found)
}

impl Found {
    /// A packet of UDP that is not refused may have been received. Machines do not refuse every packet.
    fn is_reachable(&self, protocol: Protocol) -> bool {
        self.is_answered || (protocol == Protocol::Udp && self.is_silent && !self.is_refused)
    }

    fn add(&mut self, number: usize, outcome: Outcome, milliseconds: f64) {
        match outcome {
            Outcome::Answered => self.is_answered = true,
            Outcome::TimedOut => self.is_silent = true,
            Outcome::Unreachable(_) => self.is_refused = true,
            Outcome::Failed(_) => {}
        }
        let mut failed = |reason: String| self.failures.push(format!("ping #{number} failed with error: {reason}"));
        let latency = match outcome {
            Outcome::Answered => milliseconds,
            Outcome::TimedOut => TIMED_OUT,
            Outcome::Unreachable(reason) => {
                failed(reason);
                UNREACHABLE
            }
            Outcome::Failed(reason) => {
                failed(reason);
                FAILED
            }
        };
        self.latencies.push(latency);
    }
}

fn tcp(address: SocketAddr, timeout: Duration) -> io::Result<()> {
    TcpStream::connect_timeout(&address, timeout).map(drop)
}

fn udp(address: SocketAddr, timeout: Duration) -> io::Result<()> {
    let socket = UdpSocket::bind(names::unspecified(address))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(PACKET)?;
    socket.recv(&mut [0; 1]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_of_udp_beside_a_refusal_is_no_answer() {
        use Outcome::{Answered, Failed, TimedOut, Unreachable};
        let refused = || Unreachable("refused".into());
        for (outcomes, of_udp, of_tcp) in [
            (vec![TimedOut], true, false),
            (vec![refused(), TimedOut], false, false),
            (vec![TimedOut, refused()], false, false),
            (vec![refused(), Answered], true, true),
            (vec![Failed("full".into()), TimedOut], true, false),
            (vec![Failed("full".into())], false, false),
        ] {
            let shown = format!("{outcomes:?}");
            let mut found = Found::default();
            outcomes.into_iter().enumerate().for_each(|(index, outcome)| found.add(index + 1, outcome, 1.0));
            let [udp, tcp] = [Protocol::Udp, Protocol::Tcp].map(|protocol| found.is_reachable(protocol));
            assert_eq!((udp, tcp), (of_udp, of_tcp), "{shown}");
        }
    }
}
