//! Which protocol a datagram on a media port belongs to.

use crate::stun::Stun;

/// The protocols that share a media port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RTP.
    Rtp,
    /// RTCP, by the packet type.
    Rtcp,
    /// STUN with the magic cookie.
    Stun,
    /// DTLS.
    Dtls,
    /// Anything else: ZRTP, TURN channels, garbage.
    Unknown,
}

/// Tells the protocols apart by their first bytes (RFC 7983 section 7, RFC 5761 section 4). The packet as a
/// whole is not checked.
///
/// On a port that carries RTP alone, payload types 64 to 95 with the marker are RTP: see [`Kind::Rtcp`]
/// there with care.
#[inline]
pub fn kind(datagram: &[u8]) -> Kind {
    match *datagram {
        [128..=191, second, ..] => match second & 0x7f {
            64..=95 => Kind::Rtcp,
            _ => Kind::Rtp,
        },
        [0..=3, ..] if Stun::parse(datagram).is_ok() => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        _ => Kind::Unknown,
    }
}
