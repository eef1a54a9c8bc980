//! Why a member does not answer, in words, with the way out: for people, never for a decision.

use super::view::View;
use crate::contract::FailureKind;

/// What is the matter with a member that does not answer, beyond that. None: only that it does not.
pub fn plight(view: &View, index: usize) -> Option<String> {
    let member = &view.members[index];
    if let Some(twin) = member.twin {
        let id = view.id(twin);
        return Some(format!("the same process as {id}, by its run id: list every server once"));
    }
    if let Some(mode) = member.other_mode {
        return Some(format!(
            "a server in {mode} mode answers at its address: take the address off the list, or start the \
             member there again"
        ));
    }
    let failure = member.instance.replies.iter().find_map(|reply| reply.failure.as_ref())?;
    match failure.kind {
        FailureKind::Unauthorized | FailureKind::Unreachable | FailureKind::ProtocolError => {
            Some(failure.text.clone())
        }
        FailureKind::Refused
        | FailureKind::Reset
        | FailureKind::TimedOut
        | FailureKind::Loading
        | FailureKind::Busy
        | FailureKind::ErrorReply => None,
    }
}

/// Its id, and in brackets what is the matter with it.
pub fn named(view: &View, index: usize) -> String {
    let id = view.id(index);
    plight(view, index).map_or_else(|| id.to_owned(), |why| format!("{id} ({why})"))
}
