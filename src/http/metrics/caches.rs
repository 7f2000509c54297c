//! How often what is kept in memory was there when it was asked for.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// A cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "a variant's name is the label's value")]
pub enum Cache {
    /// The page's lists of a repository's tags.
    tag_lists,
    /// How large images are with all that they are made of.
    image_sizes,
    /// What layers hold.
    layer_listings,
    /// What images hold, their layers one upon the other.
    image_listings,
}

impl Cache {
    /// All of them.
    pub const ALL: [Cache; 4] = [
        Cache::tag_lists,
        Cache::image_sizes,
        Cache::layer_listings,
        Cache::image_listings,
    ];
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CacheLabels {
    cache: Cache,
}

/// The counts of each cache. Whoever counts looks nothing up: it is an addition.
pub(super) struct CacheCounts {
    hits: [Counter; Cache::ALL.len()],
    misses: [Counter; Cache::ALL.len()],
}

impl CacheCounts {
    pub fn register(registry: &mut Registry) -> Self {
        let mut family = |name: &str, help: &str| {
            let family = Family::<CacheLabels, Counter>::default();
            registry.register(name, help, family.clone());
            Cache::ALL.map(|cache| family.get_or_create_owned(&CacheLabels { cache }))
        };
        CacheCounts {
            hits: family(
                "cache_hits",
                "What was asked for and kept in memory, by the cache",
            ),
            misses: family(
                "cache_misses",
                "What was asked for and had to be read first, by the cache",
            ),
        }
    }

    pub fn count(&self, cache: Cache, hits: u64, misses: u64) {
        self.hits[cache as usize].inc_by(hits);
        self.misses[cache as usize].inc_by(misses);
    }
}
