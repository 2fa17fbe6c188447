//! The program in this kernel: by BPF_PROG_TEST_RUN, and on veth pairs in network namespaces of the tests' own. Without
//! what that needs a test says that it was skipped.

mod draining;
mod foreign;
mod frames;
mod host;
mod lifecycle;
mod others;
mod passing;
mod relaying;
mod rig;
mod steering;
mod wire;

use super::*;

#[test]
fn the_program_loads_with_no_more_than_its_three_capabilities() {
    if !host::is_possible() {
        return;
    }
    host::with_few_capabilities(|| {
        let own = Capabilities::of_this_process();
        assert!(!own.has(21) && !own.has(38), "neither CAP_SYS_ADMIN nor CAP_PERFMON");
        probe().unwrap();
    });
}
