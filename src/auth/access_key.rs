//! Access keys: tokens whose secret signs requests instead of going with them (SigV4).
//!
//! Whoever checks a signature has to know the secret, so that a hash of it does not do. It is kept nowhere
//! all the same: it is derived (HMAC-SHA256) of the key's name and of a random number in its row, with a key
//! of the server that lies in the directory of keys. Index and backups of the index hold none of it; without
//! that file, every access key has to be made again.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::authority::{Authority, AuthorityError, now_ms};
use super::identity::{Principal, stamp_of};
use super::initial::{make_keys_directory, write_secret};
use super::name::Name;
use super::policy::Actions;
use super::secret;
use super::token::NewToken;
use crate::oci::Pattern;

/// Name of the file, in the directory of keys, that the secrets are derived with.
pub const ACCESS_ROOT_FILE: &str = "s3-access.key";

/// Its length in bytes.
const ROOT_BYTES: usize = 32;

/// What every id begins with.
const ID_PREFIX: &str = "DRIFT";

/// Characters of an id behind that, of 5 bits each.
const ID_CHARS: usize = 15;

/// What ids are written in.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What the secrets of access keys are derived with.
pub(super) struct AccessRoot(hmac::Key);

impl AccessRoot {
    /// Reads it. Where there is none and one may be made, it is, and durable when this returns.
    fn open(directory: &Path, may_make: bool) -> io::Result<Self> {
        let path = directory.join(ACCESS_ROOT_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {
                let bytes = secret::bytes::<ROOT_BYTES>().map_err(io::Error::other)?;
                make_keys_directory(directory)?;
                write_secret(&path, &bytes)?;
                bytes.to_vec()
            }
            Err(error) => return Err(error),
        };
        match bytes.len() {
            ROOT_BYTES => Ok(AccessRoot(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            length => Err(io::Error::other(format!(
                "a key has {ROOT_BYTES} bytes, this file {length}"
            ))),
        }
    }

    /// The secret of the access key of that name and number.
    fn derive(&self, name: &Name, random: &[u8; 32]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"drift access key\0");
        context.update(random);
        context.update(name.as_str().as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}

/// The id that requests are sent with, of the random number in an access key's row.
pub fn id(random: &[u8; 32]) -> String {
    let hash = digest::digest(&digest::SHA256, random);
    let characters = hash.as_ref().iter().take(ID_CHARS);
    let characters = characters.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    ID_PREFIX.chars().chain(characters).collect()
}

/// An access key that is to be made.
pub struct NewAccessKey {
    /// Its name; without one it is named by its id.
    pub name: Option<Name>,
    /// The account that it is for; without one it stands for itself.
    pub owner: Option<Name>,
    /// What it is for.
    pub actions: Actions,
    /// The objects and repositories that it is for.
    pub subjects: Vec<Pattern>,
    /// When it ends, in milliseconds since 1970; `None` for never.
    pub expires_ms: Option<u64>,
}

/// An access key that was made.
pub struct AccessKeyMade {
    /// Its name.
    pub name: Name,
    /// What requests are sent with.
    pub access_key: String,
    /// What they are signed with. It is kept nowhere.
    pub secret_key: String,
}

impl Authority {
    /// Makes an access key. What is kept of it is a random number, from which its secret is derived.
    pub async fn create_access_key(
        &self,
        asked: NewAccessKey,
    ) -> Result<AccessKeyMade, AuthorityError> {
        let random = secret::bytes::<32>()?;
        let id = id(&random);
        let name = match asked.name {
            Some(name) => name,
            None => format!("s3-{}", id.to_ascii_lowercase())
                .parse()
                .map_err(|error| AuthorityError::Invalid(format!("{error}")))?,
        };
        // The key that secrets are derived with is durable before any row counts on it (ORDERING.md, O1).
        // Where others counted on one that is gone, a new one would leave them void for good.
        let may_make = self.directory().access_keys.is_empty();
        let secret_key = self.access_root(may_make)?.derive(&name, &random);
        let token = NewToken {
            name: name.clone(),
            secret: random,
            owner: asked.owner,
            actions: asked.actions,
            repositories: asked.subjects,
            expires_ms: asked.expires_ms,
        };
        self.put_token(token, true).await?;
        Ok(AccessKeyMade {
            name,
            access_key: id,
            secret_key,
        })
    }

    fn access_root(&self, may_make: bool) -> Result<Arc<AccessRoot>, AuthorityError> {
        let root = self.access_root.lock();
        // Held while the file is made, so that it is made once.
        let mut root = root.unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = &*root {
            return Ok(root.clone());
        }
        let directory = self.keys_directory();
        let opened =
            AccessRoot::open(directory, may_make).map_err(|source| AuthorityError::File {
                path: directory.join(ACCESS_ROOT_FILE),
                source,
            })?;
        Ok(root.insert(Arc::new(opened)).clone())
    }

    /// The secret of an access key that holds, and whose it is.
    pub(super) fn access_key(&self, id: &str) -> Option<(String, Principal)> {
        let directory = self.directory();
        let name = directory.access_keys.get(id)?;
        let token = directory.tokens.get(name)?;
        if !token.is_good(&directory, now_ms()) {
            return None;
        }
        let root = self
            .access_root(false)
            .inspect_err(|error| tracing::error!("no signature can be verified: {error}"))
            .ok()?;
        let secret = root.derive(name, &token.secret);
        let stamp = stamp_of(&token.secret);
        let name = name.clone();
        Some((secret, Principal::Token { name, stamp }))
    }

    /// Notes that an access key is used now.
    pub(super) fn access_key_used(&self, id: &str) {
        if let Some(name) = self.directory().access_keys.get(id) {
            self.uses.note(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_derived_alike_as_long_as_the_file_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        let name: Name = "backup".parse().unwrap();
        let first = AccessRoot::open(&keys, true)
            .unwrap()
            .derive(&name, &[7; 32]);
        let again = AccessRoot::open(&keys, true).unwrap();
        assert_eq!(again.derive(&name, &[7; 32]), first);
        assert_ne!(again.derive(&name, &[8; 32]), first);
        assert_ne!(again.derive(&"other".parse().unwrap(), &[7; 32]), first);
        let file = keys.join(ACCESS_ROOT_FILE);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&file).unwrap();
        let gone = AccessRoot::open(&keys, false).err().unwrap();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        let other = AccessRoot::open(&keys, true).unwrap();
        assert_ne!(other.derive(&name, &[7; 32]), first);
        std::fs::write(&file, "short").unwrap();
        assert!(AccessRoot::open(&keys, true).is_err());
    }

    #[test]
    fn ids_are_words_of_twenty_characters() {
        let id = id(&[1; 32]);
        assert!(id.starts_with("DRIFT") && id.len() == 20, "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
