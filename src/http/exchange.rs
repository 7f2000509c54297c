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

/// The answer did not come. The text says why.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection could not be made, or broke: the next may hold.
    #[error("{0}")]
    Broken(String),
    /// Nobody is there who would answer, nor comes back by himself.
    #[error("{0}")]
    Gone(String),
}

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
