//! What a client knows of what a server holds.

use std::collections::BTreeMap;

use drift::digest::Digest;

use crate::content::Content;

/// Which states something may be in: one, or before and after a request that was not answered.
/// `None` is its absence.
pub struct States<K, T>(BTreeMap<K, Vec<Option<T>>>);

impl<K: Ord + Clone, T: Clone + PartialEq> States<K, T> {
    pub fn new() -> Self {
        States(BTreeMap::new())
    }

    /// A request is on its way that puts it into this state.
    pub fn doubt(&mut self, key: K, state: Option<T>) {
        self.0.entry(key).or_insert(vec![None]).push(state);
    }

    /// It is known to be in this state.
    pub fn settle(&mut self, key: K, state: Option<T>) {
        self.0.insert(key, vec![state]);
    }

    /// The states that it may be in.
    pub fn possible(&self, key: &K) -> &[Option<T>] {
        self.0.get(key).map_or(&[None], Vec::as_slice)
    }

    /// Whether it is known to be there.
    pub fn is_there(&self, key: &K) -> bool {
        matches!(self.possible(key), [Some(_)])
    }

    /// All that are known to be there.
    pub fn there(&self) -> impl Iterator<Item = (&K, &T)> {
        self.0.iter().filter_map(|(key, states)| match &states[..] {
            [Some(state)] => Some((key, state)),
            _ => None,
        })
    }

    /// All that was ever asked for, and the states that it may be in.
    pub fn all(&self) -> impl Iterator<Item = (&K, &[Option<T>])> {
        self.0.iter().map(|(key, states)| (key, &states[..]))
    }

    /// Forgets what is known to be absent.
    pub fn forget_absent(&mut self) {
        self.0.retain(|_, states| !matches!(states[..], [None]));
    }
}

/// One of the client's two repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repository {
    First,
    Second,
}

impl Repository {
    pub fn other(self) -> Self {
        match self {
            Repository::First => Repository::Second,
            Repository::Second => Repository::First,
        }
    }
}

/// An upload that was begun.
pub struct Upload {
    pub location: String,
    pub content: Content,
    /// Bytes that the server has acknowledged.
    pub acknowledged: usize,
    /// A request to end it was sent, which may have been done.
    pub ending: Option<Ending>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Finish,
    Cancel,
}

/// All of it.
pub struct Expected {
    pub blobs: States<(Repository, Digest), Content>,
    pub manifests: States<(Repository, Digest), Vec<u8>>,
    pub tags: States<(Repository, String), Digest>,
    /// Uploads go to the first repository.
    pub upload: Option<Upload>,
}

impl Expected {
    pub fn new() -> Self {
        Expected {
            blobs: States::new(),
            manifests: States::new(),
            tags: States::new(),
            upload: None,
        }
    }

    /// Whether a manifest of the repository, that is or may be there, names the digest.
    pub fn is_named(&self, repository: Repository, digest: &Digest) -> bool {
        let name = digest.to_string();
        self.manifests
            .all()
            .filter(|((of, _), _)| *of == repository)
            .flat_map(|(_, states)| states.iter().flatten())
            .any(|bytes| String::from_utf8_lossy(bytes).contains(&name))
    }
}
