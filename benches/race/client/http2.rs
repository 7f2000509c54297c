//! HTTP/2 over TLS: one connection for all clients of a run, a stream for each request.

use std::sync::Arc;

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::connection::{Answer, Keep, Request, Sink};
use crate::content::Body;

/// How much may be on its way to us without our word, of a stream and of all. Go's client has 4 MiB and 1 GiB.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// The shared connection.
#[derive(Clone)]
pub struct Http2 {
    send: SendRequest<Body>,
    runtime: Handle,
    host: String,
}

impl Http2 {
    /// Connects. The connection lives in `runtime`.
    pub fn connect(
        address: &str,
        tls: Arc<ClientConfig>,
        runtime: &Handle,
    ) -> anyhow::Result<Self> {
        let send = runtime.block_on(async {
            let stream = TcpStream::connect(address)
                .await
                .with_context(|| format!("{address} is not reached"))?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost")?;
            let stream = TlsConnector::from(tls)
                .connect(name, stream)
                .await
                .context("TLS")?;
            ensure!(
                stream.get_ref().1.alpn_protocol() == Some(b"h2"),
                "the server does not speak HTTP/2"
            );
            let (send, connection) = Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .handshake(TokioIo::new(stream))
                .await?;
            // What breaks it, the requests that are under way tell.
            tokio::spawn(connection);
            anyhow::Ok(send)
        })?;
        Ok(Self {
            send,
            runtime: runtime.clone(),
            host: address.to_owned(),
        })
    }

    pub fn ask(&mut self, request: Request<'_>) -> anyhow::Result<Answer> {
        let mut head = hyper::Request::builder()
            .method(request.method)
            .uri(format!("https://{}{}", self.host, request.path));
        for (name, value) in request.headers {
            head = head.header(name, value);
        }
        let asked = head.body(request.body)?;
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            self.send.ready().await?;
            let mut response = self.send.send_request(asked).await?;
            let mut answer = Answer {
                status: response.status().as_u16(),
                ..Answer::default()
            };
            for (name, value) in response.headers() {
                answer.field(name.as_str(), value.to_str().unwrap_or_default());
            }
            let mut sink = Sink::new(if answer.status >= 400 {
                Keep::Bytes
            } else {
                request.keep
            });
            while let Some(frame) = response.frame().await {
                if let Ok(data) = frame?.into_data() {
                    sink.take(&data)?;
                }
            }
            sink.end(&mut answer);
            Ok(answer)
        })
    }
}
