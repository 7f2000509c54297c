//! Does each operation to the program and to the model, and compares.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use drift::digest::Algorithm;

use crate::answer::Answer;
use crate::expected::Model;
use crate::operation::{ARTIFACT_TYPES, Operation, REPOSITORIES, TAGS};
use crate::pool::{Pool, digest};
use crate::support::Server;

/// A server, and the model of what it should hold.
pub struct Driver<'a> {
    server: Option<Server>,
    http: reqwest::Client,
    directory: PathBuf,
    pub pool: &'a Pool,
    pub model: Model<'a>,
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

    pub async fn send(
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

    pub async fn get(&self, path: &str) -> Result<Answer> {
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
}
