//! What of a message crosses from one leg to the other, and what each leg says for itself.
//!
//! Unknown headers cross byte for byte. Known ones have rules: those of [`is_own`] are the leg's own;
//! identity headers cross only between trusted trunks; option tags that Moorline does not carry are
//! neither offered nor accepted.

mod body;
mod identity;
mod privacy;

use std::net::SocketAddr;

use moorline_sip::digest::Response;
use moorline_sip::{AddressText, HeaderLine, Message, Name, NameAddr, Params, Scheme, Transport, Uri, Via, Writer};

use crate::identity::{COOKIE, TOKEN, of_branch};
use crate::secret::without_marks;

/// The methods that Moorline takes (RFC 3261 20.5).
pub(crate) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, REFER, SUBSCRIBE, NOTIFY, PUBLISH";

/// How headers cross to a leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crossing<'a> {
    /// Identity headers cross: both trunks are trusted.
    pub(crate) trusted: bool,
    /// Who sends the message is withheld from this leg, whether it asks for that or not.
    pub(crate) withheld: bool,
    /// The realm that the message's sender had to show credentials for, here: they go no further.
    pub(crate) realm: Option<&'a str>,
    /// This leg is shown our own credentials, and no others.
    pub(crate) authenticates: bool,
    /// Our address on the side that is shown the message.
    pub(crate) shown_as: SocketAddr,
    /// What the called side is told of the caller, where it is a request of the caller's that crosses.
    pub(crate) naming: Option<Naming<'a>>,
}

impl Crossing<'_> {
    /// Copies what crosses of a message's headers, and ends the message with `body`: the original's as this
    /// leg is shown it, or nothing. Without a body, what describes one stays behind too.
    pub(crate) fn finish(self, writer: Writer, message: Message<'_>, body: &[u8]) -> Vec<u8> {
        self.finish_with(writer, message, body, &[])
    }

    /// The same, with other values for some headers.
    pub(crate) fn finish_with(
        self,
        mut writer: Writer,
        message: Message<'_>,
        body: &[u8],
        replaced: &[(Name, Vec<u8>)],
    ) -> Vec<u8> {
        let withheld = self.withholds(message);
        let assertions = self.assertions(message);
        for (name, value) in replaced.iter().chain(&assertions) {
            if !(withheld && *name == Name::ReferredBy || value.is_empty()) {
                writer = writer.header(name.text(), value);
            }
        }
        for line in message.lines() {
            if replaced.iter().chain(&assertions).any(|(name, _)| *name == line.name) {
                continue;
            }
            if withheld && (privacy::is_telling(&line) || line.name == Name::Privacy) {
                continue;
            }
            if line.name == Name::Warning {
                writer = self.warnings(writer, line.value);
            } else if self.crosses(&line) && !(body.is_empty() && describes_body(line.name)) {
                writer = writer.line(line.raw);
            }
        }
        if withheld {
            // Whoever carries it further is to keep it so (RFC 3325 9.3).
            writer = writer.header("Privacy", "id");
        }
        writer.finish(body)
    }

    /// True where the message's sender is not to be named on this leg. Those who are trusted learn who it is, and
    /// that they must not tell (RFC 3325 5).
    pub(crate) fn withholds(self, message: Message<'_>) -> bool {
        self.withheld || (!self.trusted && privacy::is_asked(message))
    }

    fn crosses(self, line: &HeaderLine<'_>) -> bool {
        match line.name {
            Name::Authorization | Name::ProxyAuthorization => !self.keeps(line.value),
            name => !is_own(name) && !is_negotiated(name) && (self.trusted || !is_identity(line)),
        }
    }

    /// True for credentials that do not go on.
    fn keeps(self, credentials: &[u8]) -> bool {
        let ours = |realm: &str| Response::all(credentials).any(|answer| *answer.realm == *realm.as_bytes());
        self.authenticates || self.realm.is_some_and(ours)
    }

    /// A warning names who warns (RFC 3261 20.43): from this leg's side that is us.
    fn warnings(self, mut writer: Writer, value: &[u8]) -> Writer {
        let parts: Vec<&[u8]> = value.splitn(3, |b| *b == b' ').collect();
        if let [code, _, text] = parts[..]
            && code.len() == 3
            && code.iter().all(u8::is_ascii_digit)
            && text.first() == Some(&b'"')
            && text.iter().filter(|b| **b == b'"').count() == 2
        {
            let mut shown = code.to_vec();
            shown.extend_from_slice(format!(" {} ", AddressText::from(self.shown_as)).as_bytes());
            shown.extend_from_slice(text);
            writer = writer.header("Warning", shown);
        }
        // Several warnings on a line, or one that is misshapen, are not worth a host that shows.
        writer
    }
}

/// Headers of extensions that each leg has for itself: reliable provisional answers (RFC 3262) and session timers
/// (RFC 4028).
fn is_negotiated(name: Name) -> bool {
    matches!(name, Name::RSeq | Name::RAck | Name::SessionExpires | Name::MinSe)
}

/// Headers that assert who somebody is or where a call has been (RFC 3325, RFC 5806, RFC 7044, RFC 7315).
fn is_identity(line: &HeaderLine<'_>) -> bool {
    matches!(
        line.name,
        Name::PAssertedIdentity
            | Name::PPreferredIdentity
            | Name::RemotePartyId
            | Name::Diversion
            | Name::HistoryInfo
            | Name::PChargingVector
    ) || line.name_text.eq_ignore_ascii_case(b"P-Charging-Function-Addresses")
}

fn describes_body(name: Name) -> bool {
    matches!(
        name,
        Name::ContentType
            | Name::ContentDisposition
            | Name::ContentEncoding
            | Name::ContentLanguage
            | Name::MimeVersion
    )
}

/// Headers that each leg writes for itself.
fn is_own(name: Name) -> bool {
    matches!(
        name,
        Name::Via
            | Name::Route
            | Name::RecordRoute
            | Name::Contact
            | Name::MaxForwards
            | Name::From
            | Name::To
            | Name::CallId
            | Name::CSeq
            | Name::ContentLength
            | Name::Supported
            | Name::Require
            | Name::ProxyRequire
            | Name::Allow
    )
}

/// How a peer sees this host: an advertised address, over a transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    /// By a `sips` URI.
    pub(crate) secure: bool,
    /// It is asked to answer to where a request comes from (RFC 3581).
    pub(crate) rport: bool,
}

impl Shown {
    /// The same, by a `sips` URI where that is what the dialog was set up by, or is (RFC 3261 8.1.1.8, 12.1.1).
    pub(crate) fn secured(self, secure: bool) -> Shown {
        Shown { secure: self.secure || secure, ..self }
    }

    /// A Via value for a request.
    pub(crate) fn via(self, branch: &str) -> String {
        let via = Via::value(self.transport, AddressText::from(self.address).as_str(), branch);
        if self.rport { via } else { via.trim_end_matches(";rport").to_owned() }
    }

    /// A Contact value.
    pub(crate) fn contact(self) -> String {
        ["<", &self.uri(""), ">"].concat()
    }

    /// The URI of this host, or of `user` (with its `@`) at it. UDP is what no transport means (RFC 3261 19.1.2).
    pub(crate) fn uri(self, user: &str) -> String {
        let address = AddressText::from(self.address);
        match self.transport {
            _ if self.secure => ["sips:", user, address.as_str()].concat(),
            Transport::Udp => ["sip:", user, address.as_str()].concat(),
            other => ["sip:", user, address.as_str(), ";transport=", other.param()].concat(),
        }
    }
}

/// The URI of a peer that has named none: the address that it speaks from.
pub(crate) fn uri_at(address: SocketAddr) -> String {
    ["sip:", AddressText::from(address).as_str()].concat()
}

/// The Request-URI at the next hop: the user part and the parameters that are not about transport stay,
/// the host (with its port, if it is to have one) becomes the hop's. A telephone number becomes its user part. A `sips`
/// URI stays one (RFC 3261 26.2.2); others become one where the hop is reached by one.
pub(crate) fn request_uri(original: &[u8], host: &str, secure: bool) -> Vec<u8> {
    let Ok(uri) = Uri::parse(original) else { return [scheme(secure), host.as_bytes()].concat() };
    let mut out = scheme(secure || uri.scheme == Scheme::Sips).to_vec();
    if let Some(user) = uri.user {
        out.extend_from_slice(&without_marks(user));
        out.push(b'@');
    }
    out.extend_from_slice(host.as_bytes());
    if uri.scheme == Scheme::Tel {
        out.extend_from_slice(b";user=phone");
        return out;
    }
    copy_params(&mut out, uri.params, TRANSPORT_PARAMS);
    out
}

/// A From or To value whose host is replaced, so that the other leg's topology does not show. The display
/// name, the user part and unknown parameters stay; a tag does not. A `tel:` URI has no host to hide. A `sips` URI stays
/// one; `secure` makes one of others.
pub(crate) fn party(original: &NameAddr<'_>, host: &str, secure: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(original.display.len() + original.uri.len() + 48);
    if !original.display.is_empty() {
        out.extend_from_slice(&without_marks(&original.display_name()));
        out.push(b' ');
    }
    out.push(b'<');
    match Uri::parse(original.uri) {
        Ok(uri) if uri.scheme == Scheme::Tel => out.extend_from_slice(&without_marks(original.uri)),
        Ok(uri) => {
            out.extend_from_slice(scheme(secure || uri.scheme == Scheme::Sips));
            if let Some(user) = uri.user {
                out.extend_from_slice(&without_marks(user));
                out.push(b'@');
            }
            out.extend_from_slice(host.as_bytes());
            copy_params(&mut out, uri.params, TRANSPORT_PARAMS);
        }
        Err(_) => {
            out.extend_from_slice(scheme(secure));
            out.extend_from_slice(host.as_bytes());
        }
    }
    out.push(b'>');
    copy_params(&mut out, original.params, &["tag"]);
    out
}

fn scheme(secure: bool) -> &'static [u8] {
    if secure { b"sips:" } else { b"sip:" }
}

/// True for a `sips` URI.
pub(crate) fn is_sips(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Sips)
}

pub(crate) use body::{Body, body, with_description};
pub(crate) use identity::Naming;
pub(crate) use privacy::{ANONYMOUS, is_asked as is_privacy_asked};

/// URI parameters that tell the way to one side, not who is meant.
const TRANSPORT_PARAMS: &[&str] = &["transport", "maddr", "ttl", "lr", "received"];

/// Copies parameters, but those named.
pub(crate) fn copy_params(out: &mut Vec<u8>, params: &[u8], except: &[&str]) {
    for (name, value) in Params::new(params) {
        if name.is_empty() || except.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())) {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// What a branch of ours ends with, so that a request that comes back to us unchanged is known (RFC 3261 16.6,
/// step 8): a hash of whom it calls. One that comes back for somebody else has only taken a detour.
pub(crate) fn loop_mark(request_uri: &[u8]) -> String {
    let called = Uri::parse(request_uri).ok().and_then(|uri| uri.user).unwrap_or(request_uri);
    format!("-{:08x}", hash(called))
}

/// FNV-1a: any hash will do that is the same in all processes of a host.
pub(crate) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// True for a request that this node has sent before, to the same callee.
pub(crate) fn is_looping(request: Message<'_>, node: u16) -> bool {
    let mut branches = request.values(Name::Via).filter_map(|via| Via::parse(via).ok()?.branch);
    branches.any(|branch| {
        of_branch(branch).is_some_and(|id| id.node == node)
            && branch[COOKIE.len() + TOKEN..] == *loop_mark(request.request_uri().unwrap_or_default()).as_bytes()
    })
}

/// The To tag of a message, if it has one.
pub(crate) fn to_tag(message: Message<'_>) -> Option<&[u8]> {
    message.to().ok()?.tag()
}

#[cfg(test)]
mod tests;
