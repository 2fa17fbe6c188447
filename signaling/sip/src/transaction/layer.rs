//! The layer above the four machines.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::entry::{Cancel, Deadlines, Transaction};
use super::id_hasher::IdMap;
use super::machine::{Action, Input, Machine};
use super::slab::{Id, Slab};
use super::timer::Timer;
use super::{ClientId, Event, Flow, Full, Received, ServerId, Timers, Transmit, client, derived, invite_client, key};
use crate::{Index, Message, Method};

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
    pub(super) transactions: Slab<Transaction>,
    /// CANCELs among them. There is at most one for each INVITE, so they need no bound of their own, and a full
    /// table does not keep calls from being given up.
    cancels: usize,
    /// Peers choose the keys: they are hashed by a secret of this layer, once for each message.
    pub(super) keyed: RandomState,
    pub(super) by_key: IdMap<u64, Id>,
    /// The latest request of each origin, and the hash of its branch. Requests are taken out as they end.
    pub(super) by_origin: IdMap<u64, (Id, u64)>,
    deadlines: Deadlines,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Where keys are made and stored requests are read.
    pub(super) key: Vec<u8>,
    pub(super) index: Box<Index>,
}

impl Layer {
    /// A layer for at most `max_transactions`, not counting the CANCELs it makes.
    pub fn new(timers: Timers, max_transactions: usize) -> Layer {
        Layer {
            timers,
            max_transactions,
            transactions: Slab::new(),
            cancels: 0,
            keyed: RandomState::new(),
            by_key: IdMap::default(),
            by_origin: IdMap::default(),
            deadlines: Deadlines::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            key: Vec::new(),
            index: Box::new(Index::new()),
        }
    }

    /// From now on there are at most so many; those that are there stay.
    pub fn set_max_transactions(&mut self, max_transactions: usize) {
        self.max_transactions = max_transactions;
    }

    /// Takes a message that passed [`Message::check`].
    pub fn receive(&mut self, now: u64, flow: Flow, message: Message<'_>) -> Received {
        match message.method() {
            None => self.receive_response(now, message),
            Some(Method::Ack) => self.receive_ack(now, flow, message),
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
    /// [`Message::check`] (to its [`response_flow`](super::response_flow)).
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
    /// none does in 64 T1 after the CANCEL, the transaction times out. `reason` is the value of a Reason header
    /// (RFC 3326) for the CANCEL; that of the first call counts.
    pub fn cancel(&mut self, now: u64, id: ClientId, reason: Option<&[u8]>) {
        let Some(transaction) = self.transactions.get_mut(id.0) else { return };
        if transaction.cancel == Cancel::No {
            match transaction.machine {
                Machine::InviteClient(invite_client::State::Calling) => {
                    transaction.cancel = Cancel::Wanted(reason.map(Into::into));
                }
                Machine::InviteClient(invite_client::State::Proceeding) => self.send_cancel(now, id.0, reason),
                _ => {}
            }
        }
    }

    /// Takes note that a message could not be delivered on `flow`, or that its connection broke: what was asked there
    /// and not answered at all is over (RFC 3261 section 17.1.4). Whoever has answered with a provisional response
    /// may still answer on another connection, so its transaction goes on. What is answered from now on goes to where
    /// the topmost Via says that its sender takes connections (section 18.2.2).
    pub fn broken(&mut self, now: u64, flow: Flow) {
        let here = |(id, transaction): (Id, &Transaction)| (transaction.flow == flow).then_some(id);
        let affected: Vec<Id> = self.transactions.iter().filter_map(here).collect();
        for id in affected {
            if let Some(transaction) = self.transactions.get_mut(id)
                && let Some(port) = transaction.sent_by
            {
                transaction.flow.remote.set_port(port);
            }
            self.run(now, id, Input::Broken, Given::Nothing);
        }
    }

    /// The requests that were sent on `flow` and not answered at all: those that [`broken`](Layer::broken) ends.
    pub fn unanswered(&self, flow: Flow) -> Vec<(ClientId, Arc<[u8]>)> {
        let waits = |transaction: &Transaction| {
            matches!(
                transaction.machine,
                Machine::Client(client::State::Trying) | Machine::InviteClient(invite_client::State::Calling)
            )
        };
        let here =
            self.transactions.iter().filter(|(_, transaction)| transaction.flow == flow && !transaction.internal);
        let waiting = here.filter(|(_, transaction)| waits(transaction));
        waiting
            .filter_map(|(id, transaction)| Some((ClientId(id), Arc::clone(transaction.message.as_ref()?))))
            .collect()
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

    pub(super) fn is_full(&self) -> bool {
        self.len() - self.cancels >= self.max_transactions
    }

    pub(super) fn send_cancel(&mut self, now: u64, invite: Id, reason: Option<&[u8]>) {
        let Some(transaction) = self.transactions.get_mut(invite) else { return };
        transaction.cancel = Cancel::Done;
        let flow = transaction.flow;
        let Some(message) = &transaction.message else { return };
        let Ok(request) = self.index.parse(message) else { return };
        let cancel = derived::cancel(request, reason);
        transaction.start(invite, now, Timer::Cancelled, &self.timers, &mut self.deadlines);
        self.start_client(now, flow, cancel, true);
    }

    fn start_client(&mut self, now: u64, flow: Flow, request: Vec<u8>, internal: bool) -> Id {
        let bytes: Arc<[u8]> = request.into();
        // A request that cannot be read has no key: no response finds it, and it times out.
        let mut machine = Machine::Client(client::State::Trying);
        if key::client_request(&mut self.key, &bytes) == Some(Method::Invite) {
            machine = Machine::InviteClient(invite_client::State::Calling);
        }
        let mut transaction = Transaction::new(machine, flow, &self.key, self.key_hash());
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

    pub(super) fn insert(&mut self, transaction: Transaction) -> Id {
        let hash = (!transaction.key.is_empty()).then_some(transaction.key_hash);
        let id = self.transactions.insert(transaction);
        if let Some(hash) = hash {
            self.by_key.insert(hash, id);
        }
        id
    }

    /// The hash of the key that was made last.
    pub(super) fn key_hash(&self) -> u64 {
        self.keyed.hash_one(&self.key[..])
    }

    /// The transaction of the key that was made last, which has this hash.
    pub(super) fn find(&self, hash: u64) -> Option<Id> {
        let id = *self.by_key.get(&hash)?;
        (*self.transactions.get(id)?.key == *self.key).then_some(id)
    }

    /// Steps a machine and does what its table says. Returns whether the message is for the user.
    pub(super) fn run(&mut self, now: u64, id: Id, input: Input, given: Given<'_>) -> bool {
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
                Action::Unreachable if !transaction.internal => self.events.push_back(Event::Unreachable(ClientId(id))),
                Action::Unreachable => {}
                Action::NoAck => self.events.push_back(Event::NoAck(ServerId(id))),
            }
        }
        if transaction.machine.has_sent_all() {
            // There is nothing to repeat any more, though the transaction may stay for half a minute.
            transaction.message = None;
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
        if self.by_key.get(&transaction.key_hash) == Some(&id) {
            self.by_key.remove(&transaction.key_hash);
        }
        if let Some(origin) = transaction.origin
            && self.by_origin.get(&origin).is_some_and(|(latest, _)| *latest == id)
        {
            self.by_origin.remove(&origin);
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
pub(super) enum Given<'a> {
    Nothing,
    /// A response that came.
    Response(Message<'a>),
    /// A response to send.
    Reply(Arc<[u8]>),
}

/// The status of a response, read from its first bytes.
fn status(response: &[u8]) -> Option<u16> {
    let digits = response.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    crate::lexical::number(digits).map(|status| status as u16)
}

pub(super) fn response_input(status: u16) -> Input {
    match status {
        ..200 => Input::Provisional,
        200..300 => Input::Success,
        300.. => Input::Failure,
    }
}
