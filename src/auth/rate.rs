//! So many a while, for each of many.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// After so many are taken, keys are forgotten that have all their share again.
const TAKEN_MAX: usize = 64 * 1024;

/// A share for each key, which fills up again with time.
pub struct Rate<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, DefaultClock>,
    clock: DefaultClock,
    taken: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// So many a minute, all at once or one by one.
    pub fn per_minute(share: NonZeroU32) -> Self {
        Rate::of(Quota::per_minute(share))
    }

    /// So many a second on average, and what comes of `burst` seconds at once.
    pub fn per_second(share: NonZeroU32, burst: NonZeroU32) -> Self {
        Rate::of(Quota::per_second(share).allow_burst(share.saturating_mul(burst)))
    }

    fn of(quota: Quota) -> Self {
        let clock = DefaultClock::default();
        Rate {
            limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            taken: AtomicUsize::new(0),
        }
    }

    /// Takes one of the key's share; how long until there is one again, if none is left.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        if taken % TAKEN_MAX == TAKEN_MAX - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let taken = self.limiter.check_key(key);
        taken.map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// What counts as one client: an IPv4 address, or the half of an IPv6 address that a site is given.
pub fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(bits).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_keys_own_and_fills_up_again() {
        let rate = Rate::per_second(NonZeroU32::new(10).unwrap(), NonZeroU32::MIN);
        for _ in 0..10 {
            rate.take(&1).unwrap();
        }
        let wait = rate.take(&1).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        rate.take(&2).unwrap();
        std::thread::sleep(wait);
        rate.take(&1).unwrap();
    }

    #[test]
    fn a_site_is_one_client() {
        let site = |text: &str| site_of(text.parse().unwrap()).to_string();
        assert_eq!(site("192.0.2.1"), "192.0.2.1");
        assert_eq!(site("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(site("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
