//! Who calls whom, in the numbers that each side uses.

use std::borrow::Cow;

use moorline_sip::{Message, Name, NameAddr, Scheme, Uri};

use crate::forward;
use crate::policy::{RouteNumbers, Trunk, number_of, with_number};

/// Numbers that are longer are of no call that a network would carry: what is written down of one ends there.
const MAX_KEPT: usize = 64;

/// The numbers of a request and of what becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// As its sender's trunk has them.
    pub(crate) received: Parties,
    /// After that trunk's rules: what it is judged and routed by.
    pub(crate) routed: Parties,
    /// After the rules of its route.
    onward: Parties,
    /// As the trunk that it goes to is sent them.
    pub(crate) sent: Parties,
    /// The caller's was set for the trunk that it goes to, whoever calls.
    set: bool,
}

/// Both numbers; user names where they are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parties {
    pub(crate) called: Box<[u8]>,
    pub(crate) caller: Box<[u8]>,
}

impl Numbers {
    /// Those of a request that came from `trunk`.
    pub(crate) fn received(request: Message<'_>, trunk: &Trunk) -> Numbers {
        let called = request.request_uri().and_then(|uri| Uri::parse(uri).ok()).and_then(|uri| uri.user);
        let received = Parties {
            called: number_of(called.unwrap_or_default()).into(),
            caller: caller(request, trunk.trusted).into_owned().into(),
        };
        let routed = Parties {
            called: trunk.numbers.called_in.apply(&received.called).into(),
            caller: trunk.numbers.caller_in.apply(&received.caller).into(),
        };
        Numbers { onward: routed.clone(), sent: routed.clone(), received, routed, set: false }
    }

    /// The request goes by a route with these rules.
    pub(crate) fn take(&mut self, rules: &RouteNumbers) {
        self.onward.called = rules.called.apply(&self.routed.called).into();
        self.onward.caller = rules.caller.apply(&self.routed.caller).into();
    }

    /// The request goes to `trunk`.
    pub(crate) fn send(&mut self, trunk: &Trunk) {
        self.sent.called = trunk.numbers.called_out.apply(&self.onward.called).into();
        let set = trunk.caller.number_for(&self.onward.caller);
        self.set = set.is_some();
        self.sent.caller = match set {
            Some(number) => number.into(),
            None => trunk.numbers.caller_out.apply(&self.onward.caller).into(),
        };
    }

    /// As they were written down, for a call that goes to `trunk`; nothing is known of an older one's.
    pub(crate) fn restored(kept: &[&[u8]], trunk: &Trunk) -> Numbers {
        let parties = |at: usize| Parties {
            called: kept.get(at).copied().unwrap_or_default().into(),
            caller: kept.get(at + 1).copied().unwrap_or_default().into(),
        };
        let [received, routed, sent, onward] = [0, 2, 4, 6].map(parties);
        let set = trunk.caller.number_for(&onward.caller).is_some();
        Numbers { received, routed, onward, sent, set }
    }

    /// As they are written down.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &[u8]> {
        [&self.received, &self.routed, &self.sent, &self.onward].into_iter().flat_map(Parties::kept)
    }

    /// The number in the place of the one in a From or identity header.
    pub(crate) fn caller_for(&self, user: Option<&[u8]>) -> Option<&[u8]> {
        let named = || user.is_some_and(|user| *number_of(user) == *self.received.caller);
        (self.set || named()).then_some(&*self.sent.caller)
    }

    /// A To value at `host`, as [`forward::party`] makes it. A call that was diverted names there who was called at first.
    pub(crate) fn to(&self, to: &NameAddr<'_>, host: &str, secure: bool) -> Vec<u8> {
        let user = Uri::parse(to.uri).ok().and_then(|uri| uri.user);
        let named = user.is_some_and(|user| *number_of(user) == *self.received.called);
        let uri = if named { with_number_in(to.uri, &self.sent.called, host) } else { to.uri.into() };
        forward::party(&NameAddr { uri: &uri, ..*to }, host, secure)
    }
}

impl Parties {
    fn kept(&self) -> [&[u8]; 2] {
        [&self.called, &self.caller].map(|number| &number[..number.len().min(MAX_KEPT)])
    }
}

/// The number of a request's sender: that of From, or of P-Asserted-Identity where From names nobody and whoever sent it
/// is believed (RFC 3325 9.1).
fn caller(request: Message<'_>, trusted: bool) -> Cow<'_, [u8]> {
    let user = |uri| Uri::parse(uri).ok().and_then(|uri| uri.user);
    let from = request.from().ok().and_then(|from| user(from.uri));
    if !is_anonymous(from) || !trusted {
        return number_of(from.unwrap_or_default());
    }
    let asserted = request.values(Name::PAssertedIdentity).filter_map(|value| user(NameAddr::parse(value).ok()?.uri));
    number_of(asserted.into_iter().next().or(from).unwrap_or_default())
}

fn is_anonymous(user: Option<&[u8]>) -> bool {
    user.is_none_or(|user| user.eq_ignore_ascii_case(b"anonymous"))
}

/// A URI with another number. A `tel` one stays one while it can: a number that is not a global one needs to say of where
/// it is (RFC 3966 5.1.5), and `host` does.
pub(crate) fn with_number_in<'a>(uri: &'a [u8], number: &[u8], host: &str) -> Cow<'a, [u8]> {
    let Ok(parsed) = Uri::parse(uri) else { return Cow::Borrowed(uri) };
    let user = parsed.user.unwrap_or_default();
    if *number_of(user) == *number || number.is_empty() {
        return Cow::Borrowed(uri);
    }
    match parsed.scheme {
        Scheme::Tel if number.starts_with(b"+") => [b"tel:", number].concat().into(),
        Scheme::Tel => [b"sip:", &*with_number(b"", number), b"@", host.as_bytes(), b";user=phone"].concat().into(),
        Scheme::Sip | Scheme::Sips => {
            let scheme = parsed.scheme.as_bytes();
            let rest = &uri[scheme.len() + 1..];
            let rest = if parsed.user.is_some() { &rest[user.len()..] } else { rest };
            let at: &[u8] = if parsed.user.is_some() { b"" } else { b"@" };
            [scheme, b":", &with_number(user, number), at, rest].concat().into()
        }
        Scheme::Other(_) => Cow::Borrowed(uri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_the_place_of_another_in_a_uri() {
        let at = |uri: &str, number: &str| {
            String::from_utf8(with_number_in(uri.as_bytes(), number.as_bytes(), "host").into_owned()).unwrap()
        };
        assert_eq!(at("sip:1;npdi@h:5070;transport=tcp", "2"), "sip:2;npdi@h:5070;transport=tcp");
        assert_eq!(at("sips:a:secret@h", "+49"), "sips:+49:secret@h");
        assert_eq!(at("sip:h;x", "2"), "sip:2@h;x");
        assert_eq!(at("tel:+49-30;isub=1", "+4930"), "tel:+49-30;isub=1", "the same number");
        assert_eq!(at("tel:+4930", "+4931"), "tel:+4931");
        assert_eq!(at("tel:+4930", "030"), "sip:030@host;user=phone");
        assert_eq!(at("mailto:a@b", "1"), "mailto:a@b");
    }
}
