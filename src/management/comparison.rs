//! What differs between two manifests of a repository: layers, and what the images say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::files::changes::FileChanges;
use super::manifests::{Image, Kind, Layer, Manifest};
use super::{Caller, Management};
use crate::digest::Digest;
use crate::http::error::ApiError;
use crate::oci::{Reference, RepositoryName};

/// What differs between two manifests.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Comparison {
    /// The repository.
    pub repository: String,
    /// The digest of the first.
    pub from: String,
    /// The digest of the second.
    pub to: String,
    /// Bytes of configuration and layers of the first.
    pub from_bytes: u64,
    /// Those of the second.
    pub to_bytes: u64,
    /// Bytes of the layers that both have.
    pub shared_bytes: u64,
    /// The layers: those that both have, then what the first alone has, then what the second alone has.
    pub layers: Vec<ComparedLayer>,
    /// What the images say of themselves and do not say alike.
    pub facts: Vec<Fact>,
    /// The files that differ, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FileChanges>,
}

/// A layer of one or both.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComparedLayer {
    /// Who has it.
    pub side: Side,
    /// The layer.
    #[serde(flatten)]
    pub layer: Layer,
}

/// Which of two has something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Both.
    Both,
    /// The first alone.
    From,
    /// The second alone.
    To,
}

/// Something that is said otherwise, or by one alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Fact {
    /// What it is about.
    #[schema(example = "environment PATH")]
    pub what: String,
    /// What the first says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What the second says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Management {
    /// What differs between two manifests of a repository; with `files` the layers that differ are read as well.
    pub async fn compare(
        &self,
        caller: &Caller,
        repository: &RepositoryName,
        from: &Reference,
        to: &Reference,
        files: bool,
    ) -> Result<Comparison, ApiError> {
        let (from, _) = self.manifest(caller, repository, from).await?;
        let (to, _) = self.manifest(caller, repository, to).await?;
        if let Some(index) = [&from, &to].into_iter().find(|it| it.kind == Kind::Index) {
            let message = format!(
                "{} is an index: compare manifests of one platform that it lists",
                index.digest
            );
            return Err(ApiError::bad_request(message));
        }
        let files = match files {
            true => {
                let digests = |it: &Manifest| -> Vec<Digest> {
                    let layers = it.layers.iter();
                    layers.filter_map(|it| it.digest.parse().ok()).collect()
                };
                let (from, to) = (digests(&from), digests(&to));
                Some(self.file_changes(repository, &from, &to).await?)
            }
            false => None,
        };
        let facts = differences(&said(&from), &said(&to));
        let layers = layers(from.layers, to.layers);
        Ok(Comparison {
            repository: repository.to_string(),
            from: from.digest,
            to: to.digest,
            from_bytes: from.content_bytes,
            to_bytes: to.content_bytes,
            shared_bytes: shared_bytes(&layers),
            layers,
            facts,
            files,
        })
    }
}

fn layers(from: Vec<Layer>, to: Vec<Layer>) -> Vec<ComparedLayer> {
    let digests = |layers: &[Layer]| -> BTreeSet<String> {
        layers.iter().map(|it| it.digest.clone()).collect()
    };
    let (in_from, in_to) = (digests(&from), digests(&to));
    let side = |side, layers: Vec<Layer>| {
        let compared = layers.into_iter();
        compared.map(move |layer| ComparedLayer { side, layer })
    };
    let (both, from): (Vec<_>, Vec<_>) =
        from.into_iter().partition(|it| in_to.contains(&it.digest));
    let to = to.into_iter().filter(|it| !in_from.contains(&it.digest));
    side(Side::Both, both)
        .chain(side(Side::From, from))
        .chain(side(Side::To, to.collect()))
        .collect()
}

/// Bytes of the layers that both have, each once.
fn shared_bytes(layers: &[ComparedLayer]) -> u64 {
    let both = layers.iter().filter(|it| it.side == Side::Both);
    let once: BTreeMap<&str, u64> = both
        .map(|it| (it.layer.digest.as_str(), it.layer.bytes))
        .collect();
    once.values()
        .fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

/// Everything that a manifest says of itself, by what it is about.
fn said(manifest: &Manifest) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for (key, value) in &manifest.annotations {
        said.insert(format!("annotation {key}"), value.clone());
    }
    let Some(image) = &manifest.image else {
        return said;
    };
    let Image {
        platform,
        created,
        author,
        user,
        working_dir,
        entrypoint,
        command,
        environment,
        ports,
        volumes,
        labels,
    } = image;
    let words = |words: &[String]| (!words.is_empty()).then(|| words.join(" "));
    for (what, value) in [
        ("platform", platform.clone()),
        ("made", created.clone()),
        ("author", author.clone()),
        ("user", user.clone()),
        ("working directory", working_dir.clone()),
        ("entrypoint", words(entrypoint)),
        ("command", words(command)),
        ("ports", words(ports)),
        ("volumes", words(volumes)),
    ] {
        if let Some(value) = value {
            said.insert(what.to_owned(), value);
        }
    }
    for line in environment {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        said.insert(format!("environment {name}"), value.to_owned());
    }
    for (key, value) in labels {
        said.insert(format!("label {key}"), value.clone());
    }
    said
}

fn differences(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Vec<Fact> {
    let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let facts = keys.into_iter().map(|what| Fact {
        what: what.clone(),
        from: from.get(what).cloned(),
        to: to.get(what).cloned(),
    });
    facts.filter(|fact| fact.from != fact.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(digest: &str, bytes: u64) -> Layer {
        Layer {
            digest: digest.to_owned(),
            media_type: String::new(),
            bytes,
            created_by: None,
            title: None,
        }
    }

    #[test]
    fn layers_are_sorted_by_who_has_them() {
        let compared = layers(
            vec![layer("a", 1), layer("b", 2), layer("a", 1)],
            vec![layer("a", 1), layer("c", 4)],
        );
        let sides: Vec<_> = compared
            .iter()
            .map(|it| (it.side, it.layer.digest.as_str()))
            .collect();
        assert_eq!(
            sides,
            [
                (Side::Both, "a"),
                (Side::Both, "a"),
                (Side::From, "b"),
                (Side::To, "c")
            ]
        );
        assert_eq!(shared_bytes(&compared), 1);
    }

    #[test]
    fn what_both_say_alike_is_no_difference() {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        let facts = differences(
            &map(&[("a", "1"), ("b", "2")]),
            &map(&[("a", "1"), ("b", "3"), ("c", "")]),
        );
        let facts: Vec<_> = facts
            .iter()
            .map(|it| (it.what.as_str(), it.from.as_deref(), it.to.as_deref()))
            .collect();
        assert_eq!(facts, [("b", Some("2"), Some("3")), ("c", None, Some(""))]);
    }
}
