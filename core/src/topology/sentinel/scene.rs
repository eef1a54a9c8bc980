//! Everything that the rules may look at: the group as in topology `replication`, and its Sentinels.

use super::decided::decided;
use super::sentinels::Sentinels;
use crate::contract::{Observation, SentinelMode};
use crate::topology::replication::parameters::Parameters;
use crate::topology::replication::scene::Scene as GroupScene;
use crate::topology::replication::view::View;

/// What is true of the group and of its Sentinels.
pub struct Scene<'a> {
    /// The group.
    pub group: GroupScene<'a>,
    /// Its Sentinels. None: there are none, in mode `served`, and all is as in topology `replication`.
    pub sentinels: Option<Sentinels<'a>>,
}

impl<'a> Scene<'a> {
    /// Works it out.
    pub fn new(observation: &'a Observation, parameters: &'a Parameters) -> Self {
        let mut view = View::new(observation, parameters);
        let settings = observation.group.sentinel.as_ref();
        let watched = settings.filter(|settings| settings.mode != SentinelMode::Served);
        let sentinels = watched.map(|settings| Sentinels::read(&view, settings));
        view.appointed = sentinels.as_ref().and_then(|sentinels| decided(&view, sentinels));
        Self { group: GroupScene::new(view), sentinels }
    }

    /// The observation, indexed.
    pub fn view(&self) -> &View<'a> {
        &self.group.view
    }
}
