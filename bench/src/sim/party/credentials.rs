//! Asking Moorline for credentials (RFC 3261 section 22), as the trunks do that it has some for.

use moorline_sip::digest::{Challenger, Hash, Secret, Settings, Verdict};
use moorline_sip::{Message, Name};

use super::Party;
use crate::sim::plan::Asks;

/// What Moorline knows, and is asked for.
pub(in crate::sim) const USER: &str = "moorline";
pub(in crate::sim) const PASSWORD: &str = "open sesame";

pub(super) fn challenger(asks: Asks, seed: u64) -> Challenger {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&seed.to_be_bytes());
    let algorithms = if seed.is_multiple_of(2) { vec![Hash::Md5] } else { vec![Hash::Sha256, Hash::Md5] };
    let settings = Settings { algorithms, lifetime_ns: asks.lifetime, ..Settings::default() };
    Challenger::new(b"carrier.example", &secret, settings)
}

impl Party {
    /// True where a request lacks credentials that it must show: it was challenged.
    pub(super) fn challenges(&mut self, now: u64, position: usize, message: Message<'_>, first: bool) -> bool {
        let Some((asks, challenger)) = &mut self.challenger else { return false };
        if !first && !asks.always {
            return false;
        }
        let (name, challenge) = match asks.status {
            401 => (Name::Authorization, "WWW-Authenticate"),
            _ => (Name::ProxyAuthorization, "Proxy-Authenticate"),
        };
        let method = message.method().map(|method| method.as_bytes().to_vec()).unwrap_or_default();
        let uri = message.request_uri().unwrap_or_default();
        let source = self.moorline.ip();
        let secret = |_: &_| Some(Secret::Password(PASSWORD.as_bytes()));
        let verdict = challenger.verify(now, source, (&method, uri), message.all(name), secret);
        let (stale, wrong) = match verdict {
            Verdict::Accepted { user } if *user == *USER.as_bytes() => return false,
            Verdict::Accepted { .. } => (false, Some("credentials of somebody else".to_owned())),
            Verdict::Stale => (true, None),
            Verdict::Missing => (false, None),
            Verdict::Wrong(wrong) => (false, Some(format!("credentials with {wrong}"))),
        };
        let values = challenger.challenge(now, source, stale);
        let headers: Vec<(&str, String)> =
            values.iter().map(|value| (challenge, String::from_utf8_lossy(value).into_owned())).collect();
        let status = asks.status;
        if let Some(wrong) = wrong {
            self.fault(wrong);
        }
        self.say_with(now, position, status, String::new(), &headers);
        true
    }
}
