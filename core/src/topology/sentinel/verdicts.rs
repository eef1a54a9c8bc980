//! A verdict for every Sentinel.

use super::scene::Scene;
use super::sentinels::Names;
use crate::contract::{Health, Member};
use crate::health::{Life, duration};

/// That of replication, which judges no Sentinel, with what is known of this one. Others stand.
pub fn of_sentinel(scene: &Scene, member: Member) -> Member {
    let mut sentinels = scene.sentinels.iter().flat_map(|sentinels| &sentinels.all);
    let Some(sentinel) = sentinels.find(|sentinel| sentinel.id() == member.id) else { return member };
    let (health, proof) = match &sentinel.life {
        Life::Gone(gone) => (Health::Dead, gone.proof.clone()),
        Life::Silent { for_us } => (Health::Silent, format!("no reply for {}", duration(*for_us))),
        Life::Suspect { for_us } => (Health::Suspect, format!("no good reply for {}", duration(*for_us))),
        Life::Occupied(word) => (Health::Alive, format!("it answers only {word}")),
        Life::Locked => (Health::Suspect, "it does not let the operator ask it".into()),
        Life::Answers => (Health::Alive, words(scene, &sentinel.names)),
    };
    Member { health, proof, ..member }
}

fn words(scene: &Scene, names: &Names) -> String {
    match names {
        Names::Nothing => "it watches no master of the group".into(),
        Names::Member(member) => format!("it takes {} for the master", scene.view().id(*member)),
        Names::Outsider(place) => format!("it takes {place} for the master, which is none of the group"),
    }
}
