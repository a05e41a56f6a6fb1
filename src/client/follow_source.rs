//! Where the news of an action come from: a thread that reads events, or asks again and again, and Ctrl-C.

use super::answer::Answer;
use super::collection::Collection;
use super::events::{Event, Events};
use super::follow::Waiting;
use super::http::{Api, ApiError, with_parameters};
use crate::error::{ExitClass, ProgramError};
use crate::id::ActionId;
use crate::json::Fields;
use crate::limits;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// News.
pub enum Message {
    /// The counters of an API with events.
    Counters(Waiting),
    /// Those of one without.
    Polled(Waiting),
    /// An agent's answer.
    Answer(Box<Answer>),
    /// The connection was lost; it is tried again.
    Lost(String),
    /// The scheduler refused the action.
    Refused(String),
    /// An agent's answer that cannot be read.
    Unreadable(String),
    /// It cannot be followed.
    Failed(ApiError),
    /// Ctrl-C.
    Interrupted,
    /// Every command has ended.
    End,
}

/// Ends waiting for Ctrl-C: afterwards it ends the program as usual.
pub struct Source {
    handle: Handle,
    ends: Arc<AtomicBool>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.handle.close();
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// Has the second signal end the program, whatever it waits for: a reader of its output, or the API. While the flag is set,
/// each signal does.
fn end_at_second_signal() -> std::io::Result<Arc<AtomicBool>> {
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal only sets the flag.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&ends))?;
        flag::register(signal, Arc::clone(&ends))?;
    }
    Ok(ends)
}

/// The receiver has gone: nothing is left to do.
struct Gone;

/// Starts both threads. They end with the process, or when the receiver is gone.
pub fn start(api: &Api, id: ActionId) -> Result<(Receiver<Message>, Source), ProgramError> {
    let (sender, receiver) = sync_channel(limits::CLIENT_EVENTS_AHEAD_MAX);
    let failed = |e| ProgramError::new(ExitClass::Io, format!("wait for signals: {e}"));
    let ends = end_at_second_signal().map_err(failed)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let handle = signals.handle();
    let interrupts = sender.clone();
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if interrupts.send(Message::Interrupted).is_err() {
                return;
            }
        }
    });
    let api = api.clone();
    std::thread::spawn(move || {
        let mut reader = Reader { api, id, sender, pause: limits::RETRY_PAUSE_MIN, is_lost: false };
        // Without a receiver nothing is left to do.
        let _ = reader.read();
    });
    Ok((receiver, Source { handle, ends }))
}

struct Reader {
    api: Api,
    id: ActionId,
    sender: SyncSender<Message>,
    pause: Duration,
    is_lost: bool,
}

impl Reader {
    /// Reads events until the end; asks again and again where there are none.
    fn read(&mut self) -> Result<(), Gone> {
        let path = with_parameters("action/events", &[("actionid", &self.id.to_string())]);
        let mut last_id: Option<String> = None;
        loop {
            match self.api.stream(&path, last_id.as_deref()) {
                Ok(stream) => {
                    let mut events = Events::new(stream, last_id.take());
                    if self.pass_on(&mut events)? {
                        return Ok(());
                    }
                    last_id = events.last_id().map(str::to_owned);
                }
                Err(ApiError::NotFound(_)) => return self.poll(),
                Err(error @ (ApiError::Unreachable(_) | ApiError::Server(_))) => self.lost(error.to_string())?,
                Err(error) => return self.send(Message::Failed(error)),
            }
            self.wait();
        }
    }

    /// Passes events on; true at the end of the action, false at the end of the stream.
    fn pass_on<R: std::io::Read>(&mut self, events: &mut Events<R>) -> Result<bool, Gone> {
        loop {
            match events.read() {
                Ok(Some(event)) => {
                    self.works();
                    match message(&event) {
                        Ok(Some(message)) => {
                            let is_last = matches!(message, Message::End | Message::Refused(_));
                            self.send(message)?;
                            if is_last {
                                return Ok(true);
                            }
                        }
                        Ok(None) => {}
                        Err(reason) => {
                            let error = self.api.unreadable("action/events", reason);
                            self.send(Message::Failed(error))?;
                            return Ok(true);
                        }
                    }
                }
                Ok(None) => {
                    self.lost("the API closed the stream of events".into())?;
                    return Ok(false);
                }
                // It would come again, and be as wrong.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    self.send(Message::Failed(self.api.unreadable("action/events", error)))?;
                    return Ok(true);
                }
                Err(error) => {
                    self.lost(format!("read events of {}: {error}", self.api.address()))?;
                    return Ok(false);
                }
            }
        }
    }

    /// Asks for the action's counters until all are done.
    fn poll(&mut self) -> Result<(), Gone> {
        let id = self.id.to_string();
        loop {
            match self.api.get("action", &[("actionid", &id)]) {
                Ok(body) => {
                    self.works();
                    let waiting = Collection::parse(&body)
                        .and_then(|collection| Waiting::parse(collection.first()?.get()))
                        .map_err(|e| self.api.unreadable("action", e));
                    match waiting {
                        Ok(waiting) => self.send(Message::Polled(waiting))?,
                        Err(error) => return self.send(Message::Failed(error)),
                    }
                }
                // The scheduler has not taken it in yet.
                Err(ApiError::NotFound(_)) => self.send(Message::Polled(Waiting::default()))?,
                Err(error @ (ApiError::Unreachable(_) | ApiError::Server(_))) => {
                    self.lost(error.to_string())?;
                    self.wait();
                    continue;
                }
                Err(error) => return self.send(Message::Failed(error)),
            }
            std::thread::sleep(limits::CLIENT_POLL_PERIOD);
        }
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        self.sender.send(message).map_err(|_| Gone)
    }

    /// Reports an outage once.
    fn lost(&mut self, reason: String) -> Result<(), Gone> {
        if std::mem::replace(&mut self.is_lost, true) { Ok(()) } else { self.send(Message::Lost(reason)) }
    }

    fn works(&mut self) {
        self.is_lost = false;
        self.pause = limits::RETRY_PAUSE_MIN;
    }

    fn wait(&mut self) {
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(limits::CLIENT_RETRY_PAUSE_MAX);
    }
}

/// An event as a message; none for kinds that are not known.
fn message(event: &Event) -> Result<Option<Message>, String> {
    let read = |e: crate::json::JsonError| format!("event '{}': {e}", event.kind);
    Ok(Some(match event.kind.as_str() {
        "counters" => Message::Counters(Waiting::parse(&event.data).map_err(read)?),
        "command" => match Answer::parse(&event.data) {
            Ok(answer) => Message::Answer(Box::new(answer)),
            Err(e) => Message::Unreadable(read(e)),
        },
        "refused" => {
            let fields = Fields::at("refused", &event.data).map_err(read)?;
            Message::Refused(fields.text("reason", usize::MAX).map_err(read)?)
        }
        "end" => Message::End,
        _ => return Ok(None),
    }))
}
