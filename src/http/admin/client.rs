//! An operator's command on its way to the running server.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::socket::{SocketError, check_path};

/// Why the server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There can be no socket of that name.
    #[error("the server cannot be reached: {0}")]
    Socket(#[from] SocketError),
    /// The socket could not be reached.
    #[error("cannot reach the server by {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the server broke, and its answer is not whole: {0}")]
    Broken(#[from] hyper::Error),
    /// The server refused.
    #[error("the server answered {status}: {body}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said, cut to a bearable length.
        body: String,
    },
    /// The request could not be made.
    #[error("the request is not valid: {0}")]
    Request(#[from] hyper::http::Error),
}

/// The most of a refusal that is shown, in bytes.
const REFUSAL_BYTES_MAX: usize = 4096;

/// A connection to the server.
pub struct AdminClient {
    sender: SendRequest<Body>,
}

impl AdminClient {
    /// Connects to the socket at `path`; `None` if no server listens there.
    pub async fn connect(path: &Path) -> Result<Option<Self>, ClientError> {
        check_path(path)?;
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(source) => {
                return Err(ClientError::Connect {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever waits for the answer is told of the same error.
            let _ = connection.await;
        });
        Ok(Some(AdminClient { sender }))
    }

    /// Asks, and gives the answer once its head is there. A refusal is an error. `target` is a
    /// path and a query.
    pub async fn get(&mut self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, target).await
    }

    /// As [`AdminClient::get`], for what changes the store.
    pub async fn post(&mut self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::POST, target).await
    }

    async fn ask(&mut self, method: Method, target: &str) -> Result<Answer, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(hyper::header::HOST, "admin.sock")
            .body(Body::empty())?;
        let mut answer = Answer {
            response: self.sender.send_request(request).await?,
        };
        let status = answer.response.status();
        if status.is_success() {
            return Ok(answer);
        }
        let mut body = Vec::new();
        while body.len() < REFUSAL_BYTES_MAX {
            match answer.next().await? {
                Some(piece) => body.extend_from_slice(&piece),
                None => break,
            }
        }
        body.truncate(REFUSAL_BYTES_MAX);
        Err(ClientError::Refused {
            status: status.as_u16(),
            body: String::from_utf8_lossy(&body).trim().to_owned(),
        })
    }
}

/// An answer on its way.
pub struct Answer {
    response: Response<Incoming>,
}

impl Answer {
    /// The next piece of the body; `None` behind the last. A body that ends too soon is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.response.body_mut().frame().await {
            if let Ok(piece) = frame?.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The whole body, for answers that are known to be short.
    pub async fn whole(mut self) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}
