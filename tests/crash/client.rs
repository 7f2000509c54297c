//! A client that knows what was acknowledged to it, and what it cannot know.
//!
//! A request whose answer did not come may have been done or not: what it would have changed is
//! in doubt until the restarted server is asked, and either way is right. Everything else has
//! exactly one right state.

use std::collections::{BTreeMap, BTreeSet};

use drift::digest::Digest;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use reqwest::{Method, Response, StatusCode};

use crate::content::{Content, sha256};

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Blobs that each check reads back, newest first; the last check reads all.
const READ_BACK: usize = 8;

/// The server did not answer: it was killed.
pub struct Killed;

type Answered<T> = Result<T, Killed>;

/// Which states something may be in: one, or before and after a request that was not answered.
type Possible<T> = Vec<Option<T>>;

struct Upload {
    location: String,
    content: Content,
    /// Bytes that the server has acknowledged.
    acknowledged: usize,
}

pub struct Client {
    http: reqwest::Client,
    url: String,
    repository: String,
    random: StdRng,
    blobs: BTreeMap<Digest, Content>,
    doubtful_blobs: BTreeMap<Digest, Content>,
    manifests: BTreeMap<Digest, Possible<Vec<u8>>>,
    tags: BTreeMap<String, Possible<Digest>>,
    upload: Option<Upload>,
    pub resumed: u32,
    pub finished: u32,
}

impl Client {
    pub fn new(url: String, repository: &str, random: StdRng) -> Self {
        Client {
            http: reqwest::Client::builder().build().unwrap(),
            url,
            repository: repository.to_owned(),
            random,
            blobs: BTreeMap::new(),
            doubtful_blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            upload: None,
            resumed: 0,
            finished: 0,
        }
    }

    /// Connections to a killed server are of no use to the next.
    pub fn reconnect(&mut self) {
        self.http = reqwest::Client::builder().build().unwrap();
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Answered<Response> {
        let url = if path.starts_with("/v2/") {
            format!("{}{path}", self.url)
        } else {
            format!("{}/v2/{}/{path}", self.url, self.repository)
        };
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.map_err(|_| Killed)
    }

    async fn get(&self, path: &str) -> Answered<Option<Vec<u8>>> {
        let response = self.send(Method::GET, path, &[], Vec::new()).await?;
        match response.status() {
            StatusCode::OK => {
                let bytes = response.bytes().await.map_err(|_| Killed)?;
                Ok(Some(bytes.to_vec()))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => panic!("GET {path} answers {status}"),
        }
    }

    /// Does random things until the server is killed.
    pub async fn work(&mut self) -> Killed {
        loop {
            let step = match self.random.random_range(0..10) {
                0..=2 => self.push_blob().await,
                3..=6 => self.go_on_uploading().await,
                7 => self.push_manifest().await,
                8 => self.delete_tag().await,
                _ => self.delete_manifest().await,
            };
            if let Err(killed) = step {
                return killed;
            }
        }
    }

    fn content(&mut self) -> Content {
        // Below and above what is gathered in memory, and across windows.
        let length = match self.random.random_range(0..4) {
            0 => self.random.random_range(1..2000),
            1 => self.random.random_range(2000..300_000),
            2 => self.random.random_range(250_000..270_000),
            _ => self.random.random_range(300_000..2_500_000),
        };
        Content::new(self.random.next_u64(), length)
    }

    async fn push_blob(&mut self) -> Answered<()> {
        let content = self.content();
        let bytes = content.bytes();
        let digest = sha256(&bytes);
        self.doubtful_blobs.insert(digest, content);
        let path = format!("blobs/uploads/?digest={digest}");
        let response = self.send(Method::POST, &path, &[], bytes).await?;
        assert_eq!(response.status(), StatusCode::CREATED);
        self.doubtful_blobs.remove(&digest);
        self.blobs.insert(digest, content);
        Ok(())
    }

    async fn go_on_uploading(&mut self) -> Answered<()> {
        let Some(upload) = &self.upload else {
            let content = self.content();
            let response = self
                .send(Method::POST, "blobs/uploads/", &[], Vec::new())
                .await?;
            assert_eq!(response.status(), StatusCode::ACCEPTED);
            self.upload = Some(Upload {
                location: location(&response),
                content,
                acknowledged: 0,
            });
            return Ok(());
        };
        let (at, content) = (upload.acknowledged, upload.content);
        let location = upload.location.clone();
        let bytes = content.bytes();
        if at == bytes.len() {
            let digest = sha256(&bytes);
            self.doubtful_blobs.insert(digest, content);
            let path = format!("{location}?digest={digest}");
            let response = self.send(Method::PUT, &path, &[], Vec::new()).await?;
            // A repetition of one that was done and not answered is answered alike.
            assert_eq!(response.status(), StatusCode::CREATED);
            self.doubtful_blobs.remove(&digest);
            self.blobs.insert(digest, content);
            self.upload = None;
            self.finished += 1;
            return Ok(());
        }
        let rest = bytes.len() - at;
        let length = self.random.random_range(1..=rest.min(900_000));
        let range = ("Content-Range", format!("{at}-{}", at + length - 1));
        let chunk = bytes[at..at + length].to_vec();
        let response = self.send(Method::PATCH, &location, &[range], chunk).await?;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        if let Some(upload) = &mut self.upload {
            upload.acknowledged = at + length;
        }
        Ok(())
    }

    async fn push_manifest(&mut self) -> Answered<()> {
        let Some((config, layer)) = self.blobs.iter().next().zip(self.blobs.iter().last()) else {
            return Ok(());
        };
        let descriptor = |media_type: &str, (digest, content): (&Digest, &Content)| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{media_type}"),
                "digest": digest,
                "size": content.length,
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPE,
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar", layer)],
            "annotations": { "nonce": self.random.next_u64().to_string() },
        });
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest = sha256(&bytes);
        let tag = format!("t{}", self.random.random_range(0..6));
        let before = self.tags.get(&tag).cloned().unwrap_or(vec![None]);
        self.tags
            .insert(tag.clone(), [before, vec![Some(digest)]].concat());
        self.manifests
            .insert(digest, vec![None, Some(bytes.clone())]);
        let path = format!("manifests/{tag}");
        let header = ("Content-Type", MEDIA_TYPE.to_owned());
        let response = self
            .send(Method::PUT, &path, &[header], bytes.clone())
            .await?;
        assert_eq!(response.status(), StatusCode::CREATED);
        self.tags.insert(tag, vec![Some(digest)]);
        self.manifests.insert(digest, vec![Some(bytes)]);
        Ok(())
    }

    async fn delete_tag(&mut self) -> Answered<()> {
        let tag = format!("t{}", self.random.random_range(0..6));
        let Some([Some(digest)]) = self.tags.get(&tag).map(Vec::as_slice) else {
            return Ok(());
        };
        let digest = *digest;
        self.tags.insert(tag.clone(), vec![Some(digest), None]);
        let path = format!("manifests/{tag}");
        let response = self.send(Method::DELETE, &path, &[], Vec::new()).await?;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        self.tags.insert(tag, vec![None]);
        Ok(())
    }

    async fn delete_manifest(&mut self) -> Answered<()> {
        let live: Vec<Digest> = self
            .manifests
            .iter()
            .filter(|(_, possible)| matches!(possible.as_slice(), [Some(_)]))
            .map(|(digest, _)| *digest)
            .collect();
        if live.len() < 3 {
            return Ok(());
        }
        let digest = live[self.random.random_range(0..live.len())];
        let tags: Vec<String> = self
            .tags
            .iter()
            .filter(|(_, possible)| possible.contains(&Some(digest)))
            .map(|(tag, _)| tag.clone())
            .collect();
        if let Some(possible) = self.manifests.get_mut(&digest) {
            possible.push(None);
        }
        for tag in &tags {
            self.tags.entry(tag.clone()).or_default().push(None);
        }
        let path = format!("manifests/{digest}");
        let response = self.send(Method::DELETE, &path, &[], Vec::new()).await?;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        self.manifests.insert(digest, vec![None]);
        for tag in tags {
            self.tags.insert(tag, vec![None]);
        }
        Ok(())
    }

    /// Asks the restarted server for everything, and settles what was in doubt.
    pub async fn check(&mut self, all: bool) {
        self.try_check(all)
            .await
            .unwrap_or_else(|_| panic!("the server died without being killed"));
    }

    async fn try_check(&mut self, all: bool) -> Answered<()> {
        for (digest, content) in std::mem::take(&mut self.doubtful_blobs) {
            if let Some(bytes) = self.get(&format!("blobs/{digest}")).await? {
                assert!(bytes == content.bytes(), "a part of {digest} is visible");
                self.blobs.insert(digest, content);
            }
        }
        let read_back = if all { usize::MAX } else { READ_BACK };
        let mut chosen = BTreeSet::new();
        let digests: Vec<Digest> = self.blobs.keys().copied().collect();
        while chosen.len() < read_back.min(digests.len()) {
            chosen.insert(if all {
                digests[chosen.len()]
            } else {
                digests[self.random.random_range(0..digests.len())]
            });
        }
        for (digest, content) in &self.blobs {
            let path = format!("blobs/{digest}");
            if chosen.contains(digest) {
                let bytes = self.get(&path).await?;
                assert!(
                    bytes == Some(content.bytes()),
                    "{digest} is lost or damaged"
                );
            } else {
                let head = self.send(Method::HEAD, &path, &[], Vec::new()).await?;
                assert_eq!(head.status(), StatusCode::OK, "{digest} is lost");
            }
        }
        self.check_manifests().await?;
        self.check_tags().await?;
        self.check_upload().await
    }

    async fn check_manifests(&mut self) -> Answered<()> {
        for (digest, possible) in self.manifests.clone() {
            let found = self.get(&format!("manifests/{digest}")).await?;
            assert!(
                possible.contains(&found),
                "manifest {digest}: found {found:?}, possible {possible:?}"
            );
            self.manifests.insert(digest, vec![found]);
        }
        // A manifest that is known to be gone needs to be asked for once more only.
        self.manifests.retain(|_, possible| possible[0].is_some());
        Ok(())
    }

    async fn check_tags(&mut self) -> Answered<()> {
        for (tag, possible) in self.tags.clone() {
            let found = self.get(&format!("manifests/{tag}")).await?;
            let found = found.map(|bytes| sha256(&bytes));
            assert!(
                possible.contains(&found),
                "tag {tag}: found {found:?}, possible {possible:?}"
            );
            self.tags.insert(tag, vec![found]);
        }
        Ok(())
    }

    /// The upload stands at least where it was acknowledged, and goes on from where it stands.
    async fn check_upload(&mut self) -> Answered<()> {
        let Some(upload) = &self.upload else {
            return Ok(());
        };
        let location = upload.location.clone();
        let response = self.send(Method::GET, &location, &[], Vec::new()).await?;
        let upload = self.upload.as_mut().unwrap();
        if response.status() == StatusCode::NOT_FOUND {
            // Only a closing request whose answer was lost can have ended it.
            let digest = sha256(&upload.content.bytes());
            assert!(
                self.blobs.contains_key(&digest),
                "an acknowledged upload is gone"
            );
            let path = format!("{location}?digest={digest}");
            let repeated = self.send(Method::PUT, &path, &[], Vec::new()).await?;
            assert_eq!(repeated.status(), StatusCode::CREATED);
            self.upload = None;
            self.finished += 1;
            return Ok(());
        }
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let range = response.headers()["range"].to_str().unwrap();
        let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
        // "0-0" is said of nothing and of one byte alike.
        let offset = if last == 0 {
            upload.acknowledged
        } else {
            last + 1
        };
        assert!(
            offset >= upload.acknowledged && offset <= upload.content.length,
            "acknowledged {}, found {offset}",
            upload.acknowledged
        );
        if upload.acknowledged > 0 {
            self.resumed += 1;
        }
        upload.acknowledged = offset;
        Ok(())
    }

    pub fn blobs(&self) -> usize {
        self.blobs.len()
    }
}

fn location(response: &Response) -> String {
    let location = response.headers()["location"].to_str().unwrap();
    let path = location.find("/v2/").map(|at| &location[at..]).unwrap();
    path.split('?').next().unwrap().to_owned()
}
