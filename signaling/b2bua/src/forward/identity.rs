//! Who the called side is told calls: From, and the headers in which the network says so (RFC 3325).

use moorline_sip::{AddressText, Message, Method, Name, NameAddr, Uri};

use super::{ANONYMOUS, Crossing, party};
use crate::call::{Numbers, with_number_in};
use crate::policy::{Assertion, CallerIdentity, NumberRules, Trunk, number_of};

/// Where the network names the caller.
const ASSERTIONS: [Name; 3] = [Name::PAssertedIdentity, Name::PPreferredIdentity, Name::RemotePartyId];

/// What a trunk is told of who calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming<'a> {
    /// The numbers of the call.
    pub(crate) numbers: &'a Numbers,
    /// How the trunk wants callers.
    pub(crate) identity: &'a CallerIdentity,
    /// The host in their addresses, where it is not our own address.
    pub(crate) domain: Option<&'a str>,
    /// What is made of other numbers that the network tells, one after the other: those of who has diverted the call.
    rules: [&'a NumberRules; 2],
}

impl<'a> Naming<'a> {
    /// What `trunk` is told of a call that came from another one.
    pub(crate) fn new(numbers: &'a Numbers, came: &'a Trunk, trunk: &'a Trunk) -> Naming<'a> {
        let rules = [&came.numbers.caller_in, &trunk.numbers.caller_out];
        Naming { numbers, identity: &trunk.caller, domain: trunk.domain.as_deref(), rules }
    }
}

impl Crossing<'_> {
    /// The From value, without a tag, of a request that `from` sent: at `domain`, or at our own address.
    pub(crate) fn caller(self, request: Message<'_>, from: &NameAddr<'_>, domain: Option<&str>) -> Vec<u8> {
        if self.withholds(request) {
            return ANONYMOUS.to_vec();
        }
        let own = AddressText::from(self.shown_as);
        let host = domain.unwrap_or(own.as_str());
        let Some(naming) = self.naming else { return party(from, host, false) };
        let user = Uri::parse(from.uri).ok().and_then(|uri| uri.user);
        let number = naming.numbers.caller_for(user);
        let uri = number.map_or(from.uri.into(), |number| with_number_in(from.uri, number, host));
        let display = naming.identity.display.as_deref().map(quoted);
        let display = display.as_deref().unwrap_or(from.display);
        party(&NameAddr { display, uri: &uri, ..*from }, host, false)
    }

    /// Headers that take the place of those in which the network names the caller; an empty value takes one away.
    pub(super) fn assertions(self, request: Message<'_>) -> Vec<(Name, Vec<u8>)> {
        let Some(naming) = self.naming.filter(|_| request.is_request()) else { return Vec::new() };
        let own = AddressText::from(self.shown_as);
        let host = naming.domain.unwrap_or(own.as_str());
        let said_in = match naming.identity.assertion {
            Assertion::Pass if !self.trusted => return Vec::new(),
            Assertion::Pass => return [naming.renumbered(request, host), naming.diverted(request, host)].concat(),
            Assertion::Off => None,
            Assertion::Asserted => Some(Name::PAssertedIdentity),
            Assertion::Preferred => Some(Name::PPreferredIdentity),
        };
        let told = may_name(request) && (self.trusted || !self.withholds(request));
        let value = |name| if told && said_in == Some(name) { naming.value(host) } else { Vec::new() };
        let diverted = if self.trusted { naming.diverted(request, host) } else { Vec::new() };
        ASSERTIONS.map(|name| (name, value(name))).into_iter().chain(diverted).collect()
    }
}

impl Naming<'_> {
    /// The caller as a value of an identity header.
    fn value(&self, host: &str) -> Vec<u8> {
        let number = &self.numbers.sent.caller;
        if number.is_empty() {
            return Vec::new();
        }
        let at = ["sip:", host].concat();
        let uri = with_number_in(at.as_bytes(), number, host);
        let mut value = self.identity.display.as_deref().map(quoted).unwrap_or_default();
        if !value.is_empty() {
            value.push(b' ');
        }
        value.extend([b"<", &uri[..], b">"].concat());
        value
    }

    /// The identity headers of a request whose numbers are not those that the trunk is sent.
    fn renumbered(&self, request: Message<'_>, host: &str) -> Vec<(Name, Vec<u8>)> {
        let mut changed = Vec::new();
        for name in ASSERTIONS {
            let values: Vec<&[u8]> = request.values(name).collect();
            let shown: Vec<Vec<u8>> = values.iter().map(|value| self.shown(value, host)).collect();
            if shown.iter().zip(&values).any(|(shown, value)| shown != value) {
                changed.extend(shown.into_iter().map(|value| (name, value)));
            }
        }
        changed
    }

    fn shown(&self, value: &[u8], host: &str) -> Vec<u8> {
        let Ok(address) = NameAddr::parse(value) else { return value.to_vec() };
        let user = Uri::parse(address.uri).ok().and_then(|uri| uri.user);
        let Some(number) = self.numbers.caller_for(user) else { return value.to_vec() };
        with_another(value, &address, number, host)
    }

    /// Where the call has been (RFC 5806, RFC 7044), where a number there is written otherwise for this trunk: as a caller's
    /// is, for whoever diverts a call is who it is charged to from there on.
    fn diverted(&self, request: Message<'_>, host: &str) -> Vec<(Name, Vec<u8>)> {
        let written = |value: &&[u8]| {
            let address = NameAddr::parse(value).ok()?;
            let user = number_of(Uri::parse(address.uri).ok()?.user?).into_owned();
            let [come, gone] = self.rules;
            let number = gone.apply(&come.apply(&user)).into_owned();
            (number != user).then(|| with_another(value, &address, &number, host))
        };
        let mut changed = Vec::new();
        for name in [Name::Diversion, Name::HistoryInfo] {
            let values: Vec<&[u8]> = request.values(name).collect();
            let shown: Vec<Option<Vec<u8>>> = values.iter().map(written).collect();
            if shown.iter().any(Option::is_some) {
                let all = shown.into_iter().zip(values);
                changed.extend(all.map(|(shown, value)| (name, shown.unwrap_or_else(|| value.to_vec()))));
            }
        }
        changed
    }
}

/// A header value with another number in its address.
fn with_another(value: &[u8], address: &NameAddr<'_>, number: &[u8], host: &str) -> Vec<u8> {
    let uri = with_number_in(address.uri, number, host);
    if *uri == *address.uri {
        return value.to_vec();
    }
    let mut out = address.display_name().into_owned();
    if !out.is_empty() {
        out.push(b' ');
    }
    out.extend([b"<", &uri[..], b">", address.params].concat());
    out
}

/// Requests that say who calls; those inside a call that only end or acknowledge something do not (RFC 3325 9.1).
fn may_name(request: Message<'_>) -> bool {
    let names = [Method::Invite, Method::Message, Method::Options, Method::Subscribe, Method::Refer, Method::Update];
    request.method().is_some_and(|method| names.contains(&method) || method == Method::Publish)
}

/// A display name as it is written (RFC 3261 25.1, `quoted-string`); nothing for none.
fn quoted(name: &str) -> Vec<u8> {
    if name.is_empty() {
        return Vec::new();
    }
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"").into_bytes()
}
