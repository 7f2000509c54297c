//! Everything that a client knows, held against what the restarted server says.

use std::collections::BTreeSet;

use rand::RngExt;
use reqwest::{Method, StatusCode};

use crate::client::{Answered, Client, Interrupted};
use crate::content::sha256;
use crate::expected::{Ending, Repository};

/// Blobs that each check reads back at random; the last check reads all.
const READ_BACK: usize = 8;

impl Client {
    /// Asks the restarted server for everything, and settles what was in doubt.
    pub async fn check(&mut self, all: bool) {
        self.try_check(all)
            .await
            .unwrap_or_else(|why| panic!("the server does not answer: {why}"));
    }

    async fn try_check(&mut self, all: bool) -> Answered<()> {
        self.check_blobs(all).await?;
        self.check_manifests().await?;
        self.check_tags().await?;
        self.check_upload().await
    }

    async fn get(&self, path: &str) -> Answered<Option<Vec<u8>>> {
        let response = self.send(Method::GET, path, &[], Vec::new()).await?;
        match response.status() {
            StatusCode::OK => {
                let bytes = response.bytes().await.map_err(|_| Interrupted::Killed)?;
                Ok(Some(bytes.to_vec()))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => panic!("GET {path} answers {status}"),
        }
    }

    async fn check_blobs(&mut self, all: bool) -> Answered<()> {
        let blobs: Vec<_> = self
            .expected
            .blobs
            .all()
            .map(|(key, states)| (*key, states.to_vec()))
            .collect();
        let mut chosen = BTreeSet::new();
        while !all && chosen.len() < READ_BACK.min(blobs.len()) {
            chosen.insert(self.random.random_range(0..blobs.len()));
        }
        for (position, (key, states)) in blobs.into_iter().enumerate() {
            let path = self.path(key.0, &format!("blobs/{}", key.1));
            let doubtful = states.len() > 1;
            if !all && !doubtful && !chosen.contains(&position) {
                let head = self.send(Method::HEAD, &path, &[], Vec::new()).await?;
                let right = match states[0] {
                    Some(_) => StatusCode::OK,
                    None => StatusCode::NOT_FOUND,
                };
                assert_eq!(head.status(), right, "HEAD {path}");
                continue;
            }
            let found = self.get(&path).await?;
            let state = states
                .iter()
                .find(|state| state.map(|content| content.bytes()) == found)
                .unwrap_or_else(|| {
                    let found = found.map(|bytes| bytes.len());
                    panic!("{path}: found {found:?} bytes, possible {states:?}")
                });
            self.expected.blobs.settle(key, *state);
        }
        // What is known to be gone needs to be asked for once more only.
        self.expected.blobs.forget_absent();
        Ok(())
    }

    async fn check_manifests(&mut self) -> Answered<()> {
        let manifests: Vec<_> = self
            .expected
            .manifests
            .all()
            .map(|(key, states)| (*key, states.to_vec()))
            .collect();
        for (key, states) in manifests {
            let path = self.path(key.0, &format!("manifests/{}", key.1));
            let found = self.get(&path).await?;
            assert!(
                states.contains(&found),
                "{path}: found {found:?}, possible {states:?}"
            );
            self.expected.manifests.settle(key, found);
        }
        self.expected.manifests.forget_absent();
        Ok(())
    }

    async fn check_tags(&mut self) -> Answered<()> {
        let tags: Vec<_> = self
            .expected
            .tags
            .all()
            .map(|(key, states)| (key.clone(), states.to_vec()))
            .collect();
        for (key, states) in tags {
            let path = self.path(key.0, &format!("manifests/{}", key.1));
            let found = self.get(&path).await?.map(|bytes| sha256(&bytes));
            assert!(
                states.contains(&found),
                "{path}: found {found:?}, possible {states:?}"
            );
            self.expected.tags.settle(key, found);
        }
        Ok(())
    }

    /// The upload stands at least where it was acknowledged, and goes on from where it stands.
    async fn check_upload(&mut self) -> Answered<()> {
        let Some(upload) = &self.expected.upload else {
            return Ok(());
        };
        let location = upload.location.clone();
        let response = self.send(Method::GET, &location, &[], Vec::new()).await?;
        let upload = self.expected.upload.as_mut().unwrap();
        if response.status() == StatusCode::NOT_FOUND {
            // Only a request to end it whose answer was lost can have ended it.
            let digest = sha256(&upload.content.bytes());
            match upload.ending {
                Some(Ending::Finish) => {
                    let key = (Repository::First, digest);
                    assert!(
                        self.expected.blobs.is_there(&key),
                        "{location} is finished, but there is no blob"
                    );
                    let path = format!("{location}?digest={digest}");
                    let repeated = self.send(Method::PUT, &path, &[], Vec::new()).await?;
                    assert_eq!(repeated.status(), StatusCode::CREATED);
                    self.finished += 1;
                }
                Some(Ending::Cancel) => {}
                None => panic!("an acknowledged upload is gone: {location}"),
            }
            self.expected.upload = None;
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
        upload.ending = None;
        Ok(())
    }
}
