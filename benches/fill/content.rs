//! What is to be stored: images whose content follows from a seed and their number.

use std::sync::Arc;

use bytes::Bytes;
use drift::digest::{Algorithm, Digest};
use drift::oci::{RepositoryName, Tag};

/// Different layers that the images of one repository are made of at most: they share bases.
const LAYERS_OF_REPOSITORY: u64 = 32;
/// What one push takes.
const TAGS_OF_IMAGE_MAX: u64 = drift::registry::push::TAGS_PER_PUSH_MAX as u64;

/// Media type of the manifests' configurations, which a registry notes as their artifact type.
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub seed: u64,
    pub manifests: u64,
    pub repositories: u64,
    pub tags: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub layers: u64,
}

/// A blob's number, digest and length in bytes.
#[derive(Clone, Copy)]
pub struct Blob {
    pub number: u64,
    pub digest: Digest,
    pub size: u64,
}

/// An image, as it is pushed.
pub struct Image {
    pub repository: RepositoryName,
    /// Its configuration, then its layers.
    pub blobs: Vec<Blob>,
    pub manifest: Bytes,
    pub digest: Digest,
    pub tags: Vec<Tag>,
}

/// All that a set of numbers makes. Cheap to clone.
#[derive(Clone)]
pub struct Content {
    numbers: Numbers,
    blobs: Arc<[Blob]>,
}

impl Content {
    pub fn new(numbers: Numbers) -> anyhow::Result<Self> {
        if numbers.repositories == 0 || numbers.repositories > numbers.manifests {
            anyhow::bail!(
                "{} repositories: use 1 to {}, the number of manifests, since none is empty",
                numbers.repositories,
                numbers.manifests
            );
        }
        if numbers.tags > numbers.manifests * TAGS_OF_IMAGE_MAX {
            anyhow::bail!(
                "{} tags: a push sets {TAGS_OF_IMAGE_MAX} at most, so use up to {}",
                numbers.tags,
                numbers.manifests * TAGS_OF_IMAGE_MAX
            );
        }
        let blobs = (0..numbers.blobs).map(|number| {
            let bytes = blob_bytes(&numbers, number);
            Blob {
                number,
                digest: Digest::of(Algorithm::Sha256, &bytes),
                size: bytes.len() as u64,
            }
        });
        Ok(Content {
            numbers,
            blobs: blobs.collect(),
        })
    }

    /// A blob's bytes.
    pub fn bytes(&self, blob: &Blob) -> Vec<u8> {
        blob_bytes(&self.numbers, blob.number)
    }

    /// Image `number` of all. Those of one repository follow each other.
    pub fn image(&self, number: u64) -> Image {
        let numbers = &self.numbers;
        let repository = number * numbers.repositories / numbers.manifests;
        let config = self.blobs[(number % numbers.blobs) as usize];
        let mut random = Random::new(numbers.seed ^ number.rotate_left(32));
        let mut blobs = vec![config];
        for _ in 0..numbers.layers {
            let layer = repository * LAYERS_OF_REPOSITORY + random.next() % LAYERS_OF_REPOSITORY;
            blobs.push(self.blobs[(layer % numbers.blobs) as usize]);
        }
        let descriptor = |media_type: &str, blob: &Blob| {
            serde_json::json!({
                "mediaType": media_type,
                "digest": blob.digest,
                "size": blob.size,
            })
        };
        let layers = blobs[1..].iter();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(CONFIG_TYPE, &config),
            "layers": layers.map(|layer| descriptor(LAYER_TYPE, layer)).collect::<Vec<_>>(),
            "annotations": { "org.opencontainers.image.version": format!("{}.{number}", numbers.seed) },
        });
        let manifest = Bytes::from(manifest.to_string());
        let tags = number * numbers.tags / numbers.manifests
            ..(number + 1) * numbers.tags / numbers.manifests;
        Image {
            repository: name(format!("fill-{}/r{repository:06}", numbers.seed)),
            blobs,
            digest: Digest::of(Algorithm::Sha256, &manifest),
            manifest,
            tags: tags.map(|tag| name(format!("t{tag}"))).collect(),
        }
    }
}

fn name<T: std::str::FromStr>(text: String) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no name"))
}

fn blob_bytes(numbers: &Numbers, number: u64) -> Vec<u8> {
    let mut random = Random::new(numbers.seed.rotate_left(16) ^ number);
    let length = 1 + random.next() % (2 * numbers.blob_bytes).max(1);
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// SplitMix64: the same numbers on every machine and with every version of every crate.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
