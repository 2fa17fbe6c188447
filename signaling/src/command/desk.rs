//! Where operators' questions about calls and trunks are answered: each worker is asked in slices, between two turns of
//! its event loop, so that no call waits for a long list.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use moorline_b2bua::Place;
use moorline_b2bua::cdr::Time;
use moorline_b2bua::inspect::{CallFilter, CallKey, CallView, TrunkReach};
use moorline_control::connection::connect;
use moorline_control::{ClientFrame, ClientHello, ServerFrame, SessionId, SessionReport};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Fault;
use super::replies::{
    CallCounts, CallDetail, CallRow, CallsReply, DrainReply, ListenerReply, RecordsReply, StatusReply, media_legs,
};
use crate::Config;
use crate::admin::{self, Sources};
use crate::event_loop::Question;

/// How long a worker, or the media process, may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Calls, and trunks, that a worker is asked for at once.
const SLICE: usize = 64;

/// Calls that are looked at for one page.
const MAX_LOOKED_AT: usize = 20_000;

/// What is asked, and who knows.
#[derive(Clone)]
pub(crate) struct Desk {
    sources: Sources,
    control: PathBuf,
    node: u16,
    listeners: Vec<ListenerReply>,
    started: (Instant, Time),
}

impl Desk {
    pub(super) fn new(sources: Sources, config: &Config) -> Desk {
        let listeners = config.listeners.iter().map(ListenerReply::from).collect();
        Desk {
            sources,
            control: config.control.clone(),
            node: config.node,
            listeners,
            started: (Instant::now(), now()),
        }
    }

    pub(super) async fn status(&self) -> Result<StatusReply, Fault> {
        let page = admin::ask(&self.sources).await.ok_or_else(stuck)?;
        let counters = &page.sum.counters;
        let calls = &self.sources.calls;
        Ok(StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node,
            started: self.started.1,
            uptime_s: self.started.0.elapsed().as_secs(),
            workers: page.workers,
            draining: calls.is_draining(),
            media_connected: page.sum.media_connected,
            calls: CallCounts {
                now: calls.now(),
                peak: calls.peak(),
                attempts: counters.attempts,
                admitted: counters.calls,
                answered: counters.answered,
            },
            subscriptions: counters.subscriptions_active,
            bindings: counters.bindings,
            targets_resting: counters.targets_resting,
            listeners: self.listeners.clone(),
            records: page.records.as_ref().map(RecordsReply::from),
            shut: calls.is_shut(),
            configuration: self.sources.reloads.in_force(),
        })
    }

    /// No new calls, or new ones again.
    pub(super) fn drain(&self, draining: Option<bool>) -> DrainReply {
        let calls = &self.sources.calls;
        if let Some(draining) = draining {
            calls.drain(draining);
        }
        DrainReply { draining: calls.is_draining(), calls: calls.now() }
    }

    /// How all trunks are reached.
    pub(super) async fn reach(&self) -> Result<Vec<TrunkReach>, Fault> {
        let mut all = Vec::new();
        loop {
            let from = all.len();
            let slice = self.ask(0, |to| Question::Reach(from, SLICE, to)).await?;
            let last = slice.len() < SLICE;
            all.extend(slice);
            if last {
                return Ok(all);
            }
        }
    }

    /// A page of the calls that fit, the oldest first.
    pub(super) async fn calls(
        &self,
        filter: &CallFilter,
        limit: usize,
        after: Option<&str>,
    ) -> Result<CallsReply, Fault> {
        let after = after.map(str::parse::<Cursor>).transpose()?;
        let mut keys = Vec::new();
        for worker in 0..self.sources.workers.len() {
            keys.extend(self.ask(worker, Question::Calls).await?);
        }
        keys.sort_unstable();
        let from = after.map_or(0, |after| keys.partition_point(|key| *key <= after.0));
        let (mut calls, mut last) = (Vec::new(), None);
        let looked_at = keys[from..].chunks(SLICE).take(MAX_LOOKED_AT / SLICE);
        'slices: for slice in looked_at {
            let described = self.describe(slice, filter).await?;
            for (key, view) in slice.iter().zip(described) {
                last = Some(*key);
                calls.extend(view.map(|view| CallRow::of(&view, now())));
                if calls.len() >= limit {
                    break 'slices;
                }
            }
        }
        let more = last.is_some() && last != keys.last().copied();
        Ok(CallsReply { calls, next: last.filter(|_| more).map(|last| Cursor(last).to_string()) })
    }

    /// What there is to be said of calls, in their order.
    async fn describe(&self, keys: &[CallKey], filter: &CallFilter) -> Result<Vec<Option<CallView>>, Fault> {
        let mut views: Vec<Option<CallView>> = keys.iter().map(|_| None).collect();
        for worker in 0..self.sources.workers.len() {
            let here: Vec<usize> = (0..keys.len()).filter(|at| self.owner(keys[*at].id) == worker).collect();
            if here.is_empty() {
                continue;
            }
            let ids: Vec<SessionId> = here.iter().map(|at| keys[*at].id).collect();
            let mut described = self.ask(worker, |to| Question::Describe(ids, filter.clone(), to)).await?.into_iter();
            let mut next = described.next();
            for at in here {
                if next.as_ref().is_some_and(|view| view.record.id == keys[at].id.to_string()) {
                    views[at] = std::mem::replace(&mut next, described.next());
                }
            }
        }
        Ok(views)
    }

    /// A call, with what the media process says of it.
    pub(super) async fn call(&self, id: SessionId) -> Result<CallDetail, Fault> {
        for state in [None, Some(moorline_b2bua::inspect::CallState::Ending)] {
            let filter = CallFilter { state, ..CallFilter::default() };
            let views = self.ask(self.owner(id), |to| Question::Describe(vec![id], filter, to)).await?;
            let Some(view) = views.into_iter().next() else { continue };
            let media =
                timeout(PATIENCE, self.media_report(id)).await.unwrap_or_else(|_| Err("it does not answer".into()));
            return Ok(CallDetail::of(view, now(), media.map(|report| media_legs(&report))));
        }
        Err(no_call(id))
    }

    /// Ends a call.
    pub(super) async fn hang_up(&self, id: SessionId) -> Result<(), Fault> {
        let known = self.ask(self.owner(id), |to| Question::HangUp(id, to)).await?;
        if known { Ok(()) } else { Err(no_call(id)) }
    }

    /// Asked on a connection of its own: the worker's is for calls.
    async fn media_report(&self, id: SessionId) -> Result<SessionReport, String> {
        let hello = ClientHello { version: moorline_control::VERSION, client: "operator".to_owned(), lease_ms: 0 };
        let (mut sender, mut receiver, _) = connect(&self.control, hello).await.map_err(|error| error.to_string())?;
        let request = moorline_control::Request::Query { session: id };
        sender.send(&ClientFrame::Request { id: 0, request }).await.map_err(|error| error.to_string())?;
        loop {
            match receiver.receive().await.map_err(|error| error.to_string())? {
                ServerFrame::Reply { reply: moorline_control::Reply::Report(report), .. } => return Ok(report),
                ServerFrame::Reply { reply: moorline_control::Reply::Refused(refusal), .. } => {
                    return Err(refusal.to_string());
                }
                ServerFrame::Reply { .. } => return Err("an answer to another question".to_owned()),
                _ => {}
            }
        }
    }

    fn owner(&self, id: SessionId) -> usize {
        Place::owner(id.virtual_shard, self.sources.workers.len())
    }

    async fn ask<T>(&self, worker: usize, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Fault> {
        let (to, answer) = oneshot::channel();
        let workers = &self.sources.workers;
        let asked = async {
            workers.get(worker)?.send(question(to)).await.ok()?;
            answer.await.ok()
        };
        timeout(PATIENCE, asked).await.ok().flatten().ok_or_else(stuck)
    }
}

fn stuck() -> Fault {
    Fault::Unavailable("a worker does not answer".to_owned())
}

fn no_call(id: SessionId) -> Fault {
    Fault::Unknown(format!("there is no call {id}; `moorline calls` lists those there are"))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
}

/// Where a page begins: behind this call.
struct Cursor(CallKey);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0.setup.unix_ms, self.0.id)
    }
}

impl FromStr for Cursor {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Cursor, Fault> {
        let read = || {
            let (unix_ms, id) = text.rsplit_once('-')?;
            Some(Cursor(CallKey { setup: Time { unix_ms: unix_ms.parse().ok()? }, id: id.parse().ok()? }))
        };
        read().ok_or_else(|| Fault::Invalid("`after` must be the `next` of the page before".to_owned()))
    }
}
