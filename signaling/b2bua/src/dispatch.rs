//! Which worker a message is for: the one that its identifiers name, if this process made them, else one by
//! its Call-ID. Carriers send from few addresses, so the kernel's own spreading would load one worker.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use moorline_sip::{Message, Method, Name, Params};

use crate::identity::{of_branch, of_tag};
use crate::{Place, forward};

/// How long a CANCEL may come after an INVITE that was led elsewhere: longer than anything rings.
const DETOUR_NS: u64 = 300_000_000_000;

/// INVITEs led elsewhere that are remembered at once.
const DETOURS: usize = 4096;

/// Finds the owner of each message. Each worker has one, and so has whoever receives streams.
///
/// All of a process share the hash's key, which strangers do not know: they cannot aim all they send at one
/// worker.
#[derive(Debug)]
pub struct Dispatch {
    workers: usize,
    hash: RandomState,
    /// Who got the INVITEs that replace a dialog: their CANCEL names no dialog, and finds its way here.
    detours: HashMap<u64, usize>,
    /// The same in order of time.
    detoured: VecDeque<(u64, u64)>,
}

impl Dispatch {
    /// For `workers` workers.
    pub fn new(workers: usize, hash: RandomState) -> Dispatch {
        Dispatch { workers: workers.max(1), hash, detours: HashMap::new(), detoured: VecDeque::new() }
    }

    /// The worker that `message`, received by worker `here`, is to be handed to; `here` keeps it if that is the
    /// answer. A message that was handed over is asked about again with `handed`, and may be handed over once
    /// more, but never further: what replaces a dialog (RFC 3891) goes by way of the worker of its Call-ID, so
    /// that its CANCEL finds the same way.
    pub fn route(&mut self, now: u64, message: Message<'_>, here: usize, handed: bool) -> usize {
        if self.workers == 1 {
            return 0;
        }
        if !message.is_request() {
            let branch = message.via().ok().and_then(|via| via.branch).and_then(of_branch);
            return branch.map_or_else(|| self.by_call_id(message), |id| self.owner(id.virtual_shard));
        }
        if let Some(id) = forward::to_tag(message).and_then(of_tag) {
            return self.owner(id.virtual_shard);
        }
        let home = match message.method() {
            // Bindings are kept in one place.
            Some(Method::Register) => 0,
            _ => self.by_call_id(message),
        };
        if home != here {
            return if handed { here } else { home };
        }
        match message.method() {
            Some(Method::Invite) => match replaced(message) {
                Some(virtual_shard) => {
                    let owner = self.owner(virtual_shard);
                    self.remember(now, message, owner);
                    owner
                }
                None => here,
            },
            Some(Method::Cancel) => self.detours.get(&self.transaction(message)).copied().unwrap_or(here),
            _ => here,
        }
    }

    fn owner(&self, virtual_shard: u8) -> usize {
        Place::owner(virtual_shard, self.workers)
    }

    fn by_call_id(&self, message: Message<'_>) -> usize {
        // The upper half is as good as the whole, and multiplied it spreads evenly over any number.
        let upper = self.hash.hash_one(message.call_id().unwrap_or_default()) >> 32;
        ((upper * self.workers as u64) >> 32) as usize
    }

    /// What an INVITE and its CANCEL have in common (RFC 3261 9.1).
    fn transaction(&self, message: Message<'_>) -> u64 {
        let branch = message.via().ok().and_then(|via| via.branch).unwrap_or_default();
        self.hash.hash_one((message.call_id().unwrap_or_default(), branch))
    }

    fn remember(&mut self, now: u64, message: Message<'_>, owner: usize) {
        while self.detoured.front().is_some_and(|(until, _)| *until <= now) || self.detoured.len() >= DETOURS {
            let Some((_, key)) = self.detoured.pop_front() else { break };
            self.detours.remove(&key);
        }
        let key = self.transaction(message);
        if self.detours.insert(key, owner).is_none() {
            self.detoured.push_back((now.saturating_add(DETOUR_NS), key));
        }
    }
}

/// The virtual shard of the dialog that an INVITE replaces (RFC 3891 section 3: `to-tag` is ours).
fn replaced(invite: Message<'_>) -> Option<u8> {
    let value = invite.header(Name::Replaces)?;
    let params = &value[value.iter().position(|byte| *byte == b';')?..];
    // In a dialog that we have named in a REFER, the other tag is ours.
    let tag = |name| Params::new(params).find(name).flatten().and_then(of_tag);
    Some(tag(b"to-tag").or_else(|| tag(b"from-tag"))?.virtual_shard)
}

#[cfg(test)]
mod tests;
