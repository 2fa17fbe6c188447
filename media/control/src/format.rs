//! What a payload type stands for: a codec that quality and silence are judged by, and its RTP clock.

use minicbor::encode::Write;
use minicbor::{Decode, Decoder, Encode, Encoder};

/// One payload type of a stream, as the SDP's `a=rtpmap` says it (RFC 8866 section 6.6).
///
/// In a frame it is `[payload type, codec, clock rate]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// 0 to 127.
    pub payload_type: u8,
    /// The codec, as far as it is known here.
    pub codec: Codec,
    /// The clock of its RTP timestamps in Hz.
    pub clock_rate: u32,
}

/// The codecs that are told apart. Another version may know more: its names for them are read as
/// [`Other`](Self::Other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Codec {
    /// Any other.
    #[default]
    Other = 0,
    /// G.711 with the µ-law.
    Pcmu = 1,
    /// G.711 with the A-law.
    Pcma = 2,
    /// G.722.
    G722 = 3,
    /// G.723.1.
    G7231 = 4,
    /// G.726 at 32 kbit/s, or its like in static types (RFC 3551 section 4.5.4).
    G726 = 5,
    /// G.728.
    G728 = 6,
    /// G.729 and its annexes.
    G729 = 7,
    /// GSM full rate.
    Gsm = 8,
    /// GSM enhanced full rate.
    GsmEfr = 9,
    /// iLBC (RFC 3952).
    Ilbc = 10,
    /// AMR (RFC 4867).
    Amr = 11,
    /// AMR-WB (RFC 4867).
    AmrWb = 12,
    /// EVS.
    Evs = 13,
    /// Opus (RFC 7587).
    Opus = 14,
    /// Speex (RFC 5574).
    Speex = 15,
    /// Comfort noise (RFC 3389).
    ComfortNoise = 16,
    /// Telephone events (RFC 4733).
    TelephoneEvent = 17,
    /// Redundant audio (RFC 2198).
    Redundant = 18,
    /// A video codec.
    Video = 19,
}

/// Names of the SDP, of static types (RFC 3551 section 6) and dynamic ones.
const NAMES: [(&str, Codec); 30] = [
    ("PCMU", Codec::Pcmu),
    ("PCMA", Codec::Pcma),
    ("G722", Codec::G722),
    ("G723", Codec::G7231),
    ("G726-32", Codec::G726),
    ("AAL2-G726-32", Codec::G726),
    ("DVI4", Codec::G726),
    ("G728", Codec::G728),
    ("G729", Codec::G729),
    ("G729A", Codec::G729),
    ("G729AB", Codec::G729),
    ("GSM", Codec::Gsm),
    ("GSM-EFR", Codec::GsmEfr),
    ("iLBC", Codec::Ilbc),
    ("AMR", Codec::Amr),
    ("AMR-WB", Codec::AmrWb),
    ("EVS", Codec::Evs),
    ("opus", Codec::Opus),
    ("speex", Codec::Speex),
    ("CN", Codec::ComfortNoise),
    ("telephone-event", Codec::TelephoneEvent),
    ("red", Codec::Redundant),
    ("H261", Codec::Video),
    ("H263", Codec::Video),
    ("H263-1998", Codec::Video),
    ("H264", Codec::Video),
    ("H265", Codec::Video),
    ("VP8", Codec::Video),
    ("VP9", Codec::Video),
    ("AV1", Codec::Video),
];

impl Codec {
    /// All codecs, each at the index of its number.
    pub const ALL: [Codec; 20] = [
        Codec::Other,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::G7231,
        Codec::G726,
        Codec::G728,
        Codec::G729,
        Codec::Gsm,
        Codec::GsmEfr,
        Codec::Ilbc,
        Codec::Amr,
        Codec::AmrWb,
        Codec::Evs,
        Codec::Opus,
        Codec::Speex,
        Codec::ComfortNoise,
        Codec::TelephoneEvent,
        Codec::Redundant,
        Codec::Video,
    ];

    /// The codec of an SDP encoding name, whatever its case; [`Other`](Self::Other) for unknown ones.
    pub fn of_name(name: &[u8]) -> Codec {
        let known = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map_or(Codec::Other, |(_, codec)| *codec)
    }

    /// The codec of a static payload type (RFC 3551 section 6), where one is assigned.
    pub const fn of_payload_type(payload_type: u8) -> Option<Codec> {
        Some(match payload_type {
            0 => Codec::Pcmu,
            3 => Codec::Gsm,
            4 => Codec::G7231,
            // 5 and 6 are DVI4: ADPCM of the rate and quality of G.726. 2 was G.726 and is reserved now.
            2 | 5 | 6 => Codec::G726,
            7 | 10 | 11 | 12 | 14 | 16 | 17 => Codec::Other,
            8 => Codec::Pcma,
            9 => Codec::G722,
            13 => Codec::ComfortNoise,
            15 => Codec::G728,
            18 => Codec::G729,
            25 | 26 | 28 | 31..=34 => Codec::Video,
            _ => return None,
        })
    }

    /// A name for logs and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Codec::Other => "other",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::G7231 => "G723",
            Codec::G726 => "G726-32",
            Codec::G728 => "G728",
            Codec::G729 => "G729",
            Codec::Gsm => "GSM",
            Codec::GsmEfr => "GSM-EFR",
            Codec::Ilbc => "iLBC",
            Codec::Amr => "AMR",
            Codec::AmrWb => "AMR-WB",
            Codec::Evs => "EVS",
            Codec::Opus => "opus",
            Codec::Speex => "speex",
            Codec::ComfortNoise => "CN",
            Codec::TelephoneEvent => "telephone-event",
            Codec::Redundant => "red",
            Codec::Video => "video",
        }
    }

    /// Whether its packets carry a conversation's speech, as far as is known.
    pub const fn is_speech(self) -> bool {
        !matches!(self, Codec::ComfortNoise | Codec::TelephoneEvent | Codec::Video)
    }
}

// Every codec sits at the index of its number.
const _: () = {
    let mut i = 0;
    while i < Codec::ALL.len() {
        assert!(Codec::ALL[i] as usize == i);
        i += 1;
    }
};

impl<C> Encode<C> for Codec {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(*self as u8)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Codec {
    /// Takes what a later version has added for another codec.
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Codec, minicbor::decode::Error> {
        Ok(Codec::ALL.get(usize::from(d.u8()?)).copied().unwrap_or_default())
    }
}

impl<C> Encode<C> for Format {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?.u8(self.payload_type)?;
        self.codec.encode(e, ctx)?;
        e.u32(self.clock_rate)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Format {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Format, minicbor::decode::Error> {
        if d.array()? != Some(3) {
            return Err(minicbor::decode::Error::message("a format is [payload type, codec, clock rate]"));
        }
        Ok(Format { payload_type: d.u8()?, codec: Codec::decode(d, ctx)?, clock_rate: d.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_sdp_are_known_in_any_case() {
        for (name, codec) in [
            (&b"PCMU"[..], Codec::Pcmu),
            (b"pcma", Codec::Pcma),
            (b"OPUS", Codec::Opus),
            (b"Telephone-Event", Codec::TelephoneEvent),
            (b"G729", Codec::G729),
            (b"L16", Codec::Other),
            (b"", Codec::Other),
            (b"PCMU\0", Codec::Other),
        ] {
            assert_eq!(Codec::of_name(name), codec, "{name:?}");
        }
    }

    #[test]
    fn every_known_codec_is_found_by_the_name_that_it_is_reported_by() {
        for codec in Codec::ALL.into_iter().filter(|codec| !matches!(codec, Codec::Other | Codec::Video)) {
            assert_eq!(Codec::of_name(codec.as_str().as_bytes()), codec);
        }
    }
}
