//! What a route is: see the table in [`super::routes`].

use super::call::Call;
use super::error::ApiError;
use super::parameters::Parameter;
use axum::http::Method;
use axum::response::Response;
use futures_util::future::BoxFuture;

/// What a handler returns.
pub type Answer = Result<Response, ApiError>;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// Active investigators.
    Investigators,
    /// Active investigators, by a signed token and not by a session.
    SignedToken,
}

/// A route.
pub struct Route {
    /// GET or POST.
    pub method: Method,
    /// Below the base route, without a slash at the beginning.
    pub path: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Who may ask.
    pub access: Access,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The status of an answer, and others that it may have.
    pub statuses: &'static [u16],
    /// The handler.
    pub run: fn(Call) -> BoxFuture<'static, Answer>,
}
