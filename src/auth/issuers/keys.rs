//! The keys of one issuer, kept for a while and fetched again.
//!
//! One task fetches ([`Keys::keep`]): at the start, when the keys are old, and when a token names a key
//! that is not among them, which is how a new one shows. For that it fetches once a minute at most,
//! however many such tokens come: a key's name costs nothing to make up. Who asks waits for the fetch
//! that is under way, up to a number of them; that they go away stops nothing.
//!
//! A fetch that fails leaves the keys as they were for a day. One that does not replaces all of them, so
//! that a key which the issuer has dropped is good for nothing from then on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fetch::{self, Issuer, KeysError};
use super::jwks::KeySet;

/// For how long keys are used before they are fetched again, at most and at least, whatever the issuer
/// says of them.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);
const AGE_MIN: Duration = Duration::from_secs(60);

/// For how long keys are used that cannot be fetched again.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// From one fetch that a token asks for to the next.
const DEMAND_INTERVAL: Duration = Duration::from_secs(60);

/// From a fetch that failed to the next: twice as long each time.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a fetch may take, all of it, and how long is waited for one.
const FETCH_MAX: Duration = Duration::from_secs(15);

/// How many requests wait for one issuer's keys at once.
const WAITING_MAX: usize = 64;

/// Why there is no key of that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoKey {
    /// The issuer has none.
    Unknown,
    /// The issuer's keys are not to be had.
    Unavailable,
    /// Too many wait for them.
    Busy,
}

/// The keys.
pub struct Keys {
    state: watch::Sender<State>,
    demand: Mutex<Demand>,
    demanded: Notify,
    waiting: Semaphore,
}

#[derive(Clone, Default)]
struct State {
    held: Option<(Arc<KeySet>, Instant)>,
    /// How many fetches have come to an end.
    finished: u64,
}

#[derive(Default)]
struct Demand {
    /// When a token last asked for a fetch.
    last: Option<Instant>,
    /// The fetch that was last begun or asked for, as `finished` counts them.
    awaited: u64,
}

impl Keys {
    /// None yet.
    pub fn new() -> Self {
        Keys {
            state: watch::Sender::default(),
            demand: Mutex::default(),
            demanded: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are kept, if they are not too old to count.
    fn held(&self) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        let (keys, fetched) = state.held.as_ref()?;
        (fetched.elapsed() < STALE_MAX).then(|| keys.clone())
    }

    /// Keys among which there is one of that id.
    pub async fn with(&self, id: &str) -> Result<Arc<KeySet>, NoKey> {
        let with_it = || self.held().filter(|keys| keys.of(id).is_some());
        if let Some(keys) = with_it() {
            return Ok(keys);
        }
        if let Some(awaited) = self.ask() {
            let _permit = self.waiting.try_acquire().map_err(|_| NoKey::Busy)?;
            let mut state = self.state.subscribe();
            let finished = state.wait_for(|state| state.finished >= awaited);
            // Whether it came to its end in time shows below.
            let _ = tokio::time::timeout(FETCH_MAX, finished).await;
        }
        with_it().ok_or(match self.held() {
            Some(_) => NoKey::Unknown,
            None => NoKey::Unavailable,
        })
    }

    /// The fetch to wait for: one that is under way, or that is begun for this.
    fn ask(&self) -> Option<u64> {
        let mut demand = self.demand();
        let finished = self.state.borrow().finished;
        if demand.awaited > finished {
            return Some(demand.awaited);
        }
        let last = demand.last;
        if last.is_some_and(|last| last.elapsed() < DEMAND_INTERVAL) {
            return None;
        }
        demand.last = Some(Instant::now());
        demand.awaited = finished + 1;
        self.demanded.notify_one();
        Some(demand.awaited)
    }

    /// Fetches the keys now and whenever it is time, until told to stop.
    pub async fn keep(&self, issuer: &Issuer, stop: &CancellationToken) {
        let mut failures = 0;
        loop {
            self.demand().awaited = self.state.borrow().finished + 1;
            let fetching = tokio::time::timeout(FETCH_MAX, fetch::keys(issuer));
            let Some(fetched) = stop.run_until_cancelled(fetching).await else {
                return;
            };
            let fetched = fetched.unwrap_or(Err(KeysError::TooSlow(FETCH_MAX)));
            let pause = match &fetched {
                Ok((_, max_age)) => {
                    failures = 0;
                    max_age.unwrap_or(AGE_MAX).clamp(AGE_MIN, AGE_MAX)
                }
                Err(_) => {
                    failures += 1;
                    RETRY_MIN
                        .saturating_mul(1 << (failures - 1).min(16))
                        .min(RETRY_MAX)
                }
            };
            self.take(issuer, fetched, pause);
            let due = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.demanded.notified() => {}
                }
            };
            if stop.run_until_cancelled(due).await.is_none() {
                return;
            }
        }
    }

    fn take(
        &self,
        issuer: &Issuer,
        fetched: Result<(KeySet, Option<Duration>), KeysError>,
        pause: Duration,
    ) {
        let issuer = issuer.url.as_str();
        match fetched {
            Ok((keys, _)) => {
                for reason in &keys.refused {
                    tracing::warn!(issuer, "a key of the issuer is left out: {reason}");
                }
                tracing::info!(issuer, keys = keys.len(), again_in = ?pause, "the issuer's keys were fetched");
                self.state.send_modify(|state| {
                    state.held = Some((Arc::new(keys), Instant::now()));
                    state.finished += 1;
                });
            }
            Err(error) => {
                let kept = match self.held() {
                    Some(_) => "those that it had are used on",
                    None => "there are none, and its tokens are refused",
                };
                tracing::error!(issuer, again_in = ?pause, "the issuer's keys were not fetched, {kept}: {error}");
                self.state.send_modify(|state| state.finished += 1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
