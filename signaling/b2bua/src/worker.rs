//! A worker owns calls: it takes datagrams, timers and news from the media process, and says what to send.
//!
//! The steps of a call are told in the order of its life: [`setup`] (the first INVITE), [`hunt`] (to which trunk), [`attempts`] (where it goes),
//! [`reliable`] (provisional answers), [`answer`] (the final one), [`decline`] (those that nobody wants), [`dialog`]
//! (what happens inside), [`reinvite`] and [`update`] (new offers), [`refresh`] (session timers), [`refer`] (transfers
//! that cross), [`transfer`] and [`join`] (those that are carried out here), [`teardown`] (CANCEL, BYE,
//! timeouts), [`media`] (the session at the media process) and [`restore`] (after a restart of either process).
//! [`operator`] is what people see of calls, and do to them.
//! [`outside`], [`pass`] and [`subscription`] are what crosses outside calls.

mod admission;
mod adopt;
mod announce;
mod announce_late;
mod answer;
mod attempts;
mod boundary;
mod counters;
mod credentials;
mod decline;
mod descriptions;
mod dialog;
mod elsewhere;
mod endpoints;
mod errand;
mod fork;
mod hunt;
mod join;
mod limits;
mod media;
mod names;
mod next_hops;
mod no_answer;
mod operator;
mod outside;
mod pass;
mod past;
mod probe;
mod receive;
mod records;
mod redirect;
mod refer;
mod refresh;
mod register;
mod registration;
mod reinvite;
mod reliable;
mod restore;
mod send;
mod setup;
mod shown_answers;
mod streams;
mod subscription;
mod targets;
mod teardown;
mod timers;
mod transfer;
mod update;

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use moorline_control::SessionId;
use moorline_sip::Message;
use moorline_sip::transaction::{ClientId, Event, Flow, IdMap, IdSet, Layer, ServerId, Timers as SipTimers};
use moorline_sip::{Writer, respond};

use crate::call::Call;
use crate::forward::{ALLOW, Shown};
use crate::identity::Identities;
use crate::leg::Side;
use crate::next_hop::NextHops;
use crate::policy::Policy;
use crate::policy::limit::{Limiter, TrunkCalls};
use crate::subscription::Subscription;
use crate::verify::Verdict;
use crate::{Concurrency, Entropy, Input, MediaInput, Observation, Output, Place, Wall};

use crate::locate::{Health, Hop, Locator, Ticket};

pub use counters::Counters;

use admission::Admission;
use boundary::Boundary;
use credentials::Proofs;
use decline::Strays;
use elsewhere::Elsewhere;
use errand::Errand;
use fork::Fork;
use media::MediaLink;
use pass::Passing;
use probe::Probes;
use records::Before;
use register::Registrar;
use registration::Registrations;
use send::Long;
use targets::Waiter;
use timers::{Due, Timers};

/// Transactions that one call can have at once: an INVITE on each leg, a BYE on each, and some in the
/// dialog.
const TRANSACTIONS_PER_CALL: usize = 8;

/// The bodies that are read (RFC 3261 20.1); others that hold no session description cross too.
const ACCEPT: &str = "application/sdp, multipart/mixed";

/// How long a caller that found no room is asked to wait, in seconds.
const RETRY_AFTER: &str = "5";

/// Owns the calls of its virtual shards; see the crate's documentation for how it is driven.
pub struct Worker {
    place: Place,
    policy: Arc<Policy>,
    identities: Identities,
    layer: Layer,
    calls: IdMap<SessionId, Box<Call>>,
    /// Our tags: in whose dialog a request is.
    tags: IdMap<SessionId, (SessionId, Side)>,
    /// Subscriptions outside calls, and our tags in their dialogs.
    subscriptions: IdMap<SessionId, Box<Subscription>>,
    subscription_tags: IdMap<SessionId, (SessionId, Side)>,
    /// Requests that went to several devices, by our tag in their answers.
    forks: IdMap<SessionId, Fork>,
    errands: IdMap<SessionId, Box<Errand>>,
    servers: IdMap<ServerId, ServerUse>,
    clients: IdMap<ClientId, ClientUse>,
    media: MediaLink,
    locator: Locator,
    next_hops: NextHops,
    health: Health,
    probes: Probes,
    /// Requests that went over TCP for their length alone, until their first answer.
    long: IdMap<ClientId, Long>,
    /// No request is longer than its trunk wants over UDP that has no more bytes than this.
    shortest_long: usize,
    /// Who refused TCP when a long request came that way.
    no_tcp: Health,
    /// Who waits for which lookup.
    waiters: IdMap<Ticket, Waiter>,
    /// Who waits for other workers.
    elsewhere: Elsewhere,
    /// Where users are reached.
    registrar: Registrar,
    /// What is done to messages at the boundary to their trunks.
    boundary: Boundary,
    /// Who is asked for credentials.
    admission: Admission,
    /// Who asks us for credentials.
    proofs: Proofs,
    /// With whom we are registered.
    registrations: Registrations,
    /// Who has answered calls that are forgotten.
    strays: Strays,
    /// Requests that were sent again after the end of their stream.
    resent: IdSet<ClientId>,
    timers: Timers,
    /// The calls of each trunk, by position in the policy.
    trunk_calls: Vec<Arc<TrunkCalls>>,
    /// Which calls of a blacklisted share are refused is drawn from this.
    draws: Cell<u64>,
    /// The first input has come, and with it the time.
    started: bool,
    /// The time of the last input.
    latest: u64,
    /// What the wall clock shows.
    wall: Wall,
    /// What is written down of the calls of the process before.
    before: Before,
    /// Calls that may be over: looked at when the input has been handled.
    ending: Vec<SessionId>,
    outputs: VecDeque<Output>,
    /// Put behind the datagrams of their step.
    observations: Vec<Observation>,
    /// Calls in progress: a call that has ended stays in `calls` until its transactions have run out.
    live: usize,
    counters: Counters,
}

/// What a server transaction is for.
#[derive(Debug, Clone, Copy)]
enum ServerUse {
    /// The first INVITE of a call.
    Invite(SessionId),
    /// A re-INVITE of a side.
    Reinvite(SessionId, Side),
}

/// What a client transaction is for.
enum ClientUse {
    /// The first INVITE of a call, to the callee.
    Invite(SessionId),
    /// A re-INVITE to a side.
    Reinvite(SessionId, Side),
    /// What was made of an UPDATE or PRACK of the other side, to a side.
    Update(SessionId, Side),
    /// Our own refresh of the session of a side.
    Refresh(SessionId, Side),
    /// A re-INVITE of a call that is made for a transfer, in the dialog of a side of another one.
    Join(SessionId, (SessionId, Side)),
    /// A NOTIFY of a transfer, to a side; the last one, or not.
    Notify(SessionId, Side, bool),
    /// A BYE: its answer changes nothing.
    Bye(SessionId),
    /// A BYE to who has answered a call that is forgotten.
    Stray,
    /// A PRACK: its answer changes nothing.
    Prack(SessionId),
    /// An OPTIONS that asks a hop of a trunk whether it is alive.
    Probe(usize, Hop),
    /// An OPTIONS that keeps a binding alive.
    KeepAlive(u64),
    /// A REGISTER of ours, to a trunk.
    Register(usize),
    /// A request that is carried to the other side and its answer back.
    Pass(Box<Passing>),
}

impl ClientUse {
    /// The call whose end waits for the transaction.
    fn call(&self) -> Option<SessionId> {
        match self {
            ClientUse::Invite(call) | ClientUse::Reinvite(call, _) | ClientUse::Update(call, _) => Some(*call),
            ClientUse::Refresh(call, _) | ClientUse::Bye(call) | ClientUse::Prack(call) => Some(*call),
            ClientUse::Join(call, _) | ClientUse::Notify(call, ..) => Some(*call),
            ClientUse::Stray | ClientUse::Probe(..) | ClientUse::KeepAlive(_) => None,
            ClientUse::Register(_) | ClientUse::Pass(_) => None,
        }
    }
}

/// A message in hand, with where it came from.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    now: u64,
    flow: Flow,
    message: Message<'a>,
    /// Who sent it, if credentials were asked for and are right.
    user: Option<&'a [u8]>,
}

impl Worker {
    /// A worker with no calls, in its place among the workers of its process: a node's number alone says that it
    /// is the only one. `entropy` must be cryptographic outside tests: guessing an identifier would let a stranger
    /// into a dialog.
    pub fn new(place: impl Into<Place>, policy: impl Into<Arc<Policy>>, mut entropy: Entropy) -> Worker {
        let (place, policy) = (place.into(), policy.into());
        let (lottery, draws) = (targets::lottery(entropy()), entropy());
        let admission = Admission::new(&policy, &mut entropy);
        let proofs = Proofs::new(&policy);
        let trunk_calls = limits::of_trunks(&place, &policy);
        Worker {
            identities: Identities::new(place.clone(), entropy),
            layer: Layer::new(SipTimers::default(), adopt::transactions(&policy)),
            place,
            calls: IdMap::default(),
            tags: IdMap::default(),
            subscriptions: IdMap::default(),
            subscription_tags: IdMap::default(),
            forks: IdMap::default(),
            errands: IdMap::default(),
            servers: IdMap::default(),
            clients: IdMap::default(),
            media: MediaLink::default(),
            locator: Locator::new(lottery),
            next_hops: NextHops::new(policy.listeners.clone()),
            health: Health::new(),
            probes: Probes::default(),
            long: IdMap::default(),
            shortest_long: adopt::shortest_long(&policy),
            no_tcp: Health::new(),
            waiters: IdMap::default(),
            elsewhere: Elsewhere::default(),
            registrar: Registrar::default(),
            boundary: Boundary::of(&policy),
            admission,
            proofs,
            registrations: Registrations::default(),
            strays: Strays::default(),
            resent: IdSet::default(),
            timers: Timers::default(),
            trunk_calls,
            draws: Cell::new(draws),
            started: false,
            latest: 0,
            wall: Wall::default(),
            before: Before::default(),
            ending: Vec::new(),
            outputs: VecDeque::new(),
            observations: Vec::new(),
            live: 0,
            counters: Counters::default(),
            policy,
        }
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: u64, input: Input<'_>) {
        self.latest = now;
        if !std::mem::replace(&mut self.started, true) {
            self.start(now);
        }
        match input {
            Input::Message { flow, bytes } => self.message(now, flow, bytes),
            Input::Broken { flow } => {
                self.stream_broken(now, flow);
                self.stream_ended(now, flow);
                self.register_over_another(now, flow);
            }
            Input::Dns { number, answer } => self.dns_answer(now, number, answer),
            Input::News(news) => self.news(news),
            Input::Stored(entries) => self.stored(now, entries),
            Input::Begun { records, ended, until } => self.begun(records, ended, until),
            Input::Verdict { request, verdict } => self.verdict(now, request, verdict),
            Input::Media(MediaInput::Connected(hello)) => self.media_connected(now, &hello),
            Input::Media(MediaInput::Disconnected) => self.media_disconnected(now),
            Input::Media(MediaInput::Reply { request, reply }) => self.media_reply(now, request, reply),
            Input::Media(MediaInput::Event(event)) => self.media_event(now, event),
            Input::HangUp(call) => self.operator_hangs_up(now, call),
            Input::Wall(wall) => self.wall = wall,
            Input::Policy(policy) => self.adopt_policy(now, policy),
            Input::Timeout => self.timeout(now),
        }
        self.settle(now);
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The limits that it shares with the other workers of its process.
    pub fn limits(&self) -> &Arc<Limiter> {
        &self.place.limits
    }

    /// The calls in progress in its process, and whether new ones are taken.
    pub fn calls(&self) -> &Arc<Concurrency> {
        &self.place.calls
    }

    /// What the wall clock shows, as it was told last.
    pub fn wall(&self) -> Wall {
        self.wall
    }

    /// When to handle [`Input::Timeout`], in the time of `handle`; `None` while no timer runs.
    pub fn next_timeout(&self) -> Option<u64> {
        let start = (!self.started && self.has_to_start()).then_some(0);
        let next = [start, self.layer.next_timeout(), self.timers.next(), self.locator.next_timeout()];
        next.into_iter().flatten().min()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let resting = if self.place.index == 0 { self.health.resting(self.latest) } else { 0 };
        Counters {
            calls_active: self.live as u64,
            transactions_active: self.layer.len() as u64,
            calls_kept: self.calls.len() as u64,
            subscriptions_active: self.subscriptions.len() as u64,
            targets_resting: resting as u64,
            ..self.counters
        }
    }

    fn timeout(&mut self, now: u64) {
        self.layer.handle_timeout(now);
        self.locator.handle_timeout(now);
        while let Some(due) = self.timers.due(now) {
            match due {
                Due::Phase(call) => self.phase_over(now, call),
                Due::Confirm(call, side) => self.confirm_again(now, call, side),
                Due::Reinvite(call, side) => self.reinvite_over(now, call, side),
                Due::Update(call, side) => self.update_over(now, call, side),
                Due::Session(call, side) => self.session_due(now, call, side),
                Due::Join(call) => self.join_again(now, call),
                Due::Elsewhere(number) => self.owner_answered(now, number, None),
                Due::Linger(call) => self.linger_over(call),
                Due::Subscription(id) => self.drop_subscription(id),
                Due::Reliable(call) => self.reliable_again(now, call),
                Due::Silent(call) => self.silent(now, call),
                Due::NoAnswer(call) => self.not_answered(now, call),
                Due::Names => self.look_up_names(now),
                Due::Probe(trunk) => self.probe_trunk(now, trunk),
                Due::Expiry(serial) => self.unbind(now, serial),
                Due::KeepAlive(serial) => self.keep_alive(now, serial),
                Due::Registration(trunk) => self.register_with(now, trunk),
                Due::Verdict(request) => self.verdict(now, request, Verdict::Unavailable),
                Due::Errand(id) => self.errand_silent(now, id),
                Due::Media => self.work_backlog(now),
                Due::Interim(call) => self.interim_due(now, call),
            }
        }
    }

    /// Carries out what the transaction layer wants, and forgets calls that are over.
    fn settle(&mut self, now: u64) {
        self.poll_locator(now);
        while let Some(event) = self.layer.poll_event() {
            match event {
                Event::Unreachable(client) if self.over_udp(now, client) => {}
                Event::TimedOut(client) | Event::Unreachable(client) => self.unanswered(now, client),
                Event::ClientEnded(client) => self.client_ended(now, client),
                Event::ServerEnded(server) | Event::NoAck(server) => {
                    self.servers.remove(&server);
                }
            }
        }
        self.tell_counted();
        while let Some(transmit) = self.layer.poll_transmit() {
            self.counters.retransmissions += u64::from(transmit.retransmission);
            self.cross_out(transmit.flow, transmit.bytes);
        }
        while let Some(id) = self.ending.pop() {
            self.record(now, id);
            self.complete_record(id);
            if self.calls.get(&id).is_some_and(|call| call.is_over()) {
                self.forget(id);
            }
        }
        self.outputs.extend(self.observations.drain(..).map(Output::Observe));
    }

    fn client_ended(&mut self, now: u64, client: ClientId) {
        self.not_long(client);
        self.proofs.ended(client);
        self.resent.remove(&client);
        let Some(usage) = self.clients.remove(&client) else { return };
        if let ClientUse::Invite(id) = &usage {
            self.invite_ended(now, client, *id);
        }
        if let ClientUse::Probe(trunk, hop) = &usage {
            self.probes.ended(*trunk, *hop);
        }
        if let Some(call) = usage.call()
            && let Some(known) = self.calls.get_mut(&call)
        {
            known.clients = known.clients.saturating_sub(1);
            self.ending.push(call);
        }
    }

    fn observe(&mut self, observation: Observation) {
        self.observations.push(observation);
    }

    fn advertised(&self, listener: usize) -> SocketAddr {
        self.policy.listeners[listener].advertised
    }

    /// How this host is shown to the far end of a flow.
    fn shown(&self, flow: Flow) -> Shown {
        boundary::shown(&self.policy, self.boundary, flow)
    }

    /// Answers a request and keeps no more state for it.
    fn refuse(&mut self, arrival: Arrival<'_>, server: ServerId, status: u16, reason: &[u8]) {
        let answer = self.answer_to(arrival, status, reason);
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    fn not_allowed(&mut self, arrival: Arrival<'_>, server: ServerId, status: u16, reason: &[u8]) {
        let answer = self.answer_to(arrival, status, reason).header("Allow", ALLOW);
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// A final answer with a fresh tag (RFC 3261 8.2.6.2).
    fn answer_to(&mut self, arrival: Arrival<'_>, status: u16, reason: &[u8]) -> Writer {
        let call = self.identities.call();
        let tag = self.identities.token(call).to_string();
        respond(arrival.message, arrival.flow.remote, status, reason, Some(tag.as_bytes()))
    }

    fn transmit_stateless(&mut self, arrival: Arrival<'_>, bytes: Vec<u8>) {
        let flow = moorline_sip::transaction::response_flow(arrival.flow, arrival.message);
        self.cross_out(flow, bytes.into());
    }
}
