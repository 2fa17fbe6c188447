//! What is looked at before each input: the wall clock, and whether there is another policy.

use std::sync::Arc;

use moorline_b2bua::Input;

use super::EventLoop;
use crate::clock::{WallClock, now_ns};

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
            self.follow_settings();
            self.handle(now_ns(), Input::Policy(Arc::clone(&self.policy)));
        }
    }

    /// Goes on by other settings, if there are some: they were published before the policy.
    fn follow_settings(&mut self) {
        if !self.settings.has_changed().unwrap_or_default() {
            return;
        }
        let settings = Arc::clone(&self.settings.borrow_and_update());
        self.edge.set_bounds(settings.overload);
        self.questions.ask_by(&settings.dns);
        // That there is such a zone was looked at before.
        if let Ok(wall_clock) = WallClock::new(settings.time_zone.as_deref()) {
            self.wall_clock = wall_clock;
            self.look_at_the_wall(now_ns());
        }
    }
}
