//! How a connection of a port that speaks TLS begins.

use std::io;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::refusal;
use super::stream::WatchedStream;

/// What a client that speaks HTTP in the clear is told.
const IN_THE_CLEAR: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 59\r\nConnection: close\r\n\r\n\
    This port speaks TLS: ask for https:// and not for http://\n";

/// Whether the client's first byte is one that HTTP in the clear begins with, and no record of TLS.
/// Waits for it.
async fn is_in_the_clear(socket: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let bytes = socket.peek(&mut first).await?;
    Ok(bytes == 1 && first[0].is_ascii_alphabetic())
}

/// Agrees on keys with the client. `None` if it speaks HTTP in the clear, which it is told.
pub(super) async fn shake_hands(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    watch: impl FnOnce(TcpStream) -> WatchedStream,
) -> io::Result<Option<TlsStream<WatchedStream>>> {
    if is_in_the_clear(&socket).await? {
        refusal::refuse(socket, IN_THE_CLEAR).await;
        return Ok(None);
    }
    acceptor.accept(watch(socket)).await.map(Some)
}
