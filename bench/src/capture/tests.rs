//! Captures made by hand: one call or two, with one thing wrong each.

use std::net::SocketAddr;

use super::pcap::{Capture, PcapError};
use super::report::{Direction, Limits, Verdict};
use super::verify::{Expectation, verify};

const MS: u64 = 1_000_000;
const CALLER_SIP: &str = "192.0.2.10:5060";
const SBC_CORE: &str = "192.0.2.1:5060";
const SBC_CARRIER: &str = "198.51.100.1:5060";
const CARRIER_SIP: &str = "198.51.100.20:5060";
const CALLER: &str = "192.0.2.10:6000";
const CALLEE: &str = "198.51.100.20:20000";

/// A datagram that is to be captured.
#[derive(Clone)]
struct Sent {
    at: u64,
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

fn sent(at: u64, from: &str, to: &str, payload: impl Into<Vec<u8>>) -> Sent {
    Sent { at, from: from.parse().unwrap(), to: to.parse().unwrap(), payload: payload.into() }
}

fn frame(packet: &Sent) -> Vec<u8> {
    let udp_length = 8 + packet.payload.len();
    let mut frame = vec![2; 12];
    match (packet.from, packet.to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend(((20 + udp_length) as u16).to_be_bytes());
            frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
            frame.extend(from.ip().octets());
            frame.extend(to.ip().octets());
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((udp_length as u16).to_be_bytes());
            frame.extend([17, 64]);
            frame.extend(from.ip().octets());
            frame.extend(to.ip().octets());
        }
        _ => panic!("one family"),
    }
    frame.extend(packet.from.port().to_be_bytes());
    frame.extend(packet.to.port().to_be_bytes());
    frame.extend((udp_length as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(&packet.payload);
    frame
}

fn pcap(packets: &[Sent]) -> Vec<u8> {
    let mut packets = packets.to_vec();
    packets.sort_by_key(|packet| packet.at);
    let mut file = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0];
    file.extend([0; 8]);
    file.extend(65535u32.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for packet in &packets {
        let frame = frame(packet);
        for word in [packet.at / 1_000_000_000, packet.at % 1_000_000_000, frame.len() as u64, frame.len() as u64] {
            file.extend((word as u32).to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160).map(|byte| byte ^ sequence as u8 ^ ssrc as u8));
    packet
}

fn sip(start: &str, call_id: &str, to_tag: &str, cseq: &str, extra: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{start}\r\nVia: SIP/2.0/UDP host;branch=z9hG4bK{call_id}{cseq}\r\nFrom: <sip:a@host>;tag=1\r\n\
         To: <sip:b@host>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn sdp(media: SocketAddr) -> String {
    let (ip, port) = (media.ip(), media.port());
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n")
}

/// What both captures hold. Packet `n` of a flow is at a known place: each call has 20 packets each way.
struct Scene {
    core: Vec<Sent>,
    carrier: Vec<Sent>,
}

const PACKETS: u16 = 20;

impl Scene {
    fn new() -> Scene {
        Scene { core: Vec::new(), carrier: Vec::new() }
    }

    /// One call with the relay on the given ports: answered, 20 packets each way, ended by the caller.
    fn call(mut self, number: u32, core_relay: &str, carrier_relay: &str) -> Scene {
        let (core_id, carrier_id) = (format!("core{number}"), format!("out{number}"));
        let header = format!("X-Call: call{number}\r\n");
        let at = |ms: u64| (1000 + u64::from(number) + ms) * MS;
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let answer = "SIP/2.0 200 OK";
        let invite =
            |id: &str, media: &str| sip("INVITE sip:b SIP/2.0", id, "", "1 INVITE", &header, &sdp(address(media)));
        let ok = |id: &str, media: &str| sip(answer, id, ";tag=2", "1 INVITE", "", &sdp(address(media)));
        self.core.push(sent(at(0), CALLER_SIP, SBC_CORE, invite(&core_id, CALLER)));
        self.carrier.push(sent(at(1), SBC_CARRIER, CARRIER_SIP, invite(&carrier_id, carrier_relay)));
        self.carrier.push(sent(at(2), CARRIER_SIP, SBC_CARRIER, ok(&carrier_id, CALLEE)));
        self.core.push(sent(at(3), SBC_CORE, CALLER_SIP, ok(&core_id, core_relay)));
        for sequence in 0..PACKETS {
            let at = at(100 + 20 * u64::from(sequence));
            let (outward, inward) = (rtp(number, sequence), rtp(number | 0x100, sequence));
            self.core.push(sent(at, CALLER, core_relay, outward.clone()));
            self.carrier.push(sent(at + MS / 10, carrier_relay, CALLEE, outward));
            self.carrier.push(sent(at + MS, CALLEE, carrier_relay, inward.clone()));
            self.core.push(sent(at + MS + MS / 10, core_relay, CALLER, inward));
        }
        for (side, id, from, to) in [
            (&mut self.core, &core_id, CALLER_SIP, SBC_CORE),
            (&mut self.carrier, &carrier_id, SBC_CARRIER, CARRIER_SIP),
        ] {
            side.push(sent(at(1000), from, to, sip("BYE sip:b SIP/2.0", id, ";tag=2", "2 BYE", "", "")));
            side.push(sent(at(1001), to, from, sip(answer, id, ";tag=2", "2 BYE", "", "")));
        }
        self
    }

    fn refused_call(mut self, number: u32, extra: &str) -> Scene {
        let (id, header) = (format!("core{number}"), format!("X-Call: call{number}\r\n"));
        let at = u64::from(number) * MS;
        let body = sdp(CALLER.parse().unwrap());
        self.core.push(sent(
            at,
            CALLER_SIP,
            SBC_CORE,
            sip("INVITE sip:b SIP/2.0", &id, "", "1 INVITE", &header, &body),
        ));
        let answer = sip("SIP/2.0 503 Service Unavailable", &id, ";tag=2", "1 INVITE", extra, "");
        self.core.push(sent(at + MS, SBC_CORE, CALLER_SIP, answer));
        self
    }

    /// The place of a packet that the relay sent to the carrier.
    fn outward(&self, ssrc: u32, sequence: u16) -> usize {
        let wanted = rtp(ssrc, sequence);
        self.carrier.iter().position(|packet| packet.payload == wanted && packet.to == CALLEE.parse().unwrap()).unwrap()
    }

    fn verdict(&self) -> Verdict {
        let (core, carrier) = (pcap(&self.core), pcap(&self.carrier));
        let expectation = Expectation {
            inside: vec!["192.0.2.0/24".parse().unwrap()],
            outside_range: "47.103.169.64/27".parse().unwrap(),
            call_header: "X-Call".into(),
        };
        verify(&Capture::parse(&core).unwrap(), &Capture::parse(&carrier).unwrap(), &expectation)
    }

    /// The faults of the scene if so many calls are expected.
    fn faults(&self, answered: u64) -> Vec<String> {
        self.verdict().faults(&Limits { answered, interruption_ms: 200, ..Limits::default() })
    }
}

fn one_call() -> Scene {
    Scene::new().call(1, "192.0.2.1:16384", "47.103.169.70:16384")
}

fn two_calls() -> Scene {
    one_call().call(2, "192.0.2.1:16386", "47.103.169.71:16390")
}

#[test]
fn calls_without_fault_have_none() {
    let scene = two_calls();
    assert_eq!(scene.faults(2), Vec::<String>::new());
    let verdict = scene.verdict();
    assert_eq!((verdict.calls, verdict.answered, verdict.ended, verdict.stray), (2, 2, 2, 0));
    for direction in [Direction::Outward, Direction::Inward] {
        let tally = &verdict.rtp[&direction];
        assert_eq!((tally.sent, tally.relayed, tally.lost), (40, 40, 0));
        assert!((90_000..110_000).contains(&tally.transit.max()));
    }
    assert!(verdict.figures().contains("\nrtp_outward_sent=40\n"));
}

#[test]
fn a_challenge_is_part_of_its_call() {
    let mut scene = one_call();
    let challenge = |id: &str| sip("SIP/2.0 407 Proxy Authentication Required", id, ";tag=0", "1 INVITE", "", "");
    scene.core.push(sent(1000 * MS, SBC_CORE, CALLER_SIP, challenge("core1")));
    scene.carrier.push(sent(1002 * MS, CARRIER_SIP, SBC_CARRIER, challenge("out1")));
    assert_eq!(scene.faults(1), Vec::<String>::new());
}

#[test]
fn loss_is_found() {
    let mut scene = one_call();
    scene.carrier.remove(scene.outward(1, 5));
    assert_eq!(scene.faults(1), ["1 packets lost, at most 0 expected"]);
}

#[test]
fn interruptions_are_measured() {
    // Packets 5 to 16 are missing: from 4 to 17 is 260 ms.
    let mut scene = one_call();
    for sequence in 5..=16 {
        scene.carrier.remove(scene.outward(1, sequence));
    }
    assert_eq!(scene.verdict().rtp[&Direction::Outward].interruption_ns, 260 * MS);
    assert!(scene.faults(1).contains(&"Outward: media stood still for 260 ms".to_owned()));

    // Nothing gets lost, but from packet 10 on all comes 300 ms later.
    let mut scene = one_call();
    for sequence in 10..PACKETS {
        let place = scene.outward(1, sequence);
        scene.carrier[place].at += 300 * MS;
    }
    assert_eq!(scene.faults(1), ["Outward: media stood still for 300 ms"]);

    // The first and the last ones are missing.
    let mut scene = one_call();
    scene.carrier.retain(|packet| packet.to != CALLEE.parse().unwrap() || packet.payload[3] == 10);
    assert_eq!(scene.verdict().rtp[&Direction::Outward].interruption_ns, 200 * MS);
}

#[test]
fn changed_payload_is_found() {
    let mut scene = one_call();
    let place = scene.outward(1, 5);
    scene.carrier[place].payload[100] ^= 1;
    let verdict = scene.verdict();
    assert_eq!((verdict.rtp[&Direction::Outward].corrupted, verdict.rtp[&Direction::Outward].lost), (1, 0));
    assert_eq!(scene.faults(1).len(), 1);
}

#[test]
fn changed_order_is_found() {
    let mut scene = one_call();
    let (first, second) = (scene.outward(1, 5), scene.outward(1, 6));
    let payload = scene.carrier[first].payload.clone();
    scene.carrier[first].payload = std::mem::replace(&mut scene.carrier[second].payload, payload);
    assert_eq!(scene.verdict().rtp[&Direction::Outward].reordered, 1);
    assert_eq!(scene.faults(1).len(), 1);
}

#[test]
fn repetition_is_found() {
    let mut scene = one_call();
    let mut again = scene.carrier[scene.outward(1, 5)].clone();
    again.at += MS;
    scene.carrier.push(again);
    let verdict = scene.verdict();
    assert_eq!((verdict.rtp[&Direction::Outward].duplicated, verdict.rtp[&Direction::Outward].lost), (1, 0));
    assert_eq!(scene.faults(1).len(), 1);
}

#[test]
fn a_packet_in_another_call_is_found() {
    let mut scene = two_calls();
    let place = scene.outward(1, 5);
    scene.carrier[place].from = "47.103.169.71:16390".parse().unwrap();
    let verdict = scene.verdict();
    assert_eq!((verdict.rtp[&Direction::Outward].crossed, verdict.rtp[&Direction::Outward].lost), (1, 1));
    assert_eq!(scene.faults(2).len(), 2);
}

#[test]
fn a_packet_to_somebody_else_is_found() {
    let mut scene = one_call();
    let mut astray = scene.carrier[scene.outward(1, 5)].clone();
    astray.to = "198.51.100.20:30000".parse().unwrap();
    scene.carrier.push(astray);
    assert_eq!(scene.verdict().rtp[&Direction::Outward].crossed, 1);
    assert_eq!(scene.faults(1).len(), 1);
}

#[test]
fn a_packet_that_nobody_sent_is_found() {
    let mut scene = one_call();
    scene.carrier.push(sent(1_300 * MS, "47.103.169.70:16384", CALLEE, rtp(99, 1)));
    assert_eq!(scene.verdict().rtp[&Direction::Outward].unsent, 1);
    assert_eq!(scene.faults(1).len(), 1);
}

#[test]
fn a_wrong_source_is_found() {
    let mut scene = one_call();
    let place = scene.outward(1, 5);
    scene.carrier[place].from = "198.51.100.1:16384".parse().unwrap();
    assert_eq!(scene.verdict().wrong_source, 1);
    assert_eq!(scene.faults(1), ["1 packets came from no relay address", "1 packets lost, at most 0 expected"]);
}

#[test]
fn a_relay_address_outside_the_range_is_found() {
    let scene = Scene::new().call(1, "192.0.2.1:16384", "198.51.100.1:16384");
    let verdict = scene.verdict();
    assert_eq!((verdict.outside_range, verdict.wrong_source), (1, u64::from(PACKETS)));
    assert_eq!(scene.faults(1).len(), 2);
}

#[test]
fn a_relay_port_of_two_calls_is_found() {
    let scene = one_call().call(2, "192.0.2.1:16384", "47.103.169.70:16390");
    assert_eq!(scene.verdict().shared_ports, 1);
    assert!(!scene.faults(2).is_empty());
}

/// A port may serve another call when the first one is over.
#[test]
fn a_relay_port_that_is_used_again_is_not_shared() {
    let scene = one_call().call(1100, "192.0.2.1:16384", "47.103.169.70:16384");
    assert_eq!(scene.faults(2), Vec::<String>::new());
}

#[test]
fn strangers_are_no_fault() {
    let mut scene = one_call();
    scene.core.push(sent(1_300 * MS, "192.0.2.66:7777", "192.0.2.1:16384", vec![7; 40]));
    scene.core.push(sent(1_301 * MS, "192.0.2.66:7777", SBC_CORE, *b"no SIP at all"));
    assert_eq!(scene.faults(1), Vec::<String>::new());
    assert_eq!(scene.verdict().stray, 1);
}

#[test]
fn rtcp_is_matched_byte_for_byte() {
    let report = |count: u8| [&[0x80, 201, 0, 1, 0, 0, 0, 1][..], &[count; 8]].concat();
    let mut scene = one_call();
    for (at, count) in [(1_200, 1), (1_300, 2)] {
        scene.core.push(sent(at * MS, "192.0.2.10:6001", "192.0.2.1:16385", report(count)));
        scene.carrier.push(sent(at * MS + MS, "47.103.169.70:16385", "198.51.100.20:20001", report(count)));
    }
    assert_eq!(scene.faults(1), Vec::<String>::new());
    assert_eq!(
        (scene.verdict().rtcp[&Direction::Outward].sent, scene.verdict().rtp[&Direction::Outward].sent),
        (2, 20)
    );
    let last = scene.carrier.last_mut().unwrap();
    last.payload = report(3);
    assert_eq!(scene.verdict().rtcp[&Direction::Outward].unsent, 1);
    assert_eq!(scene.faults(1).len(), 2);
}

#[test]
fn calls_that_do_not_end_are_found() {
    let mut scene = one_call();
    scene.carrier.truncate(scene.carrier.len() - 1);
    assert_eq!(scene.faults(1), ["0 of 1 calls ended by BYE"]);
    let scene = one_call();
    assert_eq!(scene.faults(2), ["1 calls answered, not 2"]);
}

#[test]
fn refusals_are_told_by_their_retry_after() {
    let limits = Limits { answered: 1, refused: 1, interruption_ms: 200, ..Limits::default() };
    let good = one_call().refused_call(2, "Retry-After: 10\r\n").verdict();
    assert_eq!(good.faults(&limits), Vec::<String>::new());
    let bad = one_call().refused_call(2, "").verdict();
    assert_eq!((bad.refused.get(&503), bad.faults(&limits).len()), (Some(&1), 1));
}

#[test]
fn retransmissions_and_leaks_are_counted() {
    let mut scene = one_call();
    let mut again = scene.core[0].clone();
    again.at += 500 * MS;
    scene.core.push(again);
    assert_eq!(scene.faults(1), ["1 SIP retransmissions, at most 0 expected"]);

    let mut scene = one_call();
    let leak = sip("OPTIONS sip:b SIP/2.0", "leak", "", "1 OPTIONS", "Contact: <sip:a@192.0.2.10:5060>\r\n", "");
    scene.carrier.push(sent(1_200 * MS, SBC_CARRIER, CARRIER_SIP, leak));
    assert_eq!(scene.verdict().leaks, 1);
    let leak = sip("OPTIONS sip:b SIP/2.0", "leak", "", "1 OPTIONS", "Contact: <sip:198.51.100.20>\r\n", "");
    scene.core.push(sent(1_200 * MS, SBC_CORE, CALLER_SIP, leak));
    assert_eq!(scene.verdict().leaks, 2);
}

#[test]
fn a_call_that_nobody_placed_is_found() {
    let mut scene = one_call();
    let invite = sip("INVITE sip:b SIP/2.0", "x", "", "1 INVITE", "X-Call: other\r\n", "");
    scene.carrier.push(sent(1_200 * MS, SBC_CARRIER, CARRIER_SIP, invite));
    assert_eq!(scene.faults(1), ["1 calls reached the carrier that nobody placed"]);
}

#[test]
fn files_are_read_in_either_byte_order_and_both_families() {
    let packets = [
        sent(5 * MS, CALLER, "192.0.2.1:16384", rtp(1, 1)),
        sent(6 * MS, "[2001:db8::1]:6000", "[2001:db8::2]:7000", rtp(1, 2)),
    ];
    let little = pcap(&packets);
    let capture = Capture::parse(&little).unwrap();
    assert_eq!(capture.datagrams.len(), 2);
    for (datagram, packet) in capture.datagrams.iter().zip(&packets) {
        assert_eq!((datagram.at_ns, datagram.source, datagram.destination), (packet.at, packet.from, packet.to));
        assert_eq!(datagram.payload, packet.payload);
    }
    // The header words of the other byte order, in microseconds.
    let mut big = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4];
    big.extend([0; 12]);
    big.extend(1u32.to_be_bytes());
    let frame = frame(&packets[0]);
    for word in [0, 5_000, frame.len() as u32, frame.len() as u32] {
        big.extend(word.to_be_bytes());
    }
    big.extend(&frame);
    assert_eq!(Capture::parse(&big).unwrap().datagrams[0].at_ns, 5 * MS);
}

#[test]
fn what_cannot_be_read_is_said() {
    let file = pcap(&[sent(MS, CALLER, CALLEE, rtp(1, 1))]);
    assert_eq!(Capture::parse(&file[..file.len() - 1]).unwrap_err(), PcapError::Ends(24));
    assert_eq!(Capture::parse(&file[..10]).unwrap_err(), PcapError::Format);
    assert_eq!(Capture::parse(b"\x0a\x0d\x0d\x0a and more that is pcapng").unwrap_err(), PcapError::Format);
    let mut cooked = file.clone();
    cooked[20] = 113;
    assert_eq!(Capture::parse(&cooked).unwrap_err(), PcapError::LinkType(113));
    // The second half of a fragmented packet, and a packet of which only a part was captured.
    let mut fragment = file.clone();
    fragment[24 + 16 + 14 + 6] = 0x20;
    assert_eq!(Capture::parse(&fragment).unwrap().fragments, 1);
    let mut cut = file;
    cut[24 + 12] += 1;
    assert_eq!(Capture::parse(&cut).unwrap().cut, 1);
}

/// Any change of any byte is read or refused, never a panic.
#[test]
fn damaged_files_are_survived() {
    let file = pcap(&one_call().core[..4]);
    for place in 0..file.len() {
        for bit in [0x01, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[place] ^= bit;
            let _ = Capture::parse(&damaged).map(|capture| capture.datagrams.len());
        }
    }
}
