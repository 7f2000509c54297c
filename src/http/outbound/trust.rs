//! Whom a certificate has to come from.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::OutboundError;

/// TLS with whoever can show a certificate of those in the file, or without one of those whom the system
/// trusts. Where the system trusts nobody, such as in an image without a bundle, nobody can.
pub fn tls(ca: Option<&Path>) -> Result<ClientConfig, OutboundError> {
    let roots = authorities(ca)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(OutboundError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Those in the file, or without one those whom the system trusts.
fn authorities(ca: Option<&Path>) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in bundle(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| OutboundError::ca(path, error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            // One that is not understood is no reason to do without the others.
            let (taken, _) = roots.add_parsable_certificates(found.certs);
            if taken == 0 {
                tracing::warn!(
                    errors = ?found.errors,
                    "the system has no certificates of authorities (package ca-certificates, or \
                     SSL_CERT_FILE): nobody is trusted to be who they are"
                );
            }
        }
    }
    Ok(roots)
}

/// TLS with nobody, where none is to be spoken.
pub fn of_nobody() -> Result<ClientConfig, OutboundError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(OutboundError::Tls)?;
    let nobody = RootCertStore::empty();
    Ok(config.with_root_certificates(nobody).with_no_client_auth())
}

/// TLS with whoever is at the address, for what is no secret.
pub fn of_anybody() -> Result<ClientConfig, OutboundError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(OutboundError::Tls)?;
    let verifier = Arc::new(Anybody(provider()));
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Whether a server's certificates, its own first, prove that it is of that name to whoever trusts those in
/// the file, or without one those whom the system trusts.
pub fn check_server(
    chain: &[CertificateDer<'_>],
    name: &str,
    ca: Option<&Path>,
) -> Result<(), OutboundError> {
    let wrong = |reason: &str| OutboundError::Tls(rustls::Error::General(reason.to_owned()));
    let (own, above) = chain.split_first().ok_or_else(|| wrong("no certificate"))?;
    let name = ServerName::try_from(name).map_err(|_| wrong("this is no name of a server"))?;
    let roots = Arc::new(authorities(ca)?);
    if roots.is_empty() {
        let nobody = rustls::CertificateError::UnknownIssuer;
        return Err(OutboundError::Tls(nobody.into()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| wrong(&error.to_string()))?;
    verifier
        .verify_server_cert(own, above, &name, &[], UnixTime::now())
        .map(drop)
        .map_err(OutboundError::Tls)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes every certificate whose key the other end has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates of a file, of which there is one at least.
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, OutboundError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| OutboundError::ca(path, error))?;
    match found.is_empty() {
        true => Err(OutboundError::ca(path, "there is no certificate in it")),
        false => Ok(found),
    }
}
