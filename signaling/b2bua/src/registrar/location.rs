//! The bindings of all users, as one worker knows them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use moorline_sip::transaction::Flow;

use super::{Aor, Binding};

/// Who is reached where. Its size is bounded by the users, and by what each of them may have.
#[derive(Debug, Default)]
pub(crate) struct Location {
    users: HashMap<Aor, Vec<Binding>>,
    /// Whose each binding is.
    owners: HashMap<u64, Aor>,
    /// The bindings by each way that a device has opened itself: a stream, with which they end, or through a NAT.
    opened: HashMap<Flow, Vec<u64>>,
    /// How many bindings were made from each address.
    hosts: HashMap<IpAddr, usize>,
}

impl Location {
    /// The bindings of a user, those among them that have ended too.
    pub(crate) fn of(&self, aor: &Aor) -> &[Binding] {
        self.users.get(aor).map(Vec::as_slice).unwrap_or_default()
    }

    /// The same, without those that have ended.
    pub(crate) fn reached(&self, now: u64, aor: &Aor) -> impl Iterator<Item = &Binding> {
        self.of(aor).iter().filter(move |binding| binding.expires_at > now)
    }

    /// The users of a trunk who have bindings.
    pub(crate) fn users_of(&self, trunk: usize) -> Vec<Aor> {
        self.users.keys().filter(|aor| aor.trunk == trunk).cloned().collect()
    }

    /// A binding and whose it is.
    pub(crate) fn find(&self, serial: u64) -> Option<(&Aor, &Binding)> {
        let aor = self.owners.get(&serial)?;
        Some((aor, self.of(aor).iter().find(|binding| binding.serial == serial)?))
    }

    /// The bindings that a stream carries.
    pub(crate) fn over(&self, stream: &Flow) -> Vec<u64> {
        self.opened.get(stream).cloned().unwrap_or_default()
    }

    /// Whether a device is reached by this way alone, which it has opened.
    pub(crate) fn is_opened(&self, way: &Flow) -> bool {
        self.opened.contains_key(way)
    }

    /// Whether somebody has registered from there.
    pub(crate) fn is_at(&self, host: IpAddr) -> bool {
        self.hosts.contains_key(&host)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }

    /// From now on these are the user's bindings.
    pub(crate) fn put(&mut self, aor: &Aor, bindings: Vec<Binding>) {
        for gone in self.users.remove(aor).unwrap_or_default() {
            self.owners.remove(&gone.serial);
            if let Entry::Occupied(mut made) = self.hosts.entry(gone.flow.remote.ip()) {
                *made.get_mut() -= 1;
                if *made.get() == 0 {
                    made.remove();
                }
            }
            if let Some(carried) = self.opened.get_mut(&gone.flow) {
                carried.retain(|serial| *serial != gone.serial);
                if carried.is_empty() {
                    self.opened.remove(&gone.flow);
                }
            }
        }
        for binding in &bindings {
            self.owners.insert(binding.serial, aor.clone());
            *self.hosts.entry(binding.flow.remote.ip()).or_default() += 1;
            if binding.flow.transport.is_reliable() || binding.nat {
                self.opened.entry(binding.flow).or_default().push(binding.serial);
            }
        }
        if !bindings.is_empty() {
            self.users.insert(aor.clone(), bindings);
        }
    }
}
