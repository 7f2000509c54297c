//! What is being read, and may not be given back meanwhile.
//!
//! A pin is taken by who reads, between a look at the row that names the extents and a second look
//! that finds it unchanged ([`pinned`](crate::ghostbay::pinned)). It therefore comes before the
//! release that takes the extents' last owner, and who gives extents back looks at the pins after
//! that release is committed: it sees every pin that counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::extent::{Extent, PackId};

type Place = (PackId, u64);

/// How long what was given to a socket may wait there: longer than a client may stand still.
const SENDING: Duration = Duration::from_secs(600);

/// Extents that were sent, from which on those are looked for whose time is over.
const SENT_MIN: usize = 1024;

/// What is pinned. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pins {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    extents: HashMap<Place, u32>,
    all: usize,
    /// What was sent, and when its last pin went.
    sent: HashMap<Place, Instant>,
    /// As many as there may be before the next look.
    sent_max: usize,
}

impl Held {
    fn was_sent(&mut self, place: Place) {
        self.sent.insert(place, Instant::now());
        if self.sent.len() > self.sent_max.max(SENT_MIN) {
            self.sent.retain(|_, since| since.elapsed() < SENDING);
            self.sent_max = 2 * self.sent.len();
        }
    }
}

impl Pins {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins extents until what is given back is dropped.
    pub fn pin(&self, extents: &[Extent]) -> Pin {
        let places: Vec<Place> = extents
            .iter()
            .map(|extent| (extent.pack, extent.offset))
            .collect();
        let mut held = self.held();
        for place in &places {
            *held.extents.entry(*place).or_default() += 1;
        }
        drop(held);
        Pin {
            pins: self.clone(),
            places,
            sent: AtomicBool::new(false),
        }
    }

    /// Pins everything until what is given back is dropped: for who reads what a snapshot names
    /// that is taken behind this.
    pub fn hold(&self) -> Hold {
        self.held().all += 1;
        Hold { pins: self.clone() }
    }

    /// Whether an extent is pinned.
    pub fn is_pinned(&self, extent: &Extent) -> bool {
        let held = self.held();
        held.all > 0 || held.extents.contains_key(&(extent.pack, extent.offset))
    }

    /// Whether some of an extent may still lie in a socket's queue.
    pub fn was_sent(&self, extent: &Extent) -> bool {
        let held = self.held();
        let since = held.sent.get(&(extent.pack, extent.offset));
        since.is_some_and(|since| since.elapsed() < SENDING)
    }

    /// Whether everything is pinned.
    pub fn is_held(&self) -> bool {
        self.held().all > 0
    }
}

/// Extents that are being read.
pub struct Pin {
    pins: Pins,
    places: Vec<Place>,
    sent: AtomicBool,
}

impl Pin {
    /// Notes that the kernel sends from these extents.
    pub fn sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.held();
        for place in &self.places {
            if *self.sent.get_mut() {
                held.was_sent(*place);
            }
            if let Some(count) = held.extents.get_mut(place) {
                *count -= 1;
                if *count == 0 {
                    held.extents.remove(place);
                }
            }
        }
    }
}

/// Everything is being read.
pub struct Hold {
    pins: Pins,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.pins.held().all -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pinned_twice_is_pinned_until_both_let_go() {
        let extent = |offset| Extent {
            pack: PackId::new(1, 1),
            offset,
            length: 10,
        };
        let pins = Pins::default();
        let one = pins.pin(&[extent(4160), extent(8192)]);
        let other = pins.pin(&[extent(4160)]);
        drop(one);
        assert!(pins.is_pinned(&extent(4160)) && !pins.is_pinned(&extent(8192)));
        drop(other);
        assert!(!pins.is_pinned(&extent(4160)));
        assert!(pins.held().extents.is_empty(), "an entry was left behind");
        let hold = pins.hold();
        assert!(pins.is_pinned(&extent(4160)) && pins.is_held());
        drop(hold);
        assert!(!pins.is_pinned(&extent(4160)) && !pins.is_held());
    }
}
