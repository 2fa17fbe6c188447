//! Limits that are set while calls are up, and what is shown of all of them.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError};

use super::limiter::{TrunkCalls, lock};
use super::lists::{Row, RowFault, Verdict};
use super::{Cause, Direction, Limiter, Numbers, UserView};

/// What can be set of a trunk, as it is written: `inbound.calls`, `outbound.refuse_anonymous`, `arrears`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Whether its account has run out of money.
    Arrears,
    /// A limit of one direction.
    Of(Direction, Field),
}

/// A limit of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// [`Numbers::calls`].
    Calls,
    /// [`Numbers::calls_per_second`].
    CallsPerSecond,
    /// [`Numbers::burst`].
    Burst,
    /// [`Numbers::calls_per_caller`].
    CallsPerCaller,
    /// [`Numbers::calls_per_callee_a_day`].
    CallsPerCalleeADay,
    /// [`Numbers::refuse_anonymous`].
    RefuseAnonymous,
}

/// What it is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// No limit.
    None,
    /// So many.
    Number(u32),
    /// A switch.
    Switch(bool),
}

/// Why something is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitFault {
    /// No such trunk.
    #[error("no trunk is called {0:?}; there are {1}")]
    Trunk(String, String),
    /// No such key.
    #[error("{0:?} is no limit; use {1}")]
    Key(String, String),
    /// No such value.
    #[error("{key} is {expected}, not {text:?}")]
    Value {
        /// Of what.
        key: Key,
        /// What it may be.
        expected: &'static str,
        /// What was written.
        text: String,
    },
    /// A row of the list.
    #[error(transparent)]
    Row(#[from] RowFault),
    /// There is no such row.
    #[error("there is no such row")]
    NoRow,
    /// No such user.
    #[error(
        "no user of trunk {1:?} is called {0:?}; name one of [signaling.trunks.authentication], without its domain"
    )]
    User(String, String),
    /// Something that users have none of.
    #[error("{0} is a limit of the trunk; of a user only arrears can be set")]
    OfTrunk(Key),
    /// Something was set of too many users.
    #[error(
        "arrears were set of {0} users of this trunk, which are as many as are kept; write them in the configuration"
    )]
    Users(usize),
}

/// What is shown of a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkView {
    /// Its name.
    pub name: String,
    /// Its account has run out of money.
    pub arrears: bool,
    /// How many of its users have.
    pub users_in_arrears: usize,
    /// Users who have, or of whom something was set, by name; only the first of very many.
    pub users: Vec<UserView>,
    /// Its calls, by [`Direction::index`].
    pub directions: [View; 2],
    /// What was set since the configuration was read, with what the configuration says.
    pub set: Vec<(Key, Value)>,
}

/// What is shown of a trunk's calls in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Calls at once now.
    pub calls: u32,
    /// The most there were at once.
    pub peak: u32,
    /// How many callers have a call.
    pub callers: usize,
    /// The limits that hold.
    pub numbers: Numbers,
    /// How many calls were refused, by cause.
    pub refused: [u64; Cause::ALL.len()],
}

impl Key {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Key> {
        let fields = |direction| Field::ALL.map(|field| Key::Of(direction, field));
        [Key::Arrears].into_iter().chain(Direction::BOTH.into_iter().flat_map(fields))
    }

    /// Reads a value for it; `None` for `default`, which is what the configuration says.
    ///
    /// # Errors
    /// It is no value for it.
    pub fn read(self, text: &str) -> Result<Option<Value>, LimitFault> {
        let (is_switch, expected) = match self {
            Key::Arrears | Key::Of(_, Field::RefuseAnonymous) => (true, "true, false or default"),
            Key::Of(..) => (false, "a whole number, none or default"),
        };
        let value = match text {
            "default" => return Ok(None),
            "true" if is_switch => Some(Value::Switch(true)),
            "false" if is_switch => Some(Value::Switch(false)),
            "none" if !is_switch => Some(Value::None),
            number if !is_switch && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().ok().map(Value::Number)
            }
            _ => None,
        };
        value.map(Some).ok_or_else(|| LimitFault::Value { key: self, expected, text: text.to_owned() })
    }

    /// What it is.
    fn get(self, numbers: &[Numbers; 2], arrears: bool) -> Value {
        let Key::Of(direction, field) = self else { return Value::Switch(arrears) };
        let numbers = &numbers[direction.index()];
        let number = match field {
            Field::Calls => numbers.calls,
            Field::CallsPerSecond => numbers.calls_per_second,
            Field::Burst => numbers.burst,
            Field::CallsPerCaller => numbers.calls_per_caller,
            Field::CallsPerCalleeADay => numbers.calls_per_callee_a_day,
            Field::RefuseAnonymous => return Value::Switch(numbers.refuse_anonymous),
        };
        number.map_or(Value::None, Value::Number)
    }

    /// Sets it. A value of another kind changes nothing.
    pub(super) fn set(self, numbers: &mut [Numbers; 2], arrears: &mut bool, value: Value) {
        let (direction, field) = match (self, value) {
            (Key::Arrears, Value::Switch(on)) => return *arrears = on,
            (Key::Arrears, _) => return,
            (Key::Of(direction, field), _) => (direction, field),
        };
        let numbers = &mut numbers[direction.index()];
        let place = match field {
            Field::Calls => &mut numbers.calls,
            Field::CallsPerSecond => &mut numbers.calls_per_second,
            Field::Burst => &mut numbers.burst,
            Field::CallsPerCaller => &mut numbers.calls_per_caller,
            Field::CallsPerCalleeADay => &mut numbers.calls_per_callee_a_day,
            Field::RefuseAnonymous => {
                if let Value::Switch(on) = value {
                    numbers.refuse_anonymous = on;
                }
                return;
            }
        };
        match value {
            Value::None => *place = None,
            Value::Number(number) => *place = Some(number),
            Value::Switch(_) => {}
        }
    }
}

impl Field {
    /// All of them.
    pub const ALL: [Field; 6] = [
        Field::Calls,
        Field::CallsPerSecond,
        Field::Burst,
        Field::CallsPerCaller,
        Field::CallsPerCalleeADay,
        Field::RefuseAnonymous,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Field::Calls => "calls",
            Field::CallsPerSecond => "calls_per_second",
            Field::Burst => "burst",
            Field::CallsPerCaller => "calls_per_caller",
            Field::CallsPerCalleeADay => "calls_per_callee_a_day",
            Field::RefuseAnonymous => "refuse_anonymous",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Arrears => f.write_str("arrears"),
            Key::Of(direction, field) => write!(f, "{}.{}", direction.name(), field.name()),
        }
    }
}

impl FromStr for Key {
    type Err = LimitFault;

    fn from_str(text: &str) -> Result<Key, LimitFault> {
        let known = || Key::all().map(|key| key.to_string()).collect::<Vec<_>>().join(", ");
        Key::all().find(|key| key.to_string() == text).ok_or_else(|| LimitFault::Key(text.to_owned(), known()))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => f.write_str("none"),
            Value::Number(number) => number.fmt(f),
            Value::Switch(on) => on.fmt(f),
        }
    }
}

impl Limiter {
    /// Sets limits of a trunk, in all workers at once; `None` is what the configuration says. Calls that are up go on,
    /// even if there are more of them.
    ///
    /// # Errors
    /// There is no such trunk.
    pub fn set(&self, trunk: &str, changes: &[(Key, Option<Value>)]) -> Result<(), LimitFault> {
        let known = self.wanted(trunk)?;
        let mut settings = lock(&known.settings);
        for (key, value) in changes {
            match value {
                Some(value) => drop(settings.set.insert(*key, *value)),
                None => drop(settings.set.remove(key)),
            }
        }
        known.apply(&settings);
        Ok(())
    }

    /// The trunk of which something is to be set.
    pub(super) fn wanted(&self, trunk: &str) -> Result<Arc<TrunkCalls>, LimitFault> {
        self.known(trunk).ok_or_else(|| {
            let names: Vec<String> = self.all().iter().map(|trunk| format!("{:?}", trunk.name)).collect();
            LimitFault::Trunk(trunk.to_owned(), names.join(", "))
        })
    }

    /// Puts a row into the list, in place of what it said before, for all workers at once.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn add_row(&self, row: &Row, verdict: Verdict) -> Result<Option<Verdict>, LimitFault> {
        let mut lists = self.lists().write().unwrap_or_else(PoisonError::into_inner);
        Ok(lists.insert(row, verdict)?)
    }

    /// Takes a row out of the list.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove_row(&self, row: &Row) -> Result<Verdict, LimitFault> {
        let mut lists = self.lists().write().unwrap_or_else(PoisonError::into_inner);
        lists.remove(row).ok_or(LimitFault::NoRow)
    }

    /// What a row says.
    pub fn row(&self, row: &Row) -> Option<Verdict> {
        self.lists().read().unwrap_or_else(PoisonError::into_inner).get(row)
    }

    /// All rows of the list, in their order.
    pub fn rows(&self) -> Vec<(Row, Verdict)> {
        self.lists().read().unwrap_or_else(PoisonError::into_inner).rows()
    }

    /// All trunks, by name.
    pub fn view(&self) -> Vec<TrunkView> {
        let view = |trunk: Arc<TrunkCalls>| {
            let settings = lock(&trunk.settings);
            let configured = |key: &Key| (*key, key.get(&settings.configured, settings.arrears));
            let set = settings.set.keys().map(configured).collect();
            let directions = Direction::BOTH.map(|direction| {
                let calls = trunk.calls(direction);
                let (now, peak, callers, numbers) = (calls.now, calls.peak, calls.callers(), calls.numbers);
                View { calls: now, peak, callers, numbers, refused: trunk.refusals(direction) }
            });
            let (users_in_arrears, users) = trunk.accounts().view();
            let arrears = trunk.is_in_arrears(None);
            TrunkView { name: trunk.name.to_string(), arrears, users_in_arrears, users, directions, set }
        };
        self.all().into_iter().map(view).collect()
    }
}

impl TrunkView {
    /// The value of a limit that holds.
    pub fn value(&self, key: Key) -> Value {
        key.get(&self.directions.each_ref().map(|view| view.numbers), self.arrears)
    }
}
