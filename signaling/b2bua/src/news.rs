//! What the workers of a process tell each other.

use std::collections::{HashMap, VecDeque};

use crate::locate::{Hop, Rest};
use crate::registrar::{Aor, Binding};
use crate::transfer::{ReplacedDialog, Replacement};

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
    /// A worker asks for the other end of a dialog that may be another one's.
    Whose { from: usize, number: u64, dialog: ReplacedDialog },
    /// The answer to a worker; `None` where there is no such dialog.
    OtherEnd { to: usize, number: u64, end: Option<Box<Replacement>> },
}

/// What news are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Hop(Hop),
    Route(usize),
    Bindings(Aor),
    Question(usize, u64),
    Answer(usize, u64),
}

impl News {
    fn subject(&self) -> Subject {
        match &self.0 {
            Told::Hop(hop, _) => Subject::Hop(*hop),
            Told::Route(trunk, _) => Subject::Route(*trunk),
            Told::Bindings(aor, _) => Subject::Bindings(aor.clone()),
            Told::Whose { from, number, .. } => Subject::Question(*from, *number),
            Told::OtherEnd { to, number, .. } => Subject::Answer(*to, *number),
        }
    }
}

/// News of one worker on their way to the others. Those that have no room now get them later, and of each thing the
/// latest alone: nothing that counts is lost, and no more waits than there are things to tell of.
#[derive(Debug)]
pub struct Outbox {
    /// By worker; what is for the sender itself stays empty.
    waiting: Vec<Waiting>,
    own: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    latest: HashMap<Subject, News>,
    order: VecDeque<Subject>,
}

impl Outbox {
    /// Of the worker `own` of so many.
    pub fn new(own: usize, workers: usize) -> Outbox {
        Outbox { waiting: (0..workers).map(|_| Waiting::default()).collect(), own }
    }

    /// Takes news for all others.
    pub fn tell(&mut self, news: &News) {
        let subject = news.subject();
        for (worker, waiting) in self.waiting.iter_mut().enumerate() {
            if worker != self.own && waiting.latest.insert(subject.clone(), news.clone()).is_none() {
                waiting.order.push_back(subject.clone());
            }
        }
    }

    /// Gives what waits to `offer`, by worker, until that returns what it has no room for.
    pub fn deliver(&mut self, mut offer: impl FnMut(usize, News) -> Result<(), News>) {
        for (worker, waiting) in self.waiting.iter_mut().enumerate() {
            while let Some(subject) = waiting.order.pop_front() {
                let Some(news) = waiting.latest.remove(&subject) else { continue };
                if let Err(news) = offer(worker, news) {
                    waiting.latest.insert(subject.clone(), news);
                    waiting.order.push_front(subject);
                    break;
                }
            }
        }
    }

    /// How many news wait, each counted for each who waits for it.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.order.len()).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.order.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(trunk: usize, by: &str) -> News {
        News(Told::Route(trunk, vec![by.into()]))
    }

    /// Who is told what, as far as there is room.
    fn deliver(outbox: &mut Outbox, mut room: usize) -> Vec<(usize, usize, String)> {
        let mut told = Vec::new();
        outbox.deliver(|worker, news| {
            if room == 0 {
                return Err(news);
            }
            room -= 1;
            let Told::Route(trunk, by) = news.0 else { panic!("a route was told") };
            told.push((worker, trunk, String::from_utf8(by[0].clone()).unwrap()));
            Ok(())
        });
        told
    }

    #[test]
    fn what_finds_no_room_is_told_later_and_only_the_latest_of_it() {
        let mut outbox = Outbox::new(1, 3);
        outbox.tell(&route(7, "old"));
        outbox.tell(&route(8, "b"));
        assert_eq!(deliver(&mut outbox, 0), []);
        outbox.tell(&route(7, "new"));
        assert_eq!(outbox.len(), 4, "two things, for two others");
        assert_eq!(deliver(&mut outbox, 1), [(0, 7, "new".into())]);
        outbox.tell(&route(7, "newer"));
        let rest = [(0, 8, "b"), (0, 7, "newer"), (2, 7, "newer"), (2, 8, "b")];
        assert_eq!(deliver(&mut outbox, 9), rest.map(|(worker, trunk, by)| (worker, trunk, by.to_owned())));
        assert!(outbox.is_empty());
    }
}
