//! What people look through: repositories and what each holds, tags and what they point at, and what
//! lies around a manifest.

use super::repositories::{after_text, exists, prefix};
use super::tables::{
    ContentKey, EdgeKey, MANIFESTS, REFERENCES, REPOSITORIES, TAGS, TAGS_BY_DIGEST, TagKey, TagRow,
    USAGE, UsageRow,
};
use super::{Page, Registry, RegistryError, pulls, usage};
use crate::digest::Digest;
use crate::ghostbay::catalog::{CatalogError, Key, KeyWriter, Rows};
use crate::oci::{RepositoryName, Role, Tag};

/// Tags of a manifest, and indexes that list it, that are named.
pub const NEIGHBOURS_MAX: usize = 100;

/// A repository, and what it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepositorySummary {
    /// Its name.
    pub name: RepositoryName,
    /// When its first content came, in milliseconds since 1970.
    pub created_ms: u64,
    /// What it holds.
    pub usage: UsageRow,
}

/// A tag, and what it points at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagSummary {
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points at.
    pub digest: Digest,
    /// When it was last pushed, in milliseconds since 1970.
    pub tagged_ms: u64,
    /// When its manifest was last pulled, as far as that is written down.
    pub pulled_ms: Option<u64>,
}

/// What lies around a manifest in its repository. Of tags and indexes the first [`NEIGHBOURS_MAX`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Surroundings {
    /// When it was last pushed, in milliseconds since 1970.
    pub pushed_ms: u64,
    /// When it was last pulled, as far as that is written down.
    pub pulled_ms: Option<u64>,
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// The indexes that list it.
    pub listed_by: Vec<Digest>,
}

/// What a search has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Repositories by their name.
    pub repositories: Vec<RepositoryName>,
    /// Tags by their name.
    pub tags: Vec<(RepositoryName, Tag)>,
    /// Manifests by the beginning of their digest.
    pub manifests: Vec<(RepositoryName, Digest)>,
    /// Whether the search ended before it had looked everywhere.
    pub ended_early: bool,
}

impl Registry {
    /// The repositories behind `page.last` whose names hold `part` and that the caller may see, and
    /// whether there are more.
    pub fn repository_summaries(
        &self,
        page: Page,
        part: &str,
        may_see: impl Fn(&RepositoryName) -> bool,
    ) -> Result<(Vec<RepositorySummary>, bool), RegistryError> {
        let rows = self.storage.catalog().read()?;
        let after = page.last.map(|last| after_text(&[], &last));
        let mut summaries = Vec::new();
        for row in rows.scan_sound(&REPOSITORIES, &[], after.as_deref())? {
            let (name, row) = row?;
            if row.deleted_ms.is_some() || !name.as_str().contains(part) || !may_see(&name) {
                continue;
            }
            if summaries.len() == page.limit {
                return Ok((summaries, true));
            }
            let usage = usage::of(&rows, &name)?;
            summaries.push(RepositorySummary {
                name,
                created_ms: row.created_ms,
                usage,
            });
        }
        Ok((summaries, false))
    }

    /// The tags of a repository in the order of their bytes, `most` at most, and whether there are more.
    pub fn tag_summaries(
        &self,
        repository: &RepositoryName,
        most: usize,
    ) -> Result<(Vec<TagSummary>, bool), RegistryError> {
        let rows = self.storage.catalog().read()?;
        if !exists(&rows, repository)? {
            return Err(RegistryError::NameUnknown {
                repository: repository.clone(),
            });
        }
        let mut summaries = Vec::new();
        for row in rows.scan_sound(&TAGS, &prefix(repository), None)? {
            let (TagKey { tag, .. }, TagRow { digest, tagged_ms }) = row?;
            if summaries.len() == most {
                return Ok((summaries, true));
            }
            let pulled_ms = pulls::last_ms(&rows, &ContentKey::new(repository, &digest))?;
            summaries.push(TagSummary {
                tag,
                digest,
                tagged_ms,
                pulled_ms,
            });
        }
        Ok((summaries, false))
    }

    /// What all repositories hold together, in bytes, as if each had its own copy of everything.
    pub fn logical_bytes(&self) -> Result<u64, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let mut bytes = 0u64;
        for row in rows.scan_sound(&USAGE, &[], None)? {
            bytes = bytes.saturating_add(row?.1.bytes);
        }
        Ok(bytes)
    }

    /// What lies around a manifest; `None` if it is not there.
    pub fn surroundings(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Surroundings>, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let key = ContentKey::new(repository, digest);
        let Some(row) = rows.get_sound(&MANIFESTS, &key)? else {
            return Ok(None);
        };
        let mut of = KeyWriter::new();
        key.encode(&mut of);
        let tags = rows.scan_sound(&TAGS_BY_DIGEST, of.as_bytes(), None)?;
        let tags = tags.map(|row| row.map(|(key, ())| key.tag));
        let above = rows.scan_sound(&REFERENCES, &EdgeKey::prefix(repository, digest), None)?;
        let above = above.filter_map(|row| match row {
            Ok((key, edge)) if edge.has(Role::Child) && !edge.is_of_deleted() => {
                Some(Ok(key.source))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        Ok(Some(Surroundings {
            pushed_ms: row.pushed_ms,
            pulled_ms: pulls::last_ms(&rows, &key)?,
            tags: first(tags)?,
            listed_by: first(above)?,
        }))
    }

    /// Looks for `text` among what the caller may see: in the names of repositories, in tags that are
    /// exactly that, or that begin with what stands behind a colon, and at the beginning of manifests'
    /// digests. Of each kind at most `most`; `goes_on` is asked before each repository, and ends it.
    pub fn find(
        &self,
        text: &str,
        most: usize,
        may_see: impl Fn(&RepositoryName) -> bool,
        goes_on: impl Fn() -> bool,
    ) -> Result<Found, RegistryError> {
        let rows = self.storage.catalog().read()?;
        let (name_part, tag_part) = match text.rsplit_once(':') {
            Some((name, tag)) if !text.starts_with("sha") => (name, Some(tag)),
            _ => (text, None),
        };
        let digest = DigestPrefix::of(text);
        let exact: Option<Tag> = text.parse().ok().filter(|_| tag_part.is_none());
        let mut found = Found::default();
        for row in rows.scan_sound(&REPOSITORIES, &[], None)? {
            if !goes_on() {
                found.ended_early = true;
                break;
            }
            let (name, row) = row?;
            if row.deleted_ms.is_some() || !may_see(&name) {
                continue;
            }
            let is_named = name.as_str().contains(name_part);
            if is_named && tag_part.is_none() && found.repositories.len() < most {
                found.repositories.push(name.clone());
            }
            if let Some(tag) = &exact
                && found.tags.len() < most
                && rows.contains(&TAGS, &TagKey::new(&name, tag))?
            {
                found.tags.push((name.clone(), tag.clone()));
            }
            if let Some(part) = tag_part.filter(|_| is_named) {
                let mut key = KeyWriter::new();
                key.raw(&prefix(&name)).raw(part.as_bytes());
                for row in rows.scan_sound(&TAGS, key.as_bytes(), None)? {
                    if found.tags.len() >= most {
                        break;
                    }
                    found.tags.push((name.clone(), row?.0.tag));
                }
            }
            if let Some(digest) = &digest
                && found.manifests.len() < most
            {
                digest.find(&rows, &name, most, &mut found.manifests)?;
            }
        }
        Ok(found)
    }
}

/// The first [`NEIGHBOURS_MAX`].
fn first<T>(items: impl Iterator<Item = Result<T, CatalogError>>) -> Result<Vec<T>, CatalogError> {
    items.take(NEIGHBOURS_MAX).collect()
}

/// The beginning of a digest.
struct DigestPrefix {
    /// `sha256:`, then at least six digits in lower case.
    text: String,
}

impl DigestPrefix {
    /// Fewer digits name too many manifests to be of use.
    const DIGITS_MIN: usize = 6;

    fn of(text: &str) -> Option<Self> {
        let (algorithm, digits) = text.split_once(':').unwrap_or(("sha256", text));
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_one = matches!(algorithm, "sha256" | "sha512")
            && digits.len() >= Self::DIGITS_MIN
            && digits.bytes().all(is_hex);
        is_one.then(|| DigestPrefix {
            text: format!("{algorithm}:{digits}"),
        })
    }

    /// Keys hold raw bytes in the order of their digits: the scan begins at the smallest digest that
    /// could be meant, and ends with the first that is not.
    fn find(
        &self,
        rows: &impl Rows,
        repository: &RepositoryName,
        most: usize,
        found: &mut Vec<(RepositoryName, Digest)>,
    ) -> Result<(), CatalogError> {
        let length = match self.text.starts_with("sha512") {
            true => "sha512:".len() + 128,
            false => "sha256:".len() + 64,
        };
        let Ok(smallest) = format!("{:0<length$.length$}", self.text).parse::<Digest>() else {
            return Ok(());
        };
        let smallest = ContentKey::new(repository, &smallest);
        let is_meant = |digest: &Digest| digest.to_string().starts_with(&self.text);
        if rows.contains(&MANIFESTS, &smallest)? && is_meant(&smallest.digest) {
            found.push((repository.clone(), smallest.digest));
        }
        let mut after = KeyWriter::new();
        smallest.encode(&mut after);
        for row in rows.scan_sound(&MANIFESTS, &prefix(repository), Some(after.as_bytes()))? {
            let digest = row?.0.digest;
            if found.len() >= most || !is_meant(&digest) {
                break;
            }
            found.push((repository.clone(), digest));
        }
        Ok(())
    }
}
