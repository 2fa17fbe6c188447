//! Header rules, as they are written.

use moorline_b2bua::policy::{HeaderChange, HeaderRule, HeaderRules, is_protected};
use serde::Deserialize;

use super::TrunkConfig;
use super::answers::{WayConfig, pattern, template};
use super::fault::Faults;

/// The most rules of a trunk.
const MAX_RULES: usize = 64;

/// The longest value that is added.
const MAX_VALUE: usize = 512;

/// Something that is done to a header field of a trunk's messages, in the order of the rules. One of `add`, `remove` and
/// `replace` must be there:
///
/// - `headers = [{ on = "sent", name = "X-Region", add = "north", methods = ["INVITE"] }]`
/// - `headers = [{ name = "User-Agent", remove = true }]`
/// - `headers = [{ on = "sent", name = "P-Asserted-Identity", pattern = "^<sip:\\+86(\\d+)@", replace = "<sip:0$1@" }]`
///
/// Rules on what is received apply before anything else looks at a message, those on what is sent when all else is made.
/// Fields by which messages find their dialog and their way are refused here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderRuleConfig {
    /// `received` for messages from the trunk, `sent` for those to it.
    #[serde(default)]
    pub on: WayConfig,
    /// The field; its compact form is meant too.
    pub name: String,
    /// Which messages: `all`, `requests` or `responses`.
    #[serde(default)]
    pub messages: MessagesConfig,
    /// The methods of the requests, and of the requests that are answered; all if left out.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Another field with this value is added.
    #[serde(default)]
    pub add: Option<String>,
    /// The fields of the name are left out; with `pattern`, those whose value it matches.
    #[serde(default)]
    pub remove: bool,
    /// A regular expression over the value, bytes and all; `(?i)` in front ignores case.
    #[serde(default)]
    pub pattern: Option<String>,
    /// What the first match of `pattern` becomes; `$1` stands for what its first group has caught.
    #[serde(default)]
    pub replace: Option<String>,
}

/// Which messages a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessagesConfig {
    /// Requests and responses.
    #[default]
    All,
    /// Requests.
    Requests,
    /// Responses.
    Responses,
}

impl TrunkConfig {
    /// The trunk's header rules. `key` names the trunk.
    pub(super) fn header_rules(&self, key: &str, faults: &mut Faults) -> HeaderRules {
        if self.headers.len() > MAX_RULES {
            faults.add(format!("{key}.headers"), "too many rules", format!("use {MAX_RULES} at most"));
        }
        let mut rules = HeaderRules::default();
        for (index, config) in self.headers.iter().enumerate() {
            let rule = config.resolve(&format!("{key}.headers[{index}]"), faults);
            match config.on {
                WayConfig::Received => rules.received.extend(rule),
                WayConfig::Sent => rules.sent.extend(rule),
            }
        }
        rules
    }
}

impl HeaderRuleConfig {
    fn resolve(&self, key: &str, faults: &mut Faults) -> Option<HeaderRule> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            faults.add(
                format!("{key}.name"),
                format!("{:?} is no header name", self.name),
                "use one such as \"X-Region\"",
            );
        } else if is_protected(&self.name) {
            let problem =
                format!("messages find their dialog, way or meaning by {}: a rule would end calls", self.name);
            faults.add(format!("{key}.name"), problem, "leave it to Moorline");
        }
        let upper = |method: &String| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if let Some(wrong) = self.methods.iter().find(|method| !upper(method)) {
            faults.add(format!("{key}.methods"), format!("{wrong:?} is no method"), "write them as in \"INVITE\"");
        }
        let matching = pattern(&format!("{key}.pattern"), self.pattern.as_deref(), faults);
        let change = match (&self.add, self.remove, &self.pattern, &self.replace) {
            (Some(value), false, None, None) => {
                if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
                    let problem = format!("it has control characters, or more than {MAX_VALUE} bytes");
                    faults.add(format!("{key}.add"), problem, "use one line of text");
                }
                HeaderChange::Add(value.clone())
            }
            (None, true, wanted, None) => {
                if wanted.is_some() && matching.is_none() {
                    return None;
                }
                HeaderChange::Remove(matching)
            }
            (None, false, Some(_), Some(with)) => {
                let matching = matching?;
                let with = template(&format!("{key}.replace"), Some(with), Some(&matching), faults)?;
                HeaderChange::Replace(matching, with)
            }
            _ => {
                let problem = "a rule has one of `add`, `remove`, and `replace` with `pattern`";
                faults.add(key, problem, "keep the one that is meant");
                return None;
            }
        };
        Some(HeaderRule {
            name: self.name.clone(),
            methods: self.methods.clone(),
            requests: self.messages != MessagesConfig::Responses,
            responses: self.messages != MessagesConfig::Requests,
            change,
        })
    }
}
