//! Who is connected, and who of them can make room.
//!
//! Clients keep connections open for their next request, and attackers open them for nothing.
//! Neither may keep out somebody who has a request: when every place is taken, a connection
//! that has been without one for a while is closed for the newcomer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::activity::Activity;

/// How long a connection must have been without a request before it makes room. A client that
/// has only just come, or whose next request is on its way, is not sent off.
const QUIET_MIN: Duration = Duration::from_millis(500);

/// Connections that are looked at for one newcomer. The next one goes on where this look ended.
const LOOKED_AT_MAX: usize = 64;

/// The connections that have a place.
#[derive(Debug, Default)]
pub(super) struct Guests {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Where the last look ended.
    looked_up_to: u64,
    /// By age, the oldest first.
    present: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    activity: Arc<Activity>,
    leave: CancellationToken,
}

/// A connection's stay; it ends with this.
#[derive(Debug)]
pub(super) struct Stay {
    guests: Arc<Guests>,
    number: u64,
    /// Asks the connection to end if it still has no request.
    pub(super) leave: CancellationToken,
}

impl Guests {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A connection that has got a place.
    pub(super) fn enter(self: &Arc<Self>, activity: Arc<Activity>) -> Stay {
        let leave = CancellationToken::new();
        let guest = Guest {
            activity,
            leave: leave.clone(),
        };
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.present.insert(number, guest);
        Stay {
            guests: self.clone(),
            number,
            leave,
        }
    }

    /// Asks the connection that has been quiet for longest, of some, to leave. False if none of
    /// them has been quiet.
    pub(super) fn make_room(&self) -> bool {
        let mut state = self.state();
        let from = state.looked_up_to;
        let after = state.present.range(from..);
        let before = state.present.range(..from);
        let mut last = from;
        let quietest = after
            .chain(before)
            .take(LOOKED_AT_MAX)
            .inspect(|(number, _)| last = **number + 1)
            .filter(|(_, guest)| !guest.leave.is_cancelled())
            .filter_map(|(_, guest)| Some((guest.activity.quiet_for()?, guest)))
            .filter(|(quiet, _)| *quiet >= QUIET_MIN)
            .max_by_key(|(quiet, _)| *quiet);
        let found = quietest.is_some();
        if let Some((_, guest)) = quietest {
            guest.leave.cancel();
        }
        state.looked_up_to = last;
        found
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.guests.state().present.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::transport::Timeouts;

    fn activity() -> Arc<Activity> {
        let long = Duration::from_secs(1000);
        Activity::new(Timeouts {
            header: long,
            idle: long,
            body: long,
        })
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_quiet_connection_makes_room() {
        let guests = Arc::new(Guests::default());
        let busy = activity();
        let _request = busy.request(false);
        let busy = guests.enter(busy);
        let old = guests.enter(activity());
        pass(5).await;
        let younger = guests.enter(activity());
        assert!(guests.make_room());
        assert!(old.leave.is_cancelled());
        assert!(!guests.make_room(), "the younger one has only just come");
        pass(1).await;
        assert!(guests.make_room());
        assert!(younger.leave.is_cancelled());
        assert!(!guests.make_room() && !busy.leave.is_cancelled());
        drop((busy, old, younger));
        assert!(guests.state().present.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn every_connection_is_looked_at_in_turn() {
        let guests = Arc::new(Guests::default());
        let stays: Vec<_> = (0..3 * LOOKED_AT_MAX)
            .map(|_| guests.enter(activity()))
            .collect();
        pass(2).await;
        for _ in &stays {
            assert!(guests.make_room());
        }
        assert!(stays.iter().all(|stay| stay.leave.is_cancelled()));
        assert!(!guests.make_room());
    }
}
