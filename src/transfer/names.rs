//! From what an archive calls an image to a repository and a tag.

use crate::oci::{RepositoryName, Tag};

use super::error::TransferError;

/// What the operator says images are to be called, in the place of what the archive says.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The repository of all of them.
    pub repository: Option<RepositoryName>,
    /// The tag of the only one.
    pub tag: Option<Tag>,
}

/// What an archive says.
#[derive(Clone, Debug, Default)]
pub struct Called {
    /// A repository, if there is one that is surely one.
    pub repository: Option<String>,
    /// A reference, or a tag alone.
    pub reference: Option<String>,
}

impl Naming {
    /// The repository and the tag of an image that is called so.
    pub fn of(&self, called: &Called) -> Result<(RepositoryName, Option<Tag>), TransferError> {
        let (named, tag) = match &called.reference {
            None => (None, None),
            Some(reference) => split(reference),
        };
        let tag = match &self.tag {
            Some(tag) => Some(tag.clone()),
            None => tag.map(str::parse).transpose().map_err(|error| {
                let reference = called.reference.as_deref().unwrap_or_default();
                TransferError::Unusable(format!("{reference:?} names no tag: {error}"))
            })?,
        };
        if let Some(repository) = &self.repository {
            return Ok((repository.clone(), tag));
        }
        let named = called.repository.as_deref().or(named).ok_or_else(|| {
            TransferError::Unusable(
                "it does not say to which repository an image belongs: name one by --repository"
                    .to_owned(),
            )
        })?;
        let repository = without_host(named).parse().map_err(|error| {
            TransferError::Unusable(format!(
                "an image cannot be called {named:?} here: {error}; name another repository by \
                 --repository"
            ))
        })?;
        Ok((repository, tag))
    }
}

/// Repository and tag of a reference; what has neither slash nor colon is a tag.
fn split(reference: &str) -> (Option<&str>, Option<&str>) {
    let reference = match reference.split_once('@') {
        Some((named, _)) => named,
        None => reference,
    };
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (Some(repository), Some(tag)),
        _ if reference.contains('/') => (Some(reference), None),
        _ => (None, Some(reference)),
    }
}

/// A name without the registry before it: a first part that could be a host.
fn without_host(name: &str) -> &str {
    let is_host = |part: &str| {
        let begins = part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
        (begins && part.contains(['.', ':'])) || part == "localhost"
    };
    match name.split_once('/') {
        Some((host, rest)) if is_host(host) => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(repository: Option<&str>, reference: Option<&str>) -> Called {
        Called {
            repository: repository.map(str::to_owned),
            reference: reference.map(str::to_owned),
        }
    }

    #[test]
    fn names_are_taken_from_what_an_archive_says() {
        for (reference, repository, tag) in [
            (
                "docker.io/library/alpine:3.20",
                "library/alpine",
                Some("3.20"),
            ),
            ("localhost:5000/team/app:v1", "team/app", Some("v1")),
            ("localhost/team/app", "team/app", None),
            ("alpine:3.20", "alpine", Some("3.20")),
            ("team/app", "team/app", None),
            ("team/app:v1@sha256:00", "team/app", Some("v1")),
        ] {
            let (found, found_tag) = Naming::default()
                .of(&called(None, Some(reference)))
                .unwrap();
            let found_tag = found_tag.as_ref().map(Tag::as_str);
            assert_eq!(
                (found.as_str(), found_tag),
                (repository, tag),
                "{reference}"
            );
        }
    }

    #[test]
    fn the_operator_is_believed_rather_than_the_archive() {
        let naming = Naming {
            repository: Some("here".parse().unwrap()),
            tag: None,
        };
        let (repository, tag) = naming.of(&called(Some("there"), Some("v1"))).unwrap();
        assert_eq!((repository.as_str(), tag.unwrap().as_str()), ("here", "v1"));
        let error = Naming::default().of(&called(None, Some("v1"))).unwrap_err();
        assert!(error.to_string().contains("--repository"), "{error}");
        for bad in ["Team/App:v1", "../x:v1", "team/app:../v1"] {
            let bad = called(None, Some(bad));
            assert!(Naming::default().of(&bad).is_err(), "{bad:?}");
        }
    }
}
