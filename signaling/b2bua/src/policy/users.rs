//! Who may come in by name and password, and how others let us in.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use moorline_sip::digest::{Challenger, Hash, Secret};

/// Digest credentials are asked for (RFC 3261 section 22): 401 to a REGISTER, 407 to everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authentication {
    /// What the challenge names; the users know their password for it.
    pub realm: String,
    /// The hash functions that are offered, best first.
    pub algorithms: Vec<Hash>,
    /// Those whose passwords are known here.
    pub users: Arc<Users>,
    /// Whether somebody else is asked about users who are not known here: RADIUS.
    pub ask: bool,
    /// Who asks, and remembers what was shown.
    pub challenges: Challenges,
}

/// The challenges of a trunk. All clones share them: credentials that one worker has asked for are good at every other,
/// once.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<OnceLock<Challenger>>);

impl PartialEq for Challenges {
    /// What was shown so far is nothing that is configured.
    fn eq(&self, _: &Challenges) -> bool {
        true
    }
}

impl Eq for Challenges {}

impl Challenges {
    /// The challenger of all clones; the first that is asked for makes it.
    pub(crate) fn challenger(&self, make: impl FnOnce() -> Challenger) -> Challenger {
        self.0.get_or_init(make).clone()
    }
}

/// Users by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(HashMap<Box<[u8]>, User>);

/// Somebody with a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user name in the credentials, which is the number that the user is called by.
    pub name: String,
    /// The password, or what is known of it.
    pub password: Password,
    /// Whether the user may do anything now.
    pub enabled: bool,
    /// Its account has run out of money: no calls are taken from it, though it is registered and called.
    pub arrears: bool,
    /// How many devices may be registered at once; `None` leaves it to the trunk.
    pub max_contacts: Option<usize>,
    /// Numbers that the user may call from besides its own name.
    pub numbers: Vec<String>,
}

/// What is known of a password. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password {
    plain: Option<Box<[u8]>>,
    md5: Option<Box<[u8]>>,
    sha256: Option<Box<[u8]>>,
}

/// What a trunk asks of us before it takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name as the challenges are answered: with a domain (`user@domain`) where the trunk wants that.
    pub user: String,
    /// The password.
    pub password: Password,
    /// Only challenges for this realm are answered; `None` for any.
    pub realm: Option<String>,
}

/// Moorline registers itself with a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The user part of the address that is registered.
    pub user: String,
    /// Its domain: a logical name, which need not resolve.
    pub domain: String,
    /// How long a registration is asked to last, in seconds.
    pub expires_s: u32,
    /// Each REGISTER gets a Call-ID of its own: some registrars answer `400` with `P-Registrar-Error: Invalid CSeq
    /// number` otherwise.
    pub new_call_id: bool,
}

impl Users {
    /// The user of this name.
    pub fn find(&self, name: &[u8]) -> Option<&User> {
        self.0.get(name)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }

    /// Whether every user's password serves for this hash function.
    pub fn serve(&self, hash: Hash) -> bool {
        self.0.values().all(|user| user.password.secret(hash).is_some())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<User> for Users {
    fn from_iter<I: IntoIterator<Item = User>>(users: I) -> Users {
        Users(users.into_iter().map(|user| (user.name.as_bytes().into(), user)).collect())
    }
}

impl User {
    /// Whether the user may call from `number`.
    pub fn may_call_from(&self, number: &[u8]) -> bool {
        number == self.name.as_bytes() || self.numbers.iter().any(|own| own.as_bytes() == number)
    }
}

impl Password {
    /// A password as it is.
    pub fn plain(password: impl Into<Vec<u8>>) -> Password {
        Password { plain: Some(password.into().into()), ..Password::default() }
    }

    /// Hashes over user, realm and password, in hexadecimal (RFC 7616 section 3.4.2).
    pub fn hashed(md5: Option<&str>, sha256: Option<&str>) -> Password {
        let digits = |text: &str| text.to_ascii_lowercase().into_bytes().into();
        Password { plain: None, md5: md5.map(digits), sha256: sha256.map(digits) }
    }

    /// What there is for a hash function.
    pub(crate) fn secret(&self, hash: Hash) -> Option<Secret<'_>> {
        if let Some(plain) = &self.plain {
            return Some(Secret::Password(plain));
        }
        let known = match hash {
            Hash::Md5 => &self.md5,
            Hash::Sha256 => &self.sha256,
            Hash::Sha512T256 => &None,
        };
        known.as_deref().map(|known| Secret::Hashed(hash, known))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_show_itself() {
        let user = User { name: "6000".into(), password: Password::plain("1234"), ..User::default() };
        let shown = format!("{user:?} {:?}", Password::hashed(Some("abcdef"), None));
        assert!(!shown.contains("1234") && !shown.contains("abcdef"), "{shown}");
    }

    #[test]
    fn a_hash_serves_for_its_own_function_only() {
        let hashed = Password::hashed(Some("AB"), None);
        assert_eq!(hashed.secret(Hash::Md5), Some(Secret::Hashed(Hash::Md5, b"ab")));
        assert_eq!(hashed.secret(Hash::Sha256), None);
        let users: Users = [User { password: hashed, ..User::default() }].into_iter().collect();
        assert!(users.serve(Hash::Md5) && !users.serve(Hash::Sha256));
    }
}
