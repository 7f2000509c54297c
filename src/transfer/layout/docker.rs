//! What a layout in a tar says to `docker load`: `manifest.json`, and names as Docker has them. Its layers
//! may be compressed; who loads them looks.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::blob_name;
use crate::digest::Digest;
use crate::oci::{Content, Manifest, RepositoryName, Tag};
use crate::transfer::end::{Found, Place};
use crate::transfer::error::TransferError;

/// An image, as `manifest.json` has it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Image<'a> {
    config: String,
    repo_tags: &'a [String],
    layers: Vec<String>,
}

type Images = BTreeMap<Digest, (Found, Vec<String>)>;

/// The name of an image with the registry that Docker takes for granted.
pub(super) fn docker_name(repository: &RepositoryName, tag: &Tag) -> String {
    match repository.as_str().contains('/') {
        true => format!("docker.io/{repository}:{tag}"),
        false => format!("docker.io/library/{repository}:{tag}"),
    }
}

/// Notes an image that has a name, or is to be loaded without one.
pub(super) fn for_docker(
    images: &mut Images,
    repository: &RepositoryName,
    manifest: &Found,
    place: Place<'_>,
) -> Result<(), TransferError> {
    let name = match place {
        Place::Part => return Ok(()),
        Place::Root => None,
        Place::Tagged(tag) => Some(format!("{repository}:{tag}")),
    };
    if manifest.is_index() {
        return Err(TransferError::Unusable(format!(
            "{} of {repository} is an index of several images, and an archive of Docker's holds single \
             ones: choose one by --platform",
            manifest.digest
        )));
    }
    let image = images.entry(manifest.digest);
    let (_, names) = image.or_insert_with(|| (manifest.clone(), Vec::new()));
    names.extend(name);
    Ok(())
}

/// `manifest.json`.
pub(super) fn docker_list(images: &Images) -> Result<Bytes, TransferError> {
    let mut list = Vec::new();
    for (found, names) in images.values() {
        let manifest = Manifest::parse(&found.bytes, Some(&found.media_type))
            .map_err(|error| TransferError::Unusable(error.to_string()))?;
        if let Content::Image { config, layers } = manifest.content() {
            list.push(Image {
                config: blob_name(&config.digest()),
                repo_tags: names,
                layers: layers.iter().map(|it| blob_name(&it.digest())).collect(),
            });
        }
    }
    // Texts alone: this cannot fail to serialise.
    Ok(serde_json::to_vec(&list).unwrap_or_default().into())
}
