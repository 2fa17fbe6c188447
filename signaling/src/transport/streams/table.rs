//! Which connections there are, and how many there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use moorline_sip::transaction::Flow;

use super::connection::Connection;

pub(super) struct Table {
    connections: HashMap<Flow, Rc<Connection>>,
    by_source: HashMap<IpAddr, usize>,
    most: usize,
    most_per_source: usize,
}

impl Table {
    pub(super) fn new(most: usize, most_per_source: usize) -> Table {
        Table { connections: HashMap::new(), by_source: HashMap::new(), most, most_per_source }
    }

    pub(super) fn find(&self, flow: Flow) -> Option<Rc<Connection>> {
        self.connections.get(&flow).cloned()
    }

    /// Whether there may be one more with `source`.
    pub(super) fn has_room(&self, source: IpAddr) -> bool {
        self.connections.len() < self.most && self.by_source.get(&source).copied().unwrap_or(0) < self.most_per_source
    }

    /// Takes a connection in. One that a far end made anew with the address of an old one replaces it.
    pub(super) fn insert(&mut self, connection: Rc<Connection>) {
        let source = connection.flow().remote.ip();
        if self.connections.insert(connection.flow(), connection).is_none() {
            *self.by_source.entry(source).or_default() += 1;
        }
    }

    /// A far end has shown who it is: it is found by that from now on.
    pub(super) fn identify(&mut self, connection: &Rc<Connection>, flow: Flow) {
        let is_here = self.connections.get(&connection.flow()).is_some_and(|found| Rc::ptr_eq(found, connection));
        self.remove(connection);
        connection.identify(flow);
        // One that was replaced meanwhile is found by nobody.
        if is_here {
            self.insert(Rc::clone(connection));
        }
    }

    /// Forgets a connection, unless it was replaced.
    pub(super) fn remove(&mut self, connection: &Rc<Connection>) {
        let flow = connection.flow();
        if !self.connections.get(&flow).is_some_and(|found| Rc::ptr_eq(found, connection)) {
            return;
        }
        self.connections.remove(&flow);
        if let Some(count) = self.by_source.get_mut(&flow.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&flow.remote.ip());
            }
        }
    }
}
