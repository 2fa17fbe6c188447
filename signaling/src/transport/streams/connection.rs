//! One connection: what comes in is cut into messages and given to the workers, what is to go out is written, and
//! neither may take longer or hold more than it is allowed to.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use moorline_b2bua::Judgement;
use moorline_sip::transaction::Flow;
use moorline_sip::{Frame, Framer, FramingError, Index};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info};

use super::Streams;
use super::counts::add;
use crate::clock::now_ns;
use crate::mail::Mail;

/// What may wait to be written to a connection. A far end that reads has far less waiting.
const OUTGOING_BYTES: usize = 1 << 20;

/// What answers a keep-alive.
const PONG: &[u8] = b"\r\n";

/// How long nothing is read from a source that sends too much.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a far end may take to take the last bytes.
const FAREWELL: Duration = Duration::from_secs(1);

/// What everybody on the connections' thread knows of a connection.
pub(super) struct Connection {
    /// The path to it, which says who it is when that has been shown.
    flow: Cell<Flow>,
    outgoing: mpsc::UnboundedSender<Arc<[u8]>>,
    /// Bytes in `outgoing`, which bounds it.
    waiting: Cell<usize>,
    /// The answer to a keep-alive is in `outgoing`.
    pong_waits: Cell<bool>,
    overflow: Notify,
    /// Which workers it was used by, by bits.
    users: Cell<u32>,
    /// When something was last sent or received.
    active_at: Cell<Instant>,
}

/// What is to be written to a connection.
pub(super) type Outgoing = mpsc::UnboundedReceiver<Arc<[u8]>>;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the far end closed it")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it could not be opened: {0}")]
    Connect(io::Error),
    #[error("TLS handshake: {0}")]
    Handshake(String),
    #[error("its certificate is for none of the trunk's identities, or no trunk has its address")]
    Identity,
    #[error("what came is no SIP: {0}")]
    Framing(#[from] FramingError),
    #[error("nothing was sent or received for too long")]
    Idle,
    #[error("a message took too long to come")]
    Slow,
    #[error("the far end does not read")]
    Overflow,
}

impl Connection {
    pub(super) fn new(flow: Flow) -> (Rc<Connection>, Outgoing) {
        let (outgoing, end) = mpsc::unbounded_channel();
        let connection = Connection {
            flow: Cell::new(flow),
            outgoing,
            waiting: Cell::new(0),
            pong_waits: Cell::new(false),
            overflow: Notify::new(),
            users: Cell::new(0),
            active_at: Cell::new(Instant::now()),
        };
        (Rc::new(connection), end)
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow.get()
    }

    /// Says who the far end is. Nothing may have come from it before.
    pub(super) fn identify(&self, flow: Flow) {
        self.flow.set(flow);
    }

    pub(super) fn used_by(&self, worker: usize) {
        self.users.set(self.users.get() | 1_u32.checked_shl(worker as u32).unwrap_or_default());
    }

    /// Puts something to be written behind the rest; the connection ends if that is more than may wait.
    pub(super) fn push(&self, bytes: Arc<[u8]>) {
        let waiting = self.waiting.get() + bytes.len();
        if waiting > OUTGOING_BYTES {
            return self.overflow.notify_one();
        }
        self.waiting.set(waiting);
        // Nobody takes it any more once the connection has ended, and that is told to the workers.
        let _ended = self.outgoing.send(bytes);
    }

    /// Answers keep-alives (RFC 5626 section 4.4.1), one answer for all that have come: whoever sends them faster than it
    /// is answered gets no more, or they would cost far more than the bytes that they bring.
    fn pong(&self) {
        if !self.pong_waits.replace(true) {
            self.push(Arc::from(PONG));
        }
    }
}

/// Counts and forgets a connection, and tells the workers that used it.
pub(super) async fn ended(streams: &Streams, connection: &Rc<Connection>, served: Result<(), End>) {
    let flow = connection.flow();
    streams.table.borrow_mut().remove(connection);
    let counts = streams.counts.of(flow.transport);
    match &served {
        Ok(()) | Err(End::Closed | End::Io(_) | End::Idle) => {}
        Err(End::Connect(_)) => add(&counts.failed),
        Err(End::Handshake(_)) => add(&counts.handshakes_failed),
        Err(End::Framing(_) | End::Slow | End::Overflow | End::Identity) => add(&counts.cut),
    }
    if let Err(end) = &served {
        match end {
            End::Closed | End::Idle => debug!(remote = %flow.remote, transport = %flow.transport, "connection: {end}"),
            _ => info!(remote = %flow.remote, transport = %flow.transport, "connection: {end}"),
        }
    }
    for worker in (0..streams.workers.len()).filter(|worker| connection.users.get() >> worker & 1 == 1) {
        streams.workers.send(worker, Mail::Broken { flow }).await;
    }
}

/// Serves a connection to its end, which is no later than that of `welcome`.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    streams: &Streams,
    connection: &Connection,
    mut outgoing: Outgoing,
    stream: S,
    welcome: impl Future<Output = End>,
) -> Result<(), End> {
    let counts = streams.counts.of(connection.flow().transport);
    let _open = Gauge::up(&counts.open);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let end = tokio::select! {
        end = read(streams, connection, &mut reader) => end,
        end = write(streams, connection, &mut outgoing, &mut writer) => end,
        () = connection.overflow.notified() => Err(End::Overflow),
        end = welcome => Err(end),
    };
    let _late = timeout(FAREWELL, writer.shutdown()).await;
    end
}

/// What a chunk held.
struct Chunk {
    messages: Vec<Box<[u8]>>,
    pinged: bool,
    error: Option<FramingError>,
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    streams: &Streams,
    connection: &Connection,
    reader: &mut ReadHalf<S>,
) -> Result<(), End> {
    let mut framer = Framer::new();
    // When the message began of which a part is here.
    let mut began: Option<Instant> = None;
    loop {
        let deadline = match began {
            Some(began) => began + streams.bounds.message(),
            None => connection.active_at.get() + streams.bounds.idle(),
        };
        let chunk = match timeout_at(deadline, receive(streams, reader, &mut framer)).await {
            Ok(chunk) => chunk?,
            Err(_) if began.is_some() => return Err(End::Slow),
            // Something was sent meanwhile.
            Err(_) if connection.active_at.get() + streams.bounds.idle() > Instant::now() => continue,
            Err(_) => return Err(End::Idle),
        };
        let now = Instant::now();
        connection.active_at.set(now);
        if framer.is_idle() {
            began = None;
        } else if began.is_none() || !chunk.messages.is_empty() {
            began = Some(now);
        }
        if chunk.pinged {
            connection.pong();
        }
        for message in chunk.messages {
            add(&streams.counts.of(connection.flow().transport).received);
            pass(streams, connection, message).await;
        }
        if let Some(error) = chunk.error {
            return Err(error.into());
        }
    }
}

/// Reads what is there into the memory that all connections share, and cuts it up before it is used again.
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    streams: &Streams,
    reader: &mut ReadHalf<S>,
    framer: &mut Framer,
) -> Result<Chunk, End> {
    poll_fn(|cx| {
        let mut scratch = streams.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut *reader).poll_read(cx, &mut buffer))?;
        let mut rest = buffer.filled();
        if rest.is_empty() {
            return Err(End::Closed).into();
        }
        let mut chunk = Chunk { messages: Vec::new(), pinged: false, error: None };
        loop {
            match framer.next(&mut rest) {
                Ok(Some(Frame::Message(message))) => chunk.messages.push(message.into()),
                Ok(Some(Frame::Ping)) => chunk.pinged = true,
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => {
                    chunk.error = Some(error);
                    break;
                }
            }
        }
        Ok(chunk).into()
    })
    .await
}

/// Gives a message to the worker that it is for, as soon as that has room: until then nothing more is read.
async fn pass(streams: &Streams, connection: &Connection, bytes: Box<[u8]>) {
    let flow = connection.flow();
    let received_at = now_ns();
    loop {
        let is_known = || streams.policy().ingress(flow).is_some();
        let verdict = streams.edge.borrow_mut().admit(now_ns(), flow, &bytes, 0, is_known);
        match verdict {
            Judgement::Pass { .. } => break,
            Judgement::Drop(reason) => {
                streams.counts.refused(reason);
                sleep(PAUSE).await;
            }
            Judgement::Refuse(reason) => {
                streams.counts.refused(reason);
                let refusal = streams.edge.borrow_mut().refusal(flow, &bytes);
                if let Some((_, answer)) = refusal {
                    connection.push(answer.into());
                }
                return;
            }
        }
    }
    let owner = if streams.workers.len() == 1 {
        0
    } else {
        let mut index = Index::new();
        // What cannot be read is anybody's to count.
        let parsed = index.parse(&bytes).ok();
        parsed.map_or(0, |message| streams.dispatch.borrow_mut().route(received_at, message, usize::MAX, false))
    };
    connection.used_by(owner);
    streams.workers.send(owner, Mail::Message { flow, bytes, received_at }).await;
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    streams: &Streams,
    connection: &Connection,
    outgoing: &mut Outgoing,
    writer: &mut WriteHalf<S>,
) -> Result<(), End> {
    let counts = streams.counts.of(connection.flow().transport);
    while let Some(first) = outgoing.recv().await {
        let mut next = Some(first);
        while let Some(bytes) = next {
            writer.write_all(&bytes).await?;
            connection.waiting.set(connection.waiting.get().saturating_sub(bytes.len()));
            if *bytes == *PONG {
                connection.pong_waits.set(false);
            } else {
                add(&counts.sent);
            }
            next = outgoing.try_recv().ok();
        }
        writer.flush().await?;
        connection.active_at.set(Instant::now());
    }
    Ok(())
}

/// A gauge that goes down again however the connection ends.
struct Gauge<'a>(&'a std::sync::atomic::AtomicU64);

impl<'a> Gauge<'a> {
    fn up(gauge: &'a std::sync::atomic::AtomicU64) -> Gauge<'a> {
        gauge.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Gauge(gauge)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}
