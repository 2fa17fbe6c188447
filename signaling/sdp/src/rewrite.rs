//! Moves the media of a description to a relay and touches nothing else.

use std::net::IpAddr;

use crate::address::{NetworkAddress, family_name};
use crate::line::{Line, Span};
use crate::media::Media;
use crate::session::{Session, What};

/// Where a relay receives the media of one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The relay's address, as the receiver of the description reaches it.
    pub address: IpAddr,
    /// The port for RTP, or for whatever the section carries.
    pub rtp_port: u16,
    /// The port for RTCP.
    pub rtcp_port: u16,
}

/// The anchors do not fit the description: an error of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// There must be one element for each media section.
    #[error("{anchors} anchors for {sections} media sections")]
    AnchorCount {
        /// Sections in the description.
        sections: usize,
        /// Anchors that were given.
        anchors: usize,
    },
}

/// Returns the description with its media moved to `anchors`, one for each section; every byte that is
/// not named here is kept.
///
/// - `o=`: the address becomes `origin`; user name, id and version stay.
/// - `c=`: the address becomes the anchor's, without TTL and count. `0.0.0.0` and `::` stay: they hold
///   the call. The session's `c=` takes the anchor of the first section that relies on it; a section
///   that relies on it too but has another address gets a `c=` of its own, as does an anchored section
///   for which there is no `c=` at all.
/// - `m=`: the port becomes the anchor's; 0 and a count after `/` stay.
/// - `a=rtcp`: port and address become the anchor's. Where it named the RTP port, it does so again.
/// - `a=candidate`, `a=remote-candidates`, `a=end-of-candidates` are removed: they show addresses and
///   lead past the relay. An ICE agent that finds no candidate for the default destination goes without
///   ICE (RFC 8839 section 4.2.5). `a=rtcp` at session level, where it has no meaning, is removed too.
///
/// A section without an anchor keeps its transport whole, candidates included, if it is active. If its
/// port is 0 nothing will be sent there, so its addresses become `origin` and its candidates go.
pub fn rewrite(session: &Session<'_>, origin: IpAddr, anchors: &[Option<Anchor>]) -> Result<Vec<u8>, RewriteError> {
    let sections = session.media();
    if sections.len() != anchors.len() {
        return Err(RewriteError::AnchorCount { sections: sections.len(), anchors: anchors.len() });
    }
    let shared = shared_connection(session, origin, anchors);
    let mut patch = Patch::new(session.bytes());
    for place in &session.places {
        if let What::Origin(address) = place.what {
            patch.set_address(address, origin);
            continue;
        }
        let section = place.section.and_then(|index| Some((sections.get(index)?, *anchors.get(index)?)));
        let Some((media, anchor)) = section else {
            match place.what {
                What::Connection(address) => patch.move_address(address, shared),
                What::Topology(line) => patch.replace(line, ""),
                What::Origin(_) | What::Port(_) | What::ConnectionSlot(_) | What::Rtcp { .. } => {}
            }
            continue;
        };
        if let What::ConnectionSlot(after) = place.what {
            insert_connection(&mut patch, after, session, media, anchor, shared);
            continue;
        }
        let Some(target) = target_address(media, anchor, origin) else { continue };
        match place.what {
            What::Connection(address) => patch.move_address(address, Some(target)),
            What::Topology(line) => patch.replace(line, ""),
            What::Port(span) => {
                if let (Some(anchor), true) = (anchor, media.is_active()) {
                    patch.replace(span, anchor.rtp_port.to_string());
                }
            }
            What::Rtcp { port, number, address } => {
                if let (Some(anchor), true) = (anchor, media.is_active()) {
                    let new = if number == media.port { anchor.rtp_port } else { anchor.rtcp_port };
                    patch.replace(port, new.to_string());
                }
                if let Some(address) = address {
                    patch.move_address(address, Some(target));
                }
            }
            What::Origin(_) | What::ConnectionSlot(_) => {}
        }
    }
    Ok(patch.finish())
}

/// Where the addresses of a section move; `None` for an active one that is not anchored.
fn target_address(media: &Media<'_>, anchor: Option<Anchor>, origin: IpAddr) -> Option<IpAddr> {
    match anchor {
        Some(anchor) => Some(anchor.address),
        None => (!media.is_active()).then_some(origin),
    }
}

/// The address that the session's `c=` moves to; `None` if it stays.
fn shared_connection(session: &Session<'_>, origin: IpAddr, anchors: &[Option<Anchor>]) -> Option<IpAddr> {
    let relying =
        || session.media().iter().zip(anchors).filter(|(media, _)| media.is_active() && !media.has_own_connection);
    let first = relying().find_map(|(_, anchor)| *anchor);
    if first.is_none() && relying().next().is_some() {
        return None;
    }
    Some(first.or(anchors.iter().find_map(|anchor| *anchor)).map_or(origin, |anchor| anchor.address))
}

/// Gives a section a `c=` of its own where the session's no longer says what the section needs.
fn insert_connection(
    patch: &mut Patch<'_>,
    after: Line,
    session: &Session<'_>,
    media: &Media<'_>,
    anchor: Option<Anchor>,
    shared: Option<IpAddr>,
) {
    if media.has_own_connection || !media.is_active() {
        return;
    }
    let written = session.connection;
    let (family, address) = match (written, anchor) {
        (Some(written), _) if written.is_unspecified() => return,
        (Some(_), Some(anchor)) if Some(anchor.address) == shared => return,
        (_, Some(anchor)) => (family_name(anchor.address).as_bytes().to_vec(), anchor.address.to_string().into_bytes()),
        // The section is not anchored and the session's c= moves away: keep what it meant.
        (Some(written), None) if shared.is_some() => {
            (written.family.of(patch.bytes).to_vec(), written.address.of(patch.bytes).to_vec())
        }
        (_, None) => return,
    };
    patch.insert_line(after, &[b"c=IN ", &family[..], b" ", &address[..]].concat());
}

/// The received bytes, copied up to `copied`, with replacements spliced in.
struct Patch<'a> {
    bytes: &'a [u8],
    copied: u32,
    out: Vec<u8>,
}

impl<'a> Patch<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Patch { bytes, copied: 0, out: Vec::with_capacity(bytes.len() + 128) }
    }

    /// Replaces `span`, which must come after all before it.
    fn replace(&mut self, span: Span, with: impl AsRef<[u8]>) {
        debug_assert!(self.copied <= span.start && span.start <= span.end, "places are in order");
        self.out.extend_from_slice(Span { start: self.copied, end: span.start }.of(self.bytes));
        self.out.extend_from_slice(with.as_ref());
        self.copied = span.end;
    }

    fn set_address(&mut self, place: NetworkAddress, ip: IpAddr) {
        self.replace(place.family, family_name(ip));
        self.replace(place.address, ip.to_string());
    }

    /// As [`Patch::set_address`], but an unspecified address stays: it holds the call.
    fn move_address(&mut self, place: NetworkAddress, to: Option<IpAddr>) {
        if let (Some(ip), false) = (to, place.is_unspecified()) {
            self.set_address(place, ip);
        }
    }

    /// Inserts a line after `line`, ended as that one is. After a last line without an end, the new line
    /// becomes the last without an end, and the two are parted as the first line is ended.
    fn insert_line(&mut self, line: Line, text: &[u8]) {
        let place = Span::empty(line.whole.end);
        let end = Span { start: line.text.end, end: line.whole.end }.of(self.bytes);
        if end.is_empty() {
            self.replace(place, [first_line_end(self.bytes), text].concat());
        } else {
            self.replace(place, [text, end].concat());
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.replace(Span::empty(length), "");
        self.out
    }
}

fn first_line_end(bytes: &[u8]) -> &[u8] {
    crate::line::lines(bytes)
        .next()
        .map_or(b"\r\n", |line| Span { start: line.text.end, end: line.whole.end }.of(bytes))
}

#[cfg(test)]
mod tests;
