//! Clients that show a certificate instead of a password.

use std::time::{Duration, SystemTime};

use rcgen::SanType;
use reqwest::{Client, Identity, StatusCode};

use crate::certificates::{Authority, Files};
use crate::place::{ACTS_WITHIN, Place, password_of};
use crate::support::{PATIENCE, Server, drift, wait_for};

pub const HOUR: Duration = Duration::from_secs(3600);

/// A registry over TLS that knows the certificates of an authority.
pub struct Plant {
    pub place: Place,
    files: Files,
    /// Who signed the server's certificate.
    server: Authority,
}

const CLIENTS: &str = "[{ name = \"edge-*\", account = \"edge\" }, \
                        { name = \"spiffe://plant/ci/*\", account = \"ci\" }, \
                        { name = \"gone\", account = \"nobody-of-that-name\" }]";

impl Plant {
    pub fn new(clients: &Authority, more: &[(&str, &str)]) -> Self {
        let server = Authority::new("the server's");
        let files = Files::of(&server.issue());
        files.put("clients", &clients.pem());
        let [cert, key] = files.variables();
        let authorities = files.path("clients").to_str().unwrap().to_owned();
        let mut variables = vec![
            ("DRIFT_AUTH_ENABLED", "true"),
            (cert.0, &cert.1),
            (key.0, &key.1),
            ("DRIFT_TLS_CLIENT_CA", &authorities),
            ("DRIFT_TLS_CLIENTS", CLIENTS),
        ];
        variables.extend(more);
        let builder = Server::builder().variables(&variables);
        let place = Place::on(builder.start_unready());
        for name in ["edge", "ci", "alice"] {
            place.user(name, &[]);
            place.rule(&format!("allow user:{name} pull,push {name}/**"));
        }
        Plant {
            place,
            files,
            server,
        }
    }

    /// A client that shows a certificate, or none, and keeps its connection.
    pub fn client(&self, certificate: Option<&str>) -> Client {
        let builder = self.server.client().pool_max_idle_per_host(1);
        let builder = match certificate {
            Some(text) => builder.identity(Identity::from_pem(text.as_bytes()).unwrap()),
            None => builder,
        };
        builder.build().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.place.registry.server.address())
    }

    /// How the listing of a repository, that holds nothing, is answered: 404 to whoever may pull it.
    pub async fn ask(&self, client: &Client, repository: &str) -> u16 {
        let url = self.url(&format!("/v2/{repository}/tags/list"));
        client.get(url).send().await.unwrap().status().as_u16()
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

#[tokio::test]
async fn a_certificate_is_worth_the_account_that_a_rule_gives_it_and_no_more() {
    let authority = Authority::new("the plant's");
    let plant = Plant::new(&authority, &[]);
    let issue = |common: &str, more| authority.issue_to_client(common, more, HOUR);
    let by_name = plant.client(Some(&issue("edge-7", vec![])));
    let by_uri = plant.client(Some(&issue("x", vec![uri("spiffe://plant/ci/builder")])));
    assert_eq!(plant.ask(&by_name, "edge/app").await, 404);
    assert_eq!(plant.ask(&by_name, "ci/app").await, 403);
    assert_eq!(plant.ask(&by_uri, "ci/app").await, 404);
    assert_eq!(plant.ask(&by_uri, "edge/app").await, 403);
    let upload = plant.url("/v2/edge/app/blobs/uploads/");
    let begun = by_name.post(upload).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    plant
        .place
        .registry
        .server
        .wait_for_log("who=\"user:edge\"");

    // What no rule knows, and a rule for an account that is none, are as good as no certificate.
    let strangers = [
        Some(issue("nobody", vec![uri("spiffe://plant/ci/too/deep")])),
        Some(issue("gone", vec![])),
        Some(issue("", vec![])),
        None,
    ];
    for certificate in strangers {
        let client = plant.client(certificate.as_deref());
        let answer = client.get(plant.url("/v2/")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(
            answer.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Bearer ")
        );
        let login = client.get(plant.url("/v2/alice/app/tags/list"));
        let login = login.basic_auth("alice", Some(password_of("alice")));
        assert_eq!(login.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }

    // A login goes before the certificate, right or wrong.
    let login = |password: String| {
        let request = by_name.get(plant.url("/v2/edge/app/tags/list"));
        request.basic_auth("alice", Some(password)).send()
    };
    let status = login(password_of("alice")).await.unwrap().status();
    assert_eq!(status, StatusCode::FORBIDDEN);
    let status = login("wrong".to_owned()).await.unwrap().status();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_connection_ends_being_somebodys_with_the_account_or_the_certificate() {
    let authority = Authority::new("the plant's");
    let plant = Plant::new(&authority, &[]);
    let client = plant.client(Some(&authority.issue_to_client("edge-1", vec![], HOUR)));
    assert_eq!(plant.ask(&client, "edge/app").await, 404);
    plant.place.command(&["user", "disable", "edge"]);
    let changed = SystemTime::now();
    while plant.ask(&client, "edge/app").await != 401 {
        assert!(changed.elapsed().unwrap() < ACTS_WITHIN);
    }
    plant.place.command(&["user", "enable", "edge"]);
    assert_eq!(plant.ask(&client, "edge/app").await, 404);

    let brief = authority.issue_to_client("edge-2", vec![], Duration::from_secs(4));
    let client = plant.client(Some(&brief));
    assert_eq!(plant.ask(&client, "edge/app").await, 404);
    // On the connection that began while it held.
    let began = SystemTime::now();
    let status = loop {
        match plant.ask(&client, "edge/app").await {
            404 if began.elapsed().unwrap() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            status => break status,
        }
    };
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_purpose_does_not_get_in() {
    let authority = Authority::new("the plant's");
    let plant = Plant::new(&authority, &[("DRIFT_TLS_CLIENT_REQUIRED", "true")]);
    let refused = async |client: &Client| client.get(plant.url("/v2/")).send().await.is_err();
    let ours = authority.issue_to_client("edge-1", vec![], HOUR);
    let known = plant.client(Some(&ours));
    assert_eq!(plant.ask(&known, "edge/app").await, 404);
    let other = Authority::new("the plant's");
    let theirs = other.issue_to_client("edge-1", vec![], HOUR);
    assert!(refused(&plant.client(Some(&theirs))).await);
    let (certificate, key) = authority.issue_to_server("edge-1");
    assert!(refused(&plant.client(Some(&(certificate + &key)))).await);
    assert!(refused(&plant.client(None)).await);

    // Another authority takes its place: whoever comes anew must show one of its certificates, also a
    // client that was there before.
    plant.files.put("clients", &other.pem());
    plant
        .place
        .registry
        .server
        .wait_for_log("the certificate was replaced");
    let again = plant
        .server
        .client()
        .identity(Identity::from_pem(ours.as_bytes()).unwrap());
    assert!(refused(&again.build().unwrap()).await);
    assert_eq!(
        plant.ask(&plant.client(Some(&theirs)), "edge/app").await,
        404
    );
}

#[tokio::test]
async fn a_session_is_not_taken_up_again_behind_its_authoritys_back() {
    let authority = Authority::new("the plant's");
    let plant = Plant::new(&authority, &[]);
    let certificate = authority.issue_to_client("edge-1", vec![], HOUR);
    // One client with its memory of sessions, and a connection for each request.
    let client = plant.server.client();
    let client = client.identity(Identity::from_pem(certificate.as_bytes()).unwrap());
    let client = client.build().unwrap();
    for _ in 0..3 {
        assert_eq!(plant.ask(&client, "edge/app").await, 404);
    }
    let other = Authority::new("another");
    plant.files.put("clients", &other.pem());
    plant
        .place
        .registry
        .server
        .wait_for_log("the certificate was replaced");
    assert!(client.get(plant.url("/v2/")).send().await.is_err());
}

#[test]
fn a_start_says_what_is_missing_for_certificates_of_clients() {
    let authority = Authority::new("the plant's");
    let files = Files::of(&authority.issue());
    files.put("empty", "");
    let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
    let (cert, key, empty, missing) = (path("cert"), path("key"), path("empty"), path("missing"));
    let tls = [("DRIFT_TLS_CERT", cert.as_str()), ("DRIFT_TLS_KEY", &key)];
    let ca = "DRIFT_TLS_CLIENT_CA";
    for (variables, said) in [
        (
            vec![(ca, cert.as_str())],
            "client_ca: is set, and cert is not",
        ),
        (
            vec![tls[0], tls[1], ("DRIFT_TLS_CLIENTS", CLIENTS)],
            "client_ca: is not set",
        ),
        (
            vec![tls[0], tls[1], (ca, empty.as_str())],
            "holds no certificate",
        ),
        (vec![tls[0], tls[1], (ca, missing.as_str())], "cannot read"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = drift()
            .current_dir(directory.path())
            .envs(variables.iter().copied())
            .env("DRIFT_SERVER_API_PORT", "0")
            .env("DRIFT_SERVER_UI_ENABLED", "false")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ended = wait_for("the refusal", || child.try_wait().unwrap());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !ended.success() && error.contains(said),
            "{variables:?}: {error}"
        );
    }
}
