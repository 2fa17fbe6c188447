//! What the four machines have in common: what they react to, what they do, and how a table is read.

use super::timer::Timer;
use super::{client, invite_client, invite_server, server};

/// What a machine reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Server: the request came again.
    Request,
    /// INVITE server: an ACK came.
    Ack,
    /// A 1xx: received by a client, sent by the user of a server.
    Provisional,
    /// A 2xx, likewise.
    Success,
    /// A 3xx to 6xx, likewise.
    Failure,
    /// Client: the request could not be delivered, or its connection broke.
    Broken,
    /// A timer ran out.
    Fires(Timer),
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a timer. Each transaction has one that repeats and one that ends a state: it replaces its like.
    Start(Timer),
    /// Start a repeating timer with its next, longer interval.
    Again(Timer),
    /// Start a repeating timer with T2.
    Slow(Timer),
    /// Stop the repeating timer.
    StopRepeat,
    /// Stop the other timer.
    StopExpiry,
    /// Send the last message again: the request of a client, the last response of a server.
    Repeat,
    /// Send the response that the user gave, and keep it for [`Action::Repeat`].
    Respond,
    /// Send the ACK to a failure; made at the first, kept for the others.
    Acknowledge,
    /// Give the message to the user.
    Pass,
    /// Tell the user that the far side does not answer.
    TimedOut,
    /// Tell the user that the far side cannot be reached.
    Unreachable,
    /// Tell the user that no ACK came.
    NoAck,
}

/// A row of a machine's table: in this state, on this input, do this and go there.
pub(crate) type Row<S> = (S, Input, &'static [Action], S);

/// The row for a state and an input; without one, the input is ignored.
pub(crate) fn find<S: Copy + PartialEq>(table: &'static [Row<S>], state: S, input: Input) -> Option<&'static Row<S>> {
    table.iter().find(|row| row.0 == state && row.1 == input)
}

/// A machine in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    InviteClient(invite_client::State),
    Client(client::State),
    InviteServer(invite_server::State),
    Server(server::State),
}

impl Machine {
    /// Reacts to an input: the actions to take, in order.
    pub(crate) fn step(&mut self, input: Input) -> &'static [Action] {
        fn go<S: Copy + PartialEq>(table: &'static [Row<S>], state: &mut S, input: Input) -> &'static [Action] {
            match find(table, *state, input) {
                Some((_, _, actions, next)) => {
                    *state = *next;
                    actions
                }
                None => &[],
            }
        }
        match self {
            Machine::InviteClient(state) => go(invite_client::TABLE, state, input),
            Machine::Client(state) => go(client::TABLE, state, input),
            Machine::InviteServer(state) => go(invite_server::TABLE, state, input),
            Machine::Server(state) => go(server::TABLE, state, input),
        }
    }

    /// Whether the transaction is over.
    pub(crate) fn is_terminated(self) -> bool {
        matches!(
            self,
            Machine::InviteClient(invite_client::State::Terminated)
                | Machine::Client(client::State::Terminated)
                | Machine::InviteServer(invite_server::State::Terminated)
                | Machine::Server(server::State::Terminated)
        )
    }

    /// Whether it is not over, but has nothing to repeat any more: a client's request is answered (an INVITE that was
    /// refused still has its ACK to repeat), a server's refusal acknowledged.
    pub(crate) fn has_sent_all(self) -> bool {
        matches!(
            self,
            Machine::InviteClient(invite_client::State::Accepted)
                | Machine::Client(client::State::Completed)
                | Machine::InviteServer(invite_server::State::Confirmed)
        )
    }

    /// Whether it belongs to the side that sends requests.
    pub(crate) fn is_client(self) -> bool {
        matches!(self, Machine::InviteClient(_) | Machine::Client(_))
    }

    /// What a client does when it starts, after it sent its request.
    pub(crate) fn start(self) -> &'static [Action] {
        match self {
            Machine::InviteClient(_) => invite_client::START,
            Machine::Client(_) => client::START,
            Machine::InviteServer(_) | Machine::Server(_) => &[],
        }
    }
}

/// Walks every state and input of a table, and checks that what is written down is what happens, that no row hides
/// another, that every state is entered, and that no row leaves the last one.
#[cfg(test)]
pub(crate) fn walk<S: Copy + PartialEq + std::fmt::Debug>(
    table: &'static [Row<S>],
    states: &[S],
    start: S,
    end: S,
    machine: impl Fn(S) -> Machine,
) {
    let inputs = [Input::Request, Input::Ack, Input::Provisional, Input::Success, Input::Failure, Input::Broken]
        .into_iter()
        .chain(Timer::ALL.map(Input::Fires));
    for input in inputs {
        for &state in states {
            let rows: Vec<_> = table.iter().filter(|row| row.0 == state && row.1 == input).collect();
            let mut walked = machine(state);
            let actions = walked.step(input);
            match rows[..] {
                [] => {
                    assert_eq!(walked, machine(state), "{input:?} must leave {state:?} as it is");
                    assert!(actions.is_empty());
                }
                [row] => {
                    assert_ne!(state, end, "nothing happens after the end");
                    assert_eq!((walked, actions), (machine(row.3), row.2));
                }
                _ => panic!("two rows for {state:?} and {input:?}"),
            }
        }
    }
    for &state in states {
        assert!(state == start || table.iter().any(|row| row.3 == state), "{state:?} is never entered");
        assert!(state == end || table.iter().any(|row| row.0 == state && row.3 != state), "{state:?} is never left");
    }
    for (state, input, actions, next) in table {
        for action in *actions {
            if let Action::Start(timer) | Action::Again(timer) | Action::Slow(timer) = action {
                assert!(
                    find(table, *next, Input::Fires(*timer)).is_some(),
                    "{state:?} on {input:?} starts {timer:?}, which does nothing in {next:?}"
                );
            }
        }
    }
}
