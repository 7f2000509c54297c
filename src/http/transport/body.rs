//! Bodies with a limit on how long they may stand still.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::activity::Request;

/// Why a request's body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The client sent nothing for too long.
    #[error("no byte of the request body arrived within {} s", limit.as_secs_f64())]
    Stalled {
        /// How long was waited.
        limit: Duration,
    },
    /// The server stops and waits no longer.
    #[error("the server stopped before the request body ended")]
    Stopped,
    /// The connection broke, or what came was not HTTP.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
}

/// The body of a request. It ends with an error when the client sends no byte within a limit,
/// and when the server stops: whoever reads it can then keep what came before.
///
/// Time counts only while somebody waits for the client: a store that takes long to write is
/// no fault of the sender's.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    limit: Duration,
    stop: CancellationToken,
    read: Arc<AtomicBool>,
    /// What ends a wait for the client; made at the first one.
    wait: Option<Wait>,
    waiting: bool,
}

#[derive(Debug)]
struct Wait {
    timer: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl RequestBody {
    /// A body, and whether it was read to its end, which is true of one that is empty.
    pub(super) fn new(
        inner: Incoming,
        limit: Duration,
        stop: CancellationToken,
    ) -> (Self, Arc<AtomicBool>) {
        let read = Arc::new(AtomicBool::new(inner.is_end_stream()));
        let body = RequestBody {
            inner,
            limit,
            stop,
            read: read.clone(),
            wait: None,
            waiting: false,
        };
        (body, read)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            // An empty frame is not progress: a client could send them for ever.
            let progress =
                !matches!(&frame, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty));
            this.waiting &= !progress;
            if frame.is_none() || this.inner.is_end_stream() {
                this.read.store(true, Ordering::Relaxed);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::Broken)));
        }
        let deadline = Instant::now() + this.limit;
        let wait = this.wait.get_or_insert_with(|| Wait {
            timer: Box::pin(tokio::time::sleep_until(deadline)),
            stopped: Box::pin(this.stop.clone().cancelled_owned()),
        });
        if !this.waiting {
            this.waiting = true;
            wait.timer.as_mut().reset(deadline);
        }
        if wait.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(RequestBodyError::Stopped)));
        }
        ready!(wait.timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(RequestBodyError::Stalled { limit: this.limit })))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The largest piece of an answer that an HTTP/2 connection takes at once, in bytes: the
/// smaller it is, the slower a client may be and still show progress.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The body of an answer, which keeps its request under way until it ends.
#[derive(Debug)]
pub(super) struct ResponseBody<B> {
    inner: B,
    request: Option<Request>,
    multiplexed: bool,
    rest: Bytes,
}

impl<B> ResponseBody<B> {
    pub(super) fn new(inner: B, mut request: Request) -> Self {
        request.answer();
        ResponseBody {
            inner,
            multiplexed: request.is_multiplexed(),
            request: Some(request),
            rest: Bytes::new(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.multiplexed
            && let Some(request) = &this.request
        {
            request.piece();
        }
        if this.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.inner).poll_frame(cx)?) else {
                this.request = None;
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) if this.multiplexed && data.len() > PIECE_BYTES_MAX => this.rest = data,
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Only asked for before the first piece, when `rest` is empty.
        self.inner.size_hint()
    }
}
