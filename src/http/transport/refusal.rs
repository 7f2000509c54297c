//! The answer to a connection too many.

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a refused client has to take its answer.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Bytes that are read from a refused client before it is cut off.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// The answer: 503 in the form of distribution-spec, "Error Codes", and the end of the
/// connection. The request is not looked at.
pub(super) fn house_full(connections_max: u32) -> String {
    let message = format!(
        "this server serves {connections_max} connections at once, and all are taken: try again later"
    );
    answer("503 Service Unavailable", &message)
}

/// The same for an address that has its share: 429.
pub(super) fn share_taken(most: u32) -> String {
    let message = format!(
        "this server serves {most} connections of one address at once: end one, or try again later"
    );
    answer("429 Too Many Requests", &message)
}

fn answer(status: &str, message: &str) -> String {
    let body =
        format!("{{\"errors\":[{{\"code\":\"TOOMANYREQUESTS\",\"message\":\"{message}\"}}]}}");
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Answers and closes. The client's request is read and dropped, because closing over unread
/// bytes would reset the connection and take the answer with it.
pub(super) async fn refuse(mut socket: TcpStream, answer: &str) {
    let refusal = async {
        socket.write_all(answer.as_bytes()).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket.take(READ_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Whether the client took its answer is its own affair.
    let _ = tokio::time::timeout(TIME_MAX, refusal).await;
}

/// The same in passing: the answer is left with the system, and whether it arrives depends on
/// what the client has sent by now.
pub(super) fn refuse_at_once(socket: TcpStream, answer: &str) {
    if let Ok(mut socket) = socket.into_std() {
        // A socket that has just been opened takes this much without waiting.
        let _ = socket.write_all(answer.as_bytes());
    }
}
