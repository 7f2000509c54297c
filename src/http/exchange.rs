//! A registry's API from the side of who asks: one trait for a registry in this process, the one behind
//! the socket of a running server, and one elsewhere.

use async_trait::async_trait;
use axum::Router;
use tower::ServiceExt;

pub use axum::body::Body;
/// The types of requests and answers.
pub use axum::http;

/// A question to a registry.
pub type Request = http::Request<Body>;
/// Its answer, whose head has come.
pub type Response = http::Response<Body>;

/// The answer did not come: the connection could not be made or broke. The text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExchangeError(pub String);

/// Asks a registry.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Sends the request and gives the answer once its head is there. Its URI is a path and a query for
    /// one that is here, and whole for one elsewhere. No redirect is followed.
    async fn ask(&self, request: Request) -> Result<Response, ExchangeError>;
}

/// The registry in this process.
pub struct InProcess(pub Router);

#[async_trait]
impl Exchange for InProcess {
    async fn ask(&self, request: Request) -> Result<Response, ExchangeError> {
        let answered = self.0.clone().oneshot(request).await;
        Ok(answered.unwrap_or_else(|never| match never {}))
    }
}
