//! Compares clocks.

use super::parameters::Wanted;
use super::servers::{Answer, default_servers};
use crate::modules::{Context, ModuleResult, notation};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Of one server, as in the original.
const SERVER_TIME_MAX: Duration = Duration::from_secs(5);
/// Servers whose answers are compared: a lie of one does not count.
const ANSWERS: usize = 3;
/// The time of a server that has not answered, as the original writes it.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// What an answer says of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    Beyond,
    /// The answer took too long to say.
    Unknown,
}

/// What was found.
#[derive(Default)]
struct Found {
    verdicts: Vec<Verdict>,
    drifts: Vec<String>,
    servers: Vec<Value>,
    reasons: Vec<String>,
}

/// Runs an operation.
pub(super) fn run(wanted: &Wanted, context: Context) -> ModuleResult {
    let started = Instant::now();
    let local_time = Timestamp::now().to_string();
    let Some(drift) = wanted.drift else {
        return ModuleResult {
            foundanything: true,
            success: true,
            elements: json!({"hascheckeddrift": false, "localtime": local_time}),
            statistics: json!({"exectime": notation::duration(started.elapsed())}),
            errors: None,
        };
    };
    let servers = if wanted.servers.is_empty() { default_servers() } else { wanted.servers.clone() };
    let mut found = Found::default();
    let mut is_stopped = false;
    for server in &servers {
        let left =
            context.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        is_stopped = left.is_zero();
        if is_stopped || found.verdicts.len() == ANSWERS {
            break;
        }
        match server.ask(SERVER_TIME_MAX.min(left)) {
            Ok(answer) => found.add(&server.to_string(), answer, drift),
            Err(reason) => {
                found.reasons.push(format!("{server}: {reason}"));
                found.servers.push(json!({
                    "host": server.to_string(), "time": NO_TIME, "latency": "", "drift": "", "reachable": false,
                    "error": reason,
                }));
            }
        }
    }
    found.result(&local_time, started, is_stopped)
}

impl Verdict {
    /// The offset is right to half of the time that the answer took.
    fn of(answer: Answer, drift: Duration) -> Verdict {
        let (offset, half) = (answer.offset_seconds.abs(), answer.latency.as_secs_f64() / 2.0);
        match drift.as_secs_f64() {
            drift if offset + half <= drift => Verdict::Within,
            drift if offset - half > drift => Verdict::Beyond,
            _ => Verdict::Unknown,
        }
    }
}

impl Found {
    fn add(&mut self, host: &str, answer: Answer, drift: Duration) {
        let offset = Duration::try_from_secs_f64(answer.offset_seconds.abs()).unwrap_or(Duration::MAX);
        let size = notation::duration(offset);
        let (place, sign) = if answer.offset_seconds > 0.0 { ("behind", "-") } else { ("ahead of", "") };
        let verdict = Verdict::of(answer, drift);
        let latency = notation::duration(answer.latency);
        let server_time = jiff::SignedDuration::try_from_secs_f64(answer.offset_seconds).ok();
        let server_time = server_time.and_then(|offset| Timestamp::now().checked_add(offset).ok());
        let mut server = json!({
            "host": host, "time": server_time.map_or(NO_TIME.to_owned(), |time| time.to_string()), "latency": latency,
            "drift": format!("{sign}{size}"), "reachable": true,
        });
        match verdict {
            Verdict::Within => {}
            Verdict::Beyond => self.drifts.push(format!("Local time is {place} ntp host {host} by {size}")),
            Verdict::Unknown => {
                let reason = format!("its answer took {latency}, too long to tell this drift");
                self.reasons.push(format!("{host}: {reason}"));
                server["error"] = json!(reason);
            }
        }
        if verdict != Verdict::Unknown {
            self.verdicts.push(verdict);
        }
        self.servers.push(server);
    }

    fn result(self, local_time: &str, started: Instant, is_stopped: bool) -> ModuleResult {
        let answers = self.verdicts.len();
        let within = self.verdicts.iter().filter(|verdict| **verdict == Verdict::Within).count();
        let is_within = within * 2 > answers;
        let mut elements = json!({"hascheckeddrift": answers > 0, "localtime": local_time});
        let mut errors = Vec::new();
        if is_stopped {
            errors.push(format!("partial: stopped at the time limit, after {} servers", self.servers.len()));
        }
        if answers == 0 {
            errors.push("no time server has told the time".to_owned());
            errors.extend(self.reasons);
        } else {
            elements["iswithindrift"] = json!(is_within);
            elements["drifts"] = json!(self.drifts);
        }
        if within > 0 && within < answers {
            errors.push(format!("the time servers disagree: {within} of {answers} say that the time is right"));
        }
        let mut statistics = json!({"exectime": notation::duration(started.elapsed()), "ntpstats": self.servers});
        if is_stopped {
            statistics["partial"] = json!(true);
        }
        ModuleResult {
            foundanything: answers > 0 && !is_within,
            success: answers > 0,
            elements,
            statistics,
            errors: (!errors.is_empty()).then_some(errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TimeDrift;
    use super::*;
    use crate::modules::Module;
    use std::net::UdpSocket;
    use std::time::SystemTime;

    /// What a server does.
    #[derive(Clone, Copy)]
    enum Kind {
        /// Its clock is so many seconds before ours.
        Off(f64),
        Truncated,
        KissOfDeath,
        /// It answers another question.
        Forged,
        Unsynchronized,
        Silent,
        /// It answers late.
        Slow,
    }

    /// A server on loopback, which ends with the tests; its name.
    fn server(kind: Kind) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = socket.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let mut question = [0; 48];
            while let Ok((48, peer)) = socket.recv_from(&mut question) {
                let mut answer = [0; 48];
                (answer[0], answer[1]) = (0x24, 2);
                answer[24..32].copy_from_slice(&question[40..48]);
                let off = if let Kind::Off(seconds) = kind { seconds } else { 0.0 };
                // Seconds from 1900 to 1970.
                let since = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() + off + 2_208_988_800.0;
                let stamp = ((since.trunc() as u64) << 32 | ((since.fract() * 4_294_967_296.0) as u64)).to_be_bytes();
                answer[32..40].copy_from_slice(&stamp);
                answer[40..48].copy_from_slice(&stamp);
                let length = if matches!(kind, Kind::Truncated) { 40 } else { 48 };
                match kind {
                    Kind::KissOfDeath => {
                        answer[1] = 0;
                        answer[12..16].copy_from_slice(b"RATE");
                    }
                    Kind::Forged => answer[30] ^= 1,
                    Kind::Unsynchronized => answer[0] |= 0xc0,
                    Kind::Slow => std::thread::sleep(Duration::from_millis(300)),
                    Kind::Silent => continue,
                    Kind::Off(_) | Kind::Truncated => {}
                }
                let _ = socket.send_to(&answer[..length], peer);
            }
        });
        name
    }

    fn ask(drift: &str, kinds: &[Kind]) -> ModuleResult {
        let servers: Vec<String> = kinds.iter().map(|kind| server(*kind)).collect();
        let context = Context { deadline: Some(Instant::now() + Duration::from_secs(2)), ..Context::by_hand() };
        TimeDrift.run(&json!({"drift": drift, "servers": servers}), context)
    }

    #[test]
    fn a_clock_is_compared_with_a_server() {
        let right = ask("10s", &[Kind::Off(0.0)]);
        assert!(right.success && !right.foundanything && right.errors.is_none(), "{right:?}");
        assert_eq!(
            (&right.elements["iswithindrift"], &right.elements["hascheckeddrift"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(right.statistics["ntpstats"][0]["reachable"], json!(true));
        for (off, text) in [(3600.0, "behind"), (-3600.0, "ahead of")] {
            let wrong = ask("10s", &[Kind::Off(off)]);
            assert!(wrong.success && wrong.foundanything, "{wrong:?}");
            assert_eq!(wrong.elements["iswithindrift"], json!(false));
            let said = wrong.elements["drifts"][0].as_str().unwrap();
            assert!(said.starts_with(&format!("Local time is {text} ntp host 127.0.0.1:")), "{said}");
            let lines = TimeDrift.print(&wrong);
            assert!(lines.contains(&"local time is out of sync from NTP servers".to_owned()), "{lines:?}");
        }
        let alone = TimeDrift.run(&json!({}), Context::by_hand());
        assert!(alone.success && alone.foundanything);
        assert!(alone.elements["localtime"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{alone:?}");
    }

    #[test]
    fn a_lie_of_one_server_does_not_count() {
        let right = ask("10s", &[Kind::Off(-9e8), Kind::Off(0.0), Kind::Off(1.0)]);
        assert!(right.success && !right.foundanything, "{right:?}");
        assert_eq!(right.elements["drifts"].as_array().unwrap().len(), 1);
        let said = right.errors.unwrap();
        assert_eq!(said, ["the time servers disagree: 2 of 3 say that the time is right"]);
    }

    #[test]
    fn what_a_hostile_server_says_is_no_time() {
        for (kind, reason) in [
            (Kind::Truncated, "short"),
            (Kind::KissOfDeath, "death"),
            (Kind::Forged, "originate"),
            (Kind::Unsynchronized, "synchronized"),
        ] {
            let result = ask("10s", &[kind]);
            assert!(!result.success && !result.foundanything, "{result:?}");
            assert_eq!(result.elements["hascheckeddrift"], json!(false));
            assert_eq!(result.elements.get("iswithindrift"), None);
            let said = result.errors.unwrap().join("; ");
            assert!(said.to_lowercase().contains(reason), "{said}");
            let beside = ask("10s", &[kind, Kind::Off(0.0)]);
            assert!(beside.success && !beside.foundanything, "{beside:?}");
        }
    }

    #[test]
    fn an_answer_that_took_too_long_tells_no_small_drift() {
        let small = ask("10ms", &[Kind::Slow]);
        assert!(!small.success && small.errors.unwrap().join("; ").contains("too long to tell this drift"));
        let large = ask("1h", &[Kind::Slow]);
        assert!(large.success && !large.foundanything);
        let answer =
            |offset_seconds, milliseconds| Answer { offset_seconds, latency: Duration::from_millis(milliseconds) };
        let drift = Duration::from_secs(1);
        assert_eq!(Verdict::of(answer(-0.9, 100), drift), Verdict::Within);
        assert_eq!(Verdict::of(answer(1.1, 100), drift), Verdict::Beyond);
        assert_eq!(Verdict::of(answer(1.1, 300), drift), Verdict::Unknown);
    }

    #[test]
    fn silence_ends_with_the_time_limit() {
        let begun = Instant::now();
        let result = ask("10s", &[Kind::Silent, Kind::Silent]);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!((result.success, &result.statistics["partial"]), (false, &json!(true)), "{result:?}");
        assert!(result.errors.unwrap()[0].starts_with("partial: stopped at the time limit"));
    }
}
