//! The thread that follows hops: it carries orders, events and time to [`Follow`], and out what follows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::follow::{Follow, Id, Output};
use super::netlink::{Event, Kernel, News, has_legacy_tables};
use super::slots::Status;
use super::{Firewall, HopTable, Order, Outward, Reason, Shared};
use crate::shard::clock::monotonic_ns;

/// What is done of each in one turn.
const ORDERS: usize = 1024;
const EVENTS: usize = 256;
const QUESTIONS: usize = 64;
/// After the kernel could not be read.
const RETRY_NS: u64 = 1_000_000_000;
/// Between two looks for what no event tells.
const LOOK_NS: u64 = 5_000_000_000;

/// Starts it when all has been read for the first time.
pub(super) fn start(
    shared: Arc<Shared>,
    ranges: Vec<Outward>,
    table: Option<Arc<dyn HopTable>>,
    firewall: Firewall,
    receive_buffer: Option<usize>,
) -> io::Result<JoinHandle<()>> {
    // Both belong to the network namespace of this thread.
    let (news, kernel) = (News::subscribe(receive_buffer, firewall)?, Kernel::open(firewall)?);
    let served = table.clone();
    let serves = Box::new(move |interface| served.as_deref().is_none_or(|table| table.serves(interface)));
    let follow = Follow::new(ranges, serves);
    let now = monotonic_ns();
    let look_at = (firewall == Firewall::Heeded).then_some(now);
    let mut worker = Worker {
        shared,
        follow,
        news,
        kernel,
        table,
        firewall,
        look_at,
        legacy_tables: false,
        retry_at: None,
        refused: false,
        figures: [0; 3],
    };
    worker.follow.picture(now, worker.kernel.picture()?);
    worker.inherit(now);
    std::thread::Builder::new().name("routes".to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            tracing::error!("routes are not followed any more: the kernel sends all media");
        }
        if !worker.shared.stopping.load(Ordering::Acquire) {
            worker.give_up();
        }
    })
}

struct Worker {
    shared: Arc<Shared>,
    follow: Follow,
    news: News,
    kernel: Kernel,
    table: Option<Arc<dyn HopTable>>,
    firewall: Firewall,
    /// When it is looked for tables of the firewall of which no event tells, and whether there were any.
    look_at: Option<u64>,
    legacy_tables: bool,
    /// The kernel could not be read; then it is tried again.
    retry_at: Option<u64>,
    /// A neighbour could not be said to be in use: told once.
    refused: bool,
    /// Questions, neighbours said to be in use, and lost events.
    figures: [u64; 3],
}

impl Worker {
    fn run(&mut self) {
        while !self.shared.stopping.load(Ordering::Acquire) {
            let now = monotonic_ns();
            let more_orders = self.take_orders(now);
            let more_news = self.read_news(now);
            self.follow.handle_timeout(now);
            self.ask();
            self.carry_out();
            self.publish_figures();
            let questions = self.follow.has_questions() && self.retry_at.is_none();
            if !more_orders && !more_news && !questions {
                self.sleep();
            }
        }
    }

    /// True if there may be more.
    fn take_orders(&mut self, now: u64) -> bool {
        let queues = self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut more = false;
        for queue in queues.iter() {
            for _ in 0..ORDERS {
                match queue.pop() {
                    Some(Order::Follow { hop, key }) => self.follow.follow(now, hop, key),
                    Some(Order::Leave { hop }) => self.follow.leave(now, hop),
                    None => break,
                }
            }
            more |= !queue.is_empty();
        }
        more
    }

    /// True if there may be more.
    fn read_news(&mut self, now: u64) -> bool {
        let (mut rules, mut lost) = (self.look_for_tables(now), self.retry_at.is_some_and(|at| at <= now));
        let (follow, figures) = (&mut self.follow, &mut self.figures);
        let read = self.news.read(EVENTS, |event| match event {
            Event::Link(index, link) => follow.link(now, index, link),
            Event::Neighbour(id, standing) => follow.neighbour(now, id, standing),
            Event::Route(change) => follow.route(change),
            Event::Routes => follow.routes_changed(),
            Event::Rules => rules = true,
            Event::Lost => {
                lost = true;
                figures[2] += 1;
            }
        });
        if lost {
            self.look_around(now);
        } else if rules {
            match self.kernel.rules() {
                Ok(rules) => self.follow.rules(rules),
                Err(error) => self.fail(now, &error),
            }
        }
        match read {
            Ok(more) => more,
            Err(error) => {
                self.fail(now, &error);
                false
            }
        }
    }

    /// True if tables of the firewall came or went of which no event tells.
    fn look_for_tables(&mut self, now: u64) -> bool {
        if self.look_at.is_none_or(|at| now < at) {
            return false;
        }
        self.look_at = Some(now.saturating_add(LOOK_NS));
        let before = std::mem::replace(&mut self.legacy_tables, has_legacy_tables());
        before != self.legacy_tables
    }

    /// Reads everything anew.
    fn look_around(&mut self, now: u64) {
        if self.retry_at.is_some() {
            match News::subscribe(None, self.firewall).and_then(|news| Ok((news, Kernel::open(self.firewall)?))) {
                Ok((news, kernel)) => (self.news, self.kernel) = (news, kernel),
                Err(error) => return self.fail(now, &error),
            }
        }
        match self.kernel.picture() {
            Ok(picture) => {
                self.follow.picture(now, picture);
                self.retry_at = None;
            }
            Err(error) => self.fail(now, &error),
        }
    }

    /// The kernel cannot be read: nothing is known until it can be.
    fn fail(&mut self, now: u64, error: &io::Error) {
        if self.retry_at.is_none() {
            tracing::error!(%error, "routes cannot be read: the kernel sends all media until they can be");
            self.follow.blind(now);
        }
        self.retry_at = Some(now.saturating_add(RETRY_NS));
    }

    fn ask(&mut self) {
        if self.retry_at.is_some() {
            return;
        }
        let now = monotonic_ns();
        let questions: Vec<_> = std::iter::from_fn(|| self.follow.poll_question(now)).take(QUESTIONS).collect();
        self.figures[0] += questions.len() as u64;
        match self.kernel.ask(&questions) {
            Ok(answers) => answers.into_iter().for_each(|(hop, answer)| self.follow.answered(now, hop, answer)),
            Err(error) => self.fail(now, &error),
        }
    }

    fn carry_out(&mut self) {
        let mut uses: Vec<Id> = Vec::new();
        while let Some(output) = self.follow.poll_output() {
            let (slots, table) = (&self.shared.slots, self.table.as_deref());
            let kernel = |reason: Option<Reason>| reason.map_or(Status::Changing, Status::Kernel);
            let clear = |hop| table.into_iter().for_each(|table| table.clear(hop));
            match output {
                Output::Invalid { hop, reason } => {
                    slots.set(hop, kernel(reason));
                    clear(hop);
                }
                Output::Said { hop, reason } => slots.set(hop, kernel(reason)),
                Output::Valid { hop, next } => {
                    if table.is_none_or(|table| table.write(hop, &next)) {
                        slots.write(hop, &next);
                    } else {
                        self.follow.unwritten(hop);
                    }
                }
                Output::Left { hop } => {
                    slots.set(hop, Status::Resting);
                    clear(hop);
                }
                Output::Free { hop } => slots.set(hop, Status::Free),
                Output::Use { neighbour } => uses.push(neighbour),
            }
        }
        self.follow.carried_out(monotonic_ns());
        for neighbours in uses.chunks(QUESTIONS) {
            self.figures[1] += neighbours.len() as u64;
            if let Err(error) = self.kernel.use_neighbours(neighbours)
                && !std::mem::replace(&mut self.refused, true)
            {
                tracing::warn!(
                    %error,
                    "the kernel does not look for all neighbours of media: that takes CAP_NET_ADMIN, and room in its \
                     neighbour table (sysctl net.ipv4.neigh.default.gc_thresh3)"
                );
            }
        }
    }

    fn publish_figures(&self) {
        let (followed, valid, changes) = self.follow.figures();
        let [questions, kept_alive, lost] = self.figures;
        let all = [followed as u64, valid as u64, questions, kept_alive, changes, lost];
        for (shown, value) in self.shared.figures.iter().zip(all) {
            shown.store(value, Ordering::Relaxed);
        }
    }

    /// Until something happens or is due.
    fn sleep(&mut self) {
        self.shared.bell.fall_asleep();
        let orders = |shared: &Shared| {
            let queues = shared.orders.lock().unwrap_or_else(PoisonError::into_inner);
            queues.iter().any(|queue| !queue.is_empty())
        };
        if !orders(&self.shared) && !self.shared.stopping.load(Ordering::Acquire) {
            let due = [self.follow.next_timeout(), self.retry_at, self.look_at].into_iter().flatten().min();
            let left_ms = due.map(|due| due.saturating_sub(monotonic_ns()).div_ceil(1_000_000));
            let timeout = left_ms.map_or(PollTimeout::NONE, |ms| PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX));
            let all = std::iter::once(self.shared.bell.descriptor()).chain(self.news.descriptors());
            let mut all: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            if let Err(error) = poll(&mut all, timeout)
                && error != Errno::EINTR
            {
                // Rather look too often than never again.
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        self.shared.bell.wake_up();
    }

    /// What a former process has left valid in the table stays for now.
    fn inherit(&mut self, now: u64) {
        let Some(table) = &self.table else { return };
        let hops: Vec<u32> = (1..=self.shared.slots.capacity()).filter(|hop| table.valid(*hop)).collect();
        hops.iter().for_each(|hop| self.shared.slots.set(*hop, Status::Resting));
        self.follow.inherit(now, hops);
    }

    /// Nobody follows hops any more.
    fn give_up(&self) {
        for hop in 1..=self.shared.slots.capacity() {
            self.shared.slots.set(hop, Status::Kernel(Reason::Unknown));
            if let Some(table) = &self.table {
                table.clear(hop);
            }
        }
    }
}
