//! What an operator asks for, done: the same for the command line and for HTTP.

use std::sync::Arc;

use moorline_b2bua::inspect::CallFilter;
use moorline_b2bua::policy::limit::{Key, LimitFault, Value, Verdict};
use moorline_control::SessionId;
use tokio::task::spawn_blocking;
use tracing::info;

use super::desk::Desk;
use super::replies::{HungUpReply, TrunkState};
use super::{ListReply, ListedRow, Reply, Request, TrunkReply};
use crate::Config;
use crate::admin::Sources;
use crate::limits::{Limits, LimitsFault};
use crate::reload::Reload;

/// Rows of a list in one reply.
pub(super) const PAGE: usize = 5000;

/// Calls in one reply: where nothing is said, and at most.
const CALLS: u32 = 100;
const MAX_CALLS: u32 = 1000;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// What was asked for cannot be understood, or is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// It is about something that is not there.
    #[error("{0}")]
    Unknown(String),
    /// This process cannot do it now.
    #[error("{0}")]
    Unavailable(String),
}

/// Everything that commands need.
#[derive(Clone)]
pub(crate) struct Commands {
    limits: Arc<Limits>,
    desk: Desk,
    reload: Arc<Reload>,
}

impl Commands {
    pub(crate) fn new(sources: Sources, reload: Arc<Reload>, config: &Config) -> Commands {
        Commands { limits: Arc::clone(&sources.limits), desk: Desk::new(sources, config), reload }
    }

    /// Does what is asked for.
    pub(crate) async fn carry_out(&self, request: Request) -> Result<Reply, Fault> {
        match request {
            Request::Status => Ok(Reply::Status(Box::new(self.desk.status().await?))),
            Request::Trunks { trunk } => self.trunks(trunk).await,
            Request::Drain { draining } => {
                if let Some(draining) = draining {
                    info!(draining, "an operator has said whether new calls are taken");
                }
                Ok(Reply::Drain(self.desk.drain(draining)))
            }
            Request::Calls { trunk, number, state, limit, after } => {
                let limit = limit.unwrap_or(CALLS);
                if !(1..=MAX_CALLS).contains(&limit) {
                    return Err(Fault::Invalid(format!("`limit` is a number from 1 to {MAX_CALLS}")));
                }
                let filter = CallFilter { trunk, number, state };
                Ok(Reply::Calls(self.desk.calls(&filter, limit as usize, after.as_deref()).await?))
            }
            Request::Call { call } => Ok(Reply::Call(Box::new(self.desk.call(id(&call)?).await?))),
            Request::HangUp { call } => {
                let id = id(&call)?;
                self.desk.hang_up(id).await?;
                info!(call = %id, "an operator has ended a call");
                Ok(Reply::HungUp(HungUpReply { call: id.to_string() }))
            }
            other => {
                let (limits, reload) = (Arc::clone(&self.limits), Arc::clone(&self.reload));
                // It may wait for the disk.
                let done = spawn_blocking(move || carry_out(other, &limits, &reload)).await;
                done.unwrap_or_else(|fault| Err(Fault::Unavailable(fault.to_string())))
            }
        }
    }

    async fn trunks(&self, wanted: Option<String>) -> Result<Reply, Fault> {
        let reach = self.desk.reach().await?;
        let limits: Vec<TrunkReply> = self.limits.limiter.view().into_iter().map(TrunkReply::from).collect();
        let has_calls = |limits: &TrunkReply| limits.inbound.calls > 0 || limits.outbound.calls > 0;
        let is_configured = |limits: &TrunkReply| reach.iter().any(|reach| reach.trunk == limits.trunk);
        let leaving = limits.iter().filter(|limits| has_calls(limits) && !is_configured(limits)).map(|limits| {
            TrunkState::leaving(limits, self.reload.listener_of_retired(&limits.trunk).unwrap_or_default())
        });
        let leaving: Vec<TrunkState> = leaving.collect();
        let configured = reach.into_iter().map(|reach| {
            let limits = limits.iter().find(|limits| limits.trunk == reach.trunk);
            TrunkState::of(reach, limits)
        });
        let mut states: Vec<TrunkState> = configured.chain(leaving).collect();
        states.retain(|state| wanted.as_ref().is_none_or(|name| state.reach.trunk == *name));
        match wanted {
            Some(name) if states.is_empty() => Err(unknown_trunk(&self.limits, &name)),
            _ => Ok(Reply::Trunks(states)),
        }
    }
}

fn id(text: &str) -> Result<SessionId, Fault> {
    text.parse().map_err(|_| Fault::Invalid(format!("{text:?} is no call: 22 hexadecimal digits name one")))
}

/// Said in the words of whoever sets something.
fn unknown_trunk(limits: &Limits, name: &str) -> Fault {
    match limits.limiter.set(name, &[]) {
        Err(fault) => Fault::from(fault),
        Ok(()) => Fault::Unknown(format!("no trunk is called {name:?}")),
    }
}

impl From<LimitFault> for Fault {
    fn from(fault: LimitFault) -> Fault {
        match fault {
            LimitFault::Trunk(..) | LimitFault::User(..) | LimitFault::NoRow => Fault::Unknown(fault.to_string()),
            _ => Fault::Invalid(fault.to_string()),
        }
    }
}

impl From<LimitsFault> for Fault {
    fn from(fault: LimitsFault) -> Fault {
        match fault {
            LimitsFault::Limit(fault) => fault.into(),
            LimitsFault::InUse(_) | LimitsFault::File { .. } => Fault::Unavailable(fault.to_string()),
        }
    }
}

/// What is about limits and lists, and the configuration.
fn carry_out(request: Request, limits: &Limits, reload: &Reload) -> Result<Reply, Fault> {
    let done = |replaced: bool| Reply::Done { kept: limits.keeps(), replaced };
    let unreadable = |(key, problem, remedy): (_, _, _)| Fault::Invalid(format!("{key}: {problem}; {remedy}"));
    match request {
        Request::Reload { dry_run } => Ok(Reply::Reload(reload.reload(dry_run))),
        Request::Rollback { dry_run } => Ok(Reply::Reload(reload.roll_back(dry_run))),
        Request::LimitsShow { trunk } => {
            let all = limits.limiter.view();
            let shown = all.into_iter().filter(|view| trunk.as_ref().is_none_or(|name| view.name == *name));
            let shown: Vec<TrunkReply> = shown.map(TrunkReply::from).collect();
            match trunk {
                Some(name) if shown.is_empty() => Err(unknown_trunk(limits, &name)),
                _ => Ok(Reply::Limits(shown)),
            }
        }
        Request::LimitsSet { trunk, user: Some(user), values } => {
            limits.limiter.check_user(&trunk, &user)?;
            let read = |(key, value): (&String, &String)| -> Result<Option<bool>, LimitFault> {
                let key: Key = key.parse()?;
                match (key, key.read(value)?) {
                    (Key::Arrears, Some(Value::Switch(arrears))) => Ok(Some(arrears)),
                    (Key::Arrears, _) => Ok(None),
                    (key, _) => Err(LimitFault::OfTrunk(key)),
                }
            };
            let read: Vec<Option<bool>> = values.iter().map(read).collect::<Result<_, LimitFault>>()?;
            // There is one such key at most.
            for arrears in read {
                limits.set_user(&trunk, &user, arrears)?;
            }
            info!(trunk, user, ?values, "limits of a user set by an operator");
            Ok(done(false))
        }
        Request::LimitsSet { trunk, user: None, values } => {
            let read = |(key, value): (&String, &String)| -> Result<_, LimitFault> {
                let key: Key = key.parse()?;
                Ok((key, key.read(value)?))
            };
            let read: Vec<_> = values.iter().map(read).collect::<Result<_, LimitFault>>()?;
            limits.set(&trunk, &read)?;
            info!(trunk, ?values, "limits set by an operator");
            Ok(done(false))
        }
        Request::ListAdd { white, row } => {
            let (row, verdict) = row.row(white).map_err(unreadable)?;
            if let Some(from) = &row.from {
                limits.limiter.set(from, &[])?;
            }
            let before = limits.add_row(&row, verdict)?;
            info!(?row, ?verdict, "row added by an operator");
            Ok(done(before.is_some()))
        }
        Request::ListRemove { white, row } => {
            let row = crate::config::ListRowConfig { percent: None, ..row };
            let (row, _) = row.row(white).map_err(unreadable)?;
            limits.remove_row(&row, white)?;
            info!(?row, white, "row removed by an operator");
            Ok(done(false))
        }
        Request::ListRows { white, from } => {
            let rows = limits.limiter.rows().into_iter().filter(|(_, verdict)| (*verdict == Verdict::White) == white);
            let mut rows = rows.skip(from);
            let page: Vec<ListedRow> =
                rows.by_ref().take(PAGE).map(|(row, verdict)| ListedRow::of(&row, verdict)).collect();
            let next = rows.next().map(|_| from + page.len());
            Ok(Reply::List(ListReply { rows: page, next }))
        }
        other => Err(Fault::Invalid(format!("not about limits: {other:?}"))),
    }
}
