//! What comes back: the first image that can be found, its manifest with its headers, and a byte of a layer.

use serde::Deserialize;

use super::Outside;
use crate::cli::doctor::finding::Findings;
use crate::http::exchange::Response;
use crate::http::exchange::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RANGE,
};
use crate::http::exchange::http::{HeaderName, HeaderValue, Method, StatusCode};
use crate::transfer::registry::Probe;

const CHECK: &str = "pull";

/// The longest list and manifest that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// So many repositories are looked at for an image.
const REPOSITORIES: usize = 5;

const MANIFESTS: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
}

/// Looks at the first image that this account may pull.
pub async fn check(outside: &Outside, findings: &mut Findings) {
    let Some((repository, reference)) = image(outside).await else {
        findings.note(
            CHECK,
            "there is no image to look at, or none that may be listed",
        );
        return;
    };
    let Some(manifest) = manifest(outside, &repository, &reference, Some(findings)).await else {
        return;
    };
    let manifest = match manifest.manifests.first() {
        None => Some(manifest),
        // Of an index, one of its images.
        Some(child) => manifest_of(outside, &repository, &child.digest).await,
    };
    let blob = manifest.and_then(|it| it.layers.into_iter().last().or(it.config));
    match blob.filter(|blob| blob.size > 1) {
        None => findings.note(
            CHECK,
            format!("{repository}:{reference} has no layer to look at"),
        ),
        Some(blob) => range(outside, &repository, &blob, findings).await,
    }
}

async fn json<T: for<'de> Deserialize<'de>>(outside: &Outside, path: &str) -> Option<T> {
    let answer = outside.ask(Probe::new(Method::GET, path)).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let body = outside.end.body_of(answer, ANSWER_BYTES_MAX).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// A repository and a tag of it.
async fn image(outside: &Outside) -> Option<(String, String)> {
    let path = format!("/v2/_catalog?n={REPOSITORIES}");
    let catalog: Catalog = json(outside, &path).await?;
    for repository in catalog.repositories {
        let tags: Option<Tags> = json(outside, &format!("/v2/{repository}/tags/list?n=1")).await;
        let tag = tags.and_then(|it| it.tags?.into_iter().next());
        if let Some(tag) = tag {
            return Some((repository, tag));
        }
    }
    None
}

async fn manifest_of(outside: &Outside, repository: &str, reference: &str) -> Option<Manifest> {
    manifest(outside, repository, reference, None).await
}

async fn manifest(
    outside: &Outside,
    repository: &str,
    reference: &str,
    findings: Option<&mut Findings>,
) -> Option<Manifest> {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let probe = Probe::new(Method::GET, path).with(ACCEPT, MANIFESTS);
    let answer = outside.ask(probe).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    if let Some(findings) = findings {
        let digest = header(&answer, HeaderName::from_static("docker-content-digest"));
        let kind = header(&answer, CONTENT_TYPE).unwrap_or_default();
        match digest.is_some() && kind.starts_with("application/vnd.") {
            true => findings.ok(CHECK, format!("the manifest {repository}:{reference} comes with its digest and type")),
            false => findings.warn(
                CHECK,
                format!("the manifest {repository}:{reference} comes as {kind:?} with the digest {digest:?}: headers were taken away or changed"),
                "have the proxy pass Content-Type and Docker-Content-Digest back as they are",
            ),
        }
    }
    let body = outside.end.body_of(answer, ANSWER_BYTES_MAX).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Asks for one byte, and offers to take it packed, which must not be taken up.
async fn range(outside: &Outside, repository: &str, blob: &Descriptor, findings: &mut Findings) {
    let digest = &blob.digest;
    let path = format!("/v2/{repository}/blobs/{digest}");
    let probe = Probe::new(Method::GET, path)
        .with(RANGE, HeaderValue::from_static("bytes=1-1"))
        .with(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    let answer = match outside.ask(probe).await {
        Ok(answer) => answer,
        Err(error) => {
            findings.fail(
                CHECK,
                format!("blob {digest} of {repository}: {error}"),
                "see the proxy's log",
            );
            return;
        }
    };
    if let Some(encoding) = header(&answer, CONTENT_ENCODING) {
        findings.warn(
            CHECK,
            format!("a layer comes packed once more ({encoding}): its length is not known, and ranges of it are others"),
            "have the proxy leave blobs as they are (nginx: gzip off)",
        );
    }
    match (answer.status(), header(&answer, CONTENT_LENGTH)) {
        (StatusCode::PARTIAL_CONTENT, Some("1")) => {
            findings.ok(CHECK, format!("a part of a layer of {repository} can be had: pulls go on where they broke off"));
        }
        (StatusCode::PARTIAL_CONTENT, length) => findings.warn(
            CHECK,
            format!("a part of a layer of 1 byte comes with the length {length:?}"),
            "have the proxy leave Content-Length and bodies as they are",
        ),
        (status, _) => findings.warn(
            CHECK,
            format!("a part of a layer is asked for, and answered {status}: pulls that break off begin anew"),
            "have the proxy pass the header Range on",
        ),
    }
}

fn header(answer: &Response, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}
