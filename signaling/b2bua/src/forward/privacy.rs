//! Who may know who calls (RFC 3323, RFC 3325).

use moorline_sip::{HeaderLine, Message};

/// What the called side is shown of a caller who is withheld.
pub(crate) const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// True where the sender of a message asks not to be named: `id` (RFC 3325 9.3), or `user`, `header` or `session`
/// (RFC 3323 4.2). `none` forbids it, and `critical` alone asks for nothing.
pub(crate) fn is_asked(message: Message<'_>) -> bool {
    let privacy = message.privacy();
    !privacy.none && (privacy.id || privacy.user || privacy.header || privacy.session)
}

/// Headers that tell who a withheld party is, though nothing needs them (RFC 3323 5.1 and 5.3).
pub(crate) fn is_telling(line: &HeaderLine<'_>) -> bool {
    const NAMES: [&str; 8] =
        ["Subject", "Call-Info", "Organization", "User-Agent", "Server", "Reply-To", "In-Reply-To", "Referred-By"];
    NAMES.iter().any(|name| line.name_text.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use moorline_sip::Index;

    use super::*;

    fn asked(value: &str) -> bool {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{value}\r\n\r\n");
        let mut index = Index::new();
        is_asked(index.parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn privacy_is_read_in_all_its_forms() {
        for yes in
            ["Privacy: id", "Privacy: USER; critical", "Privacy: header;user;id", "privacy:session", "Privacy: a, id"]
        {
            assert!(asked(yes), "{yes}");
        }
        for no in
            ["Privacy: none", "Privacy: none;id", "Privacy: critical", "Privacy:", "X-Privacy: id", "Privacy: identity"]
        {
            assert!(!asked(no), "{no}");
        }
    }
}
