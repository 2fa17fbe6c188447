//! The event loop of a worker's thread: the only reader of the clock there, and the only owner of the worker.

mod carry_out;
mod held;
mod looks;
mod questions;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use moorline_b2bua::policy::Policy;
use moorline_b2bua::{Dispatch, Edge, Input, Judgement, MediaInput, News, Observation, Outbox, Reason, Worker};
use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Transport};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::cdr::{Before, Handover};
use crate::clock::{WallClock, now_ns, until};
use crate::limits::Limits;
use crate::mail::{Inbox, Mail, Workers};
use crate::media_client::{MediaClient, MediaEvent};
use crate::metrics::Statistics;
use crate::radius::{self, Judged};
use crate::reload::{Settings, UsedTrunks};
use crate::resolver::{Answered, Questions};
use crate::store::{Entry, Store};
use crate::transport::streams::StreamQueue;
use crate::transport::udp::{Batch, UdpTransport};

use held::{Held, Step};
pub(crate) use questions::Question;

/// Where verdicts on credentials are asked for, and where they come from.
pub(crate) type Verdicts = (radius::Questions, mpsc::Receiver<Judged>);

/// The namespace of registered endpoints in the store.
const BINDINGS: &str = "bindings";

/// The most letters taken in one turn, so that sockets, timers and the media get theirs.
const LETTERS: usize = 64;

/// How long news wait that another worker had no room for, until they are offered again.
const TELL_AGAIN_NS: u64 = 5_000_000;

/// Datagrams that are sent without waiting for the end of the turn: one that was answered has waited long enough.
const FLUSH: usize = 16;

/// Drives the worker: every input with the time it came at, every output carried out before the next input, though
/// datagrams leave together at the end of a turn.
pub(crate) struct EventLoop {
    worker: Worker,
    /// Which of the process's workers it is.
    place: usize,
    udp: UdpTransport,
    edge: Edge,
    dispatch: Dispatch,
    index: Box<Index>,
    /// To ask who is known; and where the next one comes from.
    policy: Arc<Policy>,
    policies: watch::Receiver<Arc<Policy>>,
    settings: watch::Receiver<Arc<Settings>>,
    /// Where it is asked which trunks calls use.
    used: mpsc::Receiver<UsedTrunks>,
    workers: Workers,
    inbox: Inbox,
    /// What the other workers are to be told.
    outbox: Outbox,
    streams: StreamQueue,
    /// Streams that something could not be given to.
    broken: Vec<Flow>,
    media: MediaClient,
    questions: Questions,
    answers: mpsc::Receiver<Answered>,
    verdicts: Option<Verdicts>,
    /// Where the first worker writes what must outlive it.
    store: Option<Store>,
    /// What is carried out next.
    steps: VecDeque<Step>,
    /// What waits until calls are written down.
    held: Held,
    /// Where the process asks for what this worker knows.
    desk: mpsc::Receiver<Question>,
    statistics: Statistics,
    /// What was observed of datagrams that are not sent yet.
    observed: Vec<Observation>,
    /// When messages came whose forwarded form is not sent yet.
    forwarded: Vec<u64>,
    wall_clock: WallClock,
    limits: Arc<Limits>,
    /// The time of the last input.
    now: u64,
}

/// What an event loop is made of.
pub(crate) struct Parts {
    pub(crate) worker: Worker,
    pub(crate) place: usize,
    pub(crate) udp: UdpTransport,
    pub(crate) edge: Edge,
    pub(crate) dispatch: Dispatch,
    pub(crate) policies: watch::Receiver<Arc<Policy>>,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) used: mpsc::Receiver<UsedTrunks>,
    pub(crate) workers: Workers,
    pub(crate) inbox: Inbox,
    pub(crate) streams: StreamQueue,
    pub(crate) media: MediaClient,
    pub(crate) dns: (Questions, mpsc::Receiver<Answered>),
    pub(crate) radius: Option<Verdicts>,
    pub(crate) store: Option<(Store, Vec<Entry>)>,
    pub(crate) records: Option<Arc<Before>>,
    pub(crate) handover: Option<Handover>,
    pub(crate) desk: mpsc::Receiver<Question>,
    pub(crate) wall_clock: WallClock,
    pub(crate) limits: Arc<Limits>,
}

/// What ended a wait.
enum Wake {
    Readable(usize),
    Mail(Mail),
    News(News),
    Media,
    Dns(Answered),
    Verdict(Judged),
    Question(Question),
    Policy,
    Used(UsedTrunks),
    Written,
    Timer,
    Stop,
}

impl EventLoop {
    pub(crate) fn new(parts: Parts) -> EventLoop {
        let Parts { worker, place, udp, edge, dispatch, policies, used, workers, inbox, streams, media, dns, .. } =
            parts;
        let (questions, answers) = dns;
        let policy = Arc::clone(&policies.borrow());
        let (store, entries) = parts.store.map_or((None, Vec::new()), |(store, entries)| (Some(store), entries));
        let mut event_loop = EventLoop {
            worker,
            place,
            udp,
            edge,
            dispatch,
            index: Box::new(Index::new()),
            policy,
            policies,
            settings: parts.settings,
            used,
            outbox: Outbox::new(place, workers.len()),
            workers,
            inbox,
            streams,
            broken: Vec::new(),
            media,
            questions,
            answers,
            verdicts: parts.radius,
            store,
            steps: VecDeque::new(),
            held: Held::new(parts.handover),
            desk: parts.desk,
            statistics: Statistics::new(),
            observed: Vec::new(),
            forwarded: Vec::new(),
            wall_clock: parts.wall_clock,
            limits: parts.limits,
            now: 0,
        };
        event_loop.look_at_the_wall(now_ns());
        if let Some(before) = parts.records {
            let (records, ended) = (before.open.clone(), before.ended.clone());
            event_loop.handle(now_ns(), Input::Begun { records, ended, until: before.until });
        }
        let stored = entries.into_iter().filter(|entry| entry.namespace == BINDINGS);
        let stored: Vec<_> = stored.map(|entry| (entry.key, entry.value)).collect();
        if !stored.is_empty() {
            event_loop.handle(now_ns(), Input::Stored(stored));
        }
        event_loop
    }

    /// Serves until `stop` is ready. Calls are left as they are, to whoever comes next.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut batch = Batch::new();
        loop {
            let wake = self.wait(stop.as_mut()).await;
            self.look_at_the_wall(now_ns());
            self.look_at_the_policy(matches!(wake, Wake::Policy));
            match wake {
                Wake::Readable(listener) => self.receive(&mut batch, listener),
                Wake::Mail(mail) => self.take_mail(mail),
                Wake::News(news) => self.take_news(news),
                Wake::Media => self.media_events(),
                Wake::Verdict((request, verdict)) => self.handle(now_ns(), Input::Verdict { request, verdict }),
                Wake::Dns((number, answer)) => self.handle(now_ns(), Input::Dns { number, answer }),
                Wake::Question(question) => self.reply(question),
                // Whoever has asked may have gone.
                Wake::Used(ask) => drop(ask.send(self.worker.trunks_in_use())),
                Wake::Timer | Wake::Policy | Wake::Written => {}
                Wake::Stop => return self.end().await,
            }
            for flow in std::mem::take(&mut self.broken) {
                self.handle(now_ns(), Input::Broken { flow });
            }
            // After every turn, so that no flood of inputs holds the timers up.
            let now = now_ns();
            if self.worker.next_timeout().is_some_and(|at| at <= now) {
                self.handle(now, Input::Timeout);
            }
            self.flush();
        }
    }

    async fn wait(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Wake {
        let (udp, media) = (&mut self.udp, &mut self.media);
        poll_fn(|cx| {
            media.write(cx);
            Poll::Ready(())
        })
        .await;
        let again = (!self.outbox.is_empty()).then(|| now_ns() + TELL_AGAIN_NS);
        let broken = (!self.broken.is_empty()).then_some(0);
        let held = &self.held;
        let timeouts = [self.worker.next_timeout(), media.next_timeout(), again, broken, held.deadline()];
        let deadline = timeouts.into_iter().flatten().min();
        tokio::select! {
            () = stop => Wake::Stop,
            listener = poll_fn(|cx| udp.poll_readable(cx)) => Wake::Readable(listener),
            Some(mail) = self.inbox.mail.recv() => Wake::Mail(mail),
            Some(news) = self.inbox.news.recv() => Wake::News(news),
            () = poll_fn(|cx| media.poll(cx)) => Wake::Media,
            () = held.told() => Wake::Written,
            Some(answered) = self.answers.recv() => Wake::Dns(answered),
            Some(judged) = verdict(&mut self.verdicts) => Wake::Verdict(judged),
            Some(question) = self.desk.recv() => Wake::Question(question),
            Some(ask) = self.used.recv() => Wake::Used(ask),
            Ok(()) = self.policies.changed() => Wake::Policy,
            () = sleep(deadline.map(until).unwrap_or_default()), if deadline.is_some() => Wake::Timer,
        }
    }

    fn receive(&mut self, batch: &mut Batch, listener: usize) {
        self.udp.receive(listener, batch);
        for position in 0..batch.len() {
            let Some(datagram) = batch.get(position) else { continue };
            let flow = Flow::new(listener, Transport::Udp, datagram.source);
            self.datagram(flow, datagram.bytes, datagram.at);
            if self.udp.waiting() >= FLUSH {
                self.flush();
            }
        }
    }

    /// Lets a datagram in, or not, and gives it to the worker that it is for.
    fn datagram(&mut self, flow: Flow, bytes: &[u8], received_at: u64) {
        let waited_ns = now_ns().saturating_sub(received_at);
        let policy = &self.policy;
        let is_known = || policy.ingress(flow).is_some();
        let new_call = match self.edge.admit(received_at, flow, bytes, waited_ns, is_known) {
            Judgement::Pass { new_call } => new_call,
            Judgement::Drop(reason) => return self.statistics.overload(reason),
            Judgement::Refuse(reason) => return self.refuse(flow, bytes, reason),
        };
        let owner = self.owner(flow, bytes, received_at, false);
        if owner == self.place {
            return self.message(flow, bytes, received_at);
        }
        if self.hand_over(owner, Mail::Message { flow, bytes: bytes.into(), received_at }) {
            return;
        }
        if new_call {
            self.refuse(flow, bytes, Reason::Queue);
        } else {
            // Left to be sent again.
            self.statistics.overload(Reason::Queue);
        }
    }

    fn owner(&mut self, flow: Flow, bytes: &[u8], now: u64, handed: bool) -> usize {
        if self.workers.len() == 1 {
            return self.place;
        }
        // Keep-alives and what cannot be read are counted where they came, and so is what strangers send.
        match self.index.parse(bytes) {
            Ok(message) if handed || self.policy.ingress(flow).is_some() || !message.is_request() => {
                self.dispatch.route(now, message, self.place, handed)
            }
            _ => self.place,
        }
    }

    fn hand_over(&mut self, owner: usize, mail: Mail) -> bool {
        let taken = self.workers.offer(owner, mail);
        self.statistics.handed_over += u64::from(taken);
        taken
    }

    fn refuse(&mut self, flow: Flow, invite: &[u8], reason: Reason) {
        self.statistics.overload(reason);
        if let Some((flow, answer)) = self.edge.refusal(flow, &self.policy.without_secrets(flow, invite)) {
            self.transmit(flow, answer.into());
        }
    }

    fn take_mail(&mut self, first: Mail) {
        let mut next = Some(first);
        for _ in 0..LETTERS {
            let Some(mail) = next.take().or_else(|| self.inbox.mail.try_recv().ok()) else { return };
            match mail {
                Mail::Message { flow, bytes, received_at } => {
                    let owner = self.owner(flow, &bytes, received_at, true);
                    if owner == self.place {
                        self.message(flow, &bytes, received_at);
                    } else if !self.hand_over(owner, Mail::Message { flow, bytes, received_at }) {
                        self.statistics.overload(Reason::Queue);
                    }
                }
                Mail::Broken { flow } => self.handle(now_ns(), Input::Broken { flow }),
            }
            if self.udp.waiting() >= FLUSH {
                self.flush();
            }
        }
    }

    fn take_news(&mut self, first: News) {
        let mut next = Some(first);
        for _ in 0..LETTERS {
            let Some(news) = next.take().or_else(|| self.inbox.news.try_recv().ok()) else { return };
            self.look_at_the_policy(false);
            self.handle(now_ns(), Input::News(news));
        }
    }

    /// A message for this worker, which is told when it came unless it has been told a later time since.
    fn message(&mut self, flow: Flow, bytes: &[u8], received_at: u64) {
        let at = self.now.max(received_at);
        self.statistics.waited(at, at - received_at);
        self.now = at;
        self.worker.handle(at, Input::Message { flow, bytes });
        self.carry_out(Some((flow, received_at)));
    }

    fn media_events(&mut self) {
        while let Some(event) = self.media.pop() {
            let input = match event {
                MediaEvent::Connected(hello) => {
                    self.statistics.media_connections += 1;
                    MediaInput::Connected(hello)
                }
                MediaEvent::Reply(request, reply) => MediaInput::Reply { request, reply },
                MediaEvent::Event(event) => MediaInput::Event(event),
                MediaEvent::Disconnected => {
                    self.held.disconnected();
                    MediaInput::Disconnected
                }
            };
            self.handle(now_ns(), Input::Media(input));
            if self.udp.waiting() >= FLUSH {
                self.flush();
            }
        }
    }

    fn handle(&mut self, now: u64, input: Input<'_>) {
        self.now = self.now.max(now);
        self.worker.handle(self.now, input);
        self.carry_out(None);
    }
}

/// The next verdict; never, where nobody is asked.
async fn verdict(verdicts: &mut Option<Verdicts>) -> Option<Judged> {
    match verdicts {
        Some((_, judged)) => judged.recv().await,
        None => std::future::pending().await,
    }
}
