//! HTTP/1.1 by hand over a blocking socket, in the clear or over TLS, so that on a small machine the server
//! has what a whole HTTP client would take of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rustix::net::RecvFlags;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::connection::{Answer, Keep, Request, Sink};

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How much is read, or thrown away, at once.
const READ_BYTES: usize = 256 << 10;
/// The longest body that goes out with its head in one write.
const TOGETHER_BYTES_MAX: u64 = 256 << 10;

/// A connection that requests go over one after the other.
pub struct Http1 {
    stream: Stream,
    host: String,
    read: Vec<u8>,
    /// The part of `read` that nobody has taken yet.
    left: std::ops::Range<usize>,
    out: Vec<u8>,
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Clear(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }
}

impl Http1 {
    /// Connects; with a configuration for TLS over that.
    pub fn connect(address: &str, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("{address} is not reached"))?;
        stream.set_nodelay(true)?;
        let stream = match tls {
            None => Stream::Clear(stream),
            Some(config) => {
                let connection = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
                let mut stream = StreamOwned::new(connection, stream);
                stream.conn.complete_io(&mut stream.sock).context("TLS")?;
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Self {
            stream,
            host: address.to_owned(),
            read: vec![0; READ_BYTES],
            left: 0..0,
            out: Vec::new(),
        })
    }

    pub fn ask(&mut self, request: Request<'_>) -> anyhow::Result<Answer> {
        let together = request.body.bytes() <= TOGETHER_BYTES_MAX;
        self.out.clear();
        write!(
            self.out,
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            request.method, request.path, self.host
        )?;
        for (name, value) in &request.headers {
            write!(self.out, "{name}: {value}\r\n")?;
        }
        if !matches!(request.method, "GET" | "HEAD") {
            write!(self.out, "Content-Length: {}\r\n", request.body.bytes())?;
        }
        self.out.extend_from_slice(b"\r\n");
        let mut body = request.body;
        if together {
            body.by_ref()
                .for_each(|piece| self.out.extend_from_slice(&piece));
        }
        self.stream.write_all(&self.out)?;
        for piece in body {
            self.stream
                .write_all(&piece)
                .context("the server takes no more of a body")?;
        }
        self.answer(request.method, request.keep)
    }

    fn answer(&mut self, method: &str, keep: Keep) -> anyhow::Result<Answer> {
        let status = self.line()?;
        let mut answer = Answer {
            status: status
                .strip_prefix("HTTP/1.1 ")
                .and_then(|rest| rest.get(..3)?.parse().ok())
                .with_context(|| format!("an answer begins with {status:?}"))?,
            ..Answer::default()
        };
        let (mut length, mut chunked) = (None, false);
        let mut head_bytes = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            head_bytes += line.len();
            ensure!(
                head_bytes <= HEAD_BYTES_MAX,
                "the head of an answer is longer than {HEAD_BYTES_MAX} bytes"
            );
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("{line:?} is no field"))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(
                    value
                        .parse::<u64>()
                        .with_context(|| format!("a length is {value:?}"))?,
                );
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else {
                answer.field(name, value);
            }
        }
        // The words of a refusal are worth having.
        let mut sink = Sink::new(if answer.status >= 400 {
            Keep::Bytes
        } else {
            keep
        });
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
        } else if chunked {
            loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16)
                    .with_context(|| format!("a chunk begins with {line:?}"))?;
                self.body(size, &mut sink)?;
                ensure!(self.line()?.is_empty(), "a chunk has no end");
                if size == 0 {
                    break;
                }
            }
        } else {
            self.body(length.context("an answer has no length")?, &mut sink)?;
        }
        sink.end(&mut answer);
        Ok(answer)
    }

    fn body(&mut self, mut bytes: u64, sink: &mut Sink) -> anyhow::Result<()> {
        while bytes > 0 {
            if self.left.is_empty() {
                if sink.discards()
                    && let Stream::Clear(stream) = &self.stream
                {
                    let most = self
                        .read
                        .len()
                        .min(usize::try_from(bytes).unwrap_or(usize::MAX));
                    let taken = throw_away(stream, &mut self.read[..most])?;
                    bytes -= taken;
                    sink.discarded(taken);
                    continue;
                }
                self.fill()?;
            }
            let piece = self
                .left
                .len()
                .min(usize::try_from(bytes).unwrap_or(usize::MAX));
            sink.take(&self.read[self.left.start..self.left.start + piece])?;
            self.left.start += piece;
            bytes -= piece as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        loop {
            if self.left.is_empty() {
                self.fill()?;
            }
            let left = &self.read[self.left.clone()];
            let end = left.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&left[..end.unwrap_or(left.len())]);
            self.left.start += end.map_or(left.len(), |end| end + 1);
            ensure!(
                line.len() <= HEAD_BYTES_MAX,
                "a line is longer than {HEAD_BYTES_MAX} bytes"
            );
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return String::from_utf8(line).context("a head is no text");
            }
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read(&mut self.read)?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        self.left = 0..read;
        Ok(())
    }
}

/// On TCP MSG_TRUNC lets the kernel drop what it would have copied: tcp(7).
fn throw_away(stream: &TcpStream, room: &mut [u8]) -> anyhow::Result<u64> {
    loop {
        match rustix::net::recv(stream, &mut *room, RecvFlags::TRUNC) {
            Err(rustix::io::Errno::INTR) => {}
            Ok((_, 0)) => bail!("the server closed the connection within a body"),
            Ok((_, taken)) => return Ok(taken as u64),
            Err(error) => return Err(error).context("a body is not read"),
        }
    }
}
