//! The query of a URI.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Refused, bad};

/// What is said in a query; each name once.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn read(text: &str) -> Result<Query, Refused> {
        let mut pairs = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A `+` in a number is meant as such, and browsers write spaces as %20 in URIs.
            if pairs.insert(decoded(name)?, decoded(value)?).is_some() {
                return Err(bad(format!("{name:?} is there twice")));
            }
        }
        Ok(Query(pairs))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Refused> {
        let text = self.take(name);
        text.map(|text| text.parse().map_err(|_| bad(format!("{name:?} is a number, not {text:?}")))).transpose()
    }

    /// Nothing was said that is not known.
    pub(super) fn end(self) -> Result<(), Refused> {
        match self.0.into_keys().next() {
            Some(name) => Err(bad(format!("{name:?} is not known here"))),
            None => Ok(()),
        }
    }
}

/// A part of a URI without its escapes (RFC 3986 2.1).
pub(super) fn decoded(text: &str) -> Result<String, Refused> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        decoded.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err(bad("an escape is % and two hexadecimal digits")),
            },
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| bad("what is escaped is no UTF-8"))
}
