//! Dialogs: what must be remembered to send requests within a call (RFC 3261 section 12).

use thiserror::Error;

use crate::header::Params;
use crate::write::push_number;
use crate::{Fault, Message, Method, Name, NameAddr, Scheme, Uri, Writer};

/// One dialog, early or confirmed, as one side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of this side.
    pub local_tag: Vec<u8>,
    /// The tag of the far side; empty if it has none (RFC 2543).
    pub remote_tag: Vec<u8>,
    /// This side's name-addr without its tag: From in the requests it sends.
    pub local: Vec<u8>,
    /// The far side's name-addr without its tag: To in the requests sent to it.
    pub remote: Vec<u8>,
    /// The CSeq of the last request sent; 0 before the first.
    pub local_cseq: u32,
    /// The CSeq of the last request received.
    pub remote_cseq: Option<u32>,
    /// Route values in the order in which requests pass them.
    pub route_set: Vec<Vec<u8>>,
    /// The far side's Contact URI.
    pub remote_target: Vec<u8>,
    /// It was set up by a `sips` URI: every hop is TLS, and each side names itself by such a URI.
    pub secure: bool,
}

/// A request came with a lower CSeq than one before it: it is answered 500 (RFC 3261 section 12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("CSeq {received} after {last}")]
pub struct OutOfOrder {
    /// The CSeq of the request.
    pub received: u32,
    /// The highest CSeq before it.
    pub last: u32,
}

/// Max-Forwards of requests that start here.
const MAX_FORWARDS: &str = "70";

impl Dialog {
    /// The dialog that this side creates by answering `request` with `local_tag` (RFC 3261 section 12.1.1).
    pub fn uas(request: Message<'_>, local_tag: &[u8]) -> Result<Dialog, Fault> {
        let contact = request.contact()?.ok_or(Fault::Missing(Name::Contact))?;
        let (from, to) = (request.from()?, request.to()?);
        let route = request.values(Name::RecordRoute).next();
        let next = route.and_then(|route| NameAddr::parse(route).ok()).map_or(contact.uri, |route| route.uri);
        Ok(Dialog {
            secure: is_sips(next) || request.request_uri().is_some_and(is_sips),
            call_id: request.call_id()?.to_vec(),
            local_tag: local_tag.to_vec(),
            remote_tag: from.tag().unwrap_or_default().to_vec(),
            local: untagged(to),
            remote: untagged(from),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            route_set: request.values(Name::RecordRoute).map(<[u8]>::to_vec).collect(),
            remote_target: contact.uri.to_vec(),
        })
    }

    /// The dialog that `response` creates for this side, which sent a request to the URI `target` (RFC 3261
    /// section 12.1.2). All else that the request said comes back in the response. A response without Contact,
    /// against the rules but seen, leaves `target` as it is.
    pub fn uac(response: Message<'_>, target: &[u8]) -> Result<Dialog, Fault> {
        let target = response.contact()?.map_or(target, |contact| contact.uri);
        let mut route_set: Vec<Vec<u8>> = response.values(Name::RecordRoute).map(<[u8]>::to_vec).collect();
        route_set.reverse();
        let (from, to) = (response.from()?, response.to()?);
        Ok(Dialog {
            // To was the request's target, and Contact has its scheme.
            secure: is_sips(target) || is_sips(to.uri),
            call_id: response.call_id()?.to_vec(),
            local_tag: from.tag().unwrap_or_default().to_vec(),
            remote_tag: to.tag().unwrap_or_default().to_vec(),
            local: untagged(from),
            remote: untagged(to),
            local_cseq: response.cseq()?.number,
            remote_cseq: None,
            route_set,
            remote_target: target.to_vec(),
        })
    }

    /// Starts the next request: Request-URI, Via, Route, From, To, Call-ID, CSeq, Max-Forwards (RFC 3261 section
    /// 12.2.1.1). `via` is the whole value. An ACK takes [`ack`](Dialog::ack).
    pub fn request(&mut self, method: Method<'_>, via: &[u8]) -> Writer {
        // After 2^31 - 1 there is no number left to count to; none gets there at one request a second in 68 years.
        self.local_cseq = self.local_cseq.saturating_add(1).min((1 << 31) - 1);
        self.start(method, self.local_cseq, via)
    }

    /// Starts the ACK to the 2xx of the INVITE that had this CSeq.
    pub fn ack(&self, cseq: u32, via: &[u8]) -> Writer {
        self.start(Method::Ack, cseq, via)
    }

    /// Takes note of a request that came within the dialog. ACK and CANCEL carry the CSeq of their INVITE and change
    /// nothing.
    pub fn receive(&mut self, request: Message<'_>) -> Result<(), OutOfOrder> {
        let Ok(cseq) = request.cseq() else { return Ok(()) };
        if matches!(cseq.method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        match self.remote_cseq {
            Some(last) if cseq.number < last => Err(OutOfOrder { received: cseq.number, last }),
            _ => {
                self.remote_cseq = Some(cseq.number);
                Ok(())
            }
        }
    }

    /// Takes the Contact of a target refresh request (re-INVITE, UPDATE) or of its 2xx as the new target.
    pub fn refresh_target(&mut self, message: Message<'_>) {
        if let Ok(Some(contact)) = message.contact() {
            self.remote_target.clear();
            self.remote_target.extend_from_slice(contact.uri);
        }
    }

    /// The URI that requests are sent to: of the first route or, without one, the target.
    pub fn next_hop(&self) -> &[u8] {
        self.first_route().map_or(&self.remote_target, |route| route.uri)
    }

    fn first_route(&self) -> Option<NameAddr<'_>> {
        self.route_set.first().and_then(|route| NameAddr::parse(route).ok())
    }

    fn start(&self, method: Method<'_>, cseq: u32, via: &[u8]) -> Writer {
        let strict = self.first_route().filter(|route| !is_loose(route.uri));
        let uri = strict.map_or(&self.remote_target[..], |route| without_headers(route.uri));
        let mut writer = Writer::request(method, uri).header("Via", via);
        for route in self.route_set.iter().skip(usize::from(strict.is_some())) {
            writer = writer.header("Route", route);
        }
        if strict.is_some() {
            writer = writer.header("Route", [b"<", &self.remote_target[..], b">"].concat());
        }
        let mut number = Vec::with_capacity(24);
        push_number(&mut number, cseq as usize);
        number.push(b' ');
        number.extend_from_slice(method.as_bytes());
        writer
            .header("From", tagged(&self.local, &self.local_tag))
            .header("To", tagged(&self.remote, &self.remote_tag))
            .header("Call-ID", &self.call_id)
            .header("CSeq", number)
            .header("Max-Forwards", MAX_FORWARDS)
    }
}

fn is_sips(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Sips)
}

fn is_loose(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.is_loose_router())
}

/// A Request-URI has no headers.
fn without_headers(uri: &[u8]) -> &[u8] {
    let headers = Uri::parse(uri).map_or(0, |parsed| parsed.headers.len());
    &uri[..uri.len() - headers]
}

/// Display name, URI in brackets, and the parameters but for the tag.
fn untagged(address: NameAddr<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(address.display.len() + address.uri.len() + address.params.len() + 3);
    if !address.display.is_empty() {
        out.extend_from_slice(&address.display_name());
        out.push(b' ');
    }
    out.push(b'<');
    out.extend_from_slice(address.uri);
    out.push(b'>');
    for (name, value) in Params::new(address.params) {
        if name.is_empty() || name.eq_ignore_ascii_case(b"tag") {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

fn tagged(address: &[u8], tag: &[u8]) -> Vec<u8> {
    match tag {
        [] => address.to_vec(),
        _ => [address, b";tag=", tag].concat(),
    }
}

#[cfg(test)]
mod tests;
