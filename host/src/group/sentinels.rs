//! Sentinels among the instances of a group: what an action that they take part in needs. They are
//! observed as members are, and are none: no shard, no role, no record, no pace depends on them. Must not
//! choose an action.

use super::Group;
use super::address::among_servers;
use super::event::{ToName, Watch};
use super::member_state::MemberState;
use crate::contract::{Action, Address, InstanceKind, LinkState, Promotion, SentinelChange, SentinelMode};

/// Sentinels are asked for their votes first.
pub fn needs_votes(how: Promotion) -> bool {
    match how {
        Promotion::Votes | Promotion::AvailableVotes => true,
        Promotion::ReplicaofNoOne | Promotion::Takeover | Promotion::Force => false,
    }
}

impl Group {
    /// The members that are no Sentinels.
    pub(super) fn servers(&self) -> impl Iterator<Item = &MemberState> {
        self.members.values().map(AsRef::as_ref).filter(|member| member.is_server())
    }

    /// What the action needs of the Sentinels. None: they take no part in it.
    ///
    /// # Errors
    /// Why it cannot be sent: the group has no Sentinels, or the member that they are to name no connection.
    pub(super) fn watch(&self, action: &Action) -> Result<Option<Watch>, String> {
        let settings = self.settings.wanted.sentinel.as_ref();
        let is_watched = settings.is_some_and(|settings| match settings.mode {
            SentinelMode::Deferred | SentinelMode::Assisted => true,
            SentinelMode::Served => false,
        });
        let to_name = match action {
            Action::Promote(promote) if needs_votes(promote.how) => Some(&promote.id),
            // The Sentinels would undo a change that they did not vote for and do not hear of.
            Action::Handover(handover) if is_watched => Some(&handover.target),
            Action::Sentinel(action) => match &action.change {
                SentinelChange::Announce(announce) => Some(&announce.master),
                SentinelChange::Rewrite(rewrite) => Some(&rewrite.master),
                SentinelChange::SetOption(_) => None,
            },
            Action::Promote(_)
            | Action::Handover(_)
            | Action::Follow(_)
            | Action::Demote(_)
            | Action::Fence(_)
            | Action::Unfence(_)
            | Action::KickClients(_)
            | Action::Configure(_)
            | Action::Restart(_)
            | Action::Cluster(_) => return Ok(None),
        };
        let settings = settings.ok_or("no Sentinels watch this group")?.clone();
        let answering = self.members.values().filter(|member| {
            member.identity.kind == InstanceKind::Sentinel && member.state() == LinkState::Answering
        });
        let sentinels = answering.filter_map(|member| {
            Some((member.identity.id.clone(), member.link?, member.identity.address.clone()))
        });
        let sentinels = sentinels.collect();
        let master = to_name.map(|id| self.to_name(id)).transpose()?;
        Ok(Some(Watch { settings, sentinels, master }))
    }

    fn to_name(&self, id: &str) -> Result<ToName, String> {
        let member = self.members.get(id).filter(|member| member.is_server());
        let member = member.ok_or_else(|| format!("{id} is not a member"))?;
        let link = member.link.ok_or_else(|| format!("{id} has no connection"))?;
        let identity = &member.identity;
        let known = [&identity.address].into_iter().chain(&identity.aliases).cloned();
        let mut places: Vec<Address> = vec![among_servers(self.servers(), member)];
        places.extend(known);
        Ok(ToName { id: id.to_owned(), link, places })
    }
}
