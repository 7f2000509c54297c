//! How the operator asks: the registry by its API, the server on its socket.

use drift::http::admin::REGISTRY_ROUTE;
use drift::http::admin::client::{AdminClient, ClientError};
use drift::registry::command::{Answer, Command};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{Operator, REPOSITORY};
use crate::action::MANIFEST_TYPE;
use crate::client::{Answered, Interrupted};

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

    /// The answer to a command, or why it was refused.
    pub(super) async fn command(&self, command: Command) -> Answered<Result<Answer, String>> {
        let asked = serde_json::to_vec(&command).unwrap();
        let mut server = self.connect().await?;
        match server.post_json(REGISTRY_ROUTE, asked).await {
            Ok(answer) => {
                let answer = answer.whole().await.map_err(interrupted)?;
                Ok(Ok(serde_json::from_slice(&answer).unwrap()))
            }
            Err(ClientError::Refused { status, body }) => {
                assert!(status < 500, "{command:?}: {status}: {body}");
                Ok(Err(body))
            }
            Err(error) => Err(interrupted(error)),
        }
    }

    /// An answer of the admin socket that is a line of JSON for each thing.
    pub(super) async fn lines<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
    ) -> Answered<Vec<T>> {
        let mut server = self.connect().await?;
        let answer = match method {
            Method::POST => server.post(route).await,
            _ => server.get(route).await,
        };
        let text = answer
            .map_err(interrupted)?
            .whole()
            .await
            .map_err(interrupted)?;
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
