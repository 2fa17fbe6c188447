//! Contacts as a registrar reads them (RFC 3261 sections 10 and 20.10).

use super::NameAddr;
use crate::lexical::{seconds, trim};
use crate::{Fault, Message, Name};

/// One value of Contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: every binding, to be removed.
    Any,
    /// Where the user can be reached.
    Address(NameAddr<'a>),
}

/// What an unreadable `expires` counts as (RFC 3261 section 20.10).
const DEFAULT_EXPIRES_S: u32 = 3_600;

impl<'a> Message<'a> {
    /// All values of Contact, in order.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'a>, Fault>> + use<'a> {
        self.values(Name::Contact).map(|value| match value {
            b"*" => Ok(Contact::Any),
            _ => NameAddr::parse(value).map(Contact::Address).map_err(|_| Fault::Malformed(Name::Contact)),
        })
    }

    /// Expires in seconds; `None` if it is absent. One that is no number counts as an hour.
    pub fn expires(&self) -> Option<u32> {
        self.header(Name::Expires).map(|value| seconds(value).unwrap_or(DEFAULT_EXPIRES_S))
    }
}

impl NameAddr<'_> {
    /// The `expires` of a Contact in seconds; `None` if it is absent. One that is no number counts as an hour.
    pub fn expires(&self) -> Option<u32> {
        let value = self.param(b"expires")?;
        Some(value.and_then(seconds).unwrap_or(DEFAULT_EXPIRES_S))
    }

    /// The `q` of a Contact in thousandths, 1000 being the most wanted; `None` if it is absent or no such number.
    pub fn q(&self) -> Option<u16> {
        let (whole, fraction) = match trim(self.param(b"q")??) {
            [whole, b'.', fraction @ ..] => (*whole, fraction),
            [whole] => (*whole, &b""[..]),
            _ => return None,
        };
        if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) || !matches!(whole, b'0' | b'1') {
            return None;
        }
        let digit = |nth: usize| u16::from(fraction.get(nth).map_or(0, |digit| digit - b'0'));
        let thousandths = u16::from(whole - b'0') * 1_000 + digit(0) * 100 + digit(1) * 10 + digit(2);
        (thousandths <= 1_000).then_some(thousandths)
    }
}
