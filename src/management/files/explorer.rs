//! Looking into layers: few at a time, for so long, and what was seen is kept.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::digest::Digest;
use crate::ghostbay::engine::ByteStream;
use crate::http::error::ApiError;
use crate::http::metrics::{Cache as Kept, Limit, Metrics};
use crate::layers::{Bounds, Cut, Listing, Tree, content};
use crate::oci::{ErrorCode, RepositoryName};
use crate::registry::Registry;

/// Layers that are looked into at once, each on a thread of its own: two cores at most, and some 50 MiB each.
const EXPLORATIONS_MAX: usize = 2;

/// Files that are read at once.
const OPENED_MAX: usize = 4;

/// How long others wait for one of these.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// When whoever waited in vain may come back.
const COME_BACK: Duration = Duration::from_secs(5);

/// Memory of what is kept of layers and of images, each, in bytes.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Memory of the listings of one image, in bytes; what lies above is not looked into.
const IMAGE_BYTES_MAX: usize = 64 << 20;

/// Layers of an image that are looked into: what container runtimes take.
const IMAGE_LAYERS_MAX: usize = 128;

/// Bytes of a file that are passed on at once, and such pieces that wait to be taken.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_WAITING_MAX: usize = 2;

/// A client that takes nothing for so long gets nothing more.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What was seen of layers, and how many are looked into.
pub struct Explorer {
    listings: Cache<Digest, Arc<Listing>, Weight>,
    images: Cache<Digest, Arc<Tree>, Weight>,
    metrics: Arc<Metrics>,
    explorations: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Arc<Listing>> for Weight {
    fn weight(&self, _: &Digest, listing: &Arc<Listing>) -> u64 {
        listing.bytes() as u64 + 256
    }
}

impl Weighter<Digest, Arc<Tree>> for Weight {
    fn weight(&self, _: &Digest, tree: &Arc<Tree>) -> u64 {
        tree.bytes() as u64 + 256
    }
}

impl Explorer {
    /// One that has seen nothing yet, and counts what it keeps.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Explorer {
            metrics,
            listings: Cache::with_weighter(1024, KEPT_BYTES_MAX, Weight),
            images: Cache::with_weighter(256, KEPT_BYTES_MAX, Weight),
            explorations: Arc::new(Semaphore::new(EXPLORATIONS_MAX)),
            opened: Arc::new(Semaphore::new(OPENED_MAX)),
        }
    }
}

/// Which files are asked for.
pub enum Scope {
    /// Those of a layer.
    Layer(Digest),
    /// Those of an image's layers one upon the other, kept under the digest of its manifest.
    Image(Digest, Vec<Digest>),
    /// Those of some layers one upon the other, with the marks by which they take away what lies below.
    Upper(Vec<Digest>),
}

/// Tells the thread that works that nobody waits any more.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Explorer {
    /// The files.
    pub async fn tree(
        self: &Arc<Self>,
        registry: &Registry,
        repository: &RepositoryName,
        scope: Scope,
    ) -> Result<Arc<Tree>, ApiError> {
        match &scope {
            Scope::Layer(digest) => {
                // What was seen is told of nothing that is not here any more.
                registry.blob(repository, digest)?;
                if let Some(listing) = self.listings.get(digest) {
                    self.metrics.cached(Kept::layer_listings, 1, 0);
                    return Ok(Arc::new(Tree::of_layer(listing)));
                }
            }
            Scope::Upper(_) => {}
            Scope::Image(manifest, layers) => {
                // The same manifest may be in a repository that does not hold what it is made of.
                let is_here = |layer: &Digest| registry.blob(repository, layer).is_ok();
                if layers.iter().all(is_here)
                    && let Some(tree) = self.images.get(manifest)
                {
                    self.metrics.cached(Kept::image_listings, 1, 0);
                    return Ok(tree);
                }
                self.metrics.cached(Kept::image_listings, 0, 1);
            }
        }
        let place = place(&self.explorations).await?;
        let flag = Arc::new(AtomicBool::new(false));
        let _waits = GivenUp(flag.clone());
        let (explorer, registry, repository) = (self.clone(), registry.clone(), repository.clone());
        let handle = Handle::current();
        let work = move || {
            let _place = place;
            let bounds = Bounds::new(move || flag.load(Ordering::Relaxed));
            let look =
                |digest: &Digest| explorer.look(&registry, &repository, digest, &bounds, &handle);
            let (manifest, layers) = match scope {
                Scope::Layer(digest) => return Arc::new(Tree::of_layer(look(&digest))),
                Scope::Image(manifest, layers) => (Some(manifest), layers),
                Scope::Upper(layers) => (None, layers),
            };
            let (mut listings, mut held) = (Vec::new(), 0);
            for (number, digest) in layers.iter().enumerate() {
                let listing = match held > IMAGE_BYTES_MAX || number >= IMAGE_LAYERS_MAX {
                    true => Arc::new(Listing::empty(Cut::Memory)),
                    false => look(digest),
                };
                held += listing.bytes();
                listings.push(listing);
            }
            let passing = |it: &Arc<Listing>| it.cut.as_ref().is_some_and(Cut::is_passing);
            let is_whole = !listings.iter().any(passing);
            let tree = Arc::new(Tree::of_image(listings, manifest.is_none()));
            if let Some(manifest) = manifest.filter(|_| is_whole) {
                explorer.images.insert(manifest, tree.clone());
            }
            tree
        };
        let worked = tokio::task::spawn_blocking(work).await;
        worked.map_err(ApiError::internal)
    }

    /// What a layer holds, from what was kept or by reading it.
    fn look(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        digest: &Digest,
        bounds: &Bounds,
        handle: &Handle,
    ) -> Arc<Listing> {
        let Ok(blob) = registry.blob(repository, digest) else {
            return Arc::new(Listing::empty(Cut::Absent));
        };
        if let Some(listing) = self.listings.get(digest) {
            self.metrics.cached(Kept::layer_listings, 1, 0);
            return listing;
        }
        self.metrics.cached(Kept::layer_listings, 0, 1);
        let packed = Packed::new(blob.read(0..blob.size), handle.clone());
        let listing = Arc::new(Listing::read(packed, bounds));
        if !listing.cut.as_ref().is_some_and(Cut::is_passing) {
            self.listings.insert(*digest, listing.clone());
        }
        listing
    }

    /// What lies at a place of what a layer unpacks to, with its first piece read. A thread unpacks it for as long as
    /// somebody takes it.
    pub async fn open(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        layer: &Digest,
        offset: u64,
        length: u64,
    ) -> Result<ByteStream<'static>, ApiError> {
        let blob = registry.blob(repository, layer)?;
        let place = place(&self.opened).await?;
        let (sender, mut receiver) = mpsc::channel::<Result<Bytes, Unread>>(PIECES_WAITING_MAX);
        let handle = Handle::current();
        let work = move || {
            let _place = place;
            let watched = sender.clone();
            let bounds = Bounds::new(move || watched.is_closed());
            let send = |piece| {
                let sent = async { tokio::time::timeout(STALL_MAX, sender.send(piece)).await };
                matches!(handle.block_on(sent), Ok(Ok(())))
            };
            let packed = Packed::new(blob.read(0..blob.size), handle.clone());
            if let Err(error) = pass_on(packed, offset, length, &bounds, send) {
                let cut = bounds.take_cut();
                send(Err(Unread { cut, error }));
            }
        };
        drop(tokio::task::spawn_blocking(work));
        let first = match receiver.recv().await {
            Some(Err(Unread { cut: Some(cut), .. })) => {
                let message = format!("this file cannot be read: {cut}");
                let status = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
                return Err(ApiError::new(status, ErrorCode::Unsupported, message));
            }
            Some(Err(Unread { error, .. })) => return Err(ApiError::internal(error)),
            Some(Ok(piece)) => Some(Ok(piece)),
            None => None,
        };
        let rest = futures::stream::unfold(receiver, |mut receiver| async {
            let piece = receiver.recv().await?;
            Some((piece.map_err(|it| anyhow::Error::from(it.error)), receiver))
        });
        Ok(futures::stream::iter(first).chain(rest).boxed())
    }
}

/// Why a file is not read any further.
struct Unread {
    cut: Option<Cut>,
    error: io::Error,
}

fn pass_on(
    packed: Packed,
    offset: u64,
    length: u64,
    bounds: &Bounds,
    send: impl Fn(Result<Bytes, Unread>) -> bool,
) -> io::Result<()> {
    let mut opened = content::open(packed, offset, length, bounds)?;
    let mut left = length;
    while left > 0 {
        let mut piece = vec![0; PIECE_BYTES.min(left as usize)];
        let read = opened.read(&mut piece)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        left -= read as u64;
        if !send(Ok(piece.into())) {
            return Ok(());
        }
    }
    Ok(())
}

/// A place among those that work, or 429.
async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let waited = tokio::time::timeout(WAIT_MAX, places.clone().acquire_owned()).await;
    match waited {
        Ok(Ok(place)) => Ok(place),
        _ => {
            let message = "others look into layers at present; come back in some seconds";
            Err(ApiError::too_many(Limit::explorations, message, COME_BACK))
        }
    }
}

/// A blob's bytes, for a thread that may block.
struct Packed {
    stream: ByteStream<'static>,
    handle: Handle,
    piece: Bytes,
}

impl Packed {
    fn new(stream: ByteStream<'static>, handle: Handle) -> Self {
        let piece = Bytes::new();
        Packed {
            stream,
            handle,
            piece,
        }
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
