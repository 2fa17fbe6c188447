//! Random changes of profile with random packets in between, against the rules in their plainest form.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// What each leg's stream becomes.
    Update([Shape; 2]),
    /// A packet from the party of a leg, to its RTP or its RTCP port.
    Packet { leg: usize, to_rtcp: bool, payload: Payload },
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    fax: bool,
    mux: bool,
}

#[derive(Debug, Clone)]
enum Payload {
    Rtp,
    Rtcp,
    /// Anything whose first byte is not that of RTP.
    Other(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let shape = || any::<(bool, bool)>().prop_map(|(fax, mux)| Shape { fax, mux });
    let other = vec(any::<u8>(), 0..24).prop_map(|mut bytes| {
        if let Some(first) = bytes.first_mut().filter(|first| (128..192).contains(&**first)) {
            *first ^= 0x80;
        }
        Payload::Other(bytes)
    });
    let payload = prop_oneof![3 => Just(Payload::Rtp), 2 => Just(Payload::Rtcp), 3 => other];
    prop_oneof![
        1 => [shape(), shape()].prop_map(Step::Update),
        5 => (0..2usize, any::<bool>(), payload)
            .prop_map(|(leg, to_rtcp, payload)| Step::Packet { leg, to_rtcp, payload }),
    ]
}

/// What a packet is let in as, or why not.
fn let_in(shape: Shape, to_rtcp: bool, payload: &Payload) -> Result<Traffic, DropReason> {
    match (shape.fax, to_rtcp, payload) {
        (true, true, _) => Err(DropReason::UnusedPort),
        (true, false, Payload::Other(bytes)) if bytes.is_empty() => Err(DropReason::Malformed),
        (true, false, _) => Ok(Traffic::Udptl),
        (false, false, Payload::Rtp) => Ok(Traffic::Rtp),
        (false, true, Payload::Rtcp) => Ok(Traffic::Rtcp),
        (false, false, Payload::Rtcp) if shape.mux => Ok(Traffic::Rtcp),
        (false, _, Payload::Other(bytes)) if matches!(bytes[..], [20..=63, ..]) => Err(DropReason::Dtls),
        (false, ..) => Err(DropReason::NotRtp),
    }
}

fn spec(shapes: [Shape; 2]) -> SessionSpec {
    let stream = |shape: Shape, remote| {
        let profile = if shape.fax { Profile::Udptl } else { Profile::Rtp };
        StreamSpec { profile, rtcp_mux: shape.mux, ..stream(Some(remote)) }
    };
    call(stream(shapes[0], ALICE), stream(shapes[1], BOB))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every packet is let in by the profile of its port and goes where the other leg has its own kind; the
    /// ports stay, all is counted, and no change of profile makes loss.
    #[test]
    fn packets_go_by_the_profile_of_the_moment(steps in vec(step(), 1..150)) {
        let parties = [(ALICE, "10.0.0.1:4001"), (BOB, "47.103.169.70:6001")];
        let mut shapes = [Shape { fax: false, mux: false }; 2];
        let mut world = World::new();
        let local = world.open(id(1), &spec(shapes));
        let ports = [local.legs[0][0].unwrap(), local.legs[1][0].unwrap()];
        let mut reports = [StreamReport::default(); 2];
        let mut relayed = [Relayed::default(); Traffic::COUNT];
        let mut sequences = [0u16; 2];
        for step in steps {
            world.now += 20 * MS;
            let (leg, to_rtcp, payload) = match step {
                Step::Update(next) => {
                    for (leg, sequence) in sequences.iter_mut().enumerate() {
                        // Audio's numbers go on while there is fax.
                        *sequence = sequence.wrapping_add(if shapes[leg].fax == next[leg].fax { 0 } else { 500 });
                    }
                    shapes = next;
                    prop_assert_eq!(&world.update(id(1), &spec(shapes)), &local);
                    continue;
                }
                Step::Packet { leg, to_rtcp, payload } => (leg, to_rtcp, payload),
            };
            let traffic = let_in(shapes[leg], to_rtcp, &payload);
            let bytes = match &payload {
                Payload::Rtp => rtp(sequences[leg]),
                Payload::Rtcp => rtcp(),
                Payload::Other(bytes) => bytes.clone(),
            };
            let report = &mut reports[leg];
            let other = 1 - leg;
            let way = match traffic {
                Ok(Traffic::Rtcp) if shapes[other].fax => Err(DropReason::NoDestination),
                Ok(Traffic::Rtcp) if !shapes[other].mux => Ok((ports[other].rtcp, address(parties[other].1))),
                Ok(_) => Ok((ports[other].rtp, address(parties[other].0))),
                Err(reason) => Err(reason),
            };
            match traffic {
                Ok(Traffic::Rtcp) => report.rtcp_packets += 1,
                Ok(_) => {
                    report.packets += 1;
                    report.bytes += bytes.len() as u64;
                }
                Err(_) => report.refused += 1,
            }
            if let (Ok(traffic), true) = (traffic, way.is_ok()) {
                relayed[traffic.index()].packets += 1;
                relayed[traffic.index()].bytes += bytes.len() as u64;
            }
            sequences[leg] += u16::from(traffic == Ok(Traffic::Rtp));
            let (source, to) = match to_rtcp {
                true => (parties[leg].1, ports[leg].rtcp),
                false => (parties[leg].0, ports[leg].rtp),
            };
            prop_assert_eq!(world.packet(source, to, &bytes), way, "{:?} {:?} to {}", shapes, payload, to);
        }
        for (leg, expected) in reports.iter().enumerate() {
            let report = world.report(id(1)).legs[leg][0];
            let source = Some(address(parties[leg].0));
            let StreamReport { packets, bytes, lost, reordered, rtcp_packets, refused, .. } = *expected;
            // Packets come at any time here: what is learned of their time and their sources is not modelled.
            let expected =
                StreamReport { packets, bytes, lost, reordered, rtcp_packets, refused, source, ..report };
            prop_assert_eq!(report, expected);
        }
        prop_assert_eq!(world.relay.counters().relayed, relayed);
    }
}
