//! What a reason is, and the reasons that every topology shares. A decision has one reason; metrics,
//! conditions and logs carry its name. A topology documents its own in its `reasons.rs`, with the macro of
//! this file.

use crate::contract::{Progress, Verdict};

/// A reason, as `wit/REASONS.md` documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Kebab-case name, unique in the whole policy.
    pub name: &'static str,
    /// The verdicts that it comes with.
    pub verdicts: &'static str,
    /// What holds when it is given, and the way out where there is one.
    pub why: &'static str,
    /// A wait with this reason ends by itself and was asked for: by a first start, a new replica, a person,
    /// or Redis.
    pub is_planned: bool,
}

impl Reason {
    /// Whether a group with this reason and verdict is on its way to its desired state without help.
    pub fn progress(self, verdict: Verdict) -> Progress {
        match verdict {
            Verdict::Healthy => Progress::Settled,
            Verdict::Act => Progress::Changing,
            Verdict::Wait if self.is_planned => Progress::Changing,
            Verdict::Wait | Verdict::Refuse => Progress::Hindered,
        }
    }
}

/// A constant for each reason, and `ALL`, their list. `planned` stands for [`Reason::is_planned`].
macro_rules! reasons {
    ($($constant:ident $name:literal $verdicts:literal $($planned:ident)? $why:literal,)*) => {
        $(
            #[doc = $why]
            pub const $constant: $crate::reason::Reason = $crate::reason::Reason {
                name: $name,
                verdicts: $verdicts,
                why: $why,
                is_planned: $crate::reason::is_planned!($($planned)?),
            };
        )*

        /// All of this file, in its order.
        pub const ALL: &[$crate::reason::Reason] = &[$($constant,)*];
    };
}

macro_rules! is_planned {
    () => {
        false
    };
    (planned) => {
        true
    };
}

pub(crate) use {is_planned, reasons};

reasons! {
    INVALID_OBSERVATION "invalid-observation" "refuse"
        "An id is empty or occurs twice: the host is at fault.",
    INVALID_PARAMETERS "invalid-parameters" "refuse"
        "The parameters do not fit the schema; the explanation says where.",
    UNSUPPORTED_TOPOLOGY "unsupported-topology" "refuse"
        "This policy decides for replication and sentinel only.",
}
