//! Who writes to an upload: one request at a time, and the newest one wins.
//!
//! A client whose connection died comes back while the server still waits on the old one. So a
//! newcomer interrupts whoever holds the upload: the old request keeps what arrived, lets go,
//! and the newcomer finds the upload where that left it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::engine::ByteStream;
use super::uploads::UploadId;

/// The uploads that requests hold or wait for.
#[derive(Clone, Default)]
pub struct Sessions {
    entries: Arc<Mutex<HashMap<UploadId, Entry>>>,
}

#[derive(Default)]
struct Entry {
    lock: Arc<tokio::sync::Mutex<()>>,
    interrupt: CancellationToken,
    /// Requests that hold or wait for the lock.
    users: usize,
}

impl Sessions {
    fn entries(&self) -> MutexGuard<'_, HashMap<UploadId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interrupts whoever holds the upload, and holds it.
    pub async fn acquire(&self, id: UploadId) -> SessionGuard {
        let interrupt = CancellationToken::new();
        let (lock, user) = {
            let mut entries = self.entries();
            let entry = entries.entry(id).or_default();
            entry.users += 1;
            // The newest token stands in the entry, so the next newcomer interrupts us, be it
            // while we still wait.
            std::mem::replace(&mut entry.interrupt, interrupt.clone()).cancel();
            let user = User {
                sessions: self.clone(),
                id,
            };
            (entry.lock.clone(), user)
        };
        SessionGuard {
            _held: lock.lock_owned().await,
            _user: user,
            interrupt,
        }
    }
}

impl Sessions {
    /// Holds the upload if nobody holds it or waits for it.
    pub fn try_acquire(&self, id: UploadId) -> Option<SessionGuard> {
        let mut entries = self.entries();
        if entries.contains_key(&id) {
            return None;
        }
        let mut entry = Entry::default();
        let held = entry.lock.clone().try_lock_owned().ok()?;
        entry.users = 1;
        let interrupt = entry.interrupt.clone();
        entries.insert(id, entry);
        Some(SessionGuard {
            _held: held,
            _user: User {
                sessions: self.clone(),
                id,
            },
            interrupt,
        })
    }
}

/// Counts a request out when it goes, also while it still waits.
struct User {
    sessions: Sessions,
    id: UploadId,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut entries = self.sessions.entries();
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.users -= 1;
            if entry.users == 0 {
                entries.remove(&self.id);
            }
        }
    }
}

/// The right to write to an upload.
pub struct SessionGuard {
    _held: OwnedMutexGuard<()>,
    _user: User,
    interrupt: CancellationToken,
}

impl SessionGuard {
    /// The body, which breaks off when a newer request wants the upload.
    pub fn interruptible<'a>(&self, body: ByteStream<'a>) -> ByteStream<'a> {
        let interrupt = self.interrupt.clone();
        let state = (body, Some(interrupt));
        Box::pin(futures::stream::unfold(
            state,
            |(mut body, interrupt)| async move {
                let token = interrupt?;
                tokio::select! {
                    biased;
                    () = token.cancelled() => {
                        let error = anyhow::anyhow!("a newer request took the upload over");
                        Some((Err(error), (body, None)))
                    }
                    next = body.next() => next.map(|bytes| (bytes, (body, Some(token)))),
                }
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newcomer_interrupts_the_holder_and_then_holds() {
        let sessions = Sessions::default();
        let id = UploadId::random();
        let first = sessions.acquire(id).await;
        let mut body = first.interruptible(Box::pin(futures::stream::pending()));
        let newcomer = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.acquire(id).await }
        });
        let broken = body.next().await.unwrap().unwrap_err();
        assert!(broken.to_string().contains("newer request"));
        assert!(body.next().await.is_none());
        drop(body);
        assert!(!newcomer.is_finished());
        drop(first);
        drop(newcomer.await.unwrap());
        assert!(sessions.entries().is_empty(), "an entry was left behind");
    }

    #[tokio::test]
    async fn who_does_not_wait_gets_what_nobody_holds() {
        let sessions = Sessions::default();
        let id = UploadId::random();
        let held = sessions.acquire(id).await;
        assert!(sessions.try_acquire(id).is_none());
        assert!(!held.interrupt.is_cancelled());
        drop(held);
        let held = sessions.try_acquire(id).unwrap();
        assert!(sessions.try_acquire(id).is_none());
        drop(held);
        assert!(sessions.entries().is_empty(), "an entry was left behind");
    }

    #[tokio::test]
    async fn other_uploads_are_left_alone() {
        let sessions = Sessions::default();
        let one = sessions.acquire(UploadId::random()).await;
        let _other = sessions.acquire(UploadId::random()).await;
        assert!(!one.interrupt.is_cancelled());
    }
}
