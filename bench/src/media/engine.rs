//! The loop of one thread that sends all streams and verifies all arrivals.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::endpoint::Endpoint;
use super::flow::{Flow, Place};
use super::outbox::Outbox;
use super::packet::{Label, Recipe};
use super::receive::{Arrival, Batch};
use super::{Ends, MediaReport, Pace, rtcp};
use crate::{Histogram, clock};

/// The time between two looks at the sockets and two bursts of packets, unless a [`Pace`] says otherwise.
const TICK_NS: u64 = 1_000_000;

/// With a [`Pace`], this much is made up for at once: more would be a burst that no telephone sends.
const CATCH_UP_NS: u64 = 1_000_000;

/// The most bursts in an interval.
const MAX_SLOTS: u64 = 100_000;

/// Stragglers are awaited this long after the last packet was sent.
pub(crate) const DRAIN_NS: u64 = 200_000_000;

/// What the owner of the calls asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Both directions of a call send until stopped. A call starts once.
    Start { call: u32, ends: Ends },
    /// Both directions stop; packets under way are still awaited.
    Stop { call: u32 },
}

/// Running totals that another thread may read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    missed: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Packets after which others of their stream have arrived.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

/// Sends and receives for all calls. Call [`Engine::turn`] until there is no more to do, giving commands
/// in between, then [`Engine::finish`].
pub(crate) struct Engine {
    sides: [Vec<Endpoint>; 2],
    /// Beside each endpoint, what is to leave by it.
    outboxes: [Vec<Outbox>; 2],
    verifier: Verifier,
    /// The streams that send at each tick of the interval.
    slots: Vec<Vec<(u32, usize)>>,
    tick_ns: u64,
    /// How far behind the clock bursts are still made up for.
    catch_up_ns: u64,
    /// Never sleeps: with a [`Pace`] a timer would be late, and dear.
    is_restless: bool,
    next_tick: u64,
    /// The slot of the next tick.
    slot: usize,
    batch: Batch,
    rtcp: bool,
    /// The far end sends back what it gets: side A alone sends, and to itself.
    echo: bool,
    counters: Arc<Counters>,
}

impl Engine {
    pub(crate) fn new(a: Vec<Endpoint>, b: Vec<Endpoint>, packet_ms: u32, rtcp: bool, seed: u64) -> io::Result<Engine> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        if a.is_empty() || b.is_empty() {
            return Err(invalid("each side needs a media socket"));
        }
        if !(5..=60).contains(&packet_ms) {
            return Err(invalid("packet_ms is 5 to 60"));
        }
        let outboxes = [&a, &b].map(|endpoints| endpoints.iter().map(|_| Outbox::new()).collect());
        Ok(Engine {
            sides: [a, b],
            outboxes,
            verifier: Verifier {
                recipe: Recipe { seed, packet_ms, payload_type: 0 },
                calls: Vec::new(),
                report: empty_report(),
                missed: 0,
                echo: false,
            },
            slots: vec![Vec::new(); packet_ms as usize],
            tick_ns: TICK_NS,
            catch_up_ns: u64::MAX,
            is_restless: false,
            next_tick: clock::monotonic(),
            slot: 0,
            batch: Batch::new(),
            rtcp,
            echo: false,
            counters: Arc::default(),
        })
    }

    /// Spreads the packets otherwise. Before the first call.
    pub(crate) fn set_pace(&mut self, pace: Pace) -> io::Result<()> {
        let (interval, tick) = (clock::nanos(pace.interval), clock::nanos(pace.tick));
        let slots =
            interval.checked_div(tick).filter(|slots| (1..=MAX_SLOTS).contains(slots) && slots * tick == interval);
        let slots = slots.ok_or_else(|| {
            let text = "the interval is a multiple of the tick, up to 100,000 of it";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        self.slots = vec![Vec::new(); usize::try_from(slots).unwrap_or_default()];
        (self.tick_ns, self.catch_up_ns, self.slot) = (tick, CATCH_UP_NS.max(tick), 0);
        self.is_restless = true;
        Ok(())
    }

    /// Has the packets carry that payload type instead of 0.
    pub(crate) fn with_payload_type(mut self, payload_type: u8) -> Engine {
        self.verifier.recipe.payload_type = payload_type;
        self
    }

    /// Has side A alone send, and expect its packets back from where they went.
    pub(crate) fn with_echo(mut self) -> Engine {
        (self.echo, self.verifier.echo) = (true, true);
        self
    }

    /// What has arrived so far; losses and jitter are known only in the end.
    pub(crate) fn so_far(&self) -> &MediaReport {
        &self.verifier.report
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Start { call, ends } => self.start(call, ends),
            Command::Stop { call } => {
                for flow in self.verifier.calls.get_mut(call as usize).into_iter().flatten().flatten() {
                    flow.sending = false;
                }
            }
        }
    }

    /// Sleeps until the next tick, or lets others of this core run, receives what waits, sends what is due, and returns the time.
    pub(crate) fn turn(&mut self) -> u64 {
        if self.is_restless {
            std::thread::yield_now();
        } else {
            clock::sleep_until(self.next_tick);
        }
        self.receive();
        let now = clock::monotonic();
        let behind = now.saturating_sub(self.next_tick);
        if behind > self.catch_up_ns {
            let skipped = (behind - self.catch_up_ns) / self.tick_ns;
            self.verifier.report.bursts_skipped += skipped;
            self.next_tick += skipped * self.tick_ns;
        }
        // Ticks that were missed are made up for, so that the rate holds.
        while self.next_tick <= now {
            self.send_slot();
            self.next_tick += self.tick_ns;
        }
        self.counters.sent.store(self.verifier.report.packets_sent, Relaxed);
        self.counters.received.store(self.verifier.report.packets_received, Relaxed);
        self.counters.missed.store(self.verifier.missed, Relaxed);
        now
    }

    /// What was sent until now was to warm up: the report is to be of what comes after, faults excepted.
    pub(crate) fn begin_anew(&mut self) {
        self.verifier.calls.iter_mut().flatten().flatten().for_each(Flow::begin_anew);
        self.verifier.report.one_way.reset();
    }

    /// Stops all streams, waits for what is under way, and sums up.
    pub(crate) fn finish(mut self) -> MediaReport {
        self.slots.iter_mut().for_each(Vec::clear);
        let end = clock::monotonic() + DRAIN_NS;
        while self.turn() < end {}
        self.verifier.sum_up()
    }

    fn start(&mut self, call: u32, ends: Ends) {
        let index = call as usize;
        let (a_far, b_far) = ([ends.a_far, ends.a_far_rtcp], [ends.b_far, ends.b_far_rtcp]);
        if self.verifier.calls.len() <= index {
            self.verifier.calls.resize_with(index + 1, || None);
        }
        let endpoint = |side: usize| index % self.sides[side].len();
        self.verifier.calls[index] = Some([Flow::new(endpoint(0), a_far, b_far), Flow::new(endpoint(1), b_far, a_far)]);
        for side in 0..if self.echo { 1 } else { 2 } {
            // The emptiest slot: streams spread evenly over the packet time.
            if let Some(slot) = self.slots.iter_mut().min_by_key(|slot| slot.len()) {
                slot.push((call, side));
            }
        }
    }

    fn send_slot(&mut self) {
        let Engine { sides, outboxes, verifier, slots, slot, rtcp, .. } = self;
        let Verifier { recipe, calls, report, .. } = verifier;
        slots[*slot].retain(|(call, side)| {
            let flow = calls.get_mut(*call as usize).and_then(|flows| Some(&mut flows.as_mut()?[*side]));
            let Some(flow) = flow.filter(|flow| flow.sending) else { return false };
            let (endpoint, from_a) = (&sides[*side][flow.endpoint], *side == 0);
            let label = Label { call: *call, from_a, index: flow.sent, sent_ns: clock::monotonic() };
            let (outbox, to) = (&mut outboxes[*side][flow.endpoint], flow.to);
            flow.sent += 1;
            // Once in 50 packets, about a second, and not at the very start.
            if let (true, 25, Some(socket)) = (*rtcp, flow.sent % 50, &endpoint.rtcp) {
                let bytes = rtcp::write(recipe.ssrc(*call, from_a), label.sent_ns, flow.sent, recipe.packet_ms * 8);
                match socket.send_to(&bytes, flow.to_rtcp) {
                    Ok(_) => report.rtcp_sent += 1,
                    Err(_) => report.send_errors += 1,
                }
            }
            if outbox.is_full() {
                flush(outbox, endpoint, *side, calls, report);
            }
            outbox.push(*call, to, |packet| recipe.write(label, packet));
            true
        });
        for (side, (outboxes, endpoints)) in outboxes.iter_mut().zip(sides).enumerate() {
            for (outbox, endpoint) in outboxes.iter_mut().zip(endpoints) {
                flush(outbox, endpoint, side, calls, report);
            }
        }
        *slot = (*slot + 1) % slots.len();
    }

    fn receive(&mut self) {
        let offset = clock::realtime_offset();
        for (side, endpoints) in self.sides.iter().enumerate() {
            for endpoint in endpoints {
                self.batch.drain(&endpoint.rtp, offset, |arrival| self.verifier.rtp(side, &arrival));
                if let Some(socket) = &endpoint.rtcp {
                    self.batch.drain(socket, offset, |arrival| self.verifier.rtcp(side, &arrival));
                }
            }
        }
    }
}

/// Sends what waits. A packet that the kernel refused was not sent: its index goes to the next.
fn flush(
    outbox: &mut Outbox,
    endpoint: &Endpoint,
    side: usize,
    calls: &mut [Option<[Flow; 2]>],
    report: &mut MediaReport,
) {
    report.packets_sent += outbox.flush(&endpoint.rtp, |call| {
        report.send_errors += 1;
        if let Some(Some(flows)) = calls.get_mut(call as usize) {
            flows[side].sent -= 1;
        }
    });
}

/// Judges arrivals.
struct Verifier {
    recipe: Recipe,
    /// By call: the flow from A and the flow from B.
    calls: Vec<Option<[Flow; 2]>>,
    report: MediaReport,
    missed: u64,
    /// What side A sends comes back to it.
    echo: bool,
}

impl Verifier {
    fn rtp(&mut self, side: usize, arrival: &Arrival<'_>) {
        let Some(label) = self.recipe.read(arrival.bytes) else {
            self.report.corrupted += 1;
            return;
        };
        let sender = usize::from(!label.from_a);
        let flow = self.calls.get_mut(label.call as usize).and_then(|flows| Some(&mut flows.as_mut()?[sender]));
        let Some(flow) = flow else {
            self.report.corrupted += 1;
            return;
        };
        if (sender == side) != self.echo {
            self.report.crossed += 1;
            return;
        }
        if flow.from != arrival.source {
            let known = self.is_expected(side, arrival.source);
            *(if known { &mut self.report.crossed } else { &mut self.report.wrong_source }) += 1;
            return;
        }
        let transit = arrival.at.saturating_sub(label.sent_ns);
        let missed = flow.missed;
        let counts = flow.counts(label.index);
        let place = flow.arrive(label.index, transit);
        self.missed = self.missed + u64::from(flow.missed) - u64::from(missed);
        match place {
            Place::InOrder => {}
            Place::Late => self.report.reordered += 1,
            Place::Duplicate => {
                self.report.duplicated += 1;
                return;
            }
            Place::Unsent => {
                self.report.corrupted += 1;
                return;
            }
        }
        self.report.packets_received += 1;
        if counts {
            self.report.one_way.saturating_record(transit);
        }
    }

    fn rtcp(&mut self, side: usize, arrival: &Arrival<'_>) {
        let right = rtcp::read(arrival.bytes).is_some_and(|ssrc| {
            let (call, from_a) = self.recipe.stream(ssrc);
            let sender = usize::from(!from_a);
            let flow = self.calls.get(call as usize).and_then(|flows| Some(&flows.as_ref()?[sender]));
            sender != side && flow.is_some_and(|flow| flow.from_rtcp == arrival.source)
        });
        *(if right { &mut self.report.rtcp_received } else { &mut self.report.rtcp_wrong }) += 1;
    }

    /// True if some call's media is to arrive from `source` on `side`.
    fn is_expected(&self, side: usize, source: SocketAddr) -> bool {
        self.calls.iter().flatten().any(|flows| flows[1 - side].from == source)
    }

    fn sum_up(mut self) -> MediaReport {
        let flows = || self.calls.iter().flatten().flatten();
        let (sent, received) = flows()
            .map(|flow| (u64::from(flow.counted()), u64::from(flow.received())))
            .fold((0, 0), |(sent, received), flow| (sent + flow.0, received + flow.1));
        (self.report.packets_sent, self.report.packets_received) = (sent, received);
        self.report.lost = sent - received;
        let jitters: Vec<f64> = flows().filter_map(Flow::jitter_ns).collect();
        if !jitters.is_empty() {
            self.report.jitter_us = jitters.iter().sum::<f64>() / jitters.len() as f64 / 1e3;
            self.report.jitter_max_us = jitters.iter().copied().fold(0.0, f64::max) / 1e3;
        }
        self.report
    }
}

fn empty_report() -> MediaReport {
    MediaReport {
        packets_sent: 0,
        packets_received: 0,
        lost: 0,
        duplicated: 0,
        reordered: 0,
        corrupted: 0,
        crossed: 0,
        wrong_source: 0,
        send_errors: 0,
        bursts_skipped: 0,
        rtcp_sent: 0,
        rtcp_received: 0,
        rtcp_wrong: 0,
        one_way: Histogram::new(),
        jitter_us: 0.0,
        jitter_max_us: 0.0,
    }
}
