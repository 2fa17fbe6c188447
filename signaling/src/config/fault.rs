//! What is wrong with a configuration, said so that the operator can put it right.

/// One fault: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}; {remedy}")]
pub struct ConfigFault {
    /// The key, such as `signaling.trunks[1].listener`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// Collects faults while a configuration is resolved.
#[derive(Default)]
pub(super) struct Faults(Vec<ConfigFault>);

impl Faults {
    /// Notes a fault at a key below `signaling`.
    pub(super) fn add(&mut self, key: impl AsRef<str>, problem: impl Into<String>, remedy: impl Into<String>) {
        let path = format!("signaling.{}", key.as_ref());
        self.0.push(ConfigFault { path, problem: problem.into(), remedy: remedy.into() });
    }

    /// `value` if there were no faults.
    pub(super) fn or<T>(self, value: T) -> Result<T, Vec<ConfigFault>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// The names that may be written, for a remedy: `"a" or "b"`.
pub(super) fn choices<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    if names.is_empty() { "(none is configured)".into() } else { names.join(" or ") }
}
