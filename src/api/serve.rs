//! Connections: accepted, encrypted where that is configured, bounded in number and time, and drained at the end.

use super::authenticate;
use super::call::{Api, Call, parameters};
use super::error::ApiError;
use super::route::{Access, Route};
use crate::config::{api::ApiConfig, read_bounded};
use crate::error::{ExitClass, ProgramError};
use crate::limits;
use crate::time;
use crate::wake::{Sleeper, Stop};
use crate::worker::watchdog::{self, Pulse};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use axum::routing::any;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use native_tls::{Identity, Protocol};
use rustix::net::sockopt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_native_tls::TlsAcceptor;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

/// The number of a request, which the caller hears and the log has.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Numbers of requests: they rise, also over a restart.
fn next_request() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = time::now().as_microsecond() as u64;
    let next = |last: u64| Some(now.max(last + 1));
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(now, |last| now.max(last + 1))
}

/// What proxies say of a request that they pass on.
const FORWARDED: [&str; 4] = ["x-forwarded-for", "forwarded", "via", "x-real-ip"];

/// From where a request comes: the address of the connection, or what trusted proxies say; and whether it was made on this
/// machine. Behind a proxy that is not trusted, nothing is known to be.
fn origin(config: &ApiConfig, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, bool) {
    let is_trusted = |address: &IpAddr| config.trusted_proxies.iter().any(|proxy| proxy.contains(*address));
    let said = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    // The nearest proxy speaks last. What stands before the first that is not trusted may be invented.
    let said: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer.to_canonical();
    let is_passed_on = FORWARDED.iter().any(|name| headers.contains_key(*name));
    if !is_trusted(&address) {
        return (address, address.is_loopback() && !is_passed_on);
    }
    for before in said.into_iter().rev() {
        // Some proxies add the port; what is no address at all hides who asks.
        let Some(known) = before.parse().ok().or_else(|| before.parse().ok().map(|socket: SocketAddr| socket.ip()))
        else {
            return (IpAddr::from([0, 0, 0, 0]), false);
        };
        address = IpAddr::to_canonical(&known);
        if !is_trusted(&address) {
            break;
        }
    }
    (address, address.is_loopback())
}

/// Refuses what a page of another site has a browser send.
fn check_site(config: &ApiConfig, request: &Request) -> Result<(), ApiError> {
    let origin = request.headers().get(header::ORIGIN);
    if origin.is_none_or(|origin| origin.as_bytes() == config.host.as_bytes()) || *request.method() != Method::POST {
        return Ok(());
    }
    Err(ApiError::forbidden("header Origin: names another site; a page may not use this API in the name of its reader"))
}

/// The public URL of a request.
fn href(config: &ApiConfig, request: &Request) -> String {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    format!("{}{path}", config.host)
}

/// Answers a request to one of these routes, which have one path.
async fn answer(api: Arc<Api>, routes: Vec<&'static Route>, request: Request) -> Response {
    let (id, started) = (next_request(), Instant::now());
    let href = href(&api.config, &request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<SocketAddr>().map_or(IpAddr::from([0, 0, 0, 0]), SocketAddr::ip);
    let origin = origin(&api.config, peer, request.headers());
    let address = origin.0;
    let outcome = handle(api, &routes, request, origin, href.clone()).await;
    let mut response = outcome.unwrap_or_else(|error| {
        if let Some(cause) = &error.cause {
            log::error!("request {id}: {method} {path}: {cause}");
        }
        error.response(&href, id)
    });
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from(id));
    let status = response.status().as_u16();
    log::debug!("request {id}: {method} {path} from {address}: {status} in {:.1?}", started.elapsed());
    response
}

async fn handle(
    api: Arc<Api>,
    routes: &[&'static Route],
    request: Request,
    (address, is_local): (IpAddr, bool),
    href: String,
) -> Result<Response, ApiError> {
    check_site(&api.config, &request)?;
    let Some(route) = routes.iter().find(|route| route.method == *request.method()) else {
        if routes.is_empty() {
            return Err(ApiError::not_found("there is nothing here; GET the base route for what there is"));
        }
        let methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
        return Err(ApiError::method_not_allowed(format!("the method is none of {}", methods.join(", "))));
    };
    let config = &api.config.authentication;
    let caller = match route.access {
        Access::Investigators | Access::SignedToken if config.is_enabled => {
            let caller = authenticate::caller(&api, request.headers(), is_local).await?;
            if route.access == Access::SignedToken && caller.session.is_some() {
                return Err(ApiError::unauthorized("a session does not buy another one; sign a token"));
            }
            Some(caller)
        }
        _ => None,
    };
    let (values, headers) = parameters(route.parameters, request).await?;
    (route.run)(Call { api, values, caller, address, is_local, headers, href }).await
}

fn router(api: &Arc<Api>) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&str> = api.routes.iter().map(|route| route.path).collect();
    paths.dedup();
    for path in paths {
        let routes: Vec<&'static Route> = api.routes.iter().filter(|route| route.path == path).collect();
        let full = format!("{}/{path}", api.config.base_route);
        let mut spellings = vec![full.clone()];
        match full.strip_suffix('/') {
            Some(bare) if !bare.is_empty() => spellings.push(bare.to_owned()),
            // Agents of the original ask for //ip when the configured address ends in a slash.
            _ if path == "ip" => spellings.push(format!("{}//{path}", api.config.base_route)),
            _ => {}
        }
        for spelling in spellings {
            let (api, routes) = (Arc::clone(api), routes.clone());
            router = router.route(&spelling, any(move |request| answer(api, routes, request)));
        }
    }
    let api = Arc::clone(api);
    router
        .fallback(move |request| answer(api, Vec::new(), request))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
}

fn acceptor(config: &ApiConfig) -> Result<Option<TlsAcceptor>, ProgramError> {
    let Some((certificate, key)) = &config.tls else { return Ok(None) };
    let wrong = |what: &str, reason: String| ProgramError::new(ExitClass::Config, format!("server.{what}: {reason}"));
    let read = |what: &str, path: &std::path::Path| {
        read_bounded(path, limits::CONFIGURATION_SIZE_BYTES_MAX)
            .map_err(|e| wrong(what, format!("read {}: {e}", path.display())))
    };
    let (certificate, key) = (read("tlscert", certificate)?, read("tlskey", key)?);
    let identity = Identity::from_pkcs8(&certificate, &key)
        .map_err(|e| wrong("tlskey", format!("it and tlscert are no PEM key (PKCS #8) with its certificate: {e}")))?;
    let acceptor = native_tls::TlsAcceptor::builder(identity).min_protocol_version(Some(Protocol::Tlsv12)).build();
    Ok(Some(acceptor.map_err(|e| wrong("tlscert", e.to_string()))?.into()))
}

/// Serves one connection.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    graceful: hyper_util::server::graceful::Watcher,
) {
    let service = router.layer(axum::Extension(peer));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::API_HEADER_TIME_MAX);
    let builder = builder.http1_only();
    let served = match tls {
        None => {
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            graceful.watch(connection).await
        }
        Some(tls) => match timeout(limits::API_HEADER_TIME_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                graceful.watch(connection).await
            }
            Ok(Err(error)) => return log::debug!("TLS with {peer}: {error}"),
            Err(_) => return log::debug!("TLS with {peer}: no handshake in time"),
        },
    };
    if let Err(error) = served {
        log::debug!("connection of {peer}: {error}");
    }
}

/// Accepts connections until `stop`.
async fn accept(listener: TcpListener, api: Arc<Api>, tls: Option<TlsAcceptor>, mut stop: oneshot::Receiver<()>) {
    let (router, graceful) = (router(&api), GracefulShutdown::new());
    let places = Arc::new(Semaphore::new(limits::API_CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = match futures_util::future::select(std::pin::pin!(accepted), &mut stop).await {
            futures_util::future::Either::Left((accepted, _)) => accepted,
            futures_util::future::Either::Right(_) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                // A reader that takes nothing does not keep its place.
                let _ = sockopt::set_tcp_user_timeout(&stream, limits::API_WRITE_TIME_MAX.as_millis() as u32);
                let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, peer, tls, router, watcher).await;
                });
            }
            Err(error) => {
                log::warn!("accept a connection: {error}");
                tokio::time::sleep(limits::RETRY_PAUSE_MIN).await;
            }
        }
    }
    drop(listener);
    api.followers.close();
    if timeout(limits::API_DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        log::warn!("requests that are not answered {:?} after the signal end now", limits::API_DRAIN_TIME_MAX);
    }
}

/// Shows the watchdog that requests are answered: what runs them has a thread for the store.
async fn feel_pulse(api: Arc<Api>, pulse: Pulse) {
    loop {
        pulse.work();
        let _ = api.stores.quick(|_| Ok(())).await;
        pulse.rest();
        tokio::time::sleep(limits::API_STORE_WAIT_MAX).await;
    }
}

/// The answer to a request whose handler failed in a way that must not happen.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::internal("a handler panicked").response("", next_request())
}

/// Serves until the program is asked to end.
pub fn serve(api: Api, stop: &Stop) -> Result<(), ProgramError> {
    let failed = |what: String| ProgramError::new(ExitClass::Io, what);
    let tls = acceptor(&api.config)?;
    // The store's connections are closed by a thread that may wait: the last to hold it.
    let api = Arc::new(api);
    let address = api.config.address;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2 * limits::API_STORES_MAX)
        .enable_all()
        .build()
        .map_err(|e| failed(format!("start the server: {e}")))?;
    let listener = runtime.block_on(TcpListener::bind(address)).map_err(|e| {
        ProgramError::new(ExitClass::TemporaryFailure, format!("server.ip and server.port: listen on {address}: {e}"))
    })?;
    let (sender, receiver) = oneshot::channel();
    let sleeper = Sleeper::new();
    stop.also_wake(sleeper.waker());
    let asked = stop.clone();
    std::thread::spawn(move || {
        while !asked.is_asked() {
            sleeper.sleep(None);
        }
        let _ = sender.send(());
    });
    let pulse = Pulse::default();
    runtime.spawn(feel_pulse(Arc::clone(&api), pulse.clone()));
    let notified = watchdog::start(vec![("requests", pulse)], stop);
    let scheme = if tls.is_some() { "https" } else { "http" };
    log::info!("listens on {scheme}://{address}{}/", api.config.base_route);
    runtime.block_on(accept(listener, Arc::clone(&api), tls, receiver));
    runtime.shutdown_timeout(limits::LAST_WORDS_TIME_MAX);
    let _ = notified.join();
    Ok(())
}
