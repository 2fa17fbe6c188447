//! What a running process cannot change: its sockets, threads and files are as they were made.

use crate::Config;

/// The keys that differ and need a restart.
pub(super) fn differences(before: &Config, after: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    macro_rules! compare {
        ($($key:ident)*) => {
            $(if before.$key != after.$key { keys.push(concat!("signaling.", stringify!($key)).to_owned()); })*
        };
    }
    compare! {
        node control admin lease_s user workers listeners radius state command api streams
    }
    for (key, differs) in [
        ("enabled", before.cdr.enabled != after.cdr.enabled),
        ("directory", before.cdr.directory != after.cdr.directory),
    ] {
        if differs {
            keys.push(format!("signaling.cdr.{key}"));
        }
    }
    if before.overload.queue != after.overload.queue {
        keys.push("signaling.overload.queue".into());
    }
    if before.limits.callees != after.limits.callees {
        keys.push("signaling.limits.callees".into());
    }
    // What this list does not name is not known to be harmless.
    if keys.is_empty() && !is_changeable(before, after) {
        keys.push("signaling".into());
    }
    keys
}

/// Whether nothing differs but what a reload changes.
fn is_changeable(before: &Config, after: &Config) -> bool {
    let changed = Config {
        trunks: after.trunks.clone(),
        routes: after.routes.clone(),
        routes_file: after.routes_file.clone(),
        trunk_groups: after.trunk_groups.clone(),
        numbering_plans: after.numbering_plans.clone(),
        blacklist: after.blacklist.clone(),
        whitelist: after.whitelist.clone(),
        limits: after.limits,
        overload: after.overload,
        cdr: after.cdr.clone(),
        dns: after.dns.clone(),
        time_zone: after.time_zone.clone(),
        ..before.clone()
    };
    changed == *after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str) -> Vec<String> {
        differences(&Config::default(), &toml::from_str(text).expect("a configuration"))
    }

    #[test]
    fn what_belongs_to_calls_is_changed_and_what_belongs_to_the_process_is_not() {
        let trunk = "trunks = [{ name = 'a', listener = 'local', sources = ['192.0.2.0/24'] }]\n";
        let changeable = "routes_file = '/x'\nblacklist = [{ caller = '1' }]\nlimits = { calls = 5, ring_s = 7 }\n";
        assert_eq!(changed(&format!("{changeable}{trunk}")), [""; 0]);
        assert_eq!(changed("workers = 3\nadmin = '127.0.0.1:1'"), ["signaling.admin", "signaling.workers"]);
        let settings = "time_zone = 'UTC'\ndns = { timeout_ms = 100 }\noverload = { new_calls_per_second = 5 }\n";
        assert_eq!(changed(settings), [""; 0]);
        assert_eq!(changed("overload = { queue = 5 }"), ["signaling.overload.queue"]);
        assert_eq!(changed("cdr = { journal_mb = 16, when_full = 'refuse', csv = {} }"), [""; 0]);
        assert_eq!(
            changed("cdr = { enabled = false, directory = '/x' }"),
            ["signaling.cdr.enabled", "signaling.cdr.directory"]
        );
        assert_eq!(changed("limits = { callees = 5 }"), ["signaling.limits.callees"]);
        assert_eq!(changed("listeners = []\nstate = '/x'"), ["signaling.listeners", "signaling.state"]);
    }
}
