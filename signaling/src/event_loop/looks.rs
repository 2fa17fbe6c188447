//! What is looked at before each input: the wall clock, and whether there is another policy.

use std::sync::Arc;

use moorline_b2bua::Input;

use super::EventLoop;
use crate::clock::now_ns;

impl EventLoop {
    /// Tells the worker what the wall clock shows, now and then.
    pub(super) fn look_at_the_wall(&mut self, now: u64) {
        if let Some(wall) = self.wall_clock.read(now) {
            self.handle(now, Input::Wall(wall));
        }
    }

    /// Goes on by a new policy, if there is one (`seen`, or not yet): before anything is handled that another thread may
    /// have made by it.
    pub(super) fn look_at_the_policy(&mut self, seen: bool) {
        if seen || self.policies.has_changed().unwrap_or_default() {
            self.policy = Arc::clone(&self.policies.borrow_and_update());
            self.handle(now_ns(), Input::Policy(Arc::clone(&self.policy)));
        }
    }
}
