//! What a load is to be.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::LoadError;

/// The load to place. `calls` are placed at `rate_per_s`; each rings, talks, and is hung up, the even
/// ones by the caller, the odd ones by the callee. They are all up at once if they talk long enough.
///
/// [`Plan::new`] gives every other setting a value that serves.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many calls: at most a million.
    pub calls: u32,
    /// Calls placed per second.
    pub rate_per_s: f64,
    /// Calls under way at once; a call whose turn comes above that waits until another has ended.
    pub concurrent: u32,
    /// How long the callee rings: 180 is sent at once, 200 after this.
    pub ring: Duration,
    /// How long each call's media flows.
    pub talk: Duration,
    /// Where INVITEs go.
    pub sbc: SocketAddr,
    /// What SIP is carried over, on both sides.
    pub transport: Transport,
    /// The caller's local SIP address.
    pub caller: SocketAddr,
    /// The callee's local SIP address.
    pub callee: SocketAddr,
    /// The caller's local media address.
    pub caller_media: IpAddr,
    /// The callee's local media address.
    pub callee_media: IpAddr,
    /// There is no callee here: somebody else answers, and perhaps sends back the media it gets.
    pub uac_only: bool,
    /// The number that is called.
    pub called: Number,
    /// The caller's number.
    pub calling: Number,
    /// What challenges (401, 407) are answered with.
    pub credentials: Option<Credentials>,
    /// Send and verify RTP. Without it the descriptions name ports at which nobody listens.
    pub media: bool,
    /// What the descriptions call the audio. Its content is a pattern that can be verified.
    pub codec: Codec,
    /// The time between packets of a stream: 5 to 60 ms.
    pub packet_ms: u32,
    /// Send RTCP too.
    pub rtcp: bool,
    /// The relay's addresses: descriptions that name others fail the call. Empty: any will do.
    pub relay_networks: Vec<IpNet>,
    /// Descriptions carry lines of no known type, and a call fails if anything but addresses changed in
    /// them, or if an unknown header was lost: Moorline promises to preserve these, others do not.
    pub verbatim: bool,
    /// Determines everything that looks random.
    pub seed: u64,
}

impl Plan {
    /// One call of ten seconds from `caller` through `sbc` to `callee`, with media at their addresses.
    pub fn new(sbc: SocketAddr, caller: SocketAddr, callee: SocketAddr) -> Plan {
        Plan {
            calls: 1,
            rate_per_s: 10.0,
            concurrent: u32::MAX,
            ring: Duration::from_millis(200),
            talk: Duration::from_secs(10),
            sbc,
            transport: Transport::Udp,
            caller,
            callee,
            caller_media: caller.ip(),
            callee_media: callee.ip(),
            uac_only: false,
            called: Number::with_prefix("1"),
            calling: Number::with_prefix("8621"),
            credentials: None,
            media: true,
            codec: Codec::Pcmu,
            packet_ms: 20,
            rtcp: false,
            relay_networks: Vec::new(),
            verbatim: false,
            seed: 1,
        }
    }

    /// How long the load takes if all goes well and nothing waits.
    pub fn expected(&self) -> Duration {
        self.placing() + self.ring + self.talk
    }

    /// From the first call's placing to the last one's, if none waits.
    pub(crate) fn placing(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.calls) / self.rate_per_s)
    }

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        if self.calls == 0 || self.calls > MAX_CALLS {
            return Err(LoadError::Plan("calls is 1 to 1000000"));
        }
        if !(self.rate_per_s > 0.0 && self.rate_per_s.is_finite()) {
            return Err(LoadError::Plan("the rate is a positive number of calls per second"));
        }
        if self.placing() > MAX_SPAN || self.talk > MAX_SPAN || self.ring > MAX_SPAN {
            return Err(LoadError::Plan("placing, ringing and talking may each take a day"));
        }
        if self.concurrent == 0 {
            return Err(LoadError::Plan("at least one call at a time"));
        }
        if !(5..=60).contains(&self.packet_ms) {
            return Err(LoadError::Plan("packets are 5 to 60 ms apart"));
        }
        Ok(())
    }
}

/// A call's number has six digits.
const MAX_CALLS: u32 = 1_000_000;

const MAX_SPAN: Duration = Duration::from_secs(86_400);

/// What SIP is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// One datagram a message.
    #[default]
    Udp,
    /// Connections, which both sides make and accept.
    Tcp,
}

impl Transport {
    /// As it stands in `Via`.
    pub(crate) fn in_via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }

    /// What a URI says of it; UDP goes without saying.
    pub(crate) fn in_uri(self) -> &'static str {
        match self {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_via())
    }
}

/// Codecs of 64 kbit/s: 8 bytes a millisecond, so that the same packets serve for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// G.711 µ-law, payload type 0.
    #[default]
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
    /// G.722, payload type 9; its clock is 8,000 Hz by convention (RFC 3551 section 4.5.2).
    G722,
}

impl Codec {
    /// The static payload type (RFC 3551 section 6).
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
        }
    }

    /// The encoding's name, as in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
        }
    }
}

/// What challenges are answered with (RFC 3261 section 22).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

/// The numbers of a load's calls: a pattern in which the `#` stand for the digits of the call.
///
/// `4930#####7` makes 4930000007, 4930000017 and so on. A pattern without `#` is the same number for every
/// call; one with fewer than the calls need repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    before: String,
    digits: usize,
    after: String,
}

impl Number {
    /// The prefix and six digits.
    pub fn with_prefix(prefix: &str) -> Number {
        Number { before: prefix.to_owned(), digits: 6, after: String::new() }
    }

    /// The number of a call.
    pub(crate) fn of(&self, call: u32) -> String {
        let Number { before, digits, after } = self;
        match digits {
            0 => before.clone(),
            _ => {
                let space = 10u64.saturating_pow(u32::try_from(*digits).unwrap_or(u32::MAX));
                format!("{before}{:0digits$}{after}", u64::from(call) % space)
            }
        }
    }

    /// The call whose number this is, whatever now stands before the digits. `None` where the pattern does
    /// not tell calls apart.
    pub(crate) fn call(&self, number: &str) -> Option<u32> {
        if self.digits < CALL_DIGITS {
            return None;
        }
        let end = number.len().checked_sub(self.after.len())?;
        number.get(end.checked_sub(self.digits)?..end)?.parse().ok()
    }
}

/// What a call's number needs.
const CALL_DIGITS: usize = 6;

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(pattern: &str) -> Result<Number, NumberError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+-_.*#".contains(&b);
        if pattern.is_empty() || pattern.len() > 64 || !pattern.bytes().all(allowed) {
            return Err(NumberError::Characters);
        }
        let before = pattern.split('#').next().unwrap_or_default();
        let rest = pattern.get(before.len()..).unwrap_or_default();
        let after = rest.trim_start_matches('#');
        if after.contains('#') {
            return Err(NumberError::Runs);
        }
        Ok(Number { before: before.to_owned(), digits: rest.len() - after.len(), after: after.to_owned() })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.before, "#".repeat(self.digits), self.after)
    }
}

/// Why a text is no pattern of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberError {
    /// Empty, too long, or with characters that a URI's user part would need to escape.
    #[error("a number is 1 to 64 letters, digits, or + - _ . * and # for the call's digits")]
    Characters,
    /// The `#` are not all in one place.
    #[error("the # of a number stand together")]
    Runs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_call() {
        let number = |pattern: &str| pattern.parse::<Number>().unwrap();
        assert_eq!(number("86######").of(42), "86000042");
        assert_eq!(number("86######").call("0086000042"), Some(42));
        assert_eq!(number("+49#######-9").of(1_234), "+490001234-9");
        assert_eq!(number("+49#######-9").call("0001234-9"), Some(1_234));
        assert_eq!(number("1000").of(7), "1000");
        assert_eq!(number("1000").call("1000"), None);
        assert_eq!(number("1##").of(123), "123");
        assert_eq!(number("1##").call("123"), None, "more calls than numbers");
        assert_eq!(number("86######").call("86"), None);
        assert_eq!(number("86######").call("86é0042"), None);
        assert_eq!(number("86######"), Number::with_prefix("86"));
        assert_eq!(number("8##9").to_string(), "8##9");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!("1\r\nX: y".parse::<Number>(), Err(NumberError::Characters));
        assert_eq!("".parse::<Number>(), Err(NumberError::Characters));
        assert_eq!("1#2#".parse::<Number>(), Err(NumberError::Runs));
    }

    #[test]
    fn passwords_are_not_shown() {
        let credentials = Credentials { user: "a".into(), password: "secret".into() };
        assert_eq!(format!("{credentials:?}"), "Credentials(a)");
    }
}
