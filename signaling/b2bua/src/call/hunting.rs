//! Where a call may still go.

use std::collections::VecDeque;

use crate::policy::Failover;

/// The trunks that a call goes to if the one it is at cannot carry it.
#[derive(Debug)]
pub(crate) struct Hunting {
    /// In the order in which they are tried.
    pub(crate) left: VecDeque<usize>,
    /// After which answers.
    pub(crate) failover: Failover,
}
