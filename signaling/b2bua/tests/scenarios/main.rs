//! Call flows through a worker, in virtual time.
#![cfg(test)]

mod calls;
mod chaos;
mod harness;
mod reinvites;
mod restarts;
