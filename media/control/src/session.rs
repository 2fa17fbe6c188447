//! What a session is: legs, streams, and where their media comes from and goes to.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use minicbor::{Decode, Encode};

use crate::{Format, Play, wire};

/// The whole wanted state of a session; `Update` replaces it, stream by stream.
///
/// Streams pair up across legs by position: what leg 0 receives on its stream `i` goes out on stream `i`
/// of leg 1, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionSpec {
    /// The legs, at most [`MAX_LEGS`](crate::MAX_LEGS); an ordinary call has two.
    #[n(0)]
    pub legs: Vec<LegSpec>,
    /// After this long without an accepted packet on any leg the server sends
    /// [`Event::MediaTimeout`](crate::Event::MediaTimeout); 0 while not watched (before answer, on hold).
    #[n(1)]
    pub media_timeout_ms: u32,
    /// Opaque bytes that `List` gives back, at most [`MAX_SNAPSHOT`](crate::MAX_SNAPSHOT): the client's
    /// own record of the call, from which a restarted client restores it.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub snapshot: Vec<u8>,
}

/// One party's side of a session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LegSpec {
    /// The name of the local media range that this leg's ports are taken from.
    #[n(0)]
    pub range: String,
    /// One entry per `m=` line, at most [`MAX_STREAMS`](crate::MAX_STREAMS), in their order.
    #[n(1)]
    pub streams: Vec<StreamSpec>,
}

/// One media stream of a leg.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct StreamSpec {
    /// False for a stream with port 0 (refused or removed): it holds its place and no ports.
    #[n(0)]
    pub active: bool,
    /// What the packets are.
    #[n(1)]
    pub profile: Profile,
    /// Where this party receives RTP, or the datagrams of another profile, from its SDP; `None` before it has
    /// said so.
    #[n(2)]
    pub remote_rtp: Option<SocketAddr>,
    /// Where this party receives RTCP (RFC 3605); `None` means the port after RTP's, or RTP's own with
    /// [`rtcp_mux`](Self::rtcp_mux).
    #[n(3)]
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share this party's RTP port (RFC 5761). Means nothing without RTCP.
    #[n(4)]
    pub rtcp_mux: bool,
    /// Follow a source that differs from the SDP; `None` accepts the SDP's address and port only.
    #[n(5)]
    pub latch: Option<Latch>,
    /// Networks that media may come from; empty allows any. A source outside is refused even when the
    /// SDP names it.
    #[cbor(n(6), with = "wire::networks")]
    pub sources: Vec<IpNet>,
    /// Take exactly these local ports: a session that comes back after a media restart. Refused with
    /// [`RefusalCode::PortTaken`](crate::RefusalCode::PortTaken) if another session holds them.
    #[n(7)]
    pub local: Option<LocalAddresses>,
    /// A count that the client raises when a re-INVITE of this party was answered: behind NAT the party may
    /// have moved without its SDP saying so. A change reopens the latch window as a changed remote address
    /// does. Left out of the frame while 0.
    #[cbor(n(8), default, skip_if = "is_zero")]
    pub relatch: u32,
    /// What the payload types of packets *from* this party stand for, at most
    /// [`MAX_FORMATS`](crate::MAX_FORMATS): those that the other party's SDP names, since a sender uses the
    /// receiver's numbers (RFC 3264 section 5.1). Only what RFC 3551 does not say of static types need be
    /// here; a payload type that is nowhere has a clock of 8 kHz. Left out of the frame while empty.
    #[cbor(n(9), default, skip_if = "Vec::is_empty", with = "wire::formats")]
    pub formats: Vec<Format>,
    /// No packets are expected from this party: before the answer, or while a direction forbids it to send.
    /// Its silence is then not counted. Left out of the frame while false.
    #[cbor(n(10), default, skip_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// What the party may send on this stream at most; `None` leaves it to the server, which sets a bound of its
    /// own.
    #[cbor(n(11), default, skip_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// The party sends one synchronization source at a time, as audio is sent: while it speaks, packets of other
    /// sources are refused. Where it is false (video with retransmissions or several layers) any source is let in.
    #[cbor(n(12), default, skip_if = "std::ops::Not::not")]
    pub one_ssrc: bool,
    /// STUN (RFC 8489) from the party's address goes on to the other party; it is refused where this is false.
    #[cbor(n(13), default, skip_if = "std::ops::Not::not")]
    pub stun: bool,
    /// What is played to the party, in place of what the other leg says.
    #[n(14)]
    pub play: Option<Play>,
}

/// The most that is let in on a stream, with a burst of as much as comes in a second. Neither may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Ceiling {
    /// Packets in a second.
    #[n(0)]
    pub packets_per_s: u32,
    /// Their bytes in a second, RTP headers included; room for a packet of the largest size at least.
    #[n(1)]
    pub bytes_per_s: u32,
}

/// What the packets of a stream are: what its local port lets in. Secure profiles will join here.
///
/// An `Update` may change the profile of a stream, on both legs or on one (a re-INVITE from audio to fax and
/// back): the stream keeps its ports, its latch and its counts, and what a port has let in by its own profile
/// goes on to the other leg as it is.
///
/// A client asks only for profiles that the server's hello names ([`ServerHello::relays`]). A server cannot
/// read a request with a profile it does not know: it answers [`RefusalCode::Malformed`] and closes the
/// connection, as for any frame that is not of its protocol.
///
/// [`ServerHello::relays`]: crate::ServerHello::relays
/// [`RefusalCode::Malformed`]: crate::RefusalCode::Malformed
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Profile {
    /// RTP/AVP and RTP/AVPF without encryption.
    #[n(0)]
    #[default]
    Rtp,
    /// UDPTL, the datagrams of T.38 fax (ITU-T T.38, `m=image ... udptl t38` of RFC 3362). Opaque: any datagram
    /// that is not empty is let in, and counted by packet and byte alone. There is no RTCP: the stream holds its
    /// RTCP port, and nothing is let in there.
    #[n(1)]
    Udptl,
}

/// How a leg behind NAT is recognised: the first valid packet within the window decides, then holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Latch {
    /// Networks that the first packet may come from: the signaling source, or the trunk's media ranges.
    /// Never empty: latching onto just anybody is RTP bleed.
    #[cbor(n(0), with = "wire::networks")]
    pub sources: Vec<IpNet>,
    /// How long after `Open`, or after the `Update` that changed this stream's remote address, these networks
    /// or [`StreamSpec::relatch`], the latch may move, in milliseconds. A stream that nothing was heard of yet has its window again when the
    /// other party's address first becomes known: a caller may well be silent until it is answered.
    #[n(1)]
    pub window_ms: u32,
}

/// The addresses of one stream at the media process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct LocalAddresses {
    /// The bound address of RTP, or of another profile's datagrams.
    #[n(0)]
    pub rtp: SocketAddr,
    /// The bound RTCP address (the next port), also where the profile has no RTCP.
    #[n(1)]
    pub rtcp: SocketAddr,
    /// The address to write into SDP where it differs from the bound one (behind a 1:1 NAT).
    #[n(2)]
    pub advertised: Option<IpAddr>,
}

impl LocalAddresses {
    /// The address that belongs into SDP: the advertised one, else the bound one.
    pub fn public(&self) -> IpAddr {
        self.advertised.unwrap_or(self.rtp.ip())
    }
}

/// The local addresses of a whole session: `legs[leg][stream]`, `None` where the stream is not active.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct LocalSession {
    /// Local addresses by leg and stream.
    #[n(0)]
    pub legs: Vec<Vec<Option<LocalAddresses>>>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
