//! The server transaction of all other requests (RFC 3261 section 17.2.2).
//!
//! ```text
//!                   | request came: pass
//!                   v
//!              +---------+
//!       +------| Trying  |-- request: absorbed
//!       |      +---------+
//!       |           | 1xx from user: send
//!       |           v
//!       |    +------------+-- request: repeat the response
//!       |    | Proceeding |-- 1xx from user: send
//!       |    +------------+
//!       |           | 2xx-6xx from user: send, start J
//!       |           v
//!       |     +-----------+
//!       +---->| Completed |-- request: repeat the response
//!   2xx-6xx   +-----------+
//!   as below        | J
//!                   v
//!             +------------+
//!             | Terminated |
//!             +------------+
//! ```

use super::machine::{Action, Input, Row};
use super::timer::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The user has not answered.
    Trying,
    /// The user has answered provisionally.
    Proceeding,
    /// The user has answered.
    Completed,
    Terminated,
}

pub(crate) const TABLE: &[Row<State>] = {
    use Action::*;
    use Input::*;
    use State::*;
    use Timer::*;
    &[
        (Trying, Provisional, &[Respond], Proceeding),
        (Trying, Success, &[Respond, Start(J)], Completed),
        (Trying, Failure, &[Respond, Start(J)], Completed),
        (Proceeding, Request, &[Repeat], Proceeding),
        (Proceeding, Provisional, &[Respond], Proceeding),
        (Proceeding, Success, &[Respond, Start(J)], Completed),
        (Proceeding, Failure, &[Respond, Start(J)], Completed),
        (Completed, Request, &[Repeat], Completed),
        (Completed, Fires(J), &[], Terminated),
    ]
};

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, walk};
    use super::*;

    #[test]
    fn every_state_and_input() {
        use State::*;
        walk(TABLE, &[Trying, Proceeding, Completed, Terminated], Trying, Terminated, Machine::Server);
    }
}
