//! What an offer or answer says about one media section.

use std::net::{IpAddr, SocketAddr};

use crate::RtpMap;

/// One `m=` line and the lines that belong to it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Media<'a> {
    /// `audio`, `video`, `image`, ...
    pub kind: &'a [u8],
    /// 0: the section is refused or ended (or shares another section's transport, RFC 8843).
    pub port: u16,
    /// `RTP/AVP`, `udptl`, ...
    pub protocol: &'a [u8],
    /// The list of formats as written; empty where there is none.
    pub formats: &'a [u8],
    /// The effective direction: this section's, else the session's, else [`Direction::SendRecv`].
    pub direction: Direction,
    /// `a=rtcp-mux` (RFC 5761) is present.
    pub rtcp_mux: bool,
    /// What the section's `a=rtpmap` lines say, in their order, at most [`MAX_RTPMAPS`](crate::MAX_RTPMAPS).
    pub rtpmaps: Vec<RtpMap<'a>>,
    /// The greatest `b=AS` or `b=TIAS` of the section (RFC 8866 section 5.8, RFC 3890), in bits a second.
    pub bandwidth: Option<u64>,
    /// `a=ptime` (RFC 8866 section 6.4): the milliseconds of media in a packet, as this party wants them.
    pub packet_ms: Option<u16>,
    /// The first own `c=`, else the first of the session.
    pub(crate) connection: Connection,
    /// The section has a `c=` of its own.
    pub(crate) has_own_connection: bool,
    /// Port and own address of the first `a=rtcp`.
    pub(crate) rtcp: Option<(u16, Option<Connection>)>,
}

impl Media<'_> {
    /// True unless the port is 0.
    pub fn is_active(&self) -> bool {
        self.port != 0
    }

    /// True for RTP profiles: `RTP/AVP`, `RTP/SAVPF`, `UDP/TLS/RTP/SAVP` and their like.
    pub fn is_rtp(&self) -> bool {
        let mut parts = self.protocol.split(|b| *b == b'/').skip_while(|part| !part.eq_ignore_ascii_case(b"RTP"));
        let profiles = ["AVP", "AVPF", "SAVP", "SAVPF"];
        parts.nth(1).is_some_and(|profile| profiles.iter().any(|known| profile.eq_ignore_ascii_case(known.as_bytes())))
    }

    /// The payload types among the formats, in their order; other formats have none.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        let formats = self.formats.split(|b| crate::line::is_blank(*b)).filter(|format| !format.is_empty());
        formats.filter_map(crate::formats::payload_type)
    }

    /// Where this party receives RTP. `None` for port 0, a host name, or no `c=` at all.
    ///
    /// The unspecified address of an RFC 2543 hold is given as it stands: ask [`Media::is_held`] before
    /// sending there.
    pub fn rtp(&self) -> Option<SocketAddr> {
        let ip = self.connection.ip()?;
        self.is_active().then(|| SocketAddr::new(ip, self.port))
    }

    /// Where this party receives RTCP according to `a=rtcp` (RFC 3605); `None` without it, and wherever
    /// [`Media::rtp`] says `None` or the attribute names a host.
    pub fn rtcp(&self) -> Option<SocketAddr> {
        let rtp = self.rtp()?;
        let (port, own) = self.rtcp?;
        let ip = match own {
            Some(connection) => connection.ip()?,
            None => rtp.ip(),
        };
        (port != 0).then(|| SocketAddr::new(ip, port))
    }

    /// True while this party does not want to receive: `sendonly`, `inactive`, or `c=0.0.0.0`.
    pub fn is_held(&self) -> bool {
        matches!(self.direction, Direction::SendOnly | Direction::Inactive)
            || self.connection.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// True while this party sends nothing: `recvonly` or `inactive`.
    pub fn is_silent(&self) -> bool {
        matches!(self.direction, Direction::RecvOnly | Direction::Inactive)
    }
}

/// Which way media flows, seen from the party that wrote the description (RFC 3264 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways; what is meant where nothing is said.
    #[default]
    SendRecv,
    /// The writer sends only.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The direction that the attribute `name` stands for.
    pub(crate) fn from_attribute(name: &[u8]) -> Option<Direction> {
        let names = [
            ("sendrecv", Direction::SendRecv),
            ("sendonly", Direction::SendOnly),
            ("recvonly", Direction::RecvOnly),
            ("inactive", Direction::Inactive),
        ];
        names.into_iter().find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes())).map(|(_, direction)| direction)
    }
}

/// The address of a `c=` line, as far as media can be sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Connection {
    /// There is no `c=`.
    #[default]
    Absent,
    /// A host name.
    Name,
    Ip(IpAddr),
}

impl Connection {
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Connection::Ip(ip) => Some(ip),
            Connection::Absent | Connection::Name => None,
        }
    }
}

impl From<Option<IpAddr>> for Connection {
    fn from(ip: Option<IpAddr>) -> Self {
        ip.map_or(Connection::Name, Connection::Ip)
    }
}
