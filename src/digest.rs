//! Digests and the running hash: the one type that the store and the registry share.
//!
//! A [`Digest`] is parsed at the edge and from there on can only be well-formed: a registered
//! algorithm and exactly the bytes that it produces (image-spec, `descriptor.md`, "Digests").

use std::fmt;
use std::str::FromStr;

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

/// A hash algorithm that content may be addressed by (image-spec, "Registered algorithms").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// SHA-256, the default everywhere.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name in a digest string.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of a digest of this algorithm, in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The byte that stands for the algorithm in keys and records; it never changes.
    pub fn code(self) -> u8 {
        match self {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        }
    }

    /// The algorithm that `code` stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Algorithm::Sha256),
            2 => Some(Algorithm::Sha512),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            other => Err(DigestError::Algorithm(excerpt(other))),
        }
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No colon between algorithm and value.
    #[error("{0:?} is not a digest: expected <algorithm>:<hex>, such as sha256:<64 hex digits>")]
    Format(String),
    /// An algorithm that is not supported.
    #[error("digest algorithm {0:?} is not supported: use sha256 or sha512")]
    Algorithm(String),
    /// A value of the wrong length.
    #[error("a {algorithm} digest has {expected} hex digits, this one has {found}")]
    Length {
        /// The algorithm named.
        algorithm: Algorithm,
        /// Hex digits that the algorithm asks for.
        expected: usize,
        /// Bytes found after the colon.
        found: usize,
    },
    /// A value with something else than lower-case hex digits.
    #[error("a digest's value is made of the digits 0-9 and a-f, found {0:?}")]
    Hex(char),
}

/// At most 64 characters of something a client sent, for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

/// An algorithm and the value that it gave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The value, followed by zeros up to the longest algorithm's length.
    value: [u8; 64],
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// A digest of a raw value; `None` if the length is not the algorithm's.
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        if raw.len() != algorithm.digest_bytes() {
            return None;
        }
        let mut value = [0; 64];
        value[..raw.len()].copy_from_slice(raw);
        Some(Digest { algorithm, value })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw value, 32 or 64 bytes.
    pub fn raw(&self) -> &[u8] {
        &self.value[..self.algorithm.digest_bytes()]
    }

    /// The value in lower-case hex.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * self.raw().len());
        push_hex(&mut text, self.raw());
        text
    }
}

fn push_hex(text: &mut String, raw: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in raw {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Format(excerpt(text)))?;
        let algorithm: Algorithm = algorithm.parse()?;
        let expected = 2 * algorithm.digest_bytes();
        if hex.len() != expected {
            return Err(DigestError::Length {
                algorithm,
                expected,
                found: hex.len(),
            });
        }
        let mut value = [0; 64];
        for (position, digit) in hex.chars().enumerate() {
            // Upper-case hex would be a second spelling of the same content.
            let nibble = match digit {
                '0'..='9' => digit as u8 - b'0',
                'a'..='f' => digit as u8 - b'a' + 10,
                other => return Err(DigestError::Hex(other)),
            };
            value[position / 2] = value[position / 2] << 4 | nibble;
        }
        Ok(Digest { algorithm, value })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(7 + 2 * self.raw().len());
        text.push_str(self.algorithm.name());
        text.push(':');
        push_hex(&mut text, self.raw());
        f.write_str(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        (self.algorithm.code(), self.raw()).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            return text.parse().map_err(D::Error::custom);
        }
        let (code, raw) = <(u8, Vec<u8>)>::deserialize(deserializer)?;
        Algorithm::from_code(code)
            .and_then(|algorithm| Digest::from_raw(algorithm, &raw))
            .ok_or_else(|| D::Error::custom("not a digest"))
    }
}

/// A running hash that can be put away and taken up again.
#[derive(Clone)]
pub enum Hasher {
    /// Running SHA-256.
    Sha256(Sha256),
    /// Running SHA-512.
    Sha512(Sha512),
}

/// First byte of a saved state: the layout that sha2 0.11 serialises. A state of any other
/// version is not read; the caller hashes the stored bytes again.
const STATE_VERSION: u8 = 1;

/// Blocks that a saved state may have taken in: 2^60 bytes and more, which no blob has. sha2 counts
/// bits without looking for an overflow, so a damaged count would end in a panic.
const STATE_BLOCKS_MAX: u128 = 1 << 54;

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// The algorithm that runs.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(state) => state.update(bytes),
            Hasher::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        let mut value = [0; 64];
        let algorithm = self.algorithm();
        match self {
            Hasher::Sha256(state) => value[..32].copy_from_slice(&state.finalize()),
            Hasher::Sha512(state) => value.copy_from_slice(&state.finalize()),
        }
        Digest { algorithm, value }
    }

    /// The state as bytes: version, algorithm code, sha2's own serialisation.
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = vec![STATE_VERSION, self.algorithm().code()];
        match self {
            Hasher::Sha256(state) => bytes.extend_from_slice(&state.serialize()),
            Hasher::Sha512(state) => bytes.extend_from_slice(&state.serialize()),
        }
        bytes
    }

    /// The state that [`Hasher::save`] gave; `None` for an unknown version or damaged bytes.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        let [STATE_VERSION, code, state @ ..] = bytes else {
            return None;
        };
        let algorithm = Algorithm::from_code(*code)?;
        // In that layout the count of blocks follows the eight words of the running value.
        let blocks = match algorithm {
            Algorithm::Sha256 => u64::from_le_bytes(*state.get(32..)?.first_chunk()?).into(),
            Algorithm::Sha512 => u128::from_le_bytes(*state.get(64..)?.first_chunk()?),
        };
        if blocks > STATE_BLOCKS_MAX {
            return None;
        }
        Some(match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::deserialize(state.try_into().ok()?).ok()?),
        })
    }
}

impl fmt::Debug for Hasher {
    // The state is a function of content that may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_printed_as_it_was_parsed() {
        let digest: Digest = ABC.parse().unwrap();
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(digest, Digest::of(Algorithm::Sha256, b"abc"));
        let long = Digest::of(Algorithm::Sha512, b"abc");
        assert_eq!(long.to_string().parse(), Ok(long));
        assert_eq!(Digest::from_raw(Algorithm::Sha512, long.raw()), Some(long));
        assert_eq!(Digest::from_raw(Algorithm::Sha256, long.raw()), None);
    }

    #[test]
    fn malformed_digests_are_refused() {
        let upper = ABC.to_uppercase().replace("SHA256", "sha256");
        let as_sha512 = ABC.replace("sha256", "sha512");
        for text in [
            "",
            "sha256",
            "sha256:",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256:../x",
            upper.as_str(),
            as_sha512.as_str(),
            &ABC[..ABC.len() - 1],
            " sha256:",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was taken");
        }
        // Multi-byte characters of the right byte length must not panic either.
        let text = format!("sha256:{}", "é".repeat(32));
        assert_eq!(text.parse::<Digest>(), Err(DigestError::Hex('é')));
    }

    #[test]
    fn a_saved_hash_goes_on_where_it_stopped() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let bytes: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
            for cut in [0, 1, 63, 64, 65, 127, 128, 999] {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&bytes[..cut]);
                let mut resumed = Hasher::restore(&hasher.save()).unwrap();
                resumed.update(&bytes[cut..]);
                assert_eq!(resumed.finish(), Digest::of(algorithm, &bytes));
            }
        }
    }

    /// Found by the fuzz target `catalog_codec`: finishing such a state overflowed.
    #[test]
    fn a_saved_hash_of_impossible_length_is_not_taken_up() {
        for (algorithm, count) in [(Algorithm::Sha256, 2 + 32), (Algorithm::Sha512, 2 + 64)] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&[0; 3 * 128]);
            let mut saved = hasher.save();
            // Blocks are of 64 and 128 bytes, twice the digest.
            let blocks = (3 * 128 / (2 * algorithm.digest_bytes())) as u8;
            assert_eq!(saved[count], blocks, "the count of blocks lies there");
            saved[count + 7] = 0x80;
            assert!(Hasher::restore(&saved).is_none());
        }
    }

    #[test]
    fn a_saved_hash_of_another_version_is_not_taken_up() {
        let mut saved = Hasher::new(Algorithm::Sha256).save();
        assert_eq!(saved.len(), 2 + 104);
        saved[0] = 2;
        assert!(Hasher::restore(&saved).is_none());
        assert!(Hasher::restore(&saved[..50]).is_none());
        assert!(Hasher::restore(&[]).is_none());
    }
}
