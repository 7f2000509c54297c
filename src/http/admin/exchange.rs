//! The registry of the running server, asked by an operator through the socket in the data directory.

use std::path::PathBuf;

use async_trait::async_trait;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::http::error::causes;
use crate::http::exchange::{Body, Exchange, ExchangeError, Request, Response};

/// A server that is asked by its socket. Each question has a connection of its own: it costs tens of
/// microseconds, and none is left in the middle of an answer that nobody reads to its end.
pub struct SocketExchange {
    /// The socket.
    pub path: PathBuf,
}

#[async_trait]
impl Exchange for SocketExchange {
    async fn ask(&self, mut request: Request) -> Result<Response, ExchangeError> {
        let broken = |error: &(dyn std::error::Error + 'static)| {
            ExchangeError::Broken(format!("{}: {}", self.path.display(), causes(error)))
        };
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|error| {
            let path = self.path.display();
            ExchangeError::Gone(format!(
                "the server does not run any more ({path}: {error})"
            ))
        })?;
        let made = http1::handshake::<_, Body>(TokioIo::new(stream)).await;
        let (mut sender, connection) = made.map_err(|error| broken(&error))?;
        tokio::spawn(async move {
            // Whoever waits for the answer is told of the same error.
            let _ = connection.await;
        });
        // The form that everybody expects of whoever is no proxy (RFC 9112, 3.2.1).
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let path = path.parse().map_err(|error| broken(&error))?;
        *request.uri_mut() = path;
        let host = HeaderValue::from_static("admin.sock");
        request.headers_mut().insert(HOST, host);
        let answer = sender.send_request(request).await;
        Ok(answer.map_err(|error| broken(&error))?.map(Body::new))
    }
}
