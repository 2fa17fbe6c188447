//! What all workers of a process count together, and refuse by.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::accounts::Accounts;
use super::calls::Calls;
use super::change::{Key, Value};
use super::days::{Called, DayCounts};
use super::lists::{Listed, Lists};
use super::seizure::Seizure;
use super::{Cause, Direction, DirectionLimits, Numbers, Party};
use crate::policy::Trunk;

/// How many callees of a day are remembered where nothing else is said.
const CALLEES: usize = 1_000_000;

/// The limits of all trunks of a process, which its workers share.
#[derive(Debug)]
pub struct Limiter {
    trunks: Mutex<BTreeMap<Arc<str>, Arc<TrunkCalls>>>,
    lists: RwLock<Lists>,
    days: Arc<DayCounts>,
    /// How many workers there are, and how many know of all calls that were up when they started.
    workers: OnceLock<usize>,
    returned: AtomicUsize,
}

/// The calls of one trunk.
#[derive(Debug)]
pub(crate) struct TrunkCalls {
    pub(super) name: Arc<str>,
    days: Arc<DayCounts>,
    directions: [DirectionCalls; 2],
    arrears: AtomicBool,
    pub(super) accounts: RwLock<Accounts>,
    pub(super) settings: Mutex<Settings>,
}

#[derive(Debug, Default)]
struct DirectionCalls {
    calls: Mutex<Calls>,
    refused: [AtomicU64; Cause::ALL.len()],
}

/// What a trunk's limits are made of.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// As the configuration says, by [`Direction::index`].
    pub(super) configured: [Numbers; 2],
    pub(super) arrears: bool,
    /// As they were set since.
    pub(super) set: BTreeMap<Key, Value>,
}

/// When and how a call comes to a trunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: u64,
    /// Today, where the limits count days.
    pub(crate) day: i32,
    /// Not all calls that are up are known yet.
    pub(crate) restoring: bool,
    /// The call is made for a transfer: whoever asked for it leaves, so it is not one more at once.
    pub(crate) transfer: bool,
    /// A call whose callee finds no place is let through uncounted.
    pub(crate) pass_when_full: bool,
}

impl Default for Limiter {
    /// For tests: the key that callees are hidden by is known to everybody.
    fn default() -> Limiter {
        Limiter::new(DayCounts::new([0; 16], CALLEES))
    }
}

impl Limiter {
    /// Limits without trunks, and the calls of the day so far.
    pub fn new(days: DayCounts) -> Limiter {
        Limiter {
            trunks: Mutex::default(),
            lists: RwLock::default(),
            days: Arc::new(days),
            workers: OnceLock::new(),
            returned: AtomicUsize::new(0),
        }
    }

    /// Takes note of a trunk's limits; what was set while it ran, stays. Calls that are up are counted on.
    pub fn configure(&self, configured: &Trunk) {
        let (trunk, limits) = (self.trunk(&configured.name), &configured.limits);
        trunk.accounts.write().unwrap_or_else(PoisonError::into_inner).configure(configured);
        let mut settings = lock(&trunk.settings);
        settings.configured = Direction::BOTH.map(|direction| limits.of(direction).numbers);
        settings.arrears = limits.arrears;
        trunk.apply(&settings);
    }

    /// The calls of a day by callee.
    pub fn days(&self) -> &DayCounts {
        &self.days
    }

    /// The black and white list.
    pub fn lists(&self) -> &RwLock<Lists> {
        &self.lists
    }

    /// The calls of a trunk.
    pub(crate) fn trunk(&self, name: &str) -> Arc<TrunkCalls> {
        let mut trunks = lock(&self.trunks);
        if let Some(known) = trunks.get(name) {
            return Arc::clone(known);
        }
        let made = Arc::new(TrunkCalls::new(name.into(), &self.days));
        trunks.insert(Arc::clone(&made.name), Arc::clone(&made));
        made
    }

    /// The calls of a trunk that is configured no more: they count where it is still known, and for themselves else.
    pub(crate) fn retired(&self, name: &str) -> Arc<TrunkCalls> {
        self.known(name).unwrap_or_else(|| Arc::new(TrunkCalls::new(name.into(), &self.days)))
    }

    /// Forgets trunks that are configured no more, but for those that have calls.
    pub fn forget_others(&self, configured: &dyn Fn(&str) -> bool) {
        let has_calls =
            |calls: &TrunkCalls| Direction::BOTH.into_iter().any(|direction| calls.calls(direction).now > 0);
        lock(&self.trunks).retain(|name, calls| configured(name) || has_calls(calls));
    }

    /// From now on this is the black and white list.
    pub fn replace_lists(&self, lists: Lists) {
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// All trunks, by name.
    pub(super) fn all(&self) -> Vec<Arc<TrunkCalls>> {
        lock(&self.trunks).values().cloned().collect()
    }

    /// One that was configured or has calls.
    pub(super) fn known(&self, name: &str) -> Option<Arc<TrunkCalls>> {
        lock(&self.trunks).get(name).cloned()
    }

    /// There are so many workers.
    pub(crate) fn expect(&self, workers: usize) {
        self.workers.get_or_init(|| workers);
    }

    /// A worker knows of all calls that were up when it started.
    pub(crate) fn returned(&self) {
        self.returned.fetch_add(1, Ordering::Release);
    }

    /// True while calls may be up that no worker knows of yet.
    pub(crate) fn is_restoring(&self) -> bool {
        self.workers.get().is_some_and(|workers| self.returned.load(Ordering::Acquire) < *workers)
    }

    /// What the list says of a call from a trunk. `draw` is random.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn judge(&self, from: &str, party: &mut Party, draw: impl FnOnce() -> u64) -> Result<(), Cause> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        match lists.judge(from, party) {
            None => Ok(()),
            Some(Listed::White) => {
                party.whitelisted = true;
                Ok(())
            }
            // The upper bits of the draw as a number below 100.
            Some(Listed::Black { percent, .. }) if ((draw() >> 32) * 100) >> 32 >= percent.into() => Ok(()),
            Some(Listed::Black { for_callee: true, .. }) => Err(Cause::ListedCallee),
            Some(Listed::Black { for_callee: false, .. }) => Err(Cause::ListedCaller),
        }
    }
}

impl TrunkCalls {
    fn new(name: Arc<str>, days: &Arc<DayCounts>) -> TrunkCalls {
        TrunkCalls {
            name,
            days: Arc::clone(days),
            directions: Default::default(),
            arrears: AtomicBool::new(false),
            accounts: RwLock::default(),
            settings: Mutex::default(),
        }
    }

    /// True where no calls are taken from it for want of money: none at all, or none of this user.
    pub(crate) fn is_in_arrears(&self, user: Option<&[u8]>) -> bool {
        self.arrears.load(Ordering::Relaxed) || user.is_some_and(|user| self.accounts().is_in_arrears(user))
    }

    /// Whether a switch refuses a call here.
    ///
    /// # Errors
    /// What does.
    pub(crate) fn screen(&self, direction: Direction, party: &Party) -> Result<(), Cause> {
        let numbers = self.numbers(direction);
        if numbers.calls == Some(0) {
            return Err(Cause::Shut);
        }
        if numbers.refuse_anonymous && party.anonymous {
            return Err(Cause::Anonymous);
        }
        Ok(())
    }

    /// Whether the called number is barred.
    ///
    /// # Errors
    /// It is.
    pub(crate) fn bar(limits: &DirectionLimits, party: &Party) -> Result<(), Cause> {
        let barred = |called: &[u8]| limits.barred.matches(called) && !limits.barred_except.matches(called);
        if !party.whitelisted && barred(&party.called) { Err(Cause::Barred) } else { Ok(()) }
    }

    /// Takes everything that a call needs here, or nothing.
    ///
    /// # Errors
    /// What there is none of.
    pub(crate) fn seize(
        this: &Arc<TrunkCalls>,
        direction: Direction,
        limits: &DirectionLimits,
        party: &Party,
        moment: Moment,
    ) -> Result<Seizure, Cause> {
        let caller = party.caller.as_deref();
        let mut calls = this.calls(direction);
        if !moment.transfer {
            calls.room(caller, moment.restoring)?;
        }
        let most = calls.numbers.calls_per_callee_a_day;
        let most = most.filter(|_| !limits.uncounted_callees.matches(&party.called));
        let mut callee = None;
        if let Some(most) = most {
            let who = this.days.callee(&this.name, direction, &party.called);
            match this.days.called(who, moment.day) {
                Called::Times(times) if times >= most => return Err(Cause::Callee),
                Called::Full if !moment.pass_when_full || most == 0 => return Err(Cause::CalleesFull),
                Called::Full => {}
                Called::Times(_) => callee = Some((who, moment.day)),
            }
        }
        let token = calls.take(moment.now)?;
        // The table is shared with other trunks: its last place may have gone meanwhile.
        if let Some((who, _)) = callee {
            callee = this.days.count(who, moment.day).map(|day| (who, day));
            if callee.is_none() && !moment.pass_when_full {
                if token {
                    calls.put_back();
                }
                return Err(Cause::CalleesFull);
            }
        }
        calls.enter(caller);
        let (trunk, caller) = (Arc::clone(this), party.caller.clone());
        Ok(Seizure { trunk, direction, caller, token, callee, sent: false })
    }

    /// Counts a call that is up already, whatever the limit.
    pub(crate) fn restore(this: &Arc<TrunkCalls>, direction: Direction, caller: Option<Box<[u8]>>) -> Seizure {
        this.calls(direction).enter(caller.as_deref());
        Seizure { trunk: Arc::clone(this), direction, caller, token: false, callee: None, sent: true }
    }

    /// A call holds nothing here any more.
    pub(super) fn release(&self, seizure: &Seizure) {
        let mut calls = self.calls(seizure.direction);
        calls.leave(seizure.caller.as_deref());
        if seizure.token {
            calls.put_back();
        }
        if let Some((who, day)) = seizure.callee.filter(|_| !seizure.sent) {
            self.days.give_back(who, day);
        }
    }

    /// A call was refused.
    pub(crate) fn refused(&self, direction: Direction, cause: Cause) {
        self.directions[direction.index()].refused[cause.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls were refused.
    pub(super) fn refusals(&self, direction: Direction) -> [u64; Cause::ALL.len()] {
        self.directions[direction.index()].refused.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn calls(&self, direction: Direction) -> MutexGuard<'_, Calls> {
        lock(&self.directions[direction.index()].calls)
    }

    fn numbers(&self, direction: Direction) -> Numbers {
        self.calls(direction).numbers
    }

    /// From now on these are the limits.
    pub(super) fn apply(&self, settings: &Settings) {
        let (mut numbers, mut arrears) = (settings.configured, settings.arrears);
        for (key, value) in &settings.set {
            key.set(&mut numbers, &mut arrears, *value);
        }
        if numbers.iter().any(|numbers| numbers.calls_per_callee_a_day.is_some()) {
            self.days.reserve();
        }
        for direction in Direction::BOTH {
            self.calls(direction).numbers = numbers[direction.index()];
        }
        self.arrears.store(arrears, Ordering::Relaxed);
    }
}

/// What these locks guard is whole between any two statements: a panic while one was held has broken nothing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
