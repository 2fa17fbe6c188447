//! Option tags, methods and numbers by which peers tell which extensions of SIP they know.

use moorline_sip::{Message, Method, Name};

/// Reliable provisional answers (RFC 3262).
pub(crate) const RELIABLE: &str = "100rel";

/// Session timers (RFC 4028).
pub(crate) const TIMER: &str = "timer";

/// True where the sender knows an extension: it supports it or even requires it.
pub(crate) fn supports(message: Message<'_>, tag: &str) -> bool {
    message.lists(Name::Supported, tag) || message.lists(Name::Require, tag)
}

/// Whether the sender takes UPDATE (RFC 3311); `None` where the message does not say.
pub(crate) fn updates(message: Message<'_>) -> Option<bool> {
    message.allows(Method::Update)
}

/// The option tags that a request requires and that are not among `known`, for Unsupported in the 420 (RFC 3261
/// 8.2.2.3). Empty where nothing else is required.
pub(crate) fn unknown(request: Message<'_>, known: &[&str]) -> Vec<u8> {
    let required = request.values(Name::Require).chain(request.values(Name::ProxyRequire));
    let tags: Vec<&[u8]> =
        required.filter(|tag| known.iter().all(|known| !tag.eq_ignore_ascii_case(known.as_bytes()))).collect();
    tags.join(&b", "[..])
}

/// Which provisional answer a PRACK acknowledges (RFC 3262 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RAck {
    /// Its RSeq.
    pub(crate) rseq: u32,
    /// The CSeq of the INVITE that it answers.
    pub(crate) cseq: u32,
}

impl RAck {
    /// What a PRACK must say to acknowledge a provisional answer; `None` for one that is not reliable.
    pub(crate) fn due(response: Message<'_>) -> Option<RAck> {
        let (rseq, cseq) = (response.rseq().ok()??, response.cseq().ok()?.number);
        response.lists(Name::Require, RELIABLE).then_some(RAck { rseq, cseq })
    }

    /// What a PRACK says.
    pub(crate) fn of(prack: Message<'_>) -> Option<RAck> {
        let rack = prack.rack().ok()??;
        (rack.method == Method::Invite).then_some(RAck { rseq: rack.rseq, cseq: rack.cseq })
    }

    /// The value of RAck.
    pub(crate) fn value(self) -> String {
        format!("{} {} INVITE", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorline_sip::{Index, Writer};

    #[test]
    fn what_is_required_and_not_known_is_named() {
        let bytes = Writer::request(Method::Invite, b"sip:a@b")
            .header("Require", "100rel, foo")
            .header("Proxy-Require", "bar")
            .finish(b"");
        let mut index = Index::new();
        let request = index.parse(&bytes).unwrap();
        assert_eq!(unknown(request, &[RELIABLE]), b"foo, bar");
        assert!(supports(request, RELIABLE) && !supports(request, TIMER));
        assert_eq!(updates(request), None);
    }
}
