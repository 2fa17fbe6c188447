//! Which formats of a description stay where trunks name the codecs that they allow.

use moorline_sdp::{Media, RtpMap};

use crate::policy::Codecs;

/// What becomes of the formats of a media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stay {
    /// They are as they were: it is no audio, or refused already.
    AsTheyAre,
    /// These payload types stay, in this order.
    These(Vec<u8>),
    /// No codec is left.
    Nothing,
}

/// What stays of a section that a party of the first trunk says and one of the second is shown. An offer is ordered as
/// the second trunk wants it or, where that says nothing, as the first does; the order of an answer is its party's. Tones
/// and comfort noise stay behind the codecs that they go with (RFC 4733, RFC 3389).
pub(crate) fn stay(media: &Media<'_>, [from, to]: [&Codecs; 2], offer: bool) -> Stay {
    let audio = media.kind.eq_ignore_ascii_case(b"audio") && media.is_rtp() && media.is_active();
    if !audio || (from.is_any() && to.is_any()) {
        return Stay::AsTheyAre;
    }
    let (mut voices, mut others) = (Vec::new(), Vec::new());
    for payload_type in media.payload_types() {
        match role(media, payload_type, [from, to]) {
            Some(Role::Voice(rank)) => voices.push((rank, payload_type)),
            Some(Role::Companion) => others.push(payload_type),
            None => {}
        }
    }
    if voices.is_empty() {
        return Stay::Nothing;
    }
    if !offer {
        let stays =
            |payload_type: &u8| others.contains(payload_type) || voices.iter().any(|(_, voice)| voice == payload_type);
        return Stay::These(media.payload_types().filter(stays).collect());
    }
    // Stable: what is wanted as much stays in its party's order.
    voices.sort_by_key(|(rank, _)| *rank);
    Stay::These(voices.into_iter().map(|(_, payload_type)| payload_type).chain(others).collect())
}

enum Role {
    /// A codec that both trunks allow, and how much it is wanted.
    Voice(usize),
    /// Goes with any codec.
    Companion,
}

/// What a payload type is; `None` for one that may not stay. One that is said to be several things must be allowed as
/// each of them.
fn role(media: &Media<'_>, payload_type: u8, lists: [&Codecs; 2]) -> Option<Role> {
    let mut said = media.rtpmaps.iter().filter(|map| map.payload_type == payload_type).peekable();
    if said.peek().is_none() {
        let (encoding, clock_rate) = of_static(payload_type)?;
        return role_of(&RtpMap { payload_type, encoding, clock_rate }, lists);
    }
    let mut roles = said.map(|map| role_of(map, lists)).collect::<Option<Vec<Role>>>()?;
    roles.pop()
}

fn role_of(map: &RtpMap<'_>, [from, to]: [&Codecs; 2]) -> Option<Role> {
    if COMPANIONS.iter().any(|name| map.encoding.eq_ignore_ascii_case(name)) {
        return Some(Role::Companion);
    }
    let rank = |list: &Codecs| if list.is_any() { Some(0) } else { list.rank(map.encoding, map.clock_rate) };
    let ranks = (rank(from)?, rank(to)?);
    Some(Role::Voice(if to.is_any() { ranks.0 } else { ranks.1 }))
}

const COMPANIONS: [&[u8]; 2] = [b"telephone-event", b"CN"];

/// What a payload type stands for without `a=rtpmap` (RFC 3551 section 6, table 4).
fn of_static(payload_type: u8) -> Option<(&'static [u8], u32)> {
    Some(match payload_type {
        0 => (b"PCMU", 8_000),
        3 => (b"GSM", 8_000),
        4 => (b"G723", 8_000),
        5 => (b"DVI4", 8_000),
        6 => (b"DVI4", 16_000),
        7 => (b"LPC", 8_000),
        8 => (b"PCMA", 8_000),
        9 => (b"G722", 8_000),
        10 | 11 => (b"L16", 44_100),
        12 => (b"QCELP", 8_000),
        // 19 is what 13 was before (RFC 3551 section 6).
        13 | 19 => (b"CN", 8_000),
        14 => (b"MPA", 90_000),
        15 => (b"G728", 8_000),
        16 => (b"DVI4", 11_025),
        17 => (b"DVI4", 22_050),
        18 => (b"G729", 8_000),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use moorline_sdp::Session;

    use super::*;

    fn codecs(names: &[&str]) -> Codecs {
        Codecs::new(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn stays(lines: &str, from: &[&str], to: &[&str], offer: bool) -> Stay {
        let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{lines}");
        let session = Session::parse(text.as_bytes()).unwrap();
        stay(&session.media()[0], [&codecs(from), &codecs(to)], offer)
    }

    const OFFER: &str = "m=audio 4000 RTP/AVP 0 101 18 8 13 97\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=rtpmap:97 iLBC/8000\r\n";

    #[test]
    fn an_offer_is_in_the_order_of_who_is_shown_it() {
        let these = |list: &[u8]| Stay::These(list.to_vec());
        assert_eq!(stays(OFFER, &[], &[], true), Stay::AsTheyAre);
        assert_eq!(stays(OFFER, &[], &["pcma", "pcmu"], true), these(&[8, 0, 101, 13]));
        assert_eq!(stays(OFFER, &["g729", "pcmu", "pcma"], &["pcma", "pcmu"], true), these(&[8, 0, 101, 13]));
        assert_eq!(stays(OFFER, &["ilbc", "pcmu"], &[], true), these(&[97, 0, 101, 13]));
        assert_eq!(stays(OFFER, &["g729"], &["pcma"], true), Stay::Nothing);
        assert_eq!(stays(OFFER, &[], &["opus"], true), Stay::Nothing, "tones alone are no call");
    }

    #[test]
    fn an_answer_keeps_its_order() {
        assert_eq!(stays(OFFER, &[], &["pcma", "pcmu"], false), Stay::These(vec![0, 101, 8, 13]));
    }

    #[test]
    fn only_audio_is_touched() {
        for lines in [
            "m=video 4000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n",
            "m=image 4000 udptl t38\r\n",
            "m=audio 0 RTP/AVP 18\r\n",
            "m=audio 4000 TCP/MRCPv2 1\r\n",
        ] {
            assert_eq!(stays(lines, &["pcma"], &["pcma"], true), Stay::AsTheyAre, "{lines}");
        }
    }

    #[test]
    fn a_number_that_is_said_to_be_two_codecs_must_be_allowed_as_both() {
        let twice =
            "m=audio 4000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:8 opus/48000/2\r\na=rtpmap:96 PCMU/8000\r\n";
        assert_eq!(stays(twice, &["pcma", "pcmu"], &[], true), Stay::These(vec![96]));
        let unknown = "m=audio 4000 RTP/AVP 8 96\r\n";
        assert_eq!(stays(unknown, &["pcma"], &[], true), Stay::These(vec![8]));
    }
}
