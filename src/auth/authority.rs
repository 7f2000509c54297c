//! The accounts and the policy of a store: who logs in, what they may, and every change of it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::access_key::AccessRoot;
use super::certificate::ClientRule;
use super::directory::Directory;
use super::htpasswd::Htpasswd;
use super::initial::{self, INITIAL_ACCOUNT};
use super::issuers::{Issuer, Issuers, Trust};
use super::keyring::Keyring;
use super::name::Name;
use super::password::{self, Busy, Verifier};
use super::policy::Rule;
use super::secret::{self, NoRandomness};
use super::tables::{ACCOUNTS, AccountRow};
use super::throttle::{BadLogins, Throttle};
use super::token::TokenUses;
use super::verified::VerifiedLogins;
use crate::ghostbay::catalog::{Catalog, CatalogError, Transaction};

/// Where accounts are, and what the configuration says of them.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The directory of keys and secrets. It is made when something is written to it.
    pub keys: PathBuf,
    /// The rules of the configuration.
    pub rules: Vec<Rule>,
    /// A file with further accounts.
    pub htpasswd: Option<PathBuf>,
    /// Which client certificates are whose.
    pub clients: Vec<ClientRule>,
    /// For how long a signed token holds; at most [`LIFETIME_MAX`](super::LIFETIME_MAX).
    pub token_lifetime: Duration,
    /// How many failed logins are borne.
    pub bad_logins: BadLogins,
    /// Others whose word counts.
    pub issuers: Vec<Issuer>,
    /// The roles that are given for it.
    pub trust: Vec<Trust>,
}

/// Why a password is not looked at.
pub(super) enum LoginRefused {
    /// Too many are being looked at.
    Busy,
    /// Too many were wrong; for so long.
    Throttled(Duration),
}

impl From<Busy> for LoginRefused {
    fn from(_: Busy) -> Self {
        LoginRefused::Busy
    }
}

/// Something about accounts that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The index failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is nothing of that name.
    #[error("there is no {what} {name}")]
    Unknown {
        /// What it would be.
        what: &'static str,
        /// Its name or number.
        name: String,
    },
    /// There is something of that name already.
    #[error("{what} {name} is there already")]
    Taken {
        /// What it is.
        what: &'static str,
        /// Its name or number.
        name: String,
    },
    /// What was given cannot be taken.
    #[error("{0}")]
    Invalid(String),
    /// A file of the directory of keys.
    #[error("cannot read or write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The threads that verify passwords cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// No secret can be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The accounts and the policy of a store.
pub struct Authority {
    pub(super) catalog: Catalog,
    options: AuthOptions,
    directory: RwLock<Arc<Directory>>,
    /// The accounts of the file. Held while a change is read back, so that an older state never
    /// follows a newer one.
    htpasswd: Mutex<Htpasswd>,
    verifier: Verifier,
    pub(super) verified: VerifiedLogins,
    pub(super) throttle: Throttle,
    pub(super) uses: TokenUses,
    pub(super) issuers: Issuers,
    /// What the secrets of access keys are derived with, once it was needed.
    pub(super) access_root: Mutex<Option<Arc<AccessRoot>>>,
    /// `None` until the first login can come, or a key is made.
    keyring: RwLock<Option<Arc<Keyring>>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// That of a store's catalog.
    pub fn open(catalog: Catalog, options: AuthOptions) -> Result<Self, AuthorityError> {
        let htpasswd = match &options.htpasswd {
            None => Htpasswd::default(),
            Some(path) => Htpasswd::read(path).map_err(|source| AuthorityError::File {
                path: path.clone(),
                source,
            })?,
        };
        let directory = Directory::read(&catalog.read()?, &options.rules, &htpasswd)?;
        Ok(Authority {
            catalog,
            throttle: Throttle::new(options.bad_logins),
            issuers: Issuers::new(options.issuers.clone(), &options.trust),
            options,
            directory: RwLock::new(Arc::new(directory)),
            htpasswd: Mutex::new(htpasswd),
            verifier: Verifier::start().map_err(AuthorityError::Threads)?,
            verified: VerifiedLogins::new()?,
            uses: TokenUses::default(),
            access_root: Mutex::default(),
            keyring: RwLock::default(),
        })
    }

    /// The present state.
    pub(super) fn directory(&self) -> Arc<Directory> {
        let directory = self.directory.read();
        directory.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys that tokens are signed with.
    pub(super) fn keyring(&self) -> Option<Arc<Keyring>> {
        let keyring = self.keyring.read();
        keyring.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The directory of keys.
    pub(super) fn keys_directory(&self) -> &Path {
        &self.options.keys
    }

    pub(super) fn token_lifetime(&self) -> Duration {
        self.options.token_lifetime
    }

    pub(super) fn client_rules(&self) -> &[ClientRule] {
        &self.options.clients
    }

    /// Makes a new key to sign tokens with; those that older ones signed hold until they expire.
    pub fn rotate_key(&self) -> Result<String, AuthorityError> {
        self.take_keys(Keyring::rotate(&self.options.keys))
    }

    fn take_keys(&self, keyring: io::Result<Keyring>) -> Result<String, AuthorityError> {
        let keyring = keyring.map_err(|source| AuthorityError::File {
            path: self.options.keys.clone(),
            source,
        })?;
        let id = keyring.signing().map(|key| key.id.clone());
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keyring));
        Ok(id.unwrap_or_default())
    }

    /// Commits a change, and has everything that is asked from then on meet it before it is answered
    /// (ORDERING.md, O4).
    pub(super) async fn change<T, F>(&self, change: F) -> Result<T, AuthorityError>
    where
        F: Fn(&mut Transaction<'_>) -> Result<T, AuthorityError> + Send + 'static,
        T: Send + 'static,
    {
        let changed = self.catalog.transact(change).await?;
        self.read_again(None)?;
        Ok(changed)
    }

    /// Has everything that is asked from then on meet the accounts of the file.
    pub(super) fn take_htpasswd(&self, read: Htpasswd) -> Result<(), CatalogError> {
        self.read_again(Some(read))
    }

    fn read_again(&self, read: Option<Htpasswd>) -> Result<(), CatalogError> {
        let mut htpasswd = self.htpasswd.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read {
            *htpasswd = read;
        }
        let rows = self.catalog.read()?;
        let directory = Arc::new(Directory::read(&rows, &self.options.rules, &htpasswd)?);
        *self
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner) = directory;
        Ok(())
    }

    /// The file of accounts, if there is one.
    pub(super) fn htpasswd_path(&self) -> Option<&Path> {
        self.options.htpasswd.as_deref()
    }

    /// The name and stamp of the account that this password opens, and whether it was looked at just
    /// now; `None` if it opens none, whether the account is unknown, switched off or another's password
    /// was tried: all after the same work.
    pub(super) async fn login(
        &self,
        name: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<(Name, u64, bool)>, LoginRefused> {
        let directory = self.directory();
        let possible = name.parse::<Name>().ok();
        let known = possible.clone().and_then(|name| {
            let account = directory.accounts.get(&name)?;
            Some((name, account))
        });
        let stamp = known.as_ref().map_or(0, |(_, account)| account.stamp);
        let login = self.verified.login(name, password, stamp);
        let is_fresh = !self.verified.has(&login);
        if is_fresh {
            let admitted = self.throttle.admit(from, name);
            admitted.map_err(LoginRefused::Throttled)?;
            let hash = match &known {
                Some((_, account)) => &account.password,
                None => directory
                    .stand_in(self.verified.number_of(name))
                    .unwrap_or(&self.verifier.nobody),
            };
            if !self.verifier.verify(password, hash).await? || known.is_none() {
                let tried = possible.as_ref().map(Name::as_str);
                self.throttle.failed(from, tried);
                return Ok(None);
            }
            self.verified.note(login);
        }
        let opened = known.filter(|(_, account)| !account.disabled);
        Ok(opened.map(|(name, account)| (name, account.stamp, is_fresh)))
    }

    /// Sees that there is a key to sign with, and somebody who can log in: makes the first account where
    /// there is none, with a password that lies in a file; where that is.
    pub async fn begin(&self) -> Result<Option<PathBuf>, AuthorityError> {
        self.take_keys(Keyring::open(&self.options.keys))?;
        if !self.directory().accounts.is_empty() {
            return Ok(None);
        }
        let name: Name = INITIAL_ACCOUNT
            .parse()
            .map_err(|error| AuthorityError::Invalid(format!("{error}")))?;
        let password = secret::password::<24>()?;
        let hash = {
            let password = password.clone();
            let hash = tokio::task::spawn_blocking(move || password::hash(&password));
            hash.await
                .map_err(|error| AuthorityError::Invalid(error.to_string()))?
                .map_err(|error| AuthorityError::Invalid(error.to_string()))?
        };
        // Durable before the account's row is, as bytes are (ORDERING.md, O1): a password that nobody
        // can read any more would lock everybody out.
        let path = self.write_secret(initial::INITIAL_PASSWORD_FILE, format!("{password}\n"))?;
        let row = self.new_account(hash, vec![super::policy::ADMINISTRATORS.to_owned()], true)?;
        self.change(move |transaction| Ok(transaction.put(&ACCOUNTS, &name, &row)?))
            .await?;
        Ok(Some(path))
    }

    /// A row of an account that is made now.
    pub(super) fn new_account(
        &self,
        password: String,
        groups: Vec<String>,
        initial: bool,
    ) -> Result<AccountRow, AuthorityError> {
        let now_ms = now_ms();
        Ok(AccountRow {
            password,
            groups,
            disabled: false,
            initial,
            stamp: secret::number()?,
            created_ms: now_ms,
            changed_ms: now_ms,
        })
    }

    /// Writes a secret to a file of the directory of keys; which that is.
    pub(super) fn write_secret(
        &self,
        file: &str,
        secret: impl AsRef<[u8]>,
    ) -> Result<PathBuf, AuthorityError> {
        let path = self.options.keys.join(file);
        initial::make_keys_directory(&self.options.keys)
            .and_then(|()| initial::write_secret(&path, secret.as_ref()))
            .map_err(|source| AuthorityError::File {
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }

    /// Removes the password that the first start made up, which does not hold any more.
    pub(super) fn forget_initial_password(&self) {
        let path = initial::path(&self.options.keys);
        if let Err(error) = initial::remove(&path) {
            tracing::error!(path = %path.display(), %error, "the initial password was not removed");
        }
    }
}

/// The time now, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
