//! The INVITE client transaction (RFC 3261 section 17.1.1, RFC 6026 section 7.2).
//!
//! ```text
//!                        | INVITE sent: start A, B
//!                        v
//!                  +------------+-- A: repeat, restart A
//!      +-----------|  Calling   |-- B: timed out ------------> Terminated
//!      |     +-----|            |-- broken: unreachable ------> Terminated
//!      |     |     +------------+
//!      |     |           | 1xx: pass, stop A and B
//!      |     |           v
//!      |     |     +------------+-- 1xx: pass
//!      |     |     | Proceeding |-- Cancelled: timed out ----> Terminated
//!      |     |     +------------+
//!      |     |       |        |
//!      | 2xx: pass,  |        | 3xx-6xx: ACK, pass,
//!      | start M     |        | start D
//!      |     |       v        v
//!      |     |  +----------+  +-----------+
//!      |     +->| Accepted |  | Completed |-- 3xx-6xx: ACK
//!      |        |          |  |           |-- D -------------> Terminated
//!      |        +----------+  +-----------+
//!      |           |  | 2xx: pass   ^
//!      |           |  +- to itself  | 3xx-6xx: ACK, pass, start D
//!      +-----------|----------------+
//!                  | M -------------------------------------> Terminated
//! ```

use super::machine::{Action, Input, Row};
use super::timer::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing has come back.
    Calling,
    /// A 1xx has.
    Proceeding,
    /// A 2xx has; others may follow, from other branches or again.
    Accepted,
    /// A failure has, and is acknowledged as often as it comes.
    Completed,
    Terminated,
}

/// What happens once the INVITE is sent.
pub(crate) const START: &[Action] = &[Action::Start(Timer::A), Action::Start(Timer::B)];

pub(crate) const TABLE: &[Row<State>] = {
    use Action::*;
    use Input::*;
    use State::*;
    use Timer::*;
    &[
        (Calling, Fires(A), &[Repeat, Again(A)], Calling),
        (Calling, Fires(B), &[TimedOut], Terminated),
        (Calling, Broken, &[Unreachable], Terminated),
        (Calling, Provisional, &[StopRepeat, StopExpiry, Pass], Proceeding),
        (Calling, Success, &[StopRepeat, Start(M), Pass], Accepted),
        (Calling, Failure, &[StopRepeat, Start(D), Acknowledge, Pass], Completed),
        (Proceeding, Provisional, &[Pass], Proceeding),
        (Proceeding, Success, &[Start(M), Pass], Accepted),
        (Proceeding, Failure, &[Start(D), Acknowledge, Pass], Completed),
        (Proceeding, Fires(Cancelled), &[TimedOut], Terminated),
        (Accepted, Success, &[Pass], Accepted),
        (Accepted, Fires(M), &[], Terminated),
        (Completed, Failure, &[Acknowledge], Completed),
        (Completed, Fires(D), &[], Terminated),
    ]
};

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, walk};
    use super::*;

    #[test]
    fn every_state_and_input() {
        use State::*;
        let states = [Calling, Proceeding, Accepted, Completed, Terminated];
        walk(TABLE, &states, Calling, Terminated, Machine::InviteClient);
    }
}
