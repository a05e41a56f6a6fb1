//! Requests to the REST API: addresses, authentication, and what went wrong in one sentence with the request's id.

use super::collection::Collection;
use super::migrc::Migrc;
use super::session::{Credential, Sessions};
use super::signing::SigningKey;
use crate::client::printable;
use crate::config::read_bounded;
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No connection, or it was lost.
    #[error("{0}")]
    Unreachable(String),
    /// 401, and a new signature does not help.
    #[error("{0}")]
    Unauthorized(String),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// Another 4xx.
    #[error("{0}")]
    Refused(String),
    /// 5xx, or an answer that no API returns.
    #[error("{0}")]
    Server(String),
    /// The answer exceeds what the client reads at once.
    #[error("{0}")]
    TooLarge(String),
    /// The key cannot sign a token.
    #[error("{0}")]
    Key(ProgramError),
}

impl From<ApiError> for ProgramError {
    fn from(error: ApiError) -> ProgramError {
        let class = match &error {
            ApiError::Unreachable(_) => ExitClass::TemporaryFailure,
            ApiError::Unauthorized(_) => ExitClass::NoPermission,
            ApiError::NotFound(_) | ApiError::Refused(_) | ApiError::TooLarge(_) => ExitClass::Data,
            ApiError::Server(_) => ExitClass::Unavailable,
            ApiError::Key(error) => return error.clone(),
        };
        ProgramError::new(class, error)
    }
}

/// What a request sends.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// Nothing: GET.
    None,
    /// POST of form fields.
    Form(&'a [(&'a str, &'a str)]),
    /// POST of a text field and a file.
    File {
        /// The field's name and value.
        name: (&'a str, &'a str),
        /// The file's name and content.
        file: (&'a str, &'a [u8]),
    },
}

/// The API of a migrc, and the credential for it. Clones share both.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    base: String,
    agent: Agent,
    sessions: Sessions,
}

/// An answer with its status.
pub struct Answer {
    /// 2xx.
    pub status: u16,
    /// Collection+JSON.
    pub body: Vec<u8>,
}

impl Api {
    /// The API of this migrc. The key is used when a session is needed and none is kept.
    pub fn open(migrc: &Migrc, key: Option<SigningKey>) -> Result<Api, ProgramError> {
        let missing = || migrc.error("api.url: is missing; it is where the API is, such as https://mig.example.net");
        let base = migrc.api_url.clone().ok_or_else(missing)?;
        if let Some(exposure) = migrc.exposure() {
            eprintln!("mig: {}: {exposure}", migrc.file.display());
        }
        let agent = agent(migrc)?;
        let sessions = Sessions::new(&base, key);
        Ok(Api(Arc::new(Shared { base, agent, sessions })))
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.0.base
    }

    /// Reads `path`, with these parameters.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<u8>, ApiError> {
        let path = with_parameters(path, parameters);
        Ok(self.answer(&path, Content::None)?.body)
    }

    /// Posts form fields.
    pub fn post(&self, path: &str, content: Content) -> Result<Answer, ApiError> {
        self.answer(path, content)
    }

    /// Opens a stream of events.
    pub fn stream(&self, path: &str, last_id: Option<&str>) -> Result<Box<dyn Read + Send>, ApiError> {
        let mut headers = vec![("Accept", "text/event-stream"), ("Accept-Encoding", "identity")];
        headers.extend(last_id.map(|id| ("Last-Event-ID", id)));
        let (response, _) = self.request(path, Content::None, &headers)?;
        let is_stream = response.body().mime_type() == Some("text/event-stream");
        if response.status() != 200 || !is_stream {
            let status = response.status().as_u16();
            let body = self.read(path, response)?;
            return Err(self.error(path, if status == 200 { 404 } else { status }, &body));
        }
        let limits = response.into_body().into_with_config().limit(u64::MAX);
        Ok(Box::new(limits.reader()))
    }

    /// Posts a session's request without a session: with a signed token.
    pub(super) fn post_signed(&self, path: &str, token: &str) -> Result<(u16, Vec<u8>), ApiError> {
        let response = self.send(path, Content::Form(&[]), &[("X-PGPAUTHORIZATION", token)])?;
        let status = response.status().as_u16();
        Ok((status, self.read(path, response)?))
    }

    fn answer(&self, path: &str, content: Content) -> Result<Answer, ApiError> {
        let (response, _) = self.request(path, content, &[])?;
        let status = response.status().as_u16();
        let body = self.read(path, response)?;
        if (200..300).contains(&status) { Ok(Answer { status, body }) } else { Err(self.error(path, status, &body)) }
    }

    /// Sends a request with the credential; a second time with a new one if the first is not accepted.
    fn request(
        &self,
        path: &str,
        content: Content,
        headers: &[(&str, &str)],
    ) -> Result<(Response<Body>, Credential), ApiError> {
        let mut credential = self.0.sessions.credential(self, false)?;
        loop {
            let header = credential.header();
            let mut all = headers.to_vec();
            all.extend(header.as_ref().map(|(name, value)| (*name, value.as_str())));
            let response = self.send(path, content, &all)?;
            if response.status() != 401 || credential.is_new() {
                return Ok((response, credential));
            }
            credential = match self.0.sessions.credential(self, true)? {
                // There is no key: the API says what it needs one for.
                Credential::None => return Ok((response, Credential::None)),
                new => new,
            };
        }
    }

    fn send(&self, path: &str, content: Content, headers: &[(&str, &str)]) -> Result<Response<Body>, ApiError> {
        let url = format!("{}/{path}", self.0.base);
        let agent = &self.0.agent;
        let sent = match content {
            Content::None => with_headers(agent.get(&url), headers).call(),
            Content::Form(fields) => with_headers(agent.post(&url), headers).send_form(fields.iter().copied()),
            Content::File { name, file } => {
                let boundary = format!("mig{:016x}{:016x}", super::session::random(), super::session::random());
                let body = multipart(&boundary, name, file);
                let kind = format!("multipart/form-data; boundary={boundary}");
                with_headers(agent.post(&url), headers).header("Content-Type", kind).send(body.as_slice())
            }
        };
        sent.map_err(|e| ApiError::Unreachable(format!("{} of {}: {}", verb(content), self.what(path), explain(&e))))
    }

    fn read(&self, path: &str, response: Response<Body>) -> Result<Vec<u8>, ApiError> {
        let read = response.into_body().into_with_config().limit(limits::CLIENT_PAGE_BYTES_MAX).read_to_vec();
        read.map_err(|e| match e {
            ureq::Error::BodyExceedsLimit(limit) => {
                ApiError::TooLarge(format!("{}: the answer has more than {limit} bytes", self.what(path)))
            }
            e => ApiError::Unreachable(format!("read {}: {}", self.what(path), explain(&e))),
        })
    }

    /// An answer with an error status, in one sentence.
    pub(super) fn error(&self, path: &str, status: u16, body: &[u8]) -> ApiError {
        let said = Collection::parse(body).ok().and_then(|collection| collection.error);
        let reason = match (said, status) {
            (Some((id, message)), _) if id.is_empty() => printable(&message),
            (Some((id, message)), _) => format!("{} (request {})", printable(&message), printable(&id)),
            (None, 401) => "it wants to know who asks".to_owned(),
            (None, 404) => "there is no such page: is api.url the API's address?".to_owned(),
            (None, _) => format!("status {status} without a reason"),
        };
        let text = format!("{}: {reason}", self.what(path));
        match status {
            401 | 403 => ApiError::Unauthorized(format!("{text}; {}", self.0.sessions.cure())),
            404 => ApiError::NotFound(text),
            400..500 => ApiError::Refused(text),
            _ => ApiError::Server(text),
        }
    }

    /// The error for an answer that cannot be read.
    pub fn unreadable(&self, path: &str, error: impl std::fmt::Display) -> ApiError {
        ApiError::Server(format!("{}: the answer is none of a MIG API: {error}", self.what(path)))
    }

    fn what(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
        format!("{path} of {}", self.0.base)
    }
}

fn verb(content: Content) -> &'static str {
    if matches!(content, Content::None) { "read" } else { "post" }
}

fn with_headers<B>(request: ureq::RequestBuilder<B>, headers: &[(&str, &str)]) -> ureq::RequestBuilder<B> {
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

/// `path?name=value&…`.
pub fn with_parameters(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn multipart(boundary: &str, (name, value): (&str, &str), (file, content): (&str, &[u8])) -> Vec<u8> {
    let disposition = "Content-Disposition: form-data";
    let mut body = format!(
        "--{boundary}\r\n{disposition}; name=\"{name}\"\r\n\r\n{value}\r\n\
        --{boundary}\r\n{disposition}; name=\"{file}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}

/// The HTTP client: the system's authorities or those of the migrc, no redirects, because a credential is sent along.
fn agent(migrc: &Migrc) -> Result<Agent, ProgramError> {
    let roots = match &migrc.authorities {
        None => RootCerts::PlatformVerifier,
        Some(file) => {
            let error = |reason: String| migrc.error(&format!("api.cacert: {}: {reason}", file.display()));
            let bytes = read_bounded(file, limits::CONFIGURATION_SIZE_BYTES_MAX).map_err(|e| error(e.reason))?;
            let certificates = parse_pem(&bytes).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            let certificates: Vec<_> = certificates.collect();
            if certificates.is_empty() {
                return Err(error("has no certificate".into()).into());
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots);
    let config = Agent::config_builder()
        .tls_config(tls.disable_verification(migrc.skip_verify_certificate).build())
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("mig/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(limits::CLIENT_CONNECT_TIME_MAX))
        .timeout_await_100(Some(Duration::ZERO))
        .timeout_recv_response(Some(limits::CLIENT_SILENCE_MAX))
        .timeout_per_read(Some(limits::CLIENT_SILENCE_MAX));
    Ok(config.build().new_agent())
}

/// What went wrong with a connection, and what to do about it.
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "no address is known for this host".to_owned(),
        ureq::Error::Io(e) => e.to_string(),
        ureq::Error::NativeTls(e) => format!("TLS: {e}; api.cacert in the migrc names the authority to trust"),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        e => e.to_string(),
    }
}
