//! Announcements: what a server has to play, and what a client asks it to play to a party.

use minicbor::{Decode, Encode};

use crate::Codec;

/// An announcement that a server has.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Announcement {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// How long it is, in milliseconds.
    #[n(1)]
    pub length_ms: u32,
}

/// An announcement that is played to a party on a stream, once; [`Event::Played`](crate::Event::Played) says when it
/// is over.
///
/// An `Update` that says the same goes on with it, one that says another begins that, and one that says nothing ends
/// it. A session that is opened anew, after a restart of the media process, plays from the beginning. While it plays,
/// the party does not hear the other leg. A client asks only for announcements that the server's hello names
/// ([`ServerHello::announcements`](crate::ServerHello::announcements)): a server that was built before does not see
/// that it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Play {
    /// The announcement. Refused with [`RefusalCode::NoSuchAnnouncement`](crate::RefusalCode::NoSuchAnnouncement) if
    /// the server has none of this name.
    #[n(0)]
    pub name: String,
    /// By which codec: G.711, of either law. Anything else is refused with
    /// [`RefusalCode::Unplayable`](crate::RefusalCode::Unplayable).
    #[n(1)]
    pub codec: Codec,
    /// The number that the party knows the codec by.
    #[n(2)]
    pub payload_type: u8,
    /// The media in a packet, in milliseconds: 10, 20, 30, 40, 50 or 60.
    #[n(3)]
    pub packet_ms: u8,
}

impl Play {
    /// Whether a packet may hold so many milliseconds.
    pub const fn is_packet_time(packet_ms: u16) -> bool {
        matches!(packet_ms, 10 | 20 | 30 | 40 | 50 | 60)
    }
}

/// How much of an announcement a party was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Played {
    /// RTP packets sent.
    #[n(0)]
    pub packets: u32,
    /// How far it has come, in milliseconds, whether the party could be sent to or not.
    #[n(1)]
    pub played_ms: u32,
    /// It came to its end.
    #[n(2)]
    pub complete: bool,
}
