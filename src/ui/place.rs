//! Repositories, tags and manifests as paths of the page: `/r/team/app`, `/r/team/app:v1`,
//! `/r/team/app@sha256:...`, and a view of one behind `/-/`, which no name can hold.

use percent_encoding::percent_decode_str;

use crate::oci::{Reference, RepositoryName};

/// What the paths begin with.
pub const PREFIX: &str = "/r/";

/// What stands between a name and a view of it.
const VIEW: &str = "/-/";

/// Something that has a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The repository.
    pub repository: RepositoryName,
    /// A tag or manifest of it.
    pub reference: Option<Reference>,
    /// Which view of it; the first there is without one.
    pub view: Option<String>,
}

impl Place {
    /// Reads the path of a request; `None` if it names nothing that can be.
    pub fn parse(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let path = path.strip_prefix(PREFIX)?;
        let (name, view) = match path.split_once(VIEW) {
            Some((name, view)) => (name, Some(view.to_owned())),
            None => (path, None),
        };
        let (repository, reference) = match (name.split_once('@'), name.split_once(':')) {
            (Some((name, digest)), _) => (name, Some(Reference::Digest(digest.parse().ok()?))),
            (None, Some((name, tag))) => (name, Some(Reference::Tag(tag.parse().ok()?))),
            (None, None) => (name, None),
        };
        Some(Place {
            repository: repository.parse().ok()?,
            reference,
            view,
        })
    }
}

/// The path of a repository.
pub fn repository(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The path of a tag.
pub fn tag(repository: &str, tag: &str) -> String {
    format!("{PREFIX}{repository}:{tag}")
}

/// The path of a manifest.
pub fn manifest(repository: &str, digest: &str) -> String {
    format!("{PREFIX}{repository}@{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let at = |path: &str| Place::parse(path).unwrap();
        assert_eq!(at("/r/team/app").reference, None);
        let tagged = at(&tag("team/app", "v1.0"));
        assert_eq!(tagged.repository.as_str(), "team/app");
        assert_eq!(tagged.reference, Some("v1.0".parse().unwrap()));
        let named = at(&manifest("a", &digest));
        assert_eq!(
            named.reference,
            Some(Reference::Digest(digest.parse().unwrap()))
        );
        let view = at("/r/team/app%3Av1/-/timeline");
        assert_eq!(view.view.as_deref(), Some("timeline"));
        assert_eq!(view.reference, Some("v1".parse().unwrap()));
        for path in [
            "/r/", "/r/A", "/r/a/", "/r/a:", "/r/a:b:c", "/r/a@b", "/x/a", "/r/..%2f", "/r/%ff",
        ] {
            assert_eq!(Place::parse(path), None, "{path}");
        }
    }
}
