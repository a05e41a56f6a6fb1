//! Downloads by HTTPS or HTTP, for modules and for the API's word on our address: an HTTP library over connections of the
//! dialer, so that a proxy is used where one is needed.
//!
//! Guarantees: it ends by its deadline, also when a byte comes now and then. Not a byte beyond the limit is written. A
//! redirect leads to `https` only, so that no one on the way can have something else downloaded. TLS is verified with the
//! system's authorities, and those of the configuration.

use crate::config::agent::AgentConfig;
use crate::config::proxy::Proxy;
use crate::config::{Material, Secret};
use crate::dial::{Bounded, Dialer, Failed, Target, Way};
use crate::limits;
use crate::modules::network::{Fetch, FetchError, Fetched};
use crate::tls::trusting_also;
use native_tls::{TlsConnector, TlsStream};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use ureq::config::Config;
use ureq::http::{Response, Uri, header};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Body, Error};
use url::Url;

/// How an agent reaches the network besides its relay.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Proxies besides that of the environment.
    pub proxies: Vec<Proxy>,
    /// Authorities besides the system's.
    pub ca: Option<Material>,
}

impl Network {
    /// That of a configuration.
    pub fn of(config: &AgentConfig) -> Network {
        Network { proxies: config.proxies.clone(), ca: config.ca.clone() }
    }

    /// One that downloads by it.
    pub fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.proxies.clone(), self.ca.clone())
    }

    /// As text for the process of a module.
    pub fn text(&self) -> Result<NetworkText, String> {
        let read = |ca: &Material| {
            let bytes =
                ca.read(limits::MODULE_AUTHORITIES_BYTES_MAX).map_err(|e| format!("read certs.ca {ca}: {e}"))?;
            String::from_utf8(bytes).map_err(|_| format!("certs.ca {ca} is not PEM"))
        };
        let proxies = self.proxies.iter().map(|proxy| proxy.to_url().expose().to_owned()).collect();
        Ok(NetworkText { proxies, ca: self.ca.as_ref().map(read).transpose()? })
    }
}

/// A [`Network`] as text. It has passwords: nothing shows it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkText {
    proxies: Vec<String>,
    ca: Option<String>,
}

/// See the module docs.
#[derive(Debug, Clone)]
pub struct Fetcher {
    dialer: Dialer,
    ca: Option<Material>,
}

impl Fetcher {
    /// One with these proxies besides that of the environment, and these authorities besides the system's.
    pub fn new(proxies: Vec<Proxy>, ca: Option<Material>) -> Fetcher {
        Fetcher { dialer: Dialer::with_proxies(proxies), ca }
    }

    /// One for the process of a module.
    pub fn parse(text: NetworkText) -> Result<Fetcher, String> {
        let proxies = text.proxies.iter().map(|proxy| Proxy::parse(proxy)).collect::<Result<_, _>>()?;
        Ok(Fetcher::new(proxies, text.ca.map(|ca| Material::Inside(Secret::new(ca)))))
    }

    /// The same; tries this proxy (`host:port`) first, if it is one of its own.
    pub fn beginning_with(self, proxy: Option<String>) -> Fetcher {
        Fetcher { dialer: self.dialer.beginning_with(proxy), ..self }
    }

    /// Sends one request; returns the answer and the proxy that it came through.
    fn ask(&self, url: &Url, deadline: Instant) -> Result<(Response<Body>, Option<String>), FetchError> {
        let refused = |reason: String| FetchError::Refused(format!("read {}: {reason}", shown(url)));
        let tls = trusting_also(self.ca.as_ref()).map_err(|e| refused(format!("the authorities in {e}")))?;
        let tls = tls.build().map_err(|e| refused(e.to_string()))?;
        let way = Arc::default();
        let connector = Dial { dialer: self.dialer.clone(), tls, deadline, way: Arc::clone(&way) };
        let config = Config::builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_global(Some(deadline.saturating_duration_since(Instant::now())))
            .user_agent(concat!("mig-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = ureq::Agent::with_parts(config, connector, NoResolver);
        // A compressed file would have another size.
        let sent = agent.get(url.as_str()).header("Accept-Encoding", "identity").call();
        let answer = sent.map_err(|e| unreachable(url, &e))?;
        let way = way.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((answer, way.as_ref().and_then(Way::proxy)))
    }
}

impl Fetch for Fetcher {
    fn get(
        &self,
        url: &str,
        size_bytes_max: u64,
        deadline: Instant,
        to: &mut dyn Write,
    ) -> Result<Fetched, FetchError> {
        let mut url = parse(url)?;
        for _ in 0..=limits::FETCH_REDIRECTS_MAX {
            let (answer, proxy) = self.ask(&url, deadline)?;
            let refused = |reason: String| FetchError::Refused(format!("read {}: {reason}", shown(&url)));
            match answer.status().as_u16() {
                200 => {
                    let size_bytes = copy(&url, answer, size_bytes_max, to)?;
                    return Ok(Fetched { size_bytes, url: url.into(), proxy });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let location = answer.headers().get(header::LOCATION).and_then(|text| text.to_str().ok());
                    let next = location.and_then(|text| url.join(text).ok());
                    let next = next.ok_or_else(|| refused("it is redirected to no URL".into()))?;
                    if next.scheme() != "https" {
                        return Err(refused(format!("it is redirected to {}, which is not https", shown(&next))));
                    }
                    url = parse(next.as_str())?;
                }
                status @ (429 | 500..) => {
                    return Err(FetchError::Unreachable(format!("read {}: the server answers {status}", shown(&url))));
                }
                status => return Err(refused(format!("the server answers {status}"))),
            }
        }
        let max = limits::FETCH_REDIRECTS_MAX;
        Err(FetchError::Refused(format!("read {}: it was redirected more than {max} times", shown(&url))))
    }
}

fn parse(text: &str) -> Result<Url, FetchError> {
    let refused = |reason: &str| FetchError::Refused(format!("a download is from https://host/path: {reason}"));
    let url = Url::parse(text).map_err(|e| refused(&e.to_string()))?;
    if !["https", "http"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(refused(&format!("not from {}", shown(&url))));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(&format!("{} has a user or a password, which each log would have", shown(&url))));
    }
    Ok(url)
}

/// An URL without what may be secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // It fails where there can be none.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().chars().take(limits::URL_SHOWN_CHARACTERS_MAX).collect()
}

fn unreachable(url: &Url, error: &Error) -> FetchError {
    let reason = match error {
        Error::Timeout(_) => "no answer in time".to_owned(),
        Error::Io(e) => e.to_string(),
        Error::Other(e) => e.to_string(),
        e => e.to_string(),
    };
    FetchError::Unreachable(format!("read {}: {reason}", shown(url)))
}

/// Copies the body.
fn copy(url: &Url, answer: Response<Body>, size_bytes_max: u64, to: &mut dyn Write) -> Result<u64, FetchError> {
    let too_large = || FetchError::TooLarge { url: shown(url), size_bytes_max };
    if answer.body().content_length().is_some_and(|length| length > size_bytes_max) {
        return Err(too_large());
    }
    let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let mut chunk = vec![0; limits::FETCH_CHUNK_BYTES];
    let mut size_bytes = 0;
    loop {
        let count = match body.read(&mut chunk) {
            Ok(0) => return Ok(size_bytes),
            Ok(count) => count,
            Err(e) => return Err(unreachable(url, &Error::from(e))),
        };
        size_bytes += count as u64;
        if size_bytes > size_bytes_max {
            return Err(too_large());
        }
        let written = to.write_all(&chunk[..count]);
        written.map_err(|e| FetchError::Write { url: shown(url), reason: e.to_string() })?;
    }
}

/// Connects as the dialer does, with TLS if the URL wants it: a way works when the handshake does.
#[derive(Debug)]
struct Dial {
    dialer: Dialer,
    tls: TlsConnector,
    deadline: Instant,
    /// The one that was taken.
    way: Arc<Mutex<Option<Way>>>,
}

impl Connector for Dial {
    type Out = Connected;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connected>, Error> {
        let (uri, is_tls) = (details.uri, details.needs_tls());
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let target = Target { host, port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }), is_tls };
        let patience = self.deadline.saturating_duration_since(Instant::now());
        let over = |stream, _: &Way, end| self.over(stream, host, is_tls, end).map_err(Failed::<Infallible>::Way);
        match self.dialer.connect(&target, patience, self.deadline, over) {
            Ok((stream, way)) => {
                *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
                let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
                Ok(Some(Connected { stream, buffers: LazyBuffers::new(input, output) }))
            }
            Err(Failed::Way(reason)) => Err(Error::Io(io::Error::other(reason))),
            Err(Failed::Host(never)) => match never {},
        }
    }
}

impl Dial {
    /// TLS has to be there by `end`.
    fn over(&self, stream: TcpStream, host: &str, is_tls: bool, end: Instant) -> Result<Stream, String> {
        if !is_tls {
            return Ok(Stream::Plain(Bounded::new(stream, self.deadline)));
        }
        let refused = |reason: String| {
            let is_unknown = UNKNOWN_AUTHORITY.iter().any(|words| reason.contains(words));
            let cure = if is_unknown { "; certs.ca names an authority to trust" } else { "" };
            format!("TLS with {host}: {reason}{cure}")
        };
        let secured = self.tls.connect(host, Bounded::new(stream, end));
        let mut secured = secured.map_err(|e| refused(e.to_string()))?;
        secured.get_mut().set_deadline(self.deadline);
        Ok(Stream::Tls(Box::new(secured)))
    }
}

/// What OpenSSL says of a certificate whose authority is not trusted.
const UNKNOWN_AUTHORITY: [&str; 3] = ["issuer certificate", "self-signed certificate", "verify the first certificate"];

/// A connection to the host.
#[derive(Debug)]
enum Stream {
    Plain(Bounded),
    Tls(Box<TlsStream<Bounded>>),
}

/// The same, as the HTTP library uses it. Its own time limits are not needed: the deadline holds for each read and write.
#[derive(Debug)]
struct Connected {
    stream: Stream,
    buffers: LazyBuffers,
}

impl Transport for Connected {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = &self.buffers.output()[..amount];
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(output)?,
            Stream::Tls(stream) => stream.write_all(output)?,
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let input = self.buffers.input_append_buf();
        let count = match &mut self.stream {
            Stream::Plain(stream) => stream.read(input)?,
            Stream::Tls(stream) => stream.read(input)?,
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // Each request has a connection of its own.
        false
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

/// The library wants an address before it connects; the dialer finds those that are needed.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([0, 0, 0, 0], 0)));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests;
