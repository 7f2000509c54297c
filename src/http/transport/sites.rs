//! How many connections each address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::auth::rate::site_of;

/// How many connections an address may have.
#[derive(Clone, Debug, Default)]
pub struct SiteLimit {
    /// So many; 0 for any number.
    pub most: u32,
    /// Who may have any number: proxies, which stand for many clients.
    pub exempt: Vec<IpNet>,
}

/// Counts the connections of each address.
pub(super) struct Sites {
    limit: SiteLimit,
    present: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection that counts until this goes; `None` of one that does not.
pub(super) struct SiteStay(Option<(Arc<Sites>, IpAddr)>);

impl Sites {
    pub(super) fn new(limit: SiteLimit) -> Self {
        Sites {
            limit,
            present: Mutex::default(),
        }
    }

    fn present(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection; `None` if its address has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<SiteStay> {
        let address = from.to_canonical();
        let exempt = || self.limit.exempt.iter().any(|net| net.contains(&address));
        if self.limit.most == 0 || exempt() {
            return Some(SiteStay(None));
        }
        let site = site_of(address);
        let mut present = self.present();
        let connections = present.entry(site).or_default();
        if *connections >= self.limit.most {
            return None;
        }
        *connections += 1;
        Some(SiteStay(Some((self.clone(), site))))
    }
}

impl Drop for SiteStay {
    fn drop(&mut self) {
        let Some((sites, site)) = &self.0 else {
            return;
        };
        let mut present = sites.present();
        if let Some(connections) = present.get_mut(site) {
            *connections -= 1;
            if *connections == 0 {
                present.remove(site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_what_leaves_is_forgotten() {
        let sites = Arc::new(Sites::new(SiteLimit {
            most: 2,
            exempt: vec!["10.0.0.0/8".parse().unwrap()],
        }));
        let enter = |text: &str| sites.enter(text.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        let proxies: Vec<_> = (0..5).map(|_| enter("10.1.2.3").unwrap()).collect();
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        drop((other, proxies));
        assert_eq!(sites.present().len(), 1);
    }
}
