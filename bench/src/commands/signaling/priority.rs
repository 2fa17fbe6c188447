//! The priority of a measurement among other work of the machine.

use std::path::Path;

/// The session's autogroup, within which all are equal (sched(7)).
const AUTOGROUP: &str = "/proc/self/autogroup";

/// Raised as long as this lives, where the machine has autogroups and permits it.
#[derive(Debug)]
pub(super) struct Priority {
    before: Option<String>,
}

impl Priority {
    pub(super) fn raise() -> Priority {
        let is_on =
            std::fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|on| on.trim() == "1");
        let before = std::fs::read_to_string(Path::new(AUTOGROUP)).ok().filter(|_| is_on).and_then(|now| nice(&now));
        Priority { before: before.filter(|_| std::fs::write(AUTOGROUP, "-20").is_ok()) }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.before.is_some()
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What was permitted upwards is permitted back.
            let _ = std::fs::write(AUTOGROUP, before);
        }
    }
}

/// The value in `/autogroup-91 nice 0`.
fn nice(autogroup: &str) -> Option<String> {
    Some(autogroup.trim().rsplit_once(" nice ")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_before_is_known() {
        assert_eq!(nice("/autogroup-91 nice -5\n").as_deref(), Some("-5"));
        assert_eq!(nice("/\n"), None);
    }
}
