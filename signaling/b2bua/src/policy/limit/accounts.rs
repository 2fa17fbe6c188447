//! The accounts of a trunk's users, each of whom is charged for the calls that it was let in for; the trunk is charged
//! for the others. Who has run out of money is heard no more, whatever becomes of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLockReadGuard};

use super::limiter::TrunkCalls;
use super::{LimitFault, Limiter};
use crate::policy::{Trunk, Users};

/// The most users of a trunk of whom something is set while it runs.
const MAX_SET: usize = 65_536;

/// The most users of a trunk that are shown.
const MAX_SHOWN: usize = 1000;

/// The longest name.
const LONGEST_NAME: usize = 128;

/// Who of a trunk's users is in arrears.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// As the configuration says.
    users: Arc<Users>,
    /// There are others, whom RADIUS knows.
    others: bool,
    /// As it was set since, by name.
    set: BTreeMap<Box<[u8]>, bool>,
}

/// What is shown of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// Its account has run out of money.
    pub arrears: bool,
    /// What the configuration says, where something was set since.
    pub configured: Option<bool>,
}

impl Accounts {
    /// From now on the trunk is configured like this; what was set stays.
    pub(super) fn configure(&mut self, trunk: &Trunk) {
        let authentication = trunk.authentication.as_ref();
        self.users = authentication.map(|authentication| Arc::clone(&authentication.users)).unwrap_or_default();
        self.others = authentication.is_some_and(|authentication| authentication.ask);
    }

    pub(super) fn is_in_arrears(&self, user: &[u8]) -> bool {
        self.set.get(user).copied().unwrap_or_else(|| self.configured(user))
    }

    fn configured(&self, user: &[u8]) -> bool {
        self.users.find(user).is_some_and(|user| user.arrears)
    }

    fn knows(&self, user: &str) -> bool {
        let plain = !user.is_empty() && user.len() <= LONGEST_NAME && !user.contains(['@', '\0', '\r', '\n']);
        self.users.find(user.as_bytes()).is_some() || (self.others && plain)
    }

    /// How many are in arrears; by name the first of them, and of those of whom something was set.
    pub(super) fn view(&self) -> (usize, Vec<UserView>) {
        let names = self.users.all().filter(|user| user.arrears).map(|user| user.name.as_bytes());
        let names: BTreeSet<&[u8]> = names.chain(self.set.keys().map(|name| &**name)).collect();
        let count = names.iter().filter(|name| self.is_in_arrears(name)).count();
        let shown = names.into_iter().take(MAX_SHOWN).map(|name| UserView {
            name: String::from_utf8_lossy(name).into_owned(),
            arrears: self.is_in_arrears(name),
            configured: self.set.contains_key(name).then(|| self.configured(name)),
        });
        (count, shown.collect())
    }
}

impl Limiter {
    /// Says of a user of a trunk whether its account is in arrears, in all workers at once; `None` is what the
    /// configuration says. Calls that are up go on.
    ///
    /// # Errors
    /// There is no such trunk, or it has no such user, or something was set of too many.
    pub fn set_user(&self, trunk: &str, user: &str, arrears: Option<bool>) -> Result<(), LimitFault> {
        let known = self.wanted(trunk)?;
        self.check_user(trunk, user)?;
        let mut accounts = known.accounts.write().unwrap_or_else(PoisonError::into_inner);
        match arrears {
            Some(_) if accounts.set.len() >= MAX_SET && !accounts.set.contains_key(user.as_bytes()) => {
                return Err(LimitFault::Users(MAX_SET));
            }
            Some(arrears) => drop(accounts.set.insert(user.as_bytes().into(), arrears)),
            None => drop(accounts.set.remove(user.as_bytes())),
        }
        Ok(())
    }

    /// Whether something can be said of a user of a trunk.
    ///
    /// # Errors
    /// There is no such trunk, or it has no such user.
    pub fn check_user(&self, trunk: &str, user: &str) -> Result<(), LimitFault> {
        let known = self.wanted(trunk)?.accounts().knows(user);
        known.then_some(()).ok_or_else(|| LimitFault::User(user.to_owned(), trunk.to_owned()))
    }
}

impl TrunkCalls {
    pub(super) fn accounts(&self) -> RwLockReadGuard<'_, Accounts> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner)
    }
}
