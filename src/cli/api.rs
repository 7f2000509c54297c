//! `/api/v1` from the side of a command: of the server that runs, of the store that is stopped, or elsewhere.

use anyhow::Context;
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reach;
use super::server::{Reached, Server};
use crate::http::exchange::http::header::{AUTHORIZATION, CONTENT_TYPE};
use crate::http::exchange::http::{Method, StatusCode};
use crate::http::exchange::{Body, Response, http};
use crate::http::query::encode;
use crate::management::routes::BASE;

/// The most of a refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

const NOT_UNDERSTOOD: &str = "the server's answer is not understood";

/// Whoever answers.
pub struct Api(Reached);

/// Runs a command that asks the API, and closes the store behind it if it was opened for that.
pub fn ask<T>(
    server: &Server<'_>,
    command: impl AsyncFnOnce(&Api) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    reach::block_on(async {
        let api = Api(server.reach().await?);
        let done = command(&api).await;
        let Api(reached) = api;
        drop(reached.exchange);
        if let Some(stopped) = reached.stopped {
            stopped.close().await;
        }
        done
    })
}

/// Gives one order, and what comes of it.
pub fn post<T: DeserializeOwned>(
    server: &Server<'_>,
    path: &str,
    asked: &impl Serialize,
) -> anyhow::Result<T> {
    ask(server, async |api| api.post(path, asked).await)
}

/// Asks one question.
pub fn get<T: DeserializeOwned>(
    server: &Server<'_>,
    path: &str,
    query: &[(&str, &str)],
) -> anyhow::Result<T> {
    ask(server, async |api| api.get(path, query).await)
}

impl Api {
    /// What is at a path.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let answer = self.send(Method::GET, path, query, Body::empty()).await?;
        let json = answer.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&json).context(NOT_UNDERSTOOD)
    }

    /// What comes of an order.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &impl Serialize,
    ) -> anyhow::Result<T> {
        let asked = Body::from(serde_json::to_vec(asked)?);
        let answer = self.send(Method::POST, path, &[], asked).await?;
        let json = answer.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&json).context(NOT_UNDERSTOOD)
    }

    /// Tells what comes a line each, until `tell` answers that nobody listens any more.
    pub async fn lines<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        mut tell: impl FnMut(T) -> bool,
    ) -> anyhow::Result<()> {
        let answer = self.send(method, path, query, Body::empty()).await?;
        let mut body = answer.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.context("the answer is not whole")?.into_data() else {
                continue;
            };
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !tell(serde_json::from_slice(&line).context(NOT_UNDERSTOOD)?) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
    ) -> anyhow::Result<Response> {
        let Reached {
            exchange,
            base,
            authorization,
            ..
        } = &self.0;
        let pairs = query.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{base}{BASE}{path}?{}", pairs.join("&")))
            .header(CONTENT_TYPE, "application/json");
        let request = match authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        let answer = exchange.ask(request.body(body)?).await?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(refusal(status, answer).await),
        }
    }
}

/// What the server said, without the form that it has for clients.
async fn refusal(status: StatusCode, answer: Response) -> anyhow::Error {
    let body = http_body_util::Limited::new(answer.into_body(), REFUSAL_BYTES_MAX);
    let said = body.collect().await.map(|said| said.to_bytes());
    let said = said.unwrap_or_default();
    let message = serde_json::from_slice::<serde_json::Value>(&said).ok();
    let message = message.and_then(|it| it["errors"][0]["message"].as_str().map(str::to_owned));
    match message {
        Some(message) => anyhow::Error::msg(message),
        None => anyhow::anyhow!("the server answered {status}"),
    }
}
