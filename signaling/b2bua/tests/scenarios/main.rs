//! Call flows through a worker, in virtual time.
#![cfg(test)]

mod bodies;
mod calls;
mod chaos;
mod fax;
mod harness;
mod hops;
mod peers;
mod privacy;
mod probes;
mod redirects;
mod refreshes;
mod reinvites;
mod reliable;
mod restarts;
mod subscriptions;
mod transfers;
mod updates;
