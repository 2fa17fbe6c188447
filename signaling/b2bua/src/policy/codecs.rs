//! The audio codecs that a trunk's calls may use.

use std::fmt;
use std::str::FromStr;

/// The codecs of a trunk, the most wanted first; empty for any, in the order that the parties say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codecs(Vec<CodecName>);

/// A codec by the encoding name of its `a=rtpmap` (RFC 3551 section 6, RFC 8866 section 6.6), in any case: `PCMA`, or
/// with a clock rate, `speex/16000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecName {
    name: String,
    clock_rate: Option<u32>,
}

/// A text is no codec's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no codec name")]
pub struct NoCodec(String);

impl Codecs {
    /// These, the most wanted first.
    pub fn new(codecs: Vec<CodecName>) -> Codecs {
        Codecs(codecs)
    }

    /// True where every codec may be used.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// How much a codec is wanted, 0 the most; `None` for one that may not be used.
    pub(crate) fn rank(&self, encoding: &[u8], clock_rate: u32) -> Option<usize> {
        self.0.iter().position(|codec| {
            let same_rate = codec.clock_rate.is_none_or(|rate| rate == clock_rate);
            same_rate && codec.name.as_bytes().eq_ignore_ascii_case(encoding)
        })
    }
}

impl FromStr for CodecName {
    type Err = NoCodec;

    fn from_str(text: &str) -> Result<CodecName, NoCodec> {
        let no_codec = || NoCodec(text.to_owned());
        let (name, rate) = text.split_once('/').map_or((text, None), |(name, rate)| (name, Some(rate)));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+!%*'`~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(no_codec());
        }
        let clock_rate = match rate {
            Some(rate) if rate.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some(rate.parse().map_err(|_| no_codec())?).filter(|rate| *rate > 0)
            }
            Some(_) => return Err(no_codec()),
            None => None,
        };
        if rate.is_some() && clock_rate.is_none() {
            return Err(no_codec());
        }
        Ok(CodecName { name: name.to_owned(), clock_rate })
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.clock_rate.map_or(Ok(()), |rate| write!(f, "/{rate}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_known_by_name_and_clock_rate() {
        let codecs = Codecs::new(["pcma", "speex/16000", "G729"].map(|name| name.parse().unwrap()).to_vec());
        assert_eq!(codecs.rank(b"PCMA", 8_000), Some(0));
        assert_eq!(codecs.rank(b"speex", 16_000), Some(1));
        assert_eq!(codecs.rank(b"speex", 8_000), None);
        assert_eq!(codecs.rank(b"g729", 8_000), Some(2));
        assert_eq!(codecs.rank(b"PCMU", 8_000), None);
        for text in ["", "a b", "pcma/", "pcma/0", "pcma/x", "pcma/+8", "pcma/8000/1", "pcma;x"] {
            assert!(text.parse::<CodecName>().is_err(), "{text}");
        }
    }
}
