//! The table under shuttle's scheduler, which tries interleavings of clients and collector: the
//! same source, with shuttle's locks, and a catalog that commits one transaction at a time.

use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

mod sync {
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

#[allow(
    clippy::duplicate_mod,
    reason = "the same source, with shuttle's locks"
)]
#[path = "table.rs"]
#[expect(
    dead_code,
    reason = "the model needs the part that clients and collector share"
)]
mod table;

use table::Leases;

use crate::digest::{Algorithm, Digest};

/// Interleavings that each test tries.
const SCHEDULES: usize = 20_000;

/// Long enough that nothing that is leased in the model ends there.
const TERM: u64 = 1_000;
/// When the model begins: nothing is leased by then.
const BEGIN: u64 = 2 * TERM;

/// One blob of one repository in the index.
#[derive(Clone, Copy)]
struct Rows {
    linked_ms: Option<u64>,
    has_edge: bool,
}

struct Store {
    leases: Leases,
    rows: Mutex<Rows>,
    digest: Digest,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Store {
            leases: Leases::new(10, 0),
            rows: Mutex::new(Rows {
                linked_ms: Some(0),
                has_edge: false,
            }),
            digest: Digest::of(Algorithm::Sha256, b"blob"),
        })
    }

    /// A snapshot.
    fn read(&self) -> Rows {
        *self.rows.lock().unwrap()
    }

    /// A transaction.
    fn write<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        work(&mut self.rows.lock().unwrap())
    }

    /// What `Registry::head_blob` does.
    fn head(&self) -> bool {
        if self.read().linked_ms.is_none() {
            return false;
        }
        if !self.leases.try_lease(&self.digest, BEGIN) {
            self.leases.lease(&self.digest, BEGIN);
        }
        self.read().linked_ms.is_some()
    }

    fn push_blob(&self) {
        self.write(|rows| rows.linked_ms = Some(BEGIN));
    }

    /// Whether a push of a manifest finds the blob.
    fn push_manifest(&self) -> bool {
        self.write(|rows| {
            rows.has_edge |= rows.linked_ms.is_some();
            rows.linked_ms.is_some()
        })
    }

    /// What `gc::Collector` does with a row of the queue that was due at `BEGIN`.
    fn collect(&self) {
        let since_ms = match self.read() {
            Rows {
                linked_ms: Some(since_ms),
                has_edge: false,
            } if since_ms + TERM <= BEGIN => since_ms,
            _ => return,
        };
        let condemned = self.leases.condemn([&self.digest], BEGIN, TERM);
        let is_condemned = condemned.test();
        self.write(|rows| {
            let is_stale = rows.linked_ms.is_none_or(|linked_ms| linked_ms > since_ms);
            if !is_stale && !rows.has_edge && is_condemned(&self.digest) {
                rows.linked_ms = None;
            }
        });
    }
}

fn with_a_collector(client: impl Fn(&Store) + Send + Sync + 'static) {
    let client = std::sync::Arc::new(client);
    shuttle::check_random(
        move || {
            let store = Store::new();
            let collector = {
                let store = store.clone();
                thread::spawn(move || store.collect())
            };
            let clients: Vec<_> = (0..2)
                .map(|_| {
                    let (store, client) = (store.clone(), client.clone());
                    thread::spawn(move || client(&store))
                })
                .collect();
            collector.join().unwrap();
            for client in clients {
                client.join().unwrap();
            }
        },
        SCHEDULES,
    );
}

#[test]
fn what_a_client_was_told_is_there_is_there_when_its_manifest_comes() {
    with_a_collector(|store| {
        if store.head() {
            assert!(store.push_manifest(), "blob unknown within the grace");
        }
    });
}

#[test]
fn what_a_client_pushes_while_it_is_collected_is_there_when_its_manifest_comes() {
    with_a_collector(|store| {
        store.push_blob();
        assert!(store.push_manifest(), "blob unknown within the grace");
    });
}

#[test]
fn a_manifest_that_was_taken_keeps_its_blob() {
    with_a_collector(|store| {
        if store.push_manifest() {
            assert!(store.read().linked_ms.is_some(), "a dangling reference");
        }
    });
}

/// The model can fail: a client that does not look again behind its lease is told too much.
#[test]
#[should_panic(expected = "blob unknown within the grace")]
fn a_client_that_is_told_of_what_it_saw_before_its_lease_is_told_too_much() {
    with_a_collector(|store| {
        if store.read().linked_ms.is_some() {
            store.leases.lease(&store.digest, BEGIN);
            assert!(store.push_manifest(), "blob unknown within the grace");
        }
    });
}
