//! Call flows through a worker, in virtual time.
#![cfg(test)]

mod announcements;
mod authentication;
mod bodies;
mod calls;
mod chaos;
mod endpoint_requests;
mod endpoints;
mod families;
mod fax;
mod handled_transfers;
mod harness;
mod hops;
mod next_hops;
mod numbers;
mod peers;
mod phones;
mod privacy;
mod probes;
mod records;
mod redirects;
mod refreshes;
mod registrations;
mod registrations_of_ours;
mod reinvites;
mod reliable;
mod restarts;
mod sips;
mod streams;
mod subscriptions;
mod transfers;
mod trunk_answers;
mod trunk_descriptions;
mod updates;
mod video;
