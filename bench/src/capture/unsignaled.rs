//! Media alone, for calls whose signaling the captures do not show: what is encrypted, for instance.
//!
//! Whose a packet is, its stream's SSRC tells, which Moorline leaves as it is. So a packet that came out in
//! another call at the address of a party that was never seen before is not found out, unlike by
//! [`verify`](super::verify).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use ipnet::IpNet;
use moorline_rtp::{Kind, Rtp, kind};

use super::flow::{Flow, Identity};
use super::packet::Datagram;
use super::pcap::Capture;
use super::report::{Direction, Verdict};

/// Judges the RTP that crossed Moorline, whose relay addresses are in these networks: one on the core's side,
/// one on the carrier's.
pub fn verify_media(core: &Capture<'_>, carrier: &Capture<'_>, core_relays: IpNet, carrier_relays: IpNet) -> Verdict {
    let mut verdict =
        Verdict { unreadable: core.fragments + core.cut + carrier.fragments + carrier.cut, ..Verdict::default() };
    let mut streams = Streams::default();
    streams.sort(&core.datagrams, core_relays, [Direction::Outward, Direction::Inward], &mut verdict);
    streams.sort(&carrier.datagrams, carrier_relays, [Direction::Inward, Direction::Outward], &mut verdict);
    let sent = streams.flows.values().flat_map(|flow| &flow.sent);
    let known: HashSet<Identity<'_>> = sent.map(|packet| Identity::of(packet.payload)).collect();
    for ((direction, _), flow) in &streams.flows {
        flow.judge(verdict.rtp.entry(*direction).or_default(), |identity| known.contains(identity));
    }
    for (direction, _) in streams.astray {
        verdict.rtp.entry(direction).or_default().crossed += 1;
    }
    verdict
}

/// A stream in one direction, by its SSRC.
type Key = (Direction, u32);

#[derive(Default)]
struct Streams<'a> {
    flows: BTreeMap<Key, Flow<'a>>,
    /// Where each came out: at one relay address, towards one party.
    ways: HashMap<Key, (SocketAddr, SocketAddr)>,
    /// Those that came out in two places.
    astray: HashSet<Key>,
}

impl<'a> Streams<'a> {
    /// Sorts the datagrams of one side: what parties send goes in the first direction, what comes from the
    /// relay has gone in the second.
    fn sort(
        &mut self,
        datagrams: &[Datagram<'a>],
        relays: IpNet,
        [there, back]: [Direction; 2],
        verdict: &mut Verdict,
    ) {
        for datagram in datagrams.iter().filter(|datagram| kind(datagram.payload) == Kind::Rtp) {
            let Ok(rtp) = Rtp::parse(datagram.payload) else { continue };
            if relays.contains(&datagram.destination.ip()) {
                self.flows.entry((there, rtp.ssrc())).or_default().sent.push(*datagram);
            } else if relays.contains(&datagram.source.ip()) {
                let key = (back, rtp.ssrc());
                self.flows.entry(key).or_default().relayed.push(*datagram);
                let way = (datagram.source, datagram.destination);
                if *self.ways.entry(key).or_insert(way) != way {
                    self.astray.insert(key);
                }
            } else {
                verdict.wrong_source += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Limits;

    const RELAY: &str = "192.0.2.1:16384";
    const OUTER_RELAY: &str = "47.103.169.70:16384";
    const CALLER: &str = "192.0.2.10:6000";
    const CALLEE: &str = "198.51.100.20:20000";

    fn rtp(ssrc: u8, sequence: u8) -> [u8; 14] {
        [0x80, 8, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, ssrc, ssrc, sequence]
    }

    fn sent<'a>(at_ns: u64, from: &str, to: &str, payload: &'a [u8]) -> Datagram<'a> {
        Datagram { at_ns, source: from.parse().unwrap(), destination: to.parse().unwrap(), payload }
    }

    fn judge(core: Vec<Datagram<'_>>, carrier: Vec<Datagram<'_>>) -> Verdict {
        let capture = |datagrams| Capture { datagrams, ..Capture::default() };
        let network = |text: &str| text.parse().unwrap();
        verify_media(&capture(core), &capture(carrier), network("192.0.2.1/32"), network("47.103.169.64/27"))
    }

    #[test]
    fn both_directions_are_matched_and_loss_is_counted() {
        let packets = [rtp(1, 1), rtp(1, 2), rtp(2, 1)];
        let core = vec![
            sent(1, CALLER, RELAY, &packets[0]),
            sent(2, CALLER, RELAY, &packets[1]),
            sent(4, RELAY, CALLER, &packets[2]),
        ];
        let carrier = vec![sent(2, OUTER_RELAY, CALLEE, &packets[0]), sent(3, CALLEE, OUTER_RELAY, &packets[2])];
        let verdict = judge(core, carrier);
        let tally = |direction| verdict.rtp[&direction].clone();
        assert_eq!((tally(Direction::Outward).sent, tally(Direction::Outward).lost), (2, 1));
        assert_eq!((tally(Direction::Inward).sent, tally(Direction::Inward).relayed), (1, 1));
        let faults = verdict.faults(&Limits { interruption_ms: 200, ..Limits::default() });
        assert_eq!(faults, ["1 packets lost, at most 0 expected"]);
    }

    #[test]
    fn what_comes_from_nowhere_or_goes_astray_is_found() {
        let packets = [rtp(1, 1), rtp(1, 2), rtp(3, 1), rtp(4, 1)];
        let core = vec![sent(1, CALLER, RELAY, &packets[0]), sent(1, CALLER, RELAY, &packets[1])];
        let carrier = vec![
            sent(2, OUTER_RELAY, CALLEE, &packets[0]),
            sent(2, OUTER_RELAY, "198.51.100.20:20002", &packets[1]),
            sent(2, OUTER_RELAY, CALLEE, &packets[2]),
            sent(2, "198.51.100.1:9999", CALLEE, &packets[3]),
        ];
        let verdict = judge(core, carrier);
        let tally = &verdict.rtp[&Direction::Outward];
        assert_eq!((tally.crossed, tally.unsent, verdict.wrong_source), (1, 1, 1));
    }
}
