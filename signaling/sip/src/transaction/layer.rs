//! The layer above the four machines.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use super::machine::{Action, Input, Machine};
use super::slab::{Id, Slab};
use super::timer::Timer;
use super::{
    ClientId, Event, Flow, Full, Received, ServerId, Timers, Transmit, client, derived, invite_client, invite_server,
    key, response_flow, server,
};
use crate::{Index, Message, Method, reason_phrase, respond};

/// How long a sender is asked to wait when there is no room.
const RETRY_AFTER_S: &str = "5";

/// All transactions of one worker.
///
/// Give it what comes in ([`receive`](Layer::receive)), what is to go out ([`request`](Layer::request),
/// [`respond`](Layer::respond), [`cancel`](Layer::cancel), [`send`](Layer::send)), and the time when it asks for it
/// ([`next_timeout`](Layer::next_timeout), [`handle_timeout`](Layer::handle_timeout)). After each of these take what
/// it has to send ([`poll_transmit`](Layer::poll_transmit)) and to say ([`poll_event`](Layer::poll_event)) until
/// there is nothing more. Times are nanoseconds of any clock that does not go back.
#[derive(Debug)]
pub struct Layer {
    timers: Timers,
    max_transactions: usize,
    transactions: Slab<Transaction>,
    /// CANCELs among them. There is at most one for each INVITE, so they need no bound of their own, and a full
    /// table does not keep calls from being given up.
    cancels: usize,
    by_key: HashMap<Arc<[u8]>, Id>,
    deadlines: BTreeSet<(u64, Id, Timer)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Where keys are made and stored requests are read.
    key: Vec<u8>,
    index: Box<Index>,
}

#[derive(Debug)]
struct Transaction {
    machine: Machine,
    /// Where its messages go.
    flow: Flow,
    key: Arc<[u8]>,
    /// What it repeats: a client its request and later, of an INVITE, the ACK; a server its last response.
    message: Option<Arc<[u8]>>,
    repeat: Option<(u64, Timer)>,
    expiry: Option<(u64, Timer)>,
    /// The last interval of the repeating timer.
    interval_ns: u64,
    cancel: Cancel,
    /// Whether `message` is the ACK already.
    acknowledged: bool,
    /// Whether it is a CANCEL that the layer made, of which the user hears nothing.
    internal: bool,
}

/// How far an INVITE is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    /// Client: a CANCEL is to be sent as soon as a provisional response allows it.
    Wanted,
    /// Client: the CANCEL was sent. Server: one was received.
    Done,
}

impl Layer {
    /// A layer for at most `max_transactions`, not counting the CANCELs it makes.
    pub fn new(timers: Timers, max_transactions: usize) -> Layer {
        Layer {
            timers,
            max_transactions,
            transactions: Slab::new(),
            cancels: 0,
            by_key: HashMap::new(),
            deadlines: BTreeSet::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            key: Vec::new(),
            index: Box::new(Index::new()),
        }
    }

    /// Takes a message that passed [`Message::check`].
    pub fn receive(&mut self, now: u64, flow: Flow, message: Message<'_>) -> Received {
        match message.method() {
            None => self.receive_response(now, message),
            Some(Method::Ack) => self.receive_ack(now, message),
            Some(Method::Cancel) => self.receive_cancel(flow, message),
            Some(method) => self.receive_request(now, flow, message, method),
        }
    }

    /// Starts a client transaction with a whole request, whose topmost Via has a branch of its own, and sends it.
    pub fn request(&mut self, now: u64, flow: Flow, request: Vec<u8>) -> Result<ClientId, Full> {
        if self.is_full() {
            return Err(Full);
        }
        Ok(ClientId(self.start_client(now, flow, request, false)))
    }

    /// Sends the ACK to a 2xx, which belongs to no transaction. The user sends it again for each 2xx.
    pub fn send_ack(&mut self, flow: Flow, ack: Vec<u8>) {
        self.send(flow, ack);
    }

    /// Sends a message that belongs to no transaction: an ACK to a 2xx, or the answer to a request that did not pass
    /// [`Message::check`] (to its [`response_flow`]).
    pub fn send(&mut self, flow: Flow, message: Vec<u8>) {
        self.transmits.push_back(Transmit { flow, bytes: message.into(), retransmission: false });
    }

    /// Answers a request. A 2xx to an INVITE is to be given again, at growing intervals, until its ACK comes
    /// (RFC 3261 section 13.3.1.4); other final responses are given once. A response after the end is dropped.
    pub fn respond(&mut self, now: u64, id: ServerId, response: Vec<u8>) {
        let Some(input) = status(&response).map(response_input) else { return };
        self.run(now, id.0, input, Given::Reply(response.into()));
    }

    /// Cancels an INVITE: at once if a provisional response came, else as soon as one comes; not at all if it is
    /// answered. The final response still comes as a [`Received::Response`], usually a 487 and sometimes a 2xx; if
    /// none does in 64 T1 after the CANCEL, the transaction times out.
    pub fn cancel(&mut self, now: u64, id: ClientId) -> Result<(), Full> {
        let Some(transaction) = self.transactions.get_mut(id.0) else { return Ok(()) };
        if transaction.cancel == Cancel::No {
            match transaction.machine {
                Machine::InviteClient(invite_client::State::Calling) => transaction.cancel = Cancel::Wanted,
                Machine::InviteClient(invite_client::State::Proceeding) => self.send_cancel(now, id.0),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Layer::handle_timeout) is due.
    pub fn next_timeout(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some(&(at, id, timer)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(transaction) = self.transactions.get_mut(id) {
                *transaction.timer(timer) = None;
            }
            self.run(now, id, Input::Fires(timer), Given::Nothing);
        }
    }

    /// How many transactions there are.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether there are no transactions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_full(&self) -> bool {
        self.len() - self.cancels >= self.max_transactions
    }

    fn receive_response(&mut self, now: u64, response: Message<'_>) -> Received {
        let Some(status) = response.status() else { return Received::Stray };
        if !key::client(&mut self.key, response) {
            return Received::Stray;
        }
        let Some(&id) = self.by_key.get(&self.key[..]) else { return Received::Stray };
        let passed = self.run(now, id, response_input(status), Given::Response(response));
        let Some(transaction) = self.transactions.get(id) else { return Received::Absorbed };
        let internal = transaction.internal;
        let answering = matches!(transaction.machine, Machine::InviteClient(invite_client::State::Proceeding));
        if answering && transaction.cancel == Cancel::Wanted {
            self.send_cancel(now, id);
        }
        if passed && !internal { Received::Response(ClientId(id)) } else { Received::Absorbed }
    }

    fn receive_request(&mut self, now: u64, flow: Flow, request: Message<'_>, method: Method<'_>) -> Received {
        if !key::server(&mut self.key, request, method) {
            return Received::Stray;
        }
        if let Some(&id) = self.by_key.get(&self.key[..]) {
            self.run(now, id, Input::Request, Given::Nothing);
            return Received::Absorbed;
        }
        if self.is_full() {
            let response =
                respond(request, flow.remote, 503, reason_phrase(503).as_bytes(), Some(&self.stateless_tag()))
                    .header("Retry-After", RETRY_AFTER_S);
            self.send(response_flow(flow, request), response.finish(b""));
            return Received::Full;
        }
        let machine = match method {
            Method::Invite => Machine::InviteServer(invite_server::State::Proceeding),
            _ => Machine::Server(server::State::Trying),
        };
        let key = self.key.as_slice().into();
        Received::Request(ServerId(self.insert(Transaction::new(machine, response_flow(flow, request), key))))
    }

    fn receive_ack(&mut self, now: u64, ack: Message<'_>) -> Received {
        if !key::server(&mut self.key, ack, Method::Ack) {
            return Received::Stray;
        }
        match self.by_key.get(&self.key[..]).copied() {
            Some(id) if !self.run(now, id, Input::Ack, Given::Nothing) => Received::Absorbed,
            _ => Received::Ack,
        }
    }

    /// A CANCEL is answered without a transaction: its answer is the same each time.
    fn receive_cancel(&mut self, flow: Flow, cancel: Message<'_>) -> Received {
        if !key::server(&mut self.key, cancel, Method::Invite) {
            return Received::Stray;
        }
        let mut received = Received::Cancel { invite: None };
        let mut tag = None;
        if let Some(&id) = self.by_key.get(&self.key[..])
            && let Some(transaction) = self.transactions.get_mut(id)
        {
            let answered = transaction.machine != Machine::InviteServer(invite_server::State::Proceeding);
            received = match transaction.cancel {
                Cancel::No if !answered => Received::Cancel { invite: Some(ServerId(id)) },
                _ => Received::Absorbed,
            };
            transaction.cancel = Cancel::Done;
            // The answer to the CANCEL should have the tag of the answers to the INVITE (RFC 3261 section 9.2).
            if let Some(message) = &transaction.message
                && let Ok(response) = self.index.parse(message)
            {
                tag = response.to().ok().and_then(|to| to.tag()).map(<[u8]>::to_vec);
            }
        }
        let status = if received == (Received::Cancel { invite: None }) { 481 } else { 200 };
        let tag = tag.unwrap_or_else(|| self.stateless_tag());
        let response = respond(cancel, flow.remote, status, reason_phrase(status).as_bytes(), Some(&tag));
        self.send(response_flow(flow, cancel), response.finish(b""));
        received
    }

    /// A tag for an answer of which nothing is kept: the same for the same transaction.
    fn stateless_tag(&self) -> Vec<u8> {
        format!("{:016x}", self.by_key.hasher().hash_one(&self.key[..])).into_bytes()
    }

    fn send_cancel(&mut self, now: u64, invite: Id) {
        let Some(transaction) = self.transactions.get_mut(invite) else { return };
        transaction.cancel = Cancel::Done;
        let flow = transaction.flow;
        let Some(message) = &transaction.message else { return };
        let Ok(request) = self.index.parse(message) else { return };
        let cancel = derived::cancel(request);
        transaction.start(invite, now, Timer::Cancelled, &self.timers, &mut self.deadlines);
        self.start_client(now, flow, cancel, true);
    }

    fn start_client(&mut self, now: u64, flow: Flow, request: Vec<u8>, internal: bool) -> Id {
        let bytes: Arc<[u8]> = request.into();
        // A request that cannot be read has no key: no response finds it, and it times out.
        self.key.clear();
        let mut machine = Machine::Client(client::State::Trying);
        if let Ok(request) = self.index.parse(&bytes) {
            key::client(&mut self.key, request);
            if request.method() == Some(Method::Invite) {
                machine = Machine::InviteClient(invite_client::State::Calling);
            }
        }
        let mut transaction = Transaction::new(machine, flow, self.key.as_slice().into());
        transaction.message = Some(Arc::clone(&bytes));
        transaction.internal = internal;
        self.cancels += usize::from(internal);
        let id = self.insert(transaction);
        self.transmits.push_back(Transmit { flow, bytes, retransmission: false });
        if let Some(transaction) = self.transactions.get_mut(id) {
            for action in machine.start() {
                if let Action::Start(timer) = action {
                    transaction.start(id, now, *timer, &self.timers, &mut self.deadlines);
                }
            }
        }
        id
    }

    fn insert(&mut self, transaction: Transaction) -> Id {
        let key = Arc::clone(&transaction.key);
        let id = self.transactions.insert(transaction);
        if !key.is_empty() {
            self.by_key.insert(key, id);
        }
        id
    }

    /// Steps a machine and does what its table says. Returns whether the message is for the user.
    fn run(&mut self, now: u64, id: Id, input: Input, given: Given<'_>) -> bool {
        let Some(transaction) = self.transactions.get_mut(id) else { return false };
        let mut passed = false;
        for action in transaction.machine.step(input) {
            match action {
                Action::Start(timer) => transaction.start(id, now, *timer, &self.timers, &mut self.deadlines),
                Action::Again(timer) => {
                    let interval = timer.next_interval_ns(transaction.interval_ns, &self.timers);
                    transaction.repeat_in(id, now, *timer, interval, &mut self.deadlines);
                }
                Action::Slow(timer) => {
                    transaction.repeat_in(id, now, *timer, self.timers.t2_ns, &mut self.deadlines);
                }
                Action::StopRepeat => transaction.stop(id, Timer::A, &mut self.deadlines),
                Action::StopExpiry => transaction.stop(id, Timer::B, &mut self.deadlines),
                Action::Repeat => transaction.send(true, &mut self.transmits),
                Action::Respond => {
                    if let Given::Reply(reply) = &given {
                        let again = transaction.message.as_ref() == Some(reply);
                        transaction.message = Some(Arc::clone(reply));
                        transaction.send(again, &mut self.transmits);
                    }
                }
                Action::Acknowledge => {
                    let again = transaction.acknowledged;
                    if let Given::Response(response) = given
                        && !again
                        && let Some(Ok(invite)) = transaction.message.as_deref().map(|bytes| self.index.parse(bytes))
                    {
                        transaction.message = Some(derived::ack(invite, response).into());
                        transaction.acknowledged = true;
                    }
                    if transaction.acknowledged {
                        transaction.send(again, &mut self.transmits);
                    }
                }
                Action::Pass => passed = true,
                Action::TimedOut if !transaction.internal => self.events.push_back(Event::TimedOut(ClientId(id))),
                Action::TimedOut => {}
                Action::NoAck => self.events.push_back(Event::NoAck(ServerId(id))),
            }
        }
        if transaction.machine.is_terminated() {
            self.end(id);
        }
        passed
    }

    fn end(&mut self, id: Id) {
        let Some(mut transaction) = self.transactions.remove(id) else { return };
        transaction.stop(id, Timer::A, &mut self.deadlines);
        transaction.stop(id, Timer::B, &mut self.deadlines);
        // A user that used a branch twice has overwritten the entry with a later one, which stays.
        if self.by_key.get(&transaction.key) == Some(&id) {
            self.by_key.remove(&transaction.key);
        }
        if transaction.internal {
            self.cancels -= 1;
        } else if transaction.machine.is_client() {
            self.events.push_back(Event::ClientEnded(ClientId(id)));
        } else {
            self.events.push_back(Event::ServerEnded(ServerId(id)));
        }
    }
}

/// What an input brings with it.
enum Given<'a> {
    Nothing,
    /// A response that came.
    Response(Message<'a>),
    /// A response to send.
    Reply(Arc<[u8]>),
}

impl Transaction {
    fn new(machine: Machine, flow: Flow, key: Arc<[u8]>) -> Transaction {
        Transaction {
            machine,
            flow,
            key,
            message: None,
            repeat: None,
            expiry: None,
            interval_ns: 0,
            cancel: Cancel::No,
            acknowledged: false,
            internal: false,
        }
    }

    fn send(&self, retransmission: bool, transmits: &mut VecDeque<Transmit>) {
        if let Some(bytes) = &self.message {
            transmits.push_back(Transmit { flow: self.flow, bytes: Arc::clone(bytes), retransmission });
        }
    }

    /// The place of a timer of this kind.
    fn timer(&mut self, timer: Timer) -> &mut Option<(u64, Timer)> {
        if timer.repeats() { &mut self.repeat } else { &mut self.expiry }
    }

    fn start(&mut self, id: Id, now: u64, timer: Timer, timers: &Timers, deadlines: &mut BTreeSet<(u64, Id, Timer)>) {
        let duration_ns = timer.duration_ns(timers, self.flow.reliable);
        if timer.repeats() {
            self.repeat_in(id, now, timer, duration_ns, deadlines);
        } else {
            self.set(id, timer, now.saturating_add(duration_ns), deadlines);
        }
    }

    fn repeat_in(
        &mut self,
        id: Id,
        now: u64,
        timer: Timer,
        interval_ns: u64,
        deadlines: &mut BTreeSet<(u64, Id, Timer)>,
    ) {
        if !self.flow.reliable {
            self.interval_ns = interval_ns;
            self.set(id, timer, now.saturating_add(interval_ns), deadlines);
        }
    }

    fn set(&mut self, id: Id, timer: Timer, at: u64, deadlines: &mut BTreeSet<(u64, Id, Timer)>) {
        self.stop(id, timer, deadlines);
        *self.timer(timer) = Some((at, timer));
        deadlines.insert((at, id, timer));
    }

    /// Stops whatever runs in the place of `like`.
    fn stop(&mut self, id: Id, like: Timer, deadlines: &mut BTreeSet<(u64, Id, Timer)>) {
        if let Some((at, timer)) = self.timer(like).take() {
            deadlines.remove(&(at, id, timer));
        }
    }
}

/// The status of a response, read from its first bytes.
fn status(response: &[u8]) -> Option<u16> {
    let digits = response.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    crate::lexical::number(digits).map(|status| status as u16)
}

fn response_input(status: u16) -> Input {
    match status {
        ..200 => Input::Provisional,
        200..300 => Input::Success,
        300.. => Input::Failure,
    }
}
