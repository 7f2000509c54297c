//! A registry that asks for a login, with accounts and rules.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drift::digest::Digest;

use crate::client::{Answer, Registry, digest_of, image};
use crate::support::{Server, drift, said};

/// How soon a change of account or policy must act on those who are there already.
pub const ACTS_WITHIN: Duration = Duration::from_secs(1);

/// The password of every account that is made here is this and its name.
const PASSWORD: &str = "the password of ";

/// A registry that asks for a login.
pub struct Place {
    pub registry: Registry,
}

/// Somebody who asks: the `Authorization` header, or none.
#[derive(Clone, Debug)]
pub struct Caller(pub Option<String>);

/// Whoever has not logged in.
pub const STRANGER: Caller = Caller(None);

/// The password of an account that [`Place::user`] made.
pub fn password_of(name: &str) -> String {
    format!("{PASSWORD}{name}")
}

/// A login by name and password.
pub fn basic(name: &str, password: &str) -> Caller {
    let login = STANDARD.encode(format!("{name}:{password}"));
    Caller(Some(format!("Basic {login}")))
}

/// A token.
pub fn bearer(token: &str) -> Caller {
    Caller(Some(format!("Bearer {token}")))
}

impl Place {
    /// A new one, with the account `admin`, and `rules` in the catalog.
    pub fn new(rules: &[&str]) -> Self {
        Place::with(&[], rules)
    }

    /// One with further variables set.
    pub fn with(variables: &[(&str, &str)], rules: &[&str]) -> Self {
        // All of a test comes from one address.
        let mut all = vec![
            ("DRIFT_AUTH_ENABLED", "true"),
            ("DRIFT_AUTH_BAD_LOGINS_BY_ADDRESS", "0"),
            ("DRIFT_AUTH_BAD_LOGINS_BY_ACCOUNT", "0"),
        ];
        all.extend(variables);
        let place = Place::on(Server::with(&all));
        for rule in rules {
            place.rule(rule);
        }
        place
    }

    /// One that runs already.
    pub fn on(server: Server) -> Self {
        Place {
            registry: Registry::on(server),
        }
    }

    /// Runs a command beside the server.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = drift()
            .args(arguments)
            .current_dir(self.registry.server.directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a command that has to succeed; what it printed.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> String {
        said(&self.run(arguments)).trim_end().to_owned()
    }

    /// Makes an account in a group of its own name and in those given.
    #[track_caller]
    pub fn user(&self, name: &str, groups: &[&str]) -> Caller {
        let mut arguments = vec!["user", "add", name, "--password-stdin"];
        for group in groups {
            arguments.extend(["--group", group]);
        }
        said(&self.run_with_input(&arguments, &password_of(name)));
        basic(name, &password_of(name))
    }

    /// Adds a rule such as `allow user:alice pull team/**`; its number.
    #[track_caller]
    pub fn rule(&self, rule: &str) -> String {
        let words: Vec<_> = rule.split(' ').collect();
        let mut arguments = vec!["policy", "add"];
        arguments.extend(&words[1..]);
        if words[0] == "deny" {
            arguments.push("--deny");
        }
        self.command(&arguments)
    }

    /// Makes a token for these actions in the repositories of a pattern; its secret.
    #[track_caller]
    pub fn robot(&self, name: &str, actions: &str, pattern: &str, more: &[&str]) -> String {
        let mut arguments = vec!["token", "create", name];
        arguments.extend(["--actions", actions, "--repository", pattern]);
        arguments.extend(more);
        self.command(&arguments)
    }

    /// The first account, by the password that lies in the file.
    pub fn admin(&self) -> Caller {
        basic("admin", self.initial_password().trim_end())
    }

    pub fn initial_password(&self) -> String {
        let file = "drift-data/keys/initial-admin-password";
        std::fs::read_to_string(self.registry.server.directory().join(file)).unwrap()
    }

    /// Sends a request as somebody.
    pub async fn send(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut headers = headers.to_vec();
        if let Some(authorization) = &caller.0 {
            headers.push(("authorization", authorization));
        }
        self.registry.send(method, path, &headers, body).await
    }

    pub async fn get(&self, caller: &Caller, path: &str) -> Answer {
        self.send(caller, "GET", path, &[], "").await
    }

    pub async fn delete(&self, caller: &Caller, path: &str) -> Answer {
        self.send(caller, "DELETE", path, &[], "").await
    }

    /// A signed token for scopes.
    pub async fn token(&self, caller: &Caller, scopes: &[&str]) -> String {
        let scopes: String = scopes
            .iter()
            .map(|scope| format!("&scope={}", scope.replace(' ', "%20")))
            .collect();
        let answer = self
            .get(caller, &format!("/token?service=here{scopes}"))
            .await;
        let token = answer.expect(200).json()["token"].take();
        token.as_str().unwrap().to_owned()
    }

    /// Begins an upload.
    pub async fn begin(&self, caller: &Caller, name: &str) -> Answer {
        let path = format!("/v2/{name}/blobs/uploads/");
        self.send(caller, "POST", &path, &[], "").await
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, caller: &Caller, name: &str, content: &[u8]) -> Answer {
        let digest = digest_of(content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.send(caller, "POST", &path, &[], content.to_vec())
            .await
    }

    /// Pushes the manifest of an image of one layer, all of whose blobs are there.
    pub async fn put_image(
        &self,
        caller: &Caller,
        name: &str,
        reference: &str,
        layer: &[u8],
    ) -> Answer {
        let manifest = image(b"{}", &[layer]);
        let media_type = manifest["mediaType"].as_str().unwrap();
        let path = format!("/v2/{name}/manifests/{reference}");
        let body = serde_json::to_vec(&manifest).unwrap();
        self.send(caller, "PUT", &path, &[("content-type", media_type)], body)
            .await
    }

    /// Pushes an image of one layer; its digest.
    pub async fn push_image(&self, caller: &Caller, name: &str, tag: &str, layer: &[u8]) -> Digest {
        for blob in [b"{}", layer] {
            self.push_blob(caller, name, blob).await.expect(201);
        }
        self.put_image(caller, name, tag, layer).await.expect(201);
        image_digest(layer)
    }

    /// Asserts that a request comes to be answered so within the time that changes have.
    pub async fn soon(&self, caller: &Caller, path: &str, status: u16) {
        let began = Instant::now();
        loop {
            let answer = self.get(caller, path).await;
            if answer.status == status {
                return;
            }
            assert!(
                began.elapsed() < ACTS_WITHIN,
                "{path} is still {}",
                answer.status
            );
        }
    }
}

/// The digest of the image that [`Place::push_image`] pushes.
pub fn image_digest(layer: &[u8]) -> Digest {
    digest_of(&serde_json::to_vec(&image(b"{}", &[layer])).unwrap())
}
