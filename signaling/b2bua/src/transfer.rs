//! Transfers (RFC 3515, RFC 3891): what a Refer-To is on the other leg, and the subscriptions that REFER sets up inside a
//! call.

use std::borrow::Cow;

use moorline_control::SessionId;
use moorline_sip::{Message, Name, NameAddr, OwnedMessage, Params, Replaces, Scheme, Uri, unescape};

use crate::attempt::Destination;
use crate::forward::copy_params;
use crate::leg::Side;

/// Subscriptions inside one call; more are refused.
pub(crate) const MAX_USAGES: usize = 8;

/// A subscription inside the dialogs of a call: of a REFER, or of a SUBSCRIBE. It may outlive the call (RFC 5057 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Who sends the NOTIFYs.
    pub(crate) notifier: Side,
    /// The event package.
    pub(crate) package: Vec<u8>,
    /// The CSeq of the request that asked for it, in the subscriber's dialog and in the notifier's: in that, the `id` of
    /// a transfer's Event names it (RFC 3515 2.4.6).
    pub(crate) asked: u32,
    pub(crate) sent: u32,
}

/// A transfer that is carried out here, in the call that is made for it: that has the party that is transferred as its
/// caller, once both have agreed.
pub(crate) struct Handled {
    /// The call that is transferred, and who has asked for that.
    pub(crate) of: SessionId,
    pub(crate) by: Side,
    /// The `id` of the subscription in NOTIFYs, if it needs one; no subscription where none was wanted (RFC 4488).
    pub(crate) subscription: Option<Option<u32>>,
    /// The party that is referred to is in this call already, and is to leave it.
    pub(crate) from: Option<(SessionId, Side)>,
    /// It has agreed to that.
    pub(crate) left: bool,
    /// What it has answered with.
    pub(crate) answer: Option<OwnedMessage>,
    /// How often the party that is transferred was found busy with something else in its dialog.
    pub(crate) pauses: u32,
}

impl Handled {
    /// The side of the party that is transferred, in its old call.
    pub(crate) fn moved(&self) -> Side {
        self.by.other()
    }
}

/// Where an INVITE goes that replaces a dialog of ours.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// The trunk of the party whose dialog it is.
    pub(crate) trunk: usize,
    pub(crate) destination: Destination,
    /// The Replaces for that party.
    pub(crate) value: Vec<u8>,
}

/// The dialog that a Replaces names.
#[derive(Debug, Clone)]
pub(crate) struct ReplacedDialog {
    call_id: Vec<u8>,
    to_tag: Vec<u8>,
    from_tag: Vec<u8>,
    early_only: bool,
}

impl From<&Replaces<'_>> for ReplacedDialog {
    fn from(replaces: &Replaces<'_>) -> ReplacedDialog {
        ReplacedDialog {
            call_id: replaces.call_id.to_vec(),
            to_tag: replaces.to_tag.to_vec(),
            from_tag: replaces.from_tag.to_vec(),
            early_only: replaces.early_only,
        }
    }
}

impl ReplacedDialog {
    pub(crate) fn replaces(&self) -> Replaces<'_> {
        let ReplacedDialog { call_id, to_tag, from_tag, early_only } = self;
        Replaces { call_id, to_tag, from_tag, early_only: *early_only }
    }
}

impl Usage {
    /// True for the subscription that a message of `notifier`, or to it, is about. `own` is the CSeq that its dialog knows
    /// the subscription by.
    pub(crate) fn is_meant(&self, notifier: Side, message: Message<'_>, own: u32) -> bool {
        let Ok(Some(event)) = message.event() else { return false };
        let named = |id: &[u8]| self.package != b"refer" || id == own.to_string().as_bytes();
        self.notifier == notifier && event.package == self.package && event.id.is_none_or(named)
    }
}

/// The Event value of a transfer as the other dialog knows it; `None` where it has no id.
pub(crate) fn event_for(message: Message<'_>, cseq: u32) -> Option<Vec<u8>> {
    let event = message.event().ok()??;
    let named = event.package == b"refer" && event.id.is_some();
    named.then(|| format!("refer;id={cseq}").into_bytes())
}

/// A Refer-To value, or Referred-By, for a leg where this host is `host`: who is referred to is reached through us. A
/// Replaces in it becomes what `replaced` makes of it.
pub(crate) fn refer_to(
    original: &NameAddr<'_>,
    host: &str,
    replaced: impl Fn(&Replaces<'_>) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let mut out = original.display_name().into_owned();
    if !out.is_empty() {
        out.push(b' ');
    }
    out.push(b'<');
    match Uri::parse(original.uri) {
        Ok(uri) if matches!(uri.scheme, Scheme::Sip | Scheme::Sips) => {
            out.extend_from_slice(b"sip:");
            if let Some(user) = uri.user {
                out.extend_from_slice(user);
                out.push(b'@');
            }
            out.extend_from_slice(host.as_bytes());
            copy_params(&mut out, uri.params, &["transport", "maddr", "ttl", "lr", "received", "gr"]);
            headers(&mut out, uri.headers, replaced);
        }
        _ => out.extend_from_slice(original.uri),
    }
    out.push(b'>');
    for (name, value) in Params::new(original.params).filter(|(name, _)| !name.is_empty()) {
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

/// Copies the headers of a URI, which start with a `?`.
fn headers(out: &mut Vec<u8>, raw: &[u8], replaced: impl Fn(&Replaces<'_>) -> Option<Vec<u8>>) {
    let Some(raw) = raw.strip_prefix(b"?") else { return };
    for (index, header) in raw.split(|byte| *byte == b'&').enumerate() {
        out.push(if index == 0 { b'?' } else { b'&' });
        let equals = header.iter().position(|byte| *byte == b'=');
        let (name, value) = equals.map_or((header, &b""[..]), |at| (&header[..at], &header[at + 1..]));
        let value = unescape(value);
        let other = Replaces::parse(&value).ok().filter(|_| name.eq_ignore_ascii_case(b"Replaces"));
        match other.as_ref().and_then(&replaced) {
            Some(value) => {
                out.extend_from_slice(name);
                out.push(b'=');
                escape(out, &value);
            }
            None => out.extend_from_slice(header),
        }
    }
}

/// Writes text as the value of a URI's header (RFC 3261 25.1, `hvalue`).
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
                out.push(*byte);
            }
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

/// A NOTIFY's body as the other side is shown it: of the message that a transfer reports, the status line alone. What else
/// may stand there (RFC 3420) tells where the referred party is.
pub(crate) fn report<'a>(notify: Message<'_>, body: &'a [u8]) -> Cow<'a, [u8]> {
    let content_type = notify.header(Name::ContentType).unwrap_or_default();
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"message/sipfrag") {
        return Cow::Borrowed(body);
    }
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    Cow::Owned([line, b"\r\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let original = NameAddr::parse(value.as_bytes()).unwrap();
        let known =
            |replaces: &Replaces<'_>| (replaces.call_id == b"known@a").then(|| b"c;to-tag=1;from-tag=2".to_vec());
        String::from_utf8(refer_to(&original, "192.0.2.1:5060", known)).unwrap()
    }

    #[test]
    fn who_is_referred_to_is_reached_through_us() {
        assert_eq!(shown("<sip:3000@10.0.0.1;user=phone;transport=tcp>"), "<sip:3000@192.0.2.1:5060;user=phone>");
        assert_eq!(shown("\"C\" <sips:c@host.example>;x=y"), "\"C\" <sip:c@192.0.2.1:5060>;x=y");
        assert_eq!(shown("tel:+4930123"), "<tel:+4930123>");
    }

    #[test]
    fn a_dialog_that_is_ours_is_named_as_the_other_side_knows_it() {
        assert_eq!(
            shown("<sip:c@h?Replaces=known%40a%3Bto-tag%3Dx%3Bfrom-tag%3Dy&Require=replaces>"),
            "<sip:c@192.0.2.1:5060?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>"
        );
        for other in ["?Replaces=other%40a%3Bto-tag%3Dx%3Bfrom-tag%3Dy", "?Replaces=%ff", "?a", "?&=&"] {
            assert_eq!(shown(&format!("<sip:c@h{other}>")), format!("<sip:c@192.0.2.1:5060{other}>"));
        }
    }
}
