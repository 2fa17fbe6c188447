//! Sessions that come and go.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use moorline_control::{Reply, Request, SessionId};

use super::client::{Client, Sides};
use crate::commands::process::Error;

const TICK: Duration = Duration::from_millis(1);

/// What is to come and go.
pub(super) struct Churn {
    pub(super) per_second: u32,
    pub(super) hold: Duration,
    /// When it begins.
    pub(super) begins: Duration,
    pub(super) sides: Sides,
}

/// What became of it.
pub(super) struct Figures {
    opened: u64,
    pub(super) refused: u64,
    seconds: f64,
    /// From sending an open until its answer was there.
    answer_us: Histogram<u64>,
}

impl Churn {
    /// Opens and closes until the channel ends, then closes all that is held, and the steady sessions.
    pub(super) fn run(&self, mut client: Client, stopped: &Receiver<()>) -> Result<Figures, Error> {
        let mut figures =
            Figures { opened: 0, refused: 0, seconds: 0.0, answer_us: Histogram::new_with_bounds(1, 10_000_000, 3)? };
        let mut held: VecDeque<(Instant, SessionId)> = VecDeque::new();
        let goes_on = |wait| matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
        let mut running = goes_on(self.begins);
        let began = Instant::now();
        let mut asked = 0;
        while running {
            let now = Instant::now();
            let due = ((now - began).as_secs_f64() * f64::from(self.per_second)) as u64;
            let mut requests = Vec::new();
            // What could not be asked for in time is made up for, a second's worth at most.
            asked = asked.max(due.saturating_sub(self.per_second.into()));
            let opening: Vec<SessionId> = (asked..due)
                .map(|_| {
                    let (session, request) = client.opening(self.sides);
                    requests.push(request);
                    session
                })
                .collect();
            asked = due;
            while let Some((_, session)) = held.pop_front_if(|(since, _)| now - *since >= self.hold) {
                requests.push(Request::Close { session });
            }
            let sent = Instant::now();
            client.ask(requests, |place, reply| match (opening.get(place), reply) {
                (Some(session), Reply::Opened(_)) => {
                    figures.opened += 1;
                    figures.answer_us.saturating_record(sent.elapsed().as_micros() as u64);
                    held.push_back((sent, *session));
                }
                (None, Reply::Closed(Some(_))) => {}
                _ => figures.refused += 1,
            })?;
            running = goes_on(TICK.saturating_sub(now.elapsed()));
        }
        figures.seconds = began.elapsed().as_secs_f64();
        let left = held.into_iter().map(|(_, session)| Request::Close { session }).collect();
        client.ask(left, |_, reply| figures.refused += u64::from(!matches!(reply, Reply::Closed(Some(_)))))?;
        let steady = client.steady().map(|session| Request::Close { session }).collect();
        client.ask(steady, |_, _| ())?;
        Ok(figures)
    }
}

impl Figures {
    fn per_second(&self) -> f64 {
        self.opened as f64 / self.seconds.max(0.001)
    }

    pub(super) fn key_values(&self) -> String {
        let p99 = self.answer_us.value_at_quantile(0.99);
        format!("opens_per_second={:.0}\nopen_p99_us={p99}\nrefused={}", self.per_second(), self.refused)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|quantile| self.answer_us.value_at_quantile(quantile));
        write!(
            f,
            "sessions: {} opened, {:.0} a second, answered within p50 {p50} µs, p99 {p99} µs, {} requests refused",
            self.opened,
            self.per_second(),
            self.refused
        )
    }
}
