//! Who calls whom, as limits see it.

use moorline_sip::{Message, Uri};

use crate::forward;

/// The longest number that is told from others: what is longer is taken for the same if it begins alike.
const MAX_LENGTH: usize = 64;

/// The numbers of a call, in the form in which they are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Party {
    /// `None` for a caller without a number, or one who asks not to be named.
    pub(crate) caller: Option<Box<[u8]>>,
    pub(crate) called: Box<[u8]>,
    /// A white row means the call: barred numbers are not barred to it.
    pub(crate) whitelisted: bool,
}

impl Party {
    /// Of an INVITE, and the numbers that the rules of the trunk it came from made of its own.
    pub(crate) fn new(invite: Message<'_>, caller: &[u8], called: &[u8]) -> Party {
        let caller = (!is_anonymous(invite)).then(|| compared(caller)).filter(|number| !number.is_empty());
        Party { caller, called: compared(called), whitelisted: false }
    }
}

/// True for a caller who has no name, or asks not to be named (RFC 3323 4.1.1.3, 4.2).
fn is_anonymous(request: Message<'_>) -> bool {
    let Some(from) = request.from().ok().and_then(|from| Uri::parse(from.uri).ok()) else { return true };
    let called_so = from.user.is_some_and(|user| user.eq_ignore_ascii_case(b"anonymous"));
    called_so || from.host.eq_ignore_ascii_case(b"anonymous.invalid") || forward::is_privacy_asked(request)
}

/// A number without what does not tell it from others: parameters behind it, and the separators that people write (RFC
/// 3966 5.1.1). A user who has a name and no number keeps it as it is.
fn compared(user: &[u8]) -> Box<[u8]> {
    let user = user.split(|byte| *byte == b';').next().unwrap_or(user);
    let user = &user[..user.len().min(MAX_LENGTH)];
    let is_separator = |byte: u8| b"-.()".contains(&byte);
    let is_number = user.iter().all(|byte| byte.is_ascii_digit() || b"+*#".contains(byte) || is_separator(*byte));
    user.iter().copied().filter(|byte| !(is_number && is_separator(*byte))).collect()
}

#[cfg(test)]
mod tests {
    use moorline_sip::Index;

    use super::*;

    fn party(from: &str, more: &str, called: &str) -> Party {
        let text = format!("INVITE sip:{called}@b SIP/2.0\r\nFrom: {from};tag=1\r\n{more}\r\n");
        let mut index = Index::new();
        let invite = index.parse(text.as_bytes()).unwrap();
        let caller = invite.from().ok().and_then(|from| Uri::parse(from.uri).ok()?.user).unwrap_or_default();
        Party::new(invite, caller, called.as_bytes())
    }

    #[test]
    fn numbers_are_compared_without_what_does_not_tell_them_apart() {
        let plain = party("<sip:0755-1234.5;isub=1@a>", "", "(0101)22-3;phone-context=+86");
        assert_eq!(plain.caller.as_deref(), Some(&b"075512345"[..]));
        assert_eq!(*plain.called, *b"0101223");
        let named = party("<sip:a.lice@a>", "", "b-ob");
        assert_eq!((named.caller.as_deref(), &*named.called), (Some(&b"a.lice"[..]), &b"b-ob"[..]));
        assert_eq!(party("<tel:+86-755>", "", "1").caller.as_deref(), Some(&b"+86755"[..]));
        assert_eq!(party("<sip:1@a>", "", &"7".repeat(99)).called.len(), MAX_LENGTH);
    }

    #[test]
    fn who_has_no_number_or_withholds_it_is_anonymous() {
        for (from, more) in [
            ("\"Anonymous\" <sip:anonymous@anonymous.invalid>", ""),
            ("<sip:Anonymous@a>", ""),
            ("<sip:1@anonymous.invalid>", ""),
            ("<sip:a>", ""),
            ("<sip:1@a>", "Privacy: id\r\n"),
        ] {
            assert_eq!(party(from, more, "1").caller, None, "{from} {more}");
        }
        assert!(party("<sip:1@a>", "Privacy: none\r\n", "1").caller.is_some());
    }
}
