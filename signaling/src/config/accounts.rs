//! Users and passwords, in both directions, and what registers where, as it is written.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use moorline_b2bua::policy::{
    Authentication, Challenges, Credentials, EndpointMedia, Endpoints, Password, Registration, Trunk, User, Users,
    WhenFull,
};
use moorline_sip::digest::Hash;
use serde::Deserialize;

use super::TrunkConfig;
use super::fault::Faults;

pub(super) mod file;

/// Whose requests are taken only with a name and a password: `[signaling.trunks.authentication]`. They are asked for
/// by digest (RFC 7616); nothing is kept of who does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationConfig {
    /// What the users know their password for, such as `phones.example.com`.
    pub realm: String,
    /// The users.
    #[serde(default)]
    pub users: Vec<UserConfig>,
    /// A file with more of them (`[[users]]` tables with the same keys), for its owner and group alone.
    #[serde(default)]
    pub users_file: Option<PathBuf>,
    /// Whether the servers of `[signaling.radius]` are asked about users who are not named here.
    #[serde(default)]
    pub radius: bool,
    /// What is offered, best first: `["sha-256", "md5"]`, as far as all users' passwords allow it. FreeRADIUS knows
    /// MD5 only, and some telephones (baresip 1.0) give up where anything else is offered beside it.
    #[serde(default)]
    pub algorithms: Vec<AlgorithmConfig>,
}

/// A hash function of digest authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AlgorithmConfig {
    /// SHA-256 (RFC 8760).
    #[serde(rename = "sha-256")]
    Sha256,
    /// MD5, which every telephone knows.
    #[serde(rename = "md5")]
    Md5,
}

/// Somebody with a password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The user name, which is the number that an endpoint is called by.
    pub name: String,
    /// The password.
    #[serde(default)]
    pub password: Option<SecretText>,
    /// Instead of it, the MD5 hash over `name:realm:password`, 32 hexadecimal digits.
    #[serde(default)]
    pub ha1_md5: Option<SecretText>,
    /// Instead of it, the SHA-256 hash over `name:realm:password`, 64 hexadecimal digits.
    #[serde(default)]
    pub ha1_sha256: Option<SecretText>,
    /// Numbers that the user may call from besides its name.
    #[serde(default)]
    pub numbers: Vec<String>,
    /// How many devices may be registered at once; what the registrar says if left out.
    #[serde(default)]
    pub max_contacts: Option<usize>,
    /// Whether the user may do anything now.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Its account has run out of money: no calls are taken from it, and it hears what `limits.refusals.arrears` of the
    /// trunk says. Calls to it are left alone. Can be set while calls are up: `moorline limits set TRUNK --user NAME`,
    /// also for users whom RADIUS knows.
    #[serde(default)]
    pub arrears: bool,
}

/// A trunk of endpoints, which register here and are called by their user names: `[signaling.trunks.registrar]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrarConfig {
    /// The hosts that may stand in the addresses they register; any where it is left out.
    pub domains: Vec<String>,
    /// How many devices of a user may be registered at once, 1 to 16.
    pub max_contacts: usize,
    /// What becomes of a device too many: `replace` lets it in and drops the one that was refreshed the longest time
    /// ago, `refuse` answers 403.
    pub when_full: WhenFullConfig,
    /// The shortest time that may be asked for, in seconds.
    pub min_expires_s: u32,
    /// The time that is granted where none is asked for, in seconds.
    pub expires_s: u32,
    /// The longest time that is granted, in seconds.
    pub max_expires_s: u32,
    /// How often devices behind NAT, and those on TCP or TLS, are sent an OPTIONS, in seconds, 5 to 300; 0 for never.
    /// Who leaves three unanswered is no more registered.
    pub keep_alive_s: u32,
    /// The way of media between two endpoints: `bypass` lets it go from one to the other, unless NAT is seen between,
    /// `anchor` leads it through here.
    pub media: EndpointMediaConfig,
}

/// What becomes of a device too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFullConfig {
    /// It is let in, and the oldest one dropped.
    #[default]
    Replace,
    /// It is refused.
    Refuse,
}

/// The way of media between two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointMediaConfig {
    /// From one to the other.
    #[default]
    Bypass,
    /// Through the media process.
    Anchor,
}

/// What a trunk is shown that asks us for credentials: `[signaling.trunks.credentials]`. Its challenges do not reach
/// the caller then.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsConfig {
    /// The user name.
    pub user: String,
    /// The password.
    #[serde(default)]
    pub password: Option<SecretText>,
    /// A file that holds it on one line, for its owner and group alone.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Only challenges for this realm are answered; all of them if left out.
    #[serde(default)]
    pub realm: Option<String>,
    /// Whether the trunk's domain is part of the user name: `+8612345678@gd.ctcims.cn`.
    #[serde(default)]
    pub user_with_domain: bool,
}

/// Moorline registers itself with a trunk, at its targets, and keeps that up: `[signaling.trunks.registration]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationConfig {
    /// The user part of the address that is registered.
    pub user: String,
    /// Its domain, which need not resolve; the trunk's `domain` if left out.
    #[serde(default)]
    pub domain: Option<String>,
    /// How long a registration is asked to last, in seconds, 60 to 604800.
    #[serde(default = "an_hour")]
    pub expires_s: u32,
    /// Whether each REGISTER gets a Call-ID of its own, for registrars that answer `400` with `P-Registrar-Error:
    /// Invalid CSeq number` otherwise.
    #[serde(default)]
    pub new_call_id: bool,
}

/// A text that shows itself to nobody: what is written in its place without quotes is not shown in faults either.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// What it says.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretText, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// serde's own complaint of a wrong type quotes the value.
struct SecretVisitor;

/// Refuses plain values without quoting them, as a visitor of `$value`.
macro_rules! never_quoted {
    ($value:ty, $problem:literal) => {
        never_quoted! { $value, $problem; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
        visit_i128: i128, visit_u128: u128, visit_str: &str, }
    };
    ($value:ty, $problem:literal; $($visit:ident: $type:ty,)+) => {
        $(fn $visit<E: serde::de::Error>(self, _: $type) -> Result<$value, E> {
            Err(E::custom($problem))
        })+
    };
}
pub(super) use never_quoted;

impl serde::de::Visitor<'_> for SecretVisitor {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(SecretText(text.to_owned()))
    }

    never_quoted! { SecretText, "a secret without quotes, expected a string";
    visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_i128: i128, visit_u128: u128, }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl Default for RegistrarConfig {
    fn default() -> RegistrarConfig {
        let Endpoints { max_contacts, min_expires_s, default_expires_s, max_expires_s, keep_alive_s, .. } =
            Endpoints::default();
        RegistrarConfig {
            domains: Vec::new(),
            max_contacts,
            when_full: WhenFullConfig::default(),
            min_expires_s,
            expires_s: default_expires_s,
            max_expires_s,
            keep_alive_s,
            media: EndpointMediaConfig::default(),
        }
    }
}

fn yes() -> bool {
    true
}

fn an_hour() -> u32 {
    3600
}

/// The most contacts that a user may have.
const MAX_CONTACTS: usize = 16;

impl TrunkConfig {
    /// Puts what is said here of users, passwords and registration into the trunk. `key` names it.
    pub(super) fn accounts(&self, key: &str, radius: bool, trunk: &mut Trunk, faults: &mut Faults) {
        let domain = self.domain.clone().or_else(|| self.registration.as_ref()?.domain.clone());
        trunk.domain = domain.clone();
        trunk.authentication = self.authentication.as_ref().map(|config| {
            let key = format!("{key}.authentication");
            config.resolve(&key, radius, faults)
        });
        trunk.endpoints = self.registrar.as_ref().map(|config| {
            let key = format!("{key}.registrar");
            if self.authentication.is_none() {
                let remedy = "add [signaling.trunks.authentication] with realm and users";
                faults.add(&key, "anybody could register", remedy);
            }
            config.resolve(&key, faults)
        });
        trunk.credentials = self.credentials.as_ref().and_then(|config| {
            let key = format!("{key}.credentials");
            config.resolve(&key, domain.as_deref(), faults)
        });
        trunk.registration = self.registration.as_ref().map(|config| {
            let key = format!("{key}.registration");
            if self.targets.is_empty() {
                faults.add(&key, "there is nowhere to register", "add `targets` to the trunk");
            }
            config.resolve(&key, domain.as_deref(), faults)
        });
    }
}

impl AuthenticationConfig {
    fn resolve(&self, key: &str, radius: bool, faults: &mut Faults) -> Authentication {
        if self.realm.is_empty() || self.realm.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
            faults.add(format!("{key}.realm"), "no realm", "write a name without quotes, such as \"phones.example\"");
        }
        let mut users = self.users.clone();
        if let Some(path) = &self.users_file {
            match file::users(path) {
                Ok(more) => users.extend(more),
                Err(file::Unreadable { problem, remedy }) => faults.add(format!("{key}.users_file"), problem, remedy),
            }
        }
        if self.radius && !radius {
            let remedy = "add [signaling.radius] with servers and secret_file";
            faults.add(format!("{key}.radius"), "no RADIUS server is configured", remedy);
        }
        if users.is_empty() && !self.radius && self.users_file.is_none() {
            faults.add(key, "nobody can come in", "add `users` or `users_file`, or set `radius = true`");
        }
        let mut known: Vec<&str> = Vec::new();
        for (position, user) in users.iter().enumerate() {
            let place = if position < self.users.len() { format!("{key}.users[{position}]") } else { key.to_owned() };
            user.check(&place, faults);
            if known.contains(&user.name.as_str()) {
                faults.add(&place, format!("user {:?} is named twice", user.name), "remove one of the two");
            }
            known.push(&user.name);
        }
        let users: Users = users.iter().map(UserConfig::resolve).collect();
        let wanted = match (self.algorithms.is_empty(), self.radius) {
            (true, true) => vec![AlgorithmConfig::Md5],
            (true, false) => vec![AlgorithmConfig::Sha256, AlgorithmConfig::Md5],
            (false, _) => self.algorithms.clone(),
        };
        let algorithms = wanted.iter().map(|algorithm| match algorithm {
            AlgorithmConfig::Sha256 => Hash::Sha256,
            AlgorithmConfig::Md5 => Hash::Md5,
        });
        let algorithms: Vec<Hash> = algorithms.filter(|hash| users.serve(*hash)).collect();
        if algorithms.is_empty() {
            let problem = "no algorithm is one that all users' passwords serve for";
            faults.add(key, problem, "give all users a `password`, or the same kind of hash");
        }
        let (users, challenges) = (Arc::new(users), Challenges::default());
        Authentication { realm: self.realm.clone(), algorithms, users, ask: self.radius, challenges }
    }
}

impl UserConfig {
    fn check(&self, key: &str, faults: &mut Faults) {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '"' | '\\' | '<' | '>' | ';' | '%' | ':');
        if self.name.is_empty() || !self.name.chars().all(plain) {
            let remedy = "use letters, digits and characters such as + - . _";
            faults.add(key, format!("{:?} is no user name", self.name), remedy);
        }
        let digits = |text: &Option<SecretText>, length: usize| {
            text.as_ref().is_none_or(|text| text.0.len() == length && text.0.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        if !digits(&self.ha1_md5, 32) || !digits(&self.ha1_sha256, 64) {
            let problem = format!("user {:?} has a hash that is none", self.name);
            faults.add(key, problem, "write the hash over name:realm:password in hexadecimal");
        }
        let hashed = self.ha1_md5.is_some() || self.ha1_sha256.is_some();
        if self.password.is_some() == hashed || self.password.as_ref().is_some_and(|password| password.0.is_empty()) {
            let problem = format!("user {:?} has not one kind of password", self.name);
            faults.add(key, problem, "set either `password`, or `ha1_md5` and/or `ha1_sha256`");
        }
        if self.max_contacts.is_some_and(|max| !(1..=MAX_CONTACTS).contains(&max)) {
            let problem = format!("max_contacts of user {:?} is out of bounds", self.name);
            faults.add(key, problem, format!("use 1 to {MAX_CONTACTS}"));
        }
    }

    fn resolve(&self) -> User {
        let text = |secret: &Option<SecretText>| secret.as_ref().map(|secret| secret.0.clone());
        User {
            name: self.name.clone(),
            password: match &self.password {
                Some(password) => Password::plain(password.0.clone()),
                None => Password::hashed(text(&self.ha1_md5).as_deref(), text(&self.ha1_sha256).as_deref()),
            },
            enabled: self.enabled,
            arrears: self.arrears,
            max_contacts: self.max_contacts,
            numbers: self.numbers.clone(),
        }
    }
}

impl RegistrarConfig {
    fn resolve(&self, key: &str, faults: &mut Faults) -> Endpoints {
        if !(1..=MAX_CONTACTS).contains(&self.max_contacts) {
            let problem = format!("{} is out of bounds", self.max_contacts);
            faults.add(format!("{key}.max_contacts"), problem, format!("use 1 to {MAX_CONTACTS}"));
        }
        let ordered = self.min_expires_s <= self.expires_s && self.expires_s <= self.max_expires_s;
        if self.min_expires_s == 0 || !ordered || self.max_expires_s > 604_800 {
            let problem = "min_expires_s, expires_s and max_expires_s are out of bounds, or of order";
            faults.add(key, problem, "use 1 to 604800, the shortest first");
        }
        if self.keep_alive_s != 0 && !(5..=300).contains(&self.keep_alive_s) {
            let problem = format!("{} is out of bounds", self.keep_alive_s);
            faults.add(format!("{key}.keep_alive_s"), problem, "use 5 to 300, or 0 for never");
        }
        Endpoints {
            domains: self.domains.clone(),
            max_contacts: self.max_contacts,
            when_full: match self.when_full {
                WhenFullConfig::Replace => WhenFull::Replace,
                WhenFullConfig::Refuse => WhenFull::Refuse,
            },
            min_expires_s: self.min_expires_s,
            default_expires_s: self.expires_s,
            max_expires_s: self.max_expires_s,
            keep_alive_s: self.keep_alive_s,
            media: match self.media {
                EndpointMediaConfig::Bypass => EndpointMedia::Bypass,
                EndpointMediaConfig::Anchor => EndpointMedia::Anchor,
            },
        }
    }
}

impl CredentialsConfig {
    fn resolve(&self, key: &str, domain: Option<&str>, faults: &mut Faults) -> Option<Credentials> {
        let password = match (&self.password, &self.password_file) {
            (Some(password), None) => Some(Password::plain(password.0.clone())),
            (None, Some(path)) => match file::password(path) {
                Ok(password) => Some(Password::plain(password)),
                Err(file::Unreadable { problem, remedy }) => {
                    faults.add(format!("{key}.password_file"), problem, remedy);
                    None
                }
            },
            _ => {
                faults.add(key, "one password is needed", "set either `password` or `password_file`");
                None
            }
        };
        let user = match (self.user_with_domain, domain) {
            (false, _) => self.user.clone(),
            (true, Some(domain)) => format!("{}@{domain}", self.user),
            (true, None) => {
                let remedy = "set `domain` of the trunk, or of its registration";
                faults.add(format!("{key}.user_with_domain"), "the trunk has no domain", remedy);
                self.user.clone()
            }
        };
        Some(Credentials { user, password: password?, realm: self.realm.clone() })
    }
}

impl RegistrationConfig {
    fn resolve(&self, key: &str, domain: Option<&str>, faults: &mut Faults) -> Registration {
        let plain = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '@' | '<' | '>' | '"' | ';'))
        };
        if !plain(&self.user) {
            let problem = format!("{:?} is no user part of an address", self.user);
            faults.add(format!("{key}.user"), problem, "write it without domain, such as \"+8612345678\"");
        }
        let domain = self.domain.as_deref().or(domain).unwrap_or_default();
        if !plain(domain) {
            let problem = format!("{domain:?} is no domain");
            faults.add(format!("{key}.domain"), problem, "write it, such as \"sip.example.com\"");
        }
        if !(60..=604_800).contains(&self.expires_s) {
            faults.add(format!("{key}.expires_s"), format!("{} is out of bounds", self.expires_s), "use 60 to 604800");
        }
        Registration {
            user: self.user.clone(),
            domain: domain.to_owned(),
            expires_s: self.expires_s,
            new_call_id: self.new_call_id,
        }
    }
}

#[cfg(test)]
mod tests;
