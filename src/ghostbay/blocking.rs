//! Work that waits for the disk, off the threads that serve connections.

use std::future::Future;
use std::sync::Arc;

use super::error::StorageError;

/// Begins `work` on a thread that may block, now; the future gives its result. A panic in it is
/// a [`StorageError::Write`]: one request fails, the server goes on.
pub fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> impl Future<Output = Result<T, E>> + Send
where
    T: Send + 'static,
    E: From<StorageError> + Send + 'static,
{
    let running = tokio::task::spawn_blocking(work);
    async move {
        running.await.unwrap_or_else(|error| {
            Err(StorageError::Write(Arc::new(std::io::Error::other(error))).into())
        })
    }
}
