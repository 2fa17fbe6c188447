//! What is not relayed: it goes on as it came, for the reason that is counted.

use std::thread::sleep;
use std::time::Duration;

use super::frames::{Checksum, Frame, rtp};
use super::host::apart;
use super::rig::{FIRST, HOP, PASS, Rig, SSRC, TX, local, pair, wish};
use crate::forward::abi::Reason;
use crate::forward::*;

/// A frame of the flow with a byte changed.
fn with(rig: &Rig, at: usize, value: u8) -> Vec<u8> {
    let mut bytes = rig.packet(FIRST).bytes();
    bytes[at] = value;
    bytes
}

#[test]
fn what_is_no_rtp_of_the_flow_goes_up_untouched() {
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            let ip = 14;
            let udp = ip + if v6 { 40 } else { 20 };
            let payload = udp + 8;
            let usual = rig.packet(FIRST).bytes();
            let header = |at: usize, value: u8| with(&rig, at, value);
            let mut cases = vec![
                ("ARP", header(13, 0x06), Reason::Other, false),
                (
                    "a third tag",
                    [&usual[..12], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3], &usual[12..]].concat(),
                    Reason::Other,
                    false,
                ),
                ("nothing but Ethernet", usual[..14].to_vec(), Reason::Other, false),
                ("cut in the IP header", usual[..ip + 10].to_vec(), Reason::Other, false),
                ("cut in the UDP header", usual[..udp + 7].to_vec(), Reason::Other, false),
                ("cut in the payload", usual[..usual.len() - 1].to_vec(), Reason::Other, false),
                ("a UDP length that is not IP's", header(udp + 5, 0xb3), Reason::Other, false),
                ("another port", header(udp + 3, 0xff), Reason::Elsewhere, false),
                ("a closed port", header(udp + 3, 0x27), Reason::Closed, false),
                ("RTCP", header(payload + 1, 200), Reason::NotRtp, false),
                ("STUN", header(payload, 0), Reason::NotRtp, false),
                ("another source port", header(udp + 1, 0xa3), Reason::Source, false),
                ("another source", header(if v6 { ip + 23 } else { ip + 15 }, 10), Reason::Source, false),
                ("another SSRC", header(payload + 11, 5), Reason::Ssrc, true),
                ("a telephone event", header(payload + 1, 101), Reason::PayloadType, true),
                ("its first packet", header(payload + 1, 128 | 101), Reason::PayloadType, true),
                ("padding", header(payload, 0xa0), Reason::PayloadType, true),
                ("an extension", header(payload, 0x90), Reason::PayloadType, true),
                ("a contributing source", header(payload, 0x81), Reason::PayloadType, true),
            ];
            if v6 {
                cases.push(("a hop-by-hop header", header(ip + 6, 0), Reason::Other, false));
                cases.push(("a fragment", header(ip + 6, 44), Reason::Other, false));
                let mut frame = rig.packet(FIRST);
                frame.checksum = Checksum::Zero;
                cases.push(("no checksum", frame.bytes(), Reason::Malformed, true));
            } else {
                cases.push(("options", header(ip, 0x46), Reason::Other, false));
                cases.push(("TCP", header(ip + 9, 6), Reason::Other, false));
                cases.push(("the first of fragments", header(ip + 6, 0x20), Reason::Other, false));
                cases.push(("a later fragment", header(ip + 7, 1), Reason::Other, false));
                cases.push(("a wrong header checksum", header(ip + 11, usual[ip + 11] ^ 1), Reason::Malformed, true));
            }
            for (what, bytes, reason, counts) in cases {
                rig.arm();
                let (before, seen) = (rig.passed(reason), rig.seen());
                assert_eq!(rig.run(&bytes), (PASS, bytes), "{what}");
                assert_eq!(rig.passed(reason), before + 1, "{what}");
                assert_eq!(rig.seen().passed, seen.passed + u32::from(counts), "{what}");
            }
            rig.arm();
            assert_eq!(rig.run(&usual).0, TX, "and the flow goes on");
        });
    }
}

#[test]
fn short_datagrams_are_no_rtp() {
    apart(|| {
        let rig = Rig::new(false);
        for length in 0..12 {
            let frame = rig.incoming(rtp(0, FIRST, 0, SSRC)[..length].to_vec()).bytes();
            assert_eq!(rig.run(&frame), (PASS, frame), "{length} bytes");
        }
        assert_eq!((rig.passed(Reason::NotRtp), rig.seen().passed), (12, 1));
    });
}

#[test]
fn what_went_up_is_waited_for_before_the_next_is_relayed() {
    apart(|| {
        let rig = Rig::new(false);
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        // Something of the flow goes up; nothing overtakes it.
        let event = rig.incoming(rtp(101, FIRST + 1, 160, SSRC)).bytes();
        assert_eq!(rig.run(&event).0, PASS);
        let seen = rig.seen();
        assert_eq!((seen.passed, seen.relaying), (2, 0));
        assert_eq!((&seen.last_up[..], seen.up_at > seen.last_seen), (&event[42..50], true));
        assert_eq!(rig.run(&rig.packet(FIRST + 2).bytes()).0, PASS);
        let progress = Progress { sequence: u32::from(FIRST) + 2, came: 0b111, ..Progress::default() };
        // One is still in flight.
        rig.forward.arm(rig.flow, 2, &progress);
        assert_eq!(rig.run(&rig.packet(FIRST + 3).bytes()).0, PASS);
        assert_eq!(rig.passed(Reason::Unarmed), 2);
        let progress = Progress { sequence: u32::from(FIRST) + 3, came: 0b1111, ..Progress::default() };
        rig.forward.arm(rig.flow, 4, &progress);
        assert_eq!(rig.run(&rig.packet(FIRST + 4).bytes()).0, TX);
        let seen = rig.seen();
        assert_eq!((seen.sequence, seen.came, seen.skipped, seen.takeovers), (1004, 0b1_1111, 0, 2));
        assert_eq!((seen.packets, seen.passed, seen.relaying), (2, 4, 1));
        // RTCP and STUN interrupt nothing.
        assert_eq!(rig.run(&rig.incoming(vec![0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).bytes()).0, PASS);
        assert_eq!(rig.run(&rig.packet(FIRST + 5).bytes()).0, TX);
    });
}

#[test]
fn a_flow_leaves_at_a_packet_that_can_overtake_nothing() {
    apart(|| {
        let rig = Rig::new(false);
        // So close together that both come in one poll, at some time.
        let together = (0..2000).any(|n| {
            let (now, frame) = (monotonic_ns(), rig.packet(FIRST + 2 * n).bytes());
            rig.arm();
            rig.run(&frame);
            rig.forward.leave(rig.flow, now);
            let next = rig.packet(FIRST + 2 * n + 1).bytes();
            let (relayed, took) = (rig.run(&next).0 == TX, monotonic_ns() - now);
            let seen = rig.seen();
            assert!(relayed == (seen.relaying == 1) && (relayed || took > abi::GRACE_NS), "{took} ns");
            assert!(!rig.forward.wished(rig.flow));
            sleep(Duration::from_millis(1));
            assert_eq!(rig.run(&rig.packet(FIRST + 2 * n + 2).bytes()).0, PASS);
            sleep(Duration::from_millis(11));
            assert!(rig.forward.tell(rig.flow, &wish(false), monotonic_ns()));
            relayed
        });
        assert!(together);
        rig.arm();
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        rig.forward.stop(rig.flow, monotonic_ns());
        assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, PASS, "at once");
    });
}

#[test]
fn without_hop_or_lease_all_goes_up() {
    apart(|| {
        let rig = Rig::new(false);
        let next = |reason| {
            assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, PASS);
            rig.arm();
            rig.passed(reason)
        };
        let hop = rig.forward.hop(HOP).unwrap();
        rig.forward.clear_hop(HOP);
        assert_eq!((next(Reason::Hop), rig.forward.hop(HOP)), (1, None));
        sleep(Duration::from_millis(11));
        assert!(rig.forward.set_hop(HOP, &Hop { interface: 77, ..hop }).is_err());
        rig.forward.set_hop(HOP, &Hop { mtu: 199, ..hop }).unwrap();
        assert_eq!(next(Reason::TooLong), 1);
        rig.forward.clear_hop(HOP);
        sleep(Duration::from_millis(11));
        rig.forward.set_hop(HOP, &Hop { mtu: 200, ..hop }).unwrap();
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        rig.forward.beat(monotonic_ns() - abi::LEASE_NS - 1);
        assert_eq!(next(Reason::Lease), 1);
        rig.forward.beat(monotonic_ns());
        assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, TX);
    });
}

#[test]
fn after_a_pause_the_relay_hears_first() {
    apart(|| {
        let rig = Rig::new(false);
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        sleep(Duration::from_nanos(abi::PAUSE_NS));
        assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, PASS);
        assert_eq!(rig.passed(Reason::Unusual), 1 + 1);
    });
}

#[test]
fn above_a_ceiling_packets_go_up() {
    for wish in [Wish { packets_per_s: 40, ..wish(false) }, Wish { bytes_per_s: 172 * 40, ..wish(false) }] {
        apart(|| {
            let rig = Rig::new(false);
            rig.forward.stop(rig.flow, monotonic_ns());
            sleep(Duration::from_millis(11));
            assert!(rig.forward.tell(rig.flow, &wish, monotonic_ns()));
            // A window of 268 ms has ten of them; a second window may have begun meanwhile.
            let relayed = (0..30).filter(|n| {
                rig.arm();
                rig.run(&rig.packet(FIRST + n).bytes()).0 == TX
            });
            let relayed = relayed.count();
            assert!(relayed == 10 || relayed == 20, "{relayed}");
            assert_eq!(rig.passed(Reason::Ceiling), 30 - relayed as u64);
        });
    }
}

#[test]
fn a_flow_that_is_closed_is_none_any_more() {
    apart(|| {
        let rig = Rig::new(false);
        let entry = rig.forward.entry(local(false)).unwrap();
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        rig.forward.open(entry, 3, None);
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, PASS);
        assert_eq!(rig.passed(Reason::Flowless), 1);
        rig.forward.open(entry, 3, Some(rig.flow));
        rig.forward.close(entry);
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, PASS);
        assert_eq!((rig.passed(Reason::Closed), rig.forward.wished(rig.flow)), (1, false));
        // All others are given out first, and then it has not rested yet.
        let taken: Vec<_> = (0..16).map_while(|entry| rig.forward.take_flow(entry)).collect();
        assert!(taken.len() == 15 && !taken.contains(&rig.flow));
    });
}

#[test]
fn a_range_of_one_interface_and_vlan_hears_no_other() {
    apart(|| {
        pair("core", "far");
        pair("side", "away");
        let [core, side] = ["core", "side"].map(|name| interfaces::index(name).unwrap());
        let mut ranges = super::rig::ranges();
        ranges[0].interface = Some(core);
        let names = ["core", "side", "core"].map(String::from);
        let forward = Forward::attach(&names, &ranges, None, 1, Mode::Native, None).unwrap();
        assert_eq!(forward.attached().len(), 2);
        forward.open(forward.entry(local(false)).unwrap(), 0, None);
        let rig = Rig { forward, index: core, flow: FlowId::first(), v6: false };
        let hears = |interface: u32, tags: &[(u16, u16)]| {
            let before = rig.passed(Reason::Flowless);
            let frame = Frame { tags: tags.to_vec(), ..rig.packet(FIRST) };
            assert_eq!(rig.run_at(&frame.bytes(), interface).0, PASS);
            rig.passed(Reason::Flowless) != before
        };
        // The priority alone is no VLAN.
        let kinds: [&[(u16, u16)]; 5] =
            [&[], &[(0x8100, 0xe000)], &[(0x8100, 0xe064)], &[(0x8100, 101)], &[(0x88a8, 7), (0x8100, 100)]];
        assert_eq!(kinds.map(|tags| hears(core, tags)), [true, true, false, false, false]);
        assert_eq!(kinds.map(|tags| hears(side, tags)), [false; 5]);
        // As it is told of a VLAN, of which this kernel may make none.
        for (tags, heard) in
            [(100, [false, false, true, false, false]), (7 << 16 | 100, [false, false, false, false, true])]
        {
            let words = range_words(&lock(&rig.forward.ranges[0]), tags);
            lock(&rig.forward.told_ranges).set(0, words, 0).unwrap();
            assert_eq!(kinds.map(|tags| hears(core, tags)), heard);
        }
        assert!(rig.forward.come_in_by(0, side).unwrap());
        assert!(!rig.forward.come_in_by(0, side).unwrap());
        assert!(hears(side, &[]) && !hears(core, &[]));
    });
}
