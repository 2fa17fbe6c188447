//! Resolutions in virtual time, against a zone written down here.

mod caching;
mod procedure;
mod weights;
mod world;
