//! Listing what the registry holds, in the order of keys, from any place on and without reading what lies
//! before it.
//!
//! Blobs lie in that order in the table of their holders. A caller who may pull little of what lies there
//! would have it read for nothing: behind [`PASSED_MAX`] such rows the links of their repositories are gone
//! through side by side instead.
//!
//! Manifests are gone through repository by repository, of which one may lie amid the tags of another:
//! `manifests/a/b/v1` is between `manifests/a/1.0` and `manifests/a/latest`. So those that were begun wait
//! in one queue with the next one, by their next keys.

use std::collections::{BTreeMap, HashMap};

use super::seek::digests_from;
use super::{BLOB_TYPE, MANIFESTS_PREFIX, Shown};
use crate::digest::Digest;
use crate::ghostbay::blob_key;
use crate::ghostbay::catalog::{CatalogError, Rows};
use crate::ghostbay::objects::BLOBS_PREFIX;
use crate::oci::RepositoryName;
use crate::registry::repositories;
use crate::registry::tables::{
    BLOB_HOLDERS, BLOB_LINKS, BlobLinkRow, ContentKey, HolderKey, MANIFESTS, REPOSITORIES, TAGS,
};

/// Rows of holders that are passed over on one page because the caller may not pull from them.
const PASSED_MAX: usize = 1000;

/// Keys with what they name, in order.
type Keys<'a> = Box<dyn Iterator<Item = Result<(String, Shown), CatalogError>> + 'a>;

/// Gives `take` the keys that begin with `prefix` and lie behind `after`, until it wants no more.
pub fn each<R: Rows>(
    rows: &R,
    prefix: &str,
    after: Option<&[u8]>,
    may_pull: &dyn Fn(&RepositoryName) -> bool,
    take: &mut dyn FnMut(String, Shown) -> bool,
) -> Result<(), CatalogError> {
    let after = after.filter(|after| *after >= prefix.as_bytes());
    let mut listing = Listing {
        rows,
        prefix,
        after,
        from: after.unwrap_or(prefix.as_bytes()),
        may_pull,
        visible: HashMap::new(),
        take,
    };
    if listing.blobs()? {
        listing.manifests()?;
    }
    Ok(())
}

struct Listing<'a, R> {
    rows: &'a R,
    prefix: &'a str,
    after: Option<&'a [u8]>,
    /// No key before this is wanted.
    from: &'a [u8],
    may_pull: &'a dyn Fn(&RepositoryName) -> bool,
    visible: HashMap<RepositoryName, bool>,
    take: &'a mut dyn FnMut(String, Shown) -> bool,
}

/// What of `from` lies within the keys that begin with `area`; `None` if it lies behind them.
fn within<'a>(from: &'a [u8], area: &str) -> Option<&'a [u8]> {
    match from.strip_prefix(area.as_bytes()) {
        None if from > area.as_bytes() => None,
        rest => Some(rest.unwrap_or_default()),
    }
}

impl<R: Rows> Listing<'_, R> {
    /// Shows a key that is wanted; whether more are.
    fn show(&mut self, key: String, shown: Shown) -> bool {
        if key.as_bytes() < self.from || self.after == Some(key.as_bytes()) {
            return true;
        }
        key.starts_with(self.prefix) && (self.take)(key, shown)
    }

    /// Whether there is such a repository, and the caller may pull from it.
    fn is_visible(&mut self, repository: &RepositoryName) -> Result<bool, CatalogError> {
        if let Some(known) = self.visible.get(repository) {
            return Ok(*known);
        }
        let is_visible =
            (self.may_pull)(repository) && repositories::exists(self.rows, repository)?;
        self.visible.insert(repository.clone(), is_visible);
        Ok(is_visible)
    }

    /// The blobs; whether more is wanted behind them.
    fn blobs(&mut self) -> Result<bool, CatalogError> {
        let from = within(self.from, BLOBS_PREFIX).and_then(|text| digests_from(text, '/'));
        let Some(mut from) = from else {
            return Ok(true);
        };
        let (rows, mut passed) = (self.rows, 0);
        'digests: loop {
            let mut shown = None;
            for row in rows.scan_sound(&BLOB_HOLDERS, &[], Some(&from))? {
                let (HolderKey { digest, repository }, ()) = row?;
                if shown == Some(digest) {
                    // Others that hold it, which may be many.
                    from = behind(&digest);
                    continue 'digests;
                }
                let mut link = None;
                if self.is_visible(&repository)? {
                    let key = ContentKey::new(&repository, &digest);
                    link = rows.get_sound(&BLOB_LINKS, &key)?;
                }
                let Some(link) = link else {
                    passed += 1;
                    if passed > PASSED_MAX {
                        return self.blobs_of_visible(&HolderKey::prefix(&digest));
                    }
                    continue;
                };
                shown = Some(digest);
                let (key, blob) = blob(&digest, &link);
                if !self.show(key, blob) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
    }

    /// The blobs from that place on, of the repositories that are visible.
    fn blobs_of_visible(&mut self, from: &[u8]) -> Result<bool, CatalogError> {
        let rows = self.rows;
        let mut queue = Queue::default();
        for row in rows.scan_sound(&REPOSITORIES, &[], None)? {
            let (repository, _) = row?;
            if !self.is_visible(&repository)? {
                continue;
            }
            let prefix = repositories::prefix(&repository);
            // A whole digest is to lie behind it as well.
            let after = [&prefix, &from[..from.len() - 1]].concat();
            let links = rows.scan_sound(&BLOB_LINKS, &prefix, Some(&after))?;
            let links = links.map(|row| row.map(|(key, link)| blob(&key.digest, &link)));
            queue.add(Box::new(links))?;
        }
        let mut last = None;
        while let Some((key, blob)) = queue.pop()? {
            if last.as_ref() != Some(&key) {
                last = Some(key.clone());
                if !self.show(key, blob) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn manifests(&mut self) -> Result<(), CatalogError> {
        let Some(from) = within(self.from, MANIFESTS_PREFIX) else {
            return Ok(());
        };
        let rows = self.rows;
        let mut queue = Queue::default();
        // Repositories that begin before the place and go on behind it.
        for end in (0..from.len()).filter(|end| from[*end] <= b'/') {
            let name = std::str::from_utf8(&from[..end]).ok();
            let Some(repository) = name.and_then(|name| name.parse().ok()) else {
                continue;
            };
            if self.is_visible(&repository)? {
                let rest = match from[end] {
                    b'/' => &from[end + 1..],
                    _ => &[],
                };
                for keys in manifests_of(rows, &repository, rest)? {
                    queue.add(keys)?;
                }
            }
        }
        let mut others = rows.scan_sound(&REPOSITORIES, &[], Some(from))?;
        let mut next = None;
        loop {
            while next.is_none()
                && let Some(row) = others.next()
            {
                let (repository, _) = row?;
                next = self.is_visible(&repository)?.then_some(repository);
            }
            // All keys of a repository are greater than its name.
            let is_due = |name: &RepositoryName| {
                let name = format!("{MANIFESTS_PREFIX}{name}");
                queue.first().is_none_or(|first| *first > name)
            };
            if next.as_ref().is_some_and(is_due)
                && let Some(repository) = next.take()
            {
                if self.is_past(&format!("{MANIFESTS_PREFIX}{repository}")) {
                    return Ok(());
                }
                for keys in manifests_of(rows, &repository, &[])? {
                    queue.add(keys)?;
                }
                continue;
            }
            let Some((key, manifest)) = queue.pop()? else {
                return Ok(());
            };
            if !self.show(key, manifest) {
                return Ok(());
            }
        }
    }

    /// Whether no key from there on begins with the prefix.
    fn is_past(&self, key: &str) -> bool {
        key > self.prefix && !key.starts_with(self.prefix)
    }
}

/// What keys of holders lie behind that are of greater digests.
fn behind(digest: &Digest) -> Vec<u8> {
    let mut behind = HolderKey::prefix(digest);
    behind.push(0xff);
    behind
}

fn blob(digest: &Digest, link: &BlobLinkRow) -> (String, Shown) {
    let shown = Shown {
        digest: *digest,
        size: link.size,
        media_type: BLOB_TYPE.to_owned(),
        modified_ms: link.linked_ms,
    };
    (blob_key(digest), shown)
}

/// The manifests of a repository by digest, and by tag, from a reference on.
fn manifests_of<'a, R: Rows>(
    rows: &'a R,
    repository: &RepositoryName,
    from: &[u8],
) -> Result<Vec<Keys<'a>>, CatalogError> {
    let prefix = repositories::prefix(repository);
    let mut sources: Vec<Keys<'a>> = Vec::new();
    let of = repository.clone();
    let key =
        move |reference: &dyn std::fmt::Display| format!("{MANIFESTS_PREFIX}{of}/{reference}");
    if let Some(digest) = digests_from(from, ':') {
        let after = [prefix.as_slice(), &digest].concat();
        let key = key.clone();
        let found = rows.scan_sound(&MANIFESTS, &prefix, Some(&after))?;
        sources.push(Box::new(found.map(move |row| {
            let (ContentKey { digest, .. }, manifest) = row?;
            let shown = Shown {
                digest,
                size: manifest.size,
                media_type: manifest.media_type,
                modified_ms: manifest.pushed_ms,
            };
            Ok((key(&digest), shown))
        })));
    }
    let after = [prefix.as_slice(), from].concat();
    let tags = rows.scan_sound(&TAGS, &prefix, Some(&after))?;
    let of = repository.clone();
    sources.push(Box::new(tags.filter_map(move |row| {
        let find = || {
            let (tag, row) = row?;
            let of = ContentKey::new(&of, &row.digest);
            let manifest = rows.get_sound(&MANIFESTS, &of)?;
            Ok(manifest.map(|manifest| {
                let shown = Shown {
                    digest: row.digest,
                    size: manifest.size,
                    media_type: manifest.media_type,
                    modified_ms: manifest.pushed_ms,
                };
                (key(&tag.tag), shown)
            }))
        };
        find().transpose()
    })));
    Ok(sources)
}

/// The keys of several sources as one.
#[derive(Default)]
struct Queue<'a> {
    sources: Vec<Keys<'a>>,
    next: BTreeMap<(String, usize), Shown>,
}

impl<'a> Queue<'a> {
    fn add(&mut self, keys: Keys<'a>) -> Result<(), CatalogError> {
        self.sources.push(keys);
        self.refill(self.sources.len() - 1)
    }

    fn refill(&mut self, source: usize) -> Result<(), CatalogError> {
        if let Some((key, shown)) = self.sources[source].next().transpose()? {
            self.next.insert((key, source), shown);
        }
        Ok(())
    }

    /// The least key that is left.
    fn first(&self) -> Option<&String> {
        self.next.first_key_value().map(|((key, _), _)| key)
    }

    /// Takes it.
    fn pop(&mut self) -> Result<Option<(String, Shown)>, CatalogError> {
        let Some(((key, source), shown)) = self.next.pop_first() else {
            return Ok(None);
        };
        self.refill(source)?;
        Ok(Some((key, shown)))
    }
}

#[cfg(test)]
mod tests;
