//! The control connection to the media process, kept up for as long as this process runs.
//!
//! The task here only moves frames; what they mean is the worker's business. A connection has a bounded queue
//! of requests of its own: when the event loop lets go of it (it was full, or the process stops), the
//! connection ends, and what was in it is never sent on another one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moorline_control::connection::{ConnectionError, Receiver, Sender, connect};
use moorline_control::{ClientFrame, ClientHello, Reply, Request, ServerFrame, ServerHello};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// Requests waiting to be written: one setup and one answer for each of 2,000 calls in one turn.
const REQUESTS: usize = 4096;

/// Frames waiting for the event loop; when full, the socket is left unread.
const EVENTS: usize = 1024;

/// The pause before the first attempt to reconnect; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a media process may take for its hello, and for any sign of life while requests wait. Its
/// shards answer within milliseconds: one that does not is hung, and calls must learn of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the event loop is told.
pub(crate) enum MediaEvent {
    /// The connection stands; requests go into the queue.
    Connected(ServerHello, RequestQueue),
    /// An answer to a request.
    Reply(u32, Reply),
    /// An event of a session.
    Event(moorline_control::Event),
    /// The connection is gone.
    Disconnected,
}

/// The way to the current connection. Dropping it ends the connection.
pub(crate) struct RequestQueue {
    queue: mpsc::Sender<(u32, Request)>,
    _hold: oneshot::Sender<()>,
}

impl RequestQueue {
    /// False if the queue is full. What is given to a connection that is gone is lost with it, as the event loop
    /// is about to hear.
    pub(crate) fn push(&self, request: u32, body: Request) -> bool {
        !matches!(self.queue.try_send((request, body)), Err(TrySendError::Full(_)))
    }
}

/// Starts the task that connects, and connects again, until the receiver is dropped.
pub(crate) fn start(path: PathBuf, lease_s: u32) -> mpsc::Receiver<MediaEvent> {
    let (events, receiver) = mpsc::channel(EVENTS);
    let hello = ClientHello {
        version: moorline_control::VERSION,
        client: "signaling".into(),
        lease_ms: lease_s.saturating_mul(1000),
    };
    tokio::spawn(keep_connected(path, hello, events));
    receiver
}

async fn keep_connected(path: PathBuf, hello: ClientHello, events: mpsc::Sender<MediaEvent>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    while !events.is_closed() {
        let problem = match timeout(PATIENCE, connect(&path, hello.clone())).await {
            Ok(Ok((sender, receiver, server))) => {
                info!(
                    datapath = server.datapath,
                    shards = server.shards,
                    capacity = server.capacity,
                    boot = server.boot,
                    "connected to the media process"
                );
                told = false;
                let since = Instant::now();
                let problem = converse(sender, receiver, server, &events).await;
                if events.send(MediaEvent::Disconnected).await.is_err() {
                    return;
                }
                // One that was any good has earned a quick return.
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                problem
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no hello within {} s", PATIENCE.as_secs()),
        };
        if told {
            debug!(socket = %path.display(), "no media process: {problem}");
        } else {
            warn!(socket = %path.display(), "no media process, calls are refused until it is back: {problem}");
            told = true;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Moves frames both ways until the connection ends; says why it did.
async fn converse(
    sender: Sender,
    receiver: Receiver,
    server: ServerHello,
    events: &mpsc::Sender<MediaEvent>,
) -> String {
    let (queue, requests) = mpsc::channel(REQUESTS);
    let (hold, released) = oneshot::channel();
    if events.send(MediaEvent::Connected(server, RequestQueue { queue, _hold: hold })).await.is_err() {
        return "the event loop is gone".into();
    }
    let outstanding = AtomicUsize::new(0);
    let ended = tokio::select! {
        ended = write(sender, requests, &outstanding, events) => ended,
        ended = read(receiver, &outstanding, events) => ended,
        _ = released => return "let go by the event loop: too many requests were waiting".into(),
    };
    ended.map_or_else(|e| e.to_string(), str::to_owned)
}

async fn write(
    mut sender: Sender,
    mut requests: mpsc::Receiver<(u32, Request)>,
    outstanding: &AtomicUsize,
    events: &mpsc::Sender<MediaEvent>,
) -> Result<&'static str, ConnectionError> {
    while let Some(first) = requests.recv().await {
        let mut next = Some(first);
        while let Some((id, request)) = next {
            outstanding.fetch_add(1, Ordering::Relaxed);
            match sender.feed(&ClientFrame::Request { id, request }).await {
                Ok(()) => {}
                // Too long to be sent: an answer like the server's own, to that request alone.
                Err(ConnectionError::Refused(refusal)) => {
                    outstanding.fetch_sub(1, Ordering::Relaxed);
                    let _gone = events.send(MediaEvent::Reply(id, Reply::Refused(refusal))).await;
                }
                Err(e) => return Err(e),
            }
            next = requests.try_recv().ok();
        }
        sender.flush().await?;
    }
    Ok("the event loop is gone")
}

async fn read(
    mut receiver: Receiver,
    outstanding: &AtomicUsize,
    events: &mpsc::Sender<MediaEvent>,
) -> Result<&'static str, ConnectionError> {
    loop {
        let waiting = outstanding.load(Ordering::Relaxed) > 0;
        let event = match timeout(PATIENCE, receiver.receive()).await {
            Err(_) if waiting && outstanding.load(Ordering::Relaxed) > 0 => {
                return Ok("requests are waiting and it says nothing");
            }
            Err(_) => continue,
            Ok(frame) => match frame? {
                ServerFrame::Reply { id, reply } => {
                    // Saturating: a server that answers twice must not wrap the count.
                    let less = |count: usize| Some(count.saturating_sub(1));
                    let _before = outstanding.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                    MediaEvent::Reply(id, reply)
                }
                ServerFrame::Event(event) => MediaEvent::Event(event),
                ServerFrame::Refused(refusal) => return Err(refusal.into()),
                ServerFrame::Hello(_) => return Ok("it said hello twice"),
            },
        };
        if events.send(event).await.is_err() {
            return Ok("the event loop is gone");
        }
    }
}

#[cfg(test)]
mod tests;
