//! What is asked and answered: one line of JSON each.

use std::collections::BTreeMap;

use moorline_b2bua::inspect::CallState;
use moorline_b2bua::policy::limit::{Cause, Direction, Field, Key, TrunkView, UserView, Verdict};
use serde::{Deserialize, Serialize};

use super::replies::{CallDetail, CallsReply, DrainReply, HungUpReply, StatusReply, TrunkState};
use crate::config::ListRowConfig;
use crate::reload::ReloadReply;

/// What an operator asks for: `{"command":"limits_show"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the process is.
    Status,
    /// Trunks: how they are reached, and how many calls they have.
    Trunks {
        /// This one only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trunk: Option<String>,
    },
    /// Whether new calls are taken, and how many there are.
    Drain {
        /// From now on they are not, or are again; if nothing is said, all stays as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        draining: Option<bool>,
    },
    /// A page of calls, the oldest first.
    Calls {
        /// With a leg of this trunk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trunk: Option<String>,
        /// With a number that begins like this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<String>,
        /// That have come so far; all that are not ending, if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<CallState>,
        /// So many at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// Behind the page that ended with this `next`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// What is known of a call.
    Call {
        /// Its name.
        call: String,
    },
    /// Ends a call.
    HangUp {
        /// Its name.
        call: String,
    },
    /// The limits of trunks, and how many calls they have.
    LimitsShow {
        /// Of this one only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trunk: Option<String>,
    },
    /// Sets limits of a trunk, or of one of its users, for all calls from now on: all of them, or none.
    LimitsSet {
        /// The trunk.
        trunk: String,
        /// Of this user of it, of whom only `arrears` can be set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// By key, such as `inbound.calls`: a number, `none`, `true`, `false`, or `default` for what the configuration
        /// says.
        values: BTreeMap<String, String>,
    },
    /// Puts a row into the black or white list, in place of what it said before.
    ListAdd {
        /// Into the white one.
        white: bool,
        /// The row.
        row: ListRowConfig,
    },
    /// Takes a row out of the black or white list. Its `percent` does not matter.
    ListRemove {
        /// Out of the white one.
        white: bool,
        /// The row.
        row: ListRowConfig,
    },
    /// Reads the configuration again, and goes on by it.
    Reload {
        /// Only says what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Goes back to the configuration before.
    Rollback {
        /// Only says what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Rows of the black or white list, in their order.
    ListRows {
        /// Of the white one.
        white: bool,
        /// How many to pass over: the `next` of the reply before.
        #[serde(default)]
        from: usize,
    },
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Nothing was done, for this reason.
    Error(String),
    /// It holds.
    Done {
        /// It outlives the process too: it is on the disk.
        kept: bool,
        /// There was a row of its like, which it replaces.
        replaced: bool,
    },
    /// Trunks, by name.
    Limits(Vec<TrunkReply>),
    /// Rows.
    List(ListReply),
    /// What a reload or a rollback came to.
    Reload(ReloadReply),
    /// The process.
    Status(Box<StatusReply>),
    /// Trunks, in the order of the configuration; behind them those that a reload took away and that still have calls.
    Trunks(Vec<TrunkState>),
    /// Whether new calls are taken.
    Drain(DrainReply),
    /// Calls.
    Calls(CallsReply),
    /// A call.
    Call(Box<CallDetail>),
    /// A call was ended.
    HungUp(HungUpReply),
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReply {
    /// In their order.
    pub rows: Vec<ListedRow>,
    /// Where the next page begins; absent behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRow {
    /// Who calls.
    pub caller: String,
    /// Who is called.
    pub called: String,
    /// The trunk that the calls come from; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How many of a hundred are refused; absent in the white list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// A trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkReply {
    /// Its name.
    pub trunk: String,
    /// Its account is in arrears.
    pub arrears: bool,
    /// How many of its users are.
    #[serde(default)]
    pub users_in_arrears: usize,
    /// Users who are, or of whom something was set while it ran, by name; the first 1000.
    #[serde(default)]
    pub users: Vec<UserReply>,
    /// Calls that come from it.
    pub inbound: DirectionReply,
    /// Calls that are sent to it.
    pub outbound: DirectionReply,
    /// What was set while it ran, by key, with what the configuration says.
    pub set: BTreeMap<String, String>,
}

/// A user of a trunk, who is charged for the calls that it was let in for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserReply {
    /// Its name.
    pub user: String,
    /// Its account is in arrears.
    pub arrears: bool,
    /// What the configuration says of that, where it was set while the process ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<bool>,
}

/// A trunk's calls in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionReply {
    /// Calls now.
    pub calls: u32,
    /// The most there were at once.
    pub peak: u32,
    /// Callers who have a call now.
    pub callers: usize,
    /// The limits that hold, by key; without those that do not exist.
    pub limits: BTreeMap<String, String>,
    /// How many calls were refused, by cause.
    pub refused: BTreeMap<String, u64>,
}

impl From<TrunkView> for TrunkReply {
    fn from(view: TrunkView) -> TrunkReply {
        let [inbound, outbound] = Direction::BOTH.map(|direction| DirectionReply::of(&view, direction));
        let set = view.set.iter().map(|(key, configured)| (key.to_string(), configured.to_string())).collect();
        let TrunkView { name: trunk, arrears, users_in_arrears, users, .. } = view;
        let users = users.into_iter().map(|UserView { name, arrears, configured }| UserReply {
            user: name,
            arrears,
            configured,
        });
        TrunkReply { trunk, arrears, users_in_arrears, users: users.collect(), inbound, outbound, set }
    }
}

impl DirectionReply {
    fn of(view: &TrunkView, direction: Direction) -> DirectionReply {
        let calls = &view.directions[direction.index()];
        let value = |field: Field| (field.name().to_owned(), view.value(Key::Of(direction, field)).to_string());
        let limits = Field::ALL.into_iter().map(value).filter(|(_, value)| value != "none" && value != "false");
        let refused = Cause::ALL.into_iter().map(|cause| (cause.name().to_owned(), calls.refused[cause.index()]));
        DirectionReply {
            calls: calls.calls,
            peak: calls.peak,
            callers: calls.callers,
            limits: limits.collect(),
            refused: refused.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl ListedRow {
    pub(super) fn of(row: &moorline_b2bua::policy::limit::Row, verdict: Verdict) -> ListedRow {
        ListedRow {
            caller: row.caller.to_string(),
            called: row.called.to_string(),
            from: row.from.as_deref().map(str::to_owned),
            percent: match verdict {
                Verdict::Black { percent } => Some(percent),
                Verdict::White => None,
            },
        }
    }
}
