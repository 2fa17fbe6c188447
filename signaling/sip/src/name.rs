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

            /// `lower` is a field name in lower case.
            fn of_lower(lower: &[u8]) -> Name {
                match lower { $($($lookup)|+ => Name::$variant,)+ _ => Name::Other }
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

            #[cfg(test)]
            pub(crate) const ALL: &'static [Name] = &[$(Name::$variant,)+];
        }
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

/// No known name is longer.
const LONGEST: usize = 20;

impl Name {
    /// The name that these bytes spell, in any case and in the compact form too.
    pub fn new(bytes: &[u8]) -> Name {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..bytes.len()) else { return Name::Other };
        lower.copy_from_slice(bytes);
        lower.make_ascii_lowercase();
        Name::of_lower(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_text_in_any_case() {
        for name in Name::ALL {
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
