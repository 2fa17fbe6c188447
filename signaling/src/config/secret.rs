//! Secret called prefixes, as they are written.

use std::fmt;
use std::path::{Path, PathBuf};

use moorline_b2bua::policy::{SecretPrefix, SecretPrefixes, WithoutPrefix};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::accounts::{SecretText, file, never_quoted};
use super::fault::Faults;
use super::{RefuseConfig, TrunkConfig};

/// Digits that were agreed on with a peer and stand in front of each called number on the way between the two, to admit
/// its calls: `secret_prefix = { sent_file = "/etc/moorline/carrier.prefix" }`. They stand nowhere else: not in logs,
/// metrics, records, snapshots or faults, nor in what other parties are sent. 3 to 32 digits, letters, `*` and `+`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretPrefixConfig {
    /// What the called numbers of its calls (and of other requests outside calls) must begin with. It is taken off
    /// before anything else sees it; To in our answers lacks it too.
    pub received: Option<SecretText>,
    /// A file that holds that on one line, for its owner and group alone.
    pub received_file: Option<PathBuf>,
    /// What is put in front of the called numbers of calls to it, as the last thing.
    pub sent: Option<SecretText>,
    /// A file that holds that on one line, for its owner and group alone.
    pub sent_file: Option<PathBuf>,
    /// What becomes of a request without the prefix that it must show.
    pub without: WithoutPrefixConfig,
}

/// Reads the table. What is written in its place is not quoted in the fault: it may be the secret.
pub(super) fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretPrefixConfig, D::Error> {
    deserializer.deserialize_any(TableVisitor)
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = SecretPrefixConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretPrefixConfig, A::Error> {
        SecretPrefixConfig::deserialize(MapAccessDeserializer::new(map))
    }

    never_quoted! { SecretPrefixConfig, "no table with `received`, `sent` and the like" }
}

/// What becomes of a request without the secret prefix; it is counted either way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WithoutPrefixConfig {
    /// `"forbid"`: it is answered 403 Forbidden, which does not say why.
    #[default]
    Forbid,
    /// `"silence"`: it is not answered. This is safer: whoever tries prefixes learns nothing from a wrong one, and waits for each. A
    /// peer that has the wrong prefix by mistake waits as well.
    Silence,
    /// `{ status = 470, reason = "CONFIG_ERROR" }`: it is answered so, without an announcement.
    Refuse(RefuseConfig),
}

impl<'de> Deserialize<'de> for WithoutPrefixConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WithoutPrefixConfig, D::Error> {
        deserializer.deserialize_any(WithoutVisitor)
    }
}

struct WithoutVisitor;

impl<'de> Visitor<'de> for WithoutVisitor {
    type Value = WithoutPrefixConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"forbid\", \"silence\" or a table with `status` and `reason`")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<WithoutPrefixConfig, E> {
        match word {
            "forbid" => Ok(WithoutPrefixConfig::Forbid),
            "silence" => Ok(WithoutPrefixConfig::Silence),
            other => Err(E::unknown_variant(other, &["forbid", "silence"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WithoutPrefixConfig, A::Error> {
        RefuseConfig::deserialize(MapAccessDeserializer::new(map)).map(WithoutPrefixConfig::Refuse)
    }
}

impl TrunkConfig {
    /// The trunk's secret prefixes. `key` names the trunk.
    pub(super) fn secret_prefix(&self, key: &str, faults: &mut Faults) -> SecretPrefixes {
        let config = &self.secret_prefix;
        let key = format!("{key}.secret_prefix");
        let received = prefix(&key, "received", config.received.as_ref(), config.received_file.as_deref(), faults);
        let sent = prefix(&key, "sent", config.sent.as_ref(), config.sent_file.as_deref(), faults);
        if received.is_some() && self.authentication.is_some() {
            let problem =
                "a digest is made over the called number, secret prefix and all, and may be asked about elsewhere";
            faults.add(format!("{key}.received"), problem, "keep one of the two, the prefix or [authentication]");
        }
        let without = match &config.without {
            WithoutPrefixConfig::Forbid => WithoutPrefix::Forbid,
            WithoutPrefixConfig::Silence => WithoutPrefix::Silence,
            WithoutPrefixConfig::Refuse(refuse) => {
                let key = format!("{key}.without");
                if refuse.announcement.is_some() {
                    let problem = "nothing is played to who does not show the prefix";
                    faults.add(format!("{key}.announcement"), problem, "remove it");
                }
                let refusal = refuse.refusal(faults, &key);
                WithoutPrefix::Refuse { status: refusal.status, reason: refusal.reason }
            }
        };
        SecretPrefixes { received, sent, without }
    }
}

/// One of the two prefixes, if it is there. No fault says what is written.
fn prefix(
    key: &str,
    which: &str,
    text: Option<&SecretText>,
    path: Option<&Path>,
    faults: &mut Faults,
) -> Option<SecretPrefix> {
    let text = match (text, path) {
        (None, None) => return None,
        (Some(text), None) => text.text().to_owned(),
        (None, Some(path)) => match file::password(path) {
            Ok(text) => text,
            Err(file::Unreadable { problem, remedy }) => {
                // The secret itself may have been written in its place.
                let problem = problem.replace(&path.display().to_string(), "the file");
                faults.add(format!("{key}.{which}_file"), problem, remedy);
                return None;
            }
        },
        (Some(_), Some(_)) => {
            faults.add(format!("{key}.{which}"), "it is given twice", format!("keep one, here or in {which}_file"));
            return None;
        }
    };
    match SecretPrefix::new(&text) {
        Ok(prefix) => Some(prefix),
        Err(error) => {
            let named = if path.is_some() { format!("{key}.{which}_file") } else { format!("{key}.{which}") };
            faults.add(named, "this is no secret prefix", error.to_string());
            None
        }
    }
}
