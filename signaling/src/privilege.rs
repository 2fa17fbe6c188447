//! Signaling reads bytes from strangers, so it never does so as root.

use std::ffi::CString;

use nix::sys::prctl;
use nix::unistd::{Uid, User, geteuid, initgroups, setresgid, setresuid};
use tracing::{info, warn};

use crate::{Config, SignalingError};

/// Refuses to go on as root towards anything but this host itself. On loopback alone it is allowed with a
/// warning: that is a developer's container with no other user.
pub(crate) fn refuse_root(config: &Config) -> Result<(), SignalingError> {
    if !geteuid().is_root() || config.user.is_some() {
        return Ok(());
    }
    if let Some(open) = config.listeners.iter().find(|listener| !listener.bind.ip().is_loopback()) {
        return Err(SignalingError::Root(open.bind));
    }
    warn!("signaling runs as root, which is only allowed because every listener is on loopback");
    Ok(())
}

/// Becomes the configured user for good. Started as another user than root there is nothing to give up.
pub(crate) fn become_user(name: &str) -> Result<(), SignalingError> {
    let refused = |problem: String| SignalingError::User { user: name.to_owned(), problem };
    if !geteuid().is_root() {
        info!(uid = geteuid().as_raw(), "not started as root: staying this user");
        return Ok(());
    }
    let user = match User::from_name(name) {
        Ok(Some(user)) if user.uid.is_root() => return Err(refused("it is root".into())),
        Ok(Some(user)) => user,
        Ok(None) => return Err(refused("there is no such user".into())),
        Err(e) => return Err(refused(e.to_string())),
    };
    let c_name = CString::new(name).map_err(|e| refused(e.to_string()))?;
    // A change of user clears the parent-death signal, by which `moorline up` leaves no child behind.
    let parent_death = prctl::get_pdeathsig().ok().flatten();
    initgroups(&c_name, user.gid).map_err(|e| refused(format!("initgroups: {e}")))?;
    setresgid(user.gid, user.gid, user.gid).map_err(|e| refused(format!("setresgid: {e}")))?;
    setresuid(user.uid, user.uid, user.uid).map_err(|e| refused(format!("setresuid: {e}")))?;
    prctl::set_pdeathsig(parent_death).map_err(|e| refused(format!("PR_SET_PDEATHSIG: {e}")))?;
    prctl::set_no_new_privs().map_err(|e| refused(format!("PR_SET_NO_NEW_PRIVS: {e}")))?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(refused("root could be taken back".into()));
    }
    info!(user = name, uid = user.uid.as_raw(), "gave up root");
    Ok(())
}
