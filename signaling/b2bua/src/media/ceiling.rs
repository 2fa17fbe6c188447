//! What a stream's codecs need at most: whoever sends more is not the party, or means no good.

use moorline_control::{Ceiling, Codec, Profile};

use super::{Kind, Remote};

/// Over what the codec says: bursts are allowed for apart from this.
const HEADROOM: u64 = 2;
/// Packets hold 10 ms of sound at least, unless `a=ptime` says less.
const SHORTEST_MS: u16 = 10;
/// RTP's header, with room for an extension.
const HEADER_BYTES: u64 = 32;
/// What RFC 2198 repeats: two generations beside the current one.
const REDUNDANCY: u64 = 3;
/// Video whose bandwidth is not said.
const USUAL_VIDEO_BITS: u64 = 4_000_000;
/// The bytes of a small video packet.
const SMALL_VIDEO_BYTES: u64 = 250;
/// The most that `b=` can ask for.
const MAX_AUDIO_BITS: u64 = 3_000_000;
const MAX_VIDEO_BITS: u64 = 50_000_000;
/// T.38 at 33.6 kbit/s, every packet repeated several times.
const FAX: Ceiling = Ceiling { packets_per_s: 200, bytes_per_s: 64_000 };

/// The ceiling of a section that is active.
pub(super) fn of(media: &moorline_sdp::Media<'_>, remote: &Remote) -> Ceiling {
    match (remote.profile, remote.kind) {
        (Profile::Udptl, _) => FAX,
        (Profile::Rtp, Kind::Video) => {
            let bits = media.bandwidth.unwrap_or(USUAL_VIDEO_BITS).clamp(USUAL_VIDEO_BITS, MAX_VIDEO_BITS);
            let bytes = bits / 8 * HEADROOM;
            ceiling(bytes / SMALL_VIDEO_BYTES, bytes)
        }
        (Profile::Rtp, Kind::Audio | Kind::Other) => {
            let packets = 1_000 / u64::from(media.packet_ms.unwrap_or(SHORTEST_MS).clamp(1, SHORTEST_MS)) * HEADROOM;
            let codecs = || payload_types(media.formats).map(|number| codec(media, number));
            let most = codecs().map(|(codec, clock)| bits(codec, clock)).max().unwrap_or(0);
            let bits = most.max(media.bandwidth.unwrap_or(0)).min(MAX_AUDIO_BITS);
            let copies = if codecs().any(|(codec, _)| codec == Codec::Redundant) { REDUNDANCY } else { 1 };
            ceiling(packets, bits / 8 * copies * HEADROOM + packets * HEADER_BYTES)
        }
    }
}

/// What either party's formats need: a sender keeps to the other's, and some to their own.
pub(super) fn of_both(own: Option<&Remote>, other: Option<&Remote>) -> Option<Ceiling> {
    [own, other].into_iter().flatten().filter_map(|remote| remote.ceiling).reduce(|a, b| Ceiling {
        packets_per_s: a.packets_per_s.max(b.packets_per_s),
        bytes_per_s: a.bytes_per_s.max(b.bytes_per_s),
    })
}

fn ceiling(packets: u64, bytes: u64) -> Ceiling {
    let within = |rate: u64| u32::try_from(rate).unwrap_or(u32::MAX);
    Ceiling { packets_per_s: within(packets), bytes_per_s: within(bytes) }
}

fn payload_types(formats: &[u8]) -> impl Iterator<Item = u8> {
    let words = formats.split(u8::is_ascii_whitespace);
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
}

/// What a payload type stands for, and its clock.
fn codec(media: &moorline_sdp::Media<'_>, payload_type: u8) -> (Codec, u32) {
    match media.rtpmaps.iter().find(|map| map.payload_type == payload_type) {
        Some(map) => (Codec::of_name(map.encoding), map.clock_rate),
        // 44.1 kHz is the fastest of the static ones (RFC 3551 section 6).
        None => (Codec::of_payload_type(payload_type).unwrap_or_default(), 44_100),
    }
}

/// The most bits a second of a codec.
fn bits(codec: Codec, clock: u32) -> u64 {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => 64_000,
        // G.726 goes up to 40 kbit/s, DVI4 at 16 kHz to 64.
        Codec::G726 => 64_000,
        Codec::G7231 | Codec::G728 | Codec::G729 | Codec::Gsm | Codec::GsmEfr | Codec::Ilbc | Codec::Amr => 16_000,
        Codec::AmrWb => 24_000,
        Codec::Speex => 45_000,
        Codec::Evs => 128_000,
        Codec::Opus => 510_000,
        Codec::ComfortNoise | Codec::TelephoneEvent | Codec::Redundant => 8_000,
        Codec::Video => USUAL_VIDEO_BITS,
        // 16 bits of two channels without compression.
        Codec::Other => u64::from(clock) * 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, attributes: &str) -> Ceiling {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
        let sdp = format!("{head}m={line}\r\n{attributes}");
        let session = moorline_sdp::Session::parse(sdp.as_bytes()).unwrap();
        crate::media::remotes(&session).unwrap()[0].ceiling.unwrap()
    }

    fn per_s(packets_per_s: u32, bytes_per_s: u32) -> Ceiling {
        Ceiling { packets_per_s, bytes_per_s }
    }

    #[test]
    fn a_codec_has_its_own_rate_twice() {
        for (line, attributes, expected) in [
            ("audio 4000 RTP/AVP 0", "", per_s(200, 22_400)),
            ("audio 4000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n", per_s(200, 22_400)),
            ("audio 4000 RTP/AVP 18", "a=ptime:5\r\n", per_s(400, 16_800)),
            ("audio 4000 RTP/AVP 18 0", "", per_s(200, 22_400)),
            ("audio 4000 RTP/AVP 121 0", "a=rtpmap:121 red/8000\r\n", per_s(200, 54_400)),
            ("audio 4000 RTP/AVP 111", "a=rtpmap:111 opus/48000/2\r\n", per_s(200, 133_900)),
            ("audio 4000 RTP/AVP 97", "a=rtpmap:97 X-OWN/8000\r\n", per_s(200, 70_400)),
            ("audio 4000 RTP/AVP 97", "b=AS:512\r\na=rtpmap:97 X-OWN/8000\r\n", per_s(200, 134_400)),
            ("audio 4000 RTP/AVP 0", "b=TIAS:99999999999999999999\r\n", per_s(200, 22_400)),
            ("audio 4000 RTP/AVP 0", "b=AS:18446744073709551615\r\n", per_s(200, 756_400)),
            ("video 4000 RTP/AVP 99", "a=rtpmap:99 H264/90000\r\n", per_s(4_000, 1_000_000)),
            ("video 4000 RTP/AVP 99", "b=AS:8000\r\n", per_s(8_000, 2_000_000)),
            ("image 4000 udptl t38", "", FAX),
        ] {
            assert_eq!(read(line, attributes), expected, "{line} {attributes}");
        }
    }

    #[test]
    fn every_codec_passes_at_its_shortest_packets() {
        for codec in Codec::ALL {
            for clock in [8_000, 16_000, 48_000] {
                let encoding = codec.as_str();
                let line = "audio 4000 RTP/AVP 96";
                let found = read(line, &format!("a=rtpmap:96 {encoding}/{clock}\r\na=ptime:10\r\n"));
                let needed = bits(Codec::of_name(encoding.as_bytes()), clock) / 8 + 100 * 12;
                assert!(u64::from(found.bytes_per_s) >= needed * 3 / 2 && found.packets_per_s >= 200, "{codec:?}");
            }
        }
    }
}
