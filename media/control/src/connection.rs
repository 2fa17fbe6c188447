//! A framed connection over a Unix stream socket, for both ends.

use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use minicbor::{Decode, Encode};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

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

fn framing() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_length(4).max_frame_length(MAX_FRAME).new_codec()
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
        match self.frames.next().await {
            None => Err(ConnectionError::Closed),
            Some(Ok(body)) => Ok(body),
            Some(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
                let detail = format!("a frame longer than {MAX_FRAME} bytes");
                Err(Refusal::new(RefusalCode::Malformed, detail).into())
            }
            // The stream ended in the middle of a frame: the peer died while writing.
            Some(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Err(ConnectionError::Closed),
            Some(Err(e)) => Err(e.into()),
        }
    }

    /// The next frame. Cancel safe.
    ///
    /// # Errors
    /// As [`body`](Self::body), and [`ConnectionError::Refused`] for a body that is no `T`.
    pub async fn receive<T: for<'b> Decode<'b, ()>>(&mut self) -> Result<T, ConnectionError> {
        let body = self.body().await?;
        Ok(codec::decode(&body)?)
    }
}

/// The sending half.
pub struct Sender {
    frames: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
}

impl Sender {
    /// Sends a frame and flushes it.
    ///
    /// # Errors
    /// The socket's, or [`ConnectionError::Refused`] for a frame that is too long (nothing is sent).
    pub async fn send<T: Encode<()>>(&mut self, frame: &T) -> Result<(), ConnectionError> {
        self.feed(frame).await?;
        self.flush().await
    }

    /// Queues a frame without flushing, to write several at once; the queue is bounded and writes when
    /// full.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn feed<T: Encode<()>>(&mut self, frame: &T) -> Result<(), ConnectionError> {
        let body = codec::encode(frame)?;
        Ok(self.frames.feed(Bytes::from(body)).await?)
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// The socket's.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        Ok(SinkExt::<Bytes>::flush(&mut self.frames).await?)
    }
}

/// Puts the framing on a connected stream.
pub fn split(stream: UnixStream) -> (Sender, Receiver) {
    let (read, write) = stream.into_split();
    (Sender { frames: FramedWrite::new(write, framing()) }, Receiver { frames: FramedRead::new(read, framing()) })
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
