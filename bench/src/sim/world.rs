//! The run itself: a worker, its media process, the parties and the network between, in virtual time.

mod policy;
mod streams;
mod talk;
mod traffic;

use std::collections::HashMap;
use std::net::SocketAddr;

use moorline_b2bua::policy::{Policy, Refer};
use moorline_b2bua::{Input, MediaInput, Observation, Output, Worker};
use moorline_control::Reply;
use moorline_sip::transaction::Flow;

use super::media::MediaProcess;
use super::network::Network;
use super::party::{Identity, Origin, Party, Role};
use super::plan::{Fault, MS, Plan, SECOND, Script};
use super::random::Random;
use super::trace::{Detail, Trace};
use super::wire::Wire;
use super::{Run, verdict};
use policy::address;
use streams::Stream;

/// No run is longer than this; one that is does not end at all.
const LONGEST_RUN: u64 = 3_600 * SECOND;

/// No run has more steps than this.
const MOST_STEPS: usize = 200_000;

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
    streams: Vec<Stream>,
    workers: u64,
    faulted_at: Option<u64>,
}

/// Something that happens to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Call(usize),
    Fault(Fault),
    SignalingBack,
    MediaBack {
        restarted: bool,
    },
    /// A stream ends.
    Break,
    /// Moorline hears that one has ended.
    Broken(Flow),
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
        let breaks = plan.breaks.iter().map(|at| (at + SECOND, Happening::Break));
        let mut world = World {
            now: 0,
            parties: Vec::new(),
            media,
            network: Network::new(plan.network.clone(), random.fork()),
            worker: None,
            observations: Vec::new(),
            faults: Vec::new(),
            disturbed: vec![false; plan.calls.len()],
            policy: policy::policy(&plan),
            wire: Wire::default(),
            trace: Trace::new(detail),
            agenda: calls.chain(faults).chain(breaks).collect(),
            by_dialog: HashMap::new(),
            streams: Vec::new(),
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
            Happening::Break => self.break_stream(),
            Happening::Broken(flow) => self.tell_worker(Input::Broken { flow }),
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

    fn join(&mut self, role: Role, call: usize, listener: usize, address: SocketAddr, script: Script) {
        let origin = Origin {
            call,
            role,
            listener,
            moorline: self.policy.listeners[listener].bind,
            address,
            media_port: 4_000 + 10 * self.parties.len() as u16,
            reliable: self.plan.network.reliable,
            streams: self.plan.network.streams,
            script,
            identity: self.identity(call),
            asks: self.plan.sides[listener].asks,
            transfers: self.plan.sides.iter().all(|side| side.refer == Refer::Pass),
        };
        let party = Party::new(self.now, origin, self.random.fork());
        self.by_dialog.insert((address, party.call_id.clone().into_bytes()), self.parties.len());
        self.parties.push(party);
    }

    /// What the called side of a call may know of who calls.
    fn identity(&self, call: usize) -> Identity {
        let private = self.plan.calls[call].caller.calling.private;
        if self.plan.sides.iter().all(|side| side.trusted) {
            Identity::Asserted { private }
        } else if private {
            Identity::Withheld
        } else {
            Identity::Named
        }
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
            let forgets = matches!(fault, Fault::SignalingRestart { .. }) && !self.is_settled(call);
            self.disturbed[call] |= started && (both || forgets) && !self.is_gone(call);
        }
        match fault {
            Fault::SignalingRestart { down } => {
                self.worker = None;
                self.streams.iter_mut().for_each(|stream| stream.open = false);
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
            match &said {
                MediaInput::Event(event) => self.trace.note(self.now, || format!("{event:?}")),
                MediaInput::Reply { reply: Reply::Refused(refusal), .. } => {
                    self.trace.note(self.now, || format!("{refusal:?}"));
                }
                _ => {}
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
                other @ (Output::Tell(_)
                | Output::Counted
                | Output::Store { .. }
                | Output::Verify { .. }
                | Output::Name { .. }) => {
                    self.fault(format!("nobody asked for {other:?}"));
                }
                Output::Record(_) => {}
                Output::Observe(observation) => {
                    self.trace.note(self.now, || format!("{observation:?}"));
                    self.observations.push(observation);
                }
            }
        }
        self.worker = Some(worker);
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.trace.note(self.now, || format!("FAULT: {fault}"));
        self.faults.push(format!("at {:.3} s: {fault}", self.now as f64 / (1_000 * MS) as f64));
    }
}
