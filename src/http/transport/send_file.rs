//! Places of files on their way to a socket in the clear: the kernel sends them from its page cache.
//!
//! hyper queues the pieces of an answer as they are, because this stream says that it takes several
//! slices at once, and hands them over together. A slice that is a place of a file ([`find`]) goes by
//! `sendfile`, which never looks at it; any other is written as ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::ghostbay::mapped::{Found, find};

use super::stream::WatchedStream;

/// The most that is sent with one call, in bytes, so that one client does not hold up others.
const SEND_BYTES_MAX: usize = 2 << 20;

/// A stream that knows places of files.
#[derive(Debug)]
pub(super) struct SendFile {
    inner: WatchedStream,
}

/// What is to be sent next.
enum Next<'a> {
    /// So many bytes of a file.
    File(Found, usize),
    /// A slice that a place of a file follows: they share packets.
    Ahead(&'a [u8]),
    /// So many slices that are in memory.
    Memory(usize),
}

fn next<'a>(slices: &'a [IoSlice<'a>]) -> Next<'a> {
    for (number, slice) in slices.iter().enumerate() {
        let Some(found) = find(slice) else {
            continue;
        };
        return match number {
            0 => Next::File(found, slice.len()),
            1 => Next::Ahead(&slices[0]),
            more => Next::Memory(more),
        };
    }
    Next::Memory(slices.len())
}

#[cfg(target_os = "linux")]
const MORE_FOLLOWS: SendFlags = SendFlags::MORE
    .union(SendFlags::NOSIGNAL)
    .union(SendFlags::DONTWAIT);
#[cfg(not(target_os = "linux"))]
const MORE_FOLLOWS: SendFlags = SendFlags::DONTWAIT;

#[cfg(target_os = "linux")]
fn send_found(socket: &TcpStream, found: &Found, length: usize) -> io::Result<usize> {
    let mut offset = found.offset;
    match rustix::fs::sendfile(socket, found.file()?, Some(&mut offset), length)? {
        0 => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "a pack ended within a body that was being sent",
        )),
        sent => Ok(sent),
    }
}

/// No file is mapped elsewhere.
#[cfg(not(target_os = "linux"))]
fn send_found(_: &TcpStream, _: &Found, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

impl SendFile {
    pub(super) fn new(inner: WatchedStream) -> Self {
        SendFile { inner }
    }

    /// Does `call` whenever the socket may have room, until it has had some.
    fn poll_call(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket = self.inner.socket();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, &mut call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl AsyncRead for SendFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SendFile {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.inner.socket();
        let result = match next(slices) {
            Next::File(found, length) => self.poll_call(cx, || {
                send_found(socket, &found, length.min(SEND_BYTES_MAX))
            }),
            Next::Ahead(head) => self.poll_call(cx, || Ok(send(socket, head, MORE_FOLLOWS)?)),
            Next::Memory(count) => {
                return Pin::new(&mut self.inner).poll_write_vectored(cx, &slices[..count]);
            }
        };
        self.inner.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
