//! Leases, and what the collector is about to take.
//!
//! A blob is leased by its digest alone, whichever repository was asked. Whoever leases one that is
//! condemned waits until the collector's transaction has ended, and looks then: it finds what that
//! has left. So between a lease and the look behind it nothing is taken, and behind the look the
//! lease holds.

use std::collections::{HashMap, HashSet};

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use crate::digest::Digest;

/// Leases at once. One takes some forty bytes.
pub const LEASES_MAX: usize = 1 << 20;

/// The first half of a digest's value. Two blobs that share it protect each other.
type Short = [u8; 16];

fn short(digest: &Digest) -> Short {
    let mut short = Short::default();
    let length = digest.raw().len().min(short.len());
    short[..length].copy_from_slice(&digest.raw()[..length]);
    short
}

/// The leases of a registry. Moments are milliseconds on a clock of the caller's that never goes
/// back.
pub struct Leases {
    state: Mutex<State>,
    /// Told when nothing is condemned any more.
    settled: Condvar,
    most: usize,
}

struct State {
    leased: HashMap<Short, u64>,
    condemned: HashSet<Short>,
    /// The newest moment at which everything was leased: the start, and each lease that the table
    /// had no room for.
    all_ms: u64,
}

impl Leases {
    /// A table of at most `most` leases, which begins by leasing everything at `now_ms`.
    pub fn new(most: usize, now_ms: u64) -> Self {
        Leases {
            state: Mutex::new(State {
                leased: HashMap::new(),
                condemned: HashSet::new(),
                all_ms: now_ms,
            }),
            settled: Condvar::new(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases a blob, unless it is condemned; whether it did. The caller looks behind it whether
    /// the blob is there.
    pub fn try_lease(&self, digest: &Digest, now_ms: u64) -> bool {
        self.lock().lease(&short(digest), now_ms, self.most)
    }

    /// As [`Leases::try_lease`], and waits while the blob is condemned. For a thread that may
    /// block.
    pub fn lease(&self, digest: &Digest, now_ms: u64) {
        let mut state = self.lock();
        while !state.lease(&short(digest), now_ms, self.most) {
            let waited = self.settled.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For how long everything is leased yet; 0 if it is not.
    pub fn all_left_ms(&self, now_ms: u64, term_ms: u64) -> u64 {
        let ends_ms = self.lock().all_ms.saturating_add(term_ms);
        ends_ms.saturating_sub(now_ms)
    }

    /// For how long a lease of `term_ms` keeps the blob yet; 0 if none does.
    pub fn left_ms(&self, digest: &Digest, now_ms: u64, term_ms: u64) -> u64 {
        self.lock().left_ms(&short(digest), now_ms, term_ms)
    }

    /// Condemns what of `digests` no lease of `term_ms` keeps: nobody is told that it is there
    /// until the sentence is dropped, behind the transaction that takes it.
    pub fn condemn<'a>(
        &self,
        digests: impl IntoIterator<Item = &'a Digest>,
        now_ms: u64,
        term_ms: u64,
    ) -> Condemned<'_> {
        let mut state = self.lock();
        let mut condemned = HashSet::new();
        for short in digests.into_iter().map(short) {
            if state.left_ms(&short, now_ms, term_ms) == 0 {
                state.condemned.insert(short);
                condemned.insert(short);
            }
        }
        Condemned {
            leases: self,
            condemned,
        }
    }

    /// Leases that are not forgotten.
    pub fn count(&self) -> usize {
        self.lock().leased.len()
    }

    /// Forgets leases of `term_ms` that have ended.
    pub fn expire(&self, now_ms: u64, term_ms: u64) {
        let mut state = self.lock();
        let lasts = |at_ms: &u64| at_ms.saturating_add(term_ms) > now_ms;
        state.leased.retain(|_, at_ms| lasts(at_ms));
    }
}

impl State {
    fn lease(&mut self, short: &Short, now_ms: u64, most: usize) -> bool {
        if self.condemned.contains(short) {
            return false;
        }
        // A lease that is forgotten too early costs a push, one too many only room: a full table
        // leases everything.
        match self.leased.len() < most || self.leased.contains_key(short) {
            true => {
                self.leased.insert(*short, now_ms);
            }
            false => self.all_ms = self.all_ms.max(now_ms),
        }
        true
    }

    fn left_ms(&self, short: &Short, now_ms: u64, term_ms: u64) -> u64 {
        let leased_ms = self.leased.get(short).copied().unwrap_or(0);
        let ends_ms = leased_ms.max(self.all_ms).saturating_add(term_ms);
        ends_ms.saturating_sub(now_ms)
    }
}

/// What the collector may take, until this is dropped.
pub struct Condemned<'a> {
    leases: &'a Leases,
    condemned: HashSet<Short>,
}

impl Condemned<'_> {
    /// The test for a transaction, which outlives this borrow.
    pub fn test(&self) -> impl Fn(&Digest) -> bool + Send + use<> {
        let condemned = self.condemned.clone();
        move |digest| condemned.contains(&short(digest))
    }
}

impl Drop for Condemned<'_> {
    fn drop(&mut self) {
        let mut state = self.leases.lock();
        for short in &self.condemned {
            state.condemned.remove(short);
        }
        drop(state);
        self.leases.settled.notify_all();
    }
}
