//! Names of header fields, their compact forms, and the phrases that complain about them.

/// Declares [`Name`] and everything that is said once per header: `Variant "Canonical-Name" b"as looked up" | b"compact"`.
macro_rules! names {
    ($($variant:ident $text:literal $($lookup:literal)|+;)+) => {
        /// The name of a header field that Moorline knows; the rest are [`Name::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)+
            /// A header field Moorline has no name for.
            Other,
        }

        impl Name {
            /// The name in full, as it is written; empty for [`Name::Other`].
            pub const fn text(self) -> &'static str {
                match self { $(Name::$variant => $text,)+ Name::Other => "" }
            }

            pub(crate) const fn missing(self) -> &'static str {
                match self { $(Name::$variant => concat!("Missing ", $text, " Header"),)+ Name::Other => "Missing Header" }
            }

            pub(crate) const fn repeated(self) -> &'static str {
                match self { $(Name::$variant => concat!("Repeated ", $text, " Header"),)+ Name::Other => "Repeated Header" }
            }

            pub(crate) const fn malformed(self) -> &'static str {
                match self { $(Name::$variant => concat!("Malformed ", $text, " Header"),)+ Name::Other => "Malformed Header" }
            }

            /// Every name that is known.
            pub const KNOWN: &'static [Name] = &[$(Name::$variant,)+];
        }

        /// Every spelling in lower case, with the name in full as it is usually written.
        const SPELLINGS: &[(&[u8], &[u8], Name)] = &[$($(($lookup, $text.as_bytes(), Name::$variant),)+)+];
    };
}

names! {
    Via "Via" b"via" | b"v";
    From "From" b"from" | b"f";
    To "To" b"to" | b"t";
    CallId "Call-ID" b"call-id" | b"i";
    CSeq "CSeq" b"cseq";
    Contact "Contact" b"contact" | b"m";
    MaxForwards "Max-Forwards" b"max-forwards";
    Route "Route" b"route";
    RecordRoute "Record-Route" b"record-route";
    ContentLength "Content-Length" b"content-length" | b"l";
    ContentType "Content-Type" b"content-type" | b"c";
    ContentEncoding "Content-Encoding" b"content-encoding" | b"e";
    ContentDisposition "Content-Disposition" b"content-disposition";
    ContentLanguage "Content-Language" b"content-language";
    MimeVersion "MIME-Version" b"mime-version";
    Supported "Supported" b"supported" | b"k";
    Unsupported "Unsupported" b"unsupported";
    Require "Require" b"require";
    ProxyRequire "Proxy-Require" b"proxy-require";
    Allow "Allow" b"allow";
    AllowEvents "Allow-Events" b"allow-events" | b"u";
    Accept "Accept" b"accept";
    AcceptEncoding "Accept-Encoding" b"accept-encoding";
    AcceptLanguage "Accept-Language" b"accept-language";
    AcceptContact "Accept-Contact" b"accept-contact" | b"a";
    RejectContact "Reject-Contact" b"reject-contact" | b"j";
    RequestDisposition "Request-Disposition" b"request-disposition" | b"d";
    AlertInfo "Alert-Info" b"alert-info";
    CallInfo "Call-Info" b"call-info";
    Subject "Subject" b"subject" | b"s";
    Date "Date" b"date";
    Timestamp "Timestamp" b"timestamp";
    Expires "Expires" b"expires";
    MinExpires "Min-Expires" b"min-expires";
    Event "Event" b"event" | b"o";
    SubscriptionState "Subscription-State" b"subscription-state";
    ReferTo "Refer-To" b"refer-to" | b"r";
    ReferredBy "Referred-By" b"referred-by" | b"b";
    Replaces "Replaces" b"replaces";
    SessionExpires "Session-Expires" b"session-expires" | b"x";
    MinSe "Min-SE" b"min-se";
    RSeq "RSeq" b"rseq";
    RAck "RAck" b"rack";
    Authorization "Authorization" b"authorization";
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization";
    WwwAuthenticate "WWW-Authenticate" b"www-authenticate";
    ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate";
    AuthenticationInfo "Authentication-Info" b"authentication-info";
    UserAgent "User-Agent" b"user-agent";
    Server "Server" b"server";
    Organization "Organization" b"organization";
    Priority "Priority" b"priority";
    RetryAfter "Retry-After" b"retry-after";
    Warning "Warning" b"warning";
    Reason "Reason" b"reason";
    Privacy "Privacy" b"privacy";
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity";
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity";
    PChargingVector "P-Charging-Vector" b"p-charging-vector";
    PEarlyMedia "P-Early-Media" b"p-early-media";
    RemotePartyId "Remote-Party-ID" b"remote-party-id";
    Diversion "Diversion" b"diversion";
    HistoryInfo "History-Info" b"history-info";
    Identity "Identity" b"identity" | b"y";
    IdentityInfo "Identity-Info" b"identity-info" | b"n";
    Path "Path" b"path";
    ServiceRoute "Service-Route" b"service-route";
    SessionId "Session-ID" b"session-id";
}

/// [`SPELLINGS`] by their [`slot`], each in the first free place from there on: names are looked up for every line of
/// every message.
const TABLE: [u8; SLOTS] = {
    let mut table = [FREE; SLOTS];
    let mut spelling = 0;
    while spelling < SPELLINGS.len() {
        let mut at = slot(SPELLINGS[spelling].0);
        while table[at] != FREE {
            at = (at + 1) % SLOTS;
        }
        table[at] = spelling as u8;
        spelling += 1;
    }
    table
};
const SLOTS: usize = 512;
const FREE: u8 = u8::MAX;
// Places are numbered by a byte, and a look-up ends at a free slot.
const _: () = assert!(SPELLINGS.len() < FREE as usize && SPELLINGS.len() < SLOTS);

/// Where to look for a spelling, in any case.
const fn slot(spelling: &[u8]) -> usize {
    let length = spelling.len();
    if length == 0 {
        return 0;
    }
    let [first, middle, last] = [spelling[0], spelling[length / 2], spelling[length - 1]];
    let mixed = (first | 0x20) as usize + ((middle | 0x20) as usize * 7) + ((last | 0x20) as usize * 31);
    (mixed + length * 61) % SLOTS
}

impl Name {
    /// The name that these bytes spell, in any case and in the compact form too.
    pub fn new(bytes: &[u8]) -> Name {
        let mut at = slot(bytes);
        loop {
            match SPELLINGS.get(usize::from(TABLE[at])) {
                None => return Name::Other,
                // Most come as they are usually written, which is quicker to tell.
                Some((_, usual, name)) if bytes == *usual => return *name,
                Some((spelling, _, name)) if bytes.eq_ignore_ascii_case(spelling) => return *name,
                Some(_) => at = (at + 1) % SLOTS,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_text_in_any_case() {
        for name in Name::KNOWN {
            assert_eq!(Name::new(name.text().as_bytes()), *name);
            assert_eq!(Name::new(name.text().to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(name.missing(), format!("Missing {} Header", name.text()));
        }
    }

    #[test]
    fn compact_forms_are_those_of_the_registry() {
        let registry = [
            ("v", Name::Via),
            ("f", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("l", Name::ContentLength),
            ("c", Name::ContentType),
            ("e", Name::ContentEncoding),
            ("k", Name::Supported),
            ("s", Name::Subject),
            ("o", Name::Event),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("x", Name::SessionExpires),
            ("u", Name::AllowEvents),
            ("a", Name::AcceptContact),
            ("j", Name::RejectContact),
            ("d", Name::RequestDisposition),
            ("y", Name::Identity),
            ("n", Name::IdentityInfo),
        ];
        for (compact, name) in registry {
            assert_eq!(Name::new(compact.as_bytes()), name);
            assert_eq!(Name::new(compact.to_ascii_uppercase().as_bytes()), name);
        }
    }

    #[test]
    fn what_is_not_known_is_other() {
        for text in ["", "X-Foo", "Via2", "z", "Content-Dispositionn", "a-name-longer-than-any-that-is-known"] {
            assert_eq!(Name::new(text.as_bytes()), Name::Other);
        }
    }
}
