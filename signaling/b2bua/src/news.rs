//! What the workers of a process tell each other.

use crate::locate::{Hop, Rest};
use crate::registrar::{Aor, Binding};

/// What one worker has learnt and all others of its process need: [`Output::Tell`](crate::Output::Tell) brings it out
/// and [`Input::News`](crate::Input::News) in. It replaces what was told of the same thing before.
#[derive(Debug, Clone)]
pub struct News(pub(crate) Told);

#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// How long a hop rests; `None` if it is alive.
    Hop(Hop, Option<Rest>),
    /// The way that calls to a trunk take, as its registrar has said.
    Route(usize, Vec<Vec<u8>>),
    /// The bindings of a user.
    Bindings(Aor, Vec<Binding>),
}
