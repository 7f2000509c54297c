//! The certificates that a server shows, for who wants to say what is wrong with them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::{OutboundError, trust};

/// How long the connection may take, and the handshake as well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a host that an operator named; with `is_tls` gives the certificates that it shows, its own
/// first. Nothing is asked of it, and whether they prove anything is for the caller to find out.
pub async fn shown_certificates(
    host: &str,
    port: u16,
    is_tls: bool,
) -> Result<Vec<CertificateDer<'static>>, OutboundError> {
    let failed = |source| OutboundError::Connect {
        address: format!("{host}:{port}"),
        source,
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer within 10 s");
    let bare = host.trim_matches(['[', ']']);
    let connecting = tokio::time::timeout(TIMEOUT, TcpStream::connect((bare, port)));
    let stream = connecting.await.map_err(|_| failed(late()))?;
    let stream = stream.map_err(failed)?;
    if !is_tls {
        return Ok(Vec::new());
    }
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|error| OutboundError::Url(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(trust::of_anybody()?));
    let handshake = tokio::time::timeout(TIMEOUT, connector.connect(name, stream));
    let stream = handshake.await.map_err(|_| failed(late()))?;
    let stream = stream.map_err(failed)?;
    let (_, connection) = stream.get_ref();
    let shown = connection.peer_certificates().unwrap_or_default();
    Ok(shown.iter().map(|it| it.clone().into_owned()).collect())
}
