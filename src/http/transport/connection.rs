//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, StatusCode};
use hyper::Version;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::auth::ClientCertificate;
use crate::ghostbay::read::Delivery;
use crate::http::metrics::Metrics;

use super::activity::Activity;
use super::body::{RequestBody, ResponseBody};
use super::client_certificate;
use super::handshake::shake_hands;
use super::send_file::SendFile;
use super::stream::WatchedStream;
use super::{Peer, Timeouts, Tls};

/// The most that is read ahead of a connection, in bytes; also the longest head of a request,
/// which is answered 431 beyond it. Frames of an upload are at most this long.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Requests that an HTTP/2 client may have open at once (RFC 9113, 5.1.2).
const STREAMS_MAX: u32 = 64;

/// The longest list of header fields in HTTP/2, in bytes as RFC 9113, 6.5.2 counts them.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Streams that a client may reset before the connection is ended, whether they were not yet
/// looked at or were reset by us for an error of the client's (the rapid reset attack).
const RESET_STREAMS_MAX: usize = 32;

/// What an HTTP/2 client may send ahead on one stream and on the whole connection, in bytes.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// The pieces of an answer that wait in memory for an HTTP/2 client, in bytes a stream.
const SEND_BYTES_MAX: usize = 128 * 1024;

/// How HTTP is spoken; made once, used by every connection.
pub(super) fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Activity` times the head: see the module's page.
        .header_read_timeout(None)
        .max_buf_size(READ_BYTES_MAX)
        // A client may end its side after the request and wait for the answer. It also means
        // that a client which hangs up does not cancel a commit half way.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX);
    builder
}

/// What all connections share.
pub(super) struct House {
    pub(super) router: Router,
    pub(super) protocol: auto::Builder<TokioExecutor>,
    pub(super) timeouts: Timeouts,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: Stop,
}

/// Tells the connections that the server stops.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// No new requests; those under way may end.
    pub(super) gently: CancellationToken,
    /// The time for that is over.
    pub(super) now: CancellationToken,
}

/// How long a handler may take, once its request's body was cut off, to put away what came.
const CUT_OFF_TIME: Duration = Duration::from_secs(2);

/// How often is looked whether all have.
const CUT_OFF_LOOK: Duration = Duration::from_millis(20);

/// Serves one connection until either side ends it or it is late, or it is asked to leave
/// while it has no request.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    activity: Arc<Activity>,
    house: Arc<House>,
    leave: CancellationToken,
) {
    let watch = |socket| WatchedStream::new(socket, activity.clone());
    let Some(tls) = &house.tls else {
        let stream = SendFile::new(watch(socket));
        let client = Client {
            peer,
            certificate: None,
            delivery: Delivery::Mapped,
        };
        return speak(stream, client, activity, &house, leave).await;
    };
    let shaken = tokio::time::timeout(
        house.timeouts.header,
        shake_hands(tls.acceptor(), socket, watch),
    );
    let shaken = tokio::select! {
        shaken = shaken => shaken,
        () = house.stop.gently.cancelled() => return,
        () = leave.cancelled() => return,
    };
    if !matches!(shaken, Ok(Ok(Some(_)))) {
        house.metrics.handshake_failed();
    }
    match shaken {
        Ok(Ok(Some(stream))) => {
            let certificate = client_certificate::shown(stream.get_ref().1);
            let client = Client {
                peer,
                certificate,
                delivery: Delivery::Copied,
            };
            speak(stream, client, activity, &house, leave).await;
        }
        Ok(Ok(None)) => tracing::debug!(%peer, "refused: HTTP in the clear"),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => tracing::debug!(%peer, "no handshake in time"),
    }
}

/// Who is at the other end.
struct Client {
    peer: SocketAddr,
    certificate: Option<Arc<ClientCertificate>>,
    /// What an answer may be made of, if it is not in frames.
    delivery: Delivery,
}

/// Speaks HTTP on a stream until its end.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Client,
    activity: Arc<Activity>,
    house: &House,
    leave: CancellationToken,
) {
    let House {
        router,
        protocol,
        timeouts,
        stop,
        ..
    } = house;
    let timeouts = *timeouts;
    let Client {
        peer,
        certificate,
        delivery,
    } = client;
    // A child, so that the bodies of one connection wait on something of their own.
    let now = stop.now.child_token();
    let service = {
        let (activity, now, router) = (activity.clone(), now.clone(), router.clone());
        service_fn(move |request: hyper::Request<Incoming>| {
            let multiplexed = request.version() == Version::HTTP_2;
            let under_way = activity.request(multiplexed);
            let (head, body) = request.into_parts();
            let (body, read) = RequestBody::new(body, timeouts.body, now.clone());
            let mut request = hyper::Request::from_parts(head, Body::new(body));
            request.extensions_mut().insert(Peer(peer));
            if !multiplexed {
                request.extensions_mut().insert(delivery);
            }
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            // A router is always ready: it needs no `poll_ready`.
            let answer = router.clone().call(request);
            async move {
                let Ok(mut response) = answer.await;
                if matches!(
                    response.status(),
                    StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
                ) {
                    // axum counts the bytes of every body, and hyper leaves the 0 in for HEAD.
                    // 204 has no length, and that of 304 is what 200 would have (RFC 9110, 8.6).
                    response.headers_mut().remove(CONTENT_LENGTH);
                }
                if !multiplexed && !read.load(Ordering::Relaxed) {
                    // hyper ends a connection over a body that nobody read. Unless it is told,
                    // the client sends its next request into that.
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, under_way)))
            }
        })
    };
    let connection = protocol.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut timer = std::pin::pin!(tokio::time::sleep_until(activity.look_again_at()));
    let (mut stopping, mut leaving) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error, "connection ended");
                }
                return;
            }
            () = timer.as_mut() => {
                if let Some(late) = activity.late() {
                    tracing::debug!(%peer, ?late, "connection timed out");
                    return;
                }
                timer.as_mut().reset(activity.look_again_at());
            }
            () = stop.gently.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = leave.cancelled(), if !leaving => {
                leaving = true;
                if activity.quiet_for().is_some() {
                    tracing::debug!(%peer, "connection closed: its place was needed");
                    return;
                }
            }
            () = now.cancelled() => break,
        }
    }
    // Uploads end in an error of their body and keep what they have; answers are cut off.
    let deadline = Instant::now() + CUT_OFF_TIME;
    while activity.is_at_work() && Instant::now() < deadline {
        if tokio::time::timeout(CUT_OFF_LOOK, connection.as_mut())
            .await
            .is_ok()
        {
            return;
        }
    }
}
