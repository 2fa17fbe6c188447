//! One client: hello, then requests in, replies and events out, until either side ends it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use moorline_control::connection::{ConnectionError, Receiver, Sender, split};
use moorline_control::{
    ClientFrame, ClientHello, Event, MAX_LEASE_MS, Refusal, RefusalCode, Reply, Request, ServerFrame, VERSION,
};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::router::{Pending, Router};

/// Requests that may wait for their replies to be written. Far more than a client that reads has waiting.
const REQUEST_QUEUE: usize = 4096;
/// Listings that may wait: each holds up to a frame.
const LIST_QUEUE: u32 = 8;
/// How long a client may take to say hello, or to take the last words.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection ended.
enum End {
    /// The client is gone.
    Gone,
    /// The client does not read what it is sent.
    Overflow,
    /// The client sent what is not of the protocol.
    Refused(Refusal),
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> End {
        match error {
            ConnectionError::Io(_) | ConnectionError::Closed => End::Gone,
            ConnectionError::Refused(refusal) => End::Refused(refusal),
        }
    }
}

/// Serves a client to its end. Its sessions live on for the lease it asked for.
pub(super) async fn serve(stream: UnixStream, router: Rc<Router>) {
    let (mut sender, mut receiver) = split(stream);
    let hello = match timeout(PATIENCE, greet(&mut sender, &mut receiver, &router)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(End::Refused(refusal))) => {
            tracing::warn!(%refusal, "control: a client was refused");
            let _ = timeout(PATIENCE, sender.send(&ServerFrame::Refused(refusal))).await;
            return;
        }
        Ok(Err(End::Gone | End::Overflow)) | Err(_) => return,
    };
    let lease_ns = u64::from(hello.lease_ms.min(MAX_LEASE_MS)) * 1_000_000;
    let (owner, mut events, overflow) = router.adopt();
    tracing::info!(client = hello.client, owner = owner.0, "control: connected");

    let lists = Cell::new(0);
    let (requests, mut replies) = mpsc::channel(REQUEST_QUEUE);
    // The request whose reply is being waited for.
    let mut waiting = None;
    let read = async {
        loop {
            let (id, request) = match next_request(&mut receiver).await {
                Ok(next) => next,
                Err(end) => break end,
            };
            let list = matches!(request, Request::List { .. });
            let pending = match list && lists.get() >= LIST_QUEUE {
                true => Pending::Answered(Reply::Refused(Refusal::new(
                    RefusalCode::Busy,
                    format!("{LIST_QUEUE} listings are on their way"),
                ))),
                false => router.route(owner, request),
            };
            lists.set(lists.get() + u32::from(matches!(pending, Pending::List(_))));
            if requests.try_send((id, pending)).is_err() {
                break End::Overflow;
            }
        }
    };
    let end = tokio::select! {
        end = read => end,
        end = write(&mut sender, &mut replies, &mut waiting, &mut events, &router, &lists) => end,
        () = overflow.notified() => End::Overflow,
    };
    drop(requests);

    router.release(owner, lease_ns).await;
    let last_words = match end {
        End::Gone => None,
        End::Overflow => {
            tracing::warn!(client = hello.client, owner = owner.0, "control: closed, the client does not read");
            None
        }
        End::Refused(refusal) => {
            tracing::warn!(client = hello.client, owner = owner.0, %refusal, "control: closed");
            Some(refusal)
        }
    };
    if let Some(refusal) = last_words {
        let mut listening = true;
        while listening {
            let next = match waiting.take() {
                Some(next) => Some(next),
                None => replies.recv().await,
            };
            let Some((id, mut pending)) = next else { break };
            let reply = router.resolve(&mut pending).await;
            listening = say(&mut sender, &ServerFrame::Reply { id, reply }).await;
        }
        if listening {
            say(&mut sender, &ServerFrame::Refused(refusal)).await;
        }
    }
    tracing::info!(client = hello.client, owner = owner.0, "control: disconnected");
}

async fn greet(sender: &mut Sender, receiver: &mut Receiver, router: &Router) -> Result<ClientHello, End> {
    let ClientFrame::Hello(hello) = receiver.receive().await? else {
        return Err(End::Refused(Refusal::new(RefusalCode::Malformed, "the first frame is the hello")));
    };
    if hello.version != VERSION {
        let detail = format!("version {} asked for, version {VERSION} spoken", hello.version);
        return Err(End::Refused(Refusal::new(RefusalCode::Version, detail)));
    }
    sender.send(&ServerFrame::Hello(router.hello.clone())).await?;
    Ok(hello)
}

async fn next_request(receiver: &mut Receiver) -> Result<(u32, Request), End> {
    match receiver.receive().await? {
        ClientFrame::Request { id, request } => Ok((id, request)),
        ClientFrame::Hello(_) => Err(End::Refused(Refusal::new(RefusalCode::Malformed, "a second hello"))),
    }
}

/// Writes replies in the order of their requests, and events between them. Answers when the client is gone.
async fn write(
    sender: &mut Sender,
    replies: &mut mpsc::Receiver<(u32, Pending)>,
    waiting: &mut Option<(u32, Pending)>,
    events: &mut mpsc::Receiver<Event>,
    router: &Router,
    lists: &Cell<u32>,
) -> End {
    loop {
        // Replies first: no event of a session comes before the reply that opened it.
        let frame = tokio::select! {
            biased;
            Some(next) = replies.recv() => {
                let (id, pending) = waiting.insert(next);
                let (id, list) = (*id, matches!(pending, Pending::List(_)));
                let reply = router.resolve(pending).await;
                *waiting = None;
                lists.set(lists.get() - u32::from(list));
                ServerFrame::Reply { id, reply }
            }
            Some(event) = events.recv() => ServerFrame::Event(event),
            else => return End::Gone,
        };
        let written = match sender.feed(&frame).await {
            Ok(()) if replies.is_empty() && events.is_empty() => sender.flush().await,
            other => other,
        };
        match (written, frame) {
            (Ok(()), _) => {}
            // A reply that does not fit a frame; nothing of it was sent.
            (Err(ConnectionError::Refused(refusal)), ServerFrame::Reply { id, .. }) => {
                if sender.send(&ServerFrame::Reply { id, reply: Reply::Refused(refusal) }).await.is_err() {
                    return End::Gone;
                }
            }
            (Err(_), _) => return End::Gone,
        }
    }
}

/// Says one of the last words; false if the client does not take it.
async fn say(sender: &mut Sender, frame: &ServerFrame) -> bool {
    matches!(timeout(PATIENCE, sender.send(frame)).await, Ok(Ok(())))
}
