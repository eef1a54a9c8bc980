//! The election where the first in line refused its promotion: the next in line is asked.

use super::{Elected, Election};
use crate::facts::Relation;
use crate::topology::replication::refused::refused_promotion;
use crate::topology::replication::view::View;

/// Passes over the members that refused their promotion within the last minute, while another one may stand.
///
/// 1. The election among all decides. Its winner did not refuse: it stands.
/// 2. Else the election without those that refused. It elects none: the first winner stands, and is asked
///    again at a pace. So a refusal never makes a stranger's data eligible that was not before.
/// 3. The next one must share the history of each that it passes over and that has data: unrelated data is
///    not dropped for a missing right.
/// 4. What those have beyond it is a known loss.
pub fn pass_over_refusals(view: &View, elect_without: &dyn Fn(&[usize]) -> Election) -> Election {
    let first = elect_without(&[]);
    let Election::Elected(Elected { winner, .. }) = first else { return first };
    if refused_promotion(view, winner).is_none() {
        return first;
    }
    let refusing: Vec<usize> =
        (0..view.members.len()).filter(|&index| refused_promotion(view, index).is_some()).collect();
    let Election::Elected(next) = elect_without(&refusing) else { return first };
    let mut surplus_bytes = 0;
    for &index in refusing.iter().filter(|&&index| view.members[index].answers) {
        let member = &view.members[index];
        match member.relation(&view.members[next.winner]) {
            Relation::Ahead(bytes) | Relation::Forked { own: bytes, .. } => {
                surplus_bytes = surplus_bytes.max(bytes);
            }
            Relation::Equal | Relation::Behind(_) => {}
            Relation::Unrelated if member.keys == Some(0) => {}
            Relation::Unrelated => return first,
        }
    }
    let known_loss_bytes = next.known_loss_bytes.map(|bytes| bytes.max(surplus_bytes));
    Election::Elected(Elected { known_loss_bytes, ..next })
}
