use std::fs;
use std::thread;

use std::path::PathBuf;

use super::*;

const CONFIG: &str = "blacklist = [{ caller = '0755' }]\n\
    routes = [{ prefix = '1', to = 'carrier' }]\n\
    [[trunks]]\nname = 'pbx'\nlistener = 'local'\nsources = ['127.0.0.0/8']\nlimits.inbound.calls = 5\n\
    [[trunks]]\nname = 'carrier'\nlistener = 'local'\ntargets = ['192.0.2.1:5060']\n";

/// A file, or what stands in the place of one.
enum Text {
    File(PathBuf),
    None,
}

impl Source for Text {
    fn name(&self) -> String {
        "test.toml".into()
    }

    fn text(&self) -> io::Result<Option<String>> {
        match self {
            Text::File(path) => fs::read_to_string(path).map(Some),
            Text::None => Ok(None),
        }
    }

    fn read(&self, text: &str, copies: Option<&Path>) -> Result<(Config, Policy), String> {
        let mut config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if let Some(copies) = copies {
            config.use_copies(copies);
        }
        let policy = config.policy().map_err(|faults| faults[0].to_string())?;
        Ok((config, policy))
    }
}

/// One that has no file to read.
pub(crate) fn reload_of(limits: &Arc<Limits>, config: &Config) -> Arc<Reload> {
    let policy = config.policy().expect("no faults");
    let policies = watch::Sender::new(Arc::new(policy.clone()));
    Arc::new(Reload::new(Arc::new(Text::None), (config, &policy), Arc::clone(limits), policies, Vec::new(), None))
}

/// A process that has started with what a file says.
struct Process {
    state: tempfile::TempDir,
    reload: Reload,
    limits: Arc<Limits>,
    policies: watch::Receiver<Arc<Policy>>,
}

impl Process {
    fn new(text: &str) -> Process {
        let state = tempfile::tempdir().expect("a directory");
        fs::write(state.path().join("file.toml"), text).expect("written");
        Process::start(state)
    }

    fn start(state: tempfile::TempDir) -> Process {
        let source = Text::File(state.path().join("file.toml"));
        let text = source.text().expect("readable").expect("a file");
        let (config, policy) = source.read(&text, None).expect("no faults");
        let limits = Arc::new(Limits::open(&policy, config.lists(), 100, None).expect("limits"));
        let (sender, policies) = watch::channel(Arc::new(policy.clone()));
        let made = (&config, &policy);
        let reload = Reload::new(Arc::new(source), made, Arc::clone(&limits), sender, Vec::new(), Some(state.path()));
        reload.remember_start();
        Process { state, reload, limits, policies }
    }

    fn write(&self, text: &str) {
        fs::write(self.state.path().join("file.toml"), text).expect("written");
    }

    /// What the trunks are called that calls may use now.
    fn trunks(&self) -> Vec<String> {
        self.policies.borrow().current_trunks().map(|(_, trunk)| trunk.name.clone()).collect()
    }

    fn limit(&self) -> String {
        let pbx = self.limits.limiter.view().into_iter().find(|trunk| trunk.name == "pbx").expect("a trunk");
        pbx.value("inbound.calls".parse().expect("a key")).to_string()
    }
}

fn keys(reply: &ReloadReply) -> Vec<&str> {
    reply.changes.iter().map(|change| change.key.as_str()).collect()
}

fn without_carrier() -> String {
    CONFIG
        .split("[[trunks]]\nname = 'carrier'")
        .next()
        .expect("the rest")
        .replace("'carrier'", "'pbx'")
        .replace("sources = ['127.0.0.0/8']", "sources = ['127.0.0.0/8']\ntargets = ['192.0.2.9:5060']")
}

#[test]
fn what_a_file_says_is_shown_and_then_holds_for_all() {
    let process = Process::new(CONFIG);
    let limits = CONFIG.replace("calls = 5", "calls = 7").replace("0755", "0311");
    process.write(&limits);
    let shown = process.reload.reload(true);
    assert_eq!(
        (keys(&shown), shown.applied),
        (vec!["blacklist", "blacklist", "trunks[pbx].limits.inbound.calls"], false)
    );
    assert_eq!(process.limit(), "5");
    let reply = process.reload.reload(false);
    assert_eq!((keys(&reply), reply.applied), (keys(&shown), true));
    assert_eq!((reply.refused.len(), reply.notes.len()), (0, 0), "{reply:?}");
    assert_eq!(process.limit(), "7");
    let rows: Vec<String> = process.limits.limiter.rows().iter().map(|(row, _)| row.caller.to_string()).collect();
    assert_eq!(rows, ["0311"]);
    assert!(process.policies.borrow().trunks[0].retired);
    let again = process.reload.reload(false);
    assert_eq!((again.applied, again.changes.len(), again.refused.len()), (false, 0, 0), "it is the same");
}

#[test]
fn it_is_counted_what_reloads_come_to_and_known_what_is_in_force() {
    let process = Process::new(CONFIG);
    let outcomes = process.reload.outcomes();
    let counts = || Outcome::ALL.map(|outcome| outcomes.of(outcome).0);
    assert_eq!(
        (counts(), outcomes.in_force().by, outcomes.in_force().source),
        ([0; 3], TakenOverBy::Start, "test.toml".into())
    );
    let started = outcomes.in_force().since;
    process.write(&CONFIG.replace("calls = 5", "calls = 7"));
    assert!(process.reload.reload(true).changes.len() == 1);
    assert_eq!(counts(), [0; 3], "it was only tried");
    process.reload.reload(false);
    process.reload.reload(false);
    process.write("= not TOML");
    process.reload.reload(false);
    assert_eq!((counts(), outcomes.in_force().by), ([1, 1, 1], TakenOverBy::Reload));
    assert!(outcomes.in_force().since >= started && outcomes.of(Outcome::Refused).1 >= Some(started));
    process.reload.roll_back(false);
    assert_eq!((counts(), outcomes.in_force().by), ([2, 1, 1], TakenOverBy::Rollback));
}

#[test]
fn what_has_faults_is_refused_whole() {
    let process = Process::new(CONFIG);
    process.write(&CONFIG.replace("calls = 5", "calls = 7").replace("to = 'carrier'", "to = 'carier'"));
    let reply = process.reload.reload(false);
    assert!(reply.refused[0].contains("carier") && !reply.applied, "{reply:?}");
    assert_eq!(process.limit(), "5");
    process.write("= not TOML");
    assert!(!process.reload.reload(false).refused.is_empty());
    fs::remove_file(process.state.path().join("file.toml")).expect("removed");
    assert!(process.reload.reload(false).refused[0].contains("cannot be read"));
    assert_eq!(process.trunks(), ["pbx", "carrier"]);
}

#[test]
fn a_reload_waits_for_another_one_but_not_for_ever() {
    let process = Process::new(CONFIG);
    process.write(&CONFIG.replace("calls = 5", "calls = 7"));
    thread::scope(|scope| {
        let hangs = process.reload.state();
        let others = [
            scope.spawn(|| process.reload.reload(false)),
            scope.spawn(|| process.reload.reload(true)),
            scope.spawn(|| process.reload.roll_back(false)),
        ];
        for other in others {
            let reply = other.join().expect("no panic");
            assert!(reply.refused.len() == 1 && reply.refused[0].starts_with("another one"), "{reply:?}");
        }
        assert_eq!(process.reload.outcomes().of(Outcome::Refused).0, 2);
        drop(hangs);
    });
    assert!(process.reload.reload(false).applied);
    assert_eq!(process.limit(), "7");
}

#[test]
fn what_needs_a_restart_is_refused_whole() {
    let process = Process::new(CONFIG);
    process.write(&format!("workers = 3\n{}", CONFIG.replace("calls = 5", "calls = 7")));
    let reply = process.reload.reload(false);
    assert_eq!(reply.refused, ["signaling.workers cannot be changed while the process runs: it needs a restart"]);
    assert_eq!(reply.changes.len(), 2);
    assert_eq!(process.limit(), "5");
}

#[test]
fn settings_of_threads_are_followed_and_published_before_the_policy() {
    let process = Process::new(CONFIG);
    let mut settings = process.reload.settings();
    process.write(&CONFIG.replace("calls = 5", "calls = 7"));
    assert!(process.reload.reload(false).applied);
    assert!(!settings.has_changed().expect("there"), "they are the same");
    let other = "time_zone = 'UTC'\ndns = { servers = ['192.0.2.53:53'] }\noverload = { retry_after_s = 9 }\n";
    process.write(&format!("{other}{CONFIG}"));
    let reply = process.reload.reload(false);
    assert!(reply.applied, "{reply:?}");
    let told = settings.borrow_and_update().clone();
    assert_eq!((told.time_zone.as_deref(), told.dns.servers.len(), told.overload.retry_after_s), (Some("UTC"), 1, 9));
    process.write(&format!("{}{CONFIG}", other.replace("UTC", "Moon/Base")));
    assert!(process.reload.reload(false).refused[0].contains("time_zone"));
    process.write(&format!("overload = {{ queue = 99, retry_after_s = 8 }}\n{CONFIG}"));
    assert!(process.reload.reload(false).refused[0].contains("overload.queue"));
    assert!(!settings.has_changed().expect("there"), "they were refused");
}

#[test]
fn a_rollback_goes_back_and_another_one_forth_again() {
    let process = Process::new(CONFIG);
    assert!(!process.reload.roll_back(false).refused.is_empty(), "nothing has run before");
    process.write(&without_carrier());
    assert!(process.reload.reload(false).applied);
    assert_eq!(process.trunks(), ["pbx"]);
    assert!(!process.reload.roll_back(true).applied);
    let reply = process.reload.roll_back(false);
    assert!(reply.applied, "{reply:?}");
    assert!(reply.notes[0].contains("test.toml") && reply.notes[0].contains("running/moorline.toml"), "{reply:?}");
    assert_eq!(process.trunks(), ["pbx", "carrier"]);
    let forth = process.reload.roll_back(false);
    assert_eq!((forth.applied, forth.notes.len(), process.trunks().len()), (true, 0, 1));
}

#[test]
fn a_rollback_to_what_could_not_be_kept_is_kept_itself() {
    let process = Process::new(CONFIG);
    let kept = process.state.path().join("configuration");
    // Nothing can be prepared where something else has the name.
    fs::write(kept.join("next"), "").expect("written");
    for calls in ["calls = 6", "calls = 7"] {
        process.write(&CONFIG.replace("calls = 5", calls));
        let reply = process.reload.reload(false);
        assert!(reply.applied && reply.notes[0].contains("nothing to roll back to"), "{reply:?}");
    }
    fs::remove_file(kept.join("next")).expect("removed");
    let reply = process.reload.roll_back(false);
    assert!(reply.applied && process.limit() == "6", "{reply:?}");
    let running = fs::read_to_string(kept.join("running/moorline.toml")).expect("kept");
    assert!(running.contains("calls = 6"), "{running}");
}

#[test]
fn a_rollback_works_after_a_restart_with_the_files_as_they_were() {
    let with_routes = |directory: &Path| {
        let file = directory.join("routes.csv");
        let rows: String = CONFIG.replace("routes = [{ prefix = '1', to = 'carrier' }]", "");
        format!("routes_file = '{}'\n{rows}", file.display())
    };
    let state = tempfile::tempdir().expect("a directory");
    let (text, routes) = (with_routes(state.path()), state.path().join("routes.csv"));
    fs::write(&routes, "prefix,to\n1,carrier\n").expect("written");
    fs::write(state.path().join("file.toml"), text).expect("written");
    let process = Process::start(state);
    fs::write(&routes, "prefix,to\n1,carrier\n2,carrier\n").expect("written");
    let reply = process.reload.reload(false);
    assert!(reply.applied && keys(&reply)[0].ends_with("routes.csv"), "{reply:?}");
    assert_eq!(process.policies.borrow().routes.len(), 2);
    assert!(process.reload.roll_back(false).applied);
    assert_eq!(process.policies.borrow().routes.len(), 1);
    assert!(process.reload.roll_back(false).applied);

    let Process { state, reload, .. } = process;
    drop(reload);
    let process = Process::start(state);
    assert_eq!(process.policies.borrow().routes.len(), 2);
    let reply = process.reload.roll_back(false);
    assert!(reply.applied, "{reply:?}");
    assert_eq!(process.policies.borrow().routes.len(), 1);
    assert!(reply.notes[0].contains("a restart reads test.toml and the files"), "{reply:?}");
}

#[test]
fn a_restart_with_another_file_is_a_change_too() {
    let Process { state, reload, .. } = Process::new(CONFIG);
    drop(reload);
    fs::write(state.path().join("file.toml"), without_carrier()).expect("written");
    let process = Process::start(state);
    assert_eq!(process.trunks(), ["pbx"]);
    assert!(process.reload.roll_back(false).applied);
    assert_eq!(process.trunks(), ["pbx", "carrier"]);
}

#[test]
fn a_restart_with_other_comments_alone_keeps_what_ran_before() {
    let process = Process::new(&without_carrier());
    process.write(CONFIG);
    assert!(process.reload.reload(false).applied);
    let Process { mut state, mut reload, .. } = process;
    for comment in ["# One.\n", "# Two.\n"] {
        drop(reload);
        let text = format!("{comment}{CONFIG}");
        fs::write(state.path().join("file.toml"), &text).expect("written");
        Process { state, reload, .. } = Process::start(state);
        let running = fs::read_to_string(state.path().join("configuration/running/moorline.toml"));
        assert_eq!(running.expect("a text"), text, "what runs is kept as it is written");
    }
    drop(reload);
    let process = Process::start(state);
    assert_eq!(process.trunks(), ["pbx", "carrier"]);
    let reply = process.reload.roll_back(false);
    assert!(reply.applied, "{reply:?}");
    assert_eq!(process.trunks(), ["pbx"]);
}

#[test]
fn what_was_set_by_command_stays_set() {
    let process = Process::new(CONFIG);
    let read = |key: &str, value: &str| {
        let key: moorline_b2bua::policy::limit::Key = key.parse().expect("a key");
        (key, key.read(value).expect("a value"))
    };
    process.limits.set("pbx", &[read("inbound.calls", "9")]).expect("set");
    process.write(&CONFIG.replace("calls = 5", "calls = 7"));
    assert!(process.reload.reload(false).applied);
    assert_eq!(process.limit(), "9");
    process.limits.set("pbx", &[read("inbound.calls", "default")]).expect("set");
    assert_eq!(process.limit(), "7", "what the file says now");
}

#[test]
fn the_built_in_configuration_cannot_be_read_again() {
    let process = Process::new(CONFIG);
    let policies = watch::Sender::new(Arc::new(Policy::default()));
    let (config, policy) = (Config::default(), Policy::default());
    let made = (&config, &policy);
    let reload = Reload::new(Arc::new(Text::None), made, Arc::clone(&process.limits), policies, Vec::new(), None);
    assert!(reload.reload(false).refused[0].contains("--config"));
}

#[test]
fn trunks_that_no_call_uses_give_up_their_places() {
    let process = Process::new(CONFIG);
    process.write(&without_carrier());
    assert!(process.reload.reload(false).applied);
    let (ask, mut asked) = mpsc::channel::<UsedTrunks>(1);
    let reload = Reload { workers: vec![ask], ..process.reload };
    let long_ago = Instant::now().checked_sub(REST).expect("the clock is older");
    reload.state().retired.values_mut().for_each(|since| *since = long_ago);
    let retired: Vec<usize> = reload.state().retired.keys().copied().collect();
    assert_eq!(retired.len(), 2, "the carrier, and the PBX as it was");
    let worker = thread::spawn(move || {
        for used in [BTreeSet::from([0]), BTreeSet::new()] {
            asked.blocking_recv().expect("a question").send(used).expect("it is waited for");
        }
    });
    let names =
        |reload: &Reload| reload.policies.borrow().trunks.iter().map(|trunk| trunk.name.clone()).collect::<Vec<_>>();
    reload.sweep();
    assert_eq!(names(&reload), ["pbx", "", "pbx"]);
    reload.sweep();
    assert_eq!(names(&reload), ["", "", "pbx"]);
    worker.join().expect("all was asked");
}
