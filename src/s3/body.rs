//! Bodies between `s3s` and the store.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use s3s::StdError;
use s3s::dto::StreamingBlob;
use s3s::stream::RemainingLength;

use crate::ghostbay::engine::ByteStream;

/// A body that the store gives, as `s3s` takes it.
struct Outgoing {
    /// `s3s` wants what can be looked at from several threads, and never does.
    inner: Mutex<ByteStream<'static>>,
    left: u64,
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let inner = this.inner.get_mut();
        let inner = inner.unwrap_or_else(PoisonError::into_inner);
        let next = std::task::ready!(inner.as_mut().poll_next(cx));
        if let Some(Ok(bytes)) = &next {
            this.left = this.left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(next.map(|bytes| bytes.map_err(Into::into)))
    }
}

impl s3s::stream::ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.left as usize)
    }
}

/// A body of `length` bytes that the store gives.
pub fn outgoing(body: ByteStream<'static>, length: u64) -> StreamingBlob {
    StreamingBlob::new(Outgoing {
        inner: Mutex::new(body),
        left: length,
    })
}
