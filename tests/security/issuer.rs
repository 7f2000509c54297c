//! An issuer of tokens that a test runs: over TLS, with a certificate of its own authority, and with
//! answers that the test chooses.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA384, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What tokens are for.
pub const AUDIENCE: &str = "drift-test";

/// Where an issuer describes itself.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";

/// What is answered at a path.
#[derive(Clone)]
pub enum Reply {
    /// This, as JSON, with further headers.
    Json(Value, &'static str),
    /// A body that is anything.
    Text(String),
    /// Another status, with a Location.
    Redirect(String),
    /// A failure.
    Failure,
    /// So many bytes, or fewer if the client has enough.
    Long(usize),
    /// A head, and then a byte now and then.
    Slow,
}

/// A key that tokens are signed with.
pub enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    pub fn rsa() -> Self {
        Key::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub fn p256() -> Self {
        Key::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn ed() -> Self {
        Key::Ed(Ed25519KeyPair::generate().unwrap())
    }

    /// Signs, by the algorithm that a header names.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let signed = match algorithm {
                    "PS384" => key.sign(&RSA_PSS_SHA384, &random, message, &mut signature),
                    _ => key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature),
                };
                signed.unwrap();
                signature
            }
            Key::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as the issuer publishes it.
    pub fn jwk(&self, id: &str) -> Value {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Key::Rsa(key) => {
                let n = key.public_key().modulus();
                let e = key.public_key().exponent();
                json!({
                    "kty": "RSA", "kid": id, "use": "sig",
                    "n": number(n.big_endian_without_leading_zero()),
                    "e": number(e.big_endian_without_leading_zero()),
                })
            }
            Key::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (number(&point[1..33]), number(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y })
            }
            Key::Ed(key) => {
                let x = number(key.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": x })
            }
        }
    }

    /// The algorithm that it signs with if nothing else is said.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed(_) => "EdDSA",
        }
    }

    /// A token with a header of this key.
    pub fn token(&self, id: &str, claims: &Value) -> String {
        let algorithm = self.algorithm();
        self.token_with(
            &json!({ "alg": algorithm, "kid": id, "typ": "JWT" }),
            claims,
        )
    }

    /// A token with that header.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let algorithm = header["alg"].as_str().unwrap();
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Header and claims as they are signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<HashMap<String, usize>>,
}

/// An issuer, or several, one below each path.
pub struct Issuer {
    shared: Arc<Shared>,
    address: SocketAddr,
    directory: TempDir,
    runtime: Option<Runtime>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // A test's own runtime may not wait for another.
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Issuer {
    pub fn start() -> Self {
        Issuer::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// One at that address.
    pub fn at(address: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "issuers");
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let names = ["localhost", "127.0.0.1", "127.0.0.2"].map(str::to_owned);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));

        // Of its own threads: commands that a test runs and waits for ask it too.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let serving = shared.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(serving.clone(), acceptor.clone(), stream));
            }
        });
        Issuer {
            shared,
            address,
            directory,
            runtime: Some(runtime),
        }
    }

    /// What it is called, with a path that tells one from another.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// What is answered at a path from now on.
    pub fn reply(&self, path: &str, reply: Reply) {
        let mut replies = self.shared.replies.lock().unwrap();
        replies.insert(path.to_owned(), reply);
    }

    /// The issuer below a path, with these keys.
    pub fn publish(&self, path: &str, keys: &[Value]) {
        let keys_at = self.url(&format!("{path}/keys"));
        self.describe(path, &keys_at);
        let keys = json!({ "keys": keys });
        self.reply(&format!("{path}/keys"), Reply::Json(keys, ""));
    }

    /// The issuer below a path, with its keys elsewhere.
    pub fn describe(&self, path: &str, keys_at: &str) {
        let described = json!({ "issuer": self.url(path), "jwks_uri": keys_at });
        self.reply(&format!("{path}{DISCOVERY}"), Reply::Json(described, ""));
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        asked.get(path).copied().unwrap_or_default()
    }

    /// The file with its authority.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The configuration of issuers below these paths, each with what else is said of it.
    pub fn configured(&self, paths: &[(&str, &str)]) -> String {
        let one = |(path, further): &(&str, &str)| {
            format!(
                "{{ url = {:?}, audience = {AUDIENCE:?}, ca = {:?}, private_networks = [\"127.0.0.1\"]{further} }}",
                self.url(path),
                self.ca(),
            )
        };
        let all: Vec<_> = paths.iter().map(one).collect();
        format!("[{}]", all.join(", "))
    }

    /// Claims that are right, of the issuer below a path.
    pub fn claims(&self, path: &str) -> Value {
        json!({
            "iss": self.url(path),
            "aud": [AUDIENCE, "other"],
            "sub": "repo:acme/app:ref:refs/heads/main",
            "iat": now(),
            "nbf": now() - 5,
            "exp": now() + 3600,
            "repository": "acme/app",
            "ref_protected": true,
            "groups": ["dev", "ops"],
            "kubernetes.io": { "serviceaccount": { "name": "builder" } },
        })
    }
}

async fn answer(shared: Arc<Shared>, acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    *shared
        .asked
        .lock()
        .unwrap()
        .entry(path.clone())
        .or_default() += 1;
    let reply = shared.replies.lock().unwrap().get(&path).cloned();
    let full = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
        )
    };
    let text = match reply {
        None => full("404 Not Found", "", ""),
        Some(Reply::Failure) => full("500 Internal Server Error", "", "{}"),
        Some(Reply::Json(json, headers)) => full("200 OK", headers, &json.to_string()),
        Some(Reply::Text(text)) => full("200 OK", "", &text),
        Some(Reply::Redirect(to)) => full("302 Found", &format!("Location: {to}\r\n"), ""),
        Some(Reply::Long(length)) => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[")
                .await;
            for _ in 0..length / 1024 {
                if stream.write_all(&[b' '; 1024]).await.is_err() {
                    return;
                }
            }
            "]}".to_owned()
        }
        Some(Reply::Slow) => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                .await;
            while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A listener that nobody may connect to.
pub struct Trap {
    pub address: SocketAddr,
    caught: Arc<AtomicUsize>,
}

impl Trap {
    /// One at a free port of that address. Its thread ends with the tests.
    pub fn at(ip: [u8; 4]) -> Self {
        let listener = std::net::TcpListener::bind(SocketAddr::from((ip, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let caught = Arc::<AtomicUsize>::default();
        let counted = caught.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Trap { address, caught }
    }

    /// How many have connected.
    pub fn caught(&self) -> usize {
        self.caught.load(Ordering::SeqCst)
    }
}
