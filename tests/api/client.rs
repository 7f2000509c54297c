//! What a client of the registry does, in few words.
// Each test program uses a part of this.
#![allow(dead_code)]

use drift::digest::{Algorithm, Digest};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Server;

/// The type of an image manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A server and a client of it.
pub struct Registry {
    pub server: Server,
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let said = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{:?} {said}", self.headers);
        self
    }

    /// Asserts an error: its status, and its code in the JSON of the specification.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/json");
        let json = answer.json();
        let errors = json["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{json}");
        assert_eq!(errors[0]["code"], code, "{json}");
        assert_ne!(errors[0]["message"].as_str().unwrap(), "");
        answer
    }
}

impl Registry {
    pub fn start() -> Self {
        Registry::with(&[])
    }

    pub fn with(variables: &[(&str, &str)]) -> Self {
        Registry::on(Server::with(variables))
    }

    /// A client of a server that runs.
    pub fn on(server: Server) -> Self {
        Registry {
            server,
            http: reqwest::Client::new(),
        }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let method: Method = method.parse().unwrap();
        let response = self
            .http
            .request(method, self.server.url(path))
            .headers(map)
            .body(body)
            .send()
            .await
            .unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, name: &str, content: &[u8]) -> Digest {
        let digest = digest_of(content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.send("POST", &path, &[], content.to_vec())
            .await
            .expect(201);
        digest
    }

    /// Begins an upload and gives its location.
    pub async fn begin(&self, name: &str) -> String {
        let path = format!("/v2/{name}/blobs/uploads/");
        let answer = self.send("POST", &path, &[], "").await.expect(202);
        answer.header("location").to_owned()
    }

    /// Pushes a manifest under a reference.
    pub async fn put_manifest(&self, name: &str, reference: &str, manifest: &Value) -> Answer {
        let path = format!("/v2/{name}/manifests/{reference}");
        let media_type = manifest["mediaType"].as_str().unwrap();
        let body = serde_json::to_vec(manifest).unwrap();
        self.send("PUT", &path, &[("content-type", media_type)], body)
            .await
    }

    /// Pushes an image of one layer under a tag and gives its manifest's digest.
    pub async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Digest {
        let config = b"{}";
        self.push_blob(name, config).await;
        self.push_blob(name, layer).await;
        let manifest = image(config, &[layer]);
        self.put_manifest(name, tag, &manifest).await.expect(201);
        digest_of(&serde_json::to_vec(&manifest).unwrap())
    }
}

/// The SHA-256 digest of content.
pub fn digest_of(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// A descriptor of content.
pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(content), "size": content.len()})
}

/// An image manifest.
pub fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let layer_type = "application/vnd.oci.image.layer.v1.tar";
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(|layer| descriptor(layer_type, layer)).collect::<Vec<_>>(),
    })
}

/// Bytes that do not repeat, the same in each run.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
