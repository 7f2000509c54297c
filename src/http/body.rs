//! Bodies between the wire and the registry: streamed one way and the other, gathered only
//! where a limit stands.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::ghostbay::engine::ByteStream;
use crate::oci::ErrorCode;

use super::error::ApiError;
use super::transport::RequestBodyError;

/// The `Content-Length` of a request, if it has one. hyper has refused what is no number, and
/// several that differ.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body of a request as the store takes it, and what it came to.
pub fn stream(body: Body) -> (ByteStream<'static>, Fate) {
    let fate = Fate::default();
    let told = fate.clone();
    let stream = body.into_data_stream().map_err(move |error| {
        told.ended(&error);
        anyhow::Error::from_boxed(error.into_inner())
    });
    (Box::pin(stream), fate)
}

/// Whether a body stood still for too long. The layers between pass errors on in their own
/// words, from which that could not be told any more.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<OnceLock<String>>);

impl Fate {
    /// How the body stalled, if it did.
    pub fn stalled(&self) -> Option<String> {
        self.0.get().cloned()
    }

    fn ended(&self, error: &(dyn Error + 'static)) {
        let stalled = std::iter::successors(Some(error), |&error| error.source())
            .filter_map(|error| error.downcast_ref::<RequestBodyError>())
            .find(|error| matches!(error, RequestBodyError::Stalled { .. }));
        if let Some(stalled) = stalled {
            self.0.get_or_init(|| stalled.to_string());
        }
    }
}

/// Room that a gathered body is given before any of it has come, in bytes.
const GATHER_BYTES_FIRST: usize = 64 * 1024;

/// The whole body of a request, if it has at most `bytes_max` bytes; 413 at the first byte
/// beyond, whether or not the request said how long it would be.
pub async fn gather(
    headers: &HeaderMap,
    body: Body,
    what: &str,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::too_large(ErrorCode::SizeInvalid, what, bytes_max);
    let announced = content_length(headers).unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    // Room for what comes, not for what was only announced.
    let mut gathered = BytesMut::with_capacity((announced as usize).min(GATHER_BYTES_FIRST));
    let (mut frames, fate) = stream(body);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| {
            ApiError::body_broken(format!("{what} broke off")).with_stall(fate.stalled())
        })?;
        if gathered.len() + frame.len() > bytes_max {
            return Err(too_large());
        }
        gathered.extend_from_slice(&frame);
    }
    Ok(gathered.freeze())
}

/// A body of a length that is known before its bytes are: the content of a blob.
///
/// A stream that gives more or less than it should ends in an error, which makes hyper break
/// the connection, so that no client takes a part for the whole.
pub struct SizedBody {
    stream: ByteStream<'static>,
    remaining: u64,
}

impl SizedBody {
    /// A body of `length` bytes.
    pub fn new(stream: ByteStream<'static>, length: u64) -> Self {
        SizedBody {
            stream,
            remaining: length,
        }
    }
}

impl HttpBody for SizedBody {
    type Data = Bytes;
    type Error = anyhow::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<anyhow::Result<Frame<Bytes>>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let bytes = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                let error = anyhow::anyhow!("the blob ended {} bytes too early", self.remaining);
                return Poll::Ready(Some(Err(error)));
            }
        };
        match self.remaining.checked_sub(bytes.len() as u64) {
            Some(remaining) => self.remaining = remaining,
            None => return Poll::Ready(Some(Err(anyhow::anyhow!("the blob is too long")))),
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn body(pieces: &[&'static str], length: u64) -> SizedBody {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
        SizedBody::new(Box::pin(futures::stream::iter(pieces)), length)
    }

    #[tokio::test]
    async fn a_sized_body_is_whole_or_an_error() {
        let whole = body(&["ab", "c"], 3).collect().await.unwrap().to_bytes();
        assert_eq!(whole, "abc");
        assert_eq!(body(&[], 0).collect().await.unwrap().to_bytes(), "");
        assert!(body(&["ab"], 3).collect().await.is_err());
        assert!(body(&["ab", "cd"], 3).collect().await.is_err());
    }

    #[tokio::test]
    async fn a_body_is_gathered_up_to_its_limit() {
        let gathered = async |pieces: &'static [&'static str]| {
            let stream = futures::stream::iter(pieces.iter().map(|piece| anyhow::Ok(*piece)));
            gather(&HeaderMap::new(), Body::from_stream(stream), "it", 4).await
        };
        assert_eq!(gathered(&["ab", "cd"]).await.unwrap(), "abcd");
        assert!(gathered(&["ab", "cde"]).await.is_err());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 5.into());
        let unread = Body::from_stream(futures::stream::pending::<anyhow::Result<Bytes>>());
        assert!(gather(&headers, unread, "it", 4).await.is_err());
    }
}
