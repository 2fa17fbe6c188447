//! Secret prefixes that are no secret to somebody else.

use moorline_b2bua::policy::SecretPrefix;

use crate::config::Config;
use crate::config::fault::Faults;

impl Config {
    /// What one trunk must show should be known to no other. No fault says what is written.
    pub(super) fn doubt_secrets(&self, idle: &mut Faults) {
        // With faults there is nothing to compare; they have been said.
        let Ok(policy) = self.policy() else { return };
        let keys: Vec<(usize, &str, &SecretPrefix)> = policy
            .trunks
            .iter()
            .enumerate()
            .flat_map(|(at, trunk)| {
                let secrets = &trunk.secret_prefix;
                let both = [("received", &secrets.received), ("sent", &secrets.sent)];
                both.into_iter().filter_map(move |(which, secret)| Some((at, which, secret.as_ref()?)))
            })
            .collect();
        for (position, (at, which, secret)) in keys.iter().enumerate() {
            for (first, before, other) in &keys[..position] {
                // What is only sent admits nobody here; what a trunk both sends and receives was agreed on with it.
                let admits = [*which, *before].contains(&"received");
                if first != at && admits && secret.collides(other) {
                    let name = &self.trunks[*first].name;
                    let problem = format!(
                        "the same as `{before}` of trunk {name:?}, or one begins with the other: each of the two peers \
                         knows what admits the other's calls"
                    );
                    let file = |config: &crate::SecretPrefixConfig| match *which {
                        "received" => config.received_file.is_some(),
                        _ => config.sent_file.is_some(),
                    };
                    let suffix = if file(&self.trunks[*at].secret_prefix) { "_file" } else { "" };
                    let remedy = "agree on prefixes of which none begins another";
                    idle.add(format!("trunks[{at}].secret_prefix.{which}{suffix}"), problem, remedy);
                }
            }
        }
    }
}
