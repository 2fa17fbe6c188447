//! Replaces: which dialog a new one takes the place of (RFC 3891).

use super::Params;
use crate::lexical::{is_lws, is_token, push_line, split_at, trim};
use crate::{Fault, Message, Name};

/// The dialog to be replaced, as its other end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// Its Call-ID.
    pub call_id: &'a [u8],
    /// The tag of who receives the Replaces.
    pub to_tag: &'a [u8],
    /// The tag of the other end.
    pub from_tag: &'a [u8],
    /// Only if it is not answered yet.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads a value; one from the headers of a URI is to be [unescaped](crate::unescape) before.
    pub fn parse(value: &'a [u8]) -> Result<Replaces<'a>, Fault> {
        Replaces::read(value).ok_or(Fault::Malformed(Name::Replaces))
    }

    /// The value as it is written.
    pub fn to_value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(self.call_id.len() + self.to_tag.len() + self.from_tag.len() + 40);
        for (name, part) in [("", self.call_id), (";to-tag=", self.to_tag), (";from-tag=", self.from_tag)] {
            value.extend_from_slice(name.as_bytes());
            push_line(&mut value, part);
        }
        if self.early_only {
            value.extend_from_slice(b";early-only");
        }
        value
    }

    fn read(value: &'a [u8]) -> Option<Replaces<'a>> {
        let (call_id, _) = split_at(value, b';');
        let params = Params::new(&value[call_id.len()..]);
        let call_id = trim(call_id);
        if call_id.is_empty() || call_id.iter().any(|&byte| is_lws(byte)) {
            return None;
        }
        // Each tag stands there exactly once (RFC 3891 section 3).
        let tag = |name: &[u8]| {
            let mut found = params.clone().filter(|(param, _)| param.eq_ignore_ascii_case(name));
            let tag = found.next()?.1.filter(|tag| is_token(tag));
            if found.next().is_some() { None } else { tag }
        };
        let (to_tag, from_tag) = (tag(b"to-tag")?, tag(b"from-tag")?);
        Some(Replaces { call_id, to_tag, from_tag, early_only: params.clone().find(b"early-only").is_some() })
    }
}

impl<'a> Message<'a> {
    /// Replaces; `None` if it is absent. Two of them are none that could be acted on.
    pub fn replaces(&self) -> Result<Option<Replaces<'a>>, Fault> {
        let mut values = self.values(Name::Replaces);
        let value = values.next();
        if values.next().is_some() {
            return Err(Fault::Repeated(Name::Replaces));
        }
        value.map(Replaces::parse).transpose()
    }

    /// Refer-To: where the receiver is asked to turn to (RFC 3515); `None` if it is absent.
    pub fn refer_to(&self) -> Result<Option<super::NameAddr<'a>>, Fault> {
        let mut values = self.all(Name::ReferTo);
        let value = values.next();
        if values.next().is_some() {
            return Err(Fault::Repeated(Name::ReferTo));
        }
        let read = |value| super::NameAddr::parse(value).map_err(|_| Fault::Malformed(Name::ReferTo));
        value.map(read).transpose()
    }
}
