//! The control connection to the media process, kept up for as long as this process runs.
//!
//! It only moves frames, on the event loop's own thread and in its turns: what they mean is the worker's business.
//! Requests of a turn are written together at its end. Nothing waits for a session to be closed, so the requests that
//! say so wait for others to go with, though not for long: each that does spares both processes a wake-up.

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use moorline_control::connection::{ConnectionError, Receiver, Sender, connect};
use moorline_control::{ClientFrame, ClientHello, Reply, Request, ServerFrame, ServerHello};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::clock::now_ns;

/// Requests that may be unanswered at once: one setup and one answer for each of 2,000 calls. The media process lets
/// go of who has more.
const REQUESTS: usize = 4096;

/// Events taken in one turn of the event loop, so that sockets and timers get theirs.
const EVENTS: usize = 64;

/// The longest that the closing of a session waits for other requests, in nanoseconds.
const COMPANY_NS: u64 = 5_000_000;

/// The pause before the first attempt to reconnect; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a media process may take for its hello, and for any sign of life while requests wait. Its
/// shards answer within milliseconds: one that does not is hung, and calls must learn of it.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_NS: u64 = PATIENCE.as_nanos() as u64;

/// How long the last requests of this process may take to be written.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What the event loop is told.
#[derive(Debug)]
pub(crate) enum MediaEvent {
    /// The connection stands, and takes requests.
    Connected(ServerHello),
    /// An answer to a request.
    Reply(u32, Reply),
    /// An event of a session.
    Event(moorline_control::Event),
    /// The connection is gone, and all requests with it.
    Disconnected,
}

/// The way to the media process: connects, and connects again.
pub(crate) struct MediaClient {
    path: PathBuf,
    hello: ClientHello,
    state: State,
    /// The pause after the next connection that fails.
    pause: Duration,
    /// The operator has been told that there is no media process.
    told: bool,
    /// What the event loop is to be told.
    events: VecDeque<MediaEvent>,
}

enum State {
    Connecting(Connecting),
    Connected(Box<Connection>),
}

/// A connection and its hello, or why there is none.
type Connecting = Pin<Box<dyn Future<Output = Result<(Sender, Receiver, ServerHello), String>>>>;

struct Connection {
    sender: Sender,
    receiver: Receiver,
    since: u64,
    /// Requests that are not answered yet.
    outstanding: usize,
    /// Those of them that are not written yet.
    unwritten: usize,
    /// When the last word came, or the first request that waits for one was written.
    heard_at: u64,
    /// When the requests that wait must be written.
    flush_at: Option<u64>,
    /// The socket took no more: it says when it does.
    blocked: bool,
}

impl MediaClient {
    /// A client that will connect to the socket at `path`, whose sessions outlive its connection by `lease_s`.
    pub(crate) fn new(path: PathBuf, lease_s: u32) -> MediaClient {
        let hello = ClientHello {
            version: moorline_control::VERSION,
            client: "signaling".into(),
            lease_ms: lease_s.saturating_mul(1000),
        };
        let state = State::Connecting(connecting(path.clone(), hello.clone(), Duration::ZERO));
        MediaClient { path, hello, state, pause: FIRST_PAUSE, told: false, events: VecDeque::new() }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Puts a request behind those that wait to be written. False if too many are unanswered. Without a connection it
    /// is lost, as the event loop has heard or is about to.
    pub(crate) fn push(&mut self, id: u32, request: Request) -> bool {
        let State::Connected(connection) = &mut self.state else { return true };
        if connection.outstanding >= REQUESTS {
            return false;
        }
        let now = now_ns();
        let flush_at = if matches!(request, Request::Close { .. }) { now + COMPANY_NS } else { now };
        match connection.sender.put(&ClientFrame::Request { id, request }) {
            Ok(()) => {
                if connection.outstanding == 0 {
                    connection.heard_at = now;
                }
                connection.outstanding += 1;
                connection.unwritten += 1;
                connection.flush_at = Some(connection.flush_at.map_or(flush_at, |at| at.min(flush_at)));
            }
            // Too long to be sent: an answer like the server's own, to that request alone.
            Err(refusal) => self.events.push_back(MediaEvent::Reply(id, Reply::Refused(refusal))),
        }
        true
    }

    /// When [`poll`](Self::poll) has something to do though nothing has come, in the time of the clock.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let State::Connected(connection) = &self.state else { return None };
        let silence = (connection.outstanding > 0).then(|| connection.heard_at + PATIENCE_NS);
        let flush_at = connection.flush_at.filter(|_| !connection.blocked);
        [silence, flush_at].into_iter().flatten().min()
    }

    /// The next thing to tell; at most [`EVENTS`] come from one look at the socket.
    pub(crate) fn pop(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// Writes the requests that are due. A failure is met again, and dealt with, by [`poll`](Self::poll).
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) {
        if let State::Connected(connection) = &mut self.state {
            let _met_again = connection.write(cx, now_ns());
        }
    }

    /// Writes all that waits, before the end.
    pub(crate) async fn finish(mut self) {
        if let State::Connected(connection) = &mut self.state {
            // Who does not take it now never will.
            let _lost = timeout(LAST_WORDS, connection.sender.flush()).await;
        }
    }

    /// Reads what has come, and is ready when there is something to [`pop`](Self::pop).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.events.is_empty() {
            match &mut self.state {
                State::Connecting(attempt) => {
                    let outcome = ready!(attempt.as_mut().poll(cx));
                    self.attempted(outcome);
                }
                State::Connected(connection) => match connection.work(cx, &mut self.events) {
                    Ok(()) if self.events.is_empty() => return Poll::Pending,
                    Ok(()) => {}
                    Err(ended) => self.disconnected(&ended),
                },
            }
        }
        Poll::Ready(())
    }

    fn attempted(&mut self, outcome: Result<(Sender, Receiver, ServerHello), String>) {
        match outcome {
            Ok((sender, receiver, server)) => {
                info!(
                    datapath = server.datapath,
                    shards = server.shards,
                    capacity = server.capacity,
                    boot = server.boot,
                    "connected to the media process"
                );
                self.told = false;
                let now = now_ns();
                self.state = State::Connected(Box::new(Connection {
                    sender,
                    receiver,
                    since: now,
                    outstanding: 0,
                    unwritten: 0,
                    heard_at: now,
                    flush_at: None,
                    blocked: false,
                }));
                self.events.push_back(MediaEvent::Connected(server));
            }
            Err(problem) => self.again(&problem),
        }
    }

    fn disconnected(&mut self, ended: &Ended) {
        if let State::Connected(connection) = &self.state
            && now_ns().saturating_sub(connection.since) > nanos(LONGEST_PAUSE)
        {
            // One that was any good has earned a quick return.
            self.pause = FIRST_PAUSE;
        }
        self.again(&ended.to_string());
        self.events.push_back(MediaEvent::Disconnected);
    }

    fn again(&mut self, problem: &str) {
        let socket = self.path.display();
        if self.told {
            debug!(%socket, "no media process: {problem}");
        } else {
            warn!(%socket, "no media process, calls are refused until it is back: {problem}");
            self.told = true;
        }
        self.state = State::Connecting(connecting(self.path.clone(), self.hello.clone(), self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("requests are waiting and it says nothing")]
    Silent,
    #[error("it said hello twice")]
    SecondHello,
}

impl Connection {
    fn write(&mut self, cx: &mut Context<'_>, now: u64) -> Result<(), ConnectionError> {
        if !self.blocked && self.flush_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        let flushed = self.sender.poll_flush(cx);
        self.blocked = flushed.is_pending();
        if let Poll::Ready(written) = flushed {
            self.flush_at = None;
            written?;
            // Nobody can have answered what was not said: that this process was late is not held against the other.
            if std::mem::take(&mut self.unwritten) >= self.outstanding {
                self.heard_at = now;
            }
        }
        Ok(())
    }

    fn work(&mut self, cx: &mut Context<'_>, events: &mut VecDeque<MediaEvent>) -> Result<(), Ended> {
        let now = now_ns();
        self.write(cx, now)?;
        while events.len() < EVENTS {
            let Poll::Ready(frame) = self.receiver.poll_receive(cx) else { break };
            self.heard_at = now;
            events.push_back(match frame? {
                ServerFrame::Reply { id, reply } => {
                    // Saturating: a server that answers twice must not wrap the count.
                    self.outstanding = self.outstanding.saturating_sub(1);
                    MediaEvent::Reply(id, reply)
                }
                ServerFrame::Event(event) => MediaEvent::Event(event),
                ServerFrame::Refused(refusal) => return Err(ConnectionError::from(refusal).into()),
                ServerFrame::Hello(_) => return Err(Ended::SecondHello),
            });
        }
        if self.outstanding > 0 && now >= self.heard_at + PATIENCE_NS {
            return Err(Ended::Silent);
        }
        Ok(())
    }
}

/// Connects after a pause.
fn connecting(path: PathBuf, hello: ClientHello, pause: Duration) -> Connecting {
    Box::pin(async move {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        match timeout(PATIENCE, connect(&path, hello)).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no hello within {} s", PATIENCE.as_secs())),
        }
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
