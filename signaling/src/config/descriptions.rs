//! What session descriptions may say, as it is written.

use moorline_b2bua::policy::{CodecName, Codecs, PrivateMedia};
use serde::Deserialize;

use super::TrunkConfig;
use super::fault::Faults;

/// The most codecs of a trunk.
const MAX_CODECS: usize = 32;

/// What becomes of a private media address (RFC 1918, RFC 6598) in the description of a party whose signaling comes from
/// a public one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivateMediaConfig {
    /// The party is behind NAT: `media_nat` says what is done.
    #[default]
    Latch,
    /// It is believed, and never latched with `media_nat = "auto"`: there is another way to that address.
    Allow,
    /// It is refused with 488 "Private IP Address"; in an answer it ends the call.
    Refuse,
}

impl TrunkConfig {
    pub(super) fn private_media(&self) -> PrivateMedia {
        match self.private_media {
            PrivateMediaConfig::Latch => PrivateMedia::Latch,
            PrivateMediaConfig::Allow => PrivateMedia::Allow,
            PrivateMediaConfig::Refuse => PrivateMedia::Refuse,
        }
    }

    /// The trunk's codecs. `key` names the trunk.
    pub(super) fn codecs(&self, key: &str, faults: &mut Faults) -> Codecs {
        if self.codecs.len() > MAX_CODECS {
            faults.add(format!("{key}.codecs"), "too many codecs", format!("use {MAX_CODECS} at most"));
        }
        let mut codecs: Vec<CodecName> = Vec::new();
        for (index, text) in self.codecs.iter().enumerate() {
            match text.parse() {
                Ok(codec) if codecs.contains(&codec) => {
                    faults.add(format!("{key}.codecs[{index}]"), format!("{text:?} is named twice"), "name it once");
                }
                Ok(codec) => codecs.push(codec),
                Err(error) => {
                    let remedy = "write a name as in a=rtpmap, such as \"pcma\" or \"speex/16000\"";
                    faults.add(format!("{key}.codecs[{index}]"), error.to_string(), remedy);
                }
            }
        }
        let tones_alone = |codec: &CodecName| {
            let name = codec.to_string().to_ascii_lowercase();
            name.starts_with("telephone-event") || name.starts_with("cn")
        };
        if !codecs.is_empty() && codecs.iter().all(tones_alone) {
            faults.add(format!("{key}.codecs"), "no call could be made with these alone", "name a codec for speech");
        }
        Codecs::new(codecs)
    }
}
