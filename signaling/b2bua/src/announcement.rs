//! An announcement to a caller that is refused: which stream of its offer it goes to, and the answer that says so.

use std::fmt::Write as _;
use std::sync::Arc;

use moorline_control::{Codec, LocalAddresses, Play};
use moorline_sdp::{Media, Session};

use crate::{Concurrency, Outcome};

/// The packet time where the caller asks for none, or for one that is not played.
const USUAL_PACKET_MS: u8 = 20;

/// The clock of G.711 in Hz.
const CLOCK: u32 = 8_000;

/// A call whose caller is told why it is refused.
pub(crate) struct Announcing {
    /// The final answer that follows.
    pub(crate) status: u16,
    pub(crate) reason: Vec<u8>,
    /// What the call comes to.
    pub(crate) outcome: Outcome,
    /// Somebody was called, and has refused or is silent.
    pub(crate) called: bool,
    /// The called side's own refusal goes on as the final answer.
    pub(crate) passed_on: bool,
    /// What is played, and on which stream of the offer.
    pub(crate) play: Play,
    pub(crate) stream: usize,
    /// How long it is.
    pub(crate) length_ns: u64,
    /// It is being played.
    pub(crate) playing: bool,
    /// Its place among those that are told something, until it is over.
    pub(crate) seat: Option<Seat>,
}

/// One of the announcements that may be played at once; dropped, it is another's.
pub(crate) struct Seat(Arc<Concurrency>);

impl Seat {
    /// A place, unless there are `limit` already.
    pub(crate) fn take(seats: &Arc<Concurrency>, limit: usize) -> Option<Seat> {
        seats.enter(limit).then(|| Seat(Arc::clone(seats)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// How an announcement can reach a caller: the stream, and what the packets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) stream: usize,
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) packet_ms: u8,
}

/// The first stream of an offer that takes G.711 in plain RTP and wants to receive, by the first such format in it; the
/// caller's order is its preference (RFC 3264 section 5.1).
pub(crate) fn way(offer: &Session<'_>) -> Option<Way> {
    let heard = |media: &&Media<'_>| {
        let plain = [&b"RTP/AVP"[..], b"RTP/AVPF"].iter().any(|plain| media.protocol.eq_ignore_ascii_case(plain));
        plain && media.kind.eq_ignore_ascii_case(b"audio") && media.rtp().is_some() && !media.is_held()
    };
    let found = |(stream, media): (usize, &Media<'_>)| {
        let media = Some(media).filter(heard)?;
        let (payload_type, codec) =
            formats(media).find_map(|payload_type| Some((payload_type, g711(media, payload_type)?)))?;
        let packet_ms = media.packet_ms.filter(|packet_ms| Play::is_packet_time(*packet_ms));
        let packet_ms = packet_ms.and_then(|packet_ms| u8::try_from(packet_ms).ok()).unwrap_or(USUAL_PACKET_MS);
        Some(Way { stream, codec, payload_type, packet_ms })
    };
    offer.media().iter().enumerate().find_map(found)
}

fn formats<'a>(media: &Media<'a>) -> impl Iterator<Item = u8> + use<'a> {
    let words = media.formats.split(|byte| byte.is_ascii_whitespace());
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).filter(|payload_type| *payload_type < 128)
}

/// The law that a payload type stands for; static ones need no rtpmap (RFC 3551 section 6).
fn g711(media: &Media<'_>, payload_type: u8) -> Option<Codec> {
    let map = media.rtpmaps.iter().find(|map| map.payload_type == payload_type);
    let codec = match map {
        Some(map) => Some(Codec::of_name(map.encoding)).filter(|_| map.clock_rate == CLOCK),
        None => Codec::of_payload_type(payload_type),
    };
    codec.filter(|codec| matches!(codec, Codec::Pcma | Codec::Pcmu))
}

/// The answer to an offer: one stream, all others refused (RFC 3264 section 6). Where the caller sends, it may go on: its
/// packets tell where it is behind NAT.
pub(crate) fn answer(offer: &Session<'_>, play: &Play, stream: usize, local: &LocalAddresses, number: u64) -> Vec<u8> {
    let address = local.public();
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let mut text =
        format!("v=0\r\no=- {number} 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n");
    for (index, media) in offer.media().iter().enumerate() {
        let (kind, protocol) = (String::from_utf8_lossy(media.kind), String::from_utf8_lossy(media.protocol));
        // Writing into a string does not fail.
        let _ = if index == stream {
            let Play { codec, payload_type, packet_ms, .. } = play;
            let (port, name) = (local.rtp.port(), codec.as_str());
            let direction = if media.is_silent() { "sendonly" } else { "sendrecv" };
            write!(
                text,
                "m={kind} {port} {protocol} {payload_type}\r\na=rtpmap:{payload_type} {name}/{CLOCK}\r\n\
                 a=ptime:{packet_ms}\r\na={direction}\r\n"
            )
        } else {
            let formats = String::from_utf8_lossy(media.formats);
            write!(text, "m={kind} 0 {protocol} {}\r\n", if formats.is_empty() { "0" } else { &formats })
        };
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn found(body: &str) -> Option<Way> {
        let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{body}");
        way(&Session::parse(text.as_bytes()).unwrap())
    }

    fn by(stream: usize, codec: Codec, payload_type: u8, packet_ms: u8) -> Option<Way> {
        Some(Way { stream, codec, payload_type, packet_ms })
    }

    #[test]
    fn the_first_g711_of_a_stream_that_listens_is_taken() {
        for (body, expected) in [
            ("m=audio 4000 RTP/AVP 8 0\r\n", by(0, Codec::Pcma, 8, 20)),
            ("m=audio 4000 RTP/AVP 18 0 8\r\na=ptime:30\r\n", by(0, Codec::Pcmu, 0, 30)),
            ("m=audio 4000 rtp/avpf 111 97\r\na=rtpmap:97 pcma/8000\r\n", by(0, Codec::Pcma, 97, 20)),
            ("m=audio 4000 RTP/AVP 0\r\na=ptime:25\r\n", by(0, Codec::Pcmu, 0, 20)),
            ("m=video 4000 RTP/AVP 0\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 0\r\n", by(2, Codec::Pcmu, 0, 20)),
            ("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n", by(0, Codec::Pcmu, 0, 20)),
            ("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", None),
            ("m=audio 4000 RTP/AVP 0\r\na=inactive\r\n", None),
            ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", None),
            ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 phone.example\r\n", None),
            ("m=audio 4000 RTP/SAVP 0 8\r\n", None),
            ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", None),
            ("m=audio 4000 RTP/AVP 18 101\r\na=rtpmap:101 telephone-event/8000\r\n", None),
            // A static number that was given another meaning, and a rate that G.711 does not have.
            ("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 G726-32/8000\r\n", None),
            ("m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 PCMA/16000\r\n", None),
            ("m=audio 4000 RTP/AVP 300 -1 x 8\r\n", by(0, Codec::Pcma, 8, 20)),
            ("m=image 4000 udptl t38\r\n", None),
            ("", None),
        ] {
            assert_eq!(found(body), expected, "{body}");
        }
    }

    #[test]
    fn the_answer_has_every_stream_of_the_offer() {
        let offer = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
                      m=video 4000 RTP/AVP 96 97\r\nm=audio 4002 RTP/AVP 8 0\r\nm=audio 0 RTP/AVP 0\r\n";
        let offer = Session::parse(offer).unwrap();
        let play = Play { name: "x".into(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 };
        let local = LocalAddresses {
            rtp: "10.0.0.1:20000".parse().unwrap(),
            rtcp: "10.0.0.1:20001".parse().unwrap(),
            advertised: Some("2001:db8::7".parse::<IpAddr>().unwrap()),
        };
        let text = answer(&offer, &play, 1, &local, 5);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "v=0\r\no=- 5 1 IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\nt=0 0\r\nm=video 0 RTP/AVP 96 97\r\n\
             m=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\nm=audio 0 RTP/AVP 0\r\n"
        );
    }

    #[test]
    fn a_seat_is_free_again_when_it_is_left() {
        let seats = Arc::new(Concurrency::default());
        let first = Seat::take(&seats, 1);
        assert!(first.is_some() && Seat::take(&seats, 1).is_none());
        drop(first);
        assert!(Seat::take(&seats, 1).is_some());
        assert_eq!(seats.now(), 0);
    }
}
