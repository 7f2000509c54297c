//! The files that TLS is spoken with.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use url::Url;

use super::certificate::{self, Authority, CHECK};
use super::clients::Proof;
use super::finding::Findings;
use crate::app;
use crate::config::Config;
use crate::http::transport::Tls;

/// What was found of them.
pub struct Served {
    /// How clients learn who the registry is.
    pub proof: Proof,
    /// The first name in the certificate.
    pub name: Option<String>,
}

/// Looks at them.
pub fn check(config: &Config, findings: &mut Findings) -> Served {
    let nothing = |proof| Served { proof, name: None };
    let Some(files) = app::tls_files(config) else {
        findings.note(CHECK, "no [tls] cert: this server speaks no TLS itself");
        return nothing(Proof::Nothing);
    };
    let (cert, key) = (files.cert.clone(), files.key.clone());
    if let Err(error) = Tls::load(files) {
        findings.fail(
            CHECK,
            error.to_string(),
            "see [tls] cert, key and client_ca: files in PEM that the server's user may read, the key being the \
             certificate's",
        );
        return nothing(Proof::Private(None));
    }
    findings.ok(
        CHECK,
        format!(
            "{} and its key {} belong together",
            cert.display(),
            key.display()
        ),
    );
    key_mode(&key, findings);
    let chain =
        CertificateDer::pem_file_iter(&cert).map(|found| found.flatten().collect::<Vec<_>>());
    let chain = chain.unwrap_or_default();
    let proof = match certificate::judge(&chain, &names(config), None, findings) {
        Authority::Known => Proof::Known,
        Authority::Other => Proof::Private(root(&cert, &chain)),
    };
    Served {
        proof,
        name: certificate::first_name(&chain),
    }
}

/// The names that the certificate has to be good for, as far as the configuration has any.
fn names(config: &Config) -> Vec<String> {
    let url = config.server.external_url.as_ref();
    let public = url
        .and_then(|url| Url::parse(url).ok())
        .and_then(|url| Some(url.host_str()?.trim_matches(['[', ']']).to_owned()));
    let hosts = config.s3.hosts.iter().filter(|_| config.s3.enabled);
    let buckets = hosts.flat_map(|host| [host.clone(), format!("bucket.{host}")]);
    public.into_iter().chain(buckets).collect()
}

fn key_mode(key: &Path, findings: &mut Findings) {
    let mode = key.metadata().map_or(0, |it| it.permissions().mode()) & 0o7777;
    if mode & 0o027 != 0 {
        findings.warn(
            CHECK,
            format!("{} can be read or written by others (mode {mode:04o}): whoever has it can be this server", key.display()),
            format!("chmod 0600 {}", key.display()),
        );
    }
}

/// The text of the authority's own certificate, where it stands last in the file.
fn root(cert: &Path, chain: &[CertificateDer<'_>]) -> Option<String> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, last) = X509Certificate::from_der(chain.last()?).ok()?;
    if last.issuer() != last.subject() {
        return None;
    }
    let text = std::fs::read_to_string(cert).ok()?;
    certificate::pem_blocks(&text).pop()
}
