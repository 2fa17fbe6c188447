//! The run itself: a worker, its media process, the parties and the network between, in virtual time.

use std::collections::HashMap;
use std::net::SocketAddr;

use moorline_b2bua::policy::{self, Listener, Policy, Route, Trunk};
use moorline_b2bua::{Input, MediaInput, Observation, Output, Worker};
use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Message, Method, Transport, Uri};

use super::media::{MediaProcess, RANGES};
use super::network::{Datagram, Fate, Network};
use super::party::{Origin, Party, Role};
use super::plan::{Fault, Final, MS, Plan, SECOND};
use super::random::Random;
use super::trace::{Detail, Trace, Way};
use super::wire::Wire;
use super::{NETWORKS, NUMBERS, Run, verdict};

/// No run is longer than this; one that is does not end at all.
const LONGEST_RUN: u64 = 3_600 * SECOND;

/// No run has more steps than this.
const MOST_STEPS: usize = 200_000;

/// A call in which nothing has happened for this long is said to be settled.
const SETTLING: u64 = 2 * SECOND;

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: u64,
    pub(super) parties: Vec<Party>,
    pub(super) media: MediaProcess,
    pub(super) network: Network,
    /// `None` while signaling is down.
    pub(super) worker: Option<Worker>,
    pub(super) observations: Vec<Observation>,
    pub(super) faults: Vec<String>,
    /// Calls that a fault of Moorline's processes found in the middle of something.
    pub(super) disturbed: Vec<bool>,
    policy: Policy,
    wire: Wire,
    trace: Trace,
    random: Random,
    agenda: Vec<(u64, Happening)>,
    /// By address and Call-ID.
    by_dialog: HashMap<(SocketAddr, Vec<u8>), usize>,
    workers: u64,
    faulted_at: Option<u64>,
}

/// Something that happens to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Call(usize),
    Fault(Fault),
    SignalingBack,
    MediaBack { restarted: bool },
}

impl World {
    /// Plays a run to its end.
    pub(super) fn play(seed: u64, plan: Plan, detail: Detail) -> Run {
        let mut random = Random::new(seed ^ 0x6d6f_6f72_6c69_6e65);
        let media = match MediaProcess::new(plan.capacity, plan.media_delay, random.fork()) {
            Ok(media) => media,
            Err(error) => return Run { faults: vec![error], trace: String::new(), endings: Vec::new() },
        };
        let calls = plan.calls.iter().enumerate().map(|(call, plan)| (plan.at + SECOND, Happening::Call(call)));
        let faults = plan.faults.iter().map(|(at, fault)| (at + SECOND, Happening::Fault(*fault)));
        let mut world = World {
            now: 0,
            parties: Vec::new(),
            media,
            network: Network::new(plan.network.clone(), random.fork()),
            worker: None,
            observations: Vec::new(),
            faults: Vec::new(),
            disturbed: vec![false; plan.calls.len()],
            policy: policy(&plan),
            wire: Wire::default(),
            trace: Trace::new(detail),
            agenda: calls.chain(faults).collect(),
            by_dialog: HashMap::new(),
            workers: 0,
            faulted_at: None,
            random,
            plan,
        };
        let plan = format!("{:#?}", world.plan);
        world.trace.note(0, || plan);
        world.start_signaling();
        world.go_on();
        let endings = verdict::judge(&mut world);
        let World { faults, trace, .. } = world;
        Run { faults, trace: trace.finish(), endings }
    }

    fn go_on(&mut self) {
        for _ in 0..MOST_STEPS {
            let Some(next) = self.next() else { return };
            self.now = self.now.max(next);
            if self.now > LONGEST_RUN {
                return self.fault("the run does not end".into());
            }
            self.step();
        }
        self.fault("the run has too many steps".into());
    }

    /// When something happens next; `None` when nothing ever will.
    fn next(&self) -> Option<u64> {
        let worker = self.worker.as_ref().and_then(Worker::next_timeout);
        let parties = self.parties.iter().filter_map(Party::next_timeout).min();
        let agenda = self.agenda.iter().map(|(at, _)| *at).min();
        [worker, parties, agenda, self.network.next_arrival(), self.media.next_timeout()].into_iter().flatten().min()
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(position) = self.agenda.iter().position(|(at, _)| *at <= now) {
            let (_, happening) = self.agenda.remove(position);
            self.happen(happening);
        }
        if self.worker.as_ref().and_then(Worker::next_timeout).is_some_and(|at| at <= now) {
            self.tell_worker(Input::Timeout);
        }
        while let Some(datagram) = self.network.arrived(now) {
            self.deliver(datagram);
        }
        self.media.handle_timeout(now);
        self.hear_media_process();
        for position in 0..self.parties.len() {
            if self.parties[position].next_timeout().is_some_and(|at| at <= now) {
                self.parties[position].handle_timeout(now);
                self.carry_out(position);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Call(call) => self.call(call),
            Happening::Fault(fault) => self.befall(fault),
            Happening::SignalingBack => {
                self.trace.note(self.now, || "signaling is back".into());
                self.start_signaling();
            }
            Happening::MediaBack { restarted } => {
                self.trace.note(self.now, || "the control connection is back".into());
                if restarted && let Err(error) = self.media.restart() {
                    self.fault(error);
                }
                self.connect_media();
            }
        }
    }

    /// A caller starts.
    fn call(&mut self, call: usize) {
        let plan = &self.plan.calls[call];
        let listener = usize::from(!plan.outwards);
        let address = address(listener, 10 + call);
        self.join(Role::Caller, call, listener, address, plan.caller.clone());
    }

    fn join(&mut self, role: Role, call: usize, listener: usize, address: SocketAddr, script: super::plan::Script) {
        let origin = Origin {
            call,
            role,
            listener,
            moorline: self.policy.listeners[listener].bind,
            address,
            media_port: 4_000 + 10 * self.parties.len() as u16,
            reliable: self.plan.network.reliable,
            script,
        };
        let party = Party::new(self.now, origin, self.random.fork());
        self.by_dialog.insert((address, party.call_id.clone().into_bytes()), self.parties.len());
        self.parties.push(party);
    }

    fn befall(&mut self, fault: Fault) {
        let now = self.now;
        self.trace.note(now, || format!("{fault:?}"));
        self.faulted_at = Some(now);
        // With both processes down nobody knows of any call.
        let both =
            self.worker.is_none() || (!self.media.is_connected() && matches!(fault, Fault::SignalingRestart { .. }));
        for call in 0..self.disturbed.len() {
            let started = self.parties.iter().any(|party| party.call == call);
            self.disturbed[call] |= started && (both || !self.is_settled(call)) && !self.is_gone(call);
        }
        match fault {
            Fault::SignalingRestart { down } => {
                self.worker = None;
                self.wire.forget();
                self.media.disconnect(now);
                self.agenda.retain(|(_, other)| !matches!(other, Happening::SignalingBack));
                self.agenda.push((now + down, Happening::SignalingBack));
            }
            Fault::MediaRestart { down } | Fault::ConnectionLost { down } => {
                let restarted = matches!(fault, Fault::MediaRestart { .. });
                if self.media.is_connected() {
                    self.media.disconnect(now);
                    self.tell_worker(Input::Media(MediaInput::Disconnected));
                    self.agenda.push((now + down, Happening::MediaBack { restarted }));
                }
            }
            Fault::MediaBusy { during } => self.media.busy_until = now + during,
        }
    }

    fn start_signaling(&mut self) {
        self.workers += 1;
        let mut entropy = Random::new(self.workers ^ self.random.next());
        self.worker = Some(Worker::new(1, self.policy.clone(), Box::new(move || entropy.next())));
        let comes_back = self.agenda.iter().any(|(_, other)| matches!(other, Happening::MediaBack { .. }));
        if !comes_back {
            self.connect_media();
        }
    }

    fn connect_media(&mut self) {
        if self.worker.is_some() && !self.media.is_connected() {
            let hello = self.media.connect();
            self.tell_worker(Input::Media(MediaInput::Connected(hello)));
        }
    }

    fn hear_media_process(&mut self) {
        while let Some(said) = self.media.reply(self.now) {
            if let MediaInput::Event(event) = &said {
                self.trace.note(self.now, || format!("{event:?}"));
            }
            self.tell_worker(Input::Media(said));
        }
    }

    fn tell_worker(&mut self, input: Input<'_>) {
        let Some(mut worker) = self.worker.take() else { return };
        worker.handle(self.now, input);
        while let Some(output) = worker.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.transmit(flow, &bytes),
                Output::Media { request, body } => self.media.request(self.now, request, body),
                // Every target is an address: there is no name to look up.
                Output::Dns(question) => self.fault(format!("a question to DNS: {question:?}")),
                // There is one worker, and nobody registers or has a name.
                other @ (Output::Tell(_) | Output::Store { .. } | Output::Verify { .. } | Output::Name { .. }) => {
                    self.fault(format!("nobody asked for {other:?}"));
                }
                Output::Observe(observation) => {
                    self.trace.note(self.now, || format!("{observation:?}"));
                    self.observations.push(observation);
                }
            }
        }
        self.worker = Some(worker);
    }

    /// Moorline sends a message.
    fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        for fault in self.wire.check(flow.listener, flow.remote, bytes, &self.media) {
            self.fault(format!("to {}: {fault}\n{}", flow.remote, String::from_utf8_lossy(bytes)));
        }
        let mut index = Index::new();
        let message = index.parse(bytes).ok();
        let call_id = message.and_then(|message| message.call_id().ok()).unwrap_or_default();
        if let Some(position) = self.by_dialog.get(&(flow.remote, call_id.to_vec())) {
            self.parties[*position].stirred_at = self.now;
        }
        let from = self.policy.listeners[flow.listener].bind;
        let fate = self.network.send(self.now, Datagram { from, to: flow.remote, bytes: bytes.to_vec() });
        if fate == Fate::Lost {
            let remark = format!(" to {} is LOST", flow.remote);
            self.trace.message(self.now, flow.listener, "", Way::FromMoorline, bytes, &remark);
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let Datagram { from, to, bytes } = datagram;
        if let Some(listener) = self.policy.listeners.iter().position(|listener| listener.bind == to) {
            let mut index = Index::new();
            let call_id = index.parse(&bytes).ok().and_then(|message| Some(message.call_id().ok()?.to_vec()));
            let position = call_id.and_then(|call_id| self.by_dialog.get(&(from, call_id)));
            let party = position.map(|position| &self.parties[*position]);
            let (name, mut remark) = (party.map_or("", |party| &party.name), "");
            if party.is_some_and(|party| party.has_vanished(self.now)) || self.worker.is_none() {
                remark = " NOT HEARD";
            }
            if let Some(party) = party.filter(|_| self.worker.is_none() && self.plan.network.reliable) {
                // The connection broke, and nobody repeats what was on it.
                self.disturbed[party.call] = true;
            }
            self.trace.message(self.now, listener, name, Way::ToMoorline, &bytes, remark);
            if remark.is_empty() {
                let flow = Flow { listener, transport: Transport::Udp, remote: from };
                self.tell_worker(Input::Message { flow, bytes: &bytes });
            }
            return;
        }
        let mut index = Index::new();
        // What cannot be read was found at fault when it was sent.
        let Ok(message) = index.parse(&bytes) else { return };
        let Some(position) = self.party_for(to, message) else {
            return self.fault(format!("for nobody, to {to}\n{}", String::from_utf8_lossy(&bytes)));
        };
        let party = &mut self.parties[position];
        let vanished = party.has_vanished(self.now);
        let remark = if vanished { " NOT HEARD" } else { "" };
        self.trace.message(self.now, party.listener, &party.name, Way::FromMoorline, &bytes, remark);
        if !vanished {
            party.handle(self.now, message);
            self.carry_out(position);
        }
    }

    /// The party that a message is for; for the first INVITE of a called party a new one.
    fn party_for(&mut self, to: SocketAddr, message: Message<'_>) -> Option<usize> {
        let key = (to, message.call_id().ok()?.to_vec());
        if let Some(position) = self.by_dialog.get(&key) {
            return Some(*position);
        }
        if message.method() != Some(Method::Invite) || message.to().ok()?.tag().is_some() {
            return None;
        }
        let listener = NETWORKS.iter().position(|network| to.ip().to_string().starts_with(network))?;
        let target = (0..2).find(|target| address(listener, 20 + target) == to)?;
        let user = Uri::parse(message.request_uri()?).ok()?.user?;
        let call: usize = std::str::from_utf8(user).ok()?.strip_prefix(NUMBERS[listener])?.parse().ok()?;
        let script = self.plan.calls.get(call)?.callees[target].clone();
        let dead = matches!(script.answering.last, Final::Dead);
        let position = self.parties.len();
        self.join(Role::Callee(target), call, listener, to, script);
        if dead {
            self.parties[position].vanishes_at = Some(self.now);
        }
        self.by_dialog.insert(key, position);
        Some(position)
    }

    /// Does what a party wants done.
    fn carry_out(&mut self, position: usize) {
        let now = self.now;
        let party = &mut self.parties[position];
        let (from, listener, vanished) = (party.address, party.listener, party.has_vanished(now));
        let (sends, media) = (party.take_sends(), party.take_media());
        let disturbed = self.disturbed[party.call];
        // What was lost with the process may come as a surprise.
        let found: Vec<String> = party.faults.drain(..).filter(|_| !disturbed).collect();
        found.into_iter().for_each(|fault| self.fault(fault));
        if vanished {
            return;
        }
        for bytes in sends {
            let to = self.policy.listeners[listener].bind;
            let fate = self.network.send(now, Datagram { from, to, bytes: bytes.clone() });
            if fate == Fate::Lost {
                let name = self.parties[position].name.clone();
                self.trace.message(now, listener, &name, Way::ToMoorline, &bytes, " LOST");
            }
        }
        media.into_iter().for_each(|to| self.send_media(position, to));
    }

    /// A packet of media: in a settled call it must come out on the other side.
    fn send_media(&mut self, position: usize, to: SocketAddr) {
        // Version 2, payload type 8; what else it holds is nobody's business here.
        const RTP: [u8; 20] = [0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let (from, call) = (self.parties[position].media_address(), self.parties[position].call);
        let settled = self.is_settled(call) && self.media.is_connected() && self.now >= self.media.busy_until + SECOND;
        let heard = self.media.packet(self.now, from, to, &RTP);
        let receiver =
            heard.as_ref().ok().and_then(|(_, to)| self.parties.iter().position(|party| party.media_address() == *to));
        match (heard, receiver) {
            (Ok((local, to)), Some(receiver)) => {
                let party = &mut self.parties[receiver];
                party.record.media_heard += 1;
                if party.call != call {
                    let name = party.name.clone();
                    self.fault(format!("media of call {call} comes out at {name} ({to})"));
                } else if settled && party.media_target().is_some_and(|target| target != local) {
                    let name = party.name.clone();
                    self.fault(format!("media comes to {name} from {local}, which is not where it sends"));
                }
            }
            (Err(_), _) if !self.is_heard(call, position) => {}
            (heard, _) if settled => {
                let name = self.parties[position].name.clone();
                self.fault(format!("media of {name} to {to} does not come out: {heard:?}"));
            }
            _ => {}
        }
    }

    /// Whether somebody listens to a party.
    fn is_heard(&self, call: usize, position: usize) -> bool {
        let mut others =
            self.parties.iter().enumerate().filter(|(other, party)| *other != position && party.call == call);
        others.any(|(_, party)| party.is_settled() && party.listens())
    }

    /// Both parties of the call are in it, and nothing is under way.
    fn is_settled(&self, call: usize) -> bool {
        let quiet = |party: &Party| {
            party.is_settled()
                && !party.has_vanished(self.now)
                && self.now >= party.stirred_at + SETTLING
                && self.network.is_quiet(party.address)
        };
        let parties = self.parties.iter().filter(|party| party.call == call && !party.is_over());
        let (count, settled) = parties.fold((0, true), |(count, all), party| (count + 1, all && quiet(party)));
        count == 2 && settled && self.faulted_at.is_none_or(|at| self.now >= at + SETTLING + 2 * SECOND)
    }

    /// All parties of the call are through with it, and nobody waits for anything.
    fn is_gone(&self, call: usize) -> bool {
        let mut parties = self.parties.iter().filter(|party| party.call == call);
        parties.all(|party| {
            party.is_over() && self.network.is_quiet(party.address) && self.now >= party.stirred_at + 40 * SECOND
        })
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.trace.note(self.now, || format!("FAULT: {fault}"));
        self.faults.push(format!("at {:.3} s: {fault}", self.now as f64 / (1_000 * MS) as f64));
    }
}

fn address(listener: usize, host: usize) -> SocketAddr {
    let ip = if listener == 0 { [192, 0, 2, host as u8] } else { [198, 51, 100, host as u8] };
    SocketAddr::from((ip, 5060))
}

fn policy(plan: &Plan) -> Policy {
    let names = [RANGES[0].0, RANGES[1].0];
    let listener = |side: usize| Listener {
        name: names[side].into(),
        bind: address(side, 1),
        transports: Transport::ALL.to_vec(),
        advertised: address(side, 1),
    };
    let trunk = |side: usize| Trunk {
        name: names[side].into(),
        listener: side,
        sources: vec![ipnet::IpNet::from(address(side, 0).ip())]
            .into_iter()
            .filter_map(|net| ipnet::IpNet::new(net.addr(), 24).ok())
            .collect(),
        targets: vec![address(side, 20).into(), address(side, 21).into()],
        media_range: names[side].into(),
        dialogs: policy::Dialogs {
            reliable_provisional: plan.reliable[side],
            session_timers: plan.timers[side],
            ..policy::Dialogs::default()
        },
        ..Trunk::default()
    };
    let route = |side: usize| Route { prefix: NUMBERS[side].into(), from: None, to: policy::Way::Trunk(side) };
    Policy {
        listeners: vec![listener(0), listener(1)],
        trunks: vec![trunk(0), trunk(1)],
        routes: vec![route(0), route(1)],
        limits: plan.limits.clone(),
    }
}
