//! Calls as the SIP messages of both captures show them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use moorline_sdp::Session;
use moorline_sip::{Index, Message, Method, Name};

use super::packet::Datagram;

/// One call: what each side said on its leg.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// When its INVITE reached the core side.
    pub(super) begin_ns: u64,
    /// When the first BYE was seen, or the final answer that refused it.
    pub(super) end_ns: u64,
    pub(super) core: Leg,
    pub(super) carrier: Leg,
}

/// One leg. A party's own media address comes from its SDP, the relay's from the SDP it is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Leg {
    pub(super) party: Option<Media>,
    pub(super) relay: Option<Media>,
    /// The final status of its INVITE; a challenge, which the same call answers, is none.
    pub(super) status: Option<u16>,
    pub(super) has_retry_after: bool,
    /// A BYE was seen and answered with 200.
    pub(super) has_ended: bool,
}

/// Where somebody receives the first stream's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: SocketAddr,
}

impl Call {
    /// Both parties answered and know where media goes.
    pub(super) fn is_answered(&self) -> bool {
        let is_complete = |leg: &Leg| leg.status == Some(200) && leg.party.is_some() && leg.relay.is_some();
        is_complete(&self.core) && is_complete(&self.carrier)
    }
}

/// What the SIP of both captures says.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) calls: Vec<Call>,
    /// INVITEs of the carrier side that belong to none of the core side.
    pub(super) unmatched: u64,
    /// Datagrams that were sent again, byte for byte.
    pub(super) retransmissions: u64,
    /// SIP messages that name an address of the other side.
    pub(super) leaks: u64,
}

/// True if the datagram can be a SIP message: RTP, RTCP and STUN never begin with a letter.
pub(super) fn is_sip(payload: &[u8]) -> bool {
    payload.first().is_some_and(u8::is_ascii_alphabetic)
}

/// Reads the calls from what can be SIP messages of both captures. `header` is the one that tells a call on both sides; `inside` are the
/// addresses that the carrier may not see.
pub(super) fn read(core: &[Datagram<'_>], carrier: &[Datagram<'_>], header: &str, inside: &[IpNet]) -> Calls {
    let mut found = Calls::default();
    let mut by_key: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut by_call_id: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut seen = HashSet::new();
    each_message(core, |datagram, message| {
        found.retransmissions += u64::from(!seen.insert((datagram.source, datagram.destination, datagram.payload)));
        let (Ok(call_id), Some(key)) = (message.call_id(), message.other(header.as_bytes())) else { return };
        if is_initial_invite(message) && !by_key.contains_key(key) {
            let index = found.calls.len();
            by_key.insert(key.to_vec(), index);
            by_call_id.insert(call_id.to_vec(), index);
            let (core, carrier) = (Leg::default(), Leg::default());
            found.calls.push(Call { begin_ns: datagram.at_ns, end_ns: u64::MAX, core, carrier });
        }
    });
    read_leg(core, &by_call_id, &mut found.calls, |call| &mut call.core, true);

    by_call_id.clear();
    let mut seen = HashSet::new();
    // Addresses of the carrier's side, which the core may not see.
    let mut outside: HashSet<IpAddr> = HashSet::new();
    each_message(carrier, |datagram, message| {
        found.retransmissions += u64::from(!seen.insert((datagram.source, datagram.destination, datagram.payload)));
        let is_inside = |ip: IpAddr| inside.iter().any(|network| network.contains(&ip));
        found.leaks += u64::from(addresses(datagram.payload).any(is_inside));
        if !is_initial_invite(message) {
            return;
        }
        let index = message.other(header.as_bytes()).and_then(|key| by_key.get(key));
        match (index, message.call_id()) {
            (Some(&index), Ok(call_id)) => {
                outside.insert(datagram.destination.ip());
                by_call_id.entry(call_id.to_vec()).or_insert(index);
            }
            _ => found.unmatched += 1,
        }
    });
    read_leg(carrier, &by_call_id, &mut found.calls, |call| &mut call.carrier, false);
    each_message(core, |datagram, _| {
        found.leaks += u64::from(addresses(datagram.payload).any(|ip| outside.contains(&ip)));
    });
    found
}

/// Fills in one leg of each call. The party places the call on the core side, and takes it on the other.
fn read_leg(
    datagrams: &[Datagram<'_>],
    by_call_id: &HashMap<Vec<u8>, usize>,
    calls: &mut [Call],
    leg: impl Fn(&mut Call) -> &mut Leg,
    is_party_caller: bool,
) {
    each_message(datagrams, |datagram, message| {
        let index = message.call_id().ok().and_then(|call_id| by_call_id.get(call_id));
        let Some(call) = index.and_then(|&index| calls.get_mut(index)) else { return };
        let Ok(cseq) = message.cseq() else { return };
        if message.method() == Some(Method::Bye) {
            call.end_ns = call.end_ns.min(datagram.at_ns);
        }
        if is_initial_invite(message) {
            let leg = leg(call);
            *(if is_party_caller { &mut leg.party } else { &mut leg.relay }) = media(message);
        }
        let is_final = |status: &u16| *status >= 200 && !matches!(status, 401 | 407);
        let Some(status) = message.status().filter(is_final) else { return };
        match cseq.method {
            Method::Invite if leg(call).status.is_none() => {
                if status >= 300 && is_party_caller {
                    call.end_ns = call.end_ns.min(datagram.at_ns);
                }
                let leg = leg(call);
                leg.status = Some(status);
                leg.has_retry_after = message.header(Name::RetryAfter).is_some();
                *(if is_party_caller { &mut leg.relay } else { &mut leg.party }) = media(message);
            }
            Method::Bye if status == 200 => leg(call).has_ended = true,
            _ => {}
        }
    });
}

fn each_message<'a>(datagrams: &[Datagram<'a>], mut each: impl FnMut(&Datagram<'a>, Message<'_>)) {
    let mut index = Index::new();
    for datagram in datagrams {
        // What is no SIP message, garbage for instance, belongs to no call.
        if let Ok(message) = index.parse(datagram.payload) {
            each(datagram, message);
        }
    }
}

fn is_initial_invite(message: Message<'_>) -> bool {
    message.method() == Some(Method::Invite) && message.to().is_ok_and(|to| to.tag().is_none())
}

fn media(message: Message<'_>) -> Option<Media> {
    let session = Session::parse(message.body()).ok()?;
    let stream = session.media().first()?;
    let rtp = stream.rtp()?;
    // RFC 3550 section 11, unless a=rtcp says otherwise.
    let next = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    Some(Media { rtp, rtcp: stream.rtcp().unwrap_or(next) })
}

/// The IP addresses written in a message.
fn addresses(payload: &[u8]) -> impl Iterator<Item = IpAddr> + '_ {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.' || byte == b':';
    payload.split(move |byte| !is_part(*byte)).filter_map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        // The colon after `sip`, or the full stop after a sentence, is not of the address.
        let trimmed = word.trim_matches(['.', ':']);
        let with_port = || trimmed.parse().ok().map(|address: SocketAddr| address.ip());
        word.parse().ok().or_else(|| trimmed.parse().ok()).or_else(with_port)
    })
}

/// Final answers to the core's INVITEs other than 200, by status.
pub(super) fn refusals(calls: &[Call]) -> BTreeMap<u16, u64> {
    let mut refused = BTreeMap::new();
    for status in calls.iter().filter_map(|call| call.core.status).filter(|status| *status != 200) {
        *refused.entry(status).or_default() += 1;
    }
    refused
}
