//! The address that the API sees this agent by (`agent.discoverpublicip`). It is asked for in a thread of its own: a slow API
//! holds up no heartbeat of an agent that stays. One that sends a single heartbeat waits for it, for a limited time.

use super::fetch::Fetcher;
use crate::limits;
use crate::modules::network::Fetch;
use crate::waiting::waiting_for;
use crate::wake::Waker;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

type Answer = Result<IpAddr, String>;

/// See the module docs.
pub struct PublicIp {
    /// `<api>/ip`
    url: String,
    fetcher: Fetcher,
    every: Duration,
    waits: Option<Duration>,
    asked: Option<Instant>,
    asking: Option<Receiver<Answer>>,
    /// The last answer: an API that fails for the moment changes no address.
    known: Option<IpAddr>,
    /// Why it is not known, as it was logged.
    logged: Option<String>,
}

impl PublicIp {
    /// Asks the API at this address every so often; waits so long for each answer, if at all.
    pub fn new(api: &str, fetcher: Fetcher, every: Duration, waits: Option<Duration>) -> PublicIp {
        let url = format!("{api}/ip");
        PublicIp { url, fetcher, every, waits, asked: None, asking: None, known: None, logged: None }
    }

    /// Asks, if it is time to; tries the proxy that is in use first. Wakes `waker` when there is an answer.
    pub fn ask(&mut self, proxy: Option<String>, waker: Option<Waker>) {
        if self.asking.is_some() || self.asked.is_some_and(|asked| asked.elapsed() < self.every) {
            return;
        }
        let (url, fetcher) = (self.url.clone(), self.fetcher.clone().beginning_with(proxy));
        let time_max = self.waits.unwrap_or(limits::PUBLIC_IP_TIME_MAX);
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let _ = sender.send(ask(&fetcher, &url, time_max));
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        self.asked = Some(Instant::now());
        // Without a thread it is asked the next time.
        let started = std::thread::Builder::new().name("public-ip".into()).spawn(work);
        self.asking = started.ok().map(|_| receiver);
    }

    /// The address, as far as it is known.
    pub fn known(&mut self) -> Option<IpAddr> {
        let answer = self.asking.as_ref().map(|asking| match self.waits {
            // The thread ends in time.
            Some(_) => waiting_for(&self.url, || asking.recv().map_err(TryRecvError::from)),
            None => asking.try_recv(),
        });
        if let Some(Ok(_) | Err(TryRecvError::Disconnected)) = answer {
            self.asking = None;
        }
        match answer {
            Some(Ok(Ok(address))) => (self.known, self.logged) = (Some(address), None),
            Some(Ok(Err(reason))) if self.logged.as_ref() != Some(&reason) => {
                log::warn!("agent.discoverpublicip: {reason}");
                self.logged = Some(reason);
            }
            _ => {}
        }
        self.known
    }
}

fn ask(fetcher: &Fetcher, url: &str, time_max: Duration) -> Answer {
    let mut text = Vec::new();
    let deadline = Instant::now() + time_max;
    let fetched = fetcher.get(url, limits::PUBLIC_IP_BYTES_MAX, deadline, &mut text);
    fetched.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|_| format!("{url} returns no address; is agent.api the API's address?"))
}
