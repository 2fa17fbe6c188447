//! Call flows through a worker, in virtual time.
#![cfg(test)]

mod calls;
mod chaos;
mod harness;
mod hops;
mod peers;
mod privacy;
mod reinvites;
mod reliable;
mod restarts;
mod updates;
