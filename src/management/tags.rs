//! The tags of a repository: sorted, filtered, a page at a time.
//!
//! By name a page is read off the index. Any other order takes all tags of the repository, which are
//! gathered once and kept for a moment ([`TagLists`]): a list that is looked through page by page is
//! read once, and is seconds old at most.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::auth::Action;
use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::http::metrics::Cache as Kept;
use crate::oci::RepositoryName;
use crate::registry::browse::TagSummary;

/// Tags on a page.
pub const PAGE_TAGS: usize = 50;

/// The most tags that are sorted in memory; a repository of more is listed by name alone.
pub const SORTED_MAX: usize = 250_000;

/// How old a list may be that is shown again.
const FRESH: Duration = Duration::from_secs(5);

/// Tags in all lists that are kept. Each takes some 150 bytes.
const KEPT_TAGS_MAX: u64 = 300_000;

/// What tags are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// When they were pushed.
    #[default]
    Pushed,
    /// Their names' bytes.
    Name,
    /// Semantic versions by precedence, and what is none of them behind.
    Version,
    /// When their manifests were last pulled.
    Pulled,
    /// How large their images are.
    Size,
}

impl Sort {
    /// All of them.
    pub const ALL: [Sort; 5] = [
        Sort::Pushed,
        Sort::Name,
        Sort::Version,
        Sort::Pulled,
        Sort::Size,
    ];

    /// Its name in queries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Sort::Pushed => "pushed",
            Sort::Name => "name",
            Sort::Version => "version",
            Sort::Pulled => "pulled",
            Sort::Size => "size",
        }
    }

    /// That of a query.
    pub fn parse(text: &str) -> Option<Self> {
        Sort::ALL.into_iter().find(|sort| sort.as_str() == text)
    }
}

/// Which tags are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TagQuery {
    /// What their names must hold.
    pub search: String,
    /// Their order.
    pub sort: Sort,
    /// Whether it is turned round: times and versions go from the newest without it, sizes from the
    /// largest, names from A.
    pub reverse: bool,
    /// Which page, from 1.
    pub page: usize,
    /// Tags on a page; held to 1 to 1,000.
    pub limit: usize,
}

/// A page of tags.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tags {
    /// The repository.
    pub repository: String,
    /// The tags.
    pub tags: Vec<TagLine>,
    /// How many there are in all that the query is about.
    pub total: usize,
    /// Which page this is, from 1.
    pub page: usize,
    /// How many pages there are.
    pub pages: usize,
    /// What they are sorted by. A repository of more than 250,000 tags is listed by name whatever was
    /// asked for.
    pub sort: Sort,
}

/// A tag.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TagLine {
    /// The tag.
    #[schema(example = "v1.0")]
    pub tag: String,
    /// The manifest that it points at.
    pub digest: String,
    /// When it was last pushed, in milliseconds since 1970.
    pub pushed_ms: u64,
    /// When its manifest was last pulled, in milliseconds since 1970; absent if never as far as is
    /// written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulled_ms: Option<u64>,
    /// Bytes of the manifest and of what it is made of, each once; of an index over all platforms. Absent
    /// where the manifest is damaged, or lists more than 1,000 others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl TagLine {
    fn new(summary: &TagSummary, size: Option<u64>) -> Self {
        TagLine {
            tag: summary.tag.to_string(),
            digest: summary.digest.to_string(),
            pushed_ms: summary.tagged_ms,
            pulled_ms: summary.pulled_ms,
            size,
        }
    }
}

/// Sizes that are read at once, before it is asked whether anybody still waits for them.
const SIZES_AT_ONCE: usize = 1_000;

/// Sizes that are kept: each takes some 150 bytes.
const SIZES_MAX: usize = 300_000;

/// How large manifests with all that they are made of are. What a digest stands for never changes, but what an
/// index lists may come later than it does: of one that lacks something nothing is kept.
pub struct Sizes {
    sizes: Cache<Digest, Option<u64>>,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            sizes: Cache::new(SIZES_MAX),
        }
    }
}

/// All tags of a repository, as they were at some moment.
struct TagList {
    read: Instant,
    tags: Vec<TagSummary>,
    /// Whether there are more than are sorted.
    more: bool,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<RepositoryName, Arc<TagList>> for ByLength {
    fn weight(&self, _: &RepositoryName, list: &Arc<TagList>) -> u64 {
        list.tags.len() as u64 + 1
    }
}

/// The lists that are kept.
pub struct TagLists {
    lists: Cache<RepositoryName, Arc<TagList>, ByLength>,
}

impl Default for TagLists {
    fn default() -> Self {
        TagLists {
            lists: Cache::with_weighter(64, KEPT_TAGS_MAX, ByLength),
        }
    }
}

impl TagLists {
    /// Forgets a list, whose tags somebody has changed just now and wants to see changed.
    pub fn forget(&self, repository: &RepositoryName) {
        self.lists.remove(repository);
    }
}

impl Management {
    /// A page of a repository's tags.
    pub async fn tags(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        query: TagQuery,
    ) -> Result<Tags, ApiError> {
        caller.require(Action::Pull, repository)?;
        let (management, repository) = (self.clone(), repository.clone());
        // Whoever has left needs no list; what was read of it is kept.
        let gone = CancellationToken::new();
        let _waits = gone.clone().drop_guard();
        // A long list takes longer than a thread that serves others may be held.
        let page = move || management.page_of_tags(&repository, query, &gone);
        tokio::task::spawn_blocking(page)
            .await
            .map_err(ApiError::internal)?
    }

    fn page_of_tags(
        &self,
        repository: &RepositoryName,
        query: TagQuery,
        gone: &CancellationToken,
    ) -> Result<Tags, ApiError> {
        let list = self.tag_list(repository)?;
        let limit = query.limit.clamp(1, 1_000);
        let mut chosen: Vec<&TagSummary> = list
            .tags
            .iter()
            .filter(|summary| summary.tag.as_str().contains(&query.search))
            .collect();
        let sort = match list.more {
            true => Sort::Name,
            false => query.sort,
        };
        match sort {
            Sort::Size => {
                let digests: Vec<Digest> = chosen.iter().map(|it| it.digest).collect();
                let sizes = self.content_sizes(repository, &digests, gone)?;
                let mut sized: Vec<_> = sizes.into_iter().zip(chosen).collect();
                sized.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
                chosen = sized.into_iter().map(|(_, summary)| summary).collect();
            }
            sort => sort_tags(&mut chosen, sort),
        }
        if query.reverse {
            chosen.reverse();
        }
        let total = chosen.len();
        let pages = total.div_ceil(limit).max(1);
        let page = query.page.clamp(1, pages);
        let shown: Vec<_> = chosen
            .into_iter()
            .skip((page - 1) * limit)
            .take(limit)
            .collect();
        let digests: Vec<Digest> = shown.iter().map(|it| it.digest).collect();
        let sizes = self.content_sizes(repository, &digests, gone)?;
        let tags = shown.into_iter().zip(sizes);
        Ok(Tags {
            repository: repository.to_string(),
            tags: tags.map(|(tag, size)| TagLine::new(tag, size)).collect(),
            total,
            page,
            pages,
            sort,
        })
    }

    /// How large these manifests are, read as far as it is not known.
    fn content_sizes(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
        gone: &CancellationToken,
    ) -> Result<Vec<Option<u64>>, ApiError> {
        let known = &self.sizes.sizes;
        let mut sizes: Vec<Option<Option<u64>>> = digests.iter().map(|it| known.get(it)).collect();
        let mut unknown: Vec<usize> = (0..digests.len())
            .filter(|at| sizes[*at].is_none())
            .collect();
        let (all, misses) = (digests.len() as u64, unknown.len() as u64);
        let metrics = &self.api.metrics;
        metrics.cached(Kept::image_sizes, all - misses, misses);
        // In the order that they lie in.
        unknown.sort_unstable_by_key(|at| digests[*at]);
        for some in unknown.chunks(SIZES_AT_ONCE) {
            if gone.is_cancelled() {
                return Err(ApiError::internal(anyhow::anyhow!("nobody waits any more")));
            }
            let wanted: Vec<Digest> = some.iter().map(|at| digests[*at]).collect();
            let found = self.api.registry.content_sizes(repository, &wanted)?;
            for (at, found) in some.iter().zip(found) {
                if found.is_complete {
                    known.insert(digests[*at], found.bytes);
                }
                sizes[*at] = Some(found.bytes);
            }
        }
        Ok(sizes.into_iter().map(Option::flatten).collect())
    }

    fn tag_list(&self, repository: &RepositoryName) -> Result<Arc<TagList>, ApiError> {
        let lists = &self.tag_lists.lists;
        if let Some(list) = lists.get(repository)
            && list.read.elapsed() < FRESH
        {
            self.api.metrics.cached(Kept::tag_lists, 1, 0);
            return Ok(list);
        }
        self.api.metrics.cached(Kept::tag_lists, 0, 1);
        let read = Instant::now();
        let registry = &self.api.registry;
        let (tags, more) = registry.tag_summaries(repository, SORTED_MAX)?;
        let list = Arc::new(TagList { read, tags, more });
        lists.insert(repository.clone(), list.clone());
        Ok(list)
    }
}

/// Sorts tags, which come in the order of their names.
fn sort_tags(tags: &mut [&TagSummary], sort: Sort) {
    match sort {
        // Sizes are read before they are sorted by.
        Sort::Name | Sort::Size => {}
        Sort::Pushed => tags.sort_by_key(|it| std::cmp::Reverse(it.tagged_ms)),
        Sort::Pulled => tags.sort_by_key(|it| std::cmp::Reverse(it.pulled_ms)),
        Sort::Version => {
            tags.sort_by_cached_key(|it| Version(version(it.tag.as_str())));
        }
    }
}

/// The version that a tag names, with or without a `v`, and with fewer than three numbers as well.
fn version(tag: &str) -> Option<semver::Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    if let Ok(version) = semver::Version::parse(text) {
        return Some(version);
    }
    let (numbers, rest) = match text.find(['-', '+', '_']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let dots = numbers.matches('.').count();
    let is_numbers = numbers
        .split('.')
        .all(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_numbers || dots > 1 {
        return None;
    }
    let filled = format!("{numbers}{}", ".0".repeat(2 - dots));
    semver::Version::parse(&format!("{filled}{}", rest.replace('_', "-"))).ok()
}

/// The newest first, and no version last.
#[derive(PartialEq, Eq)]
struct Version(Option<semver::Version>);

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => other.cmp(one),
            (one, other) => other.is_some().cmp(&one.is_some()),
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, Digest};

    fn tag(name: &str, tagged_ms: u64, pulled_ms: Option<u64>) -> TagSummary {
        TagSummary {
            tag: name.parse().unwrap(),
            digest: Digest::of(Algorithm::Sha256, name.as_bytes()),
            tagged_ms,
            pulled_ms,
        }
    }

    fn sorted(tags: &[TagSummary], sort: Sort) -> Vec<&str> {
        let mut sorted: Vec<_> = tags.iter().collect();
        sort_tags(&mut sorted, sort);
        sorted.iter().map(|it| it.tag.as_str()).collect()
    }

    #[test]
    fn each_order_is_its_own() {
        let tags = [
            tag("a", 2, None),
            tag("b", 3, Some(1)),
            tag("c", 1, Some(2)),
        ];
        assert_eq!(sorted(&tags, Sort::Name), ["a", "b", "c"]);
        assert_eq!(sorted(&tags, Sort::Pushed), ["b", "a", "c"]);
        assert_eq!(sorted(&tags, Sort::Pulled), ["c", "b", "a"]);
    }

    #[test]
    fn versions_go_by_precedence_and_other_tags_behind() {
        let names = [
            "1.10",
            "1.9",
            "2",
            "latest",
            "v1.10.0-rc.1",
            "v3.0.0",
            "1.2.3.4",
        ];
        let tags: Vec<_> = names.iter().map(|name| tag(name, 0, None)).collect();
        let expected = [
            "v3.0.0",
            "2",
            "1.10",
            "v1.10.0-rc.1",
            "1.9",
            "latest",
            "1.2.3.4",
        ];
        assert_eq!(sorted(&tags, Sort::Version), expected);
    }
}
