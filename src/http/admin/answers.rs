//! Answers that are longer than memory: a thread makes them piece by piece while they are sent.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::ghostbay::background;

/// The type of an answer that is a line of JSON for each thing.
const LINES: &str = "application/x-ndjson";

/// Pieces that wait to be sent. With the piece that is made and the one that is sent, an answer
/// holds so many and two more.
const PIECES_WAITING_MAX: usize = 4;

/// Where the pieces of an answer go. For a thread that may block.
pub struct Pieces {
    sender: mpsc::Sender<anyhow::Result<Bytes>>,
    runtime: Handle,
}

/// Whoever asked has gone, or the server stops: nothing more is to be made.
#[derive(Debug, thiserror::Error)]
#[error("nobody waits for the answer any more")]
pub struct Gone;

impl Pieces {
    /// Sends a piece, and waits while the receiver is behind.
    pub fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| Gone)
    }

    /// As [`Pieces::send`], but a receiver that takes nothing for `patience` counts as gone: for
    /// answers that hold something while they are made.
    pub fn send_within(&self, piece: impl Into<Bytes>, patience: Duration) -> Result<(), Gone> {
        let sent = self.sender.send_timeout(Ok(piece.into()), patience);
        self.runtime.block_on(sent).map_err(|_| Gone)
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }
}

/// An answer of that type, which `make` gives piece by piece on a thread of its own. An error
/// breaks the connection, so that half an answer is never taken for a whole one.
pub fn answer_in_pieces(
    content_type: &'static str,
    make: impl FnOnce(&Pieces) -> anyhow::Result<()> + Send + 'static,
) -> Response<Body> {
    let (sender, mut pieces) = mpsc::channel(PIECES_WAITING_MAX);
    let failed = sender.clone();
    let runtime = Handle::current();
    let began = background::spawn("answer", move || {
        let pieces = Pieces { sender, runtime };
        if let Err(error) = make(&pieces)
            && !pieces.is_gone()
        {
            tracing::error!("an answer in pieces broke off: {error:#}");
            let _ = pieces.sender.blocking_send(Err(error));
        }
    });
    if let Err(error) = began {
        // The channel is empty: there is room.
        let _ = failed.try_send(Err(error.into()));
    }
    drop(failed);
    let body = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
    let mut response = Response::new(Body::from_stream(body));
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer that is a line of JSON for each thing that `make` tells. What it tells with is false once
/// nobody takes any more.
pub fn answer_in_lines<T: Serialize>(
    make: impl FnOnce(&mut dyn FnMut(T) -> bool) -> anyhow::Result<()> + Send + 'static,
) -> Response<Body> {
    answer_in_pieces(LINES, move |pieces| {
        make(&mut |told| {
            let Ok(mut line) = serde_json::to_vec(&told) else {
                return false;
            };
            line.push(b'\n');
            pieces.send(line).is_ok()
        })
    })
}
