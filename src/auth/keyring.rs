//! The keys that signed tokens are made with: Ed25519, one file each in the directory of keys.
//!
//! The newest signs. An older one verifies for as long as a token that it signed can live, and then
//! its file goes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::authority::now_ms;
use super::initial::{make_keys_directory, remove, write_secret};

/// What the files are called: `token-<made, in ms since 1970>-<key id>.pk8`.
const PREFIX: &str = "token-";
const SUFFIX: &str = ".pk8";

/// The longest that a signed token lives.
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys, the newest first.
pub struct Keyring {
    keys: Vec<SigningKey>,
}

/// A key.
pub struct SigningKey {
    /// Its id: the beginning of the SHA-256 of the public key, as hex.
    pub id: String,
    /// To sign with.
    pub signs: EncodingKey,
    /// To verify with.
    pub verifies: DecodingKey,
    made_ms: u64,
    path: PathBuf,
}

impl SigningKey {
    fn read(path: PathBuf, made_ms: u64) -> io::Result<Self> {
        let pkcs8 = std::fs::read(&path)?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|_| io::Error::other("this is no Ed25519 key in PKCS #8"))?;
        let public = pair.public_key().as_ref();
        Ok(SigningKey {
            id: key_id(public),
            signs: EncodingKey::from_ed_der(&pkcs8),
            verifies: DecodingKey::from_ed_der(public),
            made_ms,
            path,
        })
    }
}

fn key_id(public: &[u8]) -> String {
    use std::fmt::Write;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public);
    let mut id = String::new();
    for byte in &hash.as_ref()[..8] {
        // Writing to text cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

impl Keyring {
    /// Reads the keys of a directory, and makes one if there is none.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let ring = Self::read(directory)?;
        match ring.keys.is_empty() {
            true => Self::rotate(directory),
            false => Ok(ring),
        }
    }

    /// Makes a new key, which signs from now on, and removes those that nothing valid can be signed
    /// with any more.
    pub fn rotate(directory: &Path) -> io::Result<Self> {
        make_keys_directory(directory)?;
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| io::Error::other("no key could be made"))?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())
            .map_err(|_| io::Error::other("the key that was made is none"))?;
        let newest_ms = Self::read(directory)?
            .keys
            .first()
            .map_or(0, |key| key.made_ms);
        // Also where the clock was put back, the new one is the newest.
        let made_ms = now_ms().max(newest_ms + 1);
        let id = key_id(pair.public_key().as_ref());
        let path = directory.join(format!("{PREFIX}{made_ms}-{id}{SUFFIX}"));
        write_secret(&path, pkcs8.as_ref())?;
        let mut ring = Self::read(directory)?;
        ring.prune(made_ms)?;
        Ok(ring)
    }

    fn read(directory: &Path) -> io::Result<Self> {
        let mut keys = Vec::new();
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keyring { keys }),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let made_ms = name.to_str().and_then(|name| {
                let inner = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
                inner.split_once('-')?.0.parse().ok()
            });
            if let Some(made_ms) = made_ms {
                let path = entry.path();
                let shown = path.display().to_string();
                let key = SigningKey::read(path, made_ms);
                keys.push(
                    key.map_err(|error| io::Error::new(error.kind(), format!("{shown}: {error}")))?,
                );
            }
        }
        keys.sort_by_key(|key| std::cmp::Reverse(key.made_ms));
        Ok(Keyring { keys })
    }

    /// Removes each key whose successor is older than a token can be.
    fn prune(&mut self, now_ms: u64) -> io::Result<()> {
        let lifetime_ms = LIFETIME_MAX.as_millis() as u64;
        let succeeded = self.keys.windows(2);
        let live = 1 + succeeded
            .take_while(|pair| now_ms.saturating_sub(pair[0].made_ms) <= lifetime_ms)
            .count();
        for old in self.keys.drain(live.min(self.keys.len())..) {
            remove(&old.path)?;
        }
        Ok(())
    }

    /// The key that signs; `None` only of a ring without any.
    pub fn signing(&self) -> Option<&SigningKey> {
        self.keys.first()
    }

    /// The key of that id.
    pub fn of(&self, id: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_signs_and_older_ones_verify_until_their_tokens_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let first = Keyring::open(&keys).unwrap();
        let id = first.signing().unwrap().id.clone();
        assert_eq!(Keyring::open(&keys).unwrap().signing().unwrap().id, id);

        let mut second = Keyring::rotate(&keys).unwrap();
        assert_ne!(second.signing().unwrap().id, id);
        assert!(second.of(&id).is_some());
        let made_ms = second.signing().unwrap().made_ms;
        second
            .prune(made_ms + LIFETIME_MAX.as_millis() as u64)
            .unwrap();
        assert!(second.of(&id).is_some());
        second
            .prune(made_ms + LIFETIME_MAX.as_millis() as u64 + 1)
            .unwrap();
        assert!(second.of(&id).is_none());
        assert!(
            Keyring::open(&keys).unwrap().of(&id).is_none(),
            "its file is gone"
        );
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token-1-ab.pk8");
        std::fs::write(&file, "nothing").unwrap();
        let error = Keyring::open(directory.path()).err().unwrap().to_string();
        assert!(error.contains("token-1-ab.pk8"), "{error}");
    }
}
