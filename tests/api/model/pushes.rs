//! Pushing: blobs in every way that there is, mounts and manifests.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use drift::digest::Algorithm;

use crate::driver::Driver;
use crate::operation::{By, TAGS, Way};
use crate::pool::digest;

impl Driver<'_> {
    pub async fn push_blob(
        &mut self,
        repository: &'static str,
        content: usize,
        algorithm: Algorithm,
        way: &Way,
        spoiled: bool,
    ) -> Result<()> {
        let wanted = &self.pool.contents[content];
        let bytes = &wanted.bytes;
        let named = match spoiled {
            false => wanted.digest(algorithm).to_owned(),
            true => digest(algorithm, b"something else"),
        };
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        let answer = match way {
            Way::Post => {
                let path = format!("{uploads}?digest={named}");
                self.send("POST", &path, &[], bytes).await?
            }
            Way::Put => {
                let location = self.begin(&uploads, None).await?;
                self.send("PUT", &closing(&location, &named), &[], bytes)
                    .await?
            }
            Way::Stream => {
                let location = self.begin(&uploads, None).await?;
                let patched = self.send("PATCH", &location, &[], bytes).await?;
                patched.expect(202)?;
                let location = patched.header("location");
                self.send("PUT", &closing(location, &named), &[], b"")
                    .await?
            }
            Way::Chunks {
                cuts,
                last_in_put,
                stumbles,
                hinted,
            } => {
                let hint = hinted.then_some(algorithm);
                let mut location = self.begin(&uploads, hint).await?;
                let mut chunks = cut(bytes, cuts);
                let last = match last_in_put {
                    true => chunks.pop(),
                    false => None,
                };
                for (start, chunk) in chunks {
                    if *stumbles {
                        self.stumble(&location, start).await?;
                    }
                    let range = content_range(start, chunk);
                    let headers = [("content-range", range.as_str())];
                    let patched = self.send("PATCH", &location, &headers, chunk).await?;
                    patched.expect(202)?;
                    patched.expect_header("range", &format!("0-{}", start + chunk.len() - 1))?;
                    location = patched.header("location").to_owned();
                }
                let path = closing(&location, &named);
                match last {
                    Some((start, chunk)) => {
                        let range = content_range(start, chunk);
                        let headers = [("content-range", range.as_str())];
                        self.send("PUT", &path, &headers, chunk).await?
                    }
                    None => self.send("PUT", &path, &[], b"").await?,
                }
            }
        };
        if spoiled {
            return answer.expect_error(400, "DIGEST_INVALID").map(drop);
        }
        answer.expect(201)?;
        answer.expect_header("docker-content-digest", &named)?;
        answer.expect_header("location", &format!("/v2/{repository}/blobs/{named}"))?;
        self.model.add_blob(repository, named, content);
        Ok(())
    }

    async fn begin(&self, uploads: &str, hint: Option<Algorithm>) -> Result<String> {
        let path = match hint {
            Some(hint) => format!("{uploads}?digest-algorithm={hint}"),
            None => uploads.to_owned(),
        };
        let answer = self.send("POST", &path, &[], b"").await?;
        answer.expect(202)?;
        Ok(answer.header("location").to_owned())
    }

    /// Sends a chunk that does not belong here, and asks for the status.
    async fn stumble(&self, location: &str, offset: usize) -> Result<()> {
        let range = format!("{}-{}", offset + 1, offset + 3);
        let headers = [("content-range", range.as_str())];
        let stands_at = format!("0-{}", offset.saturating_sub(1));
        let refused = self.send("PATCH", location, &headers, b"xyz").await?;
        refused.expect_error(416, "BLOB_UPLOAD_INVALID")?;
        refused.expect_header("range", &stands_at)?;
        let status = self.get(location).await?;
        status.expect(204)?;
        status.expect_header("range", &stands_at)
    }

    pub async fn mount(
        &mut self,
        repository: &'static str,
        content: usize,
        from: Option<&'static str>,
    ) -> Result<()> {
        let digest = self.pool.contents[content].digest(Algorithm::Sha256);
        let mut path = format!("/v2/{repository}/blobs/uploads/?mount={digest}");
        if let Some(from) = from {
            path.push_str(&format!("&from={}", from.replace('/', "%2F")));
        }
        let answer = self.send("POST", &path, &[], b"").await?;
        if self.model.mount(repository, digest, content, from) {
            answer.expect(201)?;
            return answer.expect_header("docker-content-digest", digest);
        }
        answer.expect(202)?;
        let location = answer.header("location").to_owned();
        self.send("DELETE", &location, &[], b"")
            .await?
            .expect(204)?;
        let gone = self.get(&location).await?;
        gone.expect_error(404, "BLOB_UPLOAD_UNKNOWN").map(drop)
    }

    pub async fn put_manifest(
        &mut self,
        repository: &'static str,
        manifest: usize,
        by: &By,
    ) -> Result<()> {
        let made = &self.pool.manifests[manifest];
        let (reference, named, tags): (String, String, Vec<&str>) = match by {
            By::Tag(tag) => {
                let digest = digest(Algorithm::Sha256, &made.bytes);
                (TAGS[*tag].to_owned(), digest, vec![TAGS[*tag]])
            }
            By::Digest(algorithm, tags) => {
                let digest = digest(*algorithm, &made.bytes);
                (
                    digest.clone(),
                    digest,
                    tags.iter().map(|tag| TAGS[*tag]).collect(),
                )
            }
            By::WrongDigest => {
                let digest = digest(Algorithm::Sha256, b"something else");
                (digest.clone(), digest, Vec::new())
            }
        };
        let mut path = format!("/v2/{repository}/manifests/{reference}");
        if let By::Digest(_, tags) = by {
            for (position, tag) in tags.iter().enumerate() {
                let mark = if position == 0 { '?' } else { '&' };
                path.push_str(&format!("{mark}tag={}", TAGS[*tag]));
            }
        }
        let headers = [("content-type", made.media_type)];
        let answer = self.send("PUT", &path, &headers, &made.bytes).await?;
        if let By::WrongDigest = by {
            return answer.expect_error(400, "DIGEST_INVALID").map(drop);
        }
        let outcome = self.model.put_manifest(repository, manifest, &named, &tags);
        if outcome.is_ok() {
            answer.expect_header("docker-content-digest", &named)?;
            let subject = made.subject.as_deref().unwrap_or_default();
            answer.expect_header("oci-subject", subject)?;
            if let By::Digest(..) = by {
                let lists = answer.headers.get_all("oci-tag").iter();
                let named: BTreeSet<&str> = lists
                    .filter_map(|list| list.to_str().ok())
                    .flat_map(|list| list.split(',').map(str::trim))
                    .collect();
                let pushed: BTreeSet<&str> = tags.iter().copied().collect();
                ensure!(named == pushed, "OCI-Tag {named:?} instead of {pushed:?}");
            }
        }
        answer.expect_outcome(201, outcome)
    }
}

/// The URL that closes an upload.
fn closing(location: &str, digest: &str) -> String {
    let mark = if location.contains('?') { '&' } else { '?' };
    format!("{location}{mark}digest={digest}")
}

fn content_range(start: usize, chunk: &[u8]) -> String {
    format!("{start}-{}", start + chunk.len() - 1)
}

/// The content in chunks, none of them empty, each with where it begins.
fn cut<'b>(bytes: &'b [u8], cuts: &[proptest::sample::Index]) -> Vec<(usize, &'b [u8])> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut places: BTreeSet<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    places.extend([0, bytes.len()]);
    let places: Vec<usize> = places.into_iter().collect();
    places
        .windows(2)
        .map(|pair| (pair[0], &bytes[pair[0]..pair[1]]))
        .collect()
}
