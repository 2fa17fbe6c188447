//! Puts every datagram of both captures into the flow that it belongs to, and judges the flows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use ipnet::IpNet;

use super::call::{self, Call, Calls, Leg, Media};
use super::flow::{Flow, Identity};
use super::packet::Datagram;
use super::pcap::Capture;
use super::report::{Direction, Verdict};
use super::stream::{self, StreamMessage};

/// What is known of the network around Moorline.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The core's networks: every relay address on the core's side is in one of them, and the carrier sees
    /// none of their addresses.
    pub inside: Vec<IpNet>,
    /// The network of all relay addresses on the carrier's side.
    pub outside_range: IpNet,
    /// The SIP header that crosses Moorline and is another in each call.
    pub call_header: String,
}

/// Judges what crossed Moorline from captures on its core side and on its carrier side.
pub fn verify(core: &Capture<'_>, carrier: &Capture<'_>, expectation: &Expectation) -> Verdict {
    let Expectation { inside, outside_range, call_header } = expectation;
    let (core_streams, core_holes) = stream::messages(&core.segments);
    let (carrier_streams, carrier_holes) = stream::messages(&carrier.segments);
    let (core_sip, carrier_sip) = (signaling(core, &core_streams), signaling(carrier, &carrier_streams));
    let Calls { calls, unmatched, retransmissions, leaks } = call::read(&core_sip, &carrier_sip, call_header, inside);
    let is_inside = |address: SocketAddr| inside.iter().any(|network| network.contains(&address.ip()));
    let is_outside = |address: SocketAddr| outside_range.contains(&address.ip());
    let core_ports = Ports::new(&calls, |call| &call.core);
    let carrier_ports = Ports::new(&calls, |call| &call.carrier);
    let has_wrong_relay = |call: &&Call| {
        call.core.relay.is_some_and(|relay| !is_inside(relay.rtp))
            || call.carrier.relay.is_some_and(|relay| !is_outside(relay.rtp))
    };
    let mut verdict = Verdict {
        calls: calls.len() as u64,
        answered: calls.iter().filter(|call| call.is_answered()).count() as u64,
        ended: calls.iter().filter(|call| call.is_answered() && call.core.has_ended && call.carrier.has_ended).count()
            as u64,
        refused: call::refusals(&calls),
        retry_after: calls.iter().filter(|call| call.core.status == Some(503) && call.core.has_retry_after).count()
            as u64,
        unmatched,
        retransmissions,
        leaks,
        shared_ports: core_ports.shared + carrier_ports.shared,
        outside_range: calls.iter().filter(has_wrong_relay).count() as u64,
        unreadable: core.fragments + core.cut + core_holes + carrier.fragments + carrier.cut + carrier_holes,
        ..Verdict::default()
    };

    let mut flows: Vec<CallFlows<'_>> = calls.iter().map(|_| CallFlows::default()).collect();
    core_ports.sort(&core.datagrams, &mut flows, &mut verdict, is_inside, Direction::Outward);
    carrier_ports.sort(&carrier.datagrams, &mut flows, &mut verdict, is_outside, Direction::Inward);
    let sent = flows.iter().flat_map(|call| call.flows.values()).flat_map(|flow| &flow.sent);
    let known: HashSet<Identity<'_>> = sent.map(|packet| Identity::of(packet.payload)).collect();
    for call in &flows {
        for ((direction, stream), flow) in &call.flows {
            let tallies = match stream {
                Stream::Rtp => &mut verdict.rtp,
                Stream::Rtcp => &mut verdict.rtcp,
            };
            let tally = tallies.entry(*direction).or_default();
            flow.judge(tally, |identity| known.contains(identity));
            tally.crossed += call.misdirected.get(&(*direction, *stream)).copied().unwrap_or_default();
        }
    }
    verdict
}

/// What can be SIP messages, over UDP and over TCP, in the order of their time.
fn signaling<'a>(capture: &Capture<'a>, streams: &'a [StreamMessage]) -> Vec<Datagram<'a>> {
    let datagrams = capture.datagrams.iter().filter(|datagram| call::is_sip(datagram.payload)).copied();
    let messages = streams.iter().map(|message| {
        let StreamMessage { at_ns, source, destination, bytes } = message;
        Datagram { at_ns: *at_ns, source: *source, destination: *destination, payload: bytes }
    });
    let mut all: Vec<Datagram<'_>> = datagrams.chain(messages).collect();
    all.sort_by_key(|message| message.at_ns);
    all
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stream {
    Rtp,
    Rtcp,
}

/// What belongs to one call.
#[derive(Debug, Default)]
struct CallFlows<'a> {
    flows: BTreeMap<(Direction, Stream), Flow<'a>>,
    /// Packets from this call's relay address to somebody else than its party.
    misdirected: BTreeMap<(Direction, Stream), u64>,
}

/// Whose the addresses of one side are.
struct Ports<'c> {
    calls: &'c [Call],
    leg: fn(&Call) -> &Leg,
    /// By relay address: the calls that had it, from the first to the last.
    relays: HashMap<SocketAddr, Vec<(u64, usize, Stream)>>,
    parties: HashSet<SocketAddr>,
    /// Calls that began when their relay address was another's.
    shared: u64,
}

impl<'c> Ports<'c> {
    fn new(calls: &'c [Call], leg: fn(&Call) -> &Leg) -> Ports<'c> {
        let mut ports = Ports { calls, leg, relays: HashMap::new(), parties: HashSet::new(), shared: 0 };
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_by_key(|&index| calls[index].begin_ns);
        for index in order {
            let call = &calls[index];
            ports.parties.extend(leg(call).party.iter().flat_map(|media| [media.rtp, media.rtcp]));
            let Some(Media { rtp, rtcp }) = leg(call).relay else { continue };
            let mut is_shared = false;
            for (address, stream) in [(rtp, Stream::Rtp), (rtcp, Stream::Rtcp)] {
                let owners = ports.relays.entry(address).or_default();
                // An RTCP port that is the RTP port (multiplexed) is one call's all the same.
                let other = owners.last().filter(|(_, owner, _)| *owner != index);
                is_shared |= other.is_some_and(|(_, owner, _)| calls[*owner].end_ns > call.begin_ns);
                owners.push((call.begin_ns, index, stream));
            }
            ports.shared += u64::from(is_shared);
        }
        ports
    }

    /// The call that had a relay address at a time.
    fn owner(&self, relay: SocketAddr, at_ns: u64) -> Option<(usize, Stream)> {
        let owners = self.relays.get(&relay)?;
        let begun = owners.partition_point(|(begin_ns, ..)| *begin_ns <= at_ns);
        let (begin_ns, index, _) = owners.get(begun.checked_sub(1)?)?;
        // Of a port that serves both, RTP was noted first.
        let first = owners.iter().find(|(begin, owner, _)| begin == begin_ns && owner == index);
        first.map(|(_, index, stream)| (*index, *stream))
    }

    /// Sorts the datagrams of this side's capture. What parties send here goes `direction`; what the relay
    /// sends here has come the other way.
    fn sort<'a>(
        &self,
        datagrams: &[Datagram<'a>],
        flows: &mut [CallFlows<'a>],
        verdict: &mut Verdict,
        is_relay: impl Fn(SocketAddr) -> bool,
        direction: Direction,
    ) {
        let opposite = match direction {
            Direction::Outward => Direction::Inward,
            Direction::Inward => Direction::Outward,
        };
        for datagram in datagrams {
            let party = |index: usize, stream| {
                let media = (self.leg)(&self.calls[index]).party;
                media.map(|media| if stream == Stream::Rtp { media.rtp } else { media.rtcp })
            };
            if let Some((index, stream)) = self.owner(datagram.source, datagram.at_ns) {
                verdict.wrong_source += u64::from(!is_relay(datagram.source));
                let key = (opposite, stream);
                let flow = flows[index].flows.entry(key).or_default();
                if party(index, stream) == Some(datagram.destination) {
                    flow.relayed.push(*datagram);
                } else {
                    *flows[index].misdirected.entry(key).or_default() += 1;
                }
            } else if let Some((index, stream)) = self.owner(datagram.destination, datagram.at_ns)
                && party(index, stream) == Some(datagram.source)
            {
                flows[index].flows.entry((direction, stream)).or_default().sent.push(*datagram);
            } else if call::is_sip(datagram.payload) {
                // Signaling, or noise that looks like it.
            } else if self.parties.contains(&datagram.destination) {
                verdict.wrong_source += 1;
            } else {
                verdict.stray += 1;
            }
        }
    }
}
