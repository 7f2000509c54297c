//! A client of the S3 endpoint that signs by hand, so that a test can sign wrongly.
// Each test program uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::client::Answer;
use crate::support::{PATIENCE, Server, drift, log_of, read_to_end, said, wait_for};

/// What stands for a content's SHA-256 that nobody knows.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A server with the endpoint, and a login.
pub struct Place {
    /// `None` where another has it.
    server: Option<Server>,
    directory: PathBuf,
    pub address: SocketAddr,
    http: reqwest::Client,
}

/// An access key.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts a refusal by its status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        let expected = format!("<Code>{code}</Code>");
        assert!(answer.text().contains(&expected), "{}", answer.text());
        answer
    }
}

/// A request that is about to be signed.
#[derive(Clone)]
pub struct Ask {
    pub method: String,
    /// As it is sent: encoded.
    pub path: String,
    /// Names and values, as they are.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Headers that are sent and not signed.
    pub unsigned: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What `x-amz-content-sha256` says; `None`: the truth.
    pub sha256: Option<String>,
    pub at: SystemTime,
    pub region: String,
    /// The date of the scope, if it is another than the request's.
    pub scope_date: Option<String>,
}

pub fn ask(method: &str, path: &str) -> Ask {
    Ask {
        method: method.into(),
        path: path.into(),
        query: Vec::new(),
        headers: Vec::new(),
        unsigned: Vec::new(),
        body: Vec::new(),
        sha256: None,
        at: SystemTime::now(),
        region: "us-east-1".into(),
        scope_date: None,
    }
}

impl Ask {
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.into(), value.into()));
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn sha256(mut self, text: &str) -> Self {
        self.sha256 = Some(text.into());
        self
    }

    pub fn ago(mut self, seconds: u64) -> Self {
        self.at = SystemTime::now() - Duration::from_secs(seconds);
        self
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// All but unreserved characters as `%XX`.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The contents of all elements of that name.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .map(|rest| rest.split(&close).next().unwrap().to_owned())
        .collect()
}

/// The path of an object, encoded.
pub fn object(bucket: &str, key: &str) -> String {
    let parts: Vec<_> = key.split('/').map(encode).collect();
    format!("/{bucket}/{}", parts.join("/"))
}

/// What signatures of a request are made with.
pub struct Signing {
    pub date: String,
    pub scope: String,
    pub key: Vec<u8>,
    pub signature: String,
}

impl Signing {
    pub fn begin(key: &Key, ask: &Ask) -> Self {
        let at = OffsetDateTime::from(ask.at);
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = at.format(form).unwrap();
        let day = ask.scope_date.clone().unwrap_or(date[..8].to_owned());
        let secret = format!("AWS4{}", key.secret);
        let steps = [&day, &ask.region, "s3", "aws4_request"];
        let signing = steps
            .iter()
            .fold(secret.into_bytes(), |key, step| mac(&key, step));
        Signing {
            scope: format!("{day}/{}/s3/aws4_request", ask.region),
            date,
            key: signing,
            signature: String::new(),
        }
    }

    pub fn sign(&self, kind: &str, rest: &str) -> String {
        let text = format!("{kind}\n{}\n{}\n{rest}", self.date, self.scope);
        hex(&mac(&self.key, &text))
    }

    fn request(&mut self, ask: &Ask, query: &str, headers: &BTreeMap<String, String>, hash: &str) {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let names: Vec<_> = headers.keys().cloned().collect();
        let canonical = format!(
            "{}\n{}\n{query}\n{lines}\n{}\n{hash}",
            ask.method,
            ask.path,
            names.join(";")
        );
        self.signature = self.sign("AWS4-HMAC-SHA256", &sha256(canonical.as_bytes()));
    }

    /// The signature of the next piece of a body.
    pub fn piece(&mut self, data: &[u8]) -> String {
        let rest = format!("{}\n{}\n{}", self.signature, sha256(b""), sha256(data));
        self.signature = self.sign("AWS4-HMAC-SHA256-PAYLOAD", &rest);
        self.signature.clone()
    }

    /// The signature of trailers, each with its newline.
    pub fn trailer(&mut self, trailers: &str) -> String {
        let rest = format!("{}\n{}", self.signature, sha256(trailers.as_bytes()));
        self.sign("AWS4-HMAC-SHA256-TRAILER", &rest)
    }
}

fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.sort();
    pairs.join("&")
}

/// Signs a request to that host in its header, and what it is signed with.
pub fn sign(host: &str, key: &Key, ask: &Ask) -> (Ask, Signing) {
    let mut signing = Signing::begin(key, ask);
    let hash = ask.sha256.clone().unwrap_or_else(|| sha256(&ask.body));
    let mut headers: BTreeMap<String, String> = ask
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .collect();
    headers.insert("host".into(), host.to_owned());
    headers.insert("x-amz-date".into(), signing.date.clone());
    headers.insert("x-amz-content-sha256".into(), hash.clone());
    signing.request(ask, &canonical_query(&ask.query), &headers, &hash);
    let names: Vec<_> = headers.keys().cloned().collect();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
        key.id,
        signing.scope,
        names.join(";"),
        signing.signature
    );
    headers.remove("host");
    headers.insert("authorization".into(), authorization);
    let mut signed = ask.clone();
    signed.headers = headers.into_iter().collect();
    (signed, signing)
}

/// A URL that is good for so long.
pub fn presign(host: &str, key: &Key, ask: &Ask, expires: &str) -> Ask {
    let mut signing = Signing::begin(key, ask);
    let mut headers: BTreeMap<String, String> = ask.headers.iter().cloned().collect();
    headers.insert("host".into(), host.to_owned());
    let names: Vec<_> = headers.keys().cloned().collect();
    let mut presigned = ask.clone();
    for (name, value) in [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", format!("{}/{}", key.id, signing.scope)),
        ("X-Amz-Date", signing.date.clone()),
        ("X-Amz-Expires", expires.to_owned()),
        ("X-Amz-SignedHeaders", names.join(";")),
    ] {
        presigned.query.push((name.into(), value));
    }
    let query = canonical_query(&presigned.query);
    signing.request(ask, &query, &headers, UNSIGNED);
    let signature = ("X-Amz-Signature".into(), signing.signature);
    presigned.query.push(signature);
    presigned
}

impl Place {
    pub fn new(variables: &[(&str, &str)], rules: &[&str]) -> Self {
        let mut all = vec![
            ("DRIFT_S3_ENABLED", "true"),
            ("DRIFT_S3_PORT", "0"),
            ("DRIFT_AUTH_ENABLED", "true"),
            ("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "0"),
            ("DRIFT_AUTH_BAD_LOGINS_BY_ACCOUNT", "0"),
        ];
        all.extend(variables);
        let server = Server::with(&all);
        let mut place = Place::beside(&server);
        place.server = Some(server);
        for rule in rules {
            let words: Vec<_> = rule.split(' ').collect();
            let [effect, who, actions, subject] = words[..] else {
                panic!("{rule}");
            };
            let mut arguments = vec!["policy", "add", who, actions, subject];
            if effect == "deny" {
                arguments.push("--deny");
            }
            place.command(&arguments);
        }
        place
    }

    /// That of a server that somebody else keeps.
    pub fn beside(server: &Server) -> Self {
        let address = wait_for("the endpoint's address in the log", || {
            let log = server.log();
            let line = log.lines().find(|line| line.contains("serving S3"))?;
            let (_, rest) = line.split_once("address=")?;
            rest.split(' ').next()?.parse().ok()
        });
        // A connection that a bad body has ended is not tried again.
        let http = reqwest::Client::builder().timeout(PATIENCE);
        Place {
            server: None,
            directory: server.directory().to_owned(),
            address,
            http: http.pool_max_idle_per_host(0).build().unwrap(),
        }
    }

    /// The directory that the server runs in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.directory)).unwrap()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = drift();
        command.args(arguments).current_dir(&self.directory);
        command.output().unwrap()
    }

    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> String {
        said(&self.run(arguments)).trim_end().to_owned()
    }

    /// An access key, with what else the command is told.
    #[track_caller]
    pub fn key(&self, arguments: &[&str]) -> Key {
        let begin = ["token", "create", "--s3", "--json"];
        let printed = self.command(&[&begin, arguments].concat());
        let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Key {
            id: text("access_key"),
            secret: text("secret_key"),
        }
    }

    /// That of the administrator.
    pub fn admin(&self) -> Key {
        self.key(&["--user", "admin"])
    }

    fn host(&self) -> String {
        self.address.to_string()
    }

    /// Signs a request in its header, and what it is signed with.
    pub fn signed(&self, key: &Key, ask: &Ask) -> (Ask, Signing) {
        sign(&self.host(), key, ask)
    }

    /// A URL that is good for so long.
    pub fn presigned(&self, key: &Key, ask: &Ask, expires: &str) -> Ask {
        presign(&self.host(), key, ask, expires)
    }

    /// Sends a request as it is.
    pub async fn send(&self, ask: &Ask) -> Answer {
        // Any library would make another path of this one.
        if ask.path.split('/').any(|part| part == "." || part == "..") {
            return self.send_raw(ask);
        }
        let query = canonical_query(&ask.query);
        let url = match query.is_empty() {
            true => format!("http://{}{}", self.address, ask.path),
            false => format!("http://{}{}?{query}", self.address, ask.path),
        };
        let mut request = self.http.request(ask.method.parse().unwrap(), url);
        for (name, value) in ask.headers.iter().chain(&ask.unsigned) {
            request = request.header(name, value);
        }
        let response = request.body(ask.body.clone()).send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    fn send_raw(&self, ask: &Ask) -> Answer {
        self.send_with(ask, &format!("content-length: {}\r\n", ask.body.len()))
    }

    /// Sends a request that has no body and does not say so.
    pub fn send_without_length(&self, ask: &Ask) -> Answer {
        self.send_with(ask, "")
    }

    fn send_with(&self, ask: &Ask, length: &str) -> Answer {
        let query = canonical_query(&ask.query);
        let path = match query.is_empty() {
            true => ask.path.clone(),
            false => format!("{}?{query}", ask.path),
        };
        let mut request = format!(
            "{} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{length}",
            ask.method, self.address,
        );
        for (name, value) in ask.headers.iter().chain(&ask.unsigned) {
            request += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        stream.write_all(&ask.body).unwrap();
        let answer = read_to_end(&mut stream);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name: reqwest::header::HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        Answer {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    /// Signs and sends a request.
    pub async fn call(&self, key: &Key, ask: Ask) -> Answer {
        let (signed, _) = self.signed(key, &ask);
        self.send(&signed).await
    }

    pub async fn put(&self, key: &Key, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.call(key, ask("PUT", path).body(body)).await
    }

    pub async fn get(&self, key: &Key, path: &str) -> Answer {
        self.call(key, ask("GET", path)).await
    }

    pub async fn delete(&self, key: &Key, path: &str) -> Answer {
        self.call(key, ask("DELETE", path)).await
    }
}
