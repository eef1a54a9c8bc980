//! Hard invariants: what no policy may order or state, the embedded one included. Pure native code over an
//! Observation and a Decision.
//!
//! Only the first stage of a plan is carried out, so it is checked against all evidence; later stages are
//! hypotheses, and only their structure is checked. The guard reads replies through `failover_core::facts`
//! and judges by itself: it must never use another part of the engine, repair a plan, or do I/O.
//!
//! An unknown fact never permits an action, and nothing that loses no data is forbidden: a guard that rejects
//! a good plan leaves a group without a master.
//!
//! Two invariants of the engine are not here: authority (a host without it may be asked for a dry run), and a
//! candidate's version (a complete replica of an older Redis is better than no master).

mod identity;
mod picture;
mod replication;
mod scene;
mod sentinel;
mod structure;
#[cfg(test)]
mod tests;

pub use picture::Picture;

use crate::contract::{Action, Decision, Demote, Follow, Handover, Observation, Promote, Topology};
use failover_core::mutant;
use scene::Scene;

/// Whether the decision keeps every invariant.
///
/// # Errors
/// One [`Breach`] for every broken rule, in the order of [`Rule::ALL`]. Then no action of the plan may be
/// sent.
pub fn judge(observation: &Observation, decision: &Decision) -> Result<(), Vec<Breach>> {
    Reading::of(observation).judge(decision)
}

/// The guard's own reading of an Observation. Read once, whatever the number of decisions that are judged.
pub struct Reading<'a>(Scene<'a>);

impl<'a> Reading<'a> {
    /// Reads an Observation.
    pub fn of(observation: &'a Observation) -> Self {
        Self(Scene::read(observation))
    }

    /// See [`judge`].
    ///
    /// # Errors
    /// See [`judge`].
    pub fn judge(&self, decision: &Decision) -> Result<(), Vec<Breach>> {
        let case = Case { scene: &self.0, decision };
        let breach = |rule: &Rule| (rule.row().2)(&case).err().map(|text| Breach { rule: *rule, text });
        let own = Rule::of(self.0.observation.group.topology);
        let rules = Rule::COMMON.iter().chain(own.iter().copied().flatten());
        let rules = rules.filter(|rule| !mutant::is_left_out("guard", rule.name()));
        let breaches: Vec<_> = rules.filter_map(breach).collect();
        if breaches.is_empty() { Ok(()) } else { Err(breaches) }
    }

    /// What the guard itself sees of the group, for programs that must not rest on a policy's word.
    pub fn picture(&self) -> Picture {
        Picture::of(&self.0)
    }
}

/// An invariant that a decision breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", rule.name())]
pub struct Breach {
    /// The broken invariant.
    pub rule: Rule,
    /// What breaks it, with names and numbers.
    pub text: String,
}

macro_rules! rules {
    ($($(#[doc = $about:literal])+ $topology:ident {
        $($(#[doc = $why:literal])+ $rule:ident = $name:literal, $check:path;)+
    })+) => {
        /// A hard invariant. The sentence of each is what [`Rule::why`] gives.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $($($(#[doc = $why])+ $rule,)+)+ }

        impl Rule {
            /// All of them, in the order in which they are checked.
            pub const ALL: [Self; [$($($name),+),+].len()] = [$($(Self::$rule),+),+];

            $($(#[doc = $about])+ const $topology: &[Self] = &[$(Self::$rule),+];)+

            fn row(self) -> (&'static str, &'static str, Check) {
                match self { $($(Self::$rule => ($name, concat!($($why),+), $check),)+)+ }
            }
        }
    };
}

rules! {
    /// The rules of every topology.
    COMMON {
        /// Only the verdict act has a plan, and it always has one; a paused group has none.
        PlanMatchesVerdict = "plan-matches-verdict", structure::plan_matches_verdict;
        /// The decision has one verdict for every instance and every shard, sorted, and answers the request.
        Members = "members", structure::members;
        /// Every id in the decision is an instance of the observation, or the recorded master.
        KnownIds = "known-ids", structure::known_ids;
        /// Run id, role and replication id that an action expects are those of the newest replies, or of an
        /// earlier stage.
        Expectation = "expectation", structure::expectation;
        /// Actions are sent only to instances that answer now; a restart may be sent for any.
        Freshness = "freshness", structure::freshness;
        /// Only directives of the allow-list are set, to plain numbers, and only actions of a served topology
        /// are planned.
        AllowList = "allow-list", structure::allow_list;
        /// A write pause ends by itself: a fence within ten seconds, a handover within three.
        BoundedPause = "bounded-pause", structure::bounded_pause;
    }
    /// The rules of a group with one master and its replicas.
    REPLICATION {
        /// A stage changes the master at most once, and a plan never re-points the instance that it promotes.
        OnePromotion = "one-promotion", replication::shape::one_promotion;
        /// All replicas that a stage re-points follow one instance, which is the master by then: a star, no
        /// rings or chains.
        Star = "star", replication::shape::star;
        /// Every instance that may still be master is excused by evidence, and the stated evidence holds.
        Evidence = "evidence", replication::evidence::evidence;
        /// An abdication counts once the group has had no master for 100 ms.
        Abdication = "abdication", replication::evidence::abdication;
        /// Replicas of a lost master count only if sampled after the loss with their link down: their offsets
        /// are final.
        FinalOffsets = "final-offsets", replication::evidence::final_offsets;
        /// With prefer = consistency, a silent master is replaced only once its self-fence certainly refuses
        /// writes.
        SelfFence = "self-fence", replication::evidence::self_fence;
        /// A silent master is not replaced within three hang limits of the last failover.
        CoolDown = "cool-down", replication::evidence::cool_down;
        /// While many groups are silent together, the host doubts its own network before their masters.
        SelfDoubt = "self-doubt", replication::evidence::self_doubt;
        /// A master that answers is replaced only by handover.
        ReachableMaster = "reachable-master", replication::candidate::reachable_master;
        /// A first master is chosen only where no instance can be master, and by its data or the record.
        Bootstrap = "bootstrap", replication::candidate::bootstrap;
        /// The promoted instance answers as a replica that may be master: not loading, not syncing,
        /// announced, with a priority above 0.
        Fit = "fit", replication::candidate::fit;
        /// The promoted instance has the replication history of the master that it replaces.
        Lineage = "lineage", replication::candidate::lineage;
        /// No other eligible instance has all data of the promoted one and more, unless it refused its
        /// promotion and the difference is reported as lost.
        MostAdvanced = "most-advanced", replication::candidate::most_advanced;
        /// A copy that restarted from its files is promoted only after the members that may have newer data
        /// had their time.
        Restart = "restart", replication::restart::restart;
        /// With fewer answering members than the minimum size, no promotion and no follow that replaces data.
        Quorum = "quorum", replication::candidate::quorum;
        /// While a promotion of another instance is in doubt, that instance may be a master.
        InDoubt = "in-doubt", replication::candidate::in_doubt;
        /// No instance follows at the price of data that is not known to be discarded, and only a complete
        /// copy is followed.
        NoDestructiveFollow = "no-destructive-follow", replication::follow::no_destructive_follow;
        /// No instance follows a master that came back without its data.
        Amnesia = "amnesia", replication::follow::amnesia;
        /// Of two masters the recorded one stays, unless the other has all of its data.
        TwoMasters = "two-masters", replication::follow::two_masters;
        /// A master is demoted without a successor only if it lost its data, or while another one answers
        /// that the record knows.
        Demotion = "demotion", replication::demotion::demotion;
        /// An instance with data is restarted only while another complete copy serves.
        SafeRestart = "safe-restart", replication::follow::safe_restart;
        /// A handover goes from an answering master to its attached replica, for a reason in the observation.
        HandoverInSync = "handover-in-sync", replication::handover::handover_in_sync;
        /// A directive gets a value that leaves the group its writes, its self-fence and its candidates.
        AllowedValues = "allowed-values", replication::values::allowed_values;
        /// The named master answers as one, and no other instance has the better claim to the role.
        NamedMaster = "named-master", replication::statement::named_master;
        /// A group is called healthy only while it has a master, and all others that answer are its replicas.
        Healthy = "healthy", replication::statement::healthy;
        /// A change of master reports its loss: no less than the replies and the record show, and no number
        /// where they show none.
        ReportedLoss = "reported-loss", replication::loss::reported_loss;
        /// A switchover is answered as done only when its target is the master.
        RequestDone = "request-done", replication::statement::request_done;
    }
    /// The rules of such a group that Sentinels watch, beside those.
    SENTINEL {
        /// Nothing that a Sentinel does in a failover is done while one of them fails over, or while one that
        /// answers has not said a moment ago that it does not.
        NoFailoverOfTheirs = "no-failover-of-theirs", sentinel::promoters::no_failover_of_theirs;
        /// A promotion takes the votes of a majority of the Sentinels in mode assisted, or proof that they
        /// cannot do it, erred, or had their time; a handover takes the votes always.
        Votes = "votes", sentinel::promoters::votes;
        /// A master is silent only if most of the Sentinels that could fail over call it down, too.
        SentinelWitnesses = "sentinel-witnesses", sentinel::promoters::witnesses;
        /// A Sentinel is told of a master only if the decision names it and it answers as one.
        ToldMaster = "told-master", sentinel::told::told_master;
        /// A Sentinel is told in the epoch after the largest known one, and only if it names a member.
        ToldEpoch = "told-epoch", sentinel::told::told_epoch;
        /// A Sentinel is set as the group is, and nothing else of it is set.
        SentinelSettings = "sentinel-settings", sentinel::told::settings;
        /// Of the Sentinels that can act, one is set up anew at a time, while the others are a majority.
        OneRewrite = "one-rewrite", sentinel::upkeep::rewrites;
        /// One Sentinel is restarted at a time, while those that can act are a majority without it.
        OneRestart = "one-restart", sentinel::upkeep::restarts;
    }
}

impl Rule {
    /// The rules of a topology beyond the common ones. A topology that is not served has none: `allow-list`
    /// refuses every plan for it.
    fn of(topology: Topology) -> &'static [&'static [Self]] {
        match topology {
            Topology::Replication => &[Self::REPLICATION],
            Topology::Sentinel => &[Self::REPLICATION, Self::SENTINEL],
            Topology::Cluster => &[],
        }
    }

    /// Kebab-case name: metric label, row of `policy check`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The invariant, in one sentence.
    pub fn why(self) -> &'static str {
        self.row().1.trim()
    }
}

/// One check. Its error is the text of the first breach that it finds.
type Check = fn(&Case<'_>) -> Result<(), String>;

/// The input of a check.
struct Case<'a> {
    scene: &'a Scene<'a>,
    decision: &'a Decision,
}

impl<'a> Case<'a> {
    /// The actions of the first stage: those that would be sent.
    fn first(&self) -> impl Iterator<Item = &'a Action> {
        self.decision.stages.first().into_iter().flat_map(|stage| &stage.actions)
    }

    fn promotes(&self) -> impl Iterator<Item = &'a Promote> {
        self.first()
            .filter_map(|action| if let Action::Promote(promote) = action { Some(promote) } else { None })
    }

    fn follows(&self) -> impl Iterator<Item = &'a Follow> {
        self.first()
            .filter_map(|action| if let Action::Follow(follow) = action { Some(follow) } else { None })
    }

    fn demotes(&self) -> impl Iterator<Item = &'a Demote> {
        self.first()
            .filter_map(|action| if let Action::Demote(demote) = action { Some(demote) } else { None })
    }

    fn handovers(&self) -> impl Iterator<Item = &'a Handover> {
        self.first()
            .filter_map(|action| if let Action::Handover(handover) = action { Some(handover) } else { None })
    }
}

/// Ok if the claim holds, else the text as the error of a check.
fn ensure(claim: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if claim { Ok(()) } else { Err(text()) }
}
