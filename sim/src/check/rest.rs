//! At rest: groups have come together (I4), and after everything is closed nothing is left (I8).

use slim_proto::SessionKind;
use slim_session::SessionId;

use crate::check::epochs::roster_is_tree;
use crate::world::World;

/// `Ok` once nothing is pending and all members of every group whose moderator runs it are the same; otherwise what
/// is still missing.
pub(crate) fn converged(world: &World) -> Result<(), String> {
    if let Some(pending) = world.check.pending().first() {
        return Err(format!("{pending} has not ended"));
    }
    for (app, link) in world.links.iter().enumerate() {
        if world.apps[app].is_alive && !link.is_whole() {
            return Err(format!("{} is not connected", world.apps[app].label));
        }
    }
    for session in sessions(world) {
        agrees(world, session)?;
    }
    Ok(())
}

fn sessions(world: &World) -> Vec<SessionId> {
    world.check.sessions.keys().copied().collect()
}

fn agrees(world: &World, id: SessionId) -> Result<(), String> {
    let Some(facts) = world.check.facts(id) else {
        return Ok(());
    };
    let moderator = facts.moderator;
    if !world.apps[moderator].is_alive || !world.check.is_open(moderator, id) {
        // A group without moderator goes on as it is; nobody can bring its members together.
        return Ok(());
    }
    let label = &facts.label;
    let Some(truth) = world.apps[moderator].snapshot(id) else {
        return Err(format!("the moderator of {label} does not know it"));
    };
    if truth.members.is_empty() {
        // Nobody was found to invite yet, so the group is only an intention.
        return Ok(());
    }
    for member in &truth.members {
        let app = world.check.who.of(member.name.id());
        let present = app.is_some_and(|app| world.apps[app].is_alive && world.check.is_open(app, id));
        if member.online && !present {
            return Err(format!(
                "{} counts as online in {label} and is not there",
                member.name.path()
            ));
        }
        if !member.online && present {
            return Err(format!(
                "{} counts as offline in {label} and is there",
                member.name.path()
            ));
        }
    }
    for (index, app) in world.apps.iter().enumerate() {
        if !app.is_alive || !world.check.is_open(index, id) {
            continue;
        }
        let Some(own) = app.snapshot(id) else {
            return Err(format!("{} is in {label} and does not know it", app.label));
        };
        if !truth.members.iter().any(|member| member.name == app.name) {
            return Err(format!(
                "{} believes to be in {label}; its moderator does not",
                app.label
            ));
        }
        if own.epoch != truth.epoch || own.epoch_authenticator != truth.epoch_authenticator {
            return Err(format!(
                "{} is in epoch {:?} of {label}, its moderator in {:?}",
                app.label, own.epoch, truth.epoch
            ));
        }
        if facts.mls && !roster_is_tree(&own) {
            return Err(format!(
                "{}: roster and encrypted group differ in {label}",
                app.label
            ));
        }
        let names = |members: &[slim_session::Member]| {
            members
                .iter()
                .map(|member| (member.name.path(), member.name.id(), member.online))
                .collect::<Vec<_>>()
        };
        if facts.kind == SessionKind::Group && names(&own.members) != names(&truth.members) {
            let short = |members: &[slim_session::Member]| {
                members
                    .iter()
                    .map(|member| {
                        format!(
                            "{}{}",
                            member.name.components()[2],
                            if member.online { "" } else { " (offline)" }
                        )
                    })
                    .collect::<Vec<_>>()
            };
            return Err(format!(
                "{} has the members {:?} in {label}, its moderator has {:?}",
                app.label,
                short(&own.members),
                short(&truth.members)
            ));
        }
    }
    Ok(())
}

/// `Ok` if every session is over and nothing of any is left, neither at the applications nor at the node.
pub(crate) fn nothing_left(world: &World) -> Result<(), String> {
    let mut alive = 0;
    for app in world.apps.iter().filter(|app| app.is_alive) {
        alive += 1;
        if let Some(session) = app.session_ids().first() {
            return Err(format!("{} still has session {session}", app.label));
        }
        let timers = app.timer_count(None);
        if timers > 0 {
            return Err(format!("{} still has {timers} timers", app.label));
        }
    }
    let records = world.node.subscription_count();
    if records != alive {
        return Err(format!(
            "the node has {records} subscriptions for {alive} applications with one name each"
        ));
    }
    let load: usize = world.links.iter().map(crate::net::Link::load).sum();
    if load > 0 {
        return Err(format!("{load} frames are still under way"));
    }
    Ok(())
}
