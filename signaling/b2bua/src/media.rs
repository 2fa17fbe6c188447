//! What the parties said of their media, and what the media process must be told because of it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use minicbor::{Decode, Encode};
use moorline_control::{Ceiling, Codec, Format, Latch, LegSpec, LocalSession, MAX_FORMATS, Profile, StreamSpec};
use moorline_sdp::{Anchor, Session};

use crate::policy::{MediaNat, PrivateMedia, Trunk};

mod ceiling;

/// How long after it was opened or redirected a stream may latch once the call is answered.
const LATCH_WINDOW_MS: u32 = 10_000;

/// The clock of payload types that nothing is known of.
const USUAL_CLOCK: u32 = 8_000;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Kind {
    /// Neither of the others, or not known.
    #[n(0)]
    #[default]
    Other,
    #[n(1)]
    Audio,
    #[n(2)]
    Video,
}

/// What one party's SDP says of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Remote {
    /// False for port 0.
    #[n(0)]
    pub(crate) active: bool,
    /// Where it receives RTP; `None` for port 0, an address of zeros on hold.
    #[n(1)]
    pub(crate) rtp: Option<SocketAddr>,
    /// Where it receives RTCP, if it said so.
    #[n(2)]
    pub(crate) rtcp: Option<SocketAddr>,
    /// It can take RTP and RTCP on one port.
    #[n(3)]
    pub(crate) mux: bool,
    /// It put the stream on hold.
    #[n(4)]
    pub(crate) held: bool,
    /// What its packets are.
    #[cbor(n(5), default)]
    pub(crate) profile: Profile,
    /// It sends nothing for now.
    #[cbor(n(6), default)]
    pub(crate) silent: bool,
    /// What the payload types that it receives stand for, beyond the static ones (RFC 3551).
    #[cbor(n(7), default)]
    pub(crate) formats: Vec<Format>,
    /// What it carries.
    #[cbor(n(8), default)]
    pub(crate) kind: Kind,
    /// What its formats need at most.
    #[n(9)]
    pub(crate) ceiling: Option<Ceiling>,
}

impl Remote {
    /// A stream that the party does not want.
    pub(crate) fn refused() -> Remote {
        Remote {
            active: false,
            rtp: None,
            rtcp: None,
            mux: false,
            held: false,
            silent: false,
            profile: Profile::Rtp,
            formats: Vec::new(),
            kind: Kind::Other,
            ceiling: None,
        }
    }
}

/// Why a session description cannot be anchored: the answer is 488 with this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unusable(pub(crate) String);

/// Reads what a description says of each stream.
pub(crate) fn remotes(session: &Session<'_>) -> Result<Vec<Remote>, Unusable> {
    let streams = session.media();
    if streams.len() > moorline_control::MAX_STREAMS {
        return Err(Unusable(format!("Not Acceptable Here - more than {} media", moorline_control::MAX_STREAMS)));
    }
    // What else there is besides media that we carry (MSRP, BFCP) is refused by its port, and the call goes on
    // (RFC 3264 section 6).
    let is_carried = |media: &&moorline_sdp::Media<'_>| media.is_active() && (media.is_rtp() || is_fax(media));
    let others_are_refused = streams.iter().any(|media| is_carried(&media));
    let remote = |(index, media): (usize, &moorline_sdp::Media<'_>)| {
        if others_are_refused && !is_carried(&media) { Ok(Remote::refused()) } else { remote(index, media) }
    };
    streams.iter().enumerate().map(remote).collect()
}

fn is_fax(media: &moorline_sdp::Media<'_>) -> bool {
    media.kind.eq_ignore_ascii_case(b"image") && media.protocol.eq_ignore_ascii_case(b"udptl")
}

fn remote(index: usize, media: &moorline_sdp::Media<'_>) -> Result<Remote, Unusable> {
    let fax = is_fax(media);
    let mut remote = Remote {
        active: media.is_active(),
        rtp: None,
        rtcp: None,
        mux: media.rtcp_mux,
        held: media.is_held(),
        profile: if fax { Profile::Udptl } else { Profile::Rtp },
        silent: media.is_silent(),
        formats: Vec::new(),
        kind: match media.kind {
            kind if kind.eq_ignore_ascii_case(b"audio") => Kind::Audio,
            kind if kind.eq_ignore_ascii_case(b"video") => Kind::Video,
            _ => Kind::Other,
        },
        ceiling: None,
    };
    if !remote.active {
        return Ok(remote);
    }
    if !media.is_rtp() && !fax {
        let reason = format!("Not Acceptable Here - media {} is neither RTP nor fax", index + 1);
        return Err(Unusable(reason));
    }
    let Some(rtp) = media.rtp() else {
        let reason = format!("Not Acceptable Here - media {} names no IP address", index + 1);
        return Err(Unusable(reason));
    };
    // c=0.0.0.0 puts a stream on hold the RFC 2543 way: nothing is sent there (RFC 3264 8.4). The media process is
    // told so, and lets in what the party sends from where it was: its music.
    remote.rtp = Some(rtp);
    remote.rtcp = media.rtcp().filter(|rtcp| !rtcp.ip().is_unspecified());
    remote.formats = formats(media);
    remote.ceiling = Some(ceiling::of(media, &remote));
    Ok(remote)
}

/// What the media process could not know of the payload types otherwise. Static ones that mean what they always
/// do, and unknown codecs with the usual clock, would only take up room in the call's snapshot.
fn formats(media: &moorline_sdp::Media<'_>) -> Vec<Format> {
    let read = |map: &moorline_sdp::RtpMap<'_>| Format {
        payload_type: map.payload_type,
        codec: Codec::of_name(map.encoding),
        clock_rate: map.clock_rate,
    };
    let tells = |format: &Format| match Codec::of_payload_type(format.payload_type) {
        Some(codec) => format.codec != codec,
        None => format.codec != Codec::Other || format.clock_rate != USUAL_CLOCK,
    };
    media.rtpmaps.iter().map(read).filter(tells).take(MAX_FORMATS).collect()
}

/// What the payload types of packets from one party stand for. It uses the other's numbers (RFC 3264 section 5.1);
/// its own are what is known while the other has said nothing, and what some send by all the same.
fn formats_from(own: Option<&Remote>, other: Option<&Remote>) -> Vec<Format> {
    let of = |remote: Option<&Remote>| remote.map_or(&[][..], |remote| &remote.formats).to_vec();
    let mut formats = of(other);
    for format in of(own) {
        if formats.len() < MAX_FORMATS && formats.iter().all(|known| known.payload_type != format.payload_type) {
            formats.push(format);
        }
    }
    formats
}

/// One side of a session as far as it is known.
pub(crate) struct SideView<'a> {
    pub(crate) trunk: &'a Trunk,
    /// Where this party's signaling comes from.
    pub(crate) signaling: IpAddr,
    /// What it said of each stream; `None` for one of which it has said nothing yet.
    pub(crate) said: Vec<Option<Remote>>,
    /// Changes when its latch is to open anew.
    pub(crate) relatch: u32,
}

/// The leg specifications of both sides, in their order.
///
/// A stream lives while no side has refused it; a side that has said nothing yet goes along with the
/// other. `restore` asks for exactly these local ports.
pub(crate) fn legs(
    sides: [SideView<'_>; 2],
    answered: bool,
    ring_ms: u32,
    restore: Option<&LocalSession>,
) -> Vec<LegSpec> {
    let count = sides.iter().map(|side| side.said.len()).max().unwrap_or(0);
    let said = |side: &SideView<'_>, stream: usize| side.said.get(stream).cloned().flatten();
    let active = |stream: usize| {
        let mut known = sides.iter().filter_map(|side| said(side, stream)).peekable();
        known.peek().is_some() && known.all(|remote| remote.active)
    };
    let profile = |stream: usize, position: usize| {
        let own = said(&sides[position], stream).or_else(|| said(&sides[1 - position], stream));
        own.map_or(Profile::Rtp, |remote| remote.profile)
    };
    let stun = sides.iter().all(|side| side.trunk.dialogs.stun);
    let window_ms = if answered { LATCH_WINDOW_MS } else { ring_ms.saturating_add(LATCH_WINDOW_MS) };
    let leg = |(position, side): (usize, &SideView<'_>)| LegSpec {
        range: side.trunk.media_range.clone(),
        streams: (0..count)
            .map(|stream| {
                let remote = said(side, stream);
                let other = said(&sides[1 - position], stream);
                let quiet = |own: &Remote, other: &Remote| own.silent || other.held;
                let rtp = remote.as_ref().and_then(|r| r.rtp);
                let local = restore.and_then(|local| *local.legs.get(position)?.get(stream)?);
                StreamSpec {
                    active: active(stream),
                    profile: profile(stream, position),
                    remote_rtp: rtp,
                    remote_rtcp: remote.as_ref().and_then(|r| r.rtcp),
                    rtcp_mux: remote.as_ref().is_some_and(|r| r.mux),
                    latch: latch_sources(side, rtp).map(|sources| Latch { sources, window_ms }),
                    sources: side.trunk.media_sources.clone(),
                    local,
                    relatch: side.relatch,
                    ceiling: ceiling::of_both(remote.as_ref(), other.as_ref()),
                    one_ssrc: [&remote, &other].into_iter().flatten().any(|said| said.kind == Kind::Audio),
                    stun,
                    play: None,
                    formats: formats_from(remote.as_ref(), other.as_ref()),
                    quiet: !answered
                        || remote.as_ref().zip(other.as_ref()).is_none_or(|(own, other)| quiet(own, other)),
                }
            })
            .collect(),
    };
    sides.iter().enumerate().map(leg).collect()
}

/// The networks that a stream may latch onto, if it may.
fn latch_sources(side: &SideView<'_>, rtp: Option<SocketAddr>) -> Option<Vec<IpNet>> {
    let nat_seen = rtp.is_some_and(|rtp| is_private(rtp.ip()) && rtp.ip() != side.signaling);
    let allowed = match side.trunk.media_nat {
        MediaNat::Off => false,
        MediaNat::Auto => nat_seen && side.trunk.private_media == PrivateMedia::Latch,
        MediaNat::Always => rtp.is_some(),
    };
    allowed.then(|| {
        if side.trunk.media_sources.is_empty() {
            vec![IpNet::from(side.signaling)]
        } else {
            side.trunk.media_sources.clone()
        }
    })
}

/// An address that cannot be reached from elsewhere: RFC 1918, RFC 6598 (carrier-grade NAT), link-local,
/// and unique local IPv6.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The addresses that take the place of a party's own in the SDP that the side `leg` is shown, and the
/// address for its `o=` line. `muxes` says of a stream whether that side's RTCP shares the RTP port.
pub(crate) fn anchors(
    local: &LocalSession,
    leg: usize,
    fallback: IpAddr,
    muxes: impl Fn(usize) -> bool,
) -> (IpAddr, Vec<Option<Anchor>>) {
    let streams = local.legs.get(leg).map_or(&[][..], Vec::as_slice);
    let anchor = |(stream, own): (usize, &Option<moorline_control::LocalAddresses>)| {
        let own = own.as_ref()?;
        let (rtp_port, rtcp_port) = (own.rtp.port(), own.rtcp.port());
        Some(Anchor { address: own.public(), rtp_port, rtcp_port, rtcp_mux: muxes(stream) })
    };
    let anchors: Vec<Option<Anchor>> = streams.iter().enumerate().map(anchor).collect();
    let origin = anchors.iter().flatten().next().map_or(fallback, |anchor| anchor.address);
    (origin, anchors)
}

#[cfg(test)]
mod tests;
