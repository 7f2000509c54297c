//! Bodies that come in pieces of their own (`aws-chunked`), in pieces of a bounded size.
//!
//! `s3s` gathers each piece before it gives it out, and a piece may say that it has 4 GiB. A signed piece
//! cannot be cut, since its signature is over all of it: a longer one than clients send is refused. One that
//! is not signed is cut as it comes; Go's SDK sends a whole part as one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use s3s::StdError;

/// The most bytes of a signed piece. Clients send 64 KiB to 1 MiB.
pub const SIGNED_BYTES_MAX: u64 = 8 << 20;

/// The most bytes of the line before a piece: a length, and a signature of 64 digits.
const LINE_BYTES_MAX: usize = 256;

/// Why the pieces of a body are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// A line that is no length.
    #[error("a piece of the body does not begin with its length")]
    Length,
    /// A piece that does not end where it says.
    #[error("a piece of the body does not end where its length says")]
    End,
    /// No last piece.
    #[error("the body ends before its last piece")]
    Cut,
    /// A signed piece that would have to be gathered.
    #[error("a signed piece of the body has {0} bytes, of {SIGNED_BYTES_MAX} at most")]
    TooLong(u64),
}

enum State {
    /// In the line before a piece.
    Line,
    /// In a piece, of which so much is left.
    Data(u64),
    /// In the line's end behind a piece, of which so much is left.
    End(u8),
    /// Behind the last piece: trailers.
    Tail,
}

/// The pieces of a body on their way to `s3s`.
pub struct Chunks<S> {
    inner: S,
    is_signed: bool,
    state: State,
    line: BytesMut,
    ready: VecDeque<Bytes>,
}

impl<S> Chunks<S> {
    /// Those of `inner`.
    pub fn new(inner: S, is_signed: bool) -> Self {
        Chunks {
            inner,
            is_signed,
            state: State::Line,
            line: BytesMut::new(),
            ready: VecDeque::new(),
        }
    }

    /// Takes in what came, and has what goes on in `ready`.
    fn take_in(&mut self, mut bytes: Bytes) -> Result<(), ChunkError> {
        while !bytes.is_empty() {
            match self.state {
                State::Line => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let piece = bytes.split_to(end.map_or(bytes.len(), |end| end + 1));
                    if self.line.len() + piece.len() > LINE_BYTES_MAX {
                        return Err(ChunkError::Length);
                    }
                    self.line.extend_from_slice(&piece);
                    if end.is_some() {
                        self.begin()?;
                    }
                }
                State::Data(left) => {
                    let piece = bytes.split_to(left.min(bytes.len() as u64) as usize);
                    let left = left - piece.len() as u64;
                    self.state = match left {
                        0 => State::End(2),
                        left => State::Data(left),
                    };
                    self.pass_on(piece);
                }
                State::End(left) => {
                    let expected = if left == 2 { b'\r' } else { b'\n' };
                    if bytes.split_to(1)[0] != expected {
                        return Err(ChunkError::End);
                    }
                    if self.is_signed {
                        self.ready.push_back(match left {
                            2 => Bytes::from_static(b"\r"),
                            _ => Bytes::from_static(b"\n"),
                        });
                    }
                    self.state = if left == 2 {
                        State::End(1)
                    } else {
                        State::Line
                    };
                }
                State::Tail => self.ready.push_back(std::mem::take(&mut bytes)),
            }
        }
        Ok(())
    }

    /// A line has come whole.
    fn begin(&mut self) -> Result<(), ChunkError> {
        let line = self.line.split().freeze();
        let text = std::str::from_utf8(&line).ok();
        let text = text.and_then(|text| text.strip_suffix("\r\n"));
        let text = text.ok_or(ChunkError::Length)?;
        let digits = match self.is_signed {
            true => text.split(';').next().unwrap_or_default(),
            false => text,
        };
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        let length = length.ok_or(ChunkError::Length)?;
        if self.is_signed && length > SIGNED_BYTES_MAX {
            return Err(ChunkError::TooLong(length));
        }
        self.state = match length {
            0 => State::Tail,
            length => State::Data(length),
        };
        if self.is_signed || length == 0 {
            self.ready.push_back(line);
        }
        Ok(())
    }

    fn pass_on(&mut self, piece: Bytes) {
        if self.is_signed {
            self.ready.push_back(piece);
            return;
        }
        let line = format!("{:x}\r\n", piece.len());
        let pieces = [line.into(), piece, Bytes::from_static(b"\r\n")];
        self.ready.extend(pieces);
    }
}

impl<S, E> Stream for Chunks<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    StdError: From<E>,
{
    type Item = Result<Bytes, StdError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                // The last piece is what says that nothing was cut off.
                None if !matches!(this.state, State::Tail) => {
                    this.state = State::Tail;
                    return Poll::Ready(Some(Err(ChunkError::Cut.into())));
                }
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(bytes)) => {
                    if let Err(error) = this.take_in(bytes) {
                        this.ready.clear();
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, TryStreamExt, executor::block_on, stream};

    /// What becomes of a body that comes in frames of `step` bytes.
    fn through(body: &[u8], is_signed: bool, step: usize) -> Result<Vec<u8>, String> {
        let frames: Vec<Result<Bytes, StdError>> = body
            .chunks(step)
            .map(|frame| Ok(Bytes::copy_from_slice(frame)))
            .collect();
        let chunks = Chunks::new(stream::iter(frames), is_signed);
        let passed = chunks.map(|piece| piece.map_err(|error| error.to_string()));
        block_on(passed.try_concat_bytes())
    }

    trait ConcatBytes {
        fn try_concat_bytes(self) -> impl Future<Output = Result<Vec<u8>, String>>;
    }

    impl<S: Stream<Item = Result<Bytes, String>>> ConcatBytes for S {
        async fn try_concat_bytes(self) -> Result<Vec<u8>, String> {
            self.try_fold(Vec::new(), async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
        }
    }

    /// The content and the trailers of unsigned pieces.
    fn decoded(mut body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut content = Vec::new();
        loop {
            let end = body.windows(2).position(|it| it == b"\r\n").unwrap();
            let length = std::str::from_utf8(&body[..end]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            body = &body[end + 2..];
            if length == 0 {
                return (content, body.to_vec());
            }
            content.extend_from_slice(&body[..length]);
            assert_eq!(&body[length..length + 2], b"\r\n");
            body = &body[length + 2..];
        }
    }

    #[test]
    fn unsigned_pieces_are_cut_as_they_come() {
        let body = b"B\r\nhello \r\nyou\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        for step in 1..body.len() {
            let passed = through(body, false, step).unwrap();
            let (content, tail) = decoded(&passed);
            assert_eq!(content, b"hello \r\nyouabc");
            assert_eq!(tail, b"x-amz-checksum-crc32:AAAA\r\n\r\n");
        }
    }

    #[test]
    fn signed_pieces_stay_as_they_are() {
        let signature = "a".repeat(64);
        let body = format!(
            "5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\r\n"
        );
        for step in 1..body.len() {
            assert_eq!(
                through(body.as_bytes(), true, step).unwrap(),
                body.as_bytes()
            );
        }
    }

    #[test]
    fn what_would_have_to_be_gathered_or_is_none_is_refused() {
        let long = format!("{:x};chunk-signature=a\r\n", SIGNED_BYTES_MAX + 1);
        assert!(
            through(long.as_bytes(), true, 7)
                .unwrap_err()
                .contains("at most")
        );
        for body in [
            "\r\n",
            "x\r\n",
            "+1\r\na\r\n",
            "1\na\r\n",
            "1\r\nab\r\n",
            "1;a\r\na\r\n",
        ] {
            assert!(through(body.as_bytes(), false, 1).is_err(), "{body:?}");
        }
        assert!(through(&[b'0'; 400], false, 3).is_err());
        assert!(
            through(b"1\r\na\r\n", false, 3)
                .unwrap_err()
                .contains("last piece")
        );
    }
}
