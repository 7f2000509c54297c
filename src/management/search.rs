//! Looking for something by a part of its name.

use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Management};
use crate::http::error::ApiError;
use crate::oci::RepositoryName;

/// Of each kind so many are found.
const FOUND_MAX: usize = 20;

/// A search ends after so long, with what it has.
const TIME_MAX: Duration = Duration::from_millis(500);

/// The longest text that is looked for, in bytes: a digest of SHA-512 behind the longest name.
const TEXT_BYTES_MAX: usize = 512;

/// What was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SearchResult {
    /// Repositories whose names hold the text; the first 20.
    pub repositories: Vec<String>,
    /// Tags of exactly that name, or of `REPOSITORY:BEGINNING`; the first 20.
    pub tags: Vec<FoundTag>,
    /// Manifests whose digests begin with it, at least six digits; the first 20.
    pub manifests: Vec<FoundManifest>,
    /// Manifests that say it of themselves: whose annotations have values that begin with it, or, as
    /// `NAME=BEGINNING`, that annotation; the first 20.
    pub annotations: Vec<Annotated>,
    /// Whether the search ended before it had looked everywhere.
    pub ended_early: bool,
}

/// A tag.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundTag {
    /// Its repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

/// A manifest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundManifest {
    /// Its repository.
    pub repository: String,
    /// Its digest.
    pub digest: String,
}

/// A manifest, and what it says of itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Annotated {
    /// Its repository.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// The annotation's name.
    #[schema(example = "org.opencontainers.image.title")]
    pub name: String,
    /// The beginning of its value, 128 bytes at most.
    pub value: String,
}

impl Management {
    /// Looks for a text among what the caller may see.
    pub async fn search(&self, caller: &Caller, text: &str) -> Result<SearchResult, ApiError> {
        self.check_listing(caller)?;
        if text.len() > TEXT_BYTES_MAX {
            let message = format!(
                "the text has {} bytes, and at most {TEXT_BYTES_MAX} are looked for",
                text.len()
            );
            return Err(ApiError::bad_request(message));
        }
        let (registry, caller) = (self.api.registry.clone(), caller.clone());
        let text = text.trim().to_owned();
        let find = move || {
            let began = Instant::now();
            let may_see = |name: &RepositoryName| caller.may_see(name);
            let goes_on = || began.elapsed() < TIME_MAX;
            let (said, ended_early) =
                registry.find_annotations(&text, FOUND_MAX, may_see, goes_on)?;
            let mut found = registry.find(&text, FOUND_MAX, may_see, goes_on)?;
            found.ended_early |= ended_early;
            Ok::<_, ApiError>((found, said))
        };
        let found = tokio::task::spawn_blocking(find).await;
        let (found, said) = found.map_err(ApiError::internal)??;
        let annotations = said.into_iter().map(|found| Annotated {
            repository: found.repository.to_string(),
            digest: found.digest.to_string(),
            name: found.name,
            value: found.value,
        });
        let tags = found.tags.into_iter().map(|(repository, tag)| FoundTag {
            repository: repository.to_string(),
            tag: tag.to_string(),
        });
        let manifests = found.manifests.into_iter();
        let manifests = manifests.map(|(repository, digest)| FoundManifest {
            repository: repository.to_string(),
            digest: digest.to_string(),
        });
        Ok(SearchResult {
            repositories: found.repositories.iter().map(ToString::to_string).collect(),
            tags: tags.collect(),
            manifests: manifests.collect(),
            annotations: annotations.collect(),
            ended_early: found.ended_early,
        })
    }
}
