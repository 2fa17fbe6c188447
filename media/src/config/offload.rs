//! Relaying in the network driver.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Whether established flows are relayed in the network driver: `true`, `false` or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffloadChoice {
    /// No.
    #[default]
    Off,
    /// Yes, or the start fails.
    On,
    /// Where the host offers what is needed.
    Auto,
}

impl<'de> Deserialize<'de> for OffloadChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OffloadChoice, D::Error> {
        struct Choice;

        impl Visitor<'_> for Choice {
            type Value = OffloadChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or \"auto\"")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<OffloadChoice, E> {
                Ok(if on { OffloadChoice::On } else { OffloadChoice::Off })
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<OffloadChoice, E> {
                match word {
                    "auto" => Ok(OffloadChoice::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
        }

        deserializer.deserialize_any(Choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn it_is_a_flag_or_auto() {
        let read = |text: &str| toml::from_str::<Config>(text).map(|config| config.offload);
        assert_eq!(read(""), Ok(OffloadChoice::Off));
        assert_eq!(read("offload = true"), Ok(OffloadChoice::On));
        assert_eq!(read("offload = false"), Ok(OffloadChoice::Off));
        assert_eq!(read("offload = \"auto\""), Ok(OffloadChoice::Auto));
        let error = read("offload = \"yes\"").unwrap_err().to_string();
        assert!(error.contains("true, false or \"auto\""), "{error}");
    }
}
