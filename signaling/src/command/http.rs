//! HTTP on the command socket: connections that begin with a method's name are handed over to the HTTP server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, Sleep, sleep};
use tracing::error;

use super::{Commands, MAX_CONNECTIONS, PATIENCE};
use crate::api::{self, Guard};

/// Starts the server; where connections are handed to it.
pub(super) fn start(commands: Commands) -> mpsc::Sender<Conversation> {
    let (hand, handed) = mpsc::channel(MAX_CONNECTIONS);
    tokio::spawn(async move {
        if let Err(fault) = axum::serve(Handed(handed), api::routes(commands, Guard::Open)).await {
            error!("HTTP on the command socket stopped: {fault}");
        }
    });
    hand
}

/// The answer to a request that there is no room for.
pub(super) fn unavailable(why: &str) -> String {
    let body = serde_json::json!({ "error": why }).to_string();
    let length = body.len();
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1";
    format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

struct Handed(mpsc::Receiver<Conversation>);

impl axum::serve::Listener for Handed {
    type Io = Conversation;
    type Addr = ();

    async fn accept(&mut self) -> (Conversation, ()) {
        match self.0.recv().await {
            Some(conversation) => (conversation, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose first byte was read. It ends when nothing has come or gone for a while.
pub(super) struct Conversation {
    first: Option<u8>,
    stream: UnixStream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Conversation {
    pub(super) fn new(first: u8, stream: UnixStream, place: OwnedSemaphorePermit) -> Conversation {
        Conversation { first: Some(first), stream, idle: Box::pin(sleep(PATIENCE)), _place: place }
    }

    /// Time runs anew with all that comes or goes, and ends what does neither.
    fn watched<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + PATIENCE);
            return polled;
        }
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Conversation {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if into.remaining() > 0
            && let Some(first) = self.first.take()
        {
            into.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.watched(cx, polled)
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
