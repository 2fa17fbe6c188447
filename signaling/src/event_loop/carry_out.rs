//! What a worker wants done, and how it leaves: at once, or when the journal has what it tells of.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moorline_b2bua::locate::Failure;
use moorline_b2bua::verify::Verdict;
use moorline_b2bua::{Input, MediaInput, Observation, Output};
use moorline_control::{Refusal, RefusalCode, Reply};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;
use tokio::time::timeout;
use tracing::warn;

use super::held::Step;
use super::{BINDINGS, EventLoop};
use crate::cdr::PATIENCE;
use crate::clock::now_ns;

impl EventLoop {
    /// The one place where outputs are carried out. Whether the message that came from `source` was forwarded by them
    /// at once, which no observation tells of, is measured here.
    pub(super) fn carry_out(&mut self, source: Option<(Flow, u64)>) {
        let (mut crossed, mut told, mut holds) = (false, false, false);
        self.held.next_input();
        loop {
            let Some(output) = self.worker.poll_output() else {
                // Only now it is known what is to be written down before.
                let Some(step) = self.steps.pop_front() else { break };
                let measures = matches!(step, Step::Observe(_) | Step::Forwarded(_));
                match self.held.hold(&mut self.index, step) {
                    Some(step) if measures && holds => self.held.behind(step),
                    Some(step) => self.carry_out_step(step),
                    None => holds = true,
                }
                continue;
            };
            match output {
                Output::Transmit { flow, bytes } => {
                    crossed |= source.is_some_and(|(source, _)| flow != source);
                    self.steps.push_back(Step::Transmit { flow, bytes });
                }
                Output::Media { request, body } => self.steps.push_back(Step::Media { request, body }),
                Output::Observe(observation) => {
                    use Observation::{AnswerForwarded, InviteForwarded};
                    told |= matches!(observation, InviteForwarded { .. } | AnswerForwarded { .. });
                    self.steps.push_back(Step::Observe(observation));
                }
                Output::Record(mark) => self.held.mark(mark),
                Output::Name { remote, name } => self.streams.name(remote, name),
                Output::Dns(query) => {
                    let number = query.number;
                    if !self.questions.put(query) {
                        let answer = Err(Failure::Unavailable);
                        self.worker.handle(self.now, Input::Dns { number, answer });
                    }
                }
                Output::Tell(news) => {
                    self.outbox.tell(&news);
                    self.tell();
                    self.statistics.news_delayed += u64::from(!self.outbox.is_empty());
                }
                Output::Counted => {
                    if !self.held.counted() {
                        self.limits.write_counts();
                    }
                }
                Output::Store { key, value, expires_at } => self.store(&key, value, expires_at),
                Output::Verify { request, question } => {
                    let asked = self.verdicts.as_ref().is_some_and(|(questions, _)| questions.put(request, question));
                    if !asked {
                        let verdict = Verdict::Unavailable;
                        self.worker.handle(self.now, Input::Verdict { request, verdict });
                    }
                }
            }
        }
        if let Some((_, received_at)) = source.filter(|_| crossed && !told) {
            match Step::Forwarded(received_at) {
                step if holds => self.held.behind(step),
                step => self.carry_out_step(step),
            }
        }
    }

    fn carry_out_step(&mut self, step: Step) {
        match step {
            Step::Transmit { flow, bytes } => self.transmit(flow, bytes),
            Step::Observe(observation) => self.observed.push(observation),
            Step::Forwarded(received_at) => self.forwarded.push(received_at),
            Step::Media { request, body } => {
                if !self.media.push(request, body) {
                    // The worker refuses the call or asks again, as it does when the media process is busy.
                    self.statistics.media_overflows += 1;
                    let reply = Reply::Refused(Refusal::new(RefusalCode::Busy, "too many requests are waiting"));
                    self.worker.handle(self.now, Input::Media(MediaInput::Reply { request, reply }));
                }
            }
        }
    }

    /// Lets go what need not wait any more.
    pub(super) fn release(&mut self) {
        self.held.look(now_ns());
        while let Some(step) = self.held.next() {
            self.carry_out_step(step);
        }
        // A media process that was too busy may have led to more.
        self.carry_out(None);
    }

    /// Lets go what waits, if it need not wait for too long, and ends.
    pub(super) async fn end(mut self) {
        self.held.hand_over(self.now);
        let until_written = async {
            while !self.held.is_empty() {
                self.held.told().await;
                self.release();
            }
        };
        if timeout(PATIENCE, until_written).await.is_err() {
            self.held.give_up();
            self.release();
        }
        self.flush();
        self.media.finish().await;
    }

    /// Tells the other workers what they have room for.
    pub(super) fn tell(&mut self) {
        let workers = &self.workers;
        self.outbox.deliver(|worker, news| workers.tell(worker, news));
    }

    /// Writes something down. What there is no room for is written with its next change.
    fn store(&mut self, key: &[u8], value: Option<Vec<u8>>, expires_at: u64) {
        let Some(store) = &mut self.store else { return };
        let expires = SystemTime::now() + Duration::from_nanos(expires_at.saturating_sub(self.now));
        let taken = match value {
            Some(value) => store.put(BINDINGS, key, value, Some(expires)),
            None => store.remove(BINDINGS, key),
        };
        if let Err(problem) = taken {
            warn!("a registration is not written down: {problem}");
        }
    }

    pub(super) fn transmit(&mut self, flow: Flow, bytes: Arc<[u8]>) {
        if flow.transport == Transport::Udp {
            self.edge.sent_to(self.now, flow);
            self.udp.send(flow.listener, flow.remote, bytes);
            return;
        }
        if !self.streams.transmit(flow, bytes) {
            self.statistics.stream_overflows += 1;
            self.broken.push(flow);
        }
    }

    /// Sends what waits, and measures what it tells of.
    pub(super) fn flush(&mut self) {
        self.held.hand_over(self.now);
        self.release();
        self.udp.flush();
        self.tell();
        self.statistics.attempts(self.now, self.worker.counters().attempts);
        if self.observed.is_empty() && self.forwarded.is_empty() {
            return;
        }
        let now = now_ns();
        self.observed.drain(..).for_each(|observation| self.statistics.observe(now, observation));
        self.forwarded.drain(..).for_each(|received_at| self.statistics.forwarded(now, received_at));
    }
}
