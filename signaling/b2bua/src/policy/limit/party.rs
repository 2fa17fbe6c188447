//! Who calls whom, as limits see it.

use moorline_sip::{Message, Uri};

use crate::forward;

/// The longest number that is told from others: what is longer is taken for the same if it begins alike.
const MAX_LENGTH: usize = 64;

/// The numbers of a call, in the form in which they are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Party {
    /// `None` for a caller without a number. One who asks not to be named has one here: whoever is barred, or has as many
    /// calls as it may, gets no further by withholding it from others.
    pub(crate) caller: Option<Box<[u8]>>,
    /// The caller has no number, or asks not to be named.
    pub(crate) anonymous: bool,
    pub(crate) called: Box<[u8]>,
    /// A white row means the call: barred numbers are not barred to it.
    pub(crate) whitelisted: bool,
}

impl Party {
    /// Of an INVITE, and the numbers that the rules of the trunk it came from made of its own.
    pub(crate) fn new(invite: Message<'_>, caller: &[u8], called: &[u8]) -> Party {
        let named = !is_nobodys(invite) && !caller.eq_ignore_ascii_case(ANONYMOUS);
        let caller = named.then(|| compared(caller)).filter(|number| !number.is_empty());
        let anonymous = caller.is_none() || is_unnamed(invite) || forward::is_privacy_asked(invite);
        Party { caller, anonymous, called: compared(called), whitelisted: false }
    }
}

/// Who is not named (RFC 3323 4.1.1.3).
const ANONYMOUS: &[u8] = b"anonymous";

/// True where From names nobody, though the network may.
fn is_unnamed(request: Message<'_>) -> bool {
    let from = request.from().ok().and_then(|from| Uri::parse(from.uri).ok());
    from.and_then(|from| from.user).is_some_and(|user| user.eq_ignore_ascii_case(ANONYMOUS))
}

/// True where what From has for a number is nobody's: at a host that does not exist.
fn is_nobodys(request: Message<'_>) -> bool {
    let from = request.from().ok().and_then(|from| Uri::parse(from.uri).ok());
    from.is_none_or(|from| from.host.eq_ignore_ascii_case(b"anonymous.invalid")) && !is_unnamed(request)
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
        ] {
            let party = party(from, more, "1");
            assert_eq!((party.caller, party.anonymous), (None, true), "{from} {more}");
        }
        assert!(!party("<sip:1@a>", "Privacy: none\r\n", "1").anonymous);
        let withheld = party("<sip:1@a>", "Privacy: id\r\n", "1");
        assert_eq!((withheld.caller.as_deref(), withheld.anonymous), (Some(&b"1"[..]), true));
    }
}
