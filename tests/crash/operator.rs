//! An operator and a client of one repository, who know what was answered and what it may have done:
//! rollbacks, undeletes, retention and collections on the admin socket, beside pushes and deletes.
//!
//! * `asking`: the two ways it asks
//! * `check`: what must be there after a kill

mod asking;
mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use drift::digest::Digest;
use drift::http::admin::COMPACT_ROUTE;
use drift::management::routes::BASE;
use drift::registry::retention::{Fate, Verdict};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::action::MANIFEST_TYPE;
use crate::client::{Answered, Interrupted};
use crate::content::{Content, sha256};
use crate::expected::States;
use asking::{Order, interrupted};

const REPOSITORY: &str = "operated/image";
/// Tags that are moved about; the quota has room for one less.
const TAGS: usize = 5;
/// A blob that nothing refers to yet may be collected at any time, and is pushed again so often.
const ATTEMPTS: u32 = 100;

/// How the server is set up: everything that may go goes soon, but for what was deleted.
pub const SETTINGS: &[(&str, &str)] = &[
    ("DRIFT_GC_INTERVAL", "20ms"),
    ("DRIFT_GC_GRACE", "0s"),
    ("DRIFT_GC_KEEP_DELETED", "1h"),
    ("DRIFT_BACKUP_KEEP_HOURS", "0"),
    (
        "DRIFT_QUOTA_RULES",
        r#"[{ repositories = "operated/*", tags = 4 }]"#,
    ),
    (
        "DRIFT_RETENTION_RULES",
        r#"[{ repositories = "operated/*", keep_last = 1, keep_tags = ["t0"], delete_untagged_after = "0s" }]"#,
    ),
    ("DRIFT_RETENTION_INTERVAL", "1h"),
];

/// What is done next; to what is chosen of what there is.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// To the tag of that number, or to any.
    Push(Option<usize>),
    DeleteTag,
    DeleteManifest,
    /// For good.
    PurgeManifest,
    RollBack,
    UndeleteTag,
    UndeleteManifest,
    Retain,
    Collect,
    Compact,
}

impl Deed {
    /// What kind of deed it is.
    pub fn name(self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }
}

pub struct Operator {
    http: reqwest::Client,
    url: String,
    socket: PathBuf,
    random: StdRng,
    tags: States<String, Digest>,
    manifests: States<Digest, Vec<u8>>,
    /// Each manifest, and the blob that it is made of.
    pushed: BTreeMap<Digest, (Vec<u8>, Content)>,
    /// Where tags pointed, as far as that is known.
    pointed: BTreeMap<String, Vec<Digest>>,
    /// The tags that pointed at a manifest when it was last deleted.
    entombed: BTreeMap<Digest, Vec<String>>,
    /// Manifests that may be gone for good.
    purged: BTreeSet<Digest>,
    /// How often each deed was done, by its name.
    pub done: BTreeMap<String, u32>,
    pub refused: u32,
}

impl Operator {
    pub fn new(url: String, socket: PathBuf, random: StdRng) -> Self {
        Operator {
            http: reqwest::Client::new(),
            url,
            socket,
            random,
            tags: States::new(),
            manifests: States::new(),
            pushed: BTreeMap::new(),
            pointed: BTreeMap::new(),
            entombed: BTreeMap::new(),
            purged: BTreeSet::new(),
            done: BTreeMap::new(),
            refused: 0,
        }
    }

    /// Does random things until the server is killed.
    pub async fn work(&mut self) -> Interrupted {
        loop {
            let deed = match self.random.random_range(0..20) {
                0..=7 => Deed::Push(None),
                8 => Deed::DeleteTag,
                9 => Deed::DeleteManifest,
                10 => Deed::PurgeManifest,
                11 | 12 => Deed::RollBack,
                13 | 14 => Deed::UndeleteTag,
                15 | 16 => Deed::UndeleteManifest,
                17 => Deed::Retain,
                18 => Deed::Collect,
                _ => Deed::Compact,
            };
            if let Err(interrupted) = self.perform(deed).await {
                return interrupted;
            }
        }
    }

    /// Does one thing, if there is something to do it to.
    pub async fn perform(&mut self, deed: Deed) -> Answered<()> {
        let done = match deed {
            Deed::Push(tag) => self.push(tag).await?,
            Deed::DeleteTag => self.delete_tag().await?,
            Deed::DeleteManifest => self.delete_manifest(false).await?,
            Deed::PurgeManifest => self.delete_manifest(true).await?,
            Deed::RollBack => self.roll_back().await?,
            Deed::UndeleteTag => self.undelete_tag().await?,
            Deed::UndeleteManifest => self.undelete_manifest().await?,
            Deed::Retain => self.retain().await?,
            Deed::Collect => {
                let asked = json!({});
                let path = "/operations/collect";
                self.order(&Order { path, asked }).await?.unwrap();
                true
            }
            Deed::Compact => {
                let answer = self.connect().await?.post(COMPACT_ROUTE).await;
                answer.map_err(interrupted)?;
                true
            }
        };
        if done {
            *self.done.entry(deed.name()).or_default() += 1;
        }
        Ok(())
    }

    fn choose<T>(&mut self, mut items: Vec<T>) -> Option<T> {
        let at = self.random.random_range(0..items.len().max(1));
        (at < items.len()).then(|| items.swap_remove(at))
    }

    fn tags_there(&self) -> Vec<(String, Digest)> {
        let there = self.tags.there();
        there.map(|(tag, digest)| (tag.clone(), *digest)).collect()
    }

    fn is_full(&self, adding: usize) -> bool {
        adding > 0 && self.tags_there().len() + adding >= TAGS
    }

    fn point(&mut self, tag: &str, digest: Digest) {
        self.tags.settle(tag.to_owned(), Some(digest));
        self.pointed.entry(tag.to_owned()).or_default().push(digest);
    }

    fn settle_manifest(&mut self, digest: Digest) {
        let bytes = self.pushed[&digest].0.clone();
        self.manifests.settle(digest, Some(bytes));
    }

    async fn push(&mut self, tag: Option<usize>) -> Answered<bool> {
        let any = self.random.random_range(0..TAGS);
        let tag = format!("t{}", tag.unwrap_or(any));
        let length = self.random.random_range(1..20_000);
        let content = Content::new(self.random.next_u64(), length);
        let (blob, is_new) = (content.bytes(), !self.tags.is_there(&tag));
        let descriptor = serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": sha256(&blob),
            "size": blob.len(),
        });
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor,
            "layers": [],
            "annotations": { "nonce": self.random.next_u64().to_string() },
        });
        let bytes = manifest.to_string().into_bytes();
        let digest = sha256(&bytes);
        self.pushed.insert(digest, (bytes.clone(), content));
        let refused = self.is_full(usize::from(is_new));
        if !refused {
            self.tags.doubt(tag.clone(), Some(digest));
            self.manifests.doubt(digest, Some(bytes.clone()));
        }
        for _ in 0..ATTEMPTS {
            let path = format!("blobs/uploads/?digest={}", sha256(&blob));
            let (status, _) = self.send(Method::POST, &path, blob.clone()).await?;
            assert_eq!(status, StatusCode::CREATED);
            let path = format!("manifests/{tag}");
            let (status, said) = self.send(Method::PUT, &path, bytes.clone()).await?;
            match status {
                StatusCode::CREATED => {
                    assert!(!refused, "the quota has no room for {tag}");
                    self.point(&tag, digest);
                    self.settle_manifest(digest);
                    return Ok(true);
                }
                StatusCode::FORBIDDEN => {
                    assert!(refused, "the quota has room for {tag}: {said:?}");
                    self.refused += 1;
                    return Ok(false);
                }
                // Collected before its manifest came.
                StatusCode::BAD_REQUEST => {}
                status => panic!("{path}: {status}: {said:?}"),
            }
        }
        panic!("no manifest came in time for its blob");
    }

    async fn delete_tag(&mut self) -> Answered<bool> {
        let Some((tag, _)) = self.choose(self.tags_there()) else {
            return Ok(false);
        };
        self.tags.doubt(tag.clone(), None);
        let (status, _) = self
            .send(Method::DELETE, &format!("manifests/{tag}"), Vec::new())
            .await?;
        assert_eq!(status, StatusCode::ACCEPTED);
        self.tags.settle(tag, None);
        Ok(true)
    }

    async fn delete_manifest(&mut self, purge: bool) -> Answered<bool> {
        let there: Vec<Digest> = self.manifests.there().map(|(digest, _)| *digest).collect();
        let Some(digest) = self.choose(there) else {
            return Ok(false);
        };
        let tags = self.tags_there().into_iter();
        let tags: Vec<String> = tags
            .filter(|(_, to)| *to == digest)
            .map(|(tag, _)| tag)
            .collect();
        self.manifests.doubt(digest, None);
        for tag in &tags {
            self.tags.doubt(tag.clone(), None);
        }
        self.entombed.insert(digest, tags.clone());
        match purge {
            true => {
                self.purged.insert(digest);
                let asked = json!({ "digest": digest, "now": true });
                let order = Order::new("/manifests/delete", asked);
                self.order(&order).await?.unwrap();
            }
            false => {
                let path = format!("manifests/{digest}");
                let (status, _) = self.send(Method::DELETE, &path, Vec::new()).await?;
                assert_eq!(status, StatusCode::ACCEPTED);
            }
        }
        self.manifests.settle(digest, None);
        for tag in tags {
            self.tags.settle(tag, None);
        }
        Ok(true)
    }

    /// Asks for a manifest to come back, which `tags` point at then. What is refused changes nothing.
    async fn bring_back(
        &mut self,
        order: Order,
        digest: Digest,
        tags: &[String],
    ) -> Answered<bool> {
        let new = tags.iter().filter(|tag| !self.tags.is_there(*tag)).count();
        let is_full = self.is_full(new);
        if !is_full {
            let bytes = self.pushed[&digest].0.clone();
            self.manifests.doubt(digest, Some(bytes));
            for tag in tags {
                self.tags.doubt(tag.clone(), Some(digest));
            }
        }
        match self.order(&order).await? {
            Ok(()) => {
                assert!(!is_full, "{order:?} went over the quota");
                self.settle_manifest(digest);
                for tag in tags {
                    self.point(tag, digest);
                }
                Ok(true)
            }
            Err(_) if is_full => {
                self.refused += 1;
                Ok(false)
            }
            Err(_) if self.purged.contains(&digest) => {
                self.manifests.settle(digest, None);
                for tag in tags {
                    let before = self.tags.possible(tag)[0];
                    self.tags.settle(tag.clone(), before);
                }
                Ok(false)
            }
            Err(why) => panic!("{order:?}: {why}"),
        }
    }

    async fn roll_back(&mut self) -> Answered<bool> {
        let mut earlier = Vec::new();
        for (tag, now) in self.tags_there() {
            let pointed = self.pointed[&tag].iter().filter(|to| **to != now);
            earlier.extend(pointed.map(|to| (tag.clone(), *to)));
        }
        let Some((tag, to)) = self.choose(earlier) else {
            return Ok(false);
        };
        let asked = json!({ "tag": tag, "digest": to });
        let order = Order::new("/tags/rollback", asked);
        self.bring_back(order, to, &[tag]).await
    }

    async fn undelete_tag(&mut self) -> Answered<bool> {
        let known = self.pointed.iter();
        let absent = known.filter(|(tag, _)| !self.tags.is_there(tag));
        let absent = absent.filter_map(|(tag, to)| Some((tag.clone(), *to.last()?)));
        let Some((tag, digest)) = self.choose(absent.collect()) else {
            return Ok(false);
        };
        let order = Order::new("/tags/undelete", json!({ "tag": tag }));
        self.bring_back(order, digest, &[tag]).await
    }

    async fn undelete_manifest(&mut self) -> Answered<bool> {
        let entombed = self.entombed.iter();
        let absent = entombed.filter(|(digest, _)| !self.manifests.is_there(digest));
        let absent = absent.map(|(digest, tags)| (*digest, tags.clone()));
        let Some((digest, mut tags)) = self.choose(absent.collect()) else {
            return Ok(false);
        };
        tags.retain(|tag| !self.tags.is_there(tag));
        let order = Order::new("/manifests/undelete", json!({ "digest": digest }));
        self.bring_back(order, digest, &tags).await
    }

    /// Goes by the rules, which delete what they said they would.
    async fn retain(&mut self) -> Answered<bool> {
        let path = format!("{BASE}/retention");
        let plan: Vec<Verdict> = self.lines(Method::GET, &path).await?;
        let doomed: Vec<Verdict> = plan
            .iter()
            .filter(|it| it.fate == Fate::Delete)
            .cloned()
            .collect();
        for verdict in &doomed {
            match verdict.reference.parse::<Digest>() {
                Ok(digest) => {
                    self.manifests.doubt(digest, None);
                    self.entombed.insert(digest, Vec::new());
                }
                Err(_) => self.tags.doubt(verdict.reference.clone(), None),
            }
        }
        let done: Vec<Verdict> = self.lines(Method::POST, &path).await?;
        assert_eq!(
            fates(&done),
            fates(&plan),
            "retention did not do what it planned"
        );
        for verdict in &doomed {
            match verdict.reference.parse::<Digest>() {
                Ok(digest) => self.manifests.settle(digest, None),
                Err(_) => self.tags.settle(verdict.reference.clone(), None),
            }
        }
        Ok(!doomed.is_empty())
    }
}

fn fates(verdicts: &[Verdict]) -> Vec<(&str, Fate)> {
    verdicts
        .iter()
        .map(|it| (it.reference.as_str(), it.fate))
        .collect()
}
