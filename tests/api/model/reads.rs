//! Reading: what is there must be what the model holds, and nothing else may be there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use drift::digest::Algorithm;
use serde_json::Value;

use crate::driver::Driver;
use crate::operation::{REPOSITORIES, TAGS};
use crate::pool::digest;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Driver<'_> {
    pub async fn read_blob(
        &self,
        repository: &str,
        content: usize,
        algorithm: Algorithm,
        range: Option<(u16, u16)>,
    ) -> Result<()> {
        let wanted = &self.pool.contents[content];
        let (bytes, digest) = (&wanted.bytes, wanted.digest(algorithm));
        let path = format!("/v2/{repository}/blobs/{digest}");
        let head = self.send("HEAD", &path, &[], b"").await?;
        if !self.model.has_blob(repository, digest) {
            head.expect(404)?;
            return self
                .get(&path)
                .await?
                .expect_error(404, "BLOB_UNKNOWN")
                .map(drop);
        }
        head.expect(200)?;
        head.expect_header("content-length", &bytes.len().to_string())?;
        head.expect_header("docker-content-digest", digest)?;
        let Some((first, last)) = range.map(|(a, b)| (usize::from(a), usize::from(b))) else {
            let answer = self.get(&path).await?;
            answer.expect(200)?;
            answer.expect_header("docker-content-digest", digest)?;
            return answer.expect_body(bytes);
        };
        let header = format!("bytes={first}-{last}");
        let answer = self
            .send("GET", &path, &[("range", header.as_str())], b"")
            .await?;
        if last < first || first >= bytes.len() {
            return answer.expect(416);
        }
        let last = last.min(bytes.len() - 1);
        answer.expect(206)?;
        let sent = format!("bytes {first}-{last}/{}", bytes.len());
        answer.expect_header("content-range", &sent)?;
        answer.expect_body(&bytes[first..=last])
    }

    pub async fn read_tag(&self, repository: &str, tag: &str) -> Result<()> {
        let digest = self.model.tag(repository, tag);
        self.read_manifest(repository, tag, digest.as_deref()).await
    }

    pub async fn read_manifest(
        &self,
        repository: &str,
        reference: &str,
        digest: Option<&str>,
    ) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let head = self.send("HEAD", &path, &[], b"").await?;
        let answer = self.get(&path).await?;
        let place = digest.and_then(|digest| self.model.manifest(repository, digest));
        let (Some(place), Some(digest)) = (place, digest) else {
            head.expect(404)?;
            return answer.expect_error(404, "MANIFEST_UNKNOWN").map(drop);
        };
        let made = &self.pool.manifests[place];
        for answer in [&head, &answer] {
            answer.expect(200)?;
            answer.expect_header("content-type", made.media_type)?;
            answer.expect_header("content-length", &made.bytes.len().to_string())?;
            answer.expect_header("docker-content-digest", digest)?;
        }
        answer.expect_body(&made.bytes)
    }

    /// Reads a list by its links; `all` is everything that there is.
    pub async fn list(
        &self,
        path: &str,
        field: &str,
        all: &[String],
        limit: Option<usize>,
        last: Option<&str>,
    ) -> Result<()> {
        let expected: Vec<&String> = all
            .iter()
            .filter(|name| last.is_none_or(|last| name.as_str() > last))
            .collect();
        let mut query = Vec::new();
        query.extend(limit.map(|limit| format!("n={limit}")));
        query.extend(last.map(|last| format!("last={}", last.replace('/', "%2F"))));
        let mut path = format!("{path}?{}", query.join("&"));
        let mut found: Vec<String> = Vec::new();
        loop {
            let answer = self.get(&path).await?;
            answer.expect(200)?;
            let names: Vec<String> = serde_json::from_value(answer.json()?[field].clone())?;
            found.extend(names.iter().cloned());
            let link = answer.header("link").to_owned();
            if limit == Some(0) {
                ensure!(names.is_empty() && link.is_empty(), "n=0: {names:?} {link}");
                return Ok(());
            }
            if link.is_empty() {
                break;
            }
            ensure!(Some(names.len()) == limit, "a page of {names:?}");
            let target = link.strip_prefix('<').and_then(|link| link.split_once('>'));
            let (target, _) = target.with_context(|| format!("a link {link}"))?;
            path = target.to_owned();
        }
        ensure!(
            found.iter().eq(expected.iter().copied()),
            "{found:?} not {expected:?}"
        );
        Ok(())
    }

    pub async fn list_referrers(
        &self,
        repository: &str,
        subject: &str,
        artifact_type: Option<&str>,
    ) -> Result<()> {
        let mut path = format!("/v2/{repository}/referrers/{subject}");
        if let Some(artifact_type) = artifact_type {
            let value = artifact_type.replace('+', "%2B");
            path.push_str(&format!("?artifactType={value}"));
        }
        let answer = self.get(&path).await?;
        answer.expect(200)?;
        answer.expect_header("content-type", OCI_INDEX)?;
        let filters = artifact_type.map_or("", |_| "artifactType");
        answer.expect_header("oci-filters-applied", filters)?;
        let index = answer.json()?;
        ensure!(
            index["schemaVersion"] == 2 && index["mediaType"] == OCI_INDEX,
            "{index}"
        );
        let list: Vec<Value> = serde_json::from_value(index["manifests"].clone())?;
        let length = list.len();
        let found: BTreeMap<String, Value> = list
            .into_iter()
            .map(|descriptor| {
                let digest = descriptor["digest"].as_str().unwrap_or_default().to_owned();
                (digest, descriptor)
            })
            .collect();
        ensure!(
            found.len() == length,
            "a descriptor is there twice: {index}"
        );
        let expected = self.model.referrers(repository, subject, artifact_type);
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(())
    }

    /// Reads all that could be there.
    pub async fn compare_everything(&self) -> Result<()> {
        let names = self.model.repositories();
        self.list("/v2/_catalog", "repositories", &names, None, None)
            .await?;
        for repository in REPOSITORIES {
            for content in 0..self.pool.contents.len() {
                for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                    self.read_blob(repository, content, algorithm, None).await?;
                }
            }
            for tag in TAGS {
                self.read_tag(repository, tag).await?;
            }
            for made in &self.pool.manifests {
                for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                    let digest = digest(algorithm, &made.bytes);
                    self.read_manifest(repository, &digest, Some(&digest))
                        .await?;
                    self.list_referrers(repository, &digest, None).await?;
                }
            }
        }
        Ok(())
    }
}
