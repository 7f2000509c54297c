//! A client that knows what was acknowledged to it, and what it cannot know.
//!
//! A request whose answer did not come may have been done or not: what it would have changed is
//! in doubt until the restarted server is asked, and either way is right. Everything else has
//! exactly one right state. What was not answered is asked for again, and then succeeds.

use rand::rngs::StdRng;
use reqwest::{Method, Response, StatusCode};

use crate::action::{Action, Kind, MANIFEST_TYPE, tags_of};
use crate::content::sha256;
use crate::expected::{Expected, Repository, Upload};

/// The server did not do what it was asked: it was killed, or its disk fails.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    #[error("there is no answer")]
    Killed,
    #[error("the answer is {0}: {1}")]
    Failed(StatusCode, String),
}

pub type Answered<T> = Result<T, Interrupted>;

pub struct Client {
    http: reqwest::Client,
    url: String,
    name: String,
    pub random: StdRng,
    pub expected: Expected,
    /// What was not answered.
    pub unanswered: Option<Action>,
    /// Repository and tag of the last manifest.
    pub pushed_last: Option<(Repository, String)>,
    /// Whether an answer that the server fails is to be expected.
    pub failures_expected: bool,
    pub resumed: u32,
    pub finished: u32,
}

impl Client {
    pub fn new(url: String, name: &str, random: StdRng) -> Self {
        Client {
            http: reqwest::Client::builder().build().unwrap(),
            url,
            name: name.to_owned(),
            random,
            expected: Expected::new(),
            unanswered: None,
            pushed_last: None,
            failures_expected: false,
            resumed: 0,
            finished: 0,
        }
    }

    /// Connections to a killed server are of no use to the next.
    pub fn reconnect(&mut self) {
        self.http = reqwest::Client::builder().build().unwrap();
    }

    fn repository(&self, repository: Repository) -> String {
        match repository {
            Repository::First => self.name.clone(),
            Repository::Second => format!("{}/second", self.name),
        }
    }

    /// The path of something in a repository.
    pub fn path(&self, repository: Repository, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository(repository))
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Answered<Response> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|_| Interrupted::Killed)?;
        let status = response.status();
        if status.is_server_error() && self.failures_expected {
            let said = response.text().await.unwrap_or_default();
            return Err(Interrupted::Failed(status, said));
        }
        Ok(response)
    }

    /// Asks for something to be done, and sees that it is said to be.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
        done: StatusCode,
    ) -> Answered<Response> {
        let what = format!("{method} {path}");
        let response = self.send(method, path, headers, body).await?;
        let status = response.status();
        if status != done {
            let said = response.text().await.unwrap_or_default();
            panic!("{what} answers {status}: {said}");
        }
        Ok(response)
    }

    /// Does random things until the server is killed.
    pub async fn work(&mut self) -> Interrupted {
        loop {
            if let Err(interrupted) = self.work_once().await {
                return interrupted;
            }
        }
    }

    /// Does one random thing, or what was not answered.
    pub async fn work_once(&mut self) -> Answered<()> {
        if self.unanswered.is_some() {
            return self.repeat().await;
        }
        match self.choose_any() {
            Some(action) => self.perform(action).await,
            None => Ok(()),
        }
    }

    /// Does one thing of each kind, in order.
    pub async fn follow(&mut self, script: &[Kind]) -> Answered<()> {
        for (position, kind) in script.iter().enumerate() {
            let action = self
                .choose(*kind)
                .unwrap_or_else(|| panic!("the script has nothing to do at {position}, {kind:?}"));
            self.perform(action).await?;
        }
        Ok(())
    }

    /// Asks again for what was not answered, if that was so; to be called when nothing is in doubt.
    pub async fn repeat(&mut self) -> Answered<()> {
        match self.unanswered.take() {
            Some(action) => self.perform(action).await,
            None => Ok(()),
        }
    }

    /// Asks for one thing.
    pub async fn perform(&mut self, action: Action) -> Answered<()> {
        self.unanswered = Some(action.clone());
        let absent = self.is_absent(&action);
        action.doubt(self);
        match action {
            Action::PushBlob(content) => {
                let bytes = content.bytes();
                let digest = sha256(&bytes);
                let path = self.path(
                    Repository::First,
                    &format!("blobs/uploads/?digest={digest}"),
                );
                self.ask(Method::POST, &path, &[], bytes, StatusCode::CREATED)
                    .await?;
                let key = (Repository::First, digest);
                self.expected.blobs.settle(key, Some(content));
            }
            Action::BeginUpload(content) => {
                let path = self.path(Repository::First, "blobs/uploads/");
                let begun = self
                    .ask(Method::POST, &path, &[], Vec::new(), StatusCode::ACCEPTED)
                    .await?;
                self.expected.upload = Some(Upload {
                    location: location(&begun),
                    content,
                    acknowledged: 0,
                    ending: None,
                });
            }
            Action::Append(length) => self.append(length).await?,
            Action::FinishUpload => self.finish().await?,
            Action::CancelUpload => {
                if let Some(upload) = &self.expected.upload {
                    let path = upload.location.clone();
                    self.ask(
                        Method::DELETE,
                        &path,
                        &[],
                        Vec::new(),
                        StatusCode::NO_CONTENT,
                    )
                    .await?;
                    self.expected.upload = None;
                }
            }
            Action::Mount(repository, digest) => {
                let from = self.repository(repository.other());
                let query = format!("blobs/uploads/?mount={digest}&from={from}");
                let path = self.path(repository, &query);
                self.ask(Method::POST, &path, &[], Vec::new(), StatusCode::CREATED)
                    .await?;
                let source = (repository.other(), digest);
                let content = self.expected.blobs.possible(&source)[0];
                self.expected.blobs.settle((repository, digest), content);
            }
            Action::DeleteBlob(repository, digest) => {
                let path = self.path(repository, &format!("blobs/{digest}"));
                self.delete(&path, absent).await?;
                self.expected.blobs.settle((repository, digest), None);
            }
            Action::PushManifest(repository, tag, bytes) => {
                let path = self.path(repository, &format!("manifests/{tag}"));
                let header = ("Content-Type", MANIFEST_TYPE.to_owned());
                self.ask(
                    Method::PUT,
                    &path,
                    &[header],
                    bytes.clone(),
                    StatusCode::CREATED,
                )
                .await?;
                let digest = sha256(&bytes);
                let expected = &mut self.expected;
                expected
                    .tags
                    .settle((repository, tag.clone()), Some(digest));
                expected.manifests.settle((repository, digest), Some(bytes));
                self.pushed_last = Some((repository, tag));
            }
            Action::DeleteTag(repository, tag) => {
                let path = self.path(repository, &format!("manifests/{tag}"));
                self.delete(&path, absent).await?;
                self.expected.tags.settle((repository, tag), None);
            }
            Action::DeleteManifest(repository, digest) => {
                let path = self.path(repository, &format!("manifests/{digest}"));
                self.delete(&path, absent).await?;
                for tag in tags_of(self, repository, &digest) {
                    self.expected.tags.settle((repository, tag), None);
                }
                self.expected.manifests.settle((repository, digest), None);
            }
        }
        self.unanswered = None;
        Ok(())
    }

    /// Whether a delete is of something that is known to be gone: it was done and not answered.
    fn is_absent(&self, action: &Action) -> bool {
        let expected = &self.expected;
        match action {
            Action::DeleteBlob(repository, digest) => {
                !expected.blobs.is_there(&(*repository, *digest))
            }
            Action::DeleteTag(repository, tag) => {
                !expected.tags.is_there(&(*repository, tag.clone()))
            }
            Action::DeleteManifest(repository, digest) => {
                !expected.manifests.is_there(&(*repository, *digest))
            }
            _ => false,
        }
    }

    async fn delete(&self, path: &str, absent: bool) -> Answered<()> {
        let done = match absent {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::ACCEPTED,
        };
        self.ask(Method::DELETE, path, &[], Vec::new(), done)
            .await?;
        Ok(())
    }

    async fn append(&mut self, length: usize) -> Answered<()> {
        let Some(upload) = &self.expected.upload else {
            return Ok(());
        };
        let (at, path) = (upload.acknowledged, upload.location.clone());
        let bytes = upload.content.bytes();
        let end = bytes.len().min(at + length);
        if at == end {
            return Ok(());
        }
        let range = ("Content-Range", format!("{at}-{}", end - 1));
        let chunk = bytes[at..end].to_vec();
        self.ask(Method::PATCH, &path, &[range], chunk, StatusCode::ACCEPTED)
            .await?;
        if let Some(upload) = &mut self.expected.upload {
            upload.acknowledged = end;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Answered<()> {
        let Some(upload) = &self.expected.upload else {
            return Ok(());
        };
        let content = upload.content;
        let digest = sha256(&content.bytes());
        let path = format!("{}?digest={digest}", upload.location);
        // A repetition of one that was done and not answered is answered alike.
        self.ask(Method::PUT, &path, &[], Vec::new(), StatusCode::CREATED)
            .await?;
        let key = (Repository::First, digest);
        self.expected.blobs.settle(key, Some(content));
        self.expected.upload = None;
        self.finished += 1;
        Ok(())
    }

    pub fn blobs(&self) -> usize {
        self.expected.blobs.there().count()
    }
}

fn location(response: &Response) -> String {
    let location = response.headers()["location"].to_str().unwrap();
    let path = location.find("/v2/").map(|at| &location[at..]).unwrap();
    path.split('?').next().unwrap().to_owned()
}
