//! Frames read and written against packets put together byte by byte.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::frame;
use crate::datapath::outward::header::{Checksum, Out};
use crate::datapath::outward::ways::Line;
use crate::routes::NextHop;

/// RFC 1071, word by word, in network byte order.
fn naive(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for word in part.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
    }
    sum as u16
}

/// What a sender does about the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    Whole,
    /// Left to the card.
    Partial,
    Absent,
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A frame as a sender makes it.
fn frame(from: SocketAddr, to: SocketAddr, payload: &[u8], sum: Sum, tags: usize, padding: usize) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut udp = Vec::new();
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(length.to_be_bytes());
    udp.extend([0; 2]);
    udp.extend(payload);
    let (source, destination) = (octets(from.ip()), octets(to.ip()));
    let protocol = [0, 17];
    let pseudo = [&source[..], &destination, &protocol, &udp[4..6]].concat();
    let field = match sum {
        Sum::Whole => match !naive(&[&pseudo, &udp]) {
            0 => 0xffff,
            sum => sum,
        },
        Sum::Partial => naive(&[&pseudo]),
        Sum::Absent => 0,
    };
    udp[6..8].copy_from_slice(&field.to_be_bytes());
    let mut frame = vec![0xee; 12];
    for tag in 0..tags {
        frame.extend(if tag + 1 < tags { [0x88, 0xa8] } else { [0x81, 0] });
        frame.extend([0, 7]);
    }
    if from.is_ipv4() {
        frame.extend([8, 0, 0x45, 0x10]);
        frame.extend((length + 20).to_be_bytes());
        frame.extend([1, 2, 0x40, 0, 61, 17, 0, 0]);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([17, 61]);
    }
    frame.extend(source);
    frame.extend(destination);
    frame.extend(udp);
    frame.extend(vec![0xdd; padding]);
    frame
}

/// Checks a packet as its receiver does; answers its addresses and its payload, and whether the UDP checksum is right.
fn received(packet: &[u8], vlan: u16) -> (SocketAddr, SocketAddr, Vec<u8>, bool) {
    assert!(packet.len() >= 60);
    assert_eq!(packet[..12], [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    let mut at = 12;
    if vlan != 0 {
        assert_eq!(packet[12..16], [0x81, 0, (vlan >> 8) as u8, vlan as u8]);
        at += 4;
    }
    let (v6, ip) = (packet[at..at + 2] == [0x86, 0xdd], &packet[at + 2..]);
    let word = |at: usize| u16::from_be_bytes([ip[at], ip[at + 1]]);
    let (addresses, udp, padding) = if v6 {
        assert_eq!((ip[0] >> 4, ip[0] << 4 | ip[1] >> 4, ip[6], ip[7]), (6, 0xb8, 17, 64));
        let end = 40 + usize::from(word(4));
        (&ip[8..40], &ip[40..end], &ip[end..])
    } else {
        assert_eq!(naive(&[&ip[..20]]), 0xffff, "the checksum of the IPv4 header");
        assert_eq!((ip[0], ip[1], ip[8], ip[9], word(6)), (0x45, 0xb8, 64, 17, 0x4000));
        let end = usize::from(word(2));
        (&ip[12..20], &ip[20..end], &ip[end..])
    };
    assert!(padding.iter().all(|byte| *byte == 0), "nothing of other packets leaves");
    let address = |octets: &[u8]| match octets.len() {
        4 => IpAddr::from(*octets.first_chunk::<4>().unwrap()),
        _ => IpAddr::from(*octets.first_chunk::<16>().unwrap()),
    };
    let half = addresses.len() / 2;
    let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    assert_eq!(usize::from(port(4)), udp.len());
    let right = if udp[6..8] == [0, 0] {
        assert!(!v6, "IPv6 has a checksum always");
        true
    } else {
        naive(&[addresses, &[0, 17], &udp[4..6], udp]) == 0xffff
    };
    let (from, to) = (address(&addresses[..half]), address(&addresses[half..]));
    (SocketAddr::new(from, port(0)), SocketAddr::new(to, port(2)), udp[8..].to_vec(), right)
}

fn hop(vlan: u16, mtu: u16) -> NextHop {
    NextHop { interface: 3, source: [2; 6], destination: [1; 6], vlan, mtu }
}

fn address(v6: bool, octets: [u8; 16], port: u16) -> SocketAddr {
    if v6 {
        // Not one of a link, whose scope is told apart.
        let mut octets = octets;
        octets[..2].copy_from_slice(&[0x20, 1]);
        (octets, port).into()
    } else {
        (*octets.first_chunk::<4>().unwrap(), port).into()
    }
}

const AT: usize = 256;

proptest! {
    /// Whatever the sender did, the receiver gets the payload under the new addresses, with a right checksum, or a
    /// wrong one if it was wrong before.
    #[test]
    fn packets_come_out_right(
        payload in prop::collection::vec(any::<u8>(), 0..1400), from6: bool, to6: bool, damaged: bool,
        addresses: [([u8; 16], u16); 4], sum in prop_oneof![Just(Sum::Whole), Just(Sum::Partial), Just(Sum::Absent)],
        tags in 0usize..3, padding in 0usize..20, vlan in prop_oneof![Just(0u16), 1u16..4095], id: u16,
    ) {
        let [a, b] = [addresses[0], addresses[1]].map(|(octets, port)| address(from6, octets, port));
        let [c, d] = [addresses[2], addresses[3]].map(|(octets, port)| address(to6, octets, port.max(1)));
        let sum = if from6 && sum == Sum::Absent { Sum::Whole } else { sum };
        let mut bytes = frame(a, b, &payload, sum, tags, padding);
        // Damage is seen by its checksum where there is a whole one.
        let damaged = damaged && sum == Sum::Whole && !payload.is_empty();
        if damaged {
            let last = bytes.len() - padding - 1;
            bytes[last] ^= 0x55;
        }
        let datagram = frame::parse(&bytes, 3).unwrap();
        prop_assert_eq!((datagram.source, datagram.destination), (a, b));
        let mut chunk = vec![0xcc; AT];
        chunk.extend(&bytes);
        chunk.resize(2048, 0xcc);
        let at = AT + datagram.payload.start..AT + datagram.payload.end;
        prop_assert_eq!(chunk[at.clone()].len(), payload.len());
        let out = Out { next: hop(vlan, 1500), line: Line::new(c, d, 0xb8), id };
        let sent = out.write(&mut chunk, at, datagram.checksum).unwrap();
        let (source, destination, got, right) = received(&chunk[sent], vlan);
        prop_assert_eq!((source, destination), (c, d));
        let mut expected = payload;
        if damaged {
            *expected.last_mut().unwrap() ^= 0x55;
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(right, !damaged);
    }

    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120), ethertype in prop_oneof![Just([8, 0]), Just([0x86, 0xdd]), any::<[u8; 2]>()],
        cut in 0usize..120, start in 0usize..200, length in 0usize..200, version in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()],
    ) {
        if bytes.len() > 14 {
            bytes[12..14].copy_from_slice(&ethertype);
            bytes[14] = version;
        }
        bytes.truncate(cut.max(1));
        if let Some(datagram) = frame::parse(&bytes, 1) {
            prop_assert!(datagram.payload.end <= bytes.len());
        }
        let out = Out {
            next: hop(5, 1500), line: Line::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap(), 0), id: 1,
        };
        let mut chunk = vec![0; 150];
        let written = out.write(&mut chunk, start..start + length, Checksum::None);
        prop_assert!(written.is_none_or(|at| at.end <= 150));
    }
}

#[test]
fn what_the_program_would_not_hand_over_is_none() {
    let [from, to] = ["10.0.0.1:1000", "10.0.0.2:2000"].map(|address| address.parse().unwrap());
    let whole = frame(from, to, &[7; 20], Sum::Whole, 0, 0);
    assert!(frame::parse(&whole, 1).is_some());
    for length in 0..whole.len() {
        assert_eq!(frame::parse(&whole[..length], 1), None, "cut at {length}");
    }
    let changed = |at: usize, value: u8| {
        let mut frame = whole.clone();
        frame[at] = value;
        frame::parse(&frame, 1)
    };
    assert_eq!(changed(14, 0x46), None, "options");
    assert_eq!(changed(20, 0x20), None, "more fragments");
    assert_eq!(changed(21, 1), None, "a later fragment");
    assert_eq!(changed(23, 6), None, "TCP");
    assert_eq!(changed(39, 7), None, "a UDP length below its header");
    assert_eq!(changed(39, 200), None, "and above the packet");
    let [from, to] = ["[2001:db8::1]:1", "[2001:db8::2]:2"].map(|address| address.parse().unwrap());
    assert_eq!(frame::parse(&frame(from, to, &[7; 20], Sum::Absent, 0, 0), 1), None, "IPv6 without a checksum");
    let mut options = frame(from, to, &[7; 20], Sum::Whole, 0, 0);
    options[20] = 0;
    assert_eq!(frame::parse(&options, 1), None, "an extension header");
}

#[test]
fn a_party_of_the_same_link_is_known_by_its_interface() {
    let [from, to] = ["[fe80::1]:1", "[fe80::2]:2"].map(|address| address.parse().unwrap());
    let datagram = frame::parse(&frame(from, to, &[7; 20], Sum::Whole, 0, 0), 9).unwrap();
    assert_eq!(datagram.source, "[fe80::1%9]:1".parse().unwrap());
}

#[test]
fn a_packet_above_the_limit_of_its_path_and_one_to_no_port_are_not_written() {
    let [from, to]: [SocketAddr; 2] = ["10.0.0.1:1000", "10.0.0.2:2000"].map(|address| address.parse().unwrap());
    let mut chunk = vec![0; 2048];
    let out = |mtu, to| Out { next: hop(0, mtu), line: Line::new(from, to, 0), id: 1 };
    let payload = 300..400;
    assert!(out(128, to).write(&mut chunk, payload.clone(), Checksum::None).is_some());
    assert!(out(127, to).write(&mut chunk, payload.clone(), Checksum::None).is_none());
    assert!(out(1500, SocketAddr::new(to.ip(), 0)).write(&mut chunk, payload, Checksum::None).is_none());
}
