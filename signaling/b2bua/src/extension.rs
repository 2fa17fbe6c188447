//! Option tags, methods and numbers by which peers tell which extensions of SIP they know.

use moorline_sip::{Message, Name};

/// Reliable provisional answers (RFC 3262).
pub(crate) const RELIABLE: &[u8] = b"100rel";

/// True where a header that lists tokens, such as Supported or Allow, has this one.
pub(crate) fn lists(message: Message<'_>, name: Name, token: &[u8]) -> bool {
    message.values(name).any(|value| value.eq_ignore_ascii_case(token))
}

/// True where the sender knows an extension: it supports it or even requires it.
pub(crate) fn supports(message: Message<'_>, tag: &[u8]) -> bool {
    lists(message, Name::Supported, tag) || lists(message, Name::Require, tag)
}

/// What Allow says of a method; `None` where the message has no Allow.
pub(crate) fn allows(message: Message<'_>, method: &[u8]) -> Option<bool> {
    message.values(Name::Allow).next()?;
    Some(message.values(Name::Allow).any(|value| value == method))
}

/// The option tags that a request requires and that are not among `known`, for Unsupported in the 420 (RFC 3261
/// 8.2.2.3). Empty where nothing else is required.
pub(crate) fn unknown(request: Message<'_>, known: &[&[u8]]) -> Vec<u8> {
    let required = request.values(Name::Require).chain(request.values(Name::ProxyRequire));
    let tags: Vec<&[u8]> = required.filter(|tag| known.iter().all(|k| !tag.eq_ignore_ascii_case(k))).collect();
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
        let rseq = number(response.header(Name::RSeq)?)?;
        let cseq = response.cseq().ok()?.number;
        lists(response, Name::Require, RELIABLE).then_some(RAck { rseq, cseq })
    }

    /// What a PRACK says.
    pub(crate) fn of(prack: Message<'_>) -> Option<RAck> {
        let value = prack.header(Name::RAck)?;
        let mut parts = value.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
        let (rseq, cseq) = (number(parts.next()?)?, number(parts.next()?)?);
        (parts.next()? == b"INVITE" && parts.next().is_none()).then_some(RAck { rseq, cseq })
    }

    /// The value of RAck.
    pub(crate) fn value(self) -> String {
        format!("{} {} INVITE", self.rseq, self.cseq)
    }
}

/// A number in digits and nothing else.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorline_sip::{Index, Method, Writer};

    #[test]
    fn a_rack_names_one_answer() {
        let read = |value: &str| {
            let bytes = Writer::request(Method::Prack, b"sip:a@b").header("RAck", value).finish(b"");
            RAck::of(Index::new().parse(&bytes).unwrap())
        };
        assert_eq!(read("776656 1 INVITE"), Some(RAck { rseq: 776_656, cseq: 1 }));
        assert_eq!(read("776656 \t 1  INVITE"), Some(RAck { rseq: 776_656, cseq: 1 }));
        for wrong in ["", "1 INVITE", "1 1 BYE", "1 1 INVITE x", "+1 1 INVITE", "4294967296 1 INVITE"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_required_and_not_known_is_named() {
        let bytes = Writer::request(Method::Invite, b"sip:a@b")
            .header("Require", "100rel, foo")
            .header("Proxy-Require", "bar")
            .finish(b"");
        let mut index = Index::new();
        let request = index.parse(&bytes).unwrap();
        assert_eq!(unknown(request, &[RELIABLE]), b"foo, bar");
        assert!(supports(request, RELIABLE) && !lists(request, Name::Supported, RELIABLE));
        assert_eq!(allows(request, b"UPDATE"), None);
    }
}
