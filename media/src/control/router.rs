//! From requests to shards and back: posts each to the mailbox of the shard that it concerns, and passes
//! events to the connections that own the sessions. Never waits for a shard to take a letter.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_control::{Event, Listed, Refusal, RefusalCode, Reply, Request, ServerHello, SessionId, SessionSpec};
use moorline_relay::{Owner, Range, shard_of};
use tokio::sync::oneshot::{self, error::RecvError};
use tokio::sync::{Notify, mpsc};

use super::directory::Directory;
use super::listing;
use crate::shard::{Answer, Letter, Mailbox, Said};

/// Events that may wait for a client that reads slowly.
pub(super) const EVENT_QUEUE: usize = 4096;
/// Of what a shard can hold, the part that it is given in a row.
const RUNS: usize = 8;
/// Between attempts to post a letter that must arrive to a full mailbox.
const POST_AGAIN: Duration = Duration::from_millis(1);

/// Shared by all connections, on the control thread.
pub(super) struct Router {
    pub(super) hello: ServerHello,
    shards: Vec<Arc<Mailbox>>,
    ranges: Vec<Range>,
    directory: RefCell<Directory>,
    owners: RefCell<HashMap<Owner, EventQueue>>,
    last_owner: Cell<u64>,
    /// Holds no more than shards have letters.
    abandoned: mpsc::UnboundedSender<Abandoned>,
}

/// Where the events of a connection go.
struct EventQueue {
    events: mpsc::Sender<Event>,
    overflow: Rc<Notify>,
}

/// A request on its way. It may be dropped at any time: the directory is kept all the same.
pub(super) enum Pending {
    /// Answered without a shard.
    Answered(Reply),
    /// On its way to the session's shard.
    Session(Routed),
    /// On its way to all shards.
    List(Pages),
}

/// A request on its way to one shard. The directory lives by the answers, so an answer that nobody waits for
/// any more is waited for by [`Router::settle`].
pub(super) struct Routed {
    session: SessionId,
    /// `None` once it has come.
    answer: Option<oneshot::Receiver<Answer>>,
    abandoned: mpsc::UnboundedSender<Abandoned>,
}

/// A session, and the answer to a request about it that nobody waits for any more.
pub(super) type Abandoned = (SessionId, oneshot::Receiver<Answer>);

impl Drop for Routed {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            // Without a receiver the control side has ended, and the directory with it.
            let _ = self.abandoned.send((self.session, answer));
        }
    }
}

/// A listing on its way: the answers still to come, and the pages that have.
pub(super) struct Pages {
    answers: Vec<oneshot::Receiver<Answer>>,
    pages: Vec<Listed>,
}

impl Router {
    /// A router, and what its [`settle`](Self::settle) has to be given.
    pub(super) fn new(
        hello: ServerHello,
        shards: Vec<Arc<Mailbox>>,
        ranges: Vec<Range>,
    ) -> (Router, mpsc::UnboundedReceiver<Abandoned>) {
        let (count, capacity) = (usize::from(hello.shards).max(1), hello.capacity as usize);
        let ports = ranges.iter().map(Range::pairs).min().unwrap_or(u32::MAX) as usize;
        // Sessions have two legs, and each may take a pair or two of the same range.
        let run = (capacity / count).min(ports / count / 4) / RUNS;
        let directory = Directory::new(hello.shards, capacity, run);
        let (abandoned, unsettled) = mpsc::unbounded_channel();
        let router = Router {
            hello,
            shards,
            ranges,
            directory: RefCell::new(directory),
            owners: RefCell::default(),
            last_owner: Cell::new(0),
            abandoned,
        };
        (router, unsettled)
    }

    /// Takes in a connection: its owner number, its events, and the word that they overflowed.
    pub(super) fn adopt(&self) -> (Owner, mpsc::Receiver<Event>, Rc<Notify>) {
        let owner = Owner(self.last_owner.get() + 1);
        self.last_owner.set(owner.0);
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        let overflow = Rc::new(Notify::new());
        self.owners.borrow_mut().insert(owner, EventQueue { events, overflow: Rc::clone(&overflow) });
        (owner, queue, overflow)
    }

    /// A connection has ended: every shard gets to know, however full its mailbox is.
    pub(super) async fn release(&self, owner: Owner, lease_ns: u64) {
        self.owners.borrow_mut().remove(&owner);
        for shard in &self.shards {
            let mut letter = Letter::Release { owner, lease_ns };
            while let Err(back) = shard.post(letter) {
                letter = back;
                tokio::time::sleep(POST_AGAIN).await;
            }
        }
    }

    /// Sends a request on its way.
    pub(super) fn route(&self, owner: Owner, request: Request) -> Pending {
        let (session, shard) = match &request {
            Request::List { .. } => return self.list(owner, &request),
            Request::Open { session, spec } => {
                let preferred = self.shard_of_ports(spec);
                match self.directory.borrow_mut().route_open(*session, preferred) {
                    Ok(shard) => (*session, shard),
                    Err(_) => {
                        let detail = format!("all {} sessions are in use", self.hello.capacity);
                        return refused(RefusalCode::Capacity, detail);
                    }
                }
            }
            Request::Update { session, .. }
            | Request::Claim { session }
            | Request::Close { session }
            | Request::Query { session } => match self.directory.borrow_mut().route(*session) {
                Some(shard) => (*session, shard),
                None if matches!(request, Request::Close { .. }) => return Pending::Answered(Reply::Closed(None)),
                None => return refused(RefusalCode::NoSuchSession, session.to_string()),
            },
        };
        match self.post(shard, owner, request) {
            Some(answer) => {
                Pending::Session(Routed { session, answer: Some(answer), abandoned: self.abandoned.clone() })
            }
            None => {
                self.directory.borrow_mut().unsent(session);
                busy(shard)
            }
        }
    }

    /// Waits for the answer, and keeps the directory by it. May be dropped and called again until it has
    /// answered.
    pub(super) async fn resolve(&self, pending: &mut Pending) -> Reply {
        match pending {
            Pending::Answered(reply) => reply.clone(),
            Pending::Session(routed) => {
                let Some(answer) = &mut routed.answer else { return ended() };
                let answer = answer.await;
                routed.answer = None;
                self.answered(routed.session, answer)
            }
            Pending::List(list) => {
                while let Some(answer) = list.answers.last_mut() {
                    let answer = answer.await;
                    // What has come is out of the list, so that it is not waited for again.
                    list.answers.pop();
                    match answer {
                        Ok(Answer { reply: Reply::Listed(page), .. }) => list.pages.push(page),
                        Ok(Answer { reply, .. }) => return reply,
                        Err(_) => return ended(),
                    }
                }
                Reply::Listed(listing::merge(std::mem::take(&mut list.pages)))
            }
        }
    }

    /// Keeps the directory by the answers that nobody waits for any more.
    pub(super) async fn settle(&self, mut unsettled: mpsc::UnboundedReceiver<Abandoned>) {
        while let Some((session, answer)) = unsettled.recv().await {
            let _ = self.answered(session, answer.await);
        }
    }

    fn answered(&self, session: SessionId, answer: Result<Answer, RecvError>) -> Reply {
        match answer {
            Ok(Answer { sequence, reply }) => {
                self.directory.borrow_mut().answered(session, sequence, &reply);
                reply
            }
            Err(_) => {
                self.directory.borrow_mut().unsent(session);
                ended()
            }
        }
    }

    /// Passes on what a shard says, until it has ended.
    pub(super) async fn dispatch(&self, mut said: mpsc::Receiver<Said>) {
        while let Some(Said { owner, event, sequence }) = said.recv().await {
            if let Event::Ended(ended) = &event {
                self.directory.borrow_mut().ended(ended.session, sequence);
            }
            if let Some(queue) = self.owners.borrow().get(&owner)
                && queue.events.try_send(event).is_err()
            {
                queue.overflow.notify_one();
            }
        }
    }

    fn list(&self, owner: Owner, request: &Request) -> Pending {
        let mut answers = Vec::with_capacity(self.shards.len());
        for shard in 0..self.hello.shards {
            match self.post(shard, owner, request.clone()) {
                Some(answer) => answers.push(answer),
                None => return busy(shard),
            }
        }
        Pending::List(Pages { answers, pages: Vec::with_capacity(self.shards.len()) })
    }

    fn post(&self, shard: u16, owner: Owner, request: Request) -> Option<oneshot::Receiver<Answer>> {
        let (answer, receiver) = oneshot::channel();
        let posted = self.shards.get(usize::from(shard))?.post(Letter::Request { owner, request, answer });
        posted.is_ok().then_some(receiver)
    }

    /// The shard that owns the ports which a session wants back, by the first of them.
    fn shard_of_ports(&self, spec: &SessionSpec) -> Option<u16> {
        let local = spec.legs.iter().flat_map(|leg| &leg.streams).find_map(|stream| stream.local)?;
        shard_of(&self.ranges, self.hello.shards, local.rtp)
    }
}

fn refused(code: RefusalCode, detail: String) -> Pending {
    Pending::Answered(Reply::Refused(Refusal::new(code, detail)))
}

fn busy(shard: u16) -> Pending {
    refused(RefusalCode::Busy, format!("the mailbox of shard {shard} is full"))
}

fn ended() -> Reply {
    Reply::Refused(Refusal::new(RefusalCode::Busy, "the media process is ending"))
}

#[cfg(test)]
mod tests;
