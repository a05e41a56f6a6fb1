//! Why a request is refused, as status and words for the caller. The cause of an error of the server goes to the log, and
//! only its number to the caller.

use super::answer::collection_error;
use crate::failure::Failure;
use axum::http::StatusCode;
use axum::response::Response;
use std::fmt;

/// A request that was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// 4xx, or 5xx.
    pub status: StatusCode,
    /// For the caller.
    pub message: String,
    /// For the log.
    pub cause: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl fmt::Display) -> ApiError {
        ApiError { status, message: message.to_string(), cause: None }
    }

    /// 400: the request cannot be understood.
    pub fn bad(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400: this parameter is wrong.
    pub fn parameter(name: &str, reason: impl fmt::Display) -> ApiError {
        ApiError::bad(format!("parameter '{name}': {reason}"))
    }

    /// 401: it is not known who asks.
    pub fn unauthorized(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: who asks may not do this.
    pub fn forbidden(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, message)
    }

    /// 404
    pub fn not_found(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, message)
    }

    /// 405, with what is allowed.
    pub fn method_not_allowed(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// 409
    pub fn conflict(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, message)
    }

    /// 413
    pub fn too_large(message: impl fmt::Display) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 500: a fault of ours.
    pub fn internal(cause: impl fmt::Display) -> ApiError {
        let message = "the server failed; its log says more under this number";
        ApiError { cause: Some(cause.to_string()), ..ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message) }
    }

    /// 503: what is needed is away at the moment.
    pub fn unavailable(cause: impl fmt::Display) -> ApiError {
        let message = "the server cannot answer at the moment; try again in a few seconds";
        ApiError { cause: Some(cause.to_string()), ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// The response, under the number of the request.
    pub fn response(&self, href: &str, id: u64) -> Response {
        collection_error(self.status, href, id, &self.message)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> ApiError {
        match failure {
            Failure::Retry { .. } | Failure::Skip(_) => ApiError::unavailable(failure),
            Failure::Refuse(_) | Failure::End(_) => ApiError::internal(failure),
        }
    }
}
