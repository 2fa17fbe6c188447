//! The INVITE server transaction (RFC 3261 section 17.2.1, RFC 6026 section 7.1).
//!
//! The 100 is the user's to send. In Accepted the user repeats the 2xx until the ACK comes.
//!
//! ```text
//!                      | INVITE came: pass
//!                      v
//!               +------------+-- INVITE: repeat the last response
//!      +--------| Proceeding |-- 1xx from user: send
//!      |        +------------+
//!      | 2xx from      | 3xx-6xx from user: send, start G, H
//!      | user: send,   v
//!      | start L +-----------+-- INVITE: repeat the response
//!      |         | Completed |-- G: repeat the response, restart G
//!      |         |           |-- H: no ACK -------------------------+
//!      |         +-----------+                                      |
//!      v               | ACK: stop G, start I                       |
//!  +----------+        v                                            |
//!  | Accepted |   +-----------+                                     |
//!  |          |   | Confirmed |-- I ------------------------------+ |
//!  +----------+   +-----------+                                   | |
//!   ACK: pass                                                     v v
//!   2xx from user: send                                   +------------+
//!   L --------------------------------------------------->| Terminated |
//!                                                         +------------+
//! ```

use super::machine::{Action, Input, Row};
use super::timer::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The user has not answered finally.
    Proceeding,
    /// The user has accepted; repeated INVITEs are absorbed until no more can come.
    Accepted,
    /// The user has refused; the ACK is awaited.
    Completed,
    /// The ACK has come; more of it are absorbed.
    Confirmed,
    Terminated,
}

pub(crate) const TABLE: &[Row<State>] = {
    use Action::*;
    use Input::*;
    use State::*;
    use Timer::*;
    &[
        (Proceeding, Request, &[Repeat], Proceeding),
        (Proceeding, Provisional, &[Respond], Proceeding),
        (Proceeding, Success, &[Respond, Start(L)], Accepted),
        (Proceeding, Failure, &[Respond, Start(G), Start(H)], Completed),
        (Accepted, Success, &[Respond], Accepted),
        (Accepted, Ack, &[Pass], Accepted),
        (Accepted, Fires(L), &[], Terminated),
        (Completed, Request, &[Repeat], Completed),
        (Completed, Fires(G), &[Repeat, Again(G)], Completed),
        (Completed, Ack, &[StopRepeat, Start(I)], Confirmed),
        (Completed, Fires(H), &[NoAck], Terminated),
        (Confirmed, Fires(I), &[], Terminated),
    ]
};

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, walk};
    use super::*;

    #[test]
    fn every_state_and_input() {
        use State::*;
        let states = [Proceeding, Accepted, Completed, Confirmed, Terminated];
        walk(TABLE, &states, Proceeding, Terminated, Machine::InviteServer);
    }
}
