//! A request on its way to its handler: who asks, for what, with which parameters.

use super::authenticate::{Caller, Investigators};
use super::error::ApiError;
use super::follow::Followers;
use super::parameters::{Parameter, Values};
use super::route::Route;
use super::stores::{ApiStore, Stores};
use crate::config::api::ApiConfig;
use crate::limits;
use crate::store::accounts::InvestigatorStatus;
use crate::time;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use futures_util::StreamExt;
use multer::{Constraints, Multipart, SizeLimit};
use std::net::IpAddr;
use std::sync::Arc;
use url::form_urlencoded;

/// What all requests share.
pub struct Api {
    /// The configuration.
    pub config: ApiConfig,
    /// The store.
    pub stores: Stores,
    /// Whose signatures count.
    pub investigators: Arc<Investigators>,
    /// What it answers to.
    pub routes: &'static [Route],
    /// Actions that somebody follows.
    pub followers: Arc<Followers>,
}

impl Api {
    /// The public URL of a path below the base route.
    pub fn href(&self, path: &str) -> String {
        format!("{}{}/{path}", self.config.host, self.config.base_route)
    }
}

/// See the module docs.
pub struct Call {
    /// What all requests share.
    pub api: Arc<Api>,
    /// The parameters.
    pub values: Values,
    /// Who asks; None where that need not be known.
    pub caller: Option<Caller>,
    /// From where.
    pub address: IpAddr,
    /// Whether the request was made on this machine, and came through no proxy.
    pub is_local: bool,
    /// The headers.
    pub headers: HeaderMap,
    /// The public URL of the request.
    pub href: String,
}

impl Call {
    /// Whether who asked may still read: a long answer ends when the investigator was disabled, or the session has ended.
    pub async fn is_welcome(&self) -> Result<bool, ApiError> {
        let Some(Caller { id, session }) = self.caller.clone() else { return Ok(true) };
        let still = move |store: &mut dyn ApiStore| {
            Ok(match session {
                Some(session) => store.find_session(&session, time::now())? == Some(id),
                None => store.investigator(id)?.is_some_and(|one| one.status == InvestigatorStatus::Active),
            })
        };
        self.api.stores.quick(still).await
    }

    /// Runs `work` with a store.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn ApiStore) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.api.stores.with(work).await
    }
}

/// Takes the parameters of a request: those of a form from its body, others from the query.
pub async fn parameters(table: &'static [Parameter], request: Request) -> Result<(Values, HeaderMap), ApiError> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        let query = parts.uri.query().unwrap_or_default();
        let pairs =
            form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()));
        return Ok((Values::parse(table, pairs)?, parts.headers));
    }
    let form = tokio::time::timeout(limits::API_BODY_TIME_MAX, form(&parts.headers, body));
    let limit = limits::API_BODY_TIME_MAX.as_secs();
    let pairs = form.await.map_err(|_| ApiError::bad(format!("the body did not arrive within {limit} s")))??;
    Ok((Values::parse(table, pairs.into_iter())?, parts.headers))
}

async fn form(headers: &HeaderMap, body: Body) -> Result<Vec<(String, String)>, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(boundary) = multer::parse_boundary(content_type) {
        return multipart(body, boundary).await;
    }
    let bytes = bytes(body).await?;
    if !bytes.is_empty() && !content_type.starts_with("application/x-www-form-urlencoded") {
        let expected = "application/x-www-form-urlencoded or multipart/form-data";
        return Err(ApiError::bad(format!("header Content-Type: is not {expected}")));
    }
    let pairs = form_urlencoded::parse(&bytes);
    Ok(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
}

fn too_large() -> ApiError {
    ApiError::too_large(format!("the body has more than {} bytes", limits::API_BODY_BYTES_MAX))
}

/// Reads a body. Of one that is too large, some more is read and discarded: a client that is still sending would otherwise
/// find a closed connection instead of the answer.
async fn bytes(body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut chunks, mut bytes, mut size_bytes) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad("the body cannot be read to its end"))?;
        size_bytes += chunk.len();
        if size_bytes <= limits::API_BODY_BYTES_MAX {
            bytes.extend_from_slice(&chunk);
        } else if size_bytes > limits::API_BODY_DISCARDED_BYTES_MAX {
            break;
        }
    }
    if size_bytes > limits::API_BODY_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

async fn multipart(body: Body, boundary: String) -> Result<Vec<(String, String)>, ApiError> {
    let limit = SizeLimit::new().whole_stream(limits::API_BODY_BYTES_MAX as u64);
    let stream = body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    let mut parts = Multipart::with_constraints(stream, boundary, Constraints::new().size_limit(limit));
    let failed = |e: multer::Error| match e {
        multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. } => too_large(),
        e => ApiError::bad(format!("the body is not multipart/form-data: {e}")),
    };
    let mut pairs = Vec::new();
    while let Some(field) = parts.next_field().await.map_err(failed)? {
        if pairs.len() == limits::API_FORM_FIELDS_MAX {
            return Err(ApiError::bad(format!("the body has more than {} fields", limits::API_FORM_FIELDS_MAX)));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(failed)?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| ApiError::parameter(&name, "is not UTF-8"))?;
        pairs.push((name, text));
    }
    Ok(pairs)
}
