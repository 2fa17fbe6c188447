//! Writing requests, and the parts of messages that a party reads for itself.

use moorline_sip::{Message, Name, NameAddr};

use super::{Dialog, Party};
use crate::sim::plan::Reliable;

/// What goes into a request besides what its dialog says.
#[derive(Default)]
pub(super) struct Draft<'a> {
    pub(super) branch: &'a str,
    pub(super) cseq: u32,
    pub(super) headers: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a str,
}

impl Party {
    pub(super) fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}{}-{}", super::super::SECRETS[self.listener], self.tags[0], self.branches)
    }

    /// The methods that the party takes.
    pub(super) fn allow(&self) -> String {
        let prack = if self.script.knows.reliable == Reliable::No { "" } else { ", PRACK" };
        let update = if self.script.knows.update { ", UPDATE" } else { "" };
        format!("INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, REFER, NOTIFY{prack}{update}")
    }

    pub(super) fn contact(&self) -> String {
        format!("sip:{}@{}{}", self.name, self.own_address(), self.transport_param())
    }

    /// How a URI says what its host is spoken to over.
    pub(super) fn transport_param(&self) -> &'static str {
        if self.streams { ";transport=tcp" } else { "" }
    }

    pub(super) fn transport(&self) -> &'static str {
        if self.streams { "TCP" } else { "UDP" }
    }

    /// A request in the dialog or, before there is one, the first INVITE and what belongs to it.
    pub(super) fn draft(&self, method: &str, draft: &Draft<'_>) -> Vec<u8> {
        self.draft_in(self.dialog.as_ref(), method, draft)
    }

    /// A request in this dialog.
    pub(super) fn draft_in(&self, dialog: Option<&Dialog>, method: &str, draft: &Draft<'_>) -> Vec<u8> {
        let Draft { branch, cseq, headers, content_type, body } = draft;
        let (uri, routes, local_tag, remote_tag) = match dialog {
            Some(Dialog { local_tag, remote_tag, remote_target, routes, .. }) => {
                (remote_target.clone(), &routes[..], local_tag, format!(";tag={remote_tag}"))
            }
            None => (
                format!("sip:{}@{}{}", self.number, self.moorline, self.transport_param()),
                &[][..],
                &self.tags[0],
                String::new(),
            ),
        };
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let vias = self.inner_vias(branch);
        let recorded = if method == "INVITE" { self.recorded() } else { String::new() };
        let content_type =
            if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {};branch={branch};rport\r\n{vias}{recorded}{routes}\
             Max-Forwards: 70\r\nFrom: {};tag={local_tag}\r\nTo: {}{remote_tag}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContact: <{}>\r\n{headers}{content_type}Content-Length: {}\r\n\r\n{body}",
            self.transport(),
            self.address,
            self.from,
            self.to,
            self.call_id,
            self.contact(),
            body.len(),
        )
        .into_bytes()
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn tag(party: Result<NameAddr<'_>, moorline_sip::Fault>) -> String {
    party.ok().and_then(|party| party.tag()).map(text).unwrap_or_default()
}

pub(super) fn branch_of(message: Message<'_>) -> String {
    message.via().ok().and_then(|via| via.branch).map(text).unwrap_or_default()
}

pub(super) fn cseq_of(message: Message<'_>) -> (u32, String) {
    message.cseq().map(|cseq| (cseq.number, text(cseq.method.as_bytes()))).unwrap_or_default()
}

pub(super) fn contact_of(message: Message<'_>) -> Option<String> {
    Some(text(message.contact().ok()??.uri))
}

pub(super) fn record_routes(message: Message<'_>) -> Vec<String> {
    message.values(Name::RecordRoute).map(text).collect()
}

/// The session description of a message, if it has one.
pub(super) fn description(message: Message<'_>) -> Option<&[u8]> {
    let body = message.body();
    let is_sdp = message.header(Name::ContentType).is_some_and(|value| value.eq_ignore_ascii_case(b"application/sdp"));
    (!body.is_empty() && is_sdp).then_some(body)
}
