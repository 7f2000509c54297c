//! Certificates, for whoever speaks TLS.
// Each test program uses a part of this.
#![allow(dead_code)]

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use reqwest::{Certificate, Client, ClientBuilder};
use time::OffsetDateTime;

use crate::support::Server;

/// Who signs the certificates of a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate for 127.0.0.1 and its key, in PEM.
    pub fn issue(&self) -> (String, String) {
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Itself, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The certificate and key of a server that is called so.
    pub fn issue_to_server(&self, common_name: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The certificate and key of a client of these names, in PEM as one text.
    pub fn issue_to_client(
        &self,
        common_name: &str,
        alternatives: Vec<SanType>,
        holds: Duration,
    ) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = alternatives;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = OffsetDateTime::now_utc() + holds;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    /// A client that trusts it and nobody else, and does not keep connections.
    pub fn client(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        Client::builder()
            .tls_certs_only([root])
            .pool_max_idle_per_host(0)
    }
}

/// Where a server finds its certificate.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn of(pair: &(String, String)) -> Self {
        let files = Files {
            directory: tempfile::tempdir().unwrap(),
        };
        files.put("cert", &pair.0);
        files.put("key", &pair.1);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file, as `mv` does.
    pub fn put(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    pub fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [
            ("DRIFT_TLS_CERT", text(self.path("cert"))),
            ("DRIFT_TLS_KEY", text(self.path("key"))),
        ]
    }

    pub fn serve(&self) -> Server {
        let variables = self.variables();
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let brief = ("DRIFT_SERVER_HEADER_TIMEOUT", "1s");
        Server::builder()
            .variables(&variables)
            .variables(&[brief])
            .start_unready()
    }
}
