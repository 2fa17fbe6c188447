//! What is asked for, as JSON.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};

/// Reads what is asked for. No request has a list in it, and none is taken: what serde derives for a struct would take one
/// for its fields in their order, and an empty one for all their defaults.
///
/// # Errors
/// What cannot be understood, and where.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    let WithoutLists = serde_json::from_slice(text)?;
    serde_json::from_slice(text)
}

/// Any JSON in which there is no list.
struct WithoutLists;

impl<'de> Deserialize<'de> for WithoutLists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WithoutLists, D::Error> {
        deserializer.deserialize_any(WithoutLists)
    }
}

impl<'de> Visitor<'de> for WithoutLists {
    type Value = WithoutLists;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, a text, a number or a truth value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<WithoutLists, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<WithoutLists, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<WithoutLists, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<WithoutLists, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<WithoutLists, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<WithoutLists, E> {
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WithoutLists, A::Error> {
        while map.next_entry::<WithoutLists, WithoutLists>()?.is_some() {}
        Ok(self)
    }
}
