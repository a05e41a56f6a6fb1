//! Answers as Collection+JSON, in the shape that clients of the original read.

use super::error::ApiError;
use crate::limits;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::convert::Infallible;
use tokio::sync::mpsc;

/// A link to something related.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    /// How it is related.
    pub rel: &'static str,
    /// Where it is.
    pub href: String,
}

/// A named value of an item.
#[derive(Debug, Serialize)]
struct Datum {
    name: String,
    value: Box<RawValue>,
}

/// An item of a collection.
#[derive(Debug, Serialize)]
pub struct Item {
    href: String,
    data: Vec<Datum>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

impl Item {
    /// An item without values.
    pub fn new(href: String) -> Item {
        Item { href, data: Vec::new(), links: Vec::new() }
    }

    /// Adds a value.
    pub fn with(mut self, name: impl Into<String>, value: &impl Serialize) -> Result<Item, ApiError> {
        let value = to_raw_value(value).map_err(|e| ApiError::internal(format!("write an answer: {e}")))?;
        self.data.push(Datum { name: name.into(), value });
        Ok(self)
    }

    /// Adds a link.
    pub fn link(mut self, rel: &'static str, href: String) -> Item {
        self.links.push(Link { rel, href });
        self
    }
}

/// A collection.
#[derive(Debug, Serialize)]
pub struct Collection {
    version: &'static str,
    href: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    template: Template,
    error: Value,
}

/// What a form wants.
#[derive(Debug, Default, Serialize)]
pub struct Template {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data: Vec<Prompt>,
}

/// A field of a form.
#[derive(Debug, Serialize)]
struct Prompt {
    name: &'static str,
    prompt: &'static str,
    value: &'static str,
}

impl Template {
    /// Of these fields, each with what it is for.
    pub fn of(fields: impl Iterator<Item = (&'static str, &'static str)>) -> Template {
        Template { data: fields.map(|(name, prompt)| Prompt { name, prompt, value: "" }).collect() }
    }
}

impl Collection {
    /// A collection without items.
    pub fn new(href: String) -> Collection {
        Collection {
            version: "1.0",
            href,
            items: Vec::new(),
            links: Vec::new(),
            template: Template::default(),
            error: Value::Object(Default::default()),
        }
    }

    /// Adds an item.
    pub fn item(mut self, item: Item) -> Collection {
        self.items.push(item);
        self
    }

    /// Adds a link.
    pub fn link(mut self, rel: &'static str, href: String) -> Collection {
        self.links.push(Link { rel, href });
        self
    }

    /// Sets the template of a form.
    pub fn template(mut self, template: Template) -> Collection {
        self.template = template;
        self
    }

    /// The response.
    pub fn response(&self, status: StatusCode) -> Response {
        #[derive(Serialize)]
        struct Document<'a> {
            collection: &'a Collection,
        }
        let text = serde_json::to_vec(&Document { collection: self }).unwrap_or_default();
        json(status, Body::from(text))
    }
}

/// A response with JSON.
fn json(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A response with any JSON document.
pub fn document(value: &impl Serialize) -> Response {
    json(StatusCode::OK, Body::from(serde_json::to_vec(value).unwrap_or_default()))
}

/// The response to a request that failed.
pub fn collection_error(status: StatusCode, href: &str, id: u64, message: &str) -> Response {
    let mut collection = Collection::new(href.to_owned());
    collection.error = serde_json::json!({"code": id.to_string(), "message": message});
    collection.response(status)
}

/// Sends a collection item by item, so that no answer has to be in memory as a whole.
pub struct Stream {
    sender: mpsc::Sender<Bytes>,
    is_first: bool,
}

/// Where a streamed collection stopped: its reader is away or too slow.
#[derive(Debug)]
pub struct Stopped;

impl Stream {
    /// The response, and what its items are sent by. If the stream is dropped before [`Stream::finish`], the reader finds a
    /// document that is cut off.
    pub fn begin(href: &str) -> (Response, Stream) {
        let (sender, receiver) = mpsc::channel(limits::API_CHUNKS_AHEAD_MAX);
        let head = format!("{{\"collection\":{{\"version\":\"1.0\",\"href\":{},\"items\":[", Value::from(href));
        let state = (Some(Bytes::from(head)), receiver);
        let chunks = stream::unfold(state, |(head, mut receiver)| async move {
            let chunk = match head {
                Some(head) => head,
                None => receiver.recv().await?,
            };
            let chunk = if chunk.is_empty() { Err(std::io::Error::other("cut off")) } else { Ok(chunk) };
            Some((chunk, (None, receiver)))
        });
        (json(StatusCode::OK, Body::from_stream(chunks.fuse())), Stream { sender, is_first: true })
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Stopped> {
        match tokio::time::timeout(limits::API_WRITE_TIME_MAX, self.sender.send(bytes.into())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Stopped),
        }
    }

    /// Sends items.
    pub async fn items(&mut self, items: &[Item]) -> Result<(), Stopped> {
        let mut bytes = Vec::new();
        for item in items {
            if !std::mem::take(&mut self.is_first) {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, item).map_err(|_| Stopped)?;
        }
        if bytes.is_empty() { Ok(()) } else { self.send(bytes).await }
    }

    /// Sends the end.
    pub async fn finish(mut self, links: &[Link]) -> Result<(), Stopped> {
        let links = if links.is_empty() {
            String::new()
        } else {
            format!("\"links\":{},", serde_json::to_string(links).map_err(|_| Stopped)?)
        };
        self.send(format!("],{links}\"template\":{{}},\"error\":{{}}}}}}").into_bytes()).await
    }

    /// Cuts the document off.
    pub async fn abort(mut self) {
        let _ = self.send(Vec::new()).await;
    }
}

/// A response of server-sent events.
pub fn events(receiver: mpsc::Receiver<String>) -> Response {
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        let text = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), receiver))
    });
    let mut response = Response::new(Body::from_stream(chunks.fuse()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
