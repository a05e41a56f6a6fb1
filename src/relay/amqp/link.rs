//! A connection to the broker behind a synchronous face.
//!
//! Requests block on [`io_thread`], never longer than `mq.timeout`. The relays of a scheduler share two links, one to send and
//! one to receive: a broker that is short of memory or disk (an alarm) stops reading from publishers, and acknowledgements must
//! not wait behind that. Those of an agent share one: there are thousands of agents. During an alarm, what needs the broker's
//! answer fails at once, and the connection stays. A lost connection is replaced when the next channel is opened, by whichever
//! way works then ([`Dialer`]).

use crate::config::Material;
use crate::config::broker::{BrokerConfig, TlsConfig};
use crate::dial::{Dialer, Failed, Target, Way};
use crate::failure::{Failure, Server};
use crate::io_thread;
use crate::limits;
use crate::tls::trusting;
use crate::waiting::waiting_for;
use async_compat::Compat;
use async_rs::TokioRuntime;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus, ErrorKind, Event};
use native_tls::{Identity, TlsConnectorBuilder};
use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Publishing.
    Send,
    /// Consuming.
    Receive,
}

/// See the module docs.
pub struct Link {
    config: BrokerConfig,
    purpose: Purpose,
    dialer: Dialer,
    io: Handle,
    connection: Mutex<Option<Live>>,
    /// Apart from it, as that is locked while a connection is made.
    told: Mutex<Told>,
}

/// A connection, and the way that it takes.
struct Live {
    connection: Connection,
    way: Way,
}

/// What the broker said about the newest connection, by itself.
#[derive(Clone, Default)]
struct Told {
    status: ConnectionStatus,
    words: Arc<Mutex<Words>>,
}

#[derive(Default)]
struct Words {
    /// Why it takes no messages. The connection may be blocked a moment before this is known.
    alarm: Option<String>,
    /// Why it closed the connection.
    end: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Link {
    /// The process's link to this broker. Nothing is connected yet.
    pub fn shared(config: &BrokerConfig, purpose: Purpose, dialer: &Dialer) -> Result<Arc<Link>, Failure> {
        static LINKS: Mutex<Vec<Weak<Link>>> = Mutex::new(Vec::new());
        let mut links = locked(&LINKS);
        links.retain(|link| link.strong_count() > 0);
        let is_same = |link: &Arc<Link>| link.config == *config && link.purpose == purpose && link.dialer == *dialer;
        if let Some(link) = links.iter().filter_map(Weak::upgrade).find(is_same) {
            return Ok(link);
        }
        let io = io_thread::handle().map_err(|e| Failure::retry(format!("start the broker's thread: {e}")))?;
        let (connection, told) = (Mutex::new(None), Mutex::default());
        let link = Arc::new(Link { config: config.clone(), purpose, dialer: dialer.clone(), io, connection, told });
        links.push(Arc::downgrade(&link));
        Ok(link)
    }

    /// How the broker is configured.
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// A new channel, on a new connection if the old one is lost.
    pub fn channel(self: &Arc<Self>) -> Result<OpenChannel, Failure> {
        let mut live = locked(&self.connection);
        let connection = &self.live(&mut live)?.connection;
        let channel = self.wait("open a channel", connection.create_channel())?;
        Ok(OpenChannel { channel, link: Arc::clone(self) })
    }

    /// The way to the broker that is in use; connects if it is not connected.
    pub fn way(&self) -> Result<Way, Failure> {
        Ok(self.live(&mut locked(&self.connection))?.way.clone())
    }

    /// The connection, or a new one if it is lost.
    fn live<'a>(&self, live: &'a mut Option<Live>) -> Result<&'a Live, Failure> {
        match live.take().filter(|live| live.connection.status().connected()) {
            Some(connected) => Ok(live.insert(connected)),
            None => Ok(live.insert(self.connect()?)),
        }
    }

    /// Runs a request, for `mq.timeout` at most; not at all while the broker would not read it.
    pub fn wait<T>(&self, what: &str, request: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
        self.ask(what, request)?.map_err(|error| self.refused(what, &error))
    }

    /// The same; an error that the broker answers is a result.
    pub fn ask<T>(
        &self,
        what: &str,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<lapin::Result<T>, Failure> {
        self.check_alarm(what)?;
        let answered = self.within(what, self.config.timeout, self.unless_alarmed(request)).flatten();
        answered.ok_or_else(|| self.no_answer(what))
    }

    /// Runs a request; None if the broker stops reading meanwhile.
    pub async fn unless_alarmed<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let alarmed = async {
            while self.alarm().is_none() {
                tokio::time::sleep(limits::BROKER_ALARM_CHECKED_EVERY).await;
            }
        };
        match select(pin!(request), pin!(alarmed)).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(_) => None,
        }
    }

    /// Runs what the broker does not answer.
    pub fn tell(&self, what: &str, request: impl Future<Output = lapin::Result<()>>) -> Result<(), Failure> {
        let told = self.within(what, self.config.timeout, request).ok_or_else(|| self.no_answer(what))?;
        told.map_err(|error| self.refused(what, &error))
    }

    /// Runs a request; None if it takes longer than the limit.
    pub fn within<T>(&self, what: &str, limit: Duration, request: impl Future<Output = T>) -> Option<T> {
        // Inside, because the timer must be made where the I/O thread is known.
        let run = || self.io.block_on(async { tokio::time::timeout(limit, request).await });
        waiting_for(format_args!("the broker ({what})"), run).ok()
    }

    /// Why the broker takes no messages, if so.
    pub fn alarm(&self) -> Option<String> {
        let told = locked(&self.told).clone();
        let words = || locked(&told.words).alarm.clone().unwrap_or_else(|| "an alarm".into());
        (told.status.connected() && told.status.blocked()).then(words)
    }

    /// Fails while the broker reads nothing from this connection.
    pub fn check_alarm(&self, what: &str) -> Result<(), Failure> {
        match self.alarm() {
            None => Ok(()),
            Some(alarm) => {
                let reason = format!("{}: it takes no messages: {alarm}; {ALARM_HELP}", self.at_broker(what));
                Err(Failure::outage(Server::Broker, reason))
            }
        }
    }

    /// The failure of a request that took too long.
    pub fn no_answer(&self, what: &str) -> Failure {
        let none = || format!("{}: no answer within {:?}; {ALARM_HELP}", self.at_broker(what), self.config.timeout);
        self.check_alarm(what).err().unwrap_or_else(|| Failure::outage(Server::Broker, none()))
    }

    /// Closes something. Nothing depends on the broker's answer, so the wait is short.
    fn close(&self, what: &str, request: impl Future<Output = lapin::Result<()>>) {
        if self.alarm().is_some() {
            return;
        }
        match self.within(what, limits::BROKER_GOODBYE_TIME_MAX.min(self.config.timeout), request) {
            Some(Ok(())) => {}
            Some(Err(error)) => log::debug!("{}: {error}", self.at_broker(what)),
            None => log::debug!("{}: no answer", self.at_broker(what)),
        }
    }

    /// Spawns a task on the I/O thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.io.spawn(task);
    }

    /// The failure of a request that ended with this error.
    pub fn refused(&self, what: &str, error: &lapin::Error) -> Failure {
        match error.kind() {
            // The connection is lost, also before its status says so.
            ErrorKind::IOError(_) => {
                Failure::outage(Server::Broker, format!("{}: {}", self.at_broker(what), cause(error)))
            }
            _ => self.failure(what, cause(error)),
        }
    }

    /// An error of this broker. When it closed the connection, with its own words.
    pub fn failure(&self, what: &str, cause: impl ToString) -> Failure {
        let (mut reason, told) =
            (format!("{}: {}", self.at_broker(what), cause.to_string()), locked(&self.told).clone());
        if told.status.connected() {
            return Failure::retry(reason);
        }
        // Once: what fails after that has reasons of its own.
        if let Some(end) = locked(&told.words).end.take().filter(|end| !reason.contains(end)) {
            reason.push_str(&format!("; it said: {end}"));
        }
        Failure::outage(Server::Broker, reason)
    }

    fn at_broker(&self, what: &str) -> String {
        format!("{what} at the broker {}", self.place())
    }

    /// User, host, port and vhost, for messages.
    fn place(&self) -> String {
        let BrokerConfig { user, host, port, vhost, .. } = &self.config;
        format!("{user}@{host}:{port} vhost '{vhost}'")
    }

    fn connect(&self) -> Result<Live, Failure> {
        let config = &self.config;
        if let Some(tls) = &config.tls {
            tls_connector(tls).map_err(|e| self.failure(CONNECT, e))?;
        }
        let target = Target { host: &config.host, port: config.port, is_tls: config.tls.is_some() };
        let until = Instant::now() + limits::DIAL_TIME_MAX.max(config.timeout);
        let attempt = |stream, way: &Way, end| self.connect_by(stream, way, end);
        let dialed = self.dialer.connect(&target, config.timeout, until, attempt);
        match dialed {
            Ok((connection, way)) => {
                self.listen(&connection);
                if self.dialer != Dialer::direct() {
                    log::info!("connected to the broker {} {way}", self.place());
                }
                Ok(Live { connection, way })
            }
            Err(Failed::Host(error)) => Err(self.failure(CONNECT, cause(&error))),
            Err(Failed::Way(reason)) => Err(self.failure(CONNECT, reason)),
        }
    }

    /// Opens a connection to the broker over one that took this way.
    fn connect_by(&self, stream: TcpStream, way: &Way, end: Instant) -> Result<Connection, Failed<lapin::Error>> {
        let left = end.saturating_duration_since(Instant::now());
        match self.within(CONNECT, left, self.connect_over(stream)) {
            Some(Ok(connection)) => Ok(connection),
            // The broker itself has answered.
            Some(Err(error)) if matches!(error.kind(), ErrorKind::ProtocolError(_)) => Err(Failed::Host(error)),
            Some(Err(error)) => Err(Failed::Way(error.to_string())),
            None if *way == Way::Direct => Err(Failed::Way(format!("no answer within {left:.1?}; {ALARM_HELP}"))),
            None => Err(Failed::Way(format!("no answer within {left:.1?}"))),
        }
    }

    async fn connect_over(&self, stream: TcpStream) -> lapin::Result<Connection> {
        let config = &self.config;
        let uri = AMQPUri {
            scheme: if config.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: config.user.clone(), password: config.password.expose().into() },
                host: config.host.clone(),
                port: config.port,
            },
            vhost: config.vhost.clone(),
            query: AMQPQueryString { heartbeat: Some(limits::BROKER_HEARTBEAT_SECONDS), ..Default::default() },
        };
        let program = std::env::args().next().unwrap_or_default();
        let program = Path::new(&program).file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        let name = format!("{program} {} {:?}", std::process::id(), self.purpose);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (host, tls) = (config.host.clone(), config.tls.clone());
        stream.set_nonblocking(true)?;
        // It asks for one connection only: a lost one is replaced here.
        let stream = Mutex::new(Some(stream));
        let open = async move |_uri, _runtime: TokioRuntime| {
            let stream = locked(&stream).take().ok_or_else(|| io::Error::other("the connection is lost"))?;
            let stream = AsyncTcpStream::Plain(Compat::new(tokio::net::TcpStream::from_std(stream)?));
            Ok(match &tls {
                Some(tls) => stream.into_native_tls(tls_connector(tls).map_err(io::Error::other)?, &host).await?,
                None => stream,
            })
        };
        Connection::connector(uri, TokioRuntime::tokio_with_handle(self.io.clone()), open, properties).await
    }

    /// Keeps what the broker says by itself; logs when it stops taking messages, and when it goes on.
    fn listen(&self, connection: &Connection) {
        let told = Told { status: connection.status().clone(), words: Arc::default() };
        *locked(&self.told) = told.clone();
        let (mut events, place) = (connection.events_listener(), self.place());
        self.io.spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(reason) => {
                        log::warn!("the broker {place} takes no messages: {reason}; {ALARM_HELP}");
                        locked(&told.words).alarm = Some(reason);
                    }
                    Event::ConnectionUnblocked => log::info!("the broker {place} takes messages again"),
                    Event::Error(error) if !told.status.connected() => {
                        locked(&told.words).end.get_or_insert_with(|| cause(&error));
                    }
                    _ => {}
                }
            }
        });
    }
}

/// What is tried first.
const CONNECT: &str = "connect";
/// What an operator can do about a broker that takes nothing.
const ALARM_HELP: &str = "rabbitmqctl status shows its alarms";

impl Drop for Link {
    /// Closes the connection, so that the broker logs no error and requeues at once.
    fn drop(&mut self) {
        let live = locked(&self.connection).take();
        if let Some(live) = live.filter(|live| live.connection.status().connected()) {
            self.close("disconnect", live.connection.close(REPLY_SUCCESS, "done".into()));
        }
    }
}

/// A channel of a link, closed when it is dropped. lapin itself closes a dropped one a moment later; if the connection is
/// closed at the same time, the broker's answer to that is lost.
pub struct OpenChannel {
    channel: Channel,
    link: Arc<Link>,
}

impl OpenChannel {
    /// Closes it now. The broker has requeued what was not acknowledged on it when this returns.
    pub fn close(&self) {
        if self.channel.status().connected() {
            self.link.close("close a channel", self.channel.close(REPLY_SUCCESS, "done".into()));
        }
    }
}

impl Deref for OpenChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.close();
    }
}

/// The certificates to trust and to present.
fn tls_connector(tls: &TlsConfig) -> Result<TlsConnectorBuilder, String> {
    let mut builder = trusting(tls.ca.as_ref()).map_err(|e| format!("read {e}"))?;
    if let Some((certificate, key)) = &tls.identity {
        let read =
            |pem: &Material| pem.read(limits::CONFIGURATION_SIZE_BYTES_MAX).map_err(|e| format!("read {pem}: {e}"));
        let identity = Identity::from_pkcs8(&read(certificate)?, &read(key)?);
        let refused = |e| format!("{certificate} and {key} are not a certificate and its key in PKCS #8: {e}");
        builder.identity(identity.map_err(refused)?);
    }
    Ok(builder)
}

/// Why a request failed, and what an operator can do about it.
pub fn cause(error: &lapin::Error) -> String {
    let ErrorKind::ProtocolError(refusal) = error.kind() else { return error.to_string() };
    let help = match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) if refusal.get_message().as_str().contains("Login") => {
            "; the user or the password is wrong"
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            "; scripts/setup-rabbitmq.sh sets the permissions that are needed"
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => "; scripts/setup-rabbitmq.sh makes the vhost and its users",
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            "; the queue was declared otherwise: compare queuetype, or remove it with scripts/delete-queues.sh"
        }
        _ => "",
    };
    format!("{}{help}", refusal.get_message().as_str().trim_end_matches('.'))
}

/// Whether a request was refused because of what a queue or exchange is.
pub fn is_soft(error: &lapin::Error, kind: &AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refusal) if *refusal.kind() == AMQPErrorKind::Soft(kind.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::QueueType;
    use crate::config::proxy::Proxy;
    use std::net::TcpListener;

    #[test]
    fn a_broker_that_accepts_and_hangs_is_left_when_the_time_of_its_way_is_over() {
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://agent:s3cret@{}/mig", hanging.local_addr().unwrap());
        let config = BrokerConfig::parse_url(&url, TlsConfig::default(), QueueType::Classic).unwrap();
        let link = Link::shared(&config, Purpose::Send, &Dialer::direct()).unwrap();
        let proxied = Way::Proxy { proxy: Proxy::parse("p:1").unwrap(), named_by: "agent.proxies" };
        for (way, has_help) in [(Way::Direct, true), (proxied, false)] {
            let stream = TcpStream::connect(hanging.local_addr().unwrap()).unwrap();
            let begun = Instant::now();
            let end = begun + Duration::from_millis(200);
            let Err(Failed::Way(reason)) = link.connect_by(stream, &way, end) else { panic!("it has not answered") };
            assert!(begun.elapsed() < config.timeout / 2, "{:?}", begun.elapsed());
            assert_eq!((reason.starts_with("no answer within "), reason.contains(ALARM_HELP)), (true, has_help));
        }
    }
}
