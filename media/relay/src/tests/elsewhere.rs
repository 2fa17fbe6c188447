//! Calls whose settled flows are relayed elsewhere, by a program in memory that keeps the rules of the one in the
//! network driver.

use moorline_control::StreamReport;

use super::*;
use crate::Traffic;

mod late;
mod program;
mod random;
mod switches;

pub(super) use program::Program;

/// A packet that left: the local port, the remote one, and its bytes.
type Left = (SocketAddr, SocketAddr, Vec<u8>);

/// A relay, and the way of packets to it.
struct Net {
    world: World,
    local: LocalSession,
    /// What the program has passed up and the relay has not taken yet.
    rising: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    left: Vec<Left>,
    /// Packets that the program has relayed.
    elsewhere: usize,
    sequences: [u16; 2],
}

impl Net {
    fn new(offload: bool) -> Net {
        Net::of(offload, &answered_call())
    }

    fn of(offload: bool, spec: &SessionSpec) -> Net {
        let mut world = World::new();
        if offload {
            world.sockets.program = Some(Program::default());
            world.relay.offload_from(world.now);
        }
        let local = world.open(id(1), spec);
        Net { world, local, rising: Vec::new(), left: Vec::new(), elsewhere: 0, sequences: [0; 2] }
    }

    fn port(&self, leg: usize) -> SocketAddr {
        self.local.legs[leg][0].unwrap().rtp
    }

    /// A datagram comes in by the network.
    fn come(&mut self, source: &str, to: SocketAddr, payload: &[u8]) {
        let source = address(source);
        let endpoint = *self.world.sockets.bound.iter().find(|(_, bound)| **bound == to).unwrap().0;
        let now = self.world.now;
        let mut dropped = false;
        let program = self.world.sockets.program.as_mut();
        let relayed = program.and_then(|program| {
            let before = program.dropped;
            let relayed = program.packet(now, endpoint, source, payload);
            dropped = program.dropped > before;
            relayed
        });
        match relayed {
            Some((from, remote)) => {
                self.elsewhere += 1;
                self.left.push((self.world.sockets.bound[&from], remote, payload.to_vec()));
            }
            None if dropped => {}
            None => self.rising.push((source, to, payload.to_vec())),
        }
    }

    /// The relay takes what has risen to it, and arms what it has dealt with.
    fn work(&mut self) {
        let World { relay, sockets, now } = &mut self.world;
        let mut touched = BTreeSet::new();
        for (source, to, payload) in self.rising.drain(..) {
            let endpoint = *sockets.bound.iter().find(|(_, bound)| **bound == to).unwrap().0;
            let verdict = match &mut sockets.program {
                Some(program) => {
                    program.receive(endpoint, source, &payload);
                    touched.insert(endpoint);
                    relay.packet_beside(*now, endpoint, source, &payload, program)
                }
                None => relay.packet(*now, endpoint, source, &payload),
            };
            if let Verdict::Forward { from, to, .. } = verdict {
                self.left.push((sockets.bound[&from], to, payload));
            }
        }
        for endpoint in touched {
            let stand = relay.stand(*now, endpoint);
            sockets.program.as_mut().unwrap().settle(*now, endpoint, stand);
        }
    }

    /// The party of a leg says so many packets of PCMU, 20 ms each, and the relay works at once.
    fn talk(&mut self, leg: usize, packets: usize) {
        for _ in 0..packets {
            self.say(leg, 0);
            self.work();
            self.world.pass(20 * MS);
        }
    }

    /// One packet with the next number.
    fn say(&mut self, leg: usize, payload_type: u8) {
        let sequence = self.sequences[leg];
        self.sequences[leg] = sequence.wrapping_add(1);
        self.say_number(leg, payload_type, sequence);
    }

    fn say_number(&mut self, leg: usize, payload_type: u8, sequence: u16) {
        let packet = rtp_of(payload_type, sequence, u32::from(sequence) * 160, 0x1234 + leg as u32);
        self.come([ALICE, BOB][leg], self.port(leg), &packet);
    }

    /// What has been relayed of a leg's party, with all that was seen elsewhere.
    fn report(&mut self, leg: usize) -> StreamReport {
        let World { relay, sockets, .. } = &mut self.world;
        if let Some(program) = &mut sockets.program {
            relay.catch_up(id(1), program);
        }
        self.world.report(id(1)).legs[leg][0]
    }

    fn program(&mut self) -> &mut Program {
        self.world.sockets.program.as_mut().unwrap()
    }
}

#[test]
fn a_settled_flow_is_relayed_elsewhere_and_reported_here() {
    let mut net = Net::new(true);
    net.talk(0, 200);
    assert!(net.elsewhere > 150, "{}", net.elsewhere);
    assert_eq!(net.left.len(), 200);
    assert!(net.left.iter().all(|(from, to, _)| *from == net.local.legs[1][0].unwrap().rtp && *to == address(BOB)));
    let (elsewhere, mut alone) = (net.report(0), Net::new(false));
    alone.talk(0, 200);
    assert_eq!(elsewhere, alone.report(0));
    let counters = *net.world.relay.counters();
    assert_eq!(counters.relayed(Traffic::Rtp).packets + counters.elsewhere.packets, 200);
    assert_eq!(counters.elsewhere.bytes, counters.elsewhere.packets * 172);
    net.world.pass(SECOND);
    assert_eq!(net.world.relay.counters().flows_elsewhere, 1);
    let closed = net.world.close(id(1)).unwrap().legs[0][0];
    assert_eq!((closed.packets, closed.lost, net.world.relay.counters().flows_elsewhere), (200, 0, 0));
}

#[test]
fn loss_disorder_and_repetition_are_counted_wherever_they_come() {
    let numbers = |net: &mut Net| {
        net.talk(0, 100);
        for sequence in [100, 101, 104, 103, 105, 105, 110, 111, 112, 108] {
            net.say_number(0, 0, sequence);
            net.work();
            net.world.pass(20 * MS);
        }
        net.report(0)
    };
    let (mut beside, mut alone) = (Net::new(true), Net::new(false));
    let (elsewhere, here) = (numbers(&mut beside), numbers(&mut alone));
    let counts = |report: &StreamReport| {
        let StreamReport { packets, lost, reordered, duplicates, gaps, longest_gap_packets, longest_gap_ms, .. } =
            *report;
        (packets, lost, reordered, duplicates, gaps, longest_gap_packets, longest_gap_ms)
    };
    assert_eq!(counts(&elsewhere), counts(&here));
    assert_eq!(counts(&here), (110, 4, 2, 1, 2, 4, 20));
    assert!(beside.elsewhere > 80, "{}", beside.elsewhere);
}

#[test]
fn telephone_events_noise_and_other_sources_come_up() {
    let mut net = Net::of(true, &call(with_events(stream(Some(ALICE))), stream(Some(BOB))));
    net.talk(0, 100);
    let before = net.elsewhere;
    for payload_type in [101, 101, 13] {
        net.say(0, payload_type);
        net.work();
        net.world.pass(20 * MS);
    }
    assert_eq!(net.elsewhere, before, "all three came up");
    // The packet after noise tells that speech goes on.
    net.say(0, 0);
    net.work();
    assert_eq!(net.elsewhere, before);
    net.world.pass(20 * MS);
    net.talk(0, 10);
    assert_eq!(net.elsewhere, before + 10);
    let report = net.report(0);
    assert_eq!((report.payload_type, report.silence.unwrap().noise_packets), (Some(0), 1));
    // Somebody forges packets: they come up, are refused, and the flow goes on in its order.
    let forged = rtp_of(0, 7, 7, 0x6666);
    net.come(MALLORY, net.port(0), &forged);
    net.come(ALICE, net.port(0), &forged);
    net.talk(0, 10);
    assert_eq!((net.report(0).refused, net.report(0).lost), (2, 0));
    assert_eq!(net.left.len(), 100 + 3 + 1 + 10 + 10);
}

/// A flow is relayed elsewhere however many packets others send to its port: at once, and again after an event.
#[test]
fn a_flood_of_forged_packets_does_not_keep_a_flow_here() {
    let mut net = Net::new(true);
    net.talk(0, 50);
    let (before, passed) = (net.elsewhere, net.program().passed());
    for packet in 0..200 {
        let forged = rtp_of(0, 7 + packet, 7, 0x6666);
        net.come(MALLORY, net.port(0), &forged);
        net.say(0, 0);
        net.come(MALLORY, net.port(0), &forged);
        net.work();
        net.world.pass(20 * MS);
    }
    assert_eq!((net.elsewhere, net.program().passed()), (before + 200, passed));
    net.say(0, 13);
    for _ in 0..5 {
        net.come(MALLORY, net.port(0), &rtp_of(0, 7, 7, 0x6666));
        net.work();
        net.world.pass(20 * MS);
        net.say(0, 0);
    }
    assert!(net.elsewhere >= before + 202, "{} of {before}", net.elsewhere);
    net.work();
    let report = net.report(0);
    assert_eq!((report.refused, report.lost, report.packets), (405, 0, 256));
}

fn with_events(stream: StreamSpec) -> StreamSpec {
    let format = |payload_type, codec| moorline_control::Format { payload_type, codec, clock_rate: 8_000 };
    StreamSpec { formats: vec![format(101, moorline_control::Codec::TelephoneEvent)], ..stream }
}

#[test]
fn a_media_timeout_counts_from_the_last_packet_elsewhere() {
    let mut spec = answered_call();
    spec.media_timeout_ms = 5_000;
    let mut net = Net::of(true, &spec);
    net.talk(0, 1_000);
    assert!(net.elsewhere > 900);
    assert_eq!(net.world.events(), [], "20 s of packets that the relay did not see");
    net.world.pass(4_900 * MS);
    assert_eq!(net.world.events(), []);
    net.world.pass(200 * MS);
    assert_eq!(net.world.events(), [(OWNER, Event::MediaTimeout { session: id(1) })]);
}

#[test]
fn a_pause_is_measured_though_both_sides_of_it_were_elsewhere() {
    let both = |net: &mut Net| {
        for leg in [0, 1] {
            net.say(leg, 0);
            net.work();
        }
        net.world.pass(20 * MS);
    };
    let pauses = |net: &mut Net| {
        for _ in 0..100 {
            both(net);
        }
        net.talk(1, 100);
        for _ in 0..100 {
            both(net);
        }
        (net.report(0).silence, net.report(1).silence)
    };
    let (mut beside, mut alone) = (Net::new(true), Net::new(false));
    let (elsewhere, here) = (pauses(&mut beside), pauses(&mut alone));
    assert_eq!(elsewhere, here);
    let silence = here.0.unwrap();
    assert_eq!((silence.pauses, silence.total_ms, silence.one_way_ms), (1, 2_020, 2_000));
    assert!(beside.elsewhere > 400, "{}", beside.elsewhere);
}

#[test]
fn a_party_that_is_said_to_be_elsewhere_gets_nothing_more_at_its_old_address() {
    let mut net = Net::new(true);
    net.talk(0, 100);
    assert!(net.elsewhere > 0);
    let moved = "47.103.169.71:6000";
    let local = net.world.update(id(1), &call(stream(Some(ALICE)), stream(Some(moved))));
    assert_eq!(local, net.local);
    let before = (net.left.len(), net.elsewhere);
    net.talk(0, 100);
    assert!(net.left[before.0..].iter().all(|(_, to, _)| *to == address(moved)));
    assert!(net.elsewhere > before.1 + 50, "and it is relayed elsewhere again");
    let report = net.report(0);
    assert_eq!((report.packets, report.lost, report.jitter_us), (200, 0, 0));
}

#[test]
fn a_latch_that_moves_takes_the_other_partys_flow_back() {
    let nat = call(StreamSpec { latch: latch("198.51.100.0/24", 5_000), ..stream(Some(ALICE)) }, stream(Some(BOB)));
    let mut net = Net::of(true, &nat);
    net.talk(1, 60);
    let before = net.elsewhere;
    assert!(before > 0 && net.left.iter().all(|(_, to, _)| *to == address(ALICE)));
    // Alice is heard from behind her NAT: Bob's packets go there from the next one on.
    let behind = "198.51.100.7:1111";
    net.come(behind, net.port(0), &rtp(1));
    net.work();
    let count = net.left.len();
    net.world.pass(20 * MS);
    net.talk(1, 60);
    assert!(net.left[count..].iter().all(|(_, to, _)| *to == address(behind)));
    assert!(net.elsewhere > before, "and in the driver again");
}

#[test]
fn what_came_elsewhere_counts_against_the_ceiling() {
    let ceiling = Some(moorline_control::Ceiling { packets_per_s: 100, bytes_per_s: 100_000 });
    let spec = call(StreamSpec { ceiling, ..stream(Some(ALICE)) }, stream(Some(BOB)));
    let mut net = Net::of(true, &spec);
    net.talk(0, 100);
    assert!(net.elsewhere > 50);
    let before = net.left.len();
    for _ in 0..1_000 {
        net.say(0, 0);
        net.work();
        net.world.pass(MS);
    }
    let let_in = net.left.len() - before;
    assert!((100..=400).contains(&let_in), "{let_in} in a second");
    let dropped = net.world.relay.counters().dropped[DropReason::Rate.index()];
    assert_eq!(dropped as usize, 1_000 - let_in);
}

#[test]
fn a_port_that_is_used_again_begins_at_nothing() {
    let mut net = Net::new(true);
    net.talk(0, 100);
    net.world.close(id(1)).unwrap();
    net.world.pass(10 * SECOND);
    // All endpoints go round.
    for n in 2..600 {
        net.world.open(id(n), &answered_call());
        net.world.close(id(n)).unwrap();
        net.world.pass(10 * SECOND);
    }
    (net.local, net.sequences) = (net.world.open(id(1), &answered_call()), [500; 2]);
    net.talk(0, 50);
    let report = net.report(0);
    assert_eq!((report.packets, report.lost, report.sources), (50, 0, 1));
}

#[test]
fn without_a_program_nothing_is_told_and_nothing_waits() {
    let mut world = World::new();
    world.relay.offload_from(world.now);
    assert!(world.relay.next_timeout().is_some_and(|due| due <= world.now));
    world.relay.handle_timeout(world.now, &mut world.sockets);
    assert_eq!(world.relay.next_timeout(), None);
}
