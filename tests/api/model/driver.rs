//! Does each operation to the program and to the model, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use drift::digest::Algorithm;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::expected::{Model, Refusal};
use crate::operation::{ARTIFACT_TYPES, By, Operation, Pool, REPOSITORIES, TAGS, Way, digest};
use crate::support::Server;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A server, and the model of what it should hold.
pub struct Driver<'a> {
    server: Option<Server>,
    http: reqwest::Client,
    directory: PathBuf,
    pool: &'a Pool,
    model: Model<'a>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("not text"))
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }

    fn expect(&self, status: u16) -> Result<()> {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        ensure!(
            self.status == status,
            "{} instead of {status}: {body}",
            self.status
        );
        Ok(())
    }

    /// An error of that status and code; its detail.
    fn expect_error(&self, status: u16, code: &str) -> Result<Value> {
        self.expect(status)?;
        let json = self.json()?;
        ensure!(
            json["errors"][0]["code"] == code,
            "{json} instead of {code}"
        );
        Ok(json["errors"][0]["detail"].clone())
    }

    fn expect_header(&self, name: &str, value: &str) -> Result<()> {
        let found = self.header(name);
        ensure!(found == value, "{name}: {found:?} instead of {value:?}");
        Ok(())
    }

    fn expect_body(&self, bytes: &[u8]) -> Result<()> {
        ensure!(
            self.body == bytes,
            "a body of {} bytes is not the expected one of {}",
            self.body.len(),
            bytes.len()
        );
        Ok(())
    }

    /// What the model says of a change: done with this status, or refused.
    fn expect_outcome(&self, done: u16, outcome: Result<(), Refusal>) -> Result<()> {
        match outcome {
            Ok(()) => self.expect(done),
            Err(Refusal::Unknown(code)) => self.expect_error(404, code).map(drop),
            Err(Refusal::Referenced(users)) => {
                let detail = self.expect_error(405, "UNSUPPORTED")?;
                let referrer = detail["referrer"].as_str().unwrap_or_default();
                ensure!(users.contains(referrer), "{detail} names none of {users:?}");
                Ok(())
            }
            Err(Refusal::Missing(missing)) => {
                let detail = self.expect_error(400, "MANIFEST_BLOB_UNKNOWN")?;
                let listed: BTreeSet<String> = serde_json::from_value(detail["digests"].clone())?;
                ensure!(listed == missing, "{listed:?} instead of {missing:?}");
                Ok(())
            }
        }
    }
}

impl<'a> Driver<'a> {
    pub fn start(directory: &Path, pool: &'a Pool) -> Self {
        Driver {
            server: Some(Server::builder().directory(directory).start()),
            http: reqwest::Client::new(),
            directory: directory.to_owned(),
            pool,
            model: Model::new(pool),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let server = self.server.as_ref().context("the server runs")?;
        let mut request = self
            .http
            .request(method.parse()?, server.url(path))
            .body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    }

    async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], b"").await
    }

    pub async fn step(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::PushBlob {
                repository,
                content,
                algorithm,
                way,
                spoiled,
            } => {
                let repository = REPOSITORIES[*repository];
                self.push_blob(repository, *content, *algorithm, way, *spoiled)
                    .await
            }
            Operation::Mount {
                repository,
                content,
                from,
            } => {
                let from = from.map(|from| REPOSITORIES[from]);
                self.mount(REPOSITORIES[*repository], *content, from).await
            }
            Operation::ReadBlob {
                repository,
                content,
                algorithm,
                range,
            } => {
                let repository = REPOSITORIES[*repository];
                self.read_blob(repository, *content, *algorithm, *range)
                    .await
            }
            Operation::DeleteBlob {
                repository,
                content,
                algorithm,
            } => {
                let repository = REPOSITORIES[*repository];
                let digest = self.pool.contents[*content].digest(*algorithm);
                let path = format!("/v2/{repository}/blobs/{digest}");
                let answer = self.send("DELETE", &path, &[], b"").await?;
                answer.expect_outcome(202, self.model.delete_blob(repository, digest))
            }
            Operation::PutManifest {
                repository,
                manifest,
                by,
            } => {
                let manifest = self.pool.manifest(manifest);
                self.put_manifest(REPOSITORIES[*repository], manifest, by)
                    .await
            }
            Operation::ReadTag { repository, tag } => {
                self.read_tag(REPOSITORIES[*repository], TAGS[*tag]).await
            }
            Operation::ReadManifest {
                repository,
                manifest,
                algorithm,
            } => {
                let made = &self.pool.manifests[self.pool.manifest(manifest)];
                let digest = digest(*algorithm, &made.bytes);
                self.read_manifest(REPOSITORIES[*repository], &digest, Some(&digest))
                    .await
            }
            Operation::DeleteTag { repository, tag } => {
                let (repository, tag) = (REPOSITORIES[*repository], TAGS[*tag]);
                let path = format!("/v2/{repository}/manifests/{tag}");
                let answer = self.send("DELETE", &path, &[], b"").await?;
                answer.expect_outcome(202, self.model.delete_tag(repository, tag))
            }
            Operation::DeleteManifest {
                repository,
                manifest,
                algorithm,
            } => {
                let repository = REPOSITORIES[*repository];
                let made = &self.pool.manifests[self.pool.manifest(manifest)];
                let digest = digest(*algorithm, &made.bytes);
                let path = format!("/v2/{repository}/manifests/{digest}");
                let answer = self.send("DELETE", &path, &[], b"").await?;
                answer.expect_outcome(202, self.model.delete_manifest(repository, &digest))
            }
            Operation::ListTags {
                repository,
                limit,
                last,
            } => {
                let repository = REPOSITORIES[*repository];
                let last = last.map(|last| TAGS[last]);
                let path = format!("/v2/{repository}/tags/list");
                match self.model.tags(repository) {
                    Some(tags) => self.list(&path, "tags", &tags, *limit, last).await,
                    None => self
                        .get(&path)
                        .await?
                        .expect_error(404, "NAME_UNKNOWN")
                        .map(drop),
                }
            }
            Operation::ListRepositories { limit, last } => {
                let last = last.map(|last| REPOSITORIES[last]);
                let names = self.model.repositories();
                self.list("/v2/_catalog", "repositories", &names, *limit, last)
                    .await
            }
            Operation::ListReferrers {
                repository,
                subject,
                artifact_type,
            } => {
                let made = &self.pool.manifests[self.pool.manifest(subject)];
                let subject = digest(Algorithm::Sha256, &made.bytes);
                let artifact_type = artifact_type.map(|index| ARTIFACT_TYPES[index]);
                self.list_referrers(REPOSITORIES[*repository], &subject, artifact_type)
                    .await
            }
            Operation::Restart => {
                // Killed, not asked to end.
                self.server = None;
                self.server = Some(Server::builder().directory(&self.directory).start());
                Ok(())
            }
        }
    }

    async fn push_blob(
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

    async fn mount(
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

    async fn read_blob(
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

    async fn put_manifest(
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

    async fn read_tag(&self, repository: &str, tag: &str) -> Result<()> {
        let digest = self.model.tag(repository, tag);
        self.read_manifest(repository, tag, digest.as_deref()).await
    }

    async fn read_manifest(
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
    async fn list(
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

    async fn list_referrers(
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
