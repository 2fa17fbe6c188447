//! The client transaction of all other requests (RFC 3261 section 17.1.2).
//!
//! ```text
//!                      | request sent: start E, F
//!                      v
//!                 +---------+
//!        +--------| Trying  |-- E: repeat, restart E
//!        |        |         |-- F: timed out ------------+
//!        |        |         |-- broken: unreachable -----+
//!        |        +---------+                            |
//!        |             | 1xx: pass                       |
//!        |             v                                 |
//!        |       +------------+-- 1xx: pass              |
//!        |       | Proceeding |-- E: repeat, E is T2     |
//!        |       |            |-- F: timed out --------+ |
//!        |       +------------+                        | |
//!        |             | 2xx-6xx: pass, stop E,        | |
//!        |             v          start K              | |
//!        |       +------------+                        v v
//!        +------>| Completed  |-- K ----------> +------------+
//!   2xx-6xx:     +------------+                 | Terminated |
//!   as below                                    +------------+
//! ```

use super::machine::{Action, Input, Row};
use super::timer::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing has come back.
    Trying,
    /// A 1xx has.
    Proceeding,
    /// The final response has, and is not passed again.
    Completed,
    Terminated,
}

/// What happens once the request is sent.
pub(crate) const START: &[Action] = &[Action::Start(Timer::E), Action::Start(Timer::F)];

pub(crate) const TABLE: &[Row<State>] = {
    use Action::*;
    use Input::*;
    use State::*;
    use Timer::*;
    &[
        (Trying, Fires(E), &[Repeat, Again(E)], Trying),
        (Trying, Fires(F), &[TimedOut], Terminated),
        (Trying, Broken, &[Unreachable], Terminated),
        (Trying, Provisional, &[Pass], Proceeding),
        (Trying, Success, &[StopRepeat, Start(K), Pass], Completed),
        (Trying, Failure, &[StopRepeat, Start(K), Pass], Completed),
        (Proceeding, Fires(E), &[Repeat, Slow(E)], Proceeding),
        (Proceeding, Fires(F), &[TimedOut], Terminated),
        (Proceeding, Provisional, &[Pass], Proceeding),
        (Proceeding, Success, &[StopRepeat, Start(K), Pass], Completed),
        (Proceeding, Failure, &[StopRepeat, Start(K), Pass], Completed),
        (Completed, Fires(K), &[], Terminated),
    ]
};

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, walk};
    use super::*;

    #[test]
    fn every_state_and_input() {
        use State::*;
        walk(TABLE, &[Trying, Proceeding, Completed, Terminated], Trying, Terminated, Machine::Client);
    }
}
