//! How the operator asks: the registry by its API, the server on its socket.

use drift::http::admin::client::{AdminClient, ClientError};
use drift::http::admin::exchange::SocketExchange;
use drift::http::exchange::{Body, Exchange, http};
use drift::management::routes::BASE;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Operator, REPOSITORY};
use crate::action::MANIFEST_TYPE;
use crate::client::{Answered, Interrupted};

/// Something that the management API is asked to do.
#[derive(Debug)]
pub(super) struct Order {
    pub path: &'static str,
    pub asked: Value,
}

impl Order {
    /// One about the repository.
    pub fn new(path: &'static str, mut asked: Value) -> Self {
        asked["repository"] = REPOSITORY.into();
        Order { path, asked }
    }
}

impl Operator {
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Answered<(StatusCode, Vec<u8>)> {
        let request = self
            .http
            .request(method, format!("{}/v2/{REPOSITORY}/{path}", self.url));
        let request = request.header("content-type", MANIFEST_TYPE).body(body);
        let answer = request.send().await.map_err(|_| Interrupted::Killed)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|_| Interrupted::Killed)?;
        assert!(!status.is_server_error(), "{path}: {status}: {body:?}");
        Ok((status, body.to_vec()))
    }

    pub(super) async fn connect(&self) -> Answered<AdminClient> {
        let connected = AdminClient::connect(&self.socket).await;
        connected.map_err(interrupted)?.ok_or(Interrupted::Killed)
    }

    /// What the admin socket answers.
    async fn command(
        &self,
        method: Method,
        path: &str,
        asked: String,
    ) -> Answered<(StatusCode, Vec<u8>)> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(asked))
            .unwrap();
        let path = self.socket.clone();
        let answer = SocketExchange { path }.ask(request).await;
        let (head, body) = answer.map_err(|_| Interrupted::Killed)?.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await;
        let body = body.map_err(|_| Interrupted::Killed)?;
        Ok((head.status, body.to_vec()))
    }

    /// Whether an order was carried out, or why it was refused.
    pub(super) async fn order(&self, order: &Order) -> Answered<Result<(), String>> {
        let Order { path, asked } = order;
        let (status, said) = self
            .command(Method::POST, &format!("{BASE}{path}"), asked.to_string())
            .await?;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!status.is_server_error(), "{order:?}: {status}: {said}");
        Ok(match status.is_success() {
            true => Ok(()),
            false => Err(said),
        })
    }

    /// An answer that is a line of JSON for each thing.
    pub(super) async fn lines<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Answered<Vec<T>> {
        let (status, text) = self.command(method, path, String::new()).await?;
        assert_eq!(status, StatusCode::OK, "{path}");
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        Ok(lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect())
    }

    pub(super) async fn get(&self, path: &str) -> Answered<Option<Vec<u8>>> {
        let (status, body) = self.send(Method::GET, path, Vec::new()).await?;
        match status {
            StatusCode::OK => Ok(Some(body)),
            StatusCode::NOT_FOUND => Ok(None),
            status => panic!("GET {path}: {status}"),
        }
    }
}

/// A connection that breaks was cut by the kill; a refusal was not.
pub(super) fn interrupted(error: ClientError) -> Interrupted {
    match error {
        ClientError::Refused { status, body } => panic!("the server answered {status}: {body}"),
        _ => Interrupted::Killed,
    }
}
