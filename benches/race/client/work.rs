//! The kinds of work, and one piece of each.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::{Subcommand, ValueEnum};
use drift::digest::Digest;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Arguments;
use crate::connection::{Answer, Connection, Keep, Request};
use crate::content::{Content, MANIFEST, Manifest, tag};

/// Numbers of manifests that refer to another begin here, so that none is a tagged one's.
const REFERRERS_FROM: u64 = 1 << 40;
/// Of a list, so many are asked for at once.
const PAGE: u64 = 100;

#[derive(Clone, Debug, Subcommand)]
pub enum Work {
    /// Push blobs, each another
    Push {
        /// How long each is
        #[arg(long)]
        bytes: u64,
        #[arg(long, value_enum, default_value_t = Way::Whole)]
        way: Way,
    },
    /// Pull blobs that `push` pushed with the same seed, one after the other and again from the first
    Pull {
        #[arg(long)]
        bytes: u64,
        /// How many there are
        #[arg(long)]
        blobs: u64,
        /// Ranges of this length, anywhere in the blobs, rather than the whole of them
        #[arg(long)]
        range: Option<u64>,
    },
    /// Push manifests of the blob that `push --count 1` pushed with the same seed, each under a tag of its own
    PutManifest {
        /// How long that blob is
        #[arg(long)]
        bytes: u64,
        /// Each into a repository of its own, which gets the blob by a mount
        #[arg(long, conflicts_with = "referrers")]
        spread: bool,
        /// Each refers to the manifest of the first tag, and has no tag
        #[arg(long)]
        referrers: bool,
    },
    /// Mount blobs that `push` pushed with the same seed into another repository
    Mount {
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        blobs: u64,
        /// That other repository
        #[arg(long)]
        to: String,
    },
    /// Ask for what `put-manifest` pushed with the same seed
    Ask {
        #[arg(value_enum)]
        what: What,
        /// How long the manifests' blob is
        #[arg(long)]
        bytes: u64,
        /// How many manifests there are
        #[arg(long)]
        entries: u64,
    },
    /// Write blobs and manifests as files, with the paths that they have in the API, for a server of files
    Write {
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        blobs: u64,
        /// How many manifests of the first blob
        #[arg(long, default_value_t = 0)]
        entries: u64,
        #[arg(long)]
        to: PathBuf,
    },
}

/// The requests that a blob is pushed by.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Way {
    /// POST with the body, where the server takes that; else as `whole`
    Single,
    /// POST, PUT with the body
    Whole,
    /// POST, PATCH with the body, PUT, as docker does
    Patch,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum What {
    GetTag,
    GetDigest,
    HeadTag,
    HeadDigest,
    HeadBlob,
    MissingTag,
    MissingBlob,
    TagsFirst,
    TagsLast,
    CatalogFirst,
    CatalogLast,
    Referrers,
}

/// One that works: its connection, and how it is logged in.
pub struct Client {
    connection: Connection,
    authorization: Option<String>,
}

impl Client {
    pub fn new(connection: Connection, authorization: Option<String>) -> Self {
        Self {
            connection,
            authorization,
        }
    }

    fn ask(&mut self, mut request: Request<'_>) -> anyhow::Result<Answer> {
        if let Some(authorization) = &self.authorization {
            request
                .headers
                .push(("Authorization", authorization.clone()));
        }
        self.connection.ask(request)
    }
}

/// What is done, with all that can be found out before the clock starts.
pub struct Plan {
    work: Work,
    content: Content,
    seed: u64,
    repository: String,
    verify: bool,
    /// Of the blobs; empty where nobody says how many there will be.
    digests: Vec<Digest>,
}

impl Plan {
    pub fn new(arguments: &Arguments) -> Self {
        let content = Content::new(arguments.seed);
        let (blobs, bytes) = match arguments.work {
            Work::Push { bytes, .. } => (arguments.count.unwrap_or(0), bytes),
            Work::Pull { bytes, blobs, .. }
            | Work::Mount { bytes, blobs, .. }
            | Work::Write { bytes, blobs, .. } => (blobs, bytes),
            Work::PutManifest { bytes, .. } | Work::Ask { bytes, .. } => (1, bytes),
        };
        Self {
            digests: content.digests(blobs, bytes),
            work: arguments.work.clone(),
            content,
            seed: arguments.seed,
            repository: arguments.repository.clone(),
            verify: arguments.verify,
        }
    }

    /// The repositories that a login has to be for.
    pub fn repositories(&self) -> Vec<&str> {
        match &self.work {
            Work::Mount { to, .. } => vec![&self.repository, to],
            _ => vec![&self.repository],
        }
    }

    /// Does one piece: how many bytes of content went over, and how long it took.
    pub fn step(&self, client: &mut Client, number: u64) -> anyhow::Result<(u64, Duration)> {
        match &self.work {
            Work::Push { bytes, way } => self.push(client, number, *bytes, *way),
            Work::Pull {
                bytes,
                blobs,
                range,
            } => self.pull(client, number, *bytes, *blobs, *range),
            Work::PutManifest {
                bytes,
                spread,
                referrers,
            } => self.put_manifest(client, number, *bytes, *spread, *referrers),
            Work::Mount { blobs, to, .. } => {
                let digest = &self.digests[(number % blobs) as usize];
                let began = Instant::now();
                mount(client, digest, &self.repository, to)?;
                Ok((0, began.elapsed()))
            }
            Work::Ask {
                what,
                bytes,
                entries,
            } => self.question(client, number, *what, *bytes, *entries),
            Work::Write { .. } => bail!("files are not written by clients"),
        }
    }

    fn push(
        &self,
        client: &mut Client,
        number: u64,
        bytes: u64,
        way: Way,
    ) -> anyhow::Result<(u64, Duration)> {
        let blob = self.content.blob(number, bytes);
        let digest = match self.digests.get(number as usize) {
            Some(digest) => *digest,
            None => blob.clone().digest(),
        };
        let uploads = format!("/v2/{}/blobs/uploads/", self.repository);
        let single = format!("{uploads}?digest={digest}");
        let kind = ("Content-Type", "application/octet-stream".to_owned());
        let began = Instant::now();
        let mut request = Request::new(
            "POST",
            if way == Way::Single {
                &single
            } else {
                &uploads
            },
        );
        if way == Way::Single {
            request.headers.push(kind.clone());
            request.body = blob.clone();
        }
        let mut answer = client.ask(request)?;
        if way == Way::Single && answer.status == 201 {
            return Ok((bytes, began.elapsed()));
        }
        answer = answer.expect(202, "the beginning of an upload")?;
        let mut path = answer.path()?;
        let mut body = blob;
        if way == Way::Patch {
            let mut request = Request::new("PATCH", &path);
            request.headers.push(kind.clone());
            request.body = std::mem::take(&mut body);
            path = client
                .ask(request)?
                .expect(202, "a piece of a blob")?
                .path()?;
        }
        let path = format!(
            "{path}{}digest={digest}",
            if path.contains('?') { '&' } else { '?' }
        );
        let mut request = Request::new("PUT", &path);
        request.headers.push(kind);
        request.body = body;
        client.ask(request)?.expect(201, "the end of an upload")?;
        Ok((bytes, began.elapsed()))
    }

    fn pull(
        &self,
        client: &mut Client,
        number: u64,
        bytes: u64,
        blobs: u64,
        range: Option<u64>,
    ) -> anyhow::Result<(u64, Duration)> {
        let digest = &self.digests[(number % blobs) as usize];
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let mut request = Request::new("GET", &path);
        let (mut status, mut wanted) = (200, bytes);
        if let Some(length) = range {
            ensure!(
                (1..=bytes).contains(&length),
                "a range of {length} bytes does not fit a blob of {bytes}"
            );
            let first = StdRng::seed_from_u64(number ^ self.seed).random_range(0..=bytes - length);
            request
                .headers
                .push(("Range", format!("bytes={first}-{}", first + length - 1)));
            (status, wanted) = (206, length);
        } else if self.verify {
            request.keep = Keep::Digest;
        }
        let began = Instant::now();
        let answer = client.ask(request)?.expect(status, "a pull")?;
        let took = began.elapsed();
        ensure!(
            answer.bytes == wanted,
            "a pull gave {} bytes, not {wanted}",
            answer.bytes
        );
        check(answer.digest.as_ref(), digest)?;
        Ok((wanted, took))
    }

    fn put_manifest(
        &self,
        client: &mut Client,
        number: u64,
        bytes: u64,
        spread: bool,
        referrers: bool,
    ) -> anyhow::Result<(u64, Duration)> {
        let blob = &self.digests[0];
        let (repository, manifest, reference) = if referrers {
            let subject = self.content.manifest(0, blob, bytes, None);
            let manifest =
                self.content
                    .manifest(REFERRERS_FROM + number, blob, bytes, Some(&subject));
            let reference = manifest.digest.to_string();
            (self.repository.clone(), manifest, reference)
        } else {
            let repository = match spread {
                true => spread_name(&self.repository, number),
                false => self.repository.clone(),
            };
            (
                repository,
                self.content.manifest(number, blob, bytes, None),
                tag(number),
            )
        };
        if spread {
            mount(client, blob, &self.repository, &repository)?;
        }
        let path = format!("/v2/{repository}/manifests/{reference}");
        let mut request = Request::new("PUT", &path);
        request.headers.push(("Content-Type", MANIFEST.to_owned()));
        let length = manifest.body.len() as u64;
        request.body = manifest.body.into();
        let began = Instant::now();
        client.ask(request)?.expect(201, "a manifest")?;
        Ok((length, began.elapsed()))
    }

    fn question(
        &self,
        client: &mut Client,
        number: u64,
        what: What,
        bytes: u64,
        entries: u64,
    ) -> anyhow::Result<(u64, Duration)> {
        ensure!(entries > 0, "--entries is 0: there is nothing to ask for");
        let (repository, blob) = (&self.repository, &self.digests[0]);
        let entry = number % entries;
        let manifest = |number| self.content.manifest(number, blob, bytes, None);
        let of_manifest =
            |reference: &dyn std::fmt::Display| format!("/v2/{repository}/manifests/{reference}");
        let before_last = entries.saturating_sub(PAGE + 1);
        // What has to come.
        let mut held: Option<Manifest> = None;
        let path = match what {
            What::GetTag | What::HeadTag => {
                held = (what == What::GetTag && self.verify).then(|| manifest(entry));
                of_manifest(&tag(entry))
            }
            What::GetDigest | What::HeadDigest => {
                let manifest = manifest(entry);
                let path = of_manifest(&manifest.digest);
                held = (what == What::GetDigest && self.verify).then_some(manifest);
                path
            }
            What::HeadBlob => format!("/v2/{repository}/blobs/{blob}"),
            What::MissingTag => of_manifest(&format!("missing{number}")),
            What::MissingBlob => format!("/v2/{repository}/blobs/{}", manifest(number).digest),
            What::TagsFirst => format!("/v2/{repository}/tags/list?n={PAGE}"),
            What::TagsLast => format!(
                "/v2/{repository}/tags/list?n={PAGE}&last={}",
                tag(before_last)
            ),
            What::CatalogFirst => format!("/v2/_catalog?n={PAGE}"),
            What::CatalogLast => format!(
                "/v2/_catalog?n={PAGE}&last={}",
                spread_name(repository, before_last)
            ),
            What::Referrers => format!("/v2/{repository}/referrers/{}", manifest(0).digest),
        };
        // What has to be in a list.
        let contained = match what {
            _ if !self.verify => None,
            What::TagsFirst => Some(tag(0)),
            What::TagsLast => Some(tag(entries - 1)),
            What::CatalogLast => Some(spread_name(repository, entries - 1)),
            What::Referrers => {
                let last = self.content.manifest(
                    REFERRERS_FROM + entries - 1,
                    blob,
                    bytes,
                    Some(&manifest(0)),
                );
                Some(last.digest.to_string())
            }
            _ => None,
        };
        let head = matches!(what, What::HeadTag | What::HeadDigest | What::HeadBlob);
        let missing = matches!(what, What::MissingTag | What::MissingBlob);
        let mut request = Request::new(if head { "HEAD" } else { "GET" }, &path);
        request.headers.push(("Accept", MANIFEST.to_owned()));
        request.keep = match (&held, &contained) {
            (Some(_), _) => Keep::Digest,
            (None, Some(_)) => Keep::Bytes,
            (None, None) => Keep::Nothing,
        };
        let began = Instant::now();
        let answer = client
            .ask(request)?
            .expect(if missing { 404 } else { 200 }, &path)?;
        let took = began.elapsed();
        if let Some(manifest) = &held {
            check(answer.digest.as_ref(), &manifest.digest)?;
        }
        if let Some(contained) = contained {
            let said = String::from_utf8_lossy(&answer.body);
            ensure!(
                said.contains(&contained),
                "{path} does not list {contained}"
            );
        }
        Ok((answer.bytes, took))
    }

    /// Writes blobs and manifests as files under `to`.
    pub fn write(&self, to: &Path) -> anyhow::Result<()> {
        let Work::Write { bytes, entries, .. } = self.work else {
            bail!("nothing is to be written");
        };
        let place = |kind: &str| to.join("v2").join(&self.repository).join(kind);
        std::fs::create_dir_all(place("blobs"))?;
        std::fs::create_dir_all(place("manifests"))?;
        for (number, digest) in self.digests.iter().enumerate() {
            let mut file = std::fs::File::create(place("blobs").join(digest.to_string()))?;
            for piece in self.content.blob(number as u64, bytes) {
                std::io::Write::write_all(&mut file, &piece)?;
            }
            file.sync_all()?;
        }
        for number in 0..entries {
            let manifest = self.content.manifest(number, &self.digests[0], bytes, None);
            for name in [tag(number), manifest.digest.to_string()] {
                std::fs::write(place("manifests").join(name), &manifest.body)?;
            }
        }
        Ok(())
    }
}

fn mount(client: &mut Client, digest: &Digest, from: &str, to: &str) -> anyhow::Result<()> {
    let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
    client
        .ask(Request::new("POST", &path))?
        .expect(201, "a mount")?;
    Ok(())
}

/// A repository of many. They sort as their numbers do, and behind the one that they are made from.
fn spread_name(repository: &str, number: u64) -> String {
    format!("{repository}-{}", tag(number))
}

fn check(found: Option<&Digest>, wanted: &Digest) -> anyhow::Result<()> {
    match found {
        Some(found) if found != wanted => bail!("what came is {found}, not {wanted}"),
        _ => Ok(()),
    }
}
