//! A framed connection over a Unix stream socket, for both ends.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::Stream;
use minicbor::{Decode, Encode};
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::{ClientFrame, ClientHello, MAX_FRAME, Refusal, RefusalCode, ServerFrame, ServerHello, codec};

/// Why a connection ended or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket failed: no such file, permission denied, reset.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// The other side closed the connection, or the middle of a frame is missing.
    #[error("control socket: closed by the other side")]
    Closed,
    /// The other side refused, or sent what is not of this protocol.
    #[error("control protocol: {0}")]
    Refused(#[from] Refusal),
}

/// Bytes of the length in front of each frame body, big endian.
const LENGTH: usize = 4;

/// Bytes that [`Sender::feed`] lets wait.
const HIGH_WATER: usize = 64 << 10;

fn framing() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_length(LENGTH).max_frame_length(MAX_FRAME).new_codec()
}

/// The receiving half: frames of type `T` in the order in which they were sent.
pub struct Receiver {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
}

impl Receiver {
    /// The next frame body, undecoded. Cancel safe.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`] at the end of the stream, [`ConnectionError::Refused`] with
    /// [`RefusalCode::Malformed`] for a length above [`MAX_FRAME`], else the socket's error.
    pub async fn body(&mut self) -> Result<BytesMut, ConnectionError> {
        poll_fn(|cx| self.poll_body(cx)).await
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BytesMut, ConnectionError>> {
        Poll::Ready(match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
            None => Err(ConnectionError::Closed),
            Some(Ok(body)) => Ok(body),
            Some(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
                let detail = format!("a frame longer than {MAX_FRAME} bytes");
                Err(Refusal::new(RefusalCode::Malformed, detail).into())
            }
            // The stream ended in the middle of a frame: the peer died while writing.
            Some(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Err(ConnectionError::Closed),
            Some(Err(e)) => Err(e.into()),
        })
    }

    /// The next frame. Cancel safe.
    ///
    /// # Errors
    /// As [`body`](Self::body), and [`ConnectionError::Refused`] for a body that is no `T`.
    pub async fn receive<T: for<'b> Decode<'b, ()>>(&mut self) -> Result<T, ConnectionError> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// As [`receive`](Self::receive), for who polls.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn poll_receive<T: for<'b> Decode<'b, ()>>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, ConnectionError>> {
        let body = ready!(self.poll_body(cx));
        Poll::Ready(body.and_then(|body| Ok(codec::decode(&body)?)))
    }
}

/// The sending half.
pub struct Sender {
    stream: OwnedWriteHalf,
    /// Frames to be written.
    waiting: Vec<u8>,
    /// How much of them has been.
    written: usize,
}

impl Sender {
    /// Sends a frame and flushes it.
    ///
    /// # Errors
    /// The socket's, or [`ConnectionError::Refused`] for a frame that is too long (nothing is sent).
    pub async fn send<T: Encode<()>>(&mut self, frame: &T) -> Result<(), ConnectionError> {
        self.put(frame)?;
        self.flush().await
    }

    /// Puts a frame behind those that wait to be written, so that several are written at once.
    ///
    /// # Errors
    /// [`RefusalCode::Unacceptable`] for a frame that is too long: the others are as they were.
    pub fn put<T: Encode<()>>(&mut self, frame: &T) -> Result<(), Refusal> {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(&[0; LENGTH]);
        let appended = codec::append(frame, &mut self.waiting);
        if appended.is_err() {
            self.waiting.truncate(start);
        } else {
            // Below MAX_FRAME, which fits.
            let length = (self.waiting.len() - start - LENGTH) as u32;
            self.waiting[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
        }
        appended
    }

    /// As [`put`](Self::put); what waits is bounded, and written when it is too much. Cancel safe.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn feed<T: Encode<()>>(&mut self, frame: &T) -> Result<(), ConnectionError> {
        self.put(frame)?;
        if self.waiting.len() < HIGH_WATER { Ok(()) } else { self.flush().await }
    }

    /// Writes what waits. Cancel safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// As [`flush`](Self::flush), for who polls.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        while self.written < self.waiting.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.written..]))? {
                0 => return Poll::Ready(Err(ConnectionError::Closed)),
                written => self.written += written,
            }
        }
        self.waiting.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// Puts the framing on a connected stream.
pub fn split(stream: UnixStream) -> (Sender, Receiver) {
    let (read, write) = stream.into_split();
    let sender = Sender { stream: write, waiting: Vec::new(), written: 0 };
    (sender, Receiver { frames: FramedRead::new(read, framing()) })
}

/// Connects to a media process and says hello.
///
/// # Errors
/// The socket's, or the server's refusal.
pub async fn connect(path: &Path, hello: ClientHello) -> Result<(Sender, Receiver, ServerHello), ConnectionError> {
    let (mut sender, mut receiver) = split(UnixStream::connect(path).await?);
    sender.send(&ClientFrame::Hello(hello)).await?;
    match receiver.receive().await? {
        ServerFrame::Hello(hello) => Ok((sender, receiver, hello)),
        ServerFrame::Refused(refusal) => Err(refusal.into()),
        other => Err(Refusal::new(RefusalCode::Malformed, format!("hello expected, got {other:?}")).into()),
    }
}
