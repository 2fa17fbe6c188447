//! How messages find their transaction (RFC 3261 sections 17.1.3 and 17.2.3).

use std::net::IpAddr;

use super::Flow;
use crate::lexical::split_at;
use crate::parse::method_and_via;
use crate::{Message, Method, Name, Via};

/// The branch of a transaction that follows RFC 3261 starts like this.
const MAGIC_COOKIE: &[u8] = b"z9hG4bK";
/// The port of sent-by when it names none.
pub(crate) const DEFAULT_PORT: u16 = 5060;

/// Writes the key of the client transaction that a request starts or a response belongs to: branch and CSeq method.
/// `false` if the message has none.
pub(crate) fn client(key: &mut Vec<u8>, message: Message<'_>) -> bool {
    key.clear();
    let (Ok(via), Ok(cseq)) = (message.via(), message.cseq()) else { return false };
    client_parts(key, cseq.method, via)
}

/// The same for a request of our own, of which only the start is read: its CSeq has its own method.
pub(crate) fn client_request<'a>(key: &mut Vec<u8>, request: &'a [u8]) -> Option<Method<'a>> {
    key.clear();
    let (method, vias) = method_and_via(request)?;
    if let Ok(via) = Via::parse(split_at(vias, b',').0) {
        client_parts(key, method, via);
    }
    Some(method)
}

fn client_parts(key: &mut Vec<u8>, method: Method<'_>, via: Via<'_>) -> bool {
    let Some(branch) = via.branch else { return false };
    key.push(b'c');
    part(key, method.as_bytes());
    key.extend_from_slice(branch);
    true
}

/// Writes the key of the server transaction that a request belongs to: branch, sent-by and method, where an ACK
/// counts as its INVITE; `method` overrides that for a CANCEL, which is looked up as what it cancels. `false` if
/// the message has none.
///
/// More than RFC 3261 asks for: the listener and the source address, since what stands in a Via is only claimed, and
/// one peer must not repeat, acknowledge or cancel the requests of another; and the Call-ID. The source port is left
/// out: a new connection or NAT binding has another one.
pub(crate) fn server(key: &mut Vec<u8>, flow: Flow, request: Message<'_>, via: Via<'_>, method: Method<'_>) -> bool {
    key.clear();
    let Ok(call_id) = request.call_id() else { return false };
    let method = if method == Method::Ack { Method::Invite } else { method };
    key.push(b's');
    source(key, flow);
    part(key, call_id);
    part(key, method.as_bytes());
    match via.branch {
        Some(branch) if branch.len() > MAGIC_COOKIE.len() && has_cookie(branch) => {
            key.push(b'+');
            sent_by(key, via);
            key.extend_from_slice(branch);
            true
        }
        _ => server_rfc2543(key, request, method),
    }
}

/// Matches like RFC 2543 did, for a request without the magic cookie. The To tag is left out: an ACK carries that of
/// the response, its INVITE may have none, and the other parts tell transactions apart without it.
fn server_rfc2543(key: &mut Vec<u8>, request: Message<'_>, method: Method<'_>) -> bool {
    let (Ok(from), Ok(cseq)) = (request.from(), request.cseq()) else { return false };
    let topmost = request.header(Name::Via).map(|values| split_at(values, b',').0);
    key.push(b'-');
    part(key, request.request_uri().unwrap_or_default());
    part(key, from.tag().unwrap_or_default());
    part(key, topmost.unwrap_or_default());
    part(key, method.as_bytes());
    key.extend_from_slice(&cseq.number.to_be_bytes());
    true
}

fn source(key: &mut Vec<u8>, flow: Flow) {
    // Those behind one address do not touch each other's transactions.
    if let Some(identity) = flow.identity {
        // No listener's number begins so.
        key.push(b'i');
        key.extend_from_slice(&identity.0.to_be_bytes());
    }
    key.extend_from_slice(&flow.listener.to_be_bytes());
    match flow.remote.ip().to_canonical() {
        IpAddr::V4(ip) => part(key, &ip.octets()),
        IpAddr::V6(ip) => part(key, &ip.octets()),
    }
}

fn has_cookie(branch: &[u8]) -> bool {
    branch.get(..MAGIC_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
}

fn sent_by(key: &mut Vec<u8>, via: Via<'_>) {
    let start = key.len() + 2;
    part(key, via.host);
    key[start..].make_ascii_lowercase();
    key.extend_from_slice(&via.port.unwrap_or(DEFAULT_PORT).to_be_bytes());
}

/// Lengths keep parts apart whatever bytes they hold; a message is short enough for two bytes of length.
fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    key.extend_from_slice(bytes);
}
