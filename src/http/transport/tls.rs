//! The certificate that TLS is spoken with, and the authorities of clients' certificates: read again when
//! their files change.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What clients may choose from, best first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be spoken with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not PEM, or holds no certificate or key.
    #[error("{} holds no {what} in PEM: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The authorities of clients' certificates are none.
    #[error("{} cannot be used: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two do not belong together, or are of a kind that is not spoken.
    #[error("{} and {} cannot be used: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

/// Where what TLS is spoken with lies.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate and those above it, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// Whose certificates clients may show; `None` asks them for none.
    pub clients: Option<Clients>,
}

/// The clients that have certificates.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The authorities that signed these, in PEM.
    pub authorities: PathBuf,
    /// Whether a client without one is turned away.
    pub required: bool,
}

impl TlsFiles {
    fn stamps(&self) -> [Option<Stamp>; 3] {
        let authorities = self.clients.as_ref().map(|it| it.authorities.as_path());
        [Some(self.cert.as_path()), Some(&self.key), authorities].map(|path| stamp(path?))
    }
}

/// A certificate and its key, as they stand.
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// What the files looked like when they were last read, usable or not.
    seen: Mutex<[Option<Stamp>; 3]>,
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = files.stamps();
        Ok(Tls {
            config: RwLock::new(read(&files)?),
            files,
            seen: Mutex::new(seen),
        })
    }

    /// What new connections are accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone().into()
    }

    /// Takes up each change of the files until told to stop. What cannot be used leaves the
    /// certificate as it was: the two files are seldom replaced at once.
    pub async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL))
            .await
            .is_some()
        {
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            match looked {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    tracing::info!(cert = %self.files.cert.display(), "the certificate was replaced");
                }
                Ok(Err(error)) => {
                    tracing::error!("the certificate stays as it was: {error}");
                }
                Err(error) => tracing::error!(%error, "the certificate was not looked at"),
            }
        }
    }

    /// Reads the files again if they have changed; whether they had.
    fn look(&self) -> Result<bool, TlsError> {
        let found = self.files.stamps();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return Ok(false);
        }
        *seen = found;
        let config = read(&self.files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(true)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    Some(Stamp {
        inode: found.ino(),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

fn of_pem(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    let path = path.to_owned();
    match source {
        pem::Error::Io(source) => TlsError::File { path, source },
        source => TlsError::Pem { path, what, source },
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(|found| found.collect::<Result<Vec<_>, _>>())
        .and_then(|found| match found.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(found),
        })
        .map_err(|error| of_pem(path, "certificate", error))
}

/// What looks at the certificates that clients show.
fn verifier(clients: Option<&Clients>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(Clients {
        authorities: path,
        required,
    }) = clients
    else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let unusable = |reason: String| TlsError::Authorities {
        path: path.clone(),
        reason,
    };
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = authorities.add(certificate);
        added.map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(authorities.into(), provider);
    if !required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| unusable(error.to_string()))
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { cert, key, clients } = files;
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of_pem(key, "key", error))?;
    let pair = |source| TlsError::Pair {
        cert: cert.clone(),
        key: key.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_client_cert_verifier(verifier(clients.as_ref())?)
        .with_single_cert(chain, private)
        .map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}
