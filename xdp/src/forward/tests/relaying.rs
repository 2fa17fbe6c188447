//! What is relayed: its bytes, and what is counted of it.

use super::frames::{Checksum, rtp};
use super::host::apart;
use super::rig::{FIRST, PASS, Rig, SSRC, TX, wish};
use crate::forward::*;

#[test]
fn a_packet_leaves_with_new_addresses_and_right_checksums() {
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            for (nth, checksum) in [Checksum::Full, Checksum::Partial, Checksum::Full].into_iter().enumerate() {
                let mut frame = rig.packet(FIRST + nth as u16);
                frame.checksum = checksum;
                let mut expected = rig.outgoing(&frame);
                expected.checksum = Checksum::Full;
                assert_eq!(rig.run(&frame.bytes()), (TX, expected.bytes()), "{checksum:?}, IPv6: {v6}");
            }
            let counts = rig.forward.counts().unwrap();
            // The interface hears what its neighbour has to say about IPv6 besides.
            let passed = counts.passed.iter().skip(abi::Reason::Elsewhere as usize + 1).sum::<u64>();
            assert_eq!((counts.relayed, passed), (3, 1));
        });
    }
}

#[test]
fn a_missing_checksum_stays_missing_and_a_wrong_one_wrong() {
    apart(|| {
        let rig = Rig::new(false);
        for (sequence, checksum) in [(FIRST, Checksum::Zero), (FIRST + 1, Checksum::Wrong)] {
            let mut frame = rig.packet(sequence);
            frame.checksum = checksum;
            let (action, bytes) = rig.run(&frame.bytes());
            let right = rig.outgoing(&frame).bytes();
            assert_eq!(action, TX);
            if checksum == Checksum::Zero {
                assert_eq!(bytes, right);
            } else {
                // Off by as much as it was, so that who receives it finds out.
                let mut full = rig.outgoing(&frame);
                full.checksum = Checksum::Full;
                let full = full.bytes();
                assert_eq!((&bytes[..40], &bytes[42..]), (&full[..40], &full[42..]));
                assert_ne!(bytes[40..42], full[40..42]);
            }
        }
    });
}

#[test]
fn checksums_are_right_for_payloads_of_every_length_and_kind() {
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            // A fixed seed; lengths around what is summed at once, and odd ones.
            let mut random = 1_u32;
            for (nth, length) in
                [0, 1, 2, 3, 4, 5, 159, 160, 491, 492, 493, 503, 504, 505, 1000, 1003, 1400].iter().enumerate()
            {
                let mut payload = rtp(0, FIRST + nth as u16, 160 * nth as u32, SSRC);
                payload.truncate(12);
                payload.extend((0..*length).map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (random >> 24) as u8
                }));
                let mut frame = rig.incoming(payload);
                frame.checksum = if nth % 2 == 0 { Checksum::Partial } else { Checksum::Full };
                let mut expected = rig.outgoing(&frame);
                expected.checksum = Checksum::Full;
                assert_eq!(rig.run(&frame.bytes()), (TX, expected.bytes()), "{length} bytes, {:?}", frame.checksum);
            }
        });
    }
}

#[test]
fn a_full_checksum_that_looks_like_a_partial_one_is_full() {
    apart(|| {
        let rig = Rig::new(false);
        let mut frame = rig.packet(FIRST);
        frame.checksum = Checksum::Partial;
        let partial = frame.bytes()[40..42].to_vec();
        // Two bytes of payload are chosen so that the full checksum is the sum of the pseudo-header.
        frame.checksum = Checksum::Full;
        let found = (0..=u16::MAX).find(|word| {
            frame.payload[20..22].copy_from_slice(&word.to_be_bytes());
            frame.bytes()[40..42] == partial[..]
        });
        assert!(found.is_some());
        assert_eq!(rig.run(&frame.bytes()), (TX, rig.outgoing(&frame).bytes()));
    });
}

#[test]
fn tags_become_those_of_the_hop() {
    let tags = |vlan: Option<u16>, outer: Option<u16>| -> Vec<(u16, u16)> {
        let outer = outer.map(|tag| (0x88a8, tag));
        outer.into_iter().chain(vlan.map(|tag| (0x8100, tag))).collect()
    };
    let kinds = [(None, None), (Some(0x6064), None), (Some(7), Some(300))];
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            let mut sequence = FIRST;
            for (vlan, outer) in kinds {
                rig.set_tags(vlan, outer);
                for (came_vlan, came_outer) in kinds {
                    let mut frame = rig.packet(sequence);
                    frame.tags = tags(came_vlan, came_outer);
                    let mut expected = rig.outgoing(&frame);
                    expected.tags = tags(vlan, outer);
                    assert_eq!(rig.run(&frame.bytes()), (TX, expected.bytes()), "{:?} {:?}", frame.tags, expected.tags);
                    sequence += 1;
                }
            }
        });
    }
}

#[test]
fn padding_of_the_frame_is_no_part_of_the_packet() {
    apart(|| {
        let rig = Rig::new(false);
        let frame = rig.packet(FIRST);
        let bytes = [frame.bytes(), vec![0; 6]].concat();
        assert_eq!(rig.run(&bytes), (TX, [rig.outgoing(&frame).bytes(), vec![0; 6]].concat()));
        assert_eq!(rig.seen().bytes, 172);
    });
}

#[test]
fn order_is_counted_as_the_relay_counts_it() {
    apart(|| {
        let rig = Rig::new(false);
        // The next; three skipped; one of those late; the same again; the highest again; a cycle's worth further on.
        for sequence in [1000, 1004, 1002, 1002, 1004, 1003, 1005] {
            assert_eq!(rig.run(&rig.packet(sequence).bytes()).0, TX, "{sequence}");
        }
        let seen = rig.seen();
        assert_eq!((seen.sequence, seen.came), (1005, 0b110_1111), "1001 is missing; of 999 the relay knew");
        assert_eq!((seen.skipped, seen.gaps, seen.late, seen.duplicates), (3, 1, 2, 2));
        assert_eq!((seen.packets, seen.bytes, seen.length), (7, 7 * 172, 172));
        assert_eq!((seen.longest_gap, seen.takeovers, seen.relaying, seen.epoch), (3, 1, 1, 1));
        assert!(seen.longest_gap_ns > 0 && seen.last_seen <= monotonic_ns());
        // Older than 31 numbers: late, whether it had come or not.
        assert_eq!(rig.run(&rig.packet(950).bytes()).0, TX);
        assert_eq!(rig.seen().late, 3);
        // Too far back, and too far ahead, are for the relay to judge.
        for far in [905, 4005] {
            assert_eq!(rig.run(&rig.packet(far).bytes()).0, PASS, "{far}");
            rig.forward.arm(rig.flow, rig.seen().passed, &Progress { sequence: 1005, ..Progress::default() });
        }
        assert_eq!(rig.run(&rig.packet(4004).bytes()).0, TX);
        assert_eq!(rig.seen().skipped, 3 + 2998);
    });
}

#[test]
fn numbers_go_on_over_the_end_of_their_circle() {
    apart(|| {
        let rig = Rig::new(false);
        rig.forward.arm(rig.flow, 1, &Progress { sequence: 0x2_fffe, came: 1, ..Progress::default() });
        for sequence in [0xffff, 0, 2, 1] {
            assert_eq!(rig.run(&rig.packet(sequence).bytes()).0, TX);
        }
        assert_eq!((rig.seen().sequence, rig.seen().skipped, rig.seen().late), (0x3_0002, 1, 1));
    });
}

#[test]
fn jitter_is_that_of_rfc_3550_from_where_the_relay_was() {
    apart(|| {
        let rig = Rig::new(false);
        let arrival = |now: u64| ((now / 1_000_000_000) * 8000 + now % 1_000_000_000 * 8000 / 1_000_000_000) as u32;
        let begun = arrival(monotonic_ns());
        let progress =
            Progress { sequence: 999, came: 1, timestamp: 5_000, transit: begun.wrapping_sub(5_000), jitter: 320 };
        rig.forward.arm(rig.flow, 1, &progress);
        let (mut transit, mut jitter) = (progress.transit, progress.jitter);
        for (sequence, timestamp) in [(1000, 5_160), (1001, 5_160), (1002, 5_400), (1003, 5_000), (1004, 5_720)] {
            assert_eq!(rig.run(&rig.incoming(rtp(0, sequence, timestamp, SSRC)).bytes()).0, TX);
            let seen = rig.seen();
            if sequence != 1001 {
                let new = arrival(seen.last_seen).wrapping_sub(timestamp);
                let step = (new.wrapping_sub(transit) as i32).unsigned_abs();
                (transit, jitter) = (new, jitter - ((jitter + 8) >> 4) + step);
            }
            assert_eq!((seen.transit, seen.jitter, seen.timestamp), (transit, jitter, timestamp), "{sequence}");
        }
        // More than a second is no jitter, but where the next step begins.
        assert_eq!(rig.run(&rig.incoming(rtp(0, 1005, 50_000, SSRC)).bytes()).0, TX);
        assert_eq!(rig.seen().jitter, jitter);
        assert_eq!(rig.seen().transit, arrival(rig.seen().last_seen).wrapping_sub(50_000));
    });
}

#[test]
fn one_packet_of_sixteen_is_timed() {
    apart(|| {
        let rig = Rig::new(false);
        (0..64).for_each(|n| assert_eq!(rig.run(&rig.packet(FIRST + n).bytes()).0, TX));
        let counts = rig.forward.counts().unwrap();
        assert_eq!((counts.relayed, counts.residence.iter().sum::<u64>()), (64, 4));
    });
}

#[test]
fn a_flow_told_of_another_hop_or_party_goes_there() {
    apart(|| {
        let rig = Rig::new(false);
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        let now = monotonic_ns();
        let other = Wish { to: "203.0.113.99:7000".parse().unwrap(), ttl: 9, tos: 0, ..wish(false) };
        assert!(!rig.forward.tell(rig.flow, &other, now), "it is being relayed");
        rig.forward.stop(rig.flow, now);
        assert!(!rig.forward.tell(rig.flow, &other, now), "a CPU may be at it");
        std::thread::sleep(std::time::Duration::from_millis(11));
        assert!(rig.forward.has_left(rig.flow, monotonic_ns()));
        assert!(rig.forward.tell(rig.flow, &other, monotonic_ns()));
        assert!(rig.forward.is_told(rig.flow, &other) && !rig.forward.is_told(rig.flow, &wish(false)));
        let frame = rig.packet(FIRST + 1);
        assert_eq!(rig.run(&frame.bytes()).0, PASS, "it is to be armed anew");
        rig.arm();
        let mut expected = rig.outgoing(&frame);
        (expected.to, expected.ttl, expected.tos) = (other.to, 9, 0);
        assert_eq!(rig.run(&frame.bytes()), (TX, expected.bytes()));
        assert_eq!((rig.seen().epoch, rig.seen().takeovers), (2, 2));
    });
}
